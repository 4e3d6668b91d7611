//! vt-historians
