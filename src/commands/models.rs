//! `diarist models`

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use super::print;
use crate::config::Settings;
use crate::models::catalogue::Catalogue;
use crate::models::{ModelError, cli};

/// Subcommands of `models`.
#[derive(Subcommand)]
pub enum ModelsCommand {
    /// Every known model: its size, whether it is on this machine, and what it is
    List,
    /// Download a model: a name of the list, or a file of the hub as OWNER/REPO/FILE
    Pull {
        /// Name of the model
        name: String,
    },
    /// Compare the files on this machine with their SHA-256
    Verify {
        /// Names of models [default: all on this machine]
        names: Vec<String>,
    },
    /// Print where a model's file lies, or the folder of pulled models
    Path {
        /// Name of the model [default: the folder]
        name: Option<String>,
    },
}

/// Runs one of the subcommands.
pub fn run(settings: &Settings, command: &ModelsCommand) -> Result<ExitCode, String> {
    let (text, code) = answer(settings, command).map_err(|error| error.to_string())?;
    print(&text)?;
    Ok(code)
}

fn answer(settings: &Settings, command: &ModelsCommand) -> Result<(String, ExitCode), ModelError> {
    let options = settings.models();
    let catalogue = Catalogue::open(&options)?;
    let line = |path: &Path| format!("{}\n", path.display());
    let text = match command {
        ModelsCommand::List => cli::list(&catalogue),
        ModelsCommand::Pull { name } => line(&cli::pull_with_bar(name, &catalogue, &options)?),
        ModelsCommand::Verify { names } => {
            // Each line as soon as it is known: hashing gigabytes takes a while. A lost one is no harm, the
            // exit code says the same.
            let sound = cli::verify(&catalogue, names, &mut |line| drop(print(&format!("{line}\n"))))?;
            return Ok((String::new(), if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }));
        }
        ModelsCommand::Path { name: Some(name) } => line(&cli::path(&catalogue, name)?),
        ModelsCommand::Path { name: None } => line(&options.dir),
    };
    Ok((text, ExitCode::SUCCESS))
}
