//! vt-services
