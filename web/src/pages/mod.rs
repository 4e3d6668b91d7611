//! Pages: each file holds a page's template struct and its handlers; the template of the same name lies in templates/.

pub mod components;
