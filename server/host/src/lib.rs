//! vt-host
