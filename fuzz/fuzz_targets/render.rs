//! Any transcript in every form of answer, read back by the rules of the form.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use diarist::language::Language;
use diarist::output::{RenderOptions, ResponseFormat, UsageKind, render};
use diarist::time::TimeSpan;
use diarist::transcript::{DropReason, DroppedText, Segment, Speaker, SpeakerId, Task, Token, Transcript, Warning, Word};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[derive(Arbitrary, Debug)]
struct Input {
    segments: Vec<Said>,
    /// Of the speakers; those of unknown voices are missing.
    names: Vec<Option<String>>,
    translate: bool,
    language: u8,
    words: bool,
    logprobs: bool,
    tokens: bool,
}

#[derive(Arbitrary, Debug)]
struct Said {
    text: String,
    /// Samples of pause before it, and of speech.
    pause: u32,
    length: u32,
    /// Bytes of the text in a token, in turn; 0 is a token of its own for times.
    token_bytes: Vec<u8>,
    numbers: [f32; 4],
    /// Words that have nothing to do with the text.
    strange_words: Vec<String>,
    speaker: Option<u8>,
}

fuzz_target!(|data: &[u8]| {
    let Ok(input) = Input::arbitrary(&mut Unstructured::new(data)) else { return };
    let transcript = transcript(&input);
    let options = RenderOptions {
        words: input.words,
        segments: !input.words || input.tokens,
        logprobs: input.logprobs,
        languages: input.tokens,
        usage: if input.tokens { UsageKind::Tokens } else { UsageKind::Duration },
        speakers: input.words,
        speaker_labels: false,
    };
    let body = |format| render(&transcript, format, &options).body;
    let text = transcript.text();
    assert_eq!(body(ResponseFormat::Text), format!("{text}\n"));
    check_json(&body(ResponseFormat::Json), &text, input.logprobs);
    check_json(&body(ResponseFormat::VerboseJson), &text, false);
    check_srt(&body(ResponseFormat::Srt), &transcript);
    check_vtt(&body(ResponseFormat::Vtt), &transcript);
    let diarized = body(ResponseFormat::DiarizedJson);
    check_json(&diarized, &text, false);
    check_segments(&diarized, &transcript);
    let labelled = RenderOptions { speaker_labels: true, ..options };
    check_labels(&render(&transcript, ResponseFormat::Vtt, &labelled).body);
});

/// Whether every segment is there, one after the other in time, with somebody who speaks it.
fn check_segments(body: &str, transcript: &Transcript) {
    let value: Value = serde_json::from_str(body).expect("an answer in JSON is JSON");
    let segments = value["segments"].as_array().expect("a list");
    assert_eq!(segments.len(), transcript.segments.len());
    for (segment, number) in segments.iter().zip(0..) {
        assert_eq!(segment["id"], format!("seg_{number}"));
        assert!(segment["speaker"].is_string() && segment["start"].as_f64() < segment["end"].as_f64());
    }
}

/// Whether a name makes no more than the one tag that it is in.
fn check_labels(body: &str) {
    for cue in cues(body.strip_prefix("WEBVTT\n\n").expect("a head")) {
        let [_, text] = cue[..] else { panic!("a cue of {cue:?}") };
        let rest = text.strip_prefix("<v ").map_or(text, |tag| tag.split_once('>').expect("an end of the tag").1);
        assert!(!rest.contains('<') && !text.contains("-->"), "{text:?}");
    }
}

fn transcript(input: &Input) -> Transcript {
    let mut at = 0;
    let segments: Vec<Segment> = input.segments.iter().map(|said| segment(said, &mut at)).collect();
    let dropped = segments.iter().take(2).map(|segment| DroppedText {
        span: segment.span,
        text: segment.text.clone(),
        reason: DropReason::Loop,
    });
    Transcript {
        task: if input.translate { Task::Translate } else { Task::Transcribe },
        language: Language::from_id(usize::from(input.language)).unwrap_or(Language::ENGLISH),
        language_probability: Some(0.5),
        duration: at,
        dropped: dropped.collect(),
        text_tokens: segments.iter().map(Segment::text_tokens).sum(),
        warnings: segments.iter().take(2).map(|s| Warning::at("x", s.text.clone(), s.span)).collect(),
        segments: segments.into(),
        turns: Vec::new(),
        speakers: input.names.iter().map(|name| Speaker { name: name.clone(), embedding: Vec::new() }).collect(),
        known_names: input.names.iter().flatten().cloned().collect(),
        coverage: None,
        separation: None,
        prompt_tokens: 0,
    }
}

