//! vt-bus
