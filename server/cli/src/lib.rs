//! The command line: `volttron` (the server, in the foreground), `vctl` (control), `vcfg` (set-up), `vpkg` (wheels) and what VOLTTRON's
//! shell scripts do. One executable serves all of them by the name it is called.
//!
//! Map: `program` (which of them), `serve` (options of the server), `client` (the server's local socket), `vctl` and `vcfg` (one file
//! per group of commands), `vpkg` (wheels), `scripts` (`start-volttron` and its like), `install_agent` (`install-agent.py`), `output` (what is printed), `python` (values as Python prints them),
//! `prompt` (questions), `trace` (what `-v` tells).
//!
//! Source: VOLTTRON `volttron/platform/{main,control,instance_setup}.py` for options, texts and exit codes.

/// Messages are made on one thread and freed on another, which is what this allocator is quick at (`docs/decisions/0008`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod client;
mod install_agent;
mod output;
pub mod program;
mod prompt;
mod python;
mod scripts;
mod serve;
mod trace;
mod vcfg;
mod vctl;
mod vpkg;
