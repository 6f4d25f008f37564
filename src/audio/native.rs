//! The built-in decoders: Symphonia's readers and codecs, and libopus.
//!
//! Damage is passed over as far as the container allows, and the clock is kept: a packet that cannot be
//! decoded becomes silence of its length. Nothing a file holds may end the process, so every call into a
//! reader or codec is caught.

use std::collections::HashMap;
use std::io::ErrorKind as IoErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_AC3, CODEC_ID_AC4, CODEC_ID_DCA, CODEC_ID_EAC3, CODEC_ID_MP1, CODEC_ID_MP2,
    CODEC_ID_MP3, CODEC_ID_OPUS, CODEC_ID_SPEEX, CODEC_ID_TRUEHD, CODEC_ID_WAVPACK, CODEC_ID_WMA,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::{Hint, Probe, ProbeOptions};
use symphonia::core::formats::well_known::{FORMAT_ID_ADTS, FORMAT_ID_FLAC, FORMAT_ID_ISOMP4, FORMAT_ID_MKV};
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackFlags};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase, Timestamp};
use symphonia_adapter_libopus::OpusDecoder;

use super::intake::Intake;
use super::mp4::Edit;
use super::source::{PatchedFile, Progress};
use super::{AudioBlock, AudioError, aac};

/// Samples that every AAC encoder puts before the sound, at the least: one frame of overlap.
const AAC_RUN_UP: u64 = 1_024;

/// Samples that MP3 coding puts before the sound when no header tells: 576 of the common encoders, and 529
/// of every decoder.
const MP3_RUN_UP: u64 = 576 + 529;

/// The one rate of libopus that loses nothing; some files declare the rate of what was encoded.
const OPUS_RATE: u32 = 48_000;

/// Failures of a reader in a row after which the rest of a file is given up.
const MAX_READER_ERRORS: u32 = 32;

/// Largest packet decoded, in bytes; more is damage, or an attempt to fill memory.
const MAX_PACKET_BYTES: usize = 8 << 20;

/// Packets at the end of an MPEG stream that its padding can touch.
const MAX_PADDED_PACKETS: usize = 4;

/// Shortest hole in a track's time stamps that is filled with silence, in seconds; below lies
/// the rounding of the stamps.
const MIN_GAP_S: f64 = 0.1;

/// Longest such hole, in seconds; above lies damage.
const MAX_GAP_S: f64 = 4.0 * 3_600.0;

/// Most silence put in place of one packet that cannot be decoded, in seconds.
const MAX_PACKET_S: f64 = 1.0;

/// Missing sound from which a file counts as cut off: seconds, and share of the declared length.
const MISSING_S: f64 = 0.5;
const MISSING_SHARE: f64 = 0.02;

/// Loudest sample taken, in full scales; a file of floating point numbers may hold any. Much louder ones overflow
/// inside the resampler, and what is not a number at its input makes it panic.
const MAX_SAMPLE: f32 = 64.0;

/// A codec without a name here.
const UNKNOWN_CODEC: &str = "of an unknown codec";

/// What the file's own bytes say beyond what the readers see.
#[derive(Default)]
pub(super) struct Facts {
    /// Parts to be played of MP4 tracks, by track id.
    pub(super) edits: HashMap<u32, Edit>,
    /// Whether the container declares no length, so that any end is a good end.
    pub(super) open_ended: bool,
    /// Frames of sound in a WAV file that pads its last block.
    pub(super) frames: Option<u64>,
}

/// How decoding went.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Codec, container, rate and channels.
    pub(super) description: String,
    /// Packets that could not be read or decoded.
    pub(super) damaged_packets: u64,
    /// Whether the file ends before its declared end.
    pub(super) cut_off: bool,
    /// Where the recording's clock stands.
    pub(super) clock: Clock,
    /// Offset in the file up to which it could be read, when damage or an early end stopped the reader.
    pub(super) stopped_at: Option<u64>,
}

