//! Memory of the server while it separates voices from music all along, for recordings of growing length: all but flat.
//!
//! With the demonstration model, whose weights are as good as nothing: what is measured is the stage, and what hears its
//! sound twice.

use std::path::Path;
use std::time::Instant;

use reqwest::blocking::multipart::Form;

use crate::fairness::Server;
use crate::memory::Watch;
use crate::songs::slow_song;

/// How much more memory any recording may take than the first, in MiB.
const ALLOWED_MIB: f64 = 64.0;

/// Points of a curve that are printed.
const POINTS: usize = 16;

/// Transcribes a recording of each length in `BENCH_MUSIC_MIN`, all of it under music.
pub fn run(folder: &Path) -> bool {
    let text = std::env::var("BENCH_MUSIC_MIN").unwrap_or_else(|_| "10 120".to_owned());
    let lengths = text.split_whitespace().map(|word| {
        word.parse().unwrap_or_else(|_| {
            panic!("BENCH_MUSIC_MIN is `{text}`, minutes with blanks between are expected")
        })
    });
    let peaks: Vec<f64> = lengths.map(|minutes| measure(folder, minutes)).collect();
    let Some(first) = peaks.first().filter(|peak| **peak > 0.0) else {
        println!("music: left out, since this system has no /proc");
        return true;
    };
    peaks.iter().all(|peak| peak - first <= ALLOWED_MIB)
}

/// The most memory of its own that a server takes for so many minutes, in MiB.
fn measure(folder: &Path, minutes: f64) -> f64 {
    let path = folder.join("music.wav");
    slow_song(0, 12, 4.0).write_again_and_again(&path, minutes * 60.0);
    let server = Server::start_with(&[
        ("DIARIST_SEPARATION", "on"),
        ("DIARIST_SEPARATION_MODEL", "voice-band"),
        ("DIARIST_MAX_DURATION_S", "360000"),
    ]);
    let watch = Watch::start(server.process.id());
    let start = Instant::now();
    let form = Form::new().text("model", "whisper-1").text("response_format", "verbose_json");
    let form = form.file("file", &path).unwrap();
    let url = format!("{}/v1/audio/transcriptions", server.url);
    let answer = server.client.post(url).multipart(form).send().unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().unwrap_or_default());
    let body: serde_json::Value = answer.json().unwrap();
    let wall_s = start.elapsed().as_secs_f64();
    let curve = watch.end();
    std::fs::remove_file(path).unwrap();
    assert_eq!(body["separation"]["seconds"], body["duration"], "all of it was separated");
    let peak = curve.iter().copied().fold(0.0, f64::max);
    let parts = curve.chunks(curve.len().div_ceil(POINTS).max(1));
    let shown: Vec<_> = parts.map(|part| part.iter().copied().fold(0.0, f64::max).round()).collect();
    println!(
        "music: {minutes} min in {wall_s:.0} s ({:.0} times real time): at most {peak:.0} MiB; over time {shown:?}; {}",
        minutes * 60.0 / wall_s,
        body["separation"]["chunks"]
    );
    peak
}
