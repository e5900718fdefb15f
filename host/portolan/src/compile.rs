//! The hidden `compile-module` command: the child process in which modules are compiled.

use std::process::ExitCode;

pub(crate) fn main() -> ExitCode {
    portolan_sandbox::compiler_main()
}
