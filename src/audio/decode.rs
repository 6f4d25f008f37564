//! Source file to spool: the built-in decoders first, then ffmpeg, then an answer that says what to do.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use crate::cancel::CancelToken;
use crate::transcript::Warning;

use super::intake::Intake;
use super::native::{self, Clock, Facts, Failure, Heard};
use super::sniff::{self, Kind};
use super::source::{Mend, PatchedFile};
use super::{
    AudioError, AudioOptions, AudioSource, BlockSink, PcmSpool, SpoolWriter, ffmpeg, id3, matroska, mp4, ogg,
    wav,
};

/// Bytes that readers may have fetched beyond the last packet that they handed out.
const READ_AHEAD: u64 = 128 << 10;

/// Times that reading goes on behind damage in one file, and bytes of its head read again for that.
const MAX_RESUMES: usize = 1_000;
const MAX_RESUMED_BYTES: u64 = 1 << 30;

/// A recording taken in.
#[derive(Debug)]
pub struct Decoded {
    /// Its sound, complete.
    pub spool: Arc<PcmSpool>,
    /// What was found, for logs: for example `mp3 44100 Hz 2 channels`.
    pub description: String,
    /// Damage that was passed over: codes `damaged_audio` and `truncated_audio`.
    pub warnings: Vec<Warning>,
}

/// Decodes `source` block by block into a spool in `options.scratch`, to its end. Only the content decides
/// how. `Decoding` does the same beside the caller.
///
/// # Errors
/// When nothing can be decoded, or a limit is exceeded, or `cancel` is set.
pub fn decode_to_spool(
    source: &AudioSource,
    options: &AudioOptions,
    cancel: &CancelToken,
) -> Result<Decoded, AudioError> {
    decode_into(SpoolWriter::create(&options.scratch)?, None, source, options, cancel)
}

/// Decodes `source` into what `writer` writes, and into `sink` if there is one.
///
/// # Errors
/// As `decode_to_spool`; readers of the spool are told that it ended early.
pub(super) fn decode_into(
    writer: SpoolWriter,
    sink: Option<Box<dyn BlockSink>>,
    source: &AudioSource,
    options: &AudioOptions,
    cancel: &CancelToken,
) -> Result<Decoded, AudioError> {
    let look = Look::at(&source.path)?;
    let mut intake = Intake::new(writer, options.max_duration_s, cancel).with_sink(sink);
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
    mend: Mend,
    is_matroska: bool,
    /// Damage seen already.
    damaged_pages: u64,
    is_cut: bool,
}

impl Look {
    fn at(path: &Path) -> Result<Self, AudioError> {
        let mut file = File::open(path)?;
        let head = read_head(&mut file)?;
        if head.is_empty() {
            return Err(AudioError::Empty);
        }
        let mut look = Self {
            kind: sniff::identify(&head),
            facts: Facts { open_ended: matroska::is_open_ended(&head), ..Facts::default() },
            mend: Mend::default(),
            is_matroska: matroska::is_matroska(&head),
            damaged_pages: 0,
            is_cut: false,
        };
        if let Some(wav) = wav::inspect(&mut file)? {
            look.facts.open_ended = wav.open_ended;
            look.facts.frames = wav.frames;
            look.mend = wav.mend;
        } else if head.starts_with(b"OggS") {
            look.mend.patches = ogg::mend(&mut BufReader::new(file))?;
            look.damaged_pages = look.mend.patches.len() as u64;
        } else if head.starts_with(b"ID3") {
            look.mend.start = id3::end_of_tags(&mut file)?;
        } else if head.get(4..8) == Some(b"ftyp") {
            let index = mp4::inspect(&mut BufReader::new(file));
            look.facts.edits = index.edits;
            look.is_cut = index.is_cut;
        }
        Ok(look)
    }
}

fn read_head(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(sniff::HEAD_BYTES);
    file.take(sniff::HEAD_BYTES as u64).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(head)
}

/// Tries the built-in decoders, and goes on behind damage where the container has marks to go on from.
fn decode_natively(path: &Path, look: &Look, intake: &mut Intake) -> Result<Heard, Failure> {
    let mut heard = decode_start(path, look, intake)?;
    heard.damaged_packets += look.damaged_pages;
    heard.cut_off |= look.is_cut;
    if look.is_matroska {
        heard = resume_matroska(path, look, heard, intake)?;
    }
    Ok(heard)
}

/// Tries the built-in decoders twice: with free access to the file, and front to back. The second way
/// opens cut-off MP4 and WebM files, in which the first looks for an index that is not there.
fn decode_start(path: &Path, look: &Look, intake: &mut Intake) -> Result<Heard, Failure> {
    let mut attempt = |seekable| {
        let source = PatchedFile::open(path, look.mend.clone(), seekable).map_err(AudioError::from)?;
        native::decode(source, &look.facts, Clock::default(), intake)
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

/// Goes on with the next cluster of a Matroska file for as long as damage stops the reader.
fn resume_matroska(
    path: &Path,
    look: &Look,
    mut heard: Heard,
    intake: &mut Intake,
) -> Result<Heard, Failure> {
    let (mut from, mut reread) = (0, 0);
    for _ in 0..MAX_RESUMES {
        let Some(stopped_at) = heard.stopped_at.filter(|_| reread < MAX_RESUMED_BYTES) else { break };
        from = stopped_at.saturating_sub(READ_AHEAD).max(from);
        let hole = matroska::hole_before_next_cluster(path, from).map_err(AudioError::from)?;
        let Some(hole) = hole else { break };
        from = hole.1 + 1;
        reread += hole.0;
        let mend = Mend { hole: Some(hole), ..Mend::default() };
        let source = PatchedFile::open(path, mend, false).map_err(AudioError::from)?;
        match native::decode(source, &look.facts, heard.clock, intake) {
            Ok(rest) => {
                heard.damaged_packets += rest.damaged_packets;
                heard.cut_off = rest.cut_off;
                heard.clock = rest.clock;
                heard.stopped_at = rest.stopped_at;
            }
            Err(Failure::Stopped(error)) => return Err(error.into()),
            // That was no cluster, only bytes like one: the next may be.
            Err(_) => {}
        }
    }
    Ok(heard)
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
        (Failure::Broken(reason), _) if reason.contains("missing moov") => {
            AudioError::Undecodable("its index (moov) is missing, the file seems to be cut off".into())
        }
        (Failure::Broken(reason), _) => AudioError::Undecodable(reason),
    }
}
