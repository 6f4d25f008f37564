//! Any text as a settings file (up to the first NUL) and an environment (a variable a line, behind it).

#![no_main]

use diarist::config::{Settings, Sources};
use diarist_fuzz::with_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (file, environment) = text.split_once('\0').unwrap_or((text, ""));
    // Names of hosts would be asked for in the network.
    if text.to_ascii_lowercase().contains("listen") {
        return;
    }
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let environment: Vec<_> = environment.lines().filter_map(pair).collect();
    with_file(file.as_bytes(), |path| {
        let sources = Sources { file: Some(path.to_owned()), environment, flags: Vec::new() };
        match Settings::load(&sources) {
            Ok(settings) => {
                let _ = (settings.pipeline(), settings.models(), settings.encoder(), settings.onnxruntime());
                settings.address().expect("checked when read");
                settings.device().expect("checked when read");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
});
