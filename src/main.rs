//! The command line: `serve`, `transcribe`, `models`, `doctor`.

use std::process::ExitCode;

fn main() -> ExitCode {
    diarist::commands::main()
}
