//! vt-app
