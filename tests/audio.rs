//! The audio room from outside: every encoding, damaged files, files that are no audio, and limits.
//!
//! The encodings and how they were made are described in `fixtures/audio/encodings/README.md`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use diarist::audio::{AudioError, AudioOptions, AudioSource, Decoded, decode_to_spool};
use diarist::cancel::CancelToken;
use diarist::error::ErrorKind;
use diarist::scratch::Scratch;
use diarist::time::{TimeSpan, samples_to_seconds};
use proptest::prelude::*;

/// Where the last sentence, which the bulky encodings carry, lies in the source, in samples.
const LAST_SENTENCE: std::ops::Range<usize> = 72_000..94_400;

/// What a decoder may do to the sound.
#[derive(Clone, Copy)]
enum Content {
    /// All three sentences.
    Whole,
    /// The last one.
    Last,
}

use Content::{Last, Whole};

/// File, what it carries, and the least correlation with the source: 1 for lossless kinds at 16 kHz, less
/// where the band is cut at half of a low rate or the codec drops detail.
const ENCODINGS: &[(&str, Content, f64)] = &[
    ("source.wav", Whole, 0.9999),
    ("wav_mulaw_8000.wav", Whole, 0.96),
    ("flac_16000.flac", Whole, 0.9999),
    ("mp3_cbr_44100_stereo.mp3", Whole, 0.95),
    ("mp3_vbr_48000.mp3", Whole, 0.95),
    ("mp3_mpeg2_16000.mpga", Whole, 0.95),
    ("mp3_mpeg2_22050.mpeg", Whole, 0.95),
    ("mp3_without_header_44100.mp3", Whole, 0.95),
    ("aac_44100_stereo_moov_last.m4a", Whole, 0.95),
    ("aac_48000_faststart.mp4", Whole, 0.95),
    ("aac_44100_fragmented.mp4", Whole, 0.95),
    ("aac_adts_44100.aac", Whole, 0.95),
    ("aac_44100_video.mp4", Whole, 0.95),
    ("aac_48000_video.mov", Whole, 0.95),
    ("aac_44100_video.mkv", Whole, 0.95),
    ("vorbis_44100_stereo.ogg", Whole, 0.96),
    ("vorbis_16000.oga", Whole, 0.96),
    ("opus_48000_stereo.ogg", Whole, 0.96),
    ("opus_mono.opus", Whole, 0.96),
    ("opus_file.webm", Whole, 0.96),
    ("opus_unknown_size.webm", Whole, 0.96),
    ("vorbis_48000.webm", Whole, 0.96),
    ("opus_video.mkv", Whole, 0.96),
    ("wav_u8_8000_stereo.wav", Last, 0.96),
    ("wav_s16_16000.wav", Last, 0.9999),
    ("wav_alaw_8000.wav", Last, 0.96),
    ("wav_adpcm_ima_16000.wav", Last, 0.97),
    ("wav_s24_11025.wav", Last, 0.96),
    ("wav_s32_8000.wav", Last, 0.96),
    ("wav_f32_8000.wav", Last, 0.96),
    ("wav_f64_8000.wav", Last, 0.96),
    ("wav_adpcm_ms_22050.wav", Last, 0.97),
    ("wav_rf64_8000.wav", Last, 0.96),
    ("wav_s16_8000_streamed.wav", Last, 0.96),
    ("aiff_s16_8000.aiff", Last, 0.96),
    ("caf_s16_8000.caf", Last, 0.96),
    ("alac_16000.m4a", Last, 0.9999),
    ("flac_in_ogg_16000.oga", Last, 0.9999),
    ("flac_24bit_96000.flac", Last, 0.999),
    ("flac_192000.flac", Last, 0.999),
    ("vorbis_48000_6_channels.ogg", Last, 0.96),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio/encodings").join(name)
}

fn options() -> AudioOptions {
    AudioOptions { scratch: Scratch::default(), max_duration_s: 3_600, ffmpeg: None }
}

fn decode(path: &Path) -> Result<Decoded, AudioError> {
    let source = AudioSource { path: path.to_owned(), name: None };
    decode_to_spool(&source, &options(), &CancelToken::new())
}

