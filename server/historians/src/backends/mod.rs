//! The stores, one folder each. A new one is a folder here, a line in `catalog` and a file that runs the contract suite.

pub mod postgres;
pub mod sqlite;
