//! The tests of the whole: layout rules (`tidy.rs`), the running program (`integration/`), other implementations (`compat/`),
//! the pages in a real browser (`browser/`). What they share is in `vt-testkit`; this library itself is empty.
