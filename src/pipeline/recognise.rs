//! Chunks through the engine, and their text in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::asr::engine::{EnginePool, ReadSamples, Session};
use crate::asr::stitch::Stitcher;
use crate::asr::{AsrError, ChunkTranscript, DecodingOptions, language};
use crate::audio::PcmSpool;
use crate::language::Language;
use crate::time::{Chunk, SampleIndex, TimeSpan, ms_to_samples};
use crate::transcript::{Segment, Segments, Transcript, Warning};
use crate::vad::VoiceActivityDetector;

use super::plan::Plan;
use super::scan::ChunkScan;
use super::{Control, Event, PipelineError, Stage, StageClock};

/// How much of a recording is listened to for its language, from the first speech on: so much is decoded within
/// a second, however long the recording is, and it is the same stretch whatever the machine's speed.
const LANGUAGE_SEARCH: SampleIndex = ms_to_samples(180_000);

/// Characters of earlier text given to a chunk that asked for it; more than the model keeps.
const CONTEXT_CHARS: usize = 1_000;

/// What is listened to, and by whom speech is found in it.
pub struct Recording<'a> {
    /// The sound.
    pub spool: &'a Arc<PcmSpool>,
    /// Reset before every use.
    pub vad: &'a mut dyn VoiceActivityDetector,
}

/// Recognises everything that is spoken in `recording`.
pub fn recognise(
    plan: &Plan,
    engine: &EnginePool,
    recording: Recording<'_>,
    control: &Control,
    clock: &mut StageClock,
) -> Result<Transcript, PipelineError> {
    let Recording { spool, vad } = recording;
    let session = engine.session(control.cancel.clone());
    let mut scan = ChunkScan::new(spool, vad, (plan.vad, plan.chunks), &control.cancel);
    let (language, language_probability) = match plan.language {
        Some(language) => (language, None),
        None => {
            let (language, probability) =
                clock.time(Stage::Language, || detect_language(plan, &session, spool, &mut scan))?;
            (language, Some(probability))
        }
    };
    control.emit(Event::Language(language));

    let run = Run {
        plan,
        session,
        spool,
        control,
        options: DecodingOptions { language, ..plan.decoding.clone() },
        limit: if plan.condition_on_previous_text { 1 } else { 2 * engine.workers() + 1 },
        waiting: VecDeque::new(),
        done: BTreeMap::new(),
        next_index: 0,
        stitcher: Stitcher::default(),
        segments: Segments::spilling_into(&plan.temp_dir),
        context: VecDeque::new(),
        prompt_tokens: 0,
        text_tokens: 0,
        failed: Vec::new(),
        recognised: 0,
    };
    let heard = run.drain(scan, clock)?;
    Ok(Transcript {
        task: plan.decoding.task,
        language,
        language_probability,
        duration: spool.len(),
        segments: heard.segments,
        turns: Vec::new(),
        prompt_tokens: heard.prompt_tokens,
        text_tokens: heard.text_tokens,
        warnings: heard.failed.iter().map(failed_chunk).collect(),
    })
}

/// Lets the longest chunks of the recording's first minutes of speech vote.
fn detect_language(
    plan: &Plan,
    session: &Session<'_>,
    spool: &Arc<PcmSpool>,
    scan: &mut ChunkScan<'_>,
) -> Result<(Language, f32), PipelineError> {
    let chunks = scan.look_ahead(LANGUAGE_SEARCH)?;
    let answers: Vec<_> = language::pick_windows(&chunks, language::DETECTION_WINDOWS)
        .into_iter()
        .map(|index| session.languages(reader(spool, chunks[index].span)))
        .collect();
    let mut probabilities = Vec::new();
    for answer in answers {
        let answer = answer.recv().map_err(|_| AsrError::Engine("the engine has stopped".into()))?;
        probabilities.push(answer?);
    }
    Ok(language::decide(&probabilities, &plan.candidate_languages))
}

fn reader(spool: &Arc<PcmSpool>, span: TimeSpan) -> ReadSamples {
    let spool = Arc::clone(spool);
    Box::new(move |samples| spool.read(span, samples))
}

/// The state of one request's recognition.
struct Run<'a> {
    plan: &'a Plan,
    session: Session<'a>,
    spool: &'a Arc<PcmSpool>,
    control: &'a Control,
    options: DecodingOptions,
    /// Most chunks given to the engine and not yet stitched.
    limit: usize,
    /// Chunks in order whose text has not been stitched; the first has index `next_index`.
    waiting: VecDeque<Waiting>,
    /// Text that came before its turn.
    done: BTreeMap<usize, Result<ChunkTranscript, AsrError>>,
    next_index: usize,
    stitcher: Stitcher,
    segments: Segments,
    /// Texts of the last segments, for the next chunk; empty unless it asks for them.
    context: VecDeque<String>,
    prompt_tokens: usize,
    text_tokens: u64,
    failed: Vec<(Chunk, AsrError)>,
    recognised: usize,
}

