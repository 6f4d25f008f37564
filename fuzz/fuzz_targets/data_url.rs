//! Any text as a reference clip in a `data:` URL.

#![no_main]

use diarist::api::fuzzing::data_url::recording;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(bytes) = recording(text) {
        assert!(!bytes.is_empty() && bytes.len() <= text.len() * 3 / 4);
        assert_eq!(recording(&format!("\n{text} ")), Ok(bytes), "blanks around it change nothing");
    }
});
