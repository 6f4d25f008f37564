//! `kill -9` under load; `make soak-kill` does the same fifty times.

use std::process::Command;

use crate::support::*;

#[test]
fn killed_under_load_it_comes_back_clean_and_right() {
    let script = root().join("tests/soak/kill.py");
    let mut python = Command::new("python3");
    python.arg(script).args(["--kills", "3", "--program", env!("CARGO_BIN_EXE_diarist")]);
    // The machine may be busy with other tests: how long a start takes is for `make soak-kill` to say.
    python.arg("--no-clock").env("PYTHONDONTWRITEBYTECODE", "1");
    let (code, said) = ending(python);
    assert_eq!(code, Some(0), "{said}");
    print!("{said}");
}