fn segment(said: &Said, at: &mut u64) -> Segment {
    let span =
        TimeSpan::new(*at + u64::from(said.pause), *at + u64::from(said.pause) + u64::from(said.length));
    *at = span.end;
    let [temperature, avg_logprob, compression_ratio, no_speech_prob] = said.numbers;
    let word = |text: &String| Word { text: text.clone(), span, probability: temperature, speaker: None, overlapped: false };
    Segment {
        span,
        text: said.text.clone(),
        tokens: tokens(said),
        words: said.strange_words.iter().map(word).collect(),
        seek: span.start,
        temperature,
        avg_logprob,
        compression_ratio,
        no_speech_prob,
        speaker: said.speaker.map(|who| SpeakerId(u32::from(who))),
        overlapped: false,
    }
}

/// The text cut anywhere, inside characters too.
fn tokens(said: &Said) -> Vec<Token> {
    let mut rest = said.text.as_bytes();
    let mut tokens = Vec::new();
    for &count in &said.token_bytes {
        let (bytes, after) = rest.split_at(rest.len().min(usize::from(count)));
        tokens.push(Token { id: i32::from(count), bytes: bytes.to_vec(), logprob: said.numbers[1] });
        rest = after;
    }
    tokens
}

fn check_json(body: &str, text: &str, has_logprobs: bool) {
    let value: Value = serde_json::from_str(body).expect("an answer in JSON is JSON");
    assert_eq!(value["text"].as_str(), Some(text));
    if has_logprobs {
        let tokens = value["logprobs"].as_array().expect("asked for");
        let spelled: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
        assert_eq!(spelled, text);
    }
}

fn check_srt(body: &str, transcript: &Transcript) {
    let cues = cues(body.strip_suffix('\n').expect("a line feed more than the last cue needs"));
    for (cue, number) in cues.iter().zip(1..) {
        let [first, times, text] = cue[..] else { panic!("a cue of {cue:?}") };
        assert_eq!(first, number.to_string());
        check_cue(times, text, ',');
    }
    same_text(cues.iter().map(|cue| cue[2].to_owned()), transcript);
}

fn check_vtt(body: &str, transcript: &Transcript) {
    let cues = cues(body.strip_prefix("WEBVTT\n\n").expect("a head"));
    for cue in &cues {
        let [times, text] = cue[..] else { panic!("a cue of {cue:?}") };
        check_cue(times, text, '.');
        assert!(!text.contains('<'), "a tag in {text:?}");
    }
    same_text(cues.iter().map(|cue| cue[1].replace("&lt;", "<").replace("&amp;", "&")), transcript);
}

/// Blocks of lines with an empty line behind each.
fn cues(body: &str) -> Vec<Vec<&str>> {
    assert!(body.is_empty() || body.ends_with("\n\n"), "an open end: {body:?}");
    body.split_terminator("\n\n").map(|cue| cue.split('\n').collect()).collect()
}

fn check_cue(times: &str, text: &str, decimal: char) {
    let (start, end) = times.split_once(" --> ").expect("an arrow between the times");
    assert!(ms(start, decimal) < ms(end, decimal), "{times}");
    assert!(!text.contains("-->") && !text.trim().is_empty(), "{text:?}");
    assert!(!text.contains(['\r', '\n', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']), "{text:?}");
}

fn ms(time: &str, decimal: char) -> u64 {
    let (seconds, ms) = time.split_once(decimal).expect("milliseconds");
    let parts: Vec<u64> = seconds.split(':').map(|part| part.parse().unwrap()).collect();
    let [hours, minutes, seconds] = parts[..] else { panic!("{time}") };
    assert!(ms.len() == 3 && minutes < 60 && seconds < 60, "{time}");
    ((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms.parse::<u64>().unwrap()
}

/// Whether the cues hold every letter and digit of the transcript, in order.
fn same_text(cues: impl Iterator<Item = String>, transcript: &Transcript) {
    let letters = |text: String| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    assert_eq!(letters(cues.collect()), letters(transcript.text()));
}
