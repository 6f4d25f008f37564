//! Any bytes as a recording: every container, codec and mend, without ffmpeg, within small limits.

#![no_main]

use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex};

use diarist::audio::{AudioError, AudioOptions, AudioSource, decode_to_spool};
use diarist::cancel::CancelToken;
use diarist_fuzz::{scratch, with_file};
use libfuzzer_sys::fuzz_target;

/// Longest recording taken in, in seconds.
const LIMIT_S: u64 = 3;

static PANIC: LazyLock<Mutex<String>> = LazyLock::new(Mutex::default);

fuzz_target!(
    // A codec's panic is caught by the decoder, as it should be; libFuzzer's own hook would end the process before.
    // One that gets out of it is told below.
    init: std::panic::set_hook(Box::new(|panic| *PANIC.lock().unwrap() = panic.to_string())),
    |data: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| decode(data))).is_err() {
            let _ = writeln!(std::io::stderr(), "{}", PANIC.lock().unwrap());
            std::process::abort();
        }
    }
);

fn decode(data: &[u8]) {
    let options = AudioOptions { scratch: diarist::scratch::Scratch::within(scratch()), max_duration_s: LIMIT_S, ffmpeg: None };
    with_file(data, |path| {
        let source = AudioSource { path: path.to_owned(), name: None };
        match decode_to_spool(&source, &options, &CancelToken::new()) {
            Ok(decoded) => assert!((1_600..=LIMIT_S * 16_000).contains(&decoded.spool.len())),
            Err(error) => {
                let is_ours = matches!(error, AudioError::Storage(_) | AudioError::Cancelled);
                assert!(!is_ours, "not the file's fault: {error:?}");
                assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
            }
        }
        assert!(File::open(path).is_ok());
    });
}
