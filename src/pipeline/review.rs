//! What is done with a chunk's text before it counts: guard, second hearing, coverage. Pure.
//!
//! A state machine for one chunk. It says what to listen to next, takes what was heard, and in the end gives
//! the text with what was left out and what stayed without text. It runs no model and knows no queue:
//! `recognise` does. Read next: `asr::guard`, `coverage`.

use std::collections::VecDeque;

use crate::asr::guard::{self, Evidence};
use crate::asr::speech_times::hold_to_speech;
use crate::asr::stitch::{split_at, without_repeats};
use crate::time::{Chunk, SampleIndex, TimeSpan, ms_to_samples};
use crate::transcript::{DropReason, DroppedText, Segment};
use crate::vad::Condensed;

use super::coverage::{uncovered, without_padding};

/// How much earlier a second hearing begins, in ms, where nothing else is spoken: another cut, which also
/// mends a beginning that voice activity missed.
const EARLIER_MS: u64 = 1_000;

/// Sound around a stretch without text that is heard with it, in ms. Less than coverage's tolerance, so that
/// no word that has text is heard again.
const GAP_PADDING_MS: u64 = 300;

/// By how much the hearing that must bear out a gap's text is cut at both ends, in ms.
const PROOF_CUT_MS: u64 = 150;

/// Most stretches of a chunk that are heard again.
const MAX_GAPS: usize = 8;

/// Chunks heard for longer than this, in ms, are not heard again for mere doubt or their first letter: it would cost
/// too much.
const MAX_DOUBTED_MS: u64 = 10_000;

/// Mean log probability below which a short chunk is heard again. Sentences that the bundled model has right
/// lie above -0.5; Whisper's own bound for trying another temperature is -1.
const DOUBTED_LOGPROB: f32 = -0.6;

/// Mean probability of speech below which voice activity doubts that it is any: half its own default threshold.
const FAINT_SPEECH: f32 = 0.25;

/// By how much a doubted chunk's second hearing must be likelier.
const CLEARLY_LIKELIER: f32 = 0.1;

/// Text found in a hearing of a gap must be at least this likely, and lie under Whisper's own bound for
/// silence: nothing was heard there at first, so it had better be sure.
const MIN_GAP_LOGPROB: f32 = -0.7;
const MAX_GAP_NO_SPEECH: f32 = 0.6;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReviewChecks {
    /// Text that nobody said is looked for.
    pub guard: bool,
    /// Speech without text is looked for.
    pub coverage: bool,
}

/// Which sound of a recording is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The voice by itself, as far as it was separated.
    Voice,
    /// Everything.
    Mix,
}

/// A stretch to be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hearing {
    /// What to listen to; `Review::heard` says which parts of it.
    pub span: TimeSpan,
    /// Whether the temperature is raised.
    pub warmer: bool,
    /// Whether the prompt is given.
    pub prompted: bool,
    /// In which sound.
    pub source: Source,
}

impl Hearing {
    /// A chunk's first hearing, as the request asks for it.
    fn first(span: TimeSpan, source: Source) -> Self {
        Self { span, warmer: false, prompted: true, source }
    }
}

/// What comes after a hearing.
pub enum Step {
    /// Another one: `Review::hearing`.
    Hear,
    /// Nothing; the chunk is done.
    Done(Reviewed),
}

/// A chunk's text after all checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Reviewed {
    /// The chunk, which may begin earlier than it did.
    pub chunk: Chunk,
    /// Text in order, on the clock of the recording.
    pub segments: Vec<Segment>,
    /// What the guard left out.
    pub dropped: Vec<DroppedText>,
    /// Speech that the chunk owns, in samples.
    pub speech: SampleIndex,
    /// The parts of it without text; empty when coverage is off.
    pub uncovered: Vec<TimeSpan>,
    /// Whether anything was decoded again.
    pub heard_again: bool,
    /// Which sound the text was heard in, where the chunk was heard in both.
    pub chosen: Option<Source>,
}

/// What is known of a chunk before it is heard.
pub struct Case {
    /// The chunk.
    pub chunk: Chunk,
    /// Where voice activity found speech in it, padding included; sorted, disjoint.
    pub speech: Vec<TimeSpan>,
    /// How sure voice activity is of it, in [0, 1].
    pub confidence: f32,
    /// Padding of those regions, in samples.
    pub padding: SampleIndex,
    /// Where the chunk before ended; a second hearing begins no earlier.
    pub earliest: SampleIndex,
    /// The most that the recogniser takes at once, in samples.
    pub longest: SampleIndex,
    /// What pauses are shortened to before they are heard, in samples; `None` where they are heard whole.
    pub max_pause: Option<SampleIndex>,
    /// Whether its voice was separated anywhere, so that there are two sounds to choose from.
    pub is_separated: bool,
}

impl Case {
    fn condensed(&self, span: TimeSpan) -> Condensed {
        Condensed::new(span, &self.speech, self.max_pause)
    }
}

/// The review of one chunk.
pub struct Review {
    case: Case,
    checks: ReviewChecks,
    state: State,
    hearing: Hearing,
    dropped: Vec<DroppedText>,
    heard_again: bool,
    /// The sound in which everything but the comparison is heard.
    source: Source,
    chosen: Option<Source>,
}