/// The recording's time in seconds, by the container's time stamps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Earliest time stamp of any track up to the first audio packet: where the recording starts.
    earliest_s: f64,
    /// Sound decoded so far, trimmed parts included.
    at_s: f64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { earliest_s: f64::INFINITY, at_s: 0.0 }
    }
}

/// Why nothing was decoded.
#[derive(Debug)]
pub(super) enum Failure {
    /// No reader knows the container.
    Unrecognised,
    /// A container without an audio track.
    NoAudio,
    /// An audio track without a decoder; names the codec.
    NoDecoder(String),
    /// The container or all packets are damaged.
    Broken(String),
    /// A limit, the request's end, or the disk's.
    Stopped(AudioError),
}

impl From<AudioError> for Failure {
    fn from(error: AudioError) -> Self {
        Self::Stopped(error)
    }
}

static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut registry = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut registry);
    registry.register_audio_decoder::<OpusDecoder>();
    registry
});

/// Looks for a container in the first part of a file only: deeper, anything looks like MP3 somewhere.
static PROBE: LazyLock<Probe> = LazyLock::new(|| {
    let options = ProbeOptions { max_probe_depth: 256 << 10, ..ProbeOptions::default() };
    let mut probe = Probe::new_with_options(&options);
    symphonia::default::register_enabled_formats(&mut probe);
    probe
});

/// Decodes the first decodable audio track of `source` into `intake`, as far as it goes. `clock` is that of
/// the part decoded before, when reading goes on behind damage, and else new.
///
/// # Errors
/// When not one sample came out, or `intake` stopped it.
pub(super) fn decode(
    source: PatchedFile,
    facts: &Facts,
    clock: Clock,
    intake: &mut Intake,
) -> Result<Heard, Failure> {
    let progress = source.progress();
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    let reader =
        guarded(|| PROBE.probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default()));
    let reader = reader.map_err(|error| match error {
        Error::Unsupported(what) if what.starts_with("core (probe)") => Failure::Unrecognised,
        Error::Unsupported(what) if !what.contains("missing") => {
            Failure::NoDecoder(format!("unusual ({what})"))
        }
        error => Failure::Broken(error.to_string()),
    })?;
    let mut voice = Voice::choose(&*reader, facts)?;
    if clock.at_s > 0.0 {
        voice.run_up = 0;
    }
    Session {
        reader,
        voice,
        facts,
        intake,
        block: AudioBlock { sample_rate: 0, channels: Vec::new() },
        heard: Heard::default(),
        clock,
        is_resumed: clock.at_s > 0.0,
        progress,
        read_to: 0,
        waiting: None,
        tail: Vec::new(),
        last_error: String::from("it holds no sound"),
    }
    .run()
}

/// Runs a call into a reader or codec; a panic inside becomes an error like any other damage.
fn guarded<T>(call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(Error::DecodeError("the decoder failed on it")))
}

/// The chosen track and its decoder.
struct Voice {
    track_id: u32,
    codec: AudioCodecId,
    params: AudioCodecParameters,
    decoder: Box<dyn AudioDecoder>,
    time_base: Option<TimeBase>,
    /// Length that the container declares reliably.
    declared_s: Option<f64>,
    edit: Option<Edit>,
    /// Frames before the sound that nothing else takes away.
    run_up: u64,
    /// Frames of sound, if the container pads them.
    frames: Option<u64>,
    /// The played part in frames of the decoded rate; known with the first block.
    window: Option<Window>,
    /// Whether the declared end of an MPEG stream has proved wrong.
    end_is_wrong: bool,
}

