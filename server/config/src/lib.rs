//! vt-config
