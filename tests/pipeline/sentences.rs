//! Words and times of the shipped recordings.

use diarist::time::samples_to_seconds;
use diarist::transcript::Transcript;

use crate::support::{Spoken, assert_spoken, fixture, sentences, transcribe};

/// Truth of a recording with several sentences.
fn truth(name: &str) -> (f64, Vec<Spoken>) {
    let text = std::fs::read_to_string(fixture("expected").join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let spoken = json["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| Spoken {
            text: segment["text"].as_str().unwrap().to_owned(),
            start: segment["start"].as_f64().unwrap(),
            end: segment["end"].as_f64().unwrap(),
        })
        .collect();
    (json["duration"].as_f64().unwrap(), spoken)
}

fn assert_sound(transcript: &Transcript) {
    let mut last = 0;
    for segment in &transcript.segments.to_vec().unwrap() {
        assert!(segment.span.start < segment.span.end && segment.span.end <= transcript.duration + 1600);
        assert!(segment.avg_logprob < 0.0 && segment.avg_logprob > -1.0, "{}", segment.avg_logprob);
        assert!((0.0..0.1).contains(&segment.no_speech_prob), "{}", segment.no_speech_prob);
        assert!(segment.compression_ratio > 0.5 && segment.compression_ratio < 2.4);
        let spelled: String = segment.words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(spelled, segment.text);
        for word in &segment.words {
            assert!(last <= word.span.start && word.span.start <= word.span.end, "{word:?}");
            assert!(segment.span.start <= word.span.start && word.span.end <= segment.span.end);
            assert!((0.0..=1.0).contains(&word.probability));
            last = word.span.start;
        }
    }
}

#[test]
fn every_sentence_is_right_word_for_word_and_in_its_place() {
    for sentence in sentences() {
        let transcript = transcribe(&sentence.path);
        assert_eq!(transcript.text(), sentence.text);
        assert_sound(&transcript);
        let segments = transcript.segments.to_vec().unwrap();
        let [segment] = &segments[..] else { panic!("one segment: {transcript:?}") };
        let start = samples_to_seconds(segment.span.start);
        assert!((start - sentence.start).abs() < 0.15, "{start} for {}: {}", sentence.start, sentence.text);
        let end = samples_to_seconds(segment.span.end);
        assert!((end - sentence.end).abs() < 0.15, "{end} for {}: {}", sentence.end, sentence.text);
    }
}

#[test]
fn several_sentences_come_in_order_with_their_times() {
    for name in ["hello", "dialogue"] {
        let (duration, spoken) = truth(&format!("{name}.json"));
        let transcript = transcribe(&fixture("audio").join(format!("{name}.flac")));
        assert_spoken(&transcript, &spoken, 0.2);
        assert_sound(&transcript);
        assert!((samples_to_seconds(transcript.duration) - duration).abs() < 0.01);
    }
}

#[test]
fn nothing_is_invented_where_nobody_speaks() {
    for name in ["silence.wav", "noise.flac", "tone.flac"] {
        let transcript = transcribe(&fixture("audio").join(name));
        assert_eq!(transcript.segments.to_vec().unwrap(), [], "{name}");
        assert_eq!(transcript.text(), "");
    }
}