enum State {
    First,
    /// The voice has been heard, and the mix is to be compared with it.
    Mix {
        voice: Vec<Segment>,
    },
    Second {
        first: Vec<Segment>,
        reason: Reason,
    },
    Gaps {
        segments: Vec<Segment>,
        left: VecDeque<TimeSpan>,
        /// Text found in the first of `left`, to be borne out by one more hearing.
        found: Option<Vec<Segment>>,
    },
}

/// Why a chunk is heard a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// The guard holds some of its text for invented.
    Suspicious,
    /// The recogniser is unsure.
    Doubtful,
    /// It begins in the middle of a sentence: voice activity may have missed the start.
    CutOff,
}

impl Review {
    /// Begins with the chunk as it was cut.
    pub fn new(case: Case, checks: ReviewChecks) -> Self {
        let source = Source::Voice;
        Self {
            hearing: Hearing::first(case.chunk.span, source),
            case,
            checks,
            state: State::First,
            dropped: Vec::new(),
            heard_again: false,
            source,
            chosen: None,
        }
    }

    /// The chunk under review.
    pub fn chunk(&self) -> Chunk {
        self.case.chunk
    }

    /// What is to be heard now.
    pub fn hearing(&self) -> Hearing {
        self.hearing
    }

    /// What of `hearing` reaches the recogniser, and when that was.
    pub fn heard(&self) -> Condensed {
        self.case.condensed(self.hearing.span)
    }

    /// Whether nothing has been heard yet.
    pub fn is_first(&self) -> bool {
        matches!(self.state, State::First)
    }

    /// Takes the text of `hearing`, on the clock of the recording; `prompt` is what the chunk was given.
    pub fn take(&mut self, heard: Vec<Segment>, prompt: &str) -> Step {
        match std::mem::replace(&mut self.state, State::First) {
            State::First if self.case.is_separated => self.hear_mix(heard),
            State::First => self.after_first(heard, prompt),
            State::Mix { voice } => self.after_both(voice, heard, prompt),
            State::Second { first, reason } => self.after_second(first, reason, heard, prompt),
            State::Gaps { segments, left, found: None } => self.after_gap(segments, left, heard),
            State::Gaps { segments, left, found: Some(found) } => {
                self.after_proof(segments, left, found, &heard)
            }
        }
    }

    /// Takes that `hearing` failed; what was heard before stands. Not for the first one, without which there is
    /// no text to go on with.
    pub fn fail(&mut self, prompt: &str) -> Step {
        match std::mem::replace(&mut self.state, State::First) {
            State::Mix { voice } => self.after_first(voice, prompt),
            State::Second { first, .. } => self.look_for_gaps(first),
            state => {
                self.state = state;
                self.take(Vec::new(), prompt)
            }
        }
    }

    /// Separation may have hurt the voice: the mix is heard in the same way.
    fn hear_mix(&mut self, voice: Vec<Segment>) -> Step {
        self.hearing = Hearing::first(self.case.chunk.span, Source::Mix);
        self.state = State::Mix { voice };
        Step::Hear
    }

    /// Goes on with the likelier text, and with the sound that it was heard in.
    fn after_both(&mut self, voice: Vec<Segment>, mix: Vec<Segment>, prompt: &str) -> Step {
        let is_voice = self.trust(&voice, prompt) >= self.trust(&mix, prompt);
        let (source, heard) = if is_voice { (Source::Voice, voice) } else { (Source::Mix, mix) };
        (self.source, self.chosen) = (source, Some(source));
        self.hearing = Hearing::first(self.case.chunk.span, source);
        self.after_first(heard, prompt)
    }

    /// How far a hearing is believed; comparable. Some text before none, since both were heard where somebody speaks;
    /// then what the guard has no doubts about, for nothing is likelier to a recogniser than a circle that it is in; then
    /// the mean log probability.
    fn trust(&self, heard: &[Segment], prompt: &str) -> (bool, bool, f32) {
        let said = heard.iter().any(|segment| !guard::is_blank(segment) && !segment.text.trim().is_empty());
        let is_clean = !self.checks.guard || guard::suspicions(heard, &self.evidence(prompt)).is_empty();
        (said, is_clean, mean_logprob(heard))
    }

    fn after_first(&mut self, heard: Vec<Segment>, prompt: &str) -> Step {
        if !self.checks.guard {
            return self.look_for_gaps(heard);
        }
        let first = self.without_blanks(heard);
        let Some(reason) = self.reason_for_second(&first, prompt) else { return self.look_for_gaps(first) };
        let is_suspicious = reason == Reason::Suspicious;
        let hearing = Hearing {
            span: self.recut(),
            warmer: is_suspicious,
            prompted: !is_suspicious,
            source: self.source,
        };
        self.state = State::Second { first, reason };
        self.hear(hearing)
    }

    fn reason_for_second(&self, first: &[Segment], prompt: &str) -> Option<Reason> {
        if !guard::suspicions(first, &self.evidence(prompt)).is_empty() {
            return Some(Reason::Suspicious);
        }
        if is_doubtful(first) && (self.may_be_doubted() || self.is_faint()) {
            return Some(Reason::Doubtful);
        }
        if first.is_empty() || !self.may_be_doubted() {
            return None;
        }
        (!self.overlaps() && begins_in_lower_case(first)).then_some(Reason::CutOff)
    }

