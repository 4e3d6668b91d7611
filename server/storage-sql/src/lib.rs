//! vt-storage-sql
