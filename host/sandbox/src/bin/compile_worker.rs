//! The compile worker as a program of its own, for this crate's tests. In the product the hidden subcommand
//! `portolan compile-module` is the same.

use std::process::ExitCode;

fn main() -> ExitCode {
    portolan_sandbox::compiler_main()
}
