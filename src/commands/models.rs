//! `diarist models`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use indicatif::HumanBytes;

use super::print;
use crate::asr::quantize::WeightType;
use crate::config::Settings;
use crate::models::catalogue::Catalogue;
use crate::models::quantize::{Quantized, quantize_with_bar};
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
    /// Make a copy of a model with smaller weights
    Quantize {
        /// Name of the model on this machine; best one with 16-bit weights
        name: String,
        /// Type of the weights: q8_0 (the fastest safe choice), q5_1, q5_0, q4_1, q4_0 or f16
        #[arg(value_name = "TYPE", value_parser = weight_type)]
        weights: WeightType,
        /// Where to write it [default: NAME-TYPE in the folder of pulled models]
        #[arg(long, short = 'o', value_name = "FILE")]
        output: Option<PathBuf>,
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
        ModelsCommand::Quantize { name, weights, output } => {
            report(&quantize_with_bar(name, *weights, output.as_deref(), &catalogue, &options)?)
        }
        ModelsCommand::Path { name: Some(name) } => line(&cli::path(&catalogue, name)?),
        ModelsCommand::Path { name: None } => line(&options.dir),
    };
    Ok((text, ExitCode::SUCCESS))
}

fn weight_type(name: &str) -> Result<WeightType, String> {
    WeightType::parse(name).ok_or_else(|| {
        let known = WeightType::ALL.map(WeightType::name).join(", ");
        format!("no such type; choose one of {known}")
    })
}

/// Where the new model is, how large, and how to use it.
fn report(made: &Quantized) -> String {
    let (before, after) = (HumanBytes(made.bytes_before), HumanBytes(made.bytes_after));
    let percent = 100.0 * made.bytes_after as f64 / made.bytes_before.max(1) as f64;
    let path = made.path.display();
    let name = made.id.as_ref().map(|id| format!("its name is {id}\n")).unwrap_or_default();
    format!("{path}\n{after} instead of {before} ({percent:.0} %)\n{name}")
}
