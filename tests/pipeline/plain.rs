//! The bundled model in whisper.cpp as anybody would call it, through whisper-rs and nothing of ours, and in the pipeline:
//! ten minutes of sentences give the same words, but for a few at the seams of whisper.cpp's windows.

use std::path::Path;
use std::sync::mpsc::channel;

use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters};

use crate::dense::{bare_words, differences, write_files_end_to_end};
use crate::support::transcribe;

/// What whisper.cpp's own loop tells while it works.
enum Told {
    /// Another window begins.
    Window,
    /// A segment of the window that has been decoded.
    Text(String),
}

/// What whisper.cpp's own loop over 30 s windows hears in a recording with its default settings, each window being given
/// the text of those before it: words, and the number of the window that each is from.
fn heard_plainly(recording: &Path) -> Vec<(String, u32)> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/diarist-micro-en-q8_0.bin");
    let context = WhisperContext::new_with_params(model, WhisperContextParameters::default()).unwrap();
    let samples: Vec<f32> = hound::WavReader::open(recording)
        .unwrap()
        .into_samples::<i16>()
        .map(|sample| f32::from(sample.unwrap()) / 32_768.0)
        .collect();
    let (told, heard) = channel();
    let begins = told.clone();
    let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 5 });
    params.set_print_progress(false);
    params.set_progress_callback_safe(move |_| begins.send(Told::Window).unwrap());
    params.set_segment_callback_safe(move |segment: whisper_rs::SegmentCallbackData| {
        told.send(Told::Text(segment.text)).unwrap();
    });
    let mut state = context.create_state().unwrap();
    state.full(params, &samples).unwrap();
    let mut window = 0;
    let mut words = Vec::new();
    for told in heard.try_iter() {
        match told {
            Told::Window => window += 1,
            Told::Text(text) => words.extend(bare_words(&text).map(|word| (word, window))),
        }
    }
    assert!(window > 10, "{window} windows");
    words
}

#[test]
fn ten_minutes_in_plain_whisper_and_in_the_pipeline_have_the_same_words_apart_from_seams() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sentences.wav");
    let truth = write_files_end_to_end(&path, 600);
    let mut ours = Vec::new();
    for segment in transcribe(&path).segments.iter().map(Result::unwrap) {
        let start = diarist::time::samples_to_seconds(segment.span.start);
        ours.extend(bare_words(&segment.text).map(|word| (word, start)));
    }
    let said: Vec<String> = truth.iter().flat_map(|spoken| bare_words(&spoken.text)).collect();
    assert!(ours.iter().map(|(word, _)| word).eq(&said), "the pipeline hears what is said");
    let differences = differences(&ours, &heard_plainly(&path));
    println!("{} words: {differences:?} in plain whisper.cpp", ours.len());
    assert_eq!((differences.misheard, differences.own), (0, 0), "within a window");
    assert!(differences.at_seams * 200 <= ours.len(), "more than one word of two hundred differs");
}
