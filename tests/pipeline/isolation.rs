//! Requests beside one another do not mix, and do not change each other's bytes.

use std::sync::{Arc, Mutex};

use diarist::output::{RenderOptions, ResponseFormat, render};
use diarist::pipeline::{Control, Event, PipelineError, Request};
use diarist::transcript::Task;
use diarist::{cancel::CancelToken, language::Language};

use crate::support::{fixture, parts, request, run};

fn bytes(request: &Request) -> String {
    let options = RenderOptions { words: true, ..RenderOptions::default() };
    render(&run(request).unwrap().transcript, ResponseFormat::VerboseJson, &options).body
}

#[test]
fn a_request_gives_the_same_bytes_alone_and_beside_eight_others() {
    let hello = request(&fixture("audio/hello.flac"));
    let hot = Request { temperature: 0.8, ..request(&fixture("audio/sentences/002.flac")) };
    let alone = [bytes(&hello), bytes(&hot)];
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..8)
            .map(|i| {
                let mut other = request(&fixture("audio/dialogue.flac"));
                other.temperature = [0.0, 0.4, 1.0][i % 3];
                other.beam_size = Some(1 + i as u8 % 5);
                scope.spawn(move || bytes(&other))
            })
            .collect();
        let beside = [bytes(&hello), bytes(&hot)];
        assert_eq!(beside, alone);
        others.into_iter().for_each(|other| drop(other.join().unwrap()));
    });
}

#[test]
fn two_models_at_once_do_not_mix() {
    // A second model on the same machine: the same weights under another name.
    let folder = tempfile::tempdir().unwrap();
    let bundled = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/diarist-micro-en-q8_0.bin");
    std::fs::copy(bundled, folder.path().join("ggml-second.bin")).unwrap();
    let mut settings = crate::support::settings();
    settings.models_dir = folder.path().to_owned();
    let parts = diarist::server::Parts::assemble(&settings).unwrap();
    let text = |model: &str, file: &str| {
        let request = Request { model: model.to_owned(), ..request(&fixture(file)) };
        parts.pipeline.run(&request, &Control::default()).unwrap().transcript.text()
    };
    // A model without an entry in the catalogue packs its chunks full, so it hears other chunks.
    let alone = [text("second", "audio/dialogue.flac"), text("diarist-micro-en", "audio/hello.flac")];
    assert_eq!(alone[1], std::fs::read_to_string(fixture("expected/hello.txt")).unwrap().trim());
    std::thread::scope(|scope| {
        let second = scope.spawn(|| text("second", "audio/dialogue.flac"));
        let first = text("diarist-micro-en", "audio/hello.flac");
        assert_eq!([second.join().unwrap(), first], alone);
    });
    assert_eq!(parts.models.status().iter().filter(|model| model.memory_bytes > 0).count(), 2);
}

#[test]
fn an_english_model_says_what_it_cannot_do() {
    let hello = fixture("audio/hello.flac");
    let german = Request { language: Language::parse("de"), ..request(&hello) };
    let error = run(&german).unwrap_err();
    assert!(matches!(&error, PipelineError::Incapable { field: "language", .. }), "{error}");
    assert!(error.to_string().contains("german"), "{error}");

    let translation = run(&Request { task: Task::Translate, ..request(&hello) }).unwrap().transcript;
    assert_eq!(translation.warnings.len(), 1);
    assert_eq!(translation.warnings[0].code, "english_only_model");
}

#[test]
fn segments_are_told_in_order_while_the_work_goes_on() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let control = Control::with_listener(CancelToken::new(), move |event| heard.lock().unwrap().push(event));
    let request = request(&fixture("audio/dialogue.flac"));
    let transcript = parts().pipeline.run(&request, &control).unwrap().transcript;
    let events = events.lock().unwrap();
    assert!(matches!(events[0], Event::Accepted));
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| if let Event::Segment(segment) = event { Some(segment.clone()) } else { None })
        .collect();
    assert_eq!(told, transcript.segments.to_vec().unwrap());
    let first = events.iter().position(|event| matches!(event, Event::Segment(_))).unwrap();
    let last_progress = events.iter().rposition(|event| matches!(event, Event::Progress { .. })).unwrap();
    assert!(first + 10 < last_progress, "the first segment must not wait for the end");
}

#[test]
fn earlier_text_is_carried_over_only_when_asked_for() {
    let plain = request(&fixture("audio/dialogue.flac"));
    let carried = Request { condition_on_previous_text: true, ..plain.clone() };
    let plain = run(&plain).unwrap().transcript;
    let carried = run(&carried).unwrap().transcript;
    assert_eq!(plain.prompt_tokens, 0);
    assert!(carried.prompt_tokens > 10, "{}", carried.prompt_tokens);
}
