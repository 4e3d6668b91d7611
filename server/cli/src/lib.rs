//! The command line: `volttron` (the server, in the foreground), `vctl` (control) and `vcfg` (set-up). One executable serves all three by
//! the name it is called; `volttron-ctl` and `volttron-cfg` are aliases.
//!
//! Map: `program` (which of them), `serve` (options of the server), `client` (the server's local socket), `vctl` and `vcfg` (one file per
//! group of commands), `output` (tables as scripts expect them).
//!
//! Source: VOLTTRON `volttron/platform/{main,control,instance_setup}.py` for options, texts and exit codes.

mod client;
mod output;
pub mod program;
mod serve;
mod vcfg;
mod vctl;
