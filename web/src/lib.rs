//! The pages of the product: server-rendered with askama, alive through small scripts, working without them.
//!
//! | Module | For |
//! |---|---|
//! | `routes` | addresses of all pages; [`router`] is what the app serves |
//! | `cx` | what surrounds each request: session, errors as pages, security headers |
//! | `csrf`, `cookies`, `local` | form tokens, cookies, addresses inside this site |
//! | `error` | one type for everything that goes wrong in a page |
//! | `frame`, `ui` | what surrounds every page; small pieces of HTML, the only place that escapes by hand |
//! | `pages` | one file per page: template struct and handlers |
//! | `assets` | style sheets, scripts, icons, browser libraries |
//!
//! Deliberately no decisions of its own: everything is asked of `vt-services`, as the REST edge does.
//!
//! Invariants: nothing that people or devices named reaches a page unescaped; no page needs inline script, inline style or another host; no
//! state changes by GET; every form carries a token bound to its session.

pub mod assets;
pub mod cookies;
pub mod csrf;
pub mod cx;
pub mod error;
pub mod frame;
pub mod local;
pub mod pages;
pub mod routes;
pub mod ui;

pub use routes::{WebState, router};
