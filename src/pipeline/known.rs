//! The clips of known speakers: from files of any kind to samples, within OpenAI's bounds of two to ten seconds.

use crate::audio::{AudioError, AudioOptions, decode_to_spool};
use crate::cancel::CancelToken;
use crate::diarization::KnownVoice;
use crate::error::ErrorKind;
use crate::time::{SampleIndex, TimeSpan, ms_to_samples, samples_to_seconds};

use super::PipelineError;
use super::speakers::KnownSpeaker;

/// Shortest and longest clip, with a quarter of a second for encoders that add or take a little at the edges.
const LENGTHS: std::ops::RangeInclusive<SampleIndex> = ms_to_samples(1_750)..=ms_to_samples(10_250);

/// Decoding ends after so many seconds.
const LONGEST_S: u64 = 11;

/// Decodes the clip of each speaker.
///
/// # Errors
/// `Reference` for a clip that is no recording, or not of the right length.
pub fn voices(
    known: &[KnownSpeaker],
    options: &AudioOptions,
    cancel: &CancelToken,
) -> Result<Vec<KnownVoice>, PipelineError> {
    let options = AudioOptions { max_duration_s: LONGEST_S, ..options.clone() };
    let voice = |(index, speaker): (usize, &KnownSpeaker)| {
        let clip = clip(speaker, &options, cancel).map_err(|fault| match fault {
            Fault::Clip(reason) => PipelineError::Reference { index, reason },
            Fault::Machine(error) => error.into(),
        })?;
        Ok(KnownVoice { name: speaker.name.clone(), clip })
    };
    known.iter().enumerate().map(voice).collect()
}

enum Fault {
    /// The client's, as the rest of a sentence.
    Clip(String),
    Machine(AudioError),
}

fn clip(speaker: &KnownSpeaker, options: &AudioOptions, cancel: &CancelToken) -> Result<Vec<f32>, Fault> {
    let spool = decode_to_spool(&speaker.clip, options, cancel).map_err(fault)?.spool;
    let length = spool.len();
    if !LENGTHS.contains(&length) {
        return Err(wrong_length(&format!("{:.2} s", samples_to_seconds(length))));
    }
    let mut samples = Vec::new();
    spool.read(TimeSpan::new(0, length), &mut samples);
    spool.take_failure().map_or(Ok(samples), |error| Err(Fault::Machine(error.into())))
}

fn wrong_length(found: &str) -> Fault {
    Fault::Clip(format!("lasts {found}; a clip of 2 to 10 s of one voice is needed"))
}

fn fault(error: AudioError) -> Fault {
    match error.kind() {
        ErrorKind::AudioTooShort => wrong_length("less than 0.1 s"),
        ErrorKind::AudioTooLong => wrong_length("more than 10 s"),
        ErrorKind::UndecodableAudio | ErrorKind::UnsupportedAudio => {
            Fault::Clip(format!("is no usable recording: {error}"))
        }
        _ => Fault::Machine(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::AudioSource;
    use crate::scratch::Scratch;

    /// What becomes of a clip of so many milliseconds.
    fn heard(milliseconds: u64) -> Result<Vec<KnownVoice>, PipelineError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.wav");
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        (0..ms_to_samples(milliseconds)).for_each(|_| writer.write_sample(1_000_i16).unwrap());
        writer.finalize().unwrap();
        of(AudioSource { path, name: None })
    }

    fn of(clip: AudioSource) -> Result<Vec<KnownVoice>, PipelineError> {
        let options = AudioOptions { scratch: Scratch::default(), max_duration_s: 60, ffmpeg: None };
        voices(&[KnownSpeaker { name: "Ann".into(), clip }], &options, &CancelToken::new())
    }

    #[test]
    fn clips_of_two_to_ten_seconds_are_taken_with_a_little_room() {
        for milliseconds in [1_750, 2_000, 10_000, 10_250] {
            let voices = heard(milliseconds).unwrap();
            assert_eq!(voices[0].name, "Ann");
            assert_eq!(voices[0].clip.len() as u64, ms_to_samples(milliseconds));
        }
    }

    #[test]
    fn other_lengths_are_told_with_the_clip_that_has_them() {
        for (milliseconds, found) in
            [(50, "less than 0.1 s"), (1_000, "1.00 s"), (10_500, "10.50 s"), (60_000, "more than 10 s")]
        {
            let error = heard(milliseconds).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.to_string().contains(found), "{error}");
            assert!(matches!(error, PipelineError::Reference { index: 0, .. }));
        }
    }

    #[test]
    fn what_is_no_recording_is_the_clients_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip");
        for bytes in [&b""[..], b"<html>", b"RIFF\0\0\0\0WAVE"] {
            std::fs::write(&path, bytes).unwrap();
            let error = of(AudioSource { path: path.clone(), name: None }).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        }
    }
}
