//! `diarist bench`: how good this program is on recordings whose truth is known.

mod diarization;
mod pairs;
mod table;

use std::process::ExitCode;

use clap::Subcommand;

use crate::config::Settings;

/// What is measured.
#[derive(Subcommand)]
pub enum BenchCommand {
    /// Score who spoke when against RTTM files: DER, JER, speakers, speed
    Diarization(diarization::DiarizationArgs),
}

/// Measures and prints.
///
/// # Errors
/// When a recording or a file of truth cannot be used.
pub fn run(settings: &Settings, command: &BenchCommand) -> Result<ExitCode, String> {
    match command {
        BenchCommand::Diarization(args) => diarization::run(settings, args),
    }
}
