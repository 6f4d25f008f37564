//! Any bytes as a recording, for what reads a file before any decoder: its kind, and how to mend it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| diarist::audio::fuzzing::look(data));
