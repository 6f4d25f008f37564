//! Who speaks, in a long recording of many voices: one set of speakers, memory that stays flat, and a small share of a
//! request beside a recogniser of Whisper small's size.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use diarist::diarization::score::{Score, rttm};
use diarist::time::{TimeSpan, seconds_to_samples};
use reqwest::blocking::multipart::Form;

use crate::fairness::Server;
use crate::measure::{minutes, process_cpu_of};
use crate::memory::Watch;
use crate::voices::{Voice, conversation, voices};

/// Voices in each recording.
const VOICES: usize = 12;

/// Length of the recording that others are compared with, in minutes.
const SHORT_MIN: f64 = 10.0;

/// How much more memory the long recording may take than the short one, in MiB.
const ALLOWED_MIB: f64 = 64.0;

/// Most of a request's processor time that telling speakers apart should take.
const WANTED_SHARE: f64 = 0.15;

/// Measures a short and a long recording, then the share of a request.
pub fn run(folder: &Path) -> bool {
    let long = minutes("BENCH_SPEAKERS_MIN", 180.0);
    let voices = voices(VOICES);
    let peaks = [SHORT_MIN, long].map(|minutes| listen(folder, &voices, minutes));
    let kept = peaks[1] - peaks[0] <= ALLOWED_MIB;
    println!(
        "speakers: {long} min take {:.1} MiB more than {SHORT_MIN} min (allowed: {ALLOWED_MIB})",
        peaks[1] - peaks[0]
    );
    share(folder, &voices);
    kept
}

/// Who speaks in one recording; the most memory that took, in MiB.
fn listen(folder: &Path, voices: &[Voice], minutes: f64) -> f64 {
    let path = folder.join("voices.wav");
    let truth = conversation(&path, voices, minutes);
    let server = Server::start();
    // The networks are loaded by a request that does not count.
    let warm = folder.join("warm.wav");
    conversation(&warm, voices, 0.2);
    let ask = |path: &Path| {
        let form = Form::new().text("response_format", "rttm").file("file", path).unwrap();
        let url = format!("{}/v1/audio/diarizations", server.url);
        let answer = server.client.post(url).multipart(form).send().unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().unwrap_or_default());
        answer.bytes().unwrap()
    };
    ask(&warm);
    let process = server.process.id();
    let (watch, start, cpu) = (Watch::start(process), Instant::now(), process_cpu_of(process));
    let answer = ask(&path);
    let (wall, cpu) = (start.elapsed().as_secs_f64(), process_cpu_of(process) - cpu);
    let peak = watch.end().into_iter().fold(0.0, f64::max);
    std::fs::remove_file(path).unwrap();
    let found = rttm::read_one(&answer, "").unwrap_or_else(|error| panic!("{error}"));
    let everything = [TimeSpan::new(0, seconds_to_samples(minutes * 60.0 + 60.0))];
    let score = Score::of(&truth, &found, &everything, 0);
    println!(
        "speakers: {minutes} min of {VOICES} voices: {} speakers found, DER {:.1} %, JER {:.1} %; {wall:.1} s ({:.0} times \
         real time on one core), {peak:.1} MiB at most",
        found.speakers.len(),
        100.0 * score.der().unwrap_or(1.0),
        100.0 * score.jer().unwrap_or(1.0),
        minutes * 60.0 / cpu,
    );
    peak
}

/// Processor time of a request with and without speakers, with a recogniser of Whisper small's dimensions and random
/// weights (`benches/peers/models.py`).
fn share(folder: &Path, voices: &[Voice]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let prepared = Command::new(root.join("scripts/peers.sh")).arg("python3").current_dir(root).status();
    if !prepared.is_ok_and(|status| status.success()) {
        println!(
            "speakers: share of a request left out, since its model cannot be made (see scripts/peers.sh)"
        );
        return;
    }
    let models = root.join("target/peers/models");
    let minutes = minutes("BENCH_SPEAKERS_SHARE_MIN", 5.0);
    let path = folder.join("share.wav");
    conversation(&path, voices, minutes);
    // What the model says is no speech: checks would hear it again and again.
    let server = Server::start_with(&[
        ("DIARIST_MODELS_DIR", models.to_str().expect("a path in Unicode")),
        ("DIARIST_GUARD", "false"),
        ("DIARIST_COVERAGE", "false"),
    ]);
    let process = server.process.id();
    let request = |file: &Path, diarize: &str| {
        let form = Form::new()
            .text("model", "scripted-small-q8_0")
            .text("response_format", "verbose_json")
            .text("language", "en")
            .text("beam_size", "1")
            .text("diarize", diarize.to_owned())
            .file("file", file)
            .unwrap();
        let (start, cpu) = (Instant::now(), process_cpu_of(process));
        let url = format!("{}/v1/audio/transcriptions", server.url);
        let answer = server.client.post(url).multipart(form).send().unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().unwrap_or_default());
        answer.bytes().unwrap();
        (start.elapsed().as_secs_f64(), process_cpu_of(process) - cpu)
    };
    let warm = folder.join("warm.wav");
    request(&warm, "true");
    let [(wall_without, cpu_without), (wall_with, cpu_with)] =
        ["false", "true"].map(|diarize| request(&path, diarize));
    println!(
        "speakers: a request of {minutes} min with Whisper small's dimensions (greedy, 8 bits): {cpu_with:.1} s of processor \
         time with speakers, {cpu_without:.1} s without: share {:.3} (wanted: at most {WANTED_SHARE}); wall {wall_with:.1} s \
         and {wall_without:.1} s",
        1.0 - cpu_without / cpu_with
    );
}
