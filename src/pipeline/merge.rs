//! Who said what: segments and turns to segments with speakers. Pure.
//!
//! Every word goes to whoever has the floor (`floor`), sentences are mended (`smoothing`), and segments are cut where
//! the speaker changes, so that each has one. Speakers are numbered anew, in the order in which the text has them.
//! Works segment by segment: what is waited with is a sentence, never the recording.

use crate::asr::stitch::reduced;
use crate::diarization::Diarization;
use crate::transcript::{Segment, Speaker, SpeakerId, SpeakerTurn};

use super::floor::Floor;
use super::smoothing::{Spoken, ends_sentence, smooth};

/// Words after which a sentence without an end is not waited for any longer.
const MAX_PENDING_WORDS: usize = 200;

/// Takes segments in order and gives them back with speakers.
pub struct Merger {
    floor: Floor,
    smoothing: bool,
    /// Segments of the sentence that is not complete, and how many words they have.
    pending: Vec<Segment>,
    words: usize,
    numbers: Numbers,
}

/// The speakers by their new numbers.
#[derive(Debug, Default, PartialEq)]
pub struct Cast {
    /// Who spoke when; ordered by start.
    pub turns: Vec<SpeakerTurn>,
    /// By number.
    pub speakers: Vec<Speaker>,
}

impl Merger {
    /// Over the turns of `diarization`; with `smoothing`, sentences are not torn by a word or two.
    pub fn new(diarization: &Diarization, smoothing: bool) -> Self {
        Self {
            floor: Floor::new(&diarization.turns, diarization.exclusive.clone()),
            smoothing,
            pending: Vec::new(),
            words: 0,
            numbers: Numbers::default(),
        }
    }

    /// Takes the next segment; gives those that are settled, in order.
    pub fn push(&mut self, segment: Segment) -> Vec<Segment> {
        let is_end = ends_sentence(&segment.text);
        self.words += segment.words.len().max(1);
        self.pending.push(segment);
        if !self.smoothing || is_end || self.words >= MAX_PENDING_WORDS { self.settle() } else { Vec::new() }
    }

    /// Gives the rest, and everybody by the new numbers: those of the text first, then those who say nothing in it.
    pub fn finish(mut self, diarization: Diarization) -> (Vec<Segment>, Cast) {
        let rest = self.settle();
        (rest, self.numbers.cast(diarization))
    }

    fn settle(&mut self) -> Vec<Segment> {
        let segments = std::mem::take(&mut self.pending);
        self.words = 0;
        let mut spoken = spoken(&segments, &self.floor);
        if self.smoothing {
            smooth(&mut spoken);
        }
        let mut speakers = Vec::with_capacity(spoken.len());
        speakers.extend(spoken.into_iter().map(|word| word.speaker));
        let mut speakers = speakers.into_iter();
        let mut settled = Vec::with_capacity(segments.len());
        for segment in segments {
            let count = if is_spelled(&segment) { segment.words.len() } else { 1 };
            let speakers: Vec<_> = speakers.by_ref().take(count).collect();
            settled.extend(parts(segment, &speakers, &self.floor));
        }
        settled.iter_mut().for_each(|segment| self.numbers.renumber(segment));
        settled
    }
}

/// Whether the words spell the text, so that it can be cut between them.
fn is_spelled(segment: &Segment) -> bool {
    let mut rest = segment.text.as_str();
    let all = segment.words.iter().all(|word| match rest.strip_prefix(word.text.as_str()) {
        Some(after) => {
            rest = after;
            true
        }
        None => false,
    });
    all && rest.is_empty() && !segment.words.is_empty()
}

/// The words of all segments with whoever has the floor; one for a whole segment that cannot be cut.
fn spoken<'a>(segments: &'a [Segment], floor: &Floor) -> Vec<Spoken<'a>> {
    let mut spoken = Vec::new();
    for segment in segments {
        if is_spelled(segment) {
            spoken.extend(segment.words.iter().map(|word| Spoken {
                text: &word.text,
                span: word.span,
                speaker: floor.speaker(word.span),
            }));
        } else {
            let (text, span) = (segment.text.as_str(), segment.span);
            spoken.push(Spoken { text, span, speaker: floor.speaker(span) });
        }
    }
    spoken
}

