//! `diarist doctor`
use std::process::ExitCode;
use crate::config::Settings;
pub fn run(_s: Settings) -> Result<ExitCode, String> { Ok(ExitCode::SUCCESS) }
