//! Source file to spool: the built-in decoders first, then ffmpeg, then an answer that says what to do.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use crate::cancel::CancelToken;
use crate::transcript::Warning;

use super::intake::Intake;
use super::native::{self, Facts, Failure, Heard};
use super::sniff::{self, Kind};
use super::source::PatchedFile;
use super::wav::WavMend;
use super::{AudioError, AudioOptions, AudioSource, PcmSpool, ffmpeg, mp4, wav};

/// A recording taken in.
#[derive(Debug)]
pub struct Decoded {
    /// Its sound.
    pub spool: PcmSpool,
    /// What was found, for logs: for example `mp3 44100 Hz 2 channels`.
    pub description: String,
    /// Damage that was passed over: codes `damaged_audio` and `truncated_audio`.
    pub warnings: Vec<Warning>,
}

/// Decodes `source` block by block into a spool in `options.temp_dir`. Only the content decides how.
///
/// # Errors
/// When nothing can be decoded, or a limit is exceeded, or `cancel` is set.
pub fn decode_to_spool(
    source: &AudioSource,
    options: &AudioOptions,
    cancel: &CancelToken,
) -> Result<Decoded, AudioError> {
    let look = Look::at(&source.path)?;
    let mut intake = Intake::new(options, cancel)?;
    let failure = match look.kind {
        Kind::NotAudio(name) => return Err(AudioError::Undecodable(format!("it is {name}, not audio"))),
        Kind::Foreign(name) => Failure::NoDecoder(name.to_owned()),
        Kind::Candidate => match decode_natively(&source.path, &look, &mut intake) {
            Ok(heard) => return finish(intake, heard.description.clone(), warnings_of(&heard)),
            Err(Failure::Stopped(error)) => return Err(error),
            Err(failure) => failure,
        },
    };
    let Some(program) = &options.ffmpeg else { return Err(verdict(failure, None)) };
    match ffmpeg::decode(program, &source.path, &mut intake) {
        Ok(complaint) => {
            let warnings = complaint.map(|said| damaged(format!("ffmpeg reported damage: {said}")));
            finish(intake, "16000 Hz 1 channel through ffmpeg".to_owned(), warnings.into_iter().collect())
        }
        Err(ffmpeg::Failure::Stopped(error)) => Err(error),
        Err(ffmpeg::Failure::Refused(said)) => Err(verdict(failure, Some(&said))),
    }
}

/// What the file's bytes say before any decoder sees them.
struct Look {
    kind: Kind,
    facts: Facts,
    mend: WavMend,
}

impl Look {
    fn at(path: &Path) -> Result<Self, AudioError> {
        let mut file = File::open(path)?;
        let head = read_head(&mut file)?;
        if head.is_empty() {
            return Err(AudioError::Empty);
        }
        let kind = sniff::identify(&head);
        let mend = wav::inspect(&mut file)?.unwrap_or_default();
        let edits = if head.get(4..8) == Some(b"ftyp") { mp4::edits(&mut file) } else { Default::default() };
        let open_ended = mend.open_ended || sniff::is_open_ended_matroska(&head);
        Ok(Self { kind, facts: Facts { edits, open_ended, frames: mend.frames }, mend })
    }
}

fn read_head(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(sniff::HEAD_BYTES);
    file.take(sniff::HEAD_BYTES as u64).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(head)
}

/// Tries the built-in decoders twice: with free access to the file, and front to back. The second way
/// opens cut-off MP4 and WebM files, in which the first looks for an index that is not there.
fn decode_natively(path: &Path, look: &Look, intake: &mut Intake) -> Result<Heard, Failure> {
    let mut attempt = |seekable| {
        let source = PatchedFile::open(path, look.mend.clone(), seekable).map_err(AudioError::Storage)?;
        native::decode(source, &look.facts, intake)
    };
    match attempt(true) {
        Err(first @ (Failure::Broken(_) | Failure::Unrecognised)) => match attempt(false) {
            Ok(mut heard) => {
                heard.cut_off |= !look.facts.open_ended;
                Ok(heard)
            }
            Err(Failure::Stopped(error)) => Err(Failure::Stopped(error)),
            Err(_) => Err(first),
        },
        outcome => outcome,
    }
}

fn finish(intake: Intake, description: String, warnings: Vec<Warning>) -> Result<Decoded, AudioError> {
    let spool = intake.finish()?;
    tracing::debug!(description, samples = spool.len(), warnings = warnings.len(), "decoded");
    Ok(Decoded { spool, description, warnings })
}

fn warnings_of(heard: &Heard) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if heard.damaged_packets > 0 {
        let count = heard.damaged_packets;
        let plural = if count == 1 { "" } else { "s" };
        warnings
            .push(damaged(format!("{count} damaged packet{plural} of the recording could not be decoded")));
    }
    if heard.cut_off {
        let message = "the recording ends before its declared end, the file seems to be cut off";
        warnings.push(Warning::new("truncated_audio", message));
    }
    warnings
}

fn damaged(message: String) -> Warning {
    Warning::new("damaged_audio", message)
}

/// The answer when nobody could decode the file: what it is, and what would help.
fn verdict(failure: Failure, ffmpeg_said: Option<&str>) -> AudioError {
    match (failure, ffmpeg_said) {
        (Failure::Stopped(error), _) => error,
        (Failure::NoDecoder(name), None) => AudioError::Unsupported(format!(
            "the audio is {name}, for which there is no built-in decoder: \
             install ffmpeg or set DIARIST_FFMPEG to its path, or send another format"
        )),
        (Failure::NoDecoder(name), Some(said)) => {
            AudioError::Unsupported(format!("the audio is {name}, and ffmpeg could not decode it: {said}"))
        }
        (Failure::NoAudio, _) => AudioError::Undecodable("it has no audio track that can be decoded".into()),
        (Failure::Unrecognised, _) => {
            AudioError::Undecodable("it is not in an audio or video format known here".into())
        }
        (Failure::Broken(reason), _) => AudioError::Undecodable(reason),
    }
}
