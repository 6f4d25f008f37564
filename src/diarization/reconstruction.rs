//! From who is who in each window to who is active in each frame of the recording. Pure.
//!
//! Windows overlap, so each frame is heard several times: how many speak in it is the mean of what its windows say, and
//! who they are is what most of its windows say. Read next: `turns`.

use super::activity::{Activity, LOCAL_SPEAKERS, SpeakerSet, members};
use super::grid::FRAMES;

/// Lays windows over one another, in order. Holds the frames of one window only, however long the recording.
pub(super) struct Overlay {
    /// Speakers, and at least as many as can speak at once: whoever is counted but is nobody known becomes one of them.
    speakers: usize,
    /// Of whom so many may speak at once.
    most: usize,
    /// Frame of the recording that the first row is.
    first: usize,
    /// In how many windows each speaker is active; (FRAMES, speakers).
    votes: Vec<u32>,
    /// What windows say of each frame.
    heard: [Count; FRAMES],
    /// Active speakers of one frame, first those whom most windows hear.
    chosen: Vec<usize>,
}

/// How many windows hear a frame, and how many speakers they hear in it together.
#[derive(Clone, Copy, Default)]
struct Count {
    windows: u32,
    speakers: u32,
}

impl Count {
    /// How many speak: the nearest to the mean, ties to even.
    fn speaking(self) -> usize {
        if self.windows == 0 {
            return 0;
        }
        (f64::from(self.speakers) / f64::from(self.windows)).round_ties_even() as usize
    }
}

impl Overlay {
    /// For `speakers`, of whom at most `most` are to be found.
    pub(super) fn new(speakers: usize, most: usize) -> Self {
        let speakers = speakers.max(LOCAL_SPEAKERS).min(most);
        Self {
            speakers,
            most,
            first: 0,
            votes: vec![0; FRAMES * speakers],
            heard: [Count::default(); FRAMES],
            chosen: Vec::new(),
        }
    }

    /// Lays on the next window. It begins at frame `first`, not before the last one; its local speakers are `who`.
    /// Gives the frames that no later window reaches, with those who are active in them.
    pub(super) fn lay(
        &mut self,
        first: usize,
        activity: &Activity,
        who: &[Option<usize>; LOCAL_SPEAKERS],
        mut give: impl FnMut(usize, &[usize]),
    ) {
        self.give_until(first, &mut give);
        self.heard.iter_mut().for_each(|count| count.windows += 1);
        for (frames, set) in activity.runs() {
            let active = self.global(set, who);
            for frame in frames.start..frames.end.min(FRAMES) {
                self.heard[frame].speakers += set.count_ones();
                let votes = &mut self.votes[frame * self.speakers..][..self.speakers];
                active.iter().flatten().for_each(|speaker| votes[*speaker] += 1);
            }
        }
    }

    /// Gives the frames that are left. Returns how many there were in all.
    pub(super) fn finish(mut self, mut give: impl FnMut(usize, &[usize])) -> usize {
        let end = self.first + FRAMES;
        self.give_until(end, &mut give);
        end
    }

    /// The speakers that a set of local ones stands for, each once.
    fn global(
        &self,
        set: SpeakerSet,
        who: &[Option<usize>; LOCAL_SPEAKERS],
    ) -> [Option<usize>; LOCAL_SPEAKERS] {
        let mut active = [None; LOCAL_SPEAKERS];
        for local in members(set) {
            let speaker = who[local].filter(|speaker| *speaker < self.speakers);
            if !active.contains(&speaker) {
                active[local] = speaker;
            }
        }
        active
    }

    /// Gives the frames before `end` and makes room for as many.
    fn give_until(&mut self, end: usize, give: &mut impl FnMut(usize, &[usize])) {
        // Beyond the rows nobody has been heard.
        let done = end.saturating_sub(self.first).min(FRAMES);
        for row in 0..done {
            self.choose(row);
            give(self.first + row, &self.chosen);
        }
        self.votes.copy_within(done * self.speakers.., 0);
        self.votes[(FRAMES - done) * self.speakers..].fill(0);
        self.heard.copy_within(done.., 0);
        self.heard[FRAMES - done..].fill(Count::default());
        for frame in self.first + done..end {
            give(frame, &[]);
        }
        self.first = end.max(self.first);
    }

