//! Telling speakers apart beside sherpa-onnx: the same recordings, networks and machine, one after the other.
//!
//! Both have the segmentation network and the speaker encoder that come with Diarist (`benches/diarization` makes them
//! fit for sherpa-onnx). `BENCH_DIARIZATION` names a folder of FLAC files with RTTM, the fixtures' scenes by default.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::recordings::fixture;

/// The project's folder.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// From one window to the next, in milliseconds, and how many times faster than sherpa-onnx that should be.
const STEPS: [(&str, f64); 2] = [("1000", 2.0), ("2500", 3.0)];

/// sherpa-onnx's own threshold, and one that suits this encoder on some recordings.
const THRESHOLDS: [&str; 2] = ["0.5", "0.4"];

/// Runs sherpa-onnx with each threshold, then Diarist with each step.
pub fn run(folder: &Path) -> bool {
    let recordings = recordings(folder);
    let (peers, models) = (folder.join("sherpa"), Path::new(ROOT).join("models"));
    let Some(python) = prepare(&models, &recordings, &peers) else {
        println!(
            "diarizers: left out, since sherpa-onnx cannot be installed here (see scripts/diarizers.sh)"
        );
        return true;
    };
    let theirs: Vec<_> =
        THRESHOLDS.iter().map(|threshold| sherpa(&python, &peers, &recordings, threshold)).collect();
    let best = theirs.iter().min_by(|a, b| a.0.total_cmp(&b.0)).expect("two thresholds");
    for (step, wanted) in STEPS {
        let (der, speed) = ours(&recordings, &["--step-ms", step]);
        println!(
            "diarizers: step {step} ms: DER {:.2} %, {speed:.1} times real time on one core; sherpa-onnx {:.2} %, {:.1} times: \
             ratio of speed {:.2} (wanted: at least {wanted}), of error {:.2} (wanted: below 1)",
            100.0 * der,
            100.0 * best.0,
            best.1,
            speed / best.1,
            der / best.0
        );
    }
    true
}

/// A folder in which recordings and truths lie beside each other.
fn recordings(folder: &Path) -> PathBuf {
    if let Some(given) = std::env::var_os("BENCH_DIARIZATION") {
        return given.into();
    }
    let together = folder.join("scenes");
    std::fs::create_dir(&together).unwrap();
    for part in ["audio/scenes", "expected/scenes"] {
        for entry in std::fs::read_dir(fixture(part)).unwrap() {
            let path = entry.unwrap().path();
            // sherpa-onnx's runner takes 16 kHz alone.
            if path.file_stem().is_some_and(|name| name != "telephone") {
                std::fs::copy(&path, together.join(path.file_name().expect("a file"))).unwrap();
            }
        }
    }
    together
}

/// The Python that has sherpa-onnx, its models made; `None` where it cannot be had.
fn prepare(models: &Path, recordings: &Path, out: &Path) -> Option<PathBuf> {
    let done = Command::new(Path::new(ROOT).join("scripts/diarizers.sh"))
        .arg("python3")
        .args([models, recordings, out])
        .status();
    done.is_ok_and(|status| status.success())
        .then(|| Path::new(ROOT).join("target/diarizers/venv/bin/python"))
}

/// Error and speed of sherpa-onnx.
fn sherpa(python: &Path, models: &Path, recordings: &Path, threshold: &str) -> (f64, f64) {
    let found = models.join(format!("found-{threshold}"));
    let mut command = Command::new(python);
    command.arg("-B").arg(Path::new(ROOT).join("benches/diarization/run_sherpa.py"));
    let effort = json(command.arg(models).arg(recordings).arg(&found).args(["--threshold", threshold]));
    let speed = effort["audio_s"].as_f64().unwrap() / effort["cpu_s"].as_f64().unwrap();
    let (der, _) = ours(recordings, &["--hypotheses", found.to_str().expect("a path in Unicode")]);
    println!(
        "diarizers: sherpa-onnx, threshold {threshold}: DER {:.2} %, {speed:.1} times real time",
        100.0 * der
    );
    (der, speed)
}

/// Error and speed of `diarist bench diarization`.
fn ours(recordings: &Path, flags: &[&str]) -> (f64, f64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diarist"));
    let report = json(command.args(["bench", "diarization", "--json"]).arg(recordings).args(flags));
    let all = &report["all"];
    (all["der"].as_f64().expect("a score"), all["speed"].as_f64().unwrap_or(f64::NAN))
}

fn json(command: &mut Command) -> Value {
    let output =
        command.stderr(Stdio::inherit()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?} failed");
    serde_json::from_slice(&output.stdout).unwrap()
}
