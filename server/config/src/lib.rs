//! The platform's settings: command line over environment over `$VOLTTRON_HOME/config` over defaults, checked as a whole before anything
//! is bound or written.
//!
//! Map: `options` (every option with its default and meaning: the one list), `flags` and `environment` (two of the sources), `ini` (the
//! file, also for adding to it), `edit` (setting keys in it), `values` (which source wins), `address` (URLs and VIP addresses), `settings` (the product), `show`
//! (`--show-config`), `control` (the part of the file that is for `vctl`), `error`.
//!
//! Deliberately not here: parsing the command line (cli), creating the home (storage-files), logging. Warnings are returned.
//!
//! Invariant: a [`Settings`] is valid. Nothing is written by reading; [`add_missing_keys`] only adds; [`set_keys`] is
//! for tools.
//!
//! Source: VOLTTRON `volttron/platform/main.py`, `volttron/platform/config.py` for names, precedence and the form of the file.

mod address;
mod control;
mod edit;
mod environment;
mod error;
mod flags;
mod ini;
mod load;
mod options;
mod settings;
mod show;
mod values;

pub use address::{AddressError, Scheme, VipAddress, WebAddress};
pub use control::ControlFile;
pub use edit::{file_keys, set_keys};
pub use environment::Environment;
pub use error::{ConfigError, Origin, Problem, Warning};
pub use flags::Flags;
pub use ini::add_missing_keys;
pub use load::{Loaded, check_instance_name, load};
pub use options::{OPTIONS, OptionKind, OptionSpec, environment_name};
pub use settings::{
    CertificateFiles, Database, INSTANCE_NAME_CHARS_MAX, LogFormat, LogLevel, LogSettings, LogTarget, MessageBus, PythonSettings, Secret,
    Settings, VolttronCentral, WebSettings,
};
