//! Made-up conversations, as the networks would hear them: who is who is known exactly.

use diarist::diarization::DiarizationOptions;
use diarist::diarization::SpeakerLimits;
use diarist::diarization::activity::{Activity, LOCAL_SPEAKERS, SpeakerSet};
use diarist::diarization::attribution::{Attributed, Attribution, Method, WindowNumbers};
use diarist::diarization::grid::{FRAME_SHIFT, FRAMES, Grid, RECEPTIVE_FIELD, WINDOW};
use diarist::diarization::score::{Annotation, Score};
use diarist::time::TimeSpan;
use diarist::transcript::{SpeakerId, SpeakerTurn};

/// Dimensions of the encoder's vectors.
const WIDTH: usize = 256;
/// Dimensions in which voices differ.
const TELLING: usize = 64;
/// How much more voices differ than one voice from moment to moment, in each of them.
const SPREAD: f32 = 8.0;

/// Numbers that are the same each time (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..count`.
    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    /// Evenly from [0, 1).
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Nearly normal, mean 0 and variance 1.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }
}

/// Somebody speaks: first sample, one past the last, who.
pub type Said = (u64, u64, usize);

/// Who speaks when, and what they sound like.
pub struct Conversation {
    pub said: Vec<Said>,
    pub length: u64,
    voices: Vec<Vec<f32>>,
}

impl Conversation {
    /// `speakers` who take turns of 2 to 12 s by chance, a fifth of which begin before the last one ends.
    pub fn of(speakers: usize, seconds: u64, chance: &mut Chance) -> Self {
        let length = seconds * 16_000;
        let mut said = Vec::new();
        let (mut at, mut last) = (8_000, usize::MAX);
        while at < length {
            let who = chance.below(speakers);
            if who == last && speakers > 1 {
                continue;
            }
            let end = (at + 32_000 + chance.below(160_000) as u64).min(length);
            said.push((at, end, who));
            last = who;
            at = if chance.below(5) == 0 {
                end - 12_000.min(end / 2)
            } else {
                end + chance.below(16_000) as u64
            };
        }
        Self::told(said, length, speakers, chance)
    }

    /// This is said by `speakers` of different voices.
    pub fn told(said: Vec<Said>, length: u64, speakers: usize, chance: &mut Chance) -> Self {
        let voice = |_| (0..TELLING).map(|_| SPREAD.sqrt() * chance.normal()).collect();
        Self { said, length, voices: (0..speakers).map(voice).collect() }
    }

    pub fn grid(&self, step: u64) -> Grid {
        Grid { step, length: self.length }
    }

    /// What the networks give for each window, in order. Which local speaker is who is up to chance.
    pub fn windows<'a>(
        &'a self,
        step: u64,
        chance: &'a mut Chance,
    ) -> impl Iterator<Item = WindowNumbers> + 'a {
        let grid = self.grid(step);
        let mut first = 0;
        (0..grid.windows()).map(move |window| {
            let start = grid.start(window);
            while self.said.get(first).is_some_and(|said| said.1 + 20 * 16_000 < start) {
                first += 1;
            }
            let here: Vec<Said> = self.said[first..]
                .iter()
                .copied()
                .take_while(|said| said.0 < start + WINDOW + 20 * 16_000)
                .filter(|said| said.0 < start + WINDOW && said.1 > start)
                .collect();
            self.window(start, &here, chance)
        })
    }

    fn window(&self, start: u64, here: &[Said], chance: &mut Chance) -> WindowNumbers {
        let mut locals: Vec<usize> = Vec::new();
        for said in here {
            if !locals.contains(&said.2) && locals.len() < LOCAL_SPEAKERS {
                locals.push(said.2);
            }
        }
        // Of three places, by chance.
        let turn = chance.below(LOCAL_SPEAKERS);
        let place = |local: usize| (local + turn) % LOCAL_SPEAKERS;
        let mut sets = [0 as SpeakerSet; FRAMES];
        for (frame, set) in sets.iter_mut().enumerate() {
            let at = start + frame as u64 * FRAME_SHIFT + RECEPTIVE_FIELD / 2;
            for said in here.iter().filter(|said| said.0 <= at && at < said.1) {
                if let Some(local) = locals.iter().position(|who| *who == said.2) {
                    *set |= 1 << place(local);
                }
            }
        }
        let activity = Activity::of(&sets);
        let clean = activity.clean_frames();
        let mut embeddings = [None, None, None];
        for (local, who) in locals.iter().enumerate() {
            // Whoever is heard briefly is heard badly.
            let noise = if clean[place(local)] < 60 { 2.5 } else { 1.0 };
            let voice = self.voices[*who].iter().copied().chain(std::iter::repeat(0.0)).take(WIDTH);
            let heard = voice.map(|x| x + noise * chance.normal()).collect();
            embeddings[place(local)] = Some(heard);
        }
        WindowNumbers { activity, embeddings }
    }

    /// Diarization error rate.
    pub fn error(&self, found: &Attributed) -> f64 {
        let annotation = |speakers: usize, turns: Vec<SpeakerTurn>| Annotation {
            speakers: (0..speakers).map(|number| number.to_string()).collect(),
            turns,
        };
        let turn = |said: &Said| SpeakerTurn {
            span: TimeSpan::new(said.0, said.1),
            speaker: SpeakerId(said.2 as u32),
        };
        let truth = annotation(self.voices.len(), self.said.iter().map(turn).collect());
        let found = annotation(found.voices.len(), found.turns.clone());
        Score::of(&truth, &found, &[TimeSpan::new(0, self.length)], 0).der().expect("somebody speaks")
    }
}

/// The method for these voices: GE2E's, in a space in which they vary by 1 from moment to moment.
pub fn method() -> Method {
    // The length of a vector as it is heard, which the method takes away.
    let size = (TELLING as f32 * SPREAD + WIDTH as f32).sqrt();
    let telling = |i: usize| if i / TELLING == i % TELLING { size } else { 0.0 };
    let lda: Vec<f32> = (0..WIDTH * TELLING).map(telling).collect();
    Method::ge2e(&[0.0; WIDTH], &lda, &[SPREAD; TELLING]).unwrap()
}

/// Nothing polished, nothing known.
pub fn options(step: u64) -> DiarizationOptions {
    DiarizationOptions { step, limits: SpeakerLimits::default(), threshold: None, min_on: 0, min_off: 0 }
}

/// What comes of these windows.
pub fn decide(windows: &[WindowNumbers], grid: Grid, options: &DiarizationOptions) -> Attributed {
    let mut attribution = Attribution::new(method());
    windows.iter().for_each(|window| attribution.push(window));
    attribution.finish(grid, options)
}