impl Voice {
    /// Takes the first audio track that has a decoder, those marked as default before others.
    fn choose(reader: &dyn FormatReader, facts: &Facts) -> Result<Self, Failure> {
        let mut tracks: Vec<&Track> = reader.tracks().iter().collect();
        tracks.sort_by_key(|track| !track.flags.contains(TrackFlags::DEFAULT));
        let mut failure = Failure::NoAudio;
        for track in tracks {
            let mut params = match &track.codec_params {
                Some(CodecParameters::Audio(params)) => params.clone(),
                None if matches!(failure, Failure::NoAudio) => {
                    failure = Failure::NoDecoder(UNKNOWN_CODEC.to_owned());
                    continue;
                }
                _ => continue,
            };
            if params.codec == CODEC_ID_OPUS {
                params.sample_rate = Some(OPUS_RATE);
            }
            if params.codec == CODEC_ID_AAC
                && let Some(core) = params.extra_data.as_deref().and_then(aac::low_complexity_core)
            {
                params.extra_data = Some(core.into());
            }
            match make_decoder(&params) {
                Ok(decoder) => return Ok(Self::new(reader, track, params, decoder, facts)),
                Err(error) => failure = refusal(&params, &error),
            }
        }
        Err(failure)
    }

    fn new(
        reader: &dyn FormatReader,
        track: &Track,
        params: AudioCodecParameters,
        decoder: Box<dyn AudioDecoder>,
        facts: &Facts,
    ) -> Self {
        let declared_s = declared_length(reader, track, params.codec).filter(|_| !facts.open_ended);
        Self {
            track_id: track.id,
            codec: params.codec,
            decoder,
            time_base: track.time_base,
            declared_s,
            edit: facts.edits.get(&track.id).copied().filter(|edit| edit.leaves_something(declared_s)),
            run_up: match params.codec {
                CODEC_ID_AAC => AAC_RUN_UP,
                CODEC_ID_MP3 if track.delay.is_none() => MP3_RUN_UP,
                _ => 0,
            },
            frames: facts.frames,
            window: None,
            end_is_wrong: false,
            params,
        }
    }

    fn seconds(&self, duration: Duration) -> f64 {
        self.time_base.map_or(0.0, |base| base.calc_duration_saturating(duration).as_secs_f64())
    }

    fn time(&self, timestamp: Timestamp) -> f64 {
        self.time_base.map_or(0.0, |base| base.calc_time_saturating(timestamp).as_secs_f64())
    }

    fn is_mpeg_audio(&self) -> bool {
        matches!(self.codec, CODEC_ID_MP1 | CODEC_ID_MP2 | CODEC_ID_MP3)
    }
}

impl Edit {
    /// Whether a sensible part of a track of this length is played; if not, the edit is damage.
    fn leaves_something(&self, track_s: Option<f64>) -> bool {
        let left = track_s.map_or(f64::INFINITY, |length| length - self.start_s);
        self.length_s.map_or(left, |length| length.min(left)) >= 0.1
    }
}

/// Which of the decoded frames are played.
struct Window {
    skip: u64,
    keep: u64,
}

impl Window {
    fn new(voice: &Voice, rate: u32) -> Self {
        let frames = |seconds: f64| (seconds * f64::from(rate)).round() as u64;
        match voice.edit {
            Some(edit) => Self { skip: frames(edit.start_s), keep: edit.length_s.map_or(u64::MAX, frames) },
            None => Self { skip: voice.run_up, keep: voice.frames.unwrap_or(u64::MAX) },
        }
    }

    /// Cuts `block`, the next frames in order, to what is played.
    fn apply(&mut self, block: &mut AudioBlock) {
        let frames = block.channels.first().map_or(0, Vec::len);
        let skipped = self.skip.min(frames as u64);
        let kept = self.keep.min(frames as u64 - skipped);
        self.skip -= skipped;
        self.keep -= kept;
        for channel in &mut block.channels {
            channel.truncate((skipped + kept) as usize);
            channel.drain(..skipped as usize);
        }
    }
}

/// One pass over a file.
struct Session<'a, 'i> {
    reader: Box<dyn FormatReader>,
    voice: Voice,
    facts: &'a Facts,
    intake: &'a mut Intake<'i>,
    /// Reused for every packet.
    block: AudioBlock,
    heard: Heard,
    clock: Clock,
    /// Whether an earlier pass decoded the start.
    is_resumed: bool,
    /// Where the file is being read.
    progress: Arc<Progress>,
    /// Where it was being read when the last good packet came.
    read_to: u64,
    /// A packet behind a hole, until the next one confirms the hole.
    waiting: Option<Packet>,
    /// MPEG packets that end in padding, until the stream ends or proves longer.
    tail: Vec<Packet>,
    last_error: String,
}