    fn after_second(
        &mut self,
        first: Vec<Segment>,
        reason: Reason,
        heard: Vec<Segment>,
        prompt: &str,
    ) -> Step {
        let second = self.without_blanks(heard);
        let is_clean = guard::suspicions(&second, &self.evidence(prompt)).is_empty();
        // Nothing at all is not likelier than something.
        let is_likelier = !second.is_empty() && logprob(&second) > logprob(&first) + CLEARLY_LIKELIER;
        let is_better = match reason {
            Reason::Suspicious => {
                let settled = guard::settle(first, &second, &self.evidence(prompt));
                let is_better = is_clean && !second.is_empty() && !settled.dropped.is_empty();
                self.dropped.extend(settled.dropped);
                let segments = if is_better { self.adopt(second) } else { settled.segments };
                return self.look_for_gaps(segments);
            }
            // Recogniser and voice activity doubt it: a sound, which will not be speech when it is heard a third time.
            Reason::Doubtful if self.is_faint() && (second.is_empty() || is_doubtful(&second)) => {
                self.drop_as_silence(first);
                return self.done(Vec::new());
            }
            Reason::Doubtful => is_clean && is_likelier,
            Reason::CutOff => is_clean && guard::begins_earlier(&second, &first),
        };
        if !is_better && begins_in_lower_case(&first) && guard::is_stray(&first, &second) {
            self.drop_as_silence(first);
            return self.look_for_gaps(Vec::new());
        }
        let segments = if is_better { self.adopt(second) } else { first };
        self.look_for_gaps(segments)
    }

    /// The second hearing counts: the chunk is what it heard.
    fn adopt(&mut self, second: Vec<Segment>) -> Vec<Segment> {
        let chunk = &mut self.case.chunk;
        if chunk.owned.start == chunk.span.start {
            chunk.owned.start = self.hearing.span.start;
        }
        chunk.span = self.hearing.span;
        // Earlier speech than voice activity found is why the chunk was heard from earlier on; there is some where
        // there is text.
        if let (Some(region), Some(first)) = (self.case.speech.first_mut(), second.first()) {
            region.start = region.start.min(first.span.start.max(chunk.span.start));
        }
        second
    }

    fn look_for_gaps(&mut self, mut segments: Vec<Segment>) -> Step {
        for segment in &mut segments {
            hold_to_speech(segment, &self.case.speech);
        }
        let gaps = if self.checks.coverage { uncovered(&self.bare_speech(), &segments) } else { Vec::new() };
        self.next_gap(segments, gaps.into_iter().take(MAX_GAPS).collect())
    }

    fn next_gap(&mut self, segments: Vec<Segment>, left: VecDeque<TimeSpan>) -> Step {
        let Some(gap) = left.front() else { return self.done(segments) };
        let span = gap.widened(ms_to_samples(GAP_PADDING_MS)).clamped(self.case.chunk.span);
        self.state = State::Gaps { segments, left, found: None };
        self.hear(Hearing { span, warmer: false, prompted: false, source: self.source })
    }

    /// A gap was heard by itself. What a recogniser says there is not to be trusted at once, for it heard
    /// nothing before, and the sound may be none of speech: it must say so twice.
    fn after_gap(
        &mut self,
        segments: Vec<Segment>,
        mut left: VecDeque<TimeSpan>,
        heard: Vec<Segment>,
    ) -> Step {
        let Hearing { span, .. } = self.hearing;
        let evidence = Evidence { speech: &[span], prompt: "" };
        let found: Vec<Segment> = heard.into_iter().filter(is_sure).collect();
        if found.is_empty() || !guard::suspicions(&found, &evidence).is_empty() {
            left.pop_front();
            return self.next_gap(segments, left);
        }
        self.state = State::Gaps { segments, left, found: Some(found) };
        let margin = ms_to_samples(PROOF_CUT_MS).min(span.len() / 8);
        self.hear(Hearing {
            span: TimeSpan::new(span.start + margin, span.end - margin),
            warmer: true,
            prompted: false,
            source: self.source,
        })
    }

    fn after_proof(
        &mut self,
        segments: Vec<Segment>,
        mut left: VecDeque<TimeSpan>,
        found: Vec<Segment>,
        proof: &[Segment],
    ) -> Step {
        let gap = left.pop_front().unwrap_or_default().widened(ms_to_samples(GAP_PADDING_MS));
        if !guard::agree(&found, proof) {
            return self.next_gap(segments, left);
        }
        let found = without_repeats(&segments, found, gap.midpoint());
        let segments = found.into_iter().fold(segments, |segments, mut segment| {
            hold_to_speech(&mut segment, &[gap]);
            insert(segments, segment)
        });
        self.next_gap(segments, left)
    }

    fn done(&mut self, segments: Vec<Segment>) -> Step {
        let bare = self.bare_speech();
        let uncovered = if self.checks.coverage { uncovered(&bare, &segments) } else { Vec::new() };
        Step::Done(Reviewed {
            chunk: self.case.chunk,
            segments,
            dropped: std::mem::take(&mut self.dropped),
            speech: bare.iter().map(TimeSpan::len).sum(),
            uncovered,
            heard_again: self.heard_again,
            chosen: self.chosen,
        })
    }

