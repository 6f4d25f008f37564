//! Requests that end before their recording does, or never should have begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use diarist::cancel::CancelToken;
use diarist::error::ErrorKind;
use diarist::pipeline::{Control, Event, Pipeline, Request};
use diarist::vad::{VadError, VadSpec, VoiceActivityDetector};

use crate::support::{
    bare_speech, fixture, long_recording, parts, request, run, sentences, settings, write_spoken,
};

#[test]
fn a_cancelled_request_ends_long_before_its_recording() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.wav");
    let truth = long_recording(&path, 300);
    let cancel = CancelToken::new();
    let (tell, told) = channel();
    let stop = cancel.clone();
    let control = Control::with_listener(cancel, move |event| {
        if let Event::Segment(segment) = event {
            stop.cancel();
            tell.send(segment).unwrap();
        }
    });
    let error = parts().pipeline.run(&request(&path), &control).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    drop(control);
    let segments = told.iter().count();
    assert!(segments < truth.len() / 4, "{segments} of {} sentences were still done", truth.len());
    // The engine is free and sound for the next request.
    let text = std::fs::read_to_string(fixture("expected/hello.txt")).unwrap();
    assert_eq!(run(&request(&fixture("audio/hello.flac"))).unwrap().transcript.text(), text.trim());
}

#[test]
fn what_is_no_recording_ends_before_it_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], ErrorKind); 3] = [
        ("empty.wav", b"", ErrorKind::UndecodableAudio),
        ("text.mp3", b"this is not a recording, whatever its name says", ErrorKind::UndecodableAudio),
        ("short.wav", &short_wav(), ErrorKind::AudioTooShort),
    ];
    for (name, bytes, kind) in cases {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (tell, told) = channel();
        let control = Control::with_listener(CancelToken::new(), move |event| tell.send(event).unwrap());
        let error = parts().pipeline.run(&request(&path), &control).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        drop(control);
        assert!(told.iter().next().is_none(), "{name}: no event may come before the error");
    }
}

#[test]
fn a_recording_over_the_limit_is_refused_while_it_is_being_heard() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.wav");
    long_recording(&path, 120);
    let mut settings = settings();
    settings.max_duration_s = 60;
    let parts = diarist::server::Parts::assemble(&settings).unwrap();
    let error = parts.pipeline.run(&request(&path), &Control::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AudioTooLong);
}

#[test]
fn a_recording_that_breaks_off_gives_what_is_there_and_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.wav");
    let truth = long_recording(&path, 120);
    // In the pause before the last sentence that begins in the first minute.
    let whole = truth.iter().filter(|sentence| sentence.start < 60.0).count() - 1;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(44 + ((truth[whole].start - 0.2) * 32_000.0) as u64 / 2 * 2).unwrap();
    let transcript = run(&request(&path)).unwrap().transcript;
    crate::support::assert_spoken(&transcript, &truth[..whole], 0.3);
    let codes: Vec<_> = transcript.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["truncated_audio"]);
}

#[test]
fn unknown_and_missing_models_are_named() {
    for (model, word) in [("no-such-model", "does not exist"), ("large-v3", "diarist models pull large-v3")] {
        let request = Request { model: model.into(), ..request(&fixture("audio/hello.flac")) };
        let error = run(&request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelNotFound);
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// 50 ms of silence.
fn short_wav() -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    (0..800).for_each(|_| writer.write_sample(0_i16).unwrap());
    writer.finalize().unwrap();
    bytes.into_inner()
}

/// Takes the first seconds of every recording for speech, and takes its time with the rest.
struct Slow {
    windows: Arc<AtomicUsize>,
    heard: usize,
}

/// Windows of 32 ms that `Slow` takes for speech.
const SPEECH_WINDOWS: usize = 60;

impl VoiceActivityDetector for Slow {
    fn spec(&self) -> VadSpec {
        VadSpec { window: 512 }
    }

    fn probabilities(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), VadError> {
        for _ in samples.chunks(512) {
            out.push(f32::from(u8::from(self.heard < SPEECH_WINDOWS)));
            self.heard += 1;
        }
        self.windows.store(self.heard, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(20));
        Ok(())
    }

    fn reset(&mut self) {
        self.heard = 0;
    }
}

#[test]
fn finished_text_does_not_wait_for_the_search_for_more_speech() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.wav");
    let sentence = bare_speech(&sentences()[0]);
    let twenty_minutes = 20 * 60 * 16_000;
    write_spoken(&path, [(0, &sentence), (twenty_minutes, &sentence)].into_iter());

    let windows = Arc::new(AtomicUsize::new(0));
    let (counter, at_text) = (Arc::clone(&windows), Arc::new(AtomicUsize::new(0)));
    let pipeline = Pipeline::new(
        settings().pipeline(),
        Arc::clone(&parts().models),
        Box::new(move || Ok(Box::new(Slow { windows: Arc::clone(&counter), heard: 0 }))),
    );
    let first = Arc::clone(&at_text);
    let (searched, told) = (Arc::clone(&windows), first);
    let control = Control::with_listener(CancelToken::new(), move |event| {
        if matches!(event, Event::Segment(_)) {
            told.store(searched.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    });
    pipeline.run(&request(&path), &control).unwrap();
    let (at_text, in_all) = (at_text.load(Ordering::SeqCst), windows.load(Ordering::SeqCst));
    assert!(at_text > 0, "the sentence must be heard");
    assert!(at_text < in_all / 2, "the text came after {at_text} of {in_all} windows");
}