impl Session<'_, '_> {
    fn run(mut self) -> Result<Heard, Failure> {
        let mut reader_errors = 0;
        loop {
            self.intake.check_cancelled()?;
            let reader = &mut self.reader;
            match guarded(|| reader.next_packet()) {
                Ok(Some(packet)) => {
                    reader_errors = 0;
                    self.read_to = self.progress.at();
                    self.progress.note_packet();
                    self.accept(packet)?;
                }
                Ok(None) => break,
                Err(Error::ResetRequired) => self.start_next_stream()?,
                Err(Error::IoError(error)) if error.kind() == IoErrorKind::UnexpectedEof => {
                    self.stop(!self.facts.open_ended);
                    break;
                }
                // Errors of the system are the machine's; others are made up by readers over bad data.
                Err(Error::IoError(error)) if error.raw_os_error().is_some() => {
                    return Err(AudioError::from(error).into());
                }
                Err(error) => {
                    self.note_damage(&error);
                    reader_errors += 1;
                    // A Matroska reader that has lost its place is better started anew.
                    if self.is_matroska() || reader_errors > MAX_READER_ERRORS {
                        self.stop(true);
                        break;
                    }
                }
            }
        }
        self.release()?;
        if self.intake.is_untouched() {
            return Err(Failure::Broken(self.last_error));
        }
        self.heard.cut_off |= self.misses_declared_sound();
        self.heard.clock = self.clock;
        Ok(self.heard)
    }

    fn stop(&mut self, is_early: bool) {
        self.heard.cut_off = is_early;
        self.heard.stopped_at = is_early.then_some(self.read_to);
    }

    fn is_matroska(&self) -> bool {
        self.reader.format_info().format == FORMAT_ID_MKV
    }

    /// Whether the packets' time stamps are the file's own, not counted by the reader, so that they show
    /// what is missing.
    fn is_stamped(&self) -> bool {
        matches!(self.reader.format_info().format, FORMAT_ID_MKV | FORMAT_ID_FLAC)
    }

    /// Goes on with the next stream of a chain.
    fn start_next_stream(&mut self) -> Result<(), Failure> {
        self.release()?;
        match Voice::choose(&*self.reader, self.facts) {
            Ok(voice) => self.voice = voice,
            Err(failure) if self.intake.is_untouched() => return Err(failure),
            // No packet of the new stream will match; what was heard before stays.
            Err(_) => self.heard.damaged_packets += 1,
        }
        // The length of one link says nothing about the chain.
        self.voice.declared_s = None;
        self.clock = Clock::default();
        Ok(())
    }

    fn accept(&mut self, packet: Packet) -> Result<(), Failure> {
        if self.is_stamped() {
            return self.accept_stamped(packet);
        }
        if packet.track_id != self.voice.track_id {
            return Ok(());
        }
        if self.voice.is_mpeg_audio() && !packet.trim_end.is_zero() {
            return self.accept_padded(packet);
        }
        self.decode(&packet)
    }

    /// Takes a packet of an MPEG stream from behind its declared end. The declared end may belong to the
    /// first of several joined files, or be a guess, so padding counts only at the true end.
    fn accept_padded(&mut self, mut packet: Packet) -> Result<(), Failure> {
        if self.voice.end_is_wrong {
            packet.trim_end = Duration::ZERO;
            return self.decode(&packet);
        }
        self.tail.push(packet);
        if self.tail.len() > MAX_PADDED_PACKETS {
            self.voice.end_is_wrong = true;
            for mut packet in std::mem::take(&mut self.tail) {
                packet.trim_end = Duration::ZERO;
                self.decode(&packet)?;
            }
        }
        Ok(())
    }