/// Decodes bytes by way of a file without a telling name.
fn decode_bytes(bytes: &[u8]) -> Result<Decoded, AudioError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    decode(file.path())
}

fn samples(decoded: &Decoded) -> Vec<f32> {
    let mut out = Vec::new();
    decoded.spool.read(TimeSpan::new(0, decoded.spool.len()), &mut out);
    out
}

fn seconds(decoded: &Decoded) -> f64 {
    samples_to_seconds(decoded.spool.len())
}

fn source_samples(content: Content) -> Vec<f32> {
    let whole = samples(&decode(&fixture("source.wav")).unwrap());
    match content {
        Whole => whole,
        Last => whole[LAST_SENTENCE].to_vec(),
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let blocks = a.chunks(256).zip(b.chunks(256));
    blocks.map(|(a, b)| f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>())).sum()
}

/// Samples by which `heard` is later than `source`, within ±50 ms, and the correlation there.
fn lag_and_correlation(source: &[f32], heard: &[f32]) -> (i64, f64) {
    let correlation = |lag: i64| {
        let (a, b) = if lag >= 0 {
            (source, heard.get(lag as usize..).unwrap_or_default())
        } else {
            (source.get(-lag as usize..).unwrap_or_default(), heard)
        };
        let length = a.len().min(b.len());
        let (a, b) = (&a[..length], &b[..length]);
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
    };
    let best = (-800..=800).map(|lag| (lag, correlation(lag))).max_by(|a, b| a.1.total_cmp(&b.1));
    best.unwrap_or((0, 0.0))
}

