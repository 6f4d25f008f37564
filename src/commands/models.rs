//! `diarist models`
use std::process::ExitCode;
use clap::Subcommand;
use crate::config::Settings;
/// Subcommands of `models`.
#[derive(Subcommand)]
pub enum ModelsCommand { /// x
 List }
pub fn run(_s: &Settings, _c: &ModelsCommand) -> Result<ExitCode, String> { Ok(ExitCode::SUCCESS) }