/// The segment cut where the speaker changes. `speakers` has one entry for each word, or one for all of it.
fn parts(mut segment: Segment, speakers: &[Option<SpeakerId>], floor: &Floor) -> Vec<Segment> {
    for (index, word) in segment.words.iter_mut().enumerate() {
        word.speaker = *speakers.get(index).or(speakers.first()).unwrap_or(&None);
        word.overlapped = floor.is_overlapped(word.span);
    }
    let mut parts = Vec::new();
    if is_spelled(&segment) && speakers.iter().any(|speaker| *speaker != speakers[0]) {
        let mut start = 0;
        for run in segment.words.chunk_by(|one, next| one.speaker == next.speaker) {
            parts.push(reduced(&segment, start..start + run.len()));
            start += run.len();
        }
    } else {
        parts.push(segment);
    }
    for part in &mut parts {
        part.speaker = part.words.first().map_or(speakers.first().copied().flatten(), |word| word.speaker);
        part.overlapped = if part.words.is_empty() {
            floor.is_overlapped(part.span)
        } else {
            part.words.iter().any(|word| word.overlapped)
        };
    }
    parts
}

/// New numbers, given as speakers appear in the text.
#[derive(Default)]
struct Numbers {
    /// Old numbers by the new ones.
    order: Vec<SpeakerId>,
}

impl Numbers {
    fn renumber(&mut self, segment: &mut Segment) {
        segment.speaker = segment.speaker.map(|old| self.of(old));
        for word in &mut segment.words {
            word.speaker = word.speaker.map(|old| self.of(old));
        }
    }

    fn of(&mut self, old: SpeakerId) -> SpeakerId {
        let known = self.order.iter().position(|other| *other == old);
        let new = known.unwrap_or_else(|| {
            self.order.push(old);
            self.order.len() - 1
        });
        SpeakerId(new as u32)
    }

