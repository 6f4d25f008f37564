//! Small files that unfold: hours of sound, or a hundred megabytes of anything but sound. Decoding stops at the limit,
//! and takes neither disk nor memory beyond it.

mod bombs {
    pub mod files;
}

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use bombs::files;
use diarist::audio::{AudioError, AudioOptions, AudioSource, Decoded, decode_to_spool};
use diarist::cancel::CancelToken;
use tempfile::NamedTempFile;

/// Longest recording accepted here, in seconds.
const LIMIT_S: u64 = 60;

/// Set in a process of its own, in which limits of the system hold and memory is measured.
const MEASURING: &str = "DIARIST_TEST_MEASURING_BOMBS";

/// Most bytes that the sound may take on disk: the limit, and a step of 65 536 frames at the lowest rate beyond it.
const DISK_BYTES: u64 = LIMIT_S * 32_000 + 65_536 * 16 * 2 + (64 << 10);

fn decode(path: &Path) -> Result<Decoded, AudioError> {
    let source = AudioSource { path: path.to_owned(), name: None };
    let options =
        AudioOptions { scratch: diarist::scratch::Scratch::default(), max_duration_s: LIMIT_S, ffmpeg: None };
    decode_to_spool(&source, &options, &CancelToken::new())
}

fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Runs the test `name` once more in a process of its own; whether this is that process.
fn is_alone(name: &str) -> bool {
    if std::env::var_os(MEASURING).is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let run = std::process::Command::new(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MEASURING, "1")
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&run.stdout));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    false
}

/// From now on no file of this process can grow beyond `bytes`.
fn limit_files(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: sets a limit and a signal of this process, which is a test's own.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

/// Most memory that this process has had in itself, in bytes.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn ten_hours_of_silence_in_a_megabyte_take_no_more_than_the_limit() {
    if !is_alone("ten_hours_of_silence_in_a_megabyte_take_no_more_than_the_limit") {
        return;
    }
    let bombs = [
        ("FLAC", files::flac(36_000)),
        ("Ogg Opus", files::ogg_opus(36_000)),
        ("MP3", files::mp3(1_000)),
        ("Matroska, holes of hours", files::matroska_with_holes(10)),
        ("Matroska, one packet at 1 kHz", files::matroska_slow(1_000)),
    ];
    // Its reader refuses to go back, so it is a second long; if it ever does not, the limit holds.
    let circles = file(&files::mov_in_circles(36_000));
    let bombs = bombs.map(|(name, bytes)| (name, bytes.len(), file(&bytes)));
    drop(decode(file(&files::flac(2)).path()).unwrap());
    limit_files(DISK_BYTES);
    for (name, size, bomb) in bombs {
        assert!(size <= 1_100_000, "{name} has {size} bytes");
        let before = peak_memory();
        let error = decode(bomb.path()).map(|decoded| decoded.description).unwrap_err();
        assert!(matches!(error, AudioError::TooLong { limit_s: LIMIT_S }), "{name}: {error:?}");
        let grown = peak_memory() - before;
        println!("{name}: {size} bytes, memory grown by {} KiB", grown >> 10);
        assert!(grown < 24 << 20, "{name}: memory grew by {grown} bytes");
    }
    match decode(circles.path()) {
        Ok(decoded) => assert!(decoded.spool.len() <= LIMIT_S * 16_000),
        Err(error) => assert!(matches!(error, AudioError::TooLong { .. }), "{error:?}"),
    }
}

