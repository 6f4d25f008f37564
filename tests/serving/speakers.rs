//! Who spoke when, asked of the built program with the models that come with it.

use crate::support::*;

/// Ten sentences of two voices in turn.
fn dialogue() -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio/dialogue.flac");
    std::fs::read(path).unwrap()
}

fn body(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn a_dialogue_is_told_apart_in_every_form() {
    let server = Server::start(&[]);
    let turns = server.diarize(&dialogue(), &[("response_format", "rttm")]);
    let speakers: Vec<_> = body(&turns).lines().map(|line| line.split(' ').nth(7).unwrap()).collect();
    assert!(speakers.len() >= 10, "{speakers:?}");
    assert!(speakers.contains(&"A") && speakers.contains(&"B"), "{speakers:?}");
    assert!(speakers.iter().all(|speaker| ["A", "B"].contains(speaker)), "{speakers:?}");

    let labelled = [("response_format", "srt"), ("speaker_labels", "true")];
    let subtitles = server.transcribe(&dialogue(), &labelled);
    assert!(body(&subtitles).contains("\nA: What time does the concert start?\n"), "{}", subtitles.text);
    assert!(body(&subtitles).contains("\nB: The party starts at one thirty on Wednesday.\n"));
}

#[test]
fn embeddings_are_of_unit_length() {
    let server = Server::start(&[]);
    let answer = server.diarize(&dialogue(), &[("embeddings", "true"), ("num_speakers", "2")]);
    let turns: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    let speakers = turns["speakers"].as_array().unwrap();
    assert_eq!(speakers.len(), 2);
    for speaker in speakers {
        let numbers = speaker["embedding"].as_array().unwrap();
        let length: f64 = numbers.iter().map(|number| number.as_f64().unwrap().powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-3, "{length}");
    }
}

#[test]
fn without_the_models_of_diarization_all_else_goes_on() {
    let server = Server::start(&["diarization_model=wespeaker-resnet34", "models_dir=none-are-here"]);
    assert!(server.log().contains("speakers cannot be told apart"), "{}", server.log());
    let refused = server.diarize(&dialogue(), &[]);
    assert_eq!(refused.status, 500, "{}", refused.text);
    assert!(refused.text.contains("\"param\":null,\"code\":\"model_unusable\""), "{}", refused.text);
    assert!(refused.text.contains("diarist models pull wespeaker-resnet34"), "{}", refused.text);
    assert_eq!(server.transcribe(&dialogue(), &[]).status, 200);
}
