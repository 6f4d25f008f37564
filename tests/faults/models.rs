//! Models that are damaged, removed or replaced while the server runs.

use std::path::Path;

use crate::support::*;

const BUNDLED: &str = "models/diarist-micro-en-q8_0.bin";

fn bundled() -> Vec<u8> {
    std::fs::read(root().join(BUNDLED)).unwrap()
}

fn start(temp: &Path, models: &Path, more: &[(&str, &str)]) -> Server {
    let models = models.to_string_lossy();
    Server::start(temp, &[&[("DIARIST_MODELS_DIR", &*models)], more].concat())
}

#[test]
fn a_model_cut_off_on_disk_is_one_requests_error() {
    let (temp, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = bundled();
    std::fs::write(models.path().join("ggml-cut.bin"), &whole[..whole.len() / 2]).unwrap();
    let server = start(temp.path(), models.path(), &[]);
    let answer = server.transcribe_with("cut", hello());
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(answer.body.contains("model_unusable") && answer.message().contains("`cut`"), "{answer:?}");
    server.assert_works();
    // Mended on disk, it is loaded without a new start.
    std::fs::write(models.path().join("ggml-cut.bin"), &whole).unwrap();
    let answer = server.transcribe_with("cut", hello());
    assert_eq!((answer.status, answer.text()), (200, hello_text()), "{answer:?}");
}

#[test]
fn a_model_that_is_not_what_was_pulled_is_not_loaded() {
    let (temp, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut damaged = bundled();
    // Weights that are no numbers make the engine read outside its memory.
    let end = damaged.len() - 400_000;
    damaged[end..end + 10_000].fill(0xff);
    let path = models.path().join("ggml-own.bin");
    std::fs::write(&path, &damaged).unwrap();
    std::fs::write(models.path().join("ggml-own.bin.sha256"), format!("{}  ggml-own.bin\n", "0".repeat(64)))
        .unwrap();
    let server = start(temp.path(), models.path(), &[]);
    let answer = server.transcribe_with("own", hello());
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(answer.message().contains("checksum"), "{answer:?}");
    server.assert_works();
}

#[test]
fn a_loaded_model_does_not_need_its_file() {
    let (temp, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = models.path().join("ggml-own.bin");
    std::fs::write(&path, bundled()).unwrap();
    let server = start(temp.path(), models.path(), &[("DIARIST_PRELOAD", "own")]);
    let hears = || {
        let answer = server.transcribe_with("own", hello());
        assert_eq!((answer.status, answer.text()), (200, hello_text()), "{answer:?}");
    };
    // Cut off in place: a file mapped into memory would now end the process. Then another one of that name.
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100_000).unwrap();
    hears();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bundled()).unwrap();
    hears();
    // Whoever removes a model does not want it served.
    std::fs::remove_file(&path).unwrap();
    let answer = server.transcribe_with("own", hello());
    assert_eq!((answer.status, answer.body.contains("model_not_found")), (404, true), "{answer:?}");
    server.assert_works();
}

#[test]
fn a_model_that_does_not_fit_is_refused_and_says_which_setting_allows_it() {
    let (temp, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = models.path().join("ggml-large.bin");
    // A hole of 100 MB at its end; it is refused by its size alone.
    std::fs::write(&path, bundled()).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100 << 20).unwrap();
    let server = start(temp.path(), models.path(), &[("DIARIST_MEMORY_BUDGET_BYTES", "50000000")]);
    let answer = server.transcribe_with("large", hello());
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(answer.message().contains("DIARIST_MEMORY_BUDGET_BYTES"), "{answer:?}");
    server.assert_works();
}
