//! Chunks through the engine, and their text in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::asr::engine::{EnginePool, ReadSamples, Recognised, Session};
use crate::asr::guard::{self, Evidence};
use crate::asr::stitch::{Stitcher, split_at};
use crate::asr::{AsrError, ChunkTranscript, DecodingOptions, language};
use crate::audio::PcmSpool;
use crate::language::Language;
use crate::telemetry::metrics::WorkMetrics;
use crate::time::{Chunk, SampleIndex, TimeSpan, ms_to_samples};
use crate::transcript::{Segment, Segments, Transcript};
use crate::vad::{Condensed, VoiceActivityDetector};

use super::findings::Findings;
use super::plan::Plan;
use super::review::{Case, Hearing, Review, Reviewed, Source, Step};
use super::scan::{ChunkScan, Found, Polled};
use super::speech_map::SpeechMap;
use super::vocals::Tracks;
use super::{Control, Event, PipelineError, Stage, StageClock};

/// How much of a recording is listened to for its language, from the first speech on: so much is decoded within
/// a second, however long the recording is, and it is the same stretch whatever the machine's speed.
const LANGUAGE_SEARCH: SampleIndex = ms_to_samples(180_000);

/// Characters of earlier text given to a chunk that asked for it; more than the model keeps.
const CONTEXT_CHARS: usize = 1_000;

/// By how much the temperature is raised when something is heard again: two of Whisper's own steps.
const WARMER: f32 = 0.4;

/// Words between two chunks are in doubt where one is less probable than this.
const SURE: f32 = 0.6;

/// How much is then heard once more, in ms.
const CLOSER_MS: u64 = 7_000;

/// What is listened to, and by whom speech is found in it.
pub struct Recording<'a> {
    /// The sound, and the voice in it by itself if that was asked for.
    pub tracks: &'a Tracks,
    /// Reset before every use.
    pub vad: &'a mut dyn VoiceActivityDetector,
    /// Told where speech may be, for others.
    pub map: Option<&'a SpeechMap>,
}

/// Recognises everything that is spoken in `recording`.
pub fn recognise(
    plan: &Plan,
    engine: &EnginePool,
    recording: Recording<'_>,
    control: &Control,
    clock: &mut StageClock,
) -> Result<Transcript, PipelineError> {
    let Recording { tracks, vad, map } = recording;
    let spool = tracks.clearest();
    let session = engine.session(control.cancel.clone(), plan.priority);
    let mut scan = ChunkScan::new(spool, vad, (plan.vad, plan.chunks), &control.cancel).telling(map);
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
        tracks,
        control,
        options: DecodingOptions { language, ..plan.decoding.clone() },
        limit: if plan.condition_on_previous_text { 1 } else { 2 * engine.workers() + 1 },
        waiting: VecDeque::new(),
        done: BTreeMap::new(),
        next_index: 0,
        stitcher: Stitcher::default(),
        segments: Segments::spilling_into(&plan.scratch),
        context: VecDeque::new(),
        prompt_tokens: 0,
        text_tokens: 0,
        findings: Findings::new(plan.checks),
        failure: None,
        recognised: 0,
        submitted_until: 0,
        counted_until: 0,
        metrics: clock.metrics.clone(),
    };
    let mut heard = run.drain(scan, clock)?;
    heard.count_until(spool.len());
    heard.findings.log();
    let separation = tracks.account(Some(heard.findings.sources));
    Ok(Transcript {
        task: plan.decoding.task,
        language,
        language_probability,
        duration: spool.len(),
        segments: heard.segments,
        turns: Vec::new(),
        speakers: Vec::new(),
        known_names: Vec::new(),
        prompt_tokens: heard.prompt_tokens,
        text_tokens: heard.text_tokens,
        warnings: heard.findings.warnings(),
        coverage: heard.findings.coverage,
        separation,
        dropped: heard.findings.dropped,
    })
}

