//! From who is active in each frame to turns. Pure.

use super::grid::{FRAME_SHIFT, RECEPTIVE_FIELD};
use crate::time::{SampleIndex, TimeSpan};
use crate::transcript::{SpeakerId, SpeakerTurn};

/// What becomes of short pauses and turns, in samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    /// Shorter turns are left out.
    pub min_on: SampleIndex,
    /// Pauses up to this are closed; at 0, none.
    pub min_off: SampleIndex,
}

impl Pauses {
    fn closes(&self, before: &SpeakerTurn, after: &SpeakerTurn) -> bool {
        after.span.start.saturating_sub(before.span.end) <= self.min_off && self.min_off > 0
    }
}

/// Takes the frames of a recording in order and gives turns. Speakers are any numbers; see `number`.
#[derive(Default)]
pub(super) struct Track {
    /// Who was active in the last frame, and since which.
    active: Vec<(usize, usize)>,
    turns: Vec<SpeakerTurn>,
}

impl Track {
    /// Takes the next frame, in which `speakers` are active.
    pub(super) fn frame(&mut self, frame: usize, speakers: &[usize]) {
        let turns = &mut self.turns;
        self.active.retain(|(speaker, since)| {
            let goes_on = speakers.contains(speaker);
            if !goes_on {
                turns.push(turn(*speaker, *since, frame));
            }
            goes_on
        });
        for speaker in speakers {
            if !self.active.iter().any(|(active, _)| active == speaker) {
                self.active.push((*speaker, frame));
            }
        }
    }

    /// The turns of all `frames`, ordered by start, within the recording and none of them empty.
    pub(super) fn finish(mut self, frames: usize, length: SampleIndex) -> Vec<SpeakerTurn> {
        self.frame(frames, &[]);
        self.turns.iter_mut().for_each(|turn| turn.span.end = turn.span.end.min(length));
        self.turns.retain(|turn| turn.span.start < turn.span.end);
        order(&mut self.turns);
        self.turns
    }
}

/// A frame is the middle of what the network looked at for it.
fn turn(speaker: usize, first: usize, end: usize) -> SpeakerTurn {
    let middle = |frame: usize| frame as SampleIndex * FRAME_SHIFT + RECEPTIVE_FIELD / 2;
    SpeakerTurn { span: TimeSpan::new(middle(first), middle(end)), speaker: SpeakerId(speaker as u32) }
}

fn order(turns: &mut [SpeakerTurn]) {
    turns.sort_unstable_by_key(|turn| (turn.span.start, turn.span.end, turn.speaker));
}

/// Turns that may overlap, with pauses of a speaker up to `min_off` closed and then turns below `min_on` left out.
pub(super) fn polish(turns: Vec<SpeakerTurn>, pauses: Pauses) -> Vec<SpeakerTurn> {
    // Where each speaker's last turn is.
    let mut last: Vec<Option<usize>> = Vec::new();
    let mut polished: Vec<SpeakerTurn> = Vec::with_capacity(turns.len());
    for turn in turns {
        let speaker = turn.speaker.0 as usize;
        last.resize(last.len().max(speaker + 1), None);
        match last[speaker].map(|at| &mut polished[at]) {
            Some(before) if pauses.closes(before, &turn) => before.span.end = turn.span.end,
            _ => {
                last[speaker] = Some(polished.len());
                polished.push(turn);
            }
        }
    }
    polished.retain(|turn| turn.span.len() >= pauses.min_on);
    order(&mut polished);
    polished
}

/// The same for turns of one speaker at a time: a pause in which another speaks stays one.
pub(super) fn polish_exclusive(turns: Vec<SpeakerTurn>, pauses: Pauses) -> Vec<SpeakerTurn> {
    let mut polished = close(turns, pauses);
    polished.retain(|turn| turn.span.len() >= pauses.min_on);
    // Where a turn was left out, those before and after it may belong together.
    close(polished, pauses)
}