#[test]
fn every_encoding_gives_the_source_in_place_and_at_its_length() {
    let sources = [source_samples(Whole), source_samples(Last)];
    for (name, content, least_correlation) in ENCODINGS {
        let decoded = decode(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let source = &sources[*content as usize];
        let heard = samples(&decoded);
        let (lag, correlation) = lag_and_correlation(source, &heard);
        let excess = heard.len() as f64 - source.len() as f64;
        println!("{name}: {}, {excess:+} samples, lag {lag}, {correlation:.4}", decoded.description);
        assert!(excess.abs() < 800.0, "{name} is {excess} samples longer than its source");
        assert!(lag.abs() <= 160, "{name} is {lag} samples late");
        assert!(correlation >= *least_correlation, "{name} correlates by {correlation:.4}");
        assert_eq!(decoded.warnings, [], "{name}");
    }
}

#[test]
fn the_description_names_codec_container_rate_and_channels() {
    let described = |name| decode(&fixture(name)).unwrap().description;
    assert_eq!(described("mp3_cbr_44100_stereo.mp3"), "mp3 44100 Hz 2 channels");
    assert_eq!(described("opus_mono.opus"), "opus in ogg 48000 Hz 1 channel");
}

/// Kinds, and whether their first 60 % can be decoded: an MP4 file whose index comes last has none when it
/// is cut, the reader of CAF wants the end of its one chunk, and this Ogg FLAC file has only one page.
const DAMAGEABLE: &[(&str, bool)] = &[
    ("flac_16000.flac", true),
    ("mp3_cbr_44100_stereo.mp3", true),
    ("mp3_mpeg2_16000.mpga", true),
    ("aac_44100_stereo_moov_last.m4a", false),
    ("aac_48000_faststart.mp4", true),
    ("aac_44100_fragmented.mp4", true),
    ("aac_adts_44100.aac", true),
    ("aac_48000_video.mov", false),
    ("aac_44100_video.mkv", true),
    ("vorbis_44100_stereo.ogg", true),
    ("opus_mono.opus", true),
    ("opus_file.webm", true),
    ("opus_unknown_size.webm", true),
    ("vorbis_48000.webm", true),
    ("alac_16000.m4a", false),
    ("flac_in_ogg_16000.oga", false),
    ("wav_s16_16000.wav", true),
    ("wav_adpcm_ima_16000.wav", true),
    ("aiff_s16_8000.aiff", true),
    ("caf_s16_8000.caf", false),
];

#[test]
fn a_file_cut_at_60_percent_gives_its_start_and_a_warning() {
    for (name, can_be_cut) in DAMAGEABLE {
        let bytes = fs::read(fixture(name)).unwrap();
        let whole_s = seconds(&decode(&fixture(name)).unwrap());
        let outcome = decode_bytes(&bytes[..bytes.len() * 6 / 10]);
        if !can_be_cut {
            assert_eq!(outcome.map(|_| ()).unwrap_err().kind(), ErrorKind::UndecodableAudio, "{name}");
            continue;
        }
        let decoded = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        let share = seconds(&decoded) / whole_s;
        assert!((0.48..0.68).contains(&share), "{name} gave {share:.2} of its length");
        // A recording of unknown size has no end that could be missing.
        let is_marked = *name != "opus_unknown_size.webm";
        assert_eq!(has_warning(&decoded, "truncated_audio"), is_marked, "{name}");
    }
}

fn has_warning(decoded: &Decoded, code: &str) -> bool {
    decoded.warnings.iter().any(|warning| warning.code == code)
}

#[test]
fn damage_in_the_middle_is_passed_over_and_the_clock_is_kept() {
    for (name, _) in DAMAGEABLE {
        let mut bytes = fs::read(fixture(name)).unwrap();
        let whole_s = seconds(&decode(&fixture(name)).unwrap());
        let middle = bytes.len() / 2;
        bytes[middle..middle + 1_500].copy_from_slice(&noise(1_500));
        let decoded = decode_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let share = seconds(&decoded) / whole_s;
        // Damage in a fragment's own index takes the rest of a fragmented file.
        let least = if *name == "aac_44100_fragmented.mp4" { 0.45 } else { 0.9 };
        assert!((least..1.05).contains(&share), "{name} gave {share:.2} of its length");
    }
}

#[test]
fn twenty_flipped_bytes_never_end_in_anything_but_sound_or_an_error_about_the_file() {
    for (name, _) in DAMAGEABLE {
        let mut bytes = fs::read(fixture(name)).unwrap();
        for n in 1..=20 {
            let at = bytes.len() * n / 21;
            bytes[at] ^= 0x55;
        }
        match decode_bytes(&bytes) {
            // The code books in the head of a Vorbis file are its only copy.
            Err(error) => {
                assert!(name.starts_with("vorbis"), "{name}: {error}");
                assert_eq!(error.kind(), ErrorKind::UndecodableAudio, "{name}");
            }
            Ok(decoded) => assert!(seconds(&decoded) > 0.6, "{name} gave {} s", seconds(&decoded)),
        }
    }
}

/// Bytes that look like nothing, the same in every run.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn what_is_not_audio_is_refused_with_a_reason() {
    let cases: [(&str, &[u8], &str); 8] = [
        ("noise", &noise(200_000), "not in an audio or video format"),
        ("one byte", b"x", "text"),
        ("HTML", b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
        ("JSON", br#"{"error":{"message":"no"}}"#, "JSON"),
        ("ZIP", b"PK\x03\x04\x14\x00\x00\x00\x08\x00", "ZIP"),
        ("PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "PDF"),
        ("zeros", &[0; 10_000], "not in an audio or video format"),
        ("playlist", b"#EXTM3U\n/etc/passwd\n", "playlist"),
    ];
    for (what, bytes, reason) in cases {
        let error = decode_bytes(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UndecodableAudio, "{what}: {error}");
        assert!(error.to_string().contains(reason), "{what}: {error}");
    }
    assert!(matches!(decode_bytes(b""), Err(AudioError::Empty)));
}

/// A WAV file of 16-bit mono silence at 16 kHz with this stated size of its data.
fn wav(stated_bytes: u32, samples: usize) -> Vec<u8> {
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(stated_bytes.saturating_add(36).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00");
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(32_000_u32.to_le_bytes());
    bytes.extend(b"\x02\x00\x10\x00data");
    bytes.extend(stated_bytes.to_le_bytes());
    bytes.extend(vec![0; samples * 2]);
    bytes
}

#[test]
fn a_wav_header_without_sound_holds_no_sound() {
    for stated in [0, 1_000, u32::MAX] {
        let error = decode_bytes(&wav(stated, 0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UndecodableAudio, "{stated}: {error}");
    }
    let error = decode_bytes(&wav(1_000, 500)[..30]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UndecodableAudio, "{error}");
}

#[test]
fn a_wav_whose_sizes_were_never_filled_in_is_read_to_its_end() {
    for stated in [0, u32::MAX] {
        let decoded = decode_bytes(&wav(stated, 16_000)).unwrap();
        assert_eq!((decoded.spool.len(), decoded.warnings.len()), (16_000, 0));
    }
}

#[test]
fn a_recording_under_a_tenth_of_a_second_is_too_short() {
    assert!(matches!(decode_bytes(&wav(3_198, 1_599)), Err(AudioError::TooShort { milliseconds: 99 })));
    assert_eq!(decode_bytes(&wav(3_200, 1_600)).unwrap().spool.len(), 1_600);
}

#[test]
fn absurd_declarations_are_refused() {
    for (rate, channels) in
        [(0_u32, 1_u16), (1, 1), (999, 1), (4_000_000_000, 1), (16_000, 0), (16_000, 2_000)]
    {
        let mut bytes = wav(32_000, 16_000);
        bytes[22..24].copy_from_slice(&channels.to_le_bytes());
        bytes[24..28].copy_from_slice(&rate.to_le_bytes());
        bytes[32..34].copy_from_slice(&channels.wrapping_mul(2).to_le_bytes());
        let error = decode_bytes(&bytes).map(|_| ()).unwrap_err();
        let kind = error.kind();
        let is_right = matches!(kind, ErrorKind::UndecodableAudio | ErrorKind::UnsupportedAudio);
        assert!(is_right, "{rate} Hz, {channels} channels: {error}");
    }
}

#[test]
fn a_recording_over_the_limit_is_refused_while_it_is_decoded() {
    let source = AudioSource { path: fixture("opus_mono.opus"), name: None };
    let short = AudioOptions { max_duration_s: 6, ..options() };
    let error = decode_to_spool(&source, &short, &CancelToken::new()).unwrap_err();
    assert!(matches!(error, AudioError::TooLong { limit_s: 6 }), "{error}");
    let enough = AudioOptions { max_duration_s: 7, ..options() };
    assert!(decode_to_spool(&source, &enough, &CancelToken::new()).is_ok());
}

#[test]
fn a_cancelled_request_stops_decoding() {
    let cancel = CancelToken::new();
    cancel.cancel();
    let source = AudioSource { path: fixture("source.wav"), name: None };
    assert!(matches!(decode_to_spool(&source, &options(), &cancel), Err(AudioError::Cancelled)));
}

#[test]
fn a_missing_temporary_folder_is_not_the_clients_fault() {
    let source = AudioSource { path: fixture("source.wav"), name: None };
    let nowhere = AudioOptions { scratch: Scratch::within(Path::new("/nonexistent/folder")), ..options() };
    let error = decode_to_spool(&source, &nowhere, &CancelToken::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn joined_files_are_heard_to_their_end() {
    let names =
        ["mp3_cbr_44100_stereo.mp3", "mp3_without_header_44100.mp3", "opus_mono.opus", "vorbis_16000.oga"];
    for name in names {
        let once = decode(&fixture(name)).unwrap();
        let bytes = fs::read(fixture(name)).unwrap();
        let twice = decode_bytes(&[&bytes[..], &bytes[..]].concat()).unwrap();
        let expected_s = 2.0 * seconds(&once);
        let difference_s = seconds(&twice) - expected_s;
        assert!(difference_s.abs() < 0.2, "{name}: {difference_s:+.3} s off {expected_s:.3} s");
    }
}

#[test]
fn a_chain_may_change_rate_and_channels() {
    let first = fs::read(fixture("vorbis_44100_stereo.ogg")).unwrap();
    let second = fs::read(fixture("opus_mono.opus")).unwrap();
    let decoded = decode_bytes(&[first, second].concat()).unwrap();
    let source = source_samples(Whole);
    let heard = samples(&decoded);
    assert!(heard.len().abs_diff(2 * source.len()) < 800, "{} samples", heard.len());
    let (lag, correlation) = lag_and_correlation(&source, &heard[source.len()..]);
    assert!(lag.abs() < 160 && correlation > 0.9, "lag {lag}, correlation {correlation:.3}");
}

#[test]
fn kinds_without_a_built_in_decoder_are_named_with_the_remedy() {
    let cases: [(&[u8], &str); 3] = [
        (b"#!AMR\n\x04\x0b\x90\x20", "AMR"),
        (b"\x0b\x77\x12\x34\x40\x2f\x84\x29", "AC-3"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "WMA"),
    ];
    for (bytes, name) in cases {
        let error = decode_bytes(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedAudio, "{error}");
        let message = error.to_string();
        assert!(message.contains(name) && message.contains("DIARIST_FFMPEG"), "{message}");
    }
    let mut gsm = wav(1_000, 500);
    gsm[20] = 0x31;
    let error = decode_bytes(&gsm).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedAudio, "{error}");
    let message = decode(&fixture("aac_48000_6_channels.m4a")).unwrap_err().to_string();
    assert!(message.contains("AAC") && message.contains("DIARIST_FFMPEG"), "{message}");
}

/// Decodes `bytes` with `program` in the place of ffmpeg.
fn decode_with(program: &Path, bytes: &[u8], cancel: &CancelToken) -> Result<Decoded, AudioError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let source = AudioSource { path: file.path().to_owned(), name: None };
    let options = AudioOptions { ffmpeg: Some(program.to_owned()), max_duration_s: 20, ..options() };
    decode_to_spool(&source, &options, cancel)
}

/// One test for all that starts programs: a script being written while another thread starts a program
/// cannot itself be started.
#[test]
fn ffmpeg_decodes_the_rest_within_the_same_limits() {
    const AMR: &[u8] = b"#!AMR\n\x04\x0b\x90\x20";
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, body: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    };
    let two_seconds = script("two_seconds", "head -c 128000 /dev/zero");
    let broken_off = script("broken_off", "head -c 64001 /dev/zero; echo 'cut here' >&2; exit 1");
    let refusing = script("refusing", "echo 'file:/some/path: Invalid data found' >&2; exit 1");
    let endless = script("endless", "exec cat /dev/zero");
    let hanging = script("hanging", "exec sleep 1000");
    let go = CancelToken::new();

    let decoded = decode_with(&two_seconds, AMR, &go).unwrap();
    assert_eq!((decoded.spool.len(), decoded.warnings.len()), (32_000, 0));

    let decoded = decode_with(&broken_off, AMR, &go).unwrap();
    assert_eq!(decoded.spool.len(), 16_000);
    assert!(has_warning(&decoded, "damaged_audio"));

    let error = decode_with(&refusing, AMR, &go).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedAudio);
    let message = error.to_string();
    assert!(
        message.contains("AMR") && message.contains("Invalid data") && !message.contains("path"),
        "{message}"
    );

    let error = decode_with(Path::new("/nonexistent/ffmpeg"), AMR, &go).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedAudio, "{error}");

    let error = decode_with(&endless, AMR, &go).unwrap_err();
    assert!(matches!(error, AudioError::TooLong { limit_s: 20 }), "{error}");

    let error = decode_with(&two_seconds, b"#EXTM3U\nother.wav\n", &go).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UndecodableAudio, "a playlist must not reach ffmpeg");

    let cancel = CancelToken::new();
    let canceller = {
        let cancel = cancel.clone();
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(200));
            cancel.cancel();
        })
    };
    let error = decode_with(&hanging, AMR, &cancel).unwrap_err();
    assert!(matches!(error, AudioError::Cancelled), "{error}");
    canceller.join().unwrap();

    decode_with_real_ffmpeg(&go);
}

