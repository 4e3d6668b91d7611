//! vt-storage-files