#[test]
fn the_bombs_are_recordings_where_the_limit_allows_them() {
    for (name, bytes, seconds) in
        [("FLAC", files::flac(40), 40), ("Ogg Opus", files::ogg_opus(40), 40), ("MP3", files::mp3(40), 40)]
    {
        let decoded = decode(file(&bytes).path()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let length = decoded.spool.len() as f64 / 16_000.0;
        assert!((length - f64::from(seconds)).abs() < 5.0, "{name}: {length} s");
    }
}

/// A file of these pieces, with so many bytes of nothing behind each, which take no room on the disk nor here.
fn sparse(pieces: &[(Vec<u8>, u64)]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    for (bytes, hole) in pieces {
        file.write_all(bytes).unwrap();
        file.seek(SeekFrom::Current(*hole as i64)).unwrap();
    }
    let length = pieces.iter().map(|(bytes, hole)| bytes.len() as u64 + hole).sum();
    file.as_file().set_len(length).unwrap();
    file
}

/// A file of `bytes` with a hole of `hole` bytes at `at`.
fn with_hole(bytes: &[u8], at: usize, hole: u64) -> NamedTempFile {
    sparse(&[(bytes[..at].to_vec(), hole), (bytes[at..].to_vec(), 0)])
}

#[test]
fn a_hundred_megabytes_of_pictures_and_tags_stay_out_of_memory_or_are_refused() {
    if !is_alone("a_hundred_megabytes_of_pictures_and_tags_stay_out_of_memory_or_are_refused") {
        return;
    }
    const HUGE: u32 = 100 << 20;
    /// More than all that is not sound may have.
    const BEYOND: u32 = 250 << 20;
    let sound = files::mp3(10);
    let (tag, at) = files::id3_with_picture(HUGE);
    let mp3 = with_hole(&[&tag[..], &sound].concat(), at, u64::from(HUGE));
    let (tag, at) = files::id3_with_picture(BEYOND);
    let beyond = with_hole(&[&tag[..], &sound].concat(), at, u64::from(BEYOND));
    let (wav, at) = files::wav_with_chunk(HUGE);
    let wav = with_hole(&wav, at, u64::from(HUGE));
    let (mov, at) = files::mov_with_picture(HUGE);
    let mov = with_hole(&mov, at, u64::from(HUGE));
    drop(decode(file(&files::flac(2)).path()).unwrap());
    let flac = sparse(&files::flac_with_pictures(16));
    for (name, bomb) in [("WAV", wav), ("MP3", mp3), ("MP3 beyond", beyond), ("MOV", mov), ("FLAC", flac)] {
        let before = peak_memory();
        let outcome = decode(bomb.path()).map(|decoded| decoded.spool.len());
        let grown = peak_memory() - before;
        println!("{name}: {outcome:?}, memory grown by {} KiB", grown >> 10);
        assert!(grown < 330 << 20, "{name}: memory grew by {grown} bytes");
        match outcome {
            Ok(samples) => assert!(samples > 16_000, "{name}: {samples}"),
            Err(error) => assert!(matches!(error, AudioError::Undecodable(_)), "{name}: {error:?}"),
        }
        assert!(!name.starts_with("MP3") || grown < 24 << 20, "{name}: a tag came into memory");
    }
}

#[test]
fn absurd_sizes_and_counts_cost_no_memory() {
    if !is_alone("absurd_sizes_and_counts_cost_no_memory") {
        return;
    }
    drop(decode(file(&files::flac(2)).path()).unwrap());
    let mov = files::mov_in_circles(2);
    let index = mov.windows(4).position(|name| name == b"moov").unwrap();
    let mut cases = Vec::new();
    // Every length and count of an index, in turn, as large as can be written.
    for at in (0..mov.len() - 3).step_by(4).filter(|at| *at < 32 || *at > index) {
        for value in [u32::MAX, 0x7fff_ffff, 0x4000_0000] {
            let mut bytes = mov.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
            cases.push(bytes);
        }
    }
    for bytes in [files::flac(2), files::ogg_opus(2), files::matroska_slow(1_000), files::mp3(2)] {
        for at in 0..bytes.len().min(300) {
            let mut bytes = bytes.clone();
            let end = bytes.len().min(at + 8);
            bytes[at..end].fill(0xff);
            cases.push(bytes);
        }
    }
    limit_files(DISK_BYTES);
    let before = peak_memory();
    let scratch = NamedTempFile::new().unwrap();
    for bytes in &cases {
        File::create(scratch.path()).unwrap().write_all(&bytes[..bytes.len().min(1 << 20)]).unwrap();
        if let Err(error) = decode(scratch.path()) {
            assert!(!matches!(error, AudioError::Storage(_)), "{error:?}");
        }
    }
    let grown = peak_memory() - before;
    println!("{} files, memory grown by {} KiB", cases.len(), grown >> 10);
    assert!(grown < 96 << 20, "memory grew by {grown} bytes");
}

/// Found by the fuzz target `decode`: a resampler that panics at sums without a number.
#[test]
fn samples_of_any_size_are_sound() {
    for value in [f32::MAX, f32::MIN, f32::INFINITY, f32::NAN, 1e30, -1e38] {
        let bytes = files::float_wav(44_100, value, 44_100);
        let decoded = decode(file(&bytes).path()).unwrap_or_else(|error| panic!("{value}: {error}"));
        assert_eq!(decoded.spool.len(), 16_000, "{value}");
    }
}
