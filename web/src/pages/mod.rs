//! Pages: each file holds a page's template struct and its handlers; the template of the same name lies in templates/.
//! `view` turns what services say into what templates show, for all pages alike.

pub mod account;
pub mod agent;
pub mod agents;
pub mod chart;
pub mod components;
pub mod config;
pub mod device;
pub mod devices;
pub mod install;
pub mod log;
pub mod overview;
pub mod peers;
pub mod platforms;
pub mod search;
pub mod view;
