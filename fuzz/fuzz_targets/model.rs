//! Any bytes as the file of a speech model: its header, its tensors, and what builds the encoder of them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| diarist_fuzz::with_file(
    data,
    diarist::asr::whisper::fuzzing::read_model
));
