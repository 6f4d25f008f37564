//! The built server, asked who speaks.

use std::path::{Path, PathBuf};

use reqwest::blocking::multipart::Form;
use serde_json::Value;

use diarist::diarization::score::{Annotation, rttm};

use crate::program::Program;
use crate::words::Spoken;

/// A file of the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Sends `recording` with these fields; gives the answer's text.
pub fn post(program: &Program, path: &str, recording: &Path, fields: &[(&'static str, &str)]) -> String {
    let form = fields.iter().fold(Form::new(), |form, (name, value)| form.text(*name, (*value).to_owned()));
    let client = reqwest::blocking::Client::builder().no_proxy().timeout(None).build().unwrap();
    let request =
        client.post(format!("{}{path}", program.url)).multipart(form.file("file", recording).unwrap());
    let answer = request.send().unwrap();
    let (status, text) = (answer.status(), answer.text().unwrap());
    assert!(status.is_success(), "{}: {status}: {text}", recording.display());
    text
}

/// Who speaks when in `recording`.
pub fn diarize(program: &Program, recording: &Path, fields: &[(&'static str, &str)]) -> Annotation {
    let fields = [&[("response_format", "rttm")], fields].concat();
    let text = post(program, "/v1/audio/diarizations", recording, &fields);
    rttm::read_one(text.as_bytes(), "").unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

/// The words of `recording` and who speaks them.
pub fn words(program: &Program, recording: &Path) -> Vec<Spoken> {
    let fields = [
        ("model", "whisper-1"),
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "word"),
        ("diarize", "true"),
    ];
    let answer = post(program, "/v1/audio/transcriptions", recording, &fields);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let words = answer["words"].as_array().unwrap_or_else(|| panic!("words were asked for: {answer}"));
    words.iter().map(|word| spoken(word, word["speaker"].as_str())).collect()
}

/// The words of a scene as they were spoken.
pub fn truth(scene: &str) -> Vec<Spoken> {
    let text = std::fs::read_to_string(fixture(&format!("expected/scenes/{scene}.json"))).unwrap();
    let told: Value = serde_json::from_str(&text).unwrap();
    let sentences = told["segments"].as_array().unwrap().iter();
    let words = |sentence: &Value| -> Vec<Spoken> {
        let words = sentence["words"].as_array().unwrap().iter();
        words.map(|word| spoken(word, sentence["speaker"].as_str())).collect()
    };
    sentences.flat_map(words).collect()
}

fn spoken(word: &Value, speaker: Option<&str>) -> Spoken {
    Spoken {
        text: word["word"].as_str().unwrap().to_owned(),
        start: word["start"].as_f64().unwrap(),
        end: word["end"].as_f64().unwrap(),
        speaker: speaker.filter(|speaker| *speaker != "unknown").map(str::to_owned),
    }
}