struct Waiting {
    chunk: Chunk,
    tried_again: bool,
}

impl Run<'_> {
    fn drain(mut self, mut scan: ChunkScan<'_>, clock: &mut StageClock) -> Result<Self, PipelineError> {
        let mut heard_all = false;
        loop {
            while !heard_all && self.waiting.len() < self.limit {
                match clock.time(Stage::Vad, || scan.next_chunk())? {
                    Some(chunk) => self.submit_new(chunk),
                    None => heard_all = true,
                }
            }
            if self.waiting.is_empty() {
                break;
            }
            clock.time(Stage::Asr, || self.take_one())?;
        }
        let rest = std::mem::take(&mut self.stitcher).finish();
        self.accept(rest)?;
        if self.recognised == 0
            && let Some((_, error)) = self.failed.pop()
        {
            return Err(error.into());
        }
        Ok(self)
    }

    fn submit_new(&mut self, chunk: Chunk) {
        let index = self.next_index + self.waiting.len();
        self.waiting.push_back(Waiting { chunk, tried_again: false });
        self.submit(index, chunk);
    }

    fn submit(&self, index: usize, chunk: Chunk) {
        let mut options = self.options.clone();
        // The seam of overlapping chunks is found by words.
        options.word_times |= chunk.span != chunk.owned;
        if self.plan.condition_on_previous_text {
            options.prompt = format!("{} {}", options.prompt, self.text_so_far()).trim().to_owned();
        }
        self.session.submit(index, reader(self.spool, chunk.span), Arc::new(options));
    }

    fn text_so_far(&self) -> String {
        self.context.iter().map(String::as_str).collect()
    }

    /// Waits for one chunk, then stitches all whose turn has come.
    fn take_one(&mut self) -> Result<(), PipelineError> {
        let (index, result) = self.session.next()?;
        let slot = index - self.next_index;
        match result {
            Err(AsrError::Cancelled) => return Err(AsrError::Cancelled.into()),
            Err(AsrError::Engine(_)) if !self.waiting[slot].tried_again => {
                self.waiting[slot].tried_again = true;
                self.submit(index, self.waiting[slot].chunk);
                return Ok(());
            }
            result => drop(self.done.insert(index, result)),
        }
        while let Some(result) = self.done.remove(&self.next_index) {
            self.next_index += 1;
            if let Some(waiting) = self.waiting.pop_front() {
                self.stitch(waiting.chunk, result)?;
            }
        }
        Ok(())
    }

    fn stitch(
        &mut self,
        chunk: Chunk,
        result: Result<ChunkTranscript, AsrError>,
    ) -> Result<(), PipelineError> {
        let segments = match result {
            Ok(text) => {
                self.recognised += 1;
                self.prompt_tokens = self.prompt_tokens.max(text.prompt_tokens);
                text.segments.into_iter().map(|segment| on_source_clock(segment, chunk.span)).collect()
            }
            Err(error) => {
                tracing::error!(%error, start = chunk.span.start, "a chunk could not be recognised");
                self.failed.push((chunk, error));
                Vec::new()
            }
        };
        let ready = self.stitcher.push(&chunk, segments);
        self.accept(ready)?;
        let progress = Event::Progress { done: chunk.owned.end, total: self.spool.total() };
        self.control.emit(progress);
        Ok(())
    }

    /// Adds final segments to the transcript and tells the listener. What nobody asked for is not kept.
    fn accept(&mut self, ready: Vec<Segment>) -> Result<(), PipelineError> {
        for mut segment in ready {
            if segment.text.trim().is_empty() {
                continue;
            }
            self.text_tokens += segment.text_tokens();
            if !self.plan.tokens {
                segment.tokens = Vec::new();
            }
            if !self.plan.decoding.word_times {
                segment.words = Vec::new();
            }
            if self.plan.condition_on_previous_text {
                self.remember(&segment.text);
            }
            self.control.emit(Event::Segment(segment.clone()));
            self.segments.push(segment)?;
        }
        Ok(())
    }

    /// Keeps as many of the last texts as make up the context.
    fn remember(&mut self, text: &str) {
        self.context.push_back(text.to_owned());
        let mut length: usize = self.context.iter().map(String::len).sum();
        while let Some(oldest) = self.context.front().map(String::len)
            && length - oldest > CONTEXT_CHARS
        {
            length -= oldest;
            self.context.pop_front();
        }
    }
}

fn failed_chunk((chunk, error): &(Chunk, AsrError)) -> Warning {
    Warning::at("chunk_failed", format!("this part could not be recognised: {error}"), chunk.owned)
}

/// Moves a segment from the clock of its chunk to that of the recording.
fn on_source_clock(mut segment: Segment, chunk: TimeSpan) -> Segment {
    segment.span = segment.span.shifted(chunk.start).clamped(chunk);
    segment.seek += chunk.start;
    for word in &mut segment.words {
        word.span = word.span.shifted(chunk.start).clamped(chunk);
    }
    segment
}