/// What a real ffmpeg makes of a file that only it opens, where there is one.
fn decode_with_real_ffmpeg(go: &CancelToken) {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|dir| dir.join("ffmpeg")).find(|program| program.is_file())
    });
    let Some(program) = found else {
        println!("skipped: no ffmpeg on this machine");
        return;
    };
    let bytes = fs::read(fixture("aac_48000_6_channels.m4a")).unwrap();
    let decoded = decode_with(&program, &bytes, go).unwrap();
    let source = source_samples(Last);
    let heard = samples(&decoded);
    let (lag, correlation) = lag_and_correlation(&source, &heard);
    assert!(heard.len().abs_diff(source.len()) < 800, "{} samples", heard.len());
    assert!(lag.abs() <= 160 && correlation > 0.9, "lag {lag}, correlation {correlation:.3}");
    assert_eq!(decode_with(&program, &noise(5_000), go).unwrap_err().kind(), ErrorKind::UndecodableAudio);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]
    #[test]
    fn garbled_files_give_sound_or_an_error(
        name in prop::sample::select(vec![
            "wav_adpcm_ima_16000.wav",
            "flac_in_ogg_16000.oga",
            "mp3_mpeg2_16000.mpga",
            "aac_44100_fragmented.mp4",
            "alac_16000.m4a",
            "opus_file.webm",
            "vorbis_16000.oga",
            "wav_s16_16000.wav",
        ]),
        edits in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 1..40),
        near_the_head in any::<bool>(),
        kept in 0.1..1.0_f64,
    ) {
        let mut bytes = fs::read(fixture(name)).unwrap();
        bytes.truncate((bytes.len() as f64 * kept) as usize);
        let reach = if near_the_head { bytes.len().min(400) } else { bytes.len() };
        for (place, value) in edits {
            bytes[(place * reach as f64) as usize] = value;
        }
        if let Err(error) = decode_bytes(&bytes) {
            prop_assert!(!matches!(error, AudioError::Storage(_) | AudioError::Cancelled), "{error}");
        }
    }
}