    /// Takes a packet whose time stamp is the container's own: holes in the time are kept as silence.
    fn accept_stamped(&mut self, packet: Packet) -> Result<(), Failure> {
        let Some(first) = self.waiting.take() else {
            if self.clock.at_s == 0.0 {
                self.clock.earliest_s = self.clock.earliest_s.min(self.voice.time(packet.pts));
            }
            if packet.track_id != self.voice.track_id {
                return Ok(());
            }
            let gap_s = self.gap_before(&packet);
            if self.is_resumed && gap_s < -MIN_GAP_S {
                // Heard already, before the damage.
                return Ok(());
            }
            if (MIN_GAP_S..MAX_GAP_S).contains(&gap_s) {
                self.waiting = Some(packet);
                return Ok(());
            }
            return self.decode(&packet);
        };
        if packet.track_id != self.voice.track_id {
            self.waiting = Some(first);
            return Ok(());
        }
        // One stamp may be damaged; two that agree are not.
        let step = self.voice.time(packet.pts) - self.voice.time(first.pts);
        if (0.0..MAX_PACKET_S).contains(&step) {
            self.insert_silence(self.gap_before(&first))?;
            if !self.is_matroska() {
                self.heard.damaged_packets += 1;
            }
        }
        self.decode(&first)?;
        self.accept_stamped(packet)
    }

    /// Seconds between the end of what was decoded and the start of `packet`.
    fn gap_before(&self, packet: &Packet) -> f64 {
        self.voice.time(packet.pts) - self.clock.earliest_s - self.clock.at_s
    }

    /// Decodes what was held back.
    fn release(&mut self) -> Result<(), Failure> {
        let tail = std::mem::take(&mut self.tail);
        for packet in tail.into_iter().chain(self.waiting.take()) {
            self.decode(&packet)?;
        }
        Ok(())
    }

    fn decode(&mut self, packet: &Packet) -> Result<(), Failure> {
        if packet.data.is_empty() {
            return self.replace(packet);
        }
        if packet.data.len() > MAX_PACKET_BYTES {
            self.note_damage(&Error::LimitError("a packet is too large"));
            return self.replace(packet);
        }
        let decoder = &mut self.voice.decoder;
        match guarded(|| decoder.decode(packet)) {
            Ok(buffer) => {
                copy_block(&buffer, &mut self.block);
                self.play()
            }
            Err(error) => {
                if matches!(error, Error::ResetRequired)
                    && let Ok(decoder) = make_decoder(&self.voice.params)
                {
                    self.voice.decoder = decoder;
                }
                self.note_damage(&error);
                self.replace(packet)
            }
        }
    }

    /// Hands the decoded block on, without the parts that are not to be heard.
    fn play(&mut self) -> Result<(), Failure> {
        let rate = self.block.sample_rate;
        let Some(frames) = self.block.channels.first().map(Vec::len).filter(|&frames| frames > 0) else {
            return Ok(());
        };
        if self.heard.description.is_empty() {
            self.heard.description = self.describe();
        }
        self.clock.at_s += frames as f64 / f64::from(rate.max(1));
        if self.voice.window.is_none() {
            self.voice.window = Some(Window::new(&self.voice, rate));
            let lead_s = self.voice.edit.map_or(0.0, |edit| edit.lead_s);
            if (0.0..MAX_GAP_S).contains(&lead_s) {
                let channels = self.block.channels.len();
                self.intake.push_silence(rate.max(1), channels, (lead_s * f64::from(rate)).round() as u64)?;
            }
        }
        if let Some(window) = &mut self.voice.window {
            window.apply(&mut self.block);
        }
        Ok(self.intake.push(&self.block)?)
    }

    /// Keeps the clock going past a packet that gave nothing. With time stamps the next good packet does
    /// that.
    fn replace(&mut self, packet: &Packet) -> Result<(), Failure> {
        if self.block.sample_rate == 0 || self.is_stamped() {
            return Ok(());
        }
        let seconds = self.voice.seconds(packet.dur).min(MAX_PACKET_S);
        self.insert_silence(seconds)
    }

