//! Speech without a pause: what it costs to hear a place again where two chunks do not agree on it, and what that mends.

use std::path::Path;

use diarist::audio::AudioSource;
use diarist::cancel::CancelToken;
use diarist::language::Language;
use diarist::pipeline::{Control, Request};
use diarist::server::Parts;
use diarist::time::SAMPLE_RATE;

use crate::measure::{minutes, process_cpu, settings};
use crate::recordings::{bare_speech, sentences, write_spoken};
use crate::scenes::Random;

/// Hears the same speech without and with the check of coverage, which further hearings are a part of: one worker, one
/// thread.
pub fn run(folder: &Path) -> bool {
    let minutes = minutes("BENCH_UNBROKEN_MIN", 10.0);
    let path = folder.join("unbroken.wav");
    let said = words(&write(&path, minutes));
    let parts = Parts::assemble(&settings(&[("workers", "1"), ("threads", "1")]))
        .unwrap_or_else(|error| panic!("{error}"));
    // Loads the models, and does not count.
    hear(&parts, &path, false);
    let [(once_s, once), (again_s, again)] = [false, true].map(|coverage| hear(&parts, &path, coverage));
    println!(
        "unbroken: {minutes} min of speech without a pause take {again_s:.2} s of processor time, {once_s:.2} s where nothing \
         is heard again: ratio {:.2}; of {} words {} are wrong, and {} where nothing is heard again",
        again_s / once_s,
        said.len(),
        wrong(&said, &words(&again)),
        wrong(&said, &words(&once)),
    );
    true
}

/// Writes sentences in changing order with nothing between them; gives their text.
fn write(path: &Path, minutes: f64) -> String {
    let pieces: Vec<(Vec<i16>, String)> = sentences().iter().map(bare_speech).collect();
    let (mut random, mut written) = (Random::new(5), 0.0);
    let drawn = std::iter::from_fn(|| {
        (written < minutes * 60.0).then(|| {
            let piece = &pieces[random.below(pieces.len())];
            written += piece.0.len() as f64 / f64::from(SAMPLE_RATE);
            (0, piece)
        })
    });
    let spoken = write_spoken(path, drawn);
    spoken.into_iter().map(|sentence| sentence.text).collect::<Vec<_>>().join(" ")
}

/// Seconds of processor time, and the text.
fn hear(parts: &Parts, path: &Path, coverage: bool) -> (f64, String) {
    let source = AudioSource { path: path.to_owned(), name: None };
    // The language is given, so that finding it does not count.
    let request = Request {
        language: Some(Language::ENGLISH),
        coverage: Some(coverage),
        ..Request::new(source, "whisper-1")
    };
    let start = process_cpu();
    let outcome = parts.pipeline.run(&request, &Control::new(CancelToken::new())).unwrap();
    ((process_cpu() - start).as_secs_f64(), outcome.transcript.text())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_lowercase).collect()
}

/// Words lost, invented or misheard.
fn wrong(said: &[String], heard: &[String]) -> usize {
    let differences = similar::capture_diff_slices(similar::Algorithm::Myers, said, heard);
    let changed = differences.iter().filter(|difference| difference.tag() != similar::DiffTag::Equal);
    changed.map(|difference| difference.old_range().len().max(difference.new_range().len())).sum()
}