    fn choose(&mut self, row: usize) {
        let votes = &self.votes[row * self.speakers..][..self.speakers];
        let count = self.heard[row].speaking().min(self.most).min(self.speakers);
        self.chosen.clear();
        for _ in 0..count {
            let free = (0..self.speakers).filter(|speaker| !self.chosen.contains(speaker));
            // The first of those with most votes: `max_by_key` would take the last.
            let best = free.min_by_key(|speaker| std::cmp::Reverse(votes[*speaker]));
            self.chosen.extend(best);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Active speakers of each frame, when windows begin at these frames; every frame of a window has the same set.
    fn frames(windows: &[(usize, SpeakerSet, Who)], speakers: usize, most: usize) -> Vec<Vec<usize>> {
        let mut overlay = Overlay::new(speakers, most);
        let mut given: Vec<Vec<usize>> = Vec::new();
        let mut give = |frame: usize, active: &[usize]| {
            assert_eq!(frame, given.len(), "frames come in order, none is left out");
            given.push(active.to_vec());
        };
        for (first, set, who) in windows {
            overlay.lay(*first, &Activity::of(&[*set; FRAMES]), who, &mut give);
        }
        let all = overlay.finish(&mut give);
        assert_eq!(all, given.len());
        given
    }

    type Who = [Option<usize>; LOCAL_SPEAKERS];
    const AB: Who = [Some(0), Some(1), None];
    const BA: Who = [Some(1), Some(0), None];

    #[test]
    fn local_speakers_become_those_of_the_recording() {
        let active = frames(&[(0, 0b01, AB), (589, 0b01, BA)], 2, 9);
        assert_eq!(active.len(), 2 * FRAMES);
        assert!(active[..FRAMES].iter().all(|active| active == &[0]));
        assert!(active[FRAMES..].iter().all(|active| active == &[1]));
    }

    #[test]
    fn the_mean_says_how_many_and_most_windows_say_who() {
        // Three windows over frame 200: two hear speaker 0, one hears both.
        let active = frames(&[(0, 0b01, AB), (100, 0b11, AB), (200, 0b01, AB)], 2, 9);
        assert_eq!(active[50], [0]);
        assert_eq!(active[150], [0, 1], "one and two are one and a half: ties go to the even number");
        assert_eq!(active[250], [0]);
        assert_eq!(active[650], [0, 1]);
        assert_eq!(active[700], [0]);
    }

    #[test]
    fn frames_between_windows_are_silent() {
        let active = frames(&[(0, 0b01, AB), (593, 0b01, AB)], 2, 9);
        assert!(active[589..593].iter().all(Vec::is_empty));
        assert_eq!(active.len(), 593 + FRAMES);
    }

    #[test]
    fn whoever_is_counted_but_not_known_is_somebody_else_unless_there_may_be_no_more() {
        let unknown: Who = [Some(0), None, None];
        assert_eq!(frames(&[(0, 0b11, unknown)], 1, 9)[0], [0, 1]);
        assert_eq!(frames(&[(0, 0b11, unknown)], 1, 1)[0], [0]);
        assert_eq!(frames(&[(0, 0b111, [None; 3])], 0, 2)[0], [0, 1]);
    }

    #[test]
    fn two_local_speakers_who_are_one_count_as_one_vote() {
        let twice: Who = [Some(1), Some(1), None];
        let active = frames(&[(0, 0b11, twice), (1, 0b01, AB), (2, 0b01, AB)], 2, 9);
        assert_eq!(active[10], [0], "two windows hear speaker 0");
    }

    #[test]
    fn nothing_laid_is_silence() {
        assert!(frames(&[], 0, 9).iter().all(Vec::is_empty));
    }
}
