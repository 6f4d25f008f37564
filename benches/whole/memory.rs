//! Peak memory of the program with a short and with a long recording, against a limit for the difference.

use std::path::Path;
use std::time::Instant;

use crate::measure::minutes;
use crate::recordings::{Peak, transcribe_watched};
use crate::speech;

/// How much more memory the long recording may take, in KiB.
const ALLOWED_KIB: i64 = 64 * 1024;

/// Transcribes both with the built program.
pub fn run(folder: &Path) -> bool {
    let (short, long) = (minutes("BENCH_SHORT_MIN", 10.0), minutes("BENCH_LONG_MIN", 30.0));
    let first = transcribe(folder, short);
    let second = transcribe(folder, long);
    if first.anonymous == 0 {
        println!("memory: left out, since this system has no /proc");
        return true;
    }
    let more = second.anonymous as i64 - first.anonymous as i64;
    println!(
        "memory: {long} min take {:+.1} MiB compared with {short} min (allowed: {:+.0} MiB): ratio {:.2}",
        mib(more),
        mib(ALLOWED_KIB),
        second.anonymous as f64 / first.anonymous as f64,
    );
    more <= ALLOWED_KIB
}

fn transcribe(folder: &Path, minutes: f64) -> Peak {
    let path = speech(folder, minutes);
    let start = Instant::now();
    let peak = transcribe_watched(&path, folder, &["--words"]);
    println!(
        "memory: {minutes} min: {:.1} MiB of its own at most, {:.1} MiB with mapped files; {:.1} times real time",
        mib(peak.anonymous as i64),
        mib(peak.resident as i64),
        minutes * 60.0 / start.elapsed().as_secs_f64(),
    );
    peak
}

fn mib(kib: i64) -> f64 {
    kib as f64 / 1024.0
}
