//! The program as its users start it: what it says, and its exit code, when something is wrong.

#[path = "support/command.rs"]
mod command;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// `diarist` with `arguments`, whatever this machine's settings are.
fn diarist(arguments: &[&str]) -> Command {
    let mut command = command::diarist();
    command.env("DIARIST_BUNDLED_MODELS_DIR", Path::new(env!("CARGO_MANIFEST_DIR")).join("models"));
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).args(arguments);
    command
}

fn serve(settings: &[&str]) -> Command {
    let mut arguments = vec!["serve", "--listen", "127.0.0.1:0"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    diarist(&arguments)
}

fn ends_with(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn a_server_that_cannot_start_says_why_and_fails() {
    for (setting, reason) in [
        ("preload=nothing", "the model `nothing` does not exist"),
        ("default_model=nothing", "the model `nothing` does not exist"),
        ("diarization_model=tiny", "the model `tiny` cannot be used: it tells no speakers apart"),
        ("separation=sometimes", "off, auto, on"),
        ("separation_model=nothing", "the model `nothing` does not exist"),
        ("separation_model=ge2e", "the model `ge2e` cannot be used"),
        ("temp_dir=/nonexistent", "DIARIST_TEMP_DIR"),
        ("max_upload_bytes=-1", "1 to 9007199254740992"),
        ("cors_origins=example.org", "DIARIST_CORS_ORIGINS"),
        ("tls_cert=cert.pem", "DIARIST_TLS_KEY"),
    ] {
        let (code, said) = ends_with(serve(&[setting]));
        assert_eq!(code, Some(2), "{setting}: {said}");
        assert!(said.lines().any(|line| line.starts_with("diarist: ") && line.contains(reason)), "{said}");
    }
}

#[test]
fn a_certificate_that_cannot_be_used_ends_the_server_with_an_error() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/catalogue.toml");
    for (path, reason) in
        [("/nonexistent", "/nonexistent cannot be read"), (&*model.to_string_lossy(), "holds no certificate")]
    {
        let files = [format!("tls_cert={path}"), format!("tls_key={path}")];
        let (code, said) = ends_with(serve(&[&files[0], &files[1]]));
        assert_eq!((code, said.contains(reason)), (Some(2), true), "{said}");
        assert!(said.contains("DIARIST_TLS_CERT"), "{said}");
    }
}

#[test]
fn a_default_model_that_cannot_be_loaded_ends_the_server_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/diarist-micro-en-q8_0.bin");
    let bytes = std::fs::read(whole).unwrap();
    std::fs::write(folder.path().join("ggml-cut.bin"), &bytes[..bytes.len() / 2]).unwrap();
    let models_dir = format!("models_dir={}", folder.path().display());
    let (code, said) = ends_with(serve(&[&models_dir, "default_model=cut"]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("diarist: the model `cut` cannot be used"), "{said}");
}

#[test]
fn logs_that_nobody_watches_have_no_colours() {
    let mut server: Child = serve(&[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(" ready") && log.read_line(&mut said).unwrap() > 0 {}
    // SAFETY: signals a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(server.id() as i32, libc::SIGTERM) }, 0);
    log.read_to_string(&mut said).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0), "{said}");
    assert!(said.contains("stopping") && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_path_that_is_no_recording_is_named_as_such() {
    for (path, reason) in [("/nonexistent.wav", "cannot be read"), ("/tmp", "is not a file")] {
        let (code, said) = ends_with(diarist(&["transcribe", path, "--format", "verbose_json"]));
        assert_eq!((code, said.contains(reason)), (Some(1), true), "{said}");
    }
}

#[test]
fn a_clip_of_a_known_speaker_that_is_no_recording_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio/hello.flac");
    let recording = recording.to_str().unwrap();
    for (clip, reason) in [("nothing-here", "cannot be read"), (".", "is not a file")] {
        let path = folder.path().join(clip);
        let known = format!("Ann={}", path.display());
        let flags = ["transcribe", "--format", "srt", "--diarize", "--known-speaker", &known, recording];
        let (code, said) = ends_with(diarist(&flags));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(&format!("--known-speaker: {}: {reason}", path.display())), "{said}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_no_panic() {
    for arguments in [&["settings"][..], &["models", "list"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let result = diarist(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&result.stderr);
        assert_eq!((result.status.code(), said.contains("standard output")), (Some(2), true), "{said}");
    }
}

#[test]
fn the_folder_of_models_can_be_asked_for() {
    let (code, said) = ends_with(diarist(&["--models-dir", "/some/folder", "models", "path"]));
    assert_eq!((code, said.as_str()), (Some(0), "/some/folder\n"));
}

#[test]
fn a_quantised_model_is_listed_and_hears_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let folder_arg = folder.path().to_string_lossy().into_owned();
    let run = |arguments: &[&str]| ends_with(diarist(&[&["--models-dir", &folder_arg], arguments].concat()));
    let (code, said) = run(&["models", "quantize", "diarist-micro-en", "f16"]);
    assert_eq!((code, said.contains("its name is diarist-micro-en-f16")), (Some(0), true), "{said}");
    let (code, said) = run(&["models", "quantize", "diarist-micro-en-f16", "Q5_0"]);
    assert_eq!((code, said.contains("its name is diarist-micro-en-q5_0")), (Some(0), true), "{said}");
    let (_, listed) = run(&["models", "list"]);
    assert!(listed.contains("`diarist-micro-en` with q5_0 weights"), "{listed}");

    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let recording = manifest.join("fixtures/audio/hello.flac");
    let recording = recording.to_string_lossy();
    let expected = std::fs::read_to_string(manifest.join("fixtures/expected/hello.txt")).unwrap();
    let (code, said) = run(&["transcribe", "-q", "-m", "diarist-micro-en-q5_0", &recording]);
    assert_eq!((code, said.trim()), (Some(0), expected.trim()));
}

#[test]
fn a_model_that_cannot_be_quantised_says_why_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/diarist-micro-en-q8_0.bin");
    let bytes = std::fs::read(model).unwrap();
    std::fs::write(folder.path().join("ggml-cut.bin"), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(folder.path().join("ggml-cut-q4_0.bin"), &bytes).unwrap();
    let folder_arg = folder.path().to_string_lossy().into_owned();
    for (name, weights, output, reason) in [
        ("cut", "q5_0", None, "it is cut off"),
        ("cut", "q4_0", None, "is there already"),
        ("cut", "q2_k", None, "choose one of f16, q8_0"),
        ("nothing", "q5_0", None, "does not exist"),
        ("tiny", "q5_0", None, "diarist models pull tiny"),
        ("silero-vad", "q5_0", None, "not for recognising speech"),
        ("diarist-micro-en", "q5_0", Some("/nonexistent/model.bin"), "cannot be written"),
    ] {
        let mut arguments = vec!["--models-dir", &folder_arg, "models", "quantize", name, weights];
        arguments.extend(output.iter().flat_map(|path| ["-o", path]));
        let (code, said) = ends_with(diarist(&arguments));
        assert_eq!((code, said.contains(reason)), (Some(2), true), "{said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
    folder
}

#[test]
fn turns_of_another_program_are_scored_against_the_truth() {
    let line = |start: &str, length: &str, who: &str| {
        format!("SPEAKER a 1 {start} {length} <NA> <NA> {who} <NA> <NA>\n")
    };
    let truth = folder(&[
        ("a.rttm", &(line("0", "6", "Ann") + &line("6", "4", "Bob"))),
        ("a.uem", "a 1 0 10\n"),
        ("b.RTTM", &line("0", "10", "Cid").replace(" a ", " other ")),
        ("notes.txt", "not a recording"),
    ]);
    let found = folder(&[
        ("a.rttm", &(line("0", "7", "1") + &line("7", "5", "2"))),
        ("b.rttm", &line("1", "9", "1")),
    ]);
    let arguments = [
        "bench",
        "diarization",
        truth.path().to_str().unwrap(),
        "--hypotheses",
        found.path().to_str().unwrap(),
    ];
    let (code, table) = ends_with(diarist(&arguments));
    assert_eq!(code, Some(0), "{table}");
    let row = |name: &str| -> Vec<String> {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{table}"));
        line.split_whitespace().map(str::to_owned).collect()
    };
    // One second of ten went to the wrong speaker; what lies beyond the region does not count.
    assert_eq!(row("a")[1..5], ["10.00", "0.00", "0.00", "10.00"]);
    assert_eq!(row("b")[1..5], ["10.00", "10.00", "0.00", "0.00"]);
    assert_eq!(row("all")[1..], ["10.00", "5.00", "0.00", "5.00", "8.11", "16.43", "3/3", "-"]);

    let (code, json) = ends_with(diarist(&[&arguments[..], &["--json"]].concat()));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["all"]["der"]), (Some(0), &0.1.into()));
    assert_eq!(json["recordings"][1]["name"], "b");
}

#[test]
fn transcribe_says_what_was_separated_and_which_command_fetches_a_model_that_is_missing() {
    let hello = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio/hello.flac");
    let flags = ["transcribe", "-q", hello.to_str().unwrap(), "--vocal-separation"];
    let run = |more: &[&str]| ends_with(diarist(&[&flags[..], more].concat()));
    let (code, said) = run(&["on", "--set", "separation_model=voice-band"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the voice was separated in 13.8 s (`voice-band`)"), "{said}");
    let (code, said) = run(&["auto", "--set", "separation_model=voice-band"]);
    assert!(code == Some(0) && !said.contains("separated"), "no music plays: {said}");
    let (code, said) = run(&["auto", "--set", "models_dir=none-are-here"]);
    assert!(code == Some(1) && said.contains("`diarist models pull kim-vocal-2`"), "{said}");
    let (code, said) = run(&["sometimes"]);
    assert!(code == Some(2) && said.contains("off, auto, on"), "{said}");
}

#[test]
fn a_truth_that_cannot_be_used_is_named_with_its_line() {
    let turn = "SPEAKER a 1 0 1 <NA> <NA> A <NA> <NA>\n";
    for (files, reason) in [
        (vec![], "there is no .rttm file"),
        (vec![("a.rttm", "SPEAKER a 1 0 x <NA> <NA> A\n")], "a.rttm, line 1: its duration is `x`"),
        (vec![("a.rttm", turn), ("a.uem", "\na 1 2 1\n")], "a.uem, line 2: it ends at 1"),
        (vec![("a.rttm", turn), ("a.wav", ""), ("a.mp3", "")], "have the same name"),
        (vec![("a.rttm", turn)], "nothing/a.rttm cannot be read"),
    ] {
        let truth = folder(&files);
        let (code, said) = ends_with(diarist(&[
            "bench",
            "diarization",
            truth.path().to_str().unwrap(),
            "--hypotheses",
            "nothing",
        ]));
        assert!(code == Some(2) && said.contains(reason), "{reason}: {said}");
    }
}
