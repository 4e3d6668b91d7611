//! vt-agents
