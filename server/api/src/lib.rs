//! vt-api
