//! The built program when the machine fails it: `docs/faults.md` lists each fault, with the test here that shows it.

#[path = "../support/command.rs"]
mod command;
mod disk;
mod kill;
mod models;
mod start;
mod support;
mod system;
