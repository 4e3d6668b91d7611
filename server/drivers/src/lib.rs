//! vt-drivers
