//! The same speech in every container, codec, rate and number of channels gives the same transcript.

use std::path::PathBuf;

use diarist::time::samples_to_seconds;

use crate::support::{fixture, request, run, transcribe};

/// What is said in the recording, and in the files that carry only its end.
const WHOLE: &str = "He will like that fresh letter. Can you send the truck please? What is the question?";
const END: &str = "What is the question?";

/// Length of both, in seconds (the folder's README).
const WHOLE_SECONDS: f64 = 6.131;
const END_SECONDS: f64 = 1.4;

/// Kinds that only ffmpeg opens.
const NEEDS_FFMPEG: [&str; 1] = ["wav_rf64_8000.wav"];

fn encodings() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(fixture("audio/encodings"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !["sh", "md"].contains(&path.extension().unwrap_or_default().to_str().unwrap()))
        .filter(|path| !NEEDS_FFMPEG.iter().any(|name| path.ends_with(name)))
        .collect();
    files.sort();
    files
}

#[test]
fn the_same_speech_gives_the_same_words_and_length_in_every_encoding() {
    let files = encodings();
    assert!(files.len() >= 36, "{}", files.len());
    let mut wrong = Vec::new();
    let mut whole = 0;
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy();
        let transcript = transcribe(path);
        let seconds = samples_to_seconds(transcript.duration);
        let is_whole = seconds > 3.0;
        whole += usize::from(is_whole);
        let (text, length) = if is_whole { (WHOLE, WHOLE_SECONDS) } else { (END, END_SECONDS) };
        if transcript.text() != text {
            wrong.push(format!("{name}: {}", transcript.text()));
        }
        if (seconds - length).abs() > 0.05 {
            wrong.push(format!("{name}: {seconds} s"));
        }
    }
    assert!(whole >= 15, "{whole} files carry the whole recording");
    assert!(wrong.is_empty(), "of {} files:\n{}", files.len(), wrong.join("\n"));
}

#[test]
fn a_misleading_name_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disguised = folder.path().join("letter.pdf");
    std::fs::copy(fixture("audio/encodings/opus_file.webm"), &disguised).unwrap();
    let mut request = request(&disguised);
    request.source.name = Some("../../etc/passwd.mp3".into());
    assert_eq!(run(&request).unwrap().transcript.text(), WHOLE);
}
