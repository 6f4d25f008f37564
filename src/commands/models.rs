//! `diarist models`

use std::process::ExitCode;

use clap::Subcommand;

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
    answer(settings, command).map_err(|error| error.to_string())
}

fn answer(settings: &Settings, command: &ModelsCommand) -> Result<ExitCode, ModelError> {
    let options = settings.models();
    let catalogue = Catalogue::open(&options)?;
    match command {
        ModelsCommand::List => print!("{}", cli::list(&catalogue)),
        ModelsCommand::Pull { name } => {
            println!("{}", cli::pull_with_bar(name, &catalogue, &options)?.display());
        }
        ModelsCommand::Verify { names } => {
            let sound = cli::verify(&catalogue, names, &mut |line| println!("{line}"))?;
            return Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        ModelsCommand::Path { name: None } => println!("{}", options.dir.display()),
        ModelsCommand::Path { name: Some(name) } => println!("{}", cli::path(&catalogue, name)?.display()),
    }
    Ok(ExitCode::SUCCESS)
}
