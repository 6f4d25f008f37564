//! Languages other than English: the bundled multilingual model finds them, writes them and translates them.

use diarist::language::Language;
use diarist::pipeline::Request;
use diarist::transcript::{Task, Transcript};

use crate::support::{fixture, request, run};

struct Recording {
    file: String,
    language: Language,
    text: String,
    translation: String,
}

fn recordings() -> Vec<Recording> {
    let table = std::fs::read_to_string(fixture("expected/languages.tsv")).unwrap();
    let row = |line: &str| {
        let [file, language, text, translation] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("four columns are expected: {line}")
        };
        Recording {
            file: file.to_owned(),
            language: Language::parse(language).unwrap(),
            text: text.to_owned(),
            translation: translation.to_owned(),
        }
    };
    let recordings: Vec<Recording> = table.lines().skip(1).map(row).collect();
    assert_eq!(recordings.len(), 3);
    recordings
}

fn heard(recording: &Recording, task: Task, language: Option<Language>) -> Transcript {
    let path = fixture("audio").join(&recording.file);
    let request = Request { model: "diarist-micro-multi".to_owned(), task, language, ..request(&path) };
    run(&request).unwrap().transcript
}

#[test]
fn german_french_and_spanish_are_found_and_written() {
    for recording in recordings() {
        let transcript = heard(&recording, Task::Transcribe, None);
        assert_eq!(transcript.language, recording.language, "{}", recording.file);
        assert!(transcript.language_probability.unwrap() > 0.5, "{:?}", transcript.language_probability);
        assert_eq!(transcript.text(), recording.text);
        let told = heard(&recording, Task::Transcribe, Some(recording.language));
        assert_eq!((told.text(), told.language_probability), (recording.text.clone(), None));
    }
}

#[test]
fn german_french_and_spanish_are_translated_into_english() {
    for recording in recordings() {
        let transcript = heard(&recording, Task::Translate, None);
        assert_eq!(transcript.language, recording.language);
        assert_eq!(transcript.text(), recording.translation);
    }
}