/// Set in the process that measures itself, so that other tests are not measured with it.
const MEASURING: &str = "DIARIST_TEST_MEASURING";

#[test]
fn memory_does_not_grow_with_the_recording() {
    if !cfg!(target_os = "linux") {
        println!("skipped: the process's memory is read from Linux's /proc");
        return;
    }
    if std::env::var_os(MEASURING).is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "memory_does_not_grow_with_the_recording"])
            .env(MEASURING, "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write_long_wav(&mut file, 20 * 60);
    // Once before, so that tables and pools made on first use are not counted.
    drop(decode(&fixture("mp3_cbr_44100_stereo.mp3")).unwrap());
    let before = process_memory_kib("RssAnon:");
    let decoded = decode(file.path()).unwrap();
    assert_eq!(decoded.spool.len(), 20 * 60 * 16_000);
    let mut window = Vec::new();
    let mut at = 0;
    while at < decoded.spool.len() {
        decoded.spool.read(TimeSpan::new(at, at + 30 * 16_000), &mut window);
        at += 30 * 16_000;
    }
    // The peak counts mapped files too, so it would show a spool that stays in memory once read.
    let grown = process_memory_kib("RssAnon:").saturating_sub(before);
    let peak = process_memory_kib("VmHWM:");
    println!("grown by {grown} KiB, peak {peak} KiB, {before} KiB before");
    assert!(grown < 16 << 10, "anonymous memory grew by {grown} KiB");
    assert!(peak < before + (32 << 10), "memory peaked at {peak} KiB from {before} KiB");
}

/// Writes 8-bit mono at 48 kHz.
fn write_long_wav(file: &mut impl Write, length_s: usize) {
    let mut bytes = wav(0, 0);
    bytes[24..28].copy_from_slice(&48_000_u32.to_le_bytes());
    bytes[28..32].copy_from_slice(&48_000_u32.to_le_bytes());
    bytes[32..36].copy_from_slice(b"\x01\x00\x08\x00");
    file.write_all(&bytes).unwrap();
    let second = noise(48_000);
    for _ in 0..length_s {
        file.write_all(&second).unwrap();
    }
}

fn process_memory_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
