//! An hour of speech: every sentence once, in its place, in the memory that ten minutes take.

use std::path::Path;

use crate::support::{Spoken, long_recording, transcribe_watched};

/// How much more memory an hour may take than ten minutes, in KiB.
const ALLOWED_KIB: u64 = 64 * 1024;

#[test]
fn an_hour_of_speech_loses_nothing_and_takes_no_more_memory_than_ten_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let short_peak = transcribe_and_check(folder.path(), 600);
    let long_peak = transcribe_and_check(folder.path(), 3600);
    println!("peak memory: {short_peak} KiB for 10 min, {long_peak} KiB for 60 min");
    assert!(long_peak <= short_peak + ALLOWED_KIB, "{short_peak} KiB, then {long_peak} KiB");
}

/// Transcribes with the built program, compares with the truth, and gives the process's peak memory in KiB.
fn transcribe_and_check(folder: &Path, seconds: u64) -> u64 {
    let path = folder.join("speech.wav");
    let truth = long_recording(&path, seconds);
    let peak = transcribe_watched(&path, folder, &[]).resident;
    let text = std::fs::read_to_string(folder.join("speech.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    check(&json, &truth);
    peak
}

fn check(json: &serde_json::Value, truth: &[Spoken]) {
    let segments = json["segments"].as_array().unwrap();
    for (segment, sentence) in segments.iter().zip(truth) {
        assert_eq!(segment["text"].as_str().unwrap().trim(), sentence.text, "at {:.1} s", sentence.start);
        for (edge, spoken) in [("start", sentence.start), ("end", sentence.end)] {
            let heard = segment[edge].as_f64().unwrap();
            assert!((heard - spoken).abs() <= 0.3, "{edge} {heard}, spoken {spoken}: {}", sentence.text);
        }
    }
    assert_eq!(segments.len(), truth.len(), "every sentence once");
}
