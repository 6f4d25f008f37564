//! How many workers with how many threads: what is set, what a measurement found, or what is right as a rule.

use std::time::Duration;

use crate::asr::AsrError;
use crate::asr::engine::Factory;
use crate::asr::tuning::{self, Trial};
use crate::asr::whisper::{WhisperModel, WhisperOptions};
use crate::config::Settings;
use crate::models::catalogue::Catalogue;
use crate::models::verify::check_before_loading;
use crate::runtime::cores::{Shape, physical_cores, shapes};
use crate::runtime::device::{Device, available_cores, workers_and_threads};
use crate::scratch::Scratch;

use super::{sample, transcribers};

/// Time for trying shapes when the server starts.
const START_BUDGET: Duration = Duration::from_millis(500);

/// Up to so many cores the rule is right without trying: one thread each.
const CORES_BY_RULE: usize = 2;

/// What is set; the rest as is right for most machines.
pub fn by_rule(settings: &Settings, device: Device) -> Shape {
    let chosen = |number: usize| (number > 0).then_some(number);
    let (workers, threads) =
        workers_and_threads(available_cores(), device, chosen(settings.workers), chosen(settings.threads));
    Shape { workers, threads }
}

/// Whether the settings name a number of workers or threads.
pub fn is_set(settings: &Settings) -> bool {
    settings.workers > 0 || settings.threads > 0
}

/// The best shape of those that could be tried within half a second; by the rule where nothing need be tried, or
/// trying failed, which is logged.
pub fn at_start(settings: &Settings, device: Device, catalogue: &Catalogue, scratch: &Scratch) -> Shape {
    let rule = by_rule(settings, device);
    if device.is_gpu() || is_set(settings) || available_cores() <= CORES_BY_RULE {
        return rule;
    }
    match trials(settings, catalogue, scratch, START_BUDGET) {
        Ok(trials) => {
            for trial in &trials {
                tracing::debug!(shape = %trial.shape, speed = trial.speed, "tried");
            }
            tuning::best(&trials).unwrap_or(rule)
        }
        Err(error) => {
            tracing::warn!(%error, shape = %rule, "workers and threads could not be measured");
            rule
        }
    }
}

/// Tries this machine's shapes on the processor with the bundled model.
///
/// # Errors
/// When the model or its recording cannot be used, as a sentence.
pub fn trials(
    settings: &Settings,
    catalogue: &Catalogue,
    scratch: &Scratch,
    budget: Duration,
) -> Result<Vec<Trial>, String> {
    let model = catalogue.resolve(sample::MODEL).map_err(|error| error.to_string())?;
    // Damaged weights can end the process.
    check_before_loading(&model).map_err(|error| error.to_string())?;
    let path = model.path.ok_or("the bundled model has no file")?;
    let clip = sample::clip(scratch)?;
    let encoder = settings.encoder();
    let load = |threads: usize| -> Result<Factory, AsrError> {
        let options = WhisperOptions { use_gpu: false, threads, short_context: model.short_context, encoder };
        Ok(transcribers(WhisperModel::load(&path, options)?))
    };
    let shapes = shapes(available_cores(), physical_cores());
    tuning::measure(&shapes, &clip, budget, &load).map_err(|error| error.to_string())
}
