//! Speech without a pause: what it costs to hear a place again where two chunks do not agree on it, and what that mends.

use std::path::Path;

use diarist::server::Parts;

use crate::measure::{minutes, settings};
use crate::overhead::run_pipeline;
use crate::recordings::{bare_speech, sentences, write_end_to_end};
use crate::scenes::Random;
use crate::songs::word_error_rate;

/// Hears the same speech without and with the check of coverage, which further hearings are a part of: one worker, one
/// thread.
pub fn run(folder: &Path) -> bool {
    let minutes = minutes("BENCH_UNBROKEN_MIN", 10.0);
    let path = folder.join("unbroken.wav");
    let pieces: Vec<(Vec<i16>, String)> = sentences().iter().map(bare_speech).collect();
    let mut random = Random::new(5);
    let spoken = write_end_to_end(&path, (minutes * 60.0) as u64, &pieces, |limit| random.below(limit));
    let said = spoken.iter().map(|sentence| sentence.text.as_str()).collect::<Vec<_>>().join(" ");
    let parts = Parts::assemble(&settings(&[("workers", "1"), ("threads", "1")]))
        .unwrap_or_else(|error| panic!("{error}"));
    // Loads the models, and does not count.
    run_pipeline(&parts, &path, Some(false));
    let [once, again] = [false, true].map(|coverage| run_pipeline(&parts, &path, Some(coverage)));
    println!(
        "unbroken: {minutes} min of speech without a pause take {:.2} s of processor time, {:.2} s where nothing is \
         heard again: ratio {:.2}; of {} words {:.2} % are wrong, and {:.2} % where nothing is heard again",
        again.cpu.as_secs_f64(),
        once.cpu.as_secs_f64(),
        again.cpu.as_secs_f64() / once.cpu.as_secs_f64(),
        said.split_whitespace().count(),
        100.0 * word_error_rate(&said, &again.text),
        100.0 * word_error_rate(&said, &once.text),
    );
    true
}
