//! vt-cli
