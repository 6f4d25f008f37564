//! What keeps the program from starting: it says why, and ends with code 2.

use std::io::Write;
use std::process::Command;

use crate::support::*;

fn refuses(command: Command, reason: &str) {
    let (code, said) = ending(command);
    assert_eq!(code, Some(2), "{said}");
    let told = said.lines().any(|line| line.starts_with("diarist: ") && line.contains(reason));
    assert!(told, "no word of \"{reason}\":\n{said}");
}

fn with(settings: &[(&str, &str)]) -> Command {
    serve(&std::env::temp_dir(), settings)
}

#[test]
fn a_port_that_is_taken() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    refuses(with(&[("DIARIST_LISTEN", &address)]), "cannot listen on");
}

#[test]
fn settings_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("diarist.toml");
    let config = path.to_string_lossy().into_owned();
    let settings = [("DIARIST_CONFIG", config.as_str())];
    refuses(with(&settings), "cannot be read");
    std::fs::write(&path, "listen = [").unwrap();
    refuses(with(&settings), "is not TOML");
    std::fs::write(&path, b"listen = \"\xff\"").unwrap();
    refuses(with(&settings), "cannot be read");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refuses(with(&settings), "cannot be read");
}

#[test]
fn onnx_runtime_that_is_missing_or_no_library() {
    refuses(with(&[("DIARIST_ONNXRUNTIME", "/nonexistent/libonnxruntime.so")]), "DIARIST_ONNXRUNTIME");
    let mut text = tempfile::NamedTempFile::new().unwrap();
    text.write_all(b"no library").unwrap();
    refuses(with(&[("DIARIST_ONNXRUNTIME", &text.path().to_string_lossy())]), "1.24 or newer");
}

/// A library that knows none of the interfaces asked for, as ONNX Runtime of 2021 does.
const OLD_RUNTIME: &str = r#"
    static const void *interface(unsigned version) { (void)version; return 0; }
    static const char *version(void) { return "1.10.0"; }
    struct base { const void *(*interface)(unsigned); const char *(*version)(void); };
    static const struct base base = { interface, version };
    const struct base *OrtGetApiBase(void) { return &base; }
"#;

#[test]
fn onnx_runtime_that_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("old.c"), folder.path().join("libonnxruntime.so.1.10.0"));
    std::fs::write(&source, OLD_RUNTIME).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(compiled.is_ok_and(|status| status.success()), "the build needs a C compiler, and so does this");
    refuses(with(&[("DIARIST_ONNXRUNTIME", &library.to_string_lossy())]), "1.10.0");
}

#[test]
fn a_device_that_is_not_there() {
    for device in ["cuda", "vulkan", "metal"] {
        refuses(with(&[("DIARIST_DEVICE", device)]), device);
    }
}

#[test]
fn a_model_that_does_not_fit_into_the_memory_allowed() {
    refuses(with(&[("DIARIST_MEMORY_BUDGET_BYTES", "1000000")]), "DIARIST_MEMORY_BUDGET_BYTES allows");
}

#[test]
fn a_bundled_model_that_is_damaged() {
    for (name, reason) in [
        ("diarist-micro-en-q8_0.bin", "the model `diarist-micro-en` cannot be used"),
        ("silero_vad_16k_op15.onnx", "the model `silero-vad` cannot be used"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for file in names(&root().join("models")) {
            let from = root().join("models").join(&file);
            if from.is_file() {
                std::fs::copy(from, folder.path().join(&file)).unwrap();
            }
        }
        let path = folder.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        refuses(with(&[("DIARIST_BUNDLED_MODELS_DIR", &folder.path().to_string_lossy())]), reason);
    }
}
