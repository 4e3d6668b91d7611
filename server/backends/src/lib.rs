//! vt-backends