    fn insert_silence(&mut self, seconds: f64) -> Result<(), Failure> {
        let rate = if self.block.sample_rate == 0 { OPUS_RATE } else { self.block.sample_rate };
        self.clock.at_s += seconds;
        let channels = self.block.channels.len();
        Ok(self.intake.push_silence(rate, channels, (seconds * f64::from(rate)).round() as u64)?)
    }

    fn note_damage(&mut self, error: &Error) {
        self.heard.damaged_packets += 1;
        self.last_error = error.to_string();
    }

    fn misses_declared_sound(&self) -> bool {
        self.voice
            .declared_s
            .is_some_and(|declared| declared - self.clock.at_s > MISSING_S.max(MISSING_SHARE * declared))
    }

    fn describe(&self) -> String {
        let codec = self.voice.decoder.codec_info().short_name;
        let format = self.reader.format_info().short_name;
        let container = if codec == format { String::new() } else { format!(" in {format}") };
        let (rate, channels) = (self.block.sample_rate, self.block.channels.len());
        let plural = if channels == 1 { "" } else { "s" };
        format!("{codec}{container} {rate} Hz {channels} channel{plural}")
    }
}

fn make_decoder(params: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>, Error> {
    guarded(|| CODECS.make_audio_decoder(params, &AudioDecoderOptions::default()))
}

/// Replaces `block` by the decoded samples; what is not a number becomes silence, what is absurdly loud less so.
fn copy_block(buffer: &GenericAudioBufferRef, block: &mut AudioBlock) {
    block.sample_rate = buffer.spec().rate();
    buffer.copy_to_vecs_planar(&mut block.channels);
    for sample in block.channels.iter_mut().flatten() {
        *sample = if sample.is_nan() { 0.0 } else { sample.clamp(-MAX_SAMPLE, MAX_SAMPLE) };
    }
}

/// Length of `track` in seconds where the container states it, not where the reader guesses it.
fn declared_length(reader: &dyn FormatReader, track: &Track, codec: AudioCodecId) -> Option<f64> {
    let format = reader.format_info().format;
    let is_mpeg_stream =
        matches!(codec, CODEC_ID_MP1 | CODEC_ID_MP2 | CODEC_ID_MP3) && format != FORMAT_ID_ISOMP4;
    // Only a LAME header gives a delay, and with it the true number of frames.
    if format == FORMAT_ID_ADTS || is_mpeg_stream && track.delay.is_none() {
        return None;
    }
    let duration = track.duration.or_else(|| track.num_frames.map(Duration::from))?;
    let seconds = track.time_base?.calc_duration(duration)?.as_secs_f64();
    (seconds > 0.0).then_some(seconds)
}

/// What it means that no decoder takes a track.
fn refusal(params: &AudioCodecParameters, error: &Error) -> Failure {
    match (error, codec_name(params.codec)) {
        (Error::Unsupported(_), Some(name)) => Failure::NoDecoder(name.to_owned()),
        (Error::Unsupported(_), None) => Failure::NoDecoder(UNKNOWN_CODEC.to_owned()),
        (error, _) => Failure::Broken(error.to_string()),
    }
}

/// Names of codecs that people know and that have no built-in decoder.
fn codec_name(codec: AudioCodecId) -> Option<&'static str> {
    Some(match codec {
        CODEC_ID_AC3 => "AC-3",
        CODEC_ID_EAC3 => "E-AC-3",
        CODEC_ID_AC4 => "AC-4",
        CODEC_ID_DCA => "DTS",
        CODEC_ID_TRUEHD => "TrueHD",
        CODEC_ID_WMA => "WMA",
        CODEC_ID_SPEEX => "Speex",
        CODEC_ID_WAVPACK => "WavPack",
        CODEC_ID_AAC => "AAC of a profile other than LC and HE, or with more than two channels",
        CODEC_ID_OPUS => "Opus with more than two channels",
        _ => return None,
    })
}
