//! The executable. It serves all programs by the name under which it is called.

use std::path::PathBuf;
use std::process::ExitCode;

use vt_cli::program::Program;

fn main() -> ExitCode {
    let name = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    Program::of_name(&name).run()
}
