//! `diarist bench diarization`

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rustix::time::{ClockId, clock_gettime};

use super::pairs::{self, Pair};
use super::table::{self, COLLAR_MS, Row, Work};
use crate::audio::{AudioOptions, AudioSource, PcmSpool, decode_to_spool};
use crate::cancel::CancelToken;
use crate::commands::print;
use crate::commands::speakers::distance;
use crate::config::Settings;
use crate::diarization::score::{Annotation, Score, regions, rttm};
use crate::diarization::{DiarizationEngine, DiarizationOptions, STEPS_MS, Sound, SpeakerLimits};
use crate::server::Parts;
use crate::time::{TimeSpan, ms_to_samples, samples_to_seconds};

/// Flags of `bench diarization`.
#[derive(Args)]
pub struct DiarizationArgs {
    /// Folder of recordings, each with NAME.rttm (the truth) and perhaps NAME.uem (what is scored)
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Score the RTTM files of another folder, of the same names, and listen to nothing
    #[arg(long, value_name = "DIR", conflicts_with_all = ["step_ms", "threshold", "count_known", "write"])]
    hypotheses: Option<PathBuf>,
    /// From one window to the next, in milliseconds; 1000 is the exact mode [default: as set]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(STEPS_MS))]
    step_ms: Option<u64>,
    /// Distance at which voices count as different, above 0 and up to 2 [default: the encoder's own]
    #[arg(long, value_name = "NUMBER", value_parser = distance)]
    threshold: Option<f32>,
    /// Tell it how many speakers there are
    #[arg(long)]
    count_known: bool,
    /// Folder that gets what was found, as RTTM
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Scores every recording, one after the other.
///
/// # Errors
/// When a file cannot be used; nothing is scored in part.
pub fn run(settings: &Settings, args: &DiarizationArgs) -> Result<ExitCode, String> {
    let pairs = pairs::find(&args.folder)?;
    let rows = match &args.hypotheses {
        Some(folder) => pairs.iter().map(|pair| score_given(pair, folder)).collect::<Result<Vec<_>, _>>()?,
        None => listen_to_all(settings, args, &pairs)?,
    };
    print(&if args.json { table::json(&rows) } else { table::text(&rows) })?;
    Ok(ExitCode::SUCCESS)
}

fn score_given(pair: &Pair, folder: &Path) -> Result<Row, String> {
    let found = pairs::turns(&folder.join(format!("{}.rttm", pair.name)), &pair.name)?;
    let ends = pair.truth.turns.iter().chain(&found.turns).map(|turn| turn.span.end);
    Ok(scored(pair, &found, TimeSpan::new(0, ends.max().unwrap_or(0)), None))
}

/// Everything is scored where the folder does not say what.
fn scored(pair: &Pair, found: &Annotation, everything: TimeSpan, work: Option<Work>) -> Row {
    let evaluated = pair.evaluated.clone().unwrap_or_else(|| regions::joined(vec![everything]));
    let score = |collar| Score::of(&pair.truth, found, &evaluated, collar);
    Row { name: pair.name.clone(), strict: score(0), lenient: score(ms_to_samples(COLLAR_MS)), work }
}

fn listen_to_all(settings: &Settings, args: &DiarizationArgs, pairs: &[Pair]) -> Result<Vec<Row>, String> {
    if let Some(folder) = &args.write {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("the folder {} cannot be made: {error}", folder.display()))?;
    }
    let parts = Parts::assemble(settings).map_err(|error| error.to_string())?;
    let bench = Bench {
        engine: parts.diarization.lease(&settings.diarization_model).map_err(|error| error.to_string())?,
        audio: AudioOptions { scratch: parts.scratch.clone(), ..settings.pipeline().audio },
        options: DiarizationOptions { min_on: 0, min_off: 0, ..with(args, settings.pipeline().diarization) },
        count_known: args.count_known,
        write: args.write.as_deref(),
    };
    pairs.iter().map(|pair| bench.listen(pair)).collect()
}

fn with(args: &DiarizationArgs, options: DiarizationOptions) -> DiarizationOptions {
    DiarizationOptions {
        step: args.step_ms.map_or(options.step, ms_to_samples),
        threshold: args.threshold.or(options.threshold),
        ..options
    }
}

/// What is the same for all recordings.
struct Bench<'a, E> {
    engine: E,
    audio: AudioOptions,
    options: DiarizationOptions,
    count_known: bool,
    write: Option<&'a Path>,
}

impl<E: Deref<Target = DiarizationEngine>> Bench<'_, E> {
    fn listen(&self, pair: &Pair) -> Result<Row, String> {
        let path = pair
            .recording
            .as_ref()
            .ok_or_else(|| format!("{}.rttm has no recording beside it", pair.name))?;
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let source = AudioSource { path: path.clone(), name: None };
        let cancel = CancelToken::new();
        let spool = decode_to_spool(&source, &self.audio, &cancel).map_err(|error| failed(&error))?.spool;
        let before = processor_time();
        let found = self.diarize(&spool, &cancel, pair).map_err(|error| failed(&error))?;
        let cpu_s = (processor_time() - before).as_secs_f64();
        if let Some(folder) = self.write {
            write(&folder.join(format!("{}.rttm", pair.name)), &pair.name, &found)?;
        }
        let work = Work { audio_s: samples_to_seconds(spool.len()), cpu_s };
        Ok(scored(pair, &found, TimeSpan::new(0, spool.len()), Some(work)))
    }

    fn diarize(
        &self,
        spool: &PcmSpool,
        cancel: &CancelToken,
        pair: &Pair,
    ) -> Result<Annotation, crate::diarization::DiarizationError> {
        let mut options = self.options.clone();
        if self.count_known {
            options.limits = SpeakerLimits::exactly(pair.truth.speakers.len().max(1));
        }
        let found = self.engine.diarize(&Sound { spool, speech: None, cancel }, &[], &options)?;
        Ok(Annotation::from(&found))
    }
}

/// RTTM separates fields by white space, so a name is written without it.
fn write(path: &Path, name: &str, found: &Annotation) -> Result<(), String> {
    let recording: String = name.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect();
    std::fs::write(path, rttm::write(&recording, found))
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// Of all threads of this process up to now.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