    fn hear(&mut self, hearing: Hearing) -> Step {
        self.hearing = hearing;
        self.heard_again = true;
        Step::Hear
    }

    fn evidence<'a>(&'a self, prompt: &'a str) -> Evidence<'a> {
        Evidence { speech: &self.case.speech, prompt }
    }

    fn bare_speech(&self) -> Vec<TimeSpan> {
        without_padding(&self.case.speech, self.case.padding, self.case.chunk.owned)
    }

    /// Marks in silence go at once.
    fn without_blanks(&mut self, segments: Vec<Segment>) -> Vec<Segment> {
        let (blank, rest): (Vec<_>, Vec<_>) = segments.into_iter().partition(guard::is_blank);
        self.drop_as_silence(blank);
        rest
    }

    fn drop_as_silence(&mut self, segments: Vec<Segment>) {
        let written = segments.into_iter().filter(|segment| !segment.text.trim().is_empty());
        self.dropped.extend(written.map(|segment| DroppedText {
            span: segment.span,
            text: segment.text.trim().to_owned(),
            reason: DropReason::Silence,
        }));
    }

    /// Whether it is heard from the middle of speech, which the chunk before answers for.
    fn overlaps(&self) -> bool {
        let chunk = self.case.chunk;
        chunk.owned.start > chunk.span.start
    }

    /// Whether voice activity itself doubts that somebody speaks.
    fn is_faint(&self) -> bool {
        self.case.confidence < FAINT_SPEECH
    }

    /// Whether the chunk is short, and could be cut in another place.
    fn may_be_doubted(&self) -> bool {
        let span = self.case.chunk.span;
        self.case.condensed(span).len() <= ms_to_samples(MAX_DOUBTED_MS) && self.recut() != span
    }

    /// The chunk from somewhat earlier on, or from later on where it is heard from the middle of speech.
    fn recut(&self) -> TimeSpan {
        let Case { chunk, earliest, longest, .. } = self.case;
        if self.overlaps() {
            return TimeSpan::new(chunk.span.start.midpoint(chunk.owned.start), chunk.span.end);
        }
        let room = longest.saturating_sub(self.case.condensed(chunk.span).len());
        let start = chunk.span.start.saturating_sub(room.min(ms_to_samples(EARLIER_MS))).max(earliest);
        TimeSpan::new(start.min(chunk.span.start), chunk.span.end)
    }
}

/// Whether the recogniser is unsure.
fn is_doubtful(segments: &[Segment]) -> bool {
    logprob(segments) < DOUBTED_LOGPROB
}

/// The lowest mean log probability of a chunk's windows; 0 for no text.
fn logprob(segments: &[Segment]) -> f32 {
    segments.iter().map(|segment| segment.avg_logprob).fold(0.0, f32::min)
}

/// The mean log probability of all tokens; a segment without tokens counts as one. 0 for no text.
fn mean_logprob(segments: &[Segment]) -> f32 {
    let weight = |segment: &Segment| segment.tokens.len().max(1) as f32;
    let tokens: f32 = segments.iter().map(weight).sum();
    let sum: f32 = segments.iter().map(|segment| segment.avg_logprob * weight(segment)).sum();
    if tokens > 0.0 { sum / tokens } else { 0.0 }
}

/// Recognisers that write capitals begin a sentence with one.
fn begins_in_lower_case(segments: &[Segment]) -> bool {
    let mut letters =
        segments.iter().flat_map(|segment| segment.text.chars()).filter(|c| c.is_alphanumeric());
    letters.next().is_some_and(char::is_lowercase)
}

fn is_sure(segment: &Segment) -> bool {
    segment.avg_logprob > MIN_GAP_LOGPROB
        && segment.no_speech_prob < MAX_GAP_NO_SPEECH
        && segment.text.chars().any(char::is_alphanumeric)
}

