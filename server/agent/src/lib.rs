//! vt-agent
