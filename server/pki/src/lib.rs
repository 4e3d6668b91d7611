//! vt-pki