/// Puts `fresh` among `segments` by its start, splitting the one that it falls into.
fn insert(segments: Vec<Segment>, fresh: Segment) -> Vec<Segment> {
    let at = fresh.span.start;
    let mut all: Vec<Segment> = Vec::with_capacity(segments.len() + 2);
    for segment in segments {
        match split_at(&segment, at).filter(|_| segment.span.end > at) {
            Some((left, right)) => all.extend([left, right]),
            None => all.push(segment),
        }
    }
    let place = all.partition_point(|segment| segment.span.start < at);
    all.insert(place, fresh);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Word;

    const SECOND: u64 = 16_000;
    const ALL: ReviewChecks = ReviewChecks { guard: true, coverage: true };

    fn span(start: f64, end: f64) -> TimeSpan {
        TimeSpan::new((start * SECOND as f64) as u64, (end * SECOND as f64) as u64)
    }

    fn segment(start: f64, end: f64, text: &str) -> Segment {
        Segment { span: span(start, end), text: text.to_owned(), avg_logprob: -0.2, ..Segment::default() }
    }

    fn spoken(text: &str, times: &[(f64, f64)]) -> Segment {
        let words = text.split_inclusive(' ').zip(times).map(|(word, (start, end))| Word {
            text: word.to_owned(),
            span: span(*start, *end),
            probability: 1.0,
            ..Word::default()
        });
        let (start, end) = (times[0].0, times[times.len() - 1].1);
        Segment { words: words.collect(), ..segment(start, end, text) }
    }

    #[test]
    fn silence_before_a_second_hearing_s_text_is_no_speech_without_text() {
        let doubted = |start, text, logprob| Segment { avg_logprob: logprob, ..segment(start, 12.0, text) };
        let mut review = Review::new(case(12.0), ALL);
        assert!(matches!(review.take(vec![doubted(10.0, " Was?", -0.9)], ""), Step::Hear));
        let Step::Done(reviewed) = review.take(vec![doubted(10.3, " What?", -0.2)], "") else {
            panic!("nothing is left to be heard")
        };
        assert_eq!(reviewed.segments[0].text, " What?");
        assert!(reviewed.uncovered.is_empty(), "{:?}", reviewed.uncovered);
    }

    #[test]
    fn a_second_hearing_that_fails_leaves_the_first_as_it_was() {
        let mut review = Review::new(case(12.0), ALL);
        let chant = segment(10.0, 12.0, &" no".repeat(30));
        assert!(matches!(review.take(vec![chant.clone()], ""), Step::Hear));
        let Step::Done(reviewed) = review.fail("") else { panic!("nothing is left to be heard") };
        assert_eq!(reviewed.segments[0].text, chant.text);
        assert!(reviewed.dropped.is_empty());
    }

    /// A chunk of one region, from 10 s to `end`, after one that ended at 8 s.
    fn case(end: f64) -> Case {
        let at = span(10.0, end);
        Case {
            chunk: Chunk { span: at, owned: at },
            speech: vec![at],
            confidence: 0.9,
            padding: SECOND * 3 / 10,
            earliest: 8 * SECOND,
            longest: 30 * SECOND,
            max_pause: Some(SECOND),
            is_separated: false,
        }
    }

    /// The same, where the voice was separated.
    fn separated_case(end: f64) -> Case {
        Case { is_separated: true, ..case(end) }
    }

    fn likely(text: &str, avg_logprob: f32) -> Vec<Segment> {
        vec![Segment { avg_logprob, ..segment(10.3, 13.7, text) }]
    }

    #[test]
    fn text_that_both_recogniser_and_detector_doubt_is_left_out() {
        let heard_twice = |confidence, second: f32| {
            let mut review = Review::new(Case { confidence, ..case(14.0) }, ALL);
            assert!(matches!(review.take(likely(" I worked as a lawyer", -0.9), ""), Step::Hear));
            done(review.take(likely(" I worked as a lawyer", second), ""))
        };
        let faint = heard_twice(0.05, -0.65);
        assert_eq!((faint.segments.len(), faint.dropped.len()), (0, 1));
        assert_eq!(faint.dropped[0].reason, DropReason::Silence);
        assert_eq!(heard_twice(0.05, -0.5).segments.len(), 1, "the second time it is sure");
        assert_eq!(heard_twice(0.6, -0.65).segments.len(), 1, "somebody speaks there");
    }

    #[test]
    fn a_separated_chunk_is_heard_in_both_sounds_and_the_likelier_text_counts() {
        for (voice, mix, chosen) in
            [(-0.2, -0.3, Source::Voice), (-0.3, -0.2, Source::Mix), (-0.2, -0.2, Source::Voice)]
        {
            let mut review = Review::new(separated_case(14.0), ALL);
            assert_eq!(review.hearing(), Hearing::first(span(10.0, 14.0), Source::Voice));
            let second = hear(&mut review, likely(" The voice.", voice));
            assert_eq!(second, Hearing::first(span(10.0, 14.0), Source::Mix));
            assert!(!review.is_first(), "the voice's text stands if this fails");
            let reviewed = done(review.take(likely(" The mix.", mix), ""));
            let text = if chosen == Source::Voice { " The voice." } else { " The mix." };
            assert_eq!((texts(&reviewed), reviewed.chosen), (vec![text], Some(chosen)));
            assert!(!reviewed.heard_again, "to compare is not to doubt");
        }
    }

    #[test]
    fn tokens_count_alike_however_they_lie_in_segments() {
        let token = || crate::transcript::Token { id: 1, bytes: b"x".to_vec(), logprob: -0.1 };
        let of = |count: usize, avg_logprob| Segment {
            tokens: std::iter::repeat_with(token).take(count).collect(),
            avg_logprob,
            ..segment(10.3, 13.7, " text")
        };
        assert!((mean_logprob(&[of(9, -0.1), of(1, -1.1)]) + 0.2).abs() < 1e-6);
        assert_eq!((mean_logprob(&[of(0, -0.5)]), mean_logprob(&[])), (-0.5, 0.0));
    }

    #[test]
    fn some_text_counts_before_none_and_a_circle_after_everything_else() {
        let circle = vec![segment(10.0, 14.0, &" Thank you all.".repeat(8))];
        let dot = vec![Segment { no_speech_prob: 0.95, ..segment(10.0, 14.0, " .") }];
        let unsure = || likely(" Please open the window.", -0.5);
        for (voice, mix, chosen) in [
            (Vec::new(), unsure(), Source::Mix),
            (unsure(), Vec::new(), Source::Voice),
            (dot, unsure(), Source::Mix),
            (circle, unsure(), Source::Mix),
        ] {
            let mut review = Review::new(separated_case(14.0), ALL);
            hear(&mut review, voice);
            let reviewed = done(review.take(mix, ""));
            assert_eq!(texts(&reviewed), [" Please open the window."]);
            assert_eq!((reviewed.chosen, reviewed.dropped), (Some(chosen), vec![]));
        }
    }

    #[test]
    fn all_later_hearings_are_in_the_sound_that_was_chosen() {
        for (voice, mix, chosen) in [(-0.3, -0.9, Source::Voice), (-0.9, -0.3, Source::Mix)] {
            let mut review = Review::new(separated_case(20.0), ALL);
            let first = |logprob| {
                let words = spoken(" One two", &[(10.3, 10.5), (11.0, 12.0), (19.0, 19.5)]);
                vec![Segment { avg_logprob: logprob, ..words }]
            };
            hear(&mut review, first(voice));
            let gap = hear(&mut review, first(mix));
            assert_eq!((gap.span, gap.source), (span(12.2, 18.8), chosen));
            let proof = hear(&mut review, vec![segment(12.6, 18.4, " and a half")]);
            assert_eq!((proof.source, proof.warmer), (chosen, true));
        }
        // A circle in both: the second hearing, too, is in the likelier one.
        let circle = |logprob| {
            vec![Segment { avg_logprob: logprob, ..segment(10.0, 20.0, &" Thank you all.".repeat(8)) }]
        };
        let mut review = Review::new(separated_case(20.0), ALL);
        hear(&mut review, circle(-0.2));
        let again = hear(&mut review, circle(-0.1));
        assert_eq!((again.source, again.warmer), (Source::Mix, true));
    }

    #[test]
    fn a_mix_that_cannot_be_heard_leaves_the_voice() {
        let mut review = Review::new(separated_case(14.0), ALL);
        hear(&mut review, likely(" The voice.", -0.4));
        let reviewed = done(review.fail(""));
        assert_eq!((texts(&reviewed), reviewed.chosen), (vec![" The voice."], None));
    }

    #[test]
    fn without_the_guard_only_the_probability_decides() {
        let off = ReviewChecks { guard: false, coverage: false };
        let mut review = Review::new(separated_case(14.0), off);
        hear(&mut review, likely(&" Thank you all.".repeat(8), -0.1));
        let reviewed = done(review.take(likely(" Please open the window.", -0.2), ""));
        assert_eq!(reviewed.chosen, Some(Source::Voice));
    }

    /// Takes what was heard; gives what is to be heard next.
    fn hear(review: &mut Review, heard: Vec<Segment>) -> Hearing {
        match review.take(heard, "") {
            Step::Hear => review.hearing(),
            Step::Done(reviewed) => panic!("done: {reviewed:?}"),
        }
    }

    fn done(step: Step) -> Reviewed {
        match step {
            Step::Done(reviewed) => reviewed,
            Step::Hear => panic!("something is to be heard again"),
        }
    }

    fn texts(reviewed: &Reviewed) -> Vec<&str> {
        reviewed.segments.iter().map(|segment| segment.text.as_str()).collect()
    }

    #[test]
    fn ordinary_text_is_done_after_one_hearing() {
        let mut review = Review::new(case(14.0), ALL);
        let text = vec![segment(10.3, 13.7, " Please open the window.")];
        let reviewed = done(review.take(text.clone(), ""));
        assert_eq!((reviewed.segments, reviewed.heard_again), (text, false));
        assert_eq!(reviewed.speech, span(10.3, 13.7).len());
        assert_eq!((reviewed.uncovered, reviewed.dropped), (vec![], vec![]));
    }

    #[test]
    fn a_circle_is_heard_again_warmer_and_from_earlier_on() {
        let mut review = Review::new(case(20.0), ALL);
        let circle = segment(10.0, 20.0, &" Thank you all.".repeat(8));
        let hearing = hear(&mut review, vec![circle]);
        assert_eq!(
            hearing,
            Hearing { span: span(9.0, 20.0), warmer: true, prompted: false, source: Source::Voice }
        );
        let reviewed = done(review.take(vec![segment(10.0, 20.0, " We will begin now.")], ""));
        assert_eq!(texts(&reviewed), [" We will begin now."]);
        assert_eq!(reviewed.dropped.len(), 1);
        assert_eq!(reviewed.chunk.span, span(9.0, 20.0));
        assert!(reviewed.heard_again);
    }

    #[test]
    fn a_circle_that_was_said_stays() {
        let mut review = Review::new(case(20.0), ALL);
        let chant = segment(10.0, 20.0, &" USA!".repeat(14));
        hear(&mut review, vec![chant.clone()]);
        let reviewed = done(review.take(vec![chant.clone()], ""));
        assert_eq!((reviewed.segments, reviewed.dropped), (vec![chant], vec![]));
    }

    #[test]
    fn a_second_hearing_never_reaches_into_the_chunk_before_or_past_the_window() {
        let mut near = case(14.0);
        near.earliest = 10 * SECOND - 100;
        assert_eq!(Review::new(near, ALL).recut().start, 10 * SECOND - 100);
        let mut long = case(39.5);
        long.longest = 30 * SECOND;
        assert_eq!(Review::new(long, ALL).recut(), span(9.5, 39.5));
        let mut overlapping = case(14.0);
        overlapping.chunk.owned.start += SECOND;
        assert_eq!(Review::new(overlapping, ALL).recut(), span(10.5, 14.0));
    }

    /// Two stretches of speech of 4 s each, `pause` apart.
    fn sparse_case(pause: f64) -> Case {
        let at = span(10.0, 18.0 + pause);
        let speech = vec![span(10.0, 14.0), span(14.0 + pause, 18.0 + pause)];
        Case { chunk: Chunk { span: at, owned: at }, speech, ..case(14.0) }
    }

    #[test]
    fn what_was_left_out_of_a_pause_counts_for_no_length() {
        // Heard for 9 s: short enough to be doubted, and with room for a second before it.
        let mut review = Review::new(Case { longest: 10 * SECOND, ..sparse_case(20.0) }, ALL);
        assert_eq!(review.heard().pieces(), [span(10.0, 14.5), span(33.5, 38.0)]);
        let doubtful = Segment { avg_logprob: -0.7, ..segment(10.3, 37.7, " one two") };
        let hearing = hear(&mut review, vec![doubtful]);
        assert_eq!(hearing.span, span(9.0, 38.0));
        assert_eq!(review.heard().pieces(), [span(9.0, 14.5), span(33.5, 38.0)]);

        let half_full = Case { longest: 9 * SECOND + SECOND / 2, ..sparse_case(20.0) };
        assert_eq!(Review::new(half_full, ALL).recut(), span(9.5, 38.0));
        let full = Case { longest: 9 * SECOND, ..sparse_case(20.0) };
        assert_eq!(Review::new(full, ALL).recut(), span(10.0, 38.0));
    }

    #[test]
    fn a_second_hearing_from_earlier_on_keeps_the_sound_before_the_speech() {
        let case = Case { max_pause: Some(SECOND / 10), ..sparse_case(1.0) };
        let mut review = Review::new(case, ALL);
        hear(&mut review, vec![segment(10.0, 19.0, &" Thank you all.".repeat(8))]);
        assert_eq!(review.heard().pieces(), [span(9.0, 14.05), span(14.95, 19.0)]);
    }

    #[test]
    fn speech_without_text_after_a_long_pause_is_heard_by_itself() {
        let mut review = Review::new(sparse_case(20.0), ALL);
        let first = segment(10.3, 13.7, " Please open the window.");
        let hearing = hear(&mut review, vec![first]);
        assert_eq!(hearing.span, span(34.0, 38.0));
        assert_eq!(review.heard().pieces(), [hearing.span]);
    }

    #[test]
    fn a_doubtful_short_chunk_is_replaced_only_by_a_likelier_hearing() {
        for (second, kept) in [(-0.3, " Right"), (-0.65, " Wrong"), (-0.9, " Wrong")] {
            let mut review = Review::new(case(12.0), ALL);
            let first = Segment { avg_logprob: -0.7, ..segment(10.0, 12.0, " Wrong") };
            let hearing = hear(&mut review, vec![first]);
            assert!(!hearing.warmer && hearing.prompted);
            let second = Segment { avg_logprob: second, ..segment(9.5, 12.0, " Right") };
            assert_eq!(texts(&done(review.take(vec![second], ""))), [kept]);
        }
    }

    #[test]
    fn a_chunk_out_of_the_middle_of_speech_is_heard_from_later_on_in_doubt_alone() {
        let overlapping = || {
            let mut case = case(14.0);
            case.chunk.owned.start += SECOND;
            Review::new(case, ALL)
        };
        let within = segment(10.3, 13.7, " weather is fine.");
        assert_eq!(texts(&done(overlapping().take(vec![within.clone()], ""))), [" weather is fine."]);
        let mut review = overlapping();
        let hearing = hear(&mut review, vec![Segment { avg_logprob: -0.7, ..within }]);
        assert_eq!(hearing, Hearing::first(span(10.5, 14.0), Source::Voice));
        let reviewed = done(review.take(vec![segment(10.5, 13.7, " The leather is mine.")], ""));
        assert_eq!(texts(&reviewed), [" The leather is mine."]);
        assert_eq!(reviewed.chunk, Chunk { span: span(10.5, 14.0), owned: span(11.0, 14.0) });
    }

    #[test]
    fn a_chunk_that_begins_within_a_sentence_is_heard_from_earlier_on_and_keeps_what_that_adds() {
        for (second, kept) in [
            (" The weather is fine.", " The weather is fine."),
            (" Weather is fine.", " weather is fine."),
            (" The feather was mine.", " weather is fine."),
            ("", " weather is fine."),
        ] {
            let mut review = Review::new(case(12.0), ALL);
            let hearing = hear(&mut review, vec![segment(10.0, 12.0, " weather is fine.")]);
            assert_eq!(hearing, Hearing::first(span(9.0, 12.0), Source::Voice));
            let second = if second.is_empty() { vec![] } else { vec![segment(9.2, 12.0, second)] };
            assert_eq!(texts(&done(review.take(second, ""))), [kept]);
        }
        let mut nothing_before = case(12.0);
        nothing_before.earliest = 10 * SECOND;
        done(Review::new(nothing_before, ALL).take(vec![segment(10.0, 12.0, " weather is fine.")], ""));
    }

    #[test]
    fn a_lone_word_out_of_nowhere_stays_only_if_it_is_heard_again() {
        for (first, second, kept) in [
            (" coat", " the end", false),
            (" coat", "", false),
            (" coat", " Coat.", true),
            (" Coat.", "", true),
            (" two words", "", true),
        ] {
            for logprob in [-0.2, -0.7] {
                let heard = |text| Segment { avg_logprob: logprob, ..segment(10.3, 10.7, text) };
                let mut review = Review::new(case(11.0), ALL);
                let mut step = review.take(vec![heard(first)], "");
                if matches!(step, Step::Hear) {
                    step = review.take(if second.is_empty() { vec![] } else { vec![heard(second)] }, "");
                }
                while matches!(step, Step::Hear) {
                    step = review.take(Vec::new(), "");
                }
                let reviewed = done(step);
                let counts = (reviewed.segments.len(), reviewed.dropped.len());
                assert_eq!(counts, if kept { (1, 0) } else { (0, 1) }, "{first}, then {second}, {logprob}");
            }
        }
    }

    #[test]
    fn speech_without_text_is_heard_by_itself_and_its_text_put_in_place() {
        let mut review = Review::new(case(20.0), ALL);
        let first = spoken(" One two", &[(10.3, 10.5), (11.0, 12.0), (19.0, 19.5)]);
        let hearing = hear(&mut review, vec![first]);
        assert_eq!((hearing.span, hearing.warmer), (span(12.2, 18.8), false));
        let proof = hear(&mut review, vec![segment(12.6, 18.4, " and a half")]);
        assert_eq!((proof.span, proof.warmer), (span(12.35, 18.65), true));
        let reviewed = done(review.take(vec![segment(12.6, 18.4, " And a half.")], ""));
        assert_eq!(reviewed.segments.len(), 3);
        assert_eq!(reviewed.segments[1].text, " and a half");
        assert_eq!(reviewed.uncovered, []);
    }

    #[test]
    fn words_around_a_gap_that_are_heard_with_it_are_not_written_twice() {
        let mut review = Review::new(case(20.0), ALL);
        let first = spoken(
            "Robert is forty There are",
            &[(10.3, 10.9), (10.9, 11.1), (11.1, 12.0), (18.6, 18.9), (18.9, 19.2)],
        );
        hear(&mut review, vec![first]);
        let again = spoken(
            "Robert is forty six years old. There",
            &[
                (11.8, 12.0),
                (12.0, 12.1),
                (12.1, 12.6),
                (12.6, 13.0),
                (13.0, 16.0),
                (16.0, 18.4),
                (18.4, 18.6),
            ],
        );
        hear(&mut review, vec![again.clone()]);
        let reviewed = done(review.take(vec![again], ""));
        assert_eq!(texts(&reviewed).concat(), "Robert is forty six years old. There are");
    }

    #[test]
    fn text_in_a_gap_that_is_heard_only_once_is_not_believed() {
        let mut review = Review::new(case(14.0), ALL);
        hear(&mut review, Vec::new());
        hear(&mut review, vec![segment(10.5, 13.0, " Now repair our boat.")]);
        let reviewed = done(review.take(vec![segment(10.5, 13.0, " The dinner is cold.")], ""));
        assert_eq!((texts(&reviewed), reviewed.uncovered.len()), (vec![], 1));
    }

    #[test]
    fn what_stays_without_text_is_listed() {
        for unsure in [
            vec![],
            vec![Segment { no_speech_prob: 0.9, ..segment(10.5, 13.0, " Thanks.") }],
            vec![Segment { avg_logprob: -1.2, ..segment(10.5, 13.0, " Thanks.") }],
            vec![segment(10.5, 13.0, " ...")],
        ] {
            let mut review = Review::new(case(14.0), ALL);
            hear(&mut review, Vec::new());
            let reviewed = done(review.take(unsure, ""));
            assert_eq!((texts(&reviewed), &reviewed.uncovered[..]), (vec![], &[span(10.3, 13.7)][..]));
        }
    }

    #[test]
    fn checks_that_are_off_hear_nothing_again() {
        let off = ReviewChecks { guard: false, coverage: false };
        let circle = segment(10.0, 20.0, &" Thank you all.".repeat(8));
        let reviewed = done(Review::new(case(20.0), off).take(vec![circle.clone()], ""));
        assert_eq!((reviewed.segments, reviewed.heard_again), (vec![circle], false));
        let reviewed = done(Review::new(case(20.0), off).take(Vec::new(), ""));
        assert_eq!(reviewed.uncovered, []);
    }

    #[test]
    fn marks_in_silence_go_without_a_second_hearing_but_their_speech_is_looked_at() {
        let mut review = Review::new(case(10.7), ALL);
        let dot = Segment { no_speech_prob: 0.95, ..segment(10.0, 10.7, " .") };
        let reviewed = done(review.take(vec![dot], ""));
        assert_eq!((reviewed.segments.len(), reviewed.dropped.len()), (0, 1));
    }
}
