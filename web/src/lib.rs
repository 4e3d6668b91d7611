//! The pages of the product: server-rendered with askama, alive through small scripts, working without them.
//!
//! | Module | For |
//! |---|---|
//! | `assets` | style sheets, scripts, icons, browser libraries |
//! | `frame` | what surrounds every page |
//! | `ui` | small pieces of HTML, the only place that escapes by hand |
//! | `pages` | one file per page: template struct and handlers |
//!
//! Deliberately no decisions of its own: everything is asked of `vt-services`, as the REST edge does.
//!
//! Invariant: nothing that people or devices named reaches a page unescaped, and no page needs inline script, inline style or another host.

pub mod assets;
pub mod frame;
pub mod pages;
pub mod ui;
