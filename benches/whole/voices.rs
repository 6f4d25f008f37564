//! Long recordings of many voices, made of what each speaks alone in a folder of recordings with RTTM.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use diarist::audio::{AudioSource, decode_to_spool};
use diarist::cancel::CancelToken;
use diarist::diarization::score::{Annotation, regions, rttm};
use diarist::time::{SAMPLE_RATE, TimeSpan, ms_to_samples};
use diarist::transcript::{SpeakerId, SpeakerTurn};

use crate::measure::settings;
use crate::recordings::{fixture, wav_writer};

/// Shortest piece that is taken, and longest.
const PIECES_MS: std::ops::RangeInclusive<u64> = 1_200..=12_000;

/// Where a folder has too few voices, the same are taken higher and lower: length in percent.
const SPEEDS: [usize; 3] = [100, 84, 119];

/// What one voice says.
pub struct Voice {
    pieces: Vec<Vec<i16>>,
}

/// The `count` voices of the folder that say most.
pub fn voices(count: usize) -> Vec<Voice> {
    let mut alone: BTreeMap<String, Vec<Vec<i16>>> = BTreeMap::new();
    for (recording, truth) in recordings() {
        let samples = samples_of(&recording);
        for (number, name) in truth.speakers.iter().enumerate() {
            let pieces = spoken_alone(&truth, SpeakerId(number as u32)).into_iter().map(|span| {
                let end = (span.end as usize).min(samples.len());
                samples[(span.start as usize).min(end)..end].to_vec()
            });
            alone.entry(name.clone()).or_default().extend(pieces);
        }
    }
    let mut voices: Vec<_> = alone.into_values().filter(|pieces| !pieces.is_empty()).collect();
    assert!(voices.len() * SPEEDS.len() >= count, "{} voices are too few for {count}", voices.len());
    voices.sort_by_key(|pieces| std::cmp::Reverse(pieces.iter().map(Vec::len).sum::<usize>()));
    let sped = SPEEDS.iter().flat_map(|percent| voices.iter().map(|pieces| at_speed(pieces, *percent)));
    sped.take(count).map(|pieces| Voice { pieces }).collect()
}

/// Recordings and truths of `BENCH_DIARIZATION`, or of the fixtures' scenes.
fn recordings() -> Vec<(PathBuf, Annotation)> {
    let (truths, sounds) = match std::env::var_os("BENCH_DIARIZATION") {
        Some(folder) => (PathBuf::from(&folder), PathBuf::from(folder)),
        None => (fixture("expected/scenes"), fixture("audio/scenes")),
    };
    let listed = std::fs::read_dir(&truths).unwrap_or_else(|error| panic!("{}: {error}", truths.display()));
    let mut paths: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "rttm"));
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name in Unicode").to_owned();
        let truth = rttm::read_one(&std::fs::read(&path).unwrap(), &name).unwrap();
        (sounds.join(format!("{name}.flac")), truth)
    };
    paths.into_iter().map(read).collect()
}

/// Where nobody else speaks, as long as the pieces may be.
fn spoken_alone(truth: &Annotation, speaker: SpeakerId) -> Vec<TimeSpan> {
    let of = |wanted: bool| {
        let turns = truth.turns.iter().filter(|turn| (turn.speaker == speaker) == wanted);
        regions::joined(turns.map(|turn| turn.span).collect())
    };
    let mut spans = regions::without(&of(true), &of(false));
    spans.iter_mut().for_each(|span| span.end = span.end.min(span.start + ms_to_samples(*PIECES_MS.end())));
    spans.retain(|span| span.len() >= ms_to_samples(*PIECES_MS.start()));
    spans
}

fn samples_of(path: &Path) -> Vec<i16> {
    let source = AudioSource { path: path.to_owned(), name: None };
    let options = settings(&[]).pipeline().audio;
    let decoded = decode_to_spool(&source, &options, &CancelToken::new());
    let spool = decoded.unwrap_or_else(|error| panic!("{}: {error}", path.display())).spool;
    let mut samples = Vec::new();
    spool.read(TimeSpan::new(0, spool.len()), &mut samples);
    samples.iter().map(|sample| (sample * 32_767.0) as i16).collect()
}

fn at_speed(pieces: &[Vec<i16>], percent: usize) -> Vec<Vec<i16>> {
    let resampled = |samples: &Vec<i16>| {
        (0..samples.len() * percent / 100).map(|at| samples[at * 100 / percent]).collect()
    };
    pieces.iter().map(resampled).collect()
}

/// Writes a conversation of `voices`, about so many minutes long: who speaks next, what, and after which pause is
/// left to a sequence that looks like chance and is the same each time. Gives the truth.
pub fn conversation(path: &Path, voices: &[Voice], minutes: f64) -> Annotation {
    let mut writer = wav_writer(path);
    let length = (minutes * 60.0 * f64::from(SAMPLE_RATE)) as u64;
    let (mut now, mut state) = (0_u64, 1_u64);
    let mut next = |below: usize| {
        // Knuth's linear congruence (MMIX); its upper bits look like chance.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let speakers = (1..=voices.len()).map(|number| format!("voice{number}")).collect();
    let mut truth = Annotation { speakers, turns: Vec::new() };
    while now < length {
        let pause = ms_to_samples(200 + next(1_300) as u64);
        let speaker = next(voices.len());
        let pieces = &voices[speaker].pieces;
        let piece = &pieces[next(pieces.len())];
        (0..pause).for_each(|_| writer.write_sample(0_i16).unwrap());
        piece.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
        let start = now + pause;
        now = start + piece.len() as u64;
        truth.turns.push(SpeakerTurn { span: TimeSpan::new(start, now), speaker: SpeakerId(speaker as u32) });
    }
    writer.finalize().unwrap();
    truth
}
