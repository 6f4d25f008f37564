//! The built program, whatever settings the machine that runs the tests has.

use std::process::Command;

/// The program without arguments. Of the environment's settings it has only the place of ONNX Runtime.
pub fn diarist() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diarist"));
    let is_setting = |name: &str| {
        (name.starts_with("DIARIST_") && name != "DIARIST_ONNXRUNTIME") || name.starts_with("OTEL_")
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}
