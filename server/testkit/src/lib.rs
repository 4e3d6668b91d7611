//! vt-testkit