    fn cast(mut self, diarization: Diarization) -> Cast {
        for number in 0..diarization.voices.len() {
            self.of(SpeakerId(number as u32));
        }
        let turns: Vec<_> = diarization
            .turns
            .into_iter()
            .map(|turn| SpeakerTurn { speaker: self.of(turn.speaker), ..turn })
            .collect();
        let mut voices: Vec<_> = diarization.voices.into_iter().map(Some).collect();
        let mut take = |old: &SpeakerId| voices.get_mut(old.0 as usize).and_then(Option::take);
        let speakers = self.order.iter().map(|old| take(old).unwrap_or_default());
        let speakers = speakers.map(|voice| Speaker { name: voice.name, embedding: voice.embedding });
        Cast { turns, speakers: speakers.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarization::Voice;
    use crate::time::{TimeSpan, ms_to_samples};
    use crate::transcript::{Token, Word};
    use proptest::prelude::*;

    fn at(start_ms: u64, end_ms: u64) -> TimeSpan {
        TimeSpan::new(ms_to_samples(start_ms), ms_to_samples(end_ms))
    }

    fn turn(start_ms: u64, end_ms: u64, speaker: u32) -> SpeakerTurn {
        SpeakerTurn { span: at(start_ms, end_ms), speaker: SpeakerId(speaker) }
    }

    fn voice(name: Option<&str>) -> Voice {
        Voice { name: name.map(str::to_owned), embedding: vec![1.0] }
    }

    /// Words of 200 ms, one after the other from `start_ms` on.
    fn segment(start_ms: u64, text: &str) -> Segment {
        let words: Vec<Word> = text
            .split_inclusive(' ')
            .zip(0_u64..)
            .map(|(text, index)| Word {
                text: text.to_owned(),
                span: at(start_ms + index * 200, start_ms + index * 200 + 200),
                probability: 0.5,
                ..Word::default()
            })
            .collect();
        let end_ms = start_ms + words.len() as u64 * 200;
        Segment { span: at(start_ms, end_ms), text: text.to_owned(), words, ..Segment::default() }
    }

    fn merged(segments: Vec<Segment>, diarization: Diarization, smoothing: bool) -> (Vec<Segment>, Cast) {
        let mut merger = Merger::new(&diarization, smoothing);
        let mut all: Vec<Segment> = segments.into_iter().flat_map(|segment| merger.push(segment)).collect();
        let (rest, cast) = merger.finish(diarization);
        all.extend(rest);
        (all, cast)
    }

    fn diarization(turns: &[SpeakerTurn], voices: usize) -> Diarization {
        let voices = vec![voice(None); voices];
        Diarization { turns: turns.to_vec(), exclusive: turns.to_vec(), voices }
    }

    fn lines(segments: &[Segment]) -> Vec<(Option<u32>, &str)> {
        segments.iter().map(|segment| (segment.speaker.map(|who| who.0), segment.text.as_str())).collect()
    }

    #[test]
    fn a_segment_is_cut_where_the_speaker_changes() {
        let text = "are you there? yes I am. ";
        let turns = [turn(0, 600, 0), turn(600, 1_200, 1)];
        let (segments, _) = merged(vec![segment(0, text)], diarization(&turns, 2), true);
        assert_eq!(lines(&segments), [(Some(0), "are you there? "), (Some(1), "yes I am. ")]);
        assert_eq!(segments.iter().map(|part| part.span).collect::<Vec<_>>(), [at(0, 600), at(600, 1_200)]);
    }

    #[test]
    fn speakers_are_numbered_as_the_text_has_them() {
        let turns = [turn(0, 400, 2), turn(400, 1_000, 0), turn(5_000, 6_000, 1)];
        let mut diarization = diarization(&turns, 3);
        diarization.voices[0] = voice(Some("Ann"));
        let (segments, cast) =
            merged(vec![segment(0, "I do. "), segment(400, "so do I. ")], diarization, true);
        assert_eq!(lines(&segments), [(Some(0), "I do. "), (Some(1), "so do I. ")]);
        let names: Vec<_> = cast.speakers.iter().map(|speaker| speaker.name.as_deref()).collect();
        assert_eq!(names, [None, Some("Ann"), None]);
        let turns: Vec<_> = cast.turns.iter().map(|turn| turn.speaker.0).collect();
        assert_eq!(turns, [0, 1, 2]);
    }

    #[test]
    fn a_sentence_over_two_segments_is_mended_as_one() {
        let turns = [turn(0, 1_000, 0), turn(1_000, 3_000, 1)];
        let segments =
            vec![segment(0, "we all meet at "), segment(800, "the station. "), segment(1_200, "good. ")];
        let (mended, _) = merged(segments.clone(), diarization(&turns, 2), true);
        assert_eq!(
            lines(&mended),
            [(Some(0), "we all meet at "), (Some(0), "the station. "), (Some(1), "good. ")]
        );
        let (torn, _) = merged(segments, diarization(&turns, 2), false);
        assert_eq!(torn.len(), 4, "the word is the other's by its times");
    }

    #[test]
    fn what_two_speak_over_is_marked_and_what_nobody_speaks_says_so() {
        let turns = [turn(0, 1_000, 0), turn(600, 1_000, 1)];
        let diarization = Diarization { exclusive: vec![turn(0, 1_000, 0)], ..diarization(&turns, 2) };
        let (segments, _) =
            merged(vec![segment(0, "one two three four. "), segment(9_000, "ghost. ")], diarization, true);
        let marks: Vec<_> = segments[0].words.iter().map(|word| word.overlapped).collect();
        assert_eq!(marks, [false, false, false, true]);
        assert!(segments[0].overlapped);
        assert_eq!((segments[1].speaker, segments[1].overlapped), (None, false));
    }

    #[test]
    fn a_segment_without_words_is_whoever_speaks_most_of_it() {
        let mut wordless = segment(0, "are you there? yes I am. ");
        wordless.words.clear();
        let turns = [turn(0, 400, 0), turn(400, 1_200, 1)];
        let (segments, _) = merged(vec![wordless.clone()], diarization(&turns, 2), true);
        assert_eq!(lines(&segments), [(Some(0), wordless.text.as_str())]);
        let mut misspelled = segment(0, "are you there? yes I am. ");
        misspelled.words[2].text = "here? ".into();
        let (segments, _) = merged(vec![misspelled.clone()], diarization(&turns, 2), true);
        assert_eq!(segments.len(), 1);
        assert_eq!(segments[0].text, misspelled.text);
    }

    #[test]
    fn without_turns_nobody_speaks() {
        let (segments, cast) = merged(vec![segment(0, "so. ")], Diarization::default(), true);
        assert_eq!(lines(&segments), [(None, "so. ")]);
        assert_eq!(cast, Cast::default());
    }

    prop_compose! {
        /// Turns of four speakers, disjoint or not.
        fn any_turns()(raw in prop::collection::vec((0_u64..500, 100_u64..2_000, 0_u32..4, any::<bool>()), 0..16))
            -> Diarization
        {
            let (mut exclusive, mut turns, mut end) = (Vec::new(), Vec::new(), 0);
            for (gap, length, speaker, reaches) in raw {
                exclusive.push(turn(end + gap, end + gap + length, speaker));
                turns.push(turn(end + gap, end + gap + length + if reaches { 700 } else { 0 }, speaker));
                end += gap + length;
            }
            Diarization { turns, exclusive, voices: vec![Voice::default(); 4] }
        }
    }

    prop_compose! {
        fn any_segments()(texts in prop::collection::vec(("([a-zé東]{1,4}[.,?]? ?){1,12}", 0_u64..900, any::<bool>()), 0..20))
            -> Vec<Segment>
        {
            let mut start = 0;
            let mut segments = Vec::new();
            for (text, gap, has_words) in texts {
                let mut next = segment(start + gap, &text);
                start = start + gap + next.words.len() as u64 * 200;
                next.tokens = text
                    .split_inclusive(' ')
                    .map(|piece| Token { id: 1, bytes: piece.as_bytes().to_vec(), logprob: -0.5 })
                    .collect();
                if !has_words {
                    next.words.clear();
                }
                segments.push(next);
            }
            segments
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_moves(
            segments in any_segments(), diarization in any_turns(), smoothing: bool,
        ) {
            let text = |all: &[Segment]| all.iter().map(|segment| segment.text.as_str()).collect::<String>();
            let words = |all: &[Segment]| -> Vec<(String, TimeSpan)> {
                all.iter().flat_map(|segment| &segment.words).map(|word| (word.text.clone(), word.span)).collect()
            };
            let tokens = |all: &[Segment]| all.iter().map(|segment| segment.tokens.len()).sum::<usize>();
            let (merged, cast) = merged(segments.clone(), diarization, smoothing);
            prop_assert_eq!(text(&merged), text(&segments));
            prop_assert_eq!(words(&merged), words(&segments));
            prop_assert_eq!(tokens(&merged), tokens(&segments));
            prop_assert!(merged.is_sorted_by(|one, next| one.span.end <= next.span.start));
            let mut seen = 0;
            for segment in &merged {
                prop_assert!(segment.words.iter().all(|word| word.speaker == segment.speaker));
                for word in &segment.words {
                    prop_assert!(segment.span.start <= word.span.start && word.span.end <= segment.span.end);
                }
                if let Some(SpeakerId(who)) = segment.speaker {
                    prop_assert!(who <= seen, "numbered by first appearance");
                    seen = seen.max(who + 1);
                    prop_assert!((who as usize) < cast.speakers.len());
                }
            }
        }
    }
}
