//! `vcfg` by itself, for builds that do not make links to the one executable.

use std::process::ExitCode;

use vt_cli::program::Program;

fn main() -> ExitCode {
    Program::Vcfg.run()
}