fn close(turns: Vec<SpeakerTurn>, pauses: Pauses) -> Vec<SpeakerTurn> {
    let mut closed: Vec<SpeakerTurn> = Vec::with_capacity(turns.len());
    for turn in turns {
        match closed.last_mut() {
            Some(before) if before.speaker == turn.speaker && pauses.closes(before, &turn) => {
                before.span.end = turn.span.end;
            }
            _ => closed.push(turn),
        }
    }
    closed
}

/// The speakers of `turns` by first appearance.
pub(super) fn by_appearance(turns: &[SpeakerTurn]) -> Vec<SpeakerId> {
    let mut speakers: Vec<SpeakerId> = Vec::new();
    for turn in turns {
        if !speakers.contains(&turn.speaker) {
            speakers.push(turn.speaker);
        }
    }
    speakers
}

/// Calls each speaker by its place among `speakers`; turns of others are left out.
pub(super) fn number(turns: &mut Vec<SpeakerTurn>, speakers: &[SpeakerId]) {
    turns.retain_mut(|turn| {
        let place = speakers.iter().position(|speaker| *speaker == turn.speaker);
        turn.speaker = SpeakerId(place.unwrap_or_default() as u32);
        place.is_some()
    });
    order(turns);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter for each turn's speaker, with start and end in frames.
    fn told(turns: &[SpeakerTurn]) -> String {
        let frame = |at: SampleIndex| (at - RECEPTIVE_FIELD / 2) / FRAME_SHIFT;
        let tell = |turn: &SpeakerTurn| {
            let letter = char::from(b'A' + turn.speaker.0 as u8);
            format!("{letter}{}-{}", frame(turn.span.start), frame(turn.span.end))
        };
        turns.iter().map(tell).collect::<Vec<_>>().join(" ")
    }

    /// Each character is a frame: `.` nobody, `a` speaker 0, `b` speaker 1, `x` both.
    fn turns(frames: &str) -> Vec<SpeakerTurn> {
        let mut track = Track::default();
        for (frame, who) in frames.chars().enumerate() {
            track.frame(
                frame,
                match who {
                    'a' => &[0],
                    'b' => &[1],
                    'x' => &[1, 0],
                    _ => &[],
                },
            );
        }
        track.finish(frames.len(), 1_000_000)
    }

    fn pauses(min_on: u64, min_off: u64) -> Pauses {
        Pauses { min_on: min_on * FRAME_SHIFT, min_off: min_off * FRAME_SHIFT }
    }

    #[test]
    fn turns_begin_and_end_with_activity() {
        assert_eq!(told(&turns("..aaxxbb.a")), "A2-6 B4-8 A9-10");
        assert_eq!(told(&turns("....")), "");
    }

    #[test]
    fn turns_end_with_the_recording() {
        let mut track = Track::default();
        for frame in 0..10 {
            track.frame(frame, &[0]);
        }
        let cut = track.finish(10, 1_000);
        assert_eq!(cut[0].span, TimeSpan::new(495, 1_000));
        let mut track = Track::default();
        track.frame(5, &[0]);
        assert!(track.finish(6, 100).is_empty());
    }

    #[test]
    fn short_pauses_are_closed_before_short_turns_go() {
        assert_eq!(told(&polish(turns("aa.aa....bb"), pauses(5, 1))), "A0-5");
        assert_eq!(told(&polish(turns("aa.aa..bb"), pauses(0, 0))), "A0-2 A3-5 B7-9");
        assert_eq!(told(&polish(turns("aabbaa"), pauses(0, 2))), "A0-6 B2-4");
    }

    #[test]
    fn exclusive_turns_are_not_closed_across_another_speaker() {
        assert_eq!(told(&polish_exclusive(turns("aabbaa"), pauses(0, 9))), "A0-2 B2-4 A4-6");
        assert_eq!(told(&polish_exclusive(turns("aaabaaa"), pauses(2, 9))), "A0-7");
    }

    #[test]
    fn speakers_are_numbered_as_they_appear() {
        let mut found = turns("..bb.aa.b");
        let speakers = by_appearance(&found);
        number(&mut found, &speakers);
        assert_eq!(told(&found), "A2-4 B5-7 A8-9");
        number(&mut found, &[SpeakerId(1)]);
        assert_eq!(told(&found), "A5-7");
    }
}