/// Lets the longest chunks of the recording's first minutes of speech vote.
fn detect_language(
    plan: &Plan,
    session: &Session<'_>,
    spool: &Arc<PcmSpool>,
    scan: &mut ChunkScan<'_>,
) -> Result<(Language, f32), PipelineError> {
    let found = scan.look_ahead(LANGUAGE_SEARCH)?;
    let chunks: Vec<Chunk> = found.iter().map(|found| found.chunk).collect();
    let ask = |index: usize| {
        let Found { chunk, speech, .. } = &found[index];
        let heard = Condensed::new(chunk.span, speech, plan.chunks.max_pause());
        session.languages(reader(spool, heard))
    };
    let windows = language::pick_windows(&chunks, language::DETECTION_WINDOWS);
    let answers: Vec<_> = windows.iter().map(|index| ask(*index)).collect();
    let mut probabilities = Vec::new();
    let mut failure = None;
    for (index, answer) in windows.into_iter().zip(answers) {
        let heard = match received(&answer) {
            // As with chunks, an error of the engine may be of the moment.
            Err(AsrError::Engine(_)) => received(&ask(index)),
            heard => heard,
        };
        match heard {
            Ok(heard) => probabilities.push(heard),
            Err(error @ AsrError::Engine(_)) => failure = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match failure {
        Some(error) if probabilities.is_empty() => Err(error.into()),
        _ => Ok(language::decide(&probabilities, &plan.candidate_languages)),
    }
}

fn received(answer: &Receiver<Result<Vec<f32>, AsrError>>) -> Result<Vec<f32>, AsrError> {
    answer.recv().unwrap_or_else(|_| Err(AsrError::Engine("the engine has stopped".into())))
}

fn reader(spool: &Arc<PcmSpool>, heard: Condensed) -> ReadSamples {
    let spool = Arc::clone(spool);
    ReadSamples::new(heard.len(), move |samples| {
        for piece in heard.pieces() {
            spool.append(*piece, samples);
        }
    })
}

/// The state of one request's recognition.
struct Run<'a> {
    plan: &'a Plan,
    session: Session<'a>,
    tracks: &'a Tracks,
    control: &'a Control,
    options: DecodingOptions,
    /// Most chunks given to the engine and not yet stitched.
    limit: usize,
    /// Chunks in order whose text has not been stitched; the first has index `next_index`.
    waiting: VecDeque<Waiting>,
    /// Text that came before its turn.
    done: BTreeMap<usize, Result<Reviewed, (Chunk, AsrError)>>,
    next_index: usize,
    stitcher: Stitcher,
    segments: Segments,
    /// Texts of the last segments, for the next chunk; empty unless it asks for them.
    context: VecDeque<String>,
    prompt_tokens: usize,
    text_tokens: u64,
    findings: Findings,
    /// Why the last chunk that failed did.
    failure: Option<AsrError>,
    recognised: usize,
    /// End of the last chunk given to the engine.
    submitted_until: SampleIndex,
    /// How much of the recording counts as done.
    counted_until: SampleIndex,
    metrics: WorkMetrics,
}

struct Waiting {
    review: Review,
    /// The prompt of its hearings.
    prompt: String,
    tried_again: bool,
    /// What is heard before it is stitched, if it and the chunk before do not agree.
    disputed: Option<Disputed>,
}

/// A chunk that does not agree with the one before it.
struct Disputed {
    reviewed: Reviewed,
    /// What is being heard: the overlap in its middle.
    between: Chunk,
    /// What was heard in more sound around it, if that was in doubt.
    wider: Option<Between>,
}

/// A hearing between two chunks, its words on the source's clock.
type Between = (Chunk, Vec<Segment>);

impl Run<'_> {
    fn drain(mut self, mut scan: ChunkScan<'_>, clock: &mut StageClock) -> Result<Self, PipelineError> {
        let mut heard_all = false;
        loop {
            while !heard_all && self.waiting.len() < self.limit {
                match clock.time(Stage::Vad, || scan.poll())? {
                    Polled::Found(found) => self.submit_new(found),
                    Polled::Nothing => {}
                    Polled::End => heard_all = true,
                }
                // However long the search goes on, finished text does not wait for it.
                while let Some(recognised) = self.session.try_next() {
                    self.take_one(recognised)?;
                }
            }
            if self.waiting.is_empty() && heard_all {
                break;
            }
            if !self.waiting.is_empty() {
                let recognised = clock.time(Stage::Asr, || self.session.next())?;
                self.take_one(recognised)?;
            }
        }
        let rest = std::mem::take(&mut self.stitcher).finish();
        self.accept(rest)?;
        if self.recognised == 0
            && let Some(error) = self.failure.take()
        {
            return Err(error.into());
        }
        Ok(self)
    }

    fn submit_new(&mut self, Found { chunk, speech, confidence }: Found) {
        let index = self.next_index + self.waiting.len();
        let case = Case {
            chunk,
            speech,
            confidence,
            padding: ms_to_samples(self.plan.vad.speech_pad_ms),
            earliest: self.submitted_until.min(chunk.span.start),
            longest: ms_to_samples(self.plan.chunks.max_ms),
            max_pause: self.plan.chunks.max_pause(),
            is_separated: self.tracks.differ_in(chunk.span),
        };
        self.submitted_until = chunk.span.end;
        let prompt = if self.plan.condition_on_previous_text {
            format!("{} {}", self.options.prompt, self.text_so_far()).trim().to_owned()
        } else {
            self.options.prompt.clone()
        };
        self.waiting.push_back(Waiting {
            review: Review::new(case, self.plan.checks),
            prompt,
            tried_again: false,
            disputed: None,
        });
        self.submit(index);
    }

    /// Gives the engine what the review of chunk `index` wants to hear.
    fn submit(&self, index: usize) {
        let Waiting { review, prompt, .. } = &self.waiting[index - self.next_index];
        let Hearing { warmer, prompted, source, .. } = review.hearing();
        let chunk = review.chunk();
        let options = DecodingOptions {
            // The seam of overlapping chunks is found by words.
            word_times: self.options.word_times || chunk.span != chunk.owned,
            prompt: if prompted { prompt.clone() } else { String::new() },
            temperature: if warmer {
                (self.options.temperature + WARMER).min(1.0)
            } else {
                self.options.temperature
            },
            ..self.options.clone()
        };
        self.session.submit(index, reader(self.tracks.of(source), review.heard()), Arc::new(options));
    }

    fn text_so_far(&self) -> String {
        self.context.iter().map(String::as_str).collect()
    }

    /// Takes one hearing; goes on with its chunk's review, then stitches all chunks whose turn has come.
    fn take_one(&mut self, (index, result): Recognised) -> Result<(), PipelineError> {
        let Some(waiting) = index.checked_sub(self.next_index).and_then(|slot| self.waiting.get_mut(slot))
        else {
            return Err(AsrError::Engine("a chunk came back twice".into()).into());
        };
        if let Some(disputed) = waiting.disputed.take() {
            self.settle(disputed, result)?;
            return self.stitch_ready();
        }
        let Waiting { review, prompt, tried_again, .. } = waiting;
        let step = match result {
            Err(AsrError::Cancelled) => return Err(AsrError::Cancelled.into()),
            Err(AsrError::Engine(_)) if !*tried_again => {
                *tried_again = true;
                self.submit(index);
                return Ok(());
            }
            Err(error) if review.is_first() => {
                let failed = Err((review.chunk(), error));
                self.done.insert(index, failed);
                return self.stitch_ready();
            }
            Err(_) => review.fail(prompt),
            Ok(text) => {
                self.prompt_tokens = self.prompt_tokens.max(text.prompt_tokens);
                let heard = review.heard();
                review.take(on_source_clock(text, &heard), prompt)
            }
        };
        match step {
            Step::Hear => {
                *tried_again = false;
                self.submit(index);
            }
            Step::Done(reviewed) => drop(self.done.insert(index, Ok(reviewed))),
        }
        self.stitch_ready()
    }

    fn stitch_ready(&mut self) -> Result<(), PipelineError> {
        while let Some(result) = self.done.remove(&self.next_index) {
            match result {
                Ok(reviewed) => match self.dispute(&reviewed) {
                    Some(between) => {
                        self.hear_between(Disputed { reviewed, between, wider: None });
                        return Ok(());
                    }
                    None => self.stitch(reviewed, None)?,
                },
                Err((chunk, error)) => self.stitch_failed(chunk, error)?,
            }
        }
        Ok(())
    }

    /// What is to be heard once more before this chunk is joined to the one before, if anything.
    fn dispute(&self, reviewed: &Reviewed) -> Option<Chunk> {
        let is_wanted = self.plan.checks.coverage;
        is_wanted.then(|| self.stitcher.disputed(&reviewed.chunk, &reviewed.segments)).flatten()
    }

    /// Has the overlap heard in which the next chunk to stitch and the one before do not agree.
    fn hear_between(&mut self, disputed: Disputed) {
        let Disputed { reviewed, between, .. } = &disputed;
        tracing::debug!(start = between.owned.start, "two chunks do not agree on what both heard");
        let source = self.tracks.of(reviewed.chosen.unwrap_or(Source::Voice));
        let options = DecodingOptions { word_times: true, ..self.options.clone() };
        let samples = reader(source, Condensed::new(between.span, &[], None));
        self.session.submit(self.next_index, samples, Arc::new(options));
        self.waiting[0].disputed = Some(disputed);
    }

    /// Stitches the next chunk with what was heard between it and the one before, if that is any better than nothing. What
    /// is in doubt is heard once more with less around it, and the surer of the two is taken.
    fn settle(
        &mut self,
        Disputed { mut reviewed, between, wider }: Disputed,
        result: Result<ChunkTranscript, AsrError>,
    ) -> Result<(), PipelineError> {
        let heard = match result {
            Err(AsrError::Cancelled) => return Err(AsrError::Cancelled.into()),
            Err(_) => Vec::new(),
            Ok(text) => on_source_clock(text, &Condensed::new(between.span, &[], None)),
        };
        reviewed.heard_again = true;
        let evidence = Evidence { speech: &[between.span], prompt: &self.options.prompt };
        let is_clean = !heard.is_empty() && guard::suspicions(&heard, &evidence).is_empty();
        let here = is_clean.then_some((between, heard));
        let sureness = |hearing: &Option<Between>| hearing.as_ref().map_or(0.0, least_sure);
        let is_first = between.span.len() > ms_to_samples(CLOSER_MS);
        if is_first && sureness(&here) < SURE {
            let middle = between.span.midpoint();
            let closer = TimeSpan::new(middle, middle).widened(ms_to_samples(CLOSER_MS) / 2);
            let between = Chunk { span: closer, owned: between.owned.clamped(closer) };
            self.hear_between(Disputed { reviewed, between, wider: here });
            return Ok(());
        }
        let surer = if sureness(&wider) > sureness(&here) { wider } else { here };
        self.stitch(reviewed, surer)
    }

    fn stitch(&mut self, mut reviewed: Reviewed, between: Option<Between>) -> Result<(), PipelineError> {
        self.recognised += 1;
        let segments = std::mem::take(&mut reviewed.segments);
        let chunk = reviewed.chunk;
        self.count(&reviewed);
        self.findings.add(reviewed);
        let ready = match between {
            Some((between, heard)) => self.stitcher.push_after((&between, heard), &chunk, segments),
            None => self.stitcher.push(&chunk, segments),
        };
        self.stitched(chunk, ready)
    }

    fn stitch_failed(&mut self, chunk: Chunk, error: AsrError) -> Result<(), PipelineError> {
        tracing::error!(%error, start = chunk.span.start, "a chunk could not be recognised");
        self.metrics.chunk_failed();
        self.findings.add_failure(chunk, &error);
        self.failure = Some(error);
        let ready = self.stitcher.push(&chunk, Vec::new());
        self.stitched(chunk, ready)
    }

    /// Goes on to the next chunk.
    fn stitched(&mut self, chunk: Chunk, ready: Vec<Segment>) -> Result<(), PipelineError> {
        self.next_index += 1;
        self.waiting.pop_front();
        self.accept(ready)?;
        self.count_until(chunk.owned.end);
        let progress = Event::Progress { done: chunk.owned.end, total: self.tracks.clearest().total() };
        self.control.emit(progress);
        Ok(())
    }

    fn count(&self, reviewed: &Reviewed) {
        self.metrics.chunk(reviewed.heard_again, reviewed.speech);
        reviewed.dropped.iter().for_each(|dropped| self.metrics.dropped(dropped.reason.name()));
        reviewed.uncovered.iter().for_each(|gap| self.metrics.gap(gap.len()));
    }

    /// The recording is done up to here, silence included.
    fn count_until(&mut self, end: SampleIndex) {
        self.metrics.done(end.saturating_sub(self.counted_until));
        self.counted_until = self.counted_until.max(end);
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

/// Probability of the least probable word where the two chunks overlap; 0 where there is none.
fn least_sure((between, heard): &Between) -> f32 {
    let words = heard.iter().flat_map(|segment| &segment.words);
    let inside = words.filter(|word| between.owned.contains(word.span.midpoint()));
    inside.map(|word| word.probability).reduce(f32::min).unwrap_or(0.0)
}

/// Moves a chunk's text from the clock of what was heard to that of the recording. A segment that runs over a pause
/// that was left out becomes two, if it has words to tell where.
fn on_source_clock(text: ChunkTranscript, heard: &Condensed) -> Vec<Segment> {
    let moved = |mut segment: Segment| {
        segment.span = heard.span_on_source(segment.span);
        segment.seek = heard.start_on_source(segment.seek);
        for word in &mut segment.words {
            word.span = heard.span_on_source(word.span);
        }
        segment
    };
    text.segments.into_iter().map(moved).flat_map(|segment| set_apart(segment, heard)).collect()
}

fn set_apart(segment: Segment, heard: &Condensed) -> Vec<Segment> {
    let (mut apart, mut rest) = (Vec::new(), segment);
    for pause in heard.left_out() {
        if let Some((before, after)) = split_at(&rest, pause.end) {
            apart.push(before);
            rest = after;
        }
    }
    apart.push(rest);
    apart
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Word;

    #[test]
    fn a_hearing_between_chunks_is_as_sure_as_its_least_probable_word_in_their_overlap() {
        let chunk = Chunk { span: TimeSpan::new(0, 100), owned: TimeSpan::new(30, 70) };
        let heard = |words: &[(u64, f32)]| {
            let word = |&(at, probability): &(u64, f32)| Word {
                span: TimeSpan::new(at, at + 10),
                probability,
                ..Word::default()
            };
            (chunk, vec![Segment { words: words.iter().map(word).collect(), ..Segment::default() }])
        };
        assert_eq!(least_sure(&heard(&[(0, 0.1), (30, 0.9), (50, 0.7), (90, 0.2)])), 0.7);
        assert_eq!(least_sure(&heard(&[(0, 0.9)])), 0.0, "nothing there");
    }

    #[test]
    fn text_comes_back_to_the_times_at_which_it_was_spoken() {
        let at = TimeSpan::new;
        let word = |span| Word { text: " w".into(), span, probability: 1.0, ..Word::default() };
        let segment = Segment {
            span: at(10, 420),
            text: " w w w".into(),
            words: vec![word(at(10, 100)), word(at(100, 150)), word(at(150, 420))],
            seek: 5,
            avg_logprob: -0.2,
            ..Segment::default()
        };
        let text = ChunkTranscript { segments: vec![segment], ..ChunkTranscript::default() };
        // Heard are 1000 to 1150 and 1950 to 2200.
        let heard = Condensed::new(at(1_000, 2_200), &[at(1_000, 1_100), at(2_000, 2_200)], Some(100));
        let [first, second] = &on_source_clock(text.clone(), &heard)[..] else { panic!("two segments") };
        assert_eq!((first.span, first.text.as_str(), first.seek), (at(1_010, 1_150), " w w", 1_005));
        assert_eq!((second.span, second.text.as_str(), second.seek), (at(1_950, 2_200), " w", 1_005));
        let words = first.words.iter().chain(&second.words);
        let spans: Vec<_> = words.map(|word| word.span).collect();
        assert_eq!(spans, [at(1_010, 1_100), at(1_100, 1_150), at(1_950, 2_200)]);

        let mut wordless = text;
        wordless.segments[0].words.clear();
        let [whole] = &on_source_clock(wordless, &heard)[..] else { panic!("one segment") };
        assert_eq!((whole.span, whole.text.as_str()), (at(1_010, 2_200), " w w w"));
    }
}
