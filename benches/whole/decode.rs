//! File to 16 kHz mono on disk, beside `ffmpeg` doing the same with one thread: processor time of one
//! process each, start included.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use diarist::audio::{AudioSource, decode_to_spool};
use diarist::cancel::CancelToken;

use crate::measure::{children_cpu, minutes, settings};
use crate::speech;

/// First argument of this program when it decodes one file and ends.
pub const CHILD: &str = "decode-one-file";

/// Each is decoded so often by both in turn; the fastest counts.
const ROUNDS: usize = 3;

/// File name and ffmpeg's options of each encoding, at 44.1 kHz stereo or, for Opus, 48 kHz.
const ENCODINGS: [(&str, &[&str]); 8] = [
    ("s16.wav", &["-c:a", "pcm_s16le"]),
    ("flac.flac", &["-c:a", "flac"]),
    ("alac.m4a", &["-c:a", "alac"]),
    ("mp3.mp3", &["-c:a", "libmp3lame", "-b:a", "128k"]),
    ("aac.m4a", &["-c:a", "aac", "-b:a", "128k"]),
    ("vorbis.ogg", &["-c:a", "libvorbis", "-q:a", "4"]),
    ("opus.ogg", &["-c:a", "libopus", "-b:a", "64k", "-ar", "48000"]),
    ("opus.webm", &["-c:a", "libopus", "-b:a", "64k", "-ar", "48000"]),
];

/// Compares all encodings that this machine's ffmpeg can make.
pub fn run(folder: &Path) -> bool {
    let Some(ffmpeg) = settings(&[]).ffmpeg_program() else {
        println!("decode: left out, since ffmpeg is not installed");
        return true;
    };
    let minutes = minutes("BENCH_SHORT_MIN", 10.0);
    let source = speech(folder, minutes);
    for (name, options) in ENCODINGS {
        let file = folder.join(name);
        let mut encoder = quiet(&ffmpeg);
        encoder.arg("-i").arg(&source).args(["-ar", "44100", "-ac", "2"]).args(options).arg(&file);
        if !encoder.status().is_ok_and(|status| status.success()) {
            println!("decode {name}: left out, since this ffmpeg cannot write it");
            continue;
        }
        let (ours, theirs) = compare(&ffmpeg, &file, folder);
        println!(
            "decode {name}: {:.2} s of processor time for {minutes} min, ffmpeg {:.2} s: ratio {:.2}; {:.0} times real time",
            ours.as_secs_f64(),
            theirs.as_secs_f64(),
            ours.as_secs_f64() / theirs.as_secs_f64(),
            minutes * 60.0 / ours.as_secs_f64(),
        );
        std::fs::remove_file(file).unwrap();
    }
    true
}

/// Decodes `file` as the program does; nothing else is called for help.
pub fn child(file: &Path, folder: &Path) {
    let mut options = settings(&[]).pipeline().audio;
    options.ffmpeg = None;
    options.scratch = diarist::scratch::Scratch::within(folder);
    let source = AudioSource { path: file.to_owned(), name: None };
    decode_to_spool(&source, &options, &CancelToken::new()).unwrap();
}

fn compare(ffmpeg: &Path, file: &Path, folder: &Path) -> (Duration, Duration) {
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let mut ours = Command::new(std::env::current_exe().unwrap());
        ours.arg(CHILD).arg(file).arg(folder);
        best.0 = best.0.min(cpu_of(ours));
        best.1 = best.1.min(cpu_of(peer(ffmpeg, file, folder.join("peer.pcm"))));
    }
    best
}

fn peer(ffmpeg: &Path, file: &Path, target: PathBuf) -> Command {
    let mut command = quiet(ffmpeg);
    command.args(["-threads", "1", "-i"]).arg(file);
    command.args(["-map", "0:a:0", "-filter_threads", "1", "-ac", "1", "-ar", "16000", "-f", "s16le"]);
    command.arg(target);
    command
}

fn quiet(ffmpeg: &Path) -> Command {
    let mut command = Command::new(ffmpeg);
    command.args(["-nostdin", "-hide_banner", "-loglevel", "quiet", "-y"]).stdin(Stdio::null());
    command
}

fn cpu_of(mut command: Command) -> Duration {
    let before = children_cpu();
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?} ended with {status}");
    children_cpu() - before
}
