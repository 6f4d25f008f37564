//! Flags of `transcribe` about who speaks: the same choices as the API's fields.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::audio::AudioSource;
use crate::output::ResponseFormat;
use crate::pipeline::{KnownSpeaker, MAX_DISTANCE, SPEAKER_COUNTS, STEPS_MS, SpeakerLimits, SpeakerOptions};
use crate::time::ms_to_samples;

/// Flags about speakers.
#[derive(Args)]
#[command(next_help_heading = "Speakers")]
pub struct SpeakerArgs {
    /// Tell speakers apart; `diarized-json` always does
    #[arg(long)]
    pub diarize: bool,
    /// Begin each subtitle with its speaker (`srt`, `vtt`); implies --diarize
    #[arg(long = "speaker-labels")]
    pub labels: bool,
    /// Exact number of speakers
    #[arg(long, value_name = "N", value_parser = count, conflicts_with_all = ["min_speakers", "max_speakers"])]
    num_speakers: Option<usize>,
    /// Smallest number of speakers
    #[arg(long, value_name = "N", value_parser = count)]
    min_speakers: Option<usize>,
    /// Largest number of speakers
    #[arg(long, value_name = "N", value_parser = count)]
    max_speakers: Option<usize>,
    /// A voice by name: a recording of 2 to 10 s of it alone; may be repeated
    #[arg(long = "known-speaker", value_name = "NAME=FILE")]
    known: Vec<Known>,
    /// From one window to the next, in ms: 1000 is as exact as it gets [default: the setting]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(STEPS_MS))]
    diarization_step_ms: Option<u64>,
    /// Distance from which on voices count as different, above 0 and up to 2 [default: the model's]
    #[arg(long, value_name = "NUMBER", value_parser = distance)]
    diarization_threshold: Option<f32>,
    /// Give every word to whoever its time says, though it tears sentences
    #[arg(long)]
    no_speaker_smoothing: bool,
}

/// A name and a file.
#[derive(Clone)]
struct Known(KnownSpeaker);

impl FromStr for Known {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').filter(|(name, file)| !name.trim().is_empty() && !file.is_empty());
        let (name, file) = parts.ok_or("a name, `=` and a file are expected")?;
        let clip = AudioSource { path: PathBuf::from(file), name: Some(file.to_owned()) };
        Ok(Self(KnownSpeaker { name: name.trim().to_owned(), clip }))
    }
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| SPEAKER_COUNTS.contains(count));
    let (least, most) = (SPEAKER_COUNTS.start(), SPEAKER_COUNTS.end());
    count.ok_or_else(|| format!("a whole number from {least} to {most} is expected"))
}

/// A threshold on the command line.
pub fn distance(text: &str) -> Result<f32, String> {
    let distance = text.parse::<f32>().ok().filter(|value| *value > 0.0 && *value <= MAX_DISTANCE);
    distance.ok_or_else(|| format!("a number above 0 and up to {MAX_DISTANCE} is expected"))
}

impl SpeakerArgs {
    /// What the pipeline is asked of the speakers, if anything.
    ///
    /// # Errors
    /// When the flags contradict each other or the format.
    pub fn options(&self, format: ResponseFormat, translate: bool) -> Result<Option<SpeakerOptions>, String> {
        let shows = format == ResponseFormat::DiarizedJson || self.labels || self.diarize;
        if !shows {
            return Ok(None);
        }
        if translate {
            return Err("speakers are told apart in transcriptions alone; leave out --translate".to_owned());
        }
        if !format.shows_speakers() {
            return Err("speakers need --format diarized-json, verbose-json, srt or vtt".to_owned());
        }
        if self.labels && !matches!(format, ResponseFormat::Srt | ResponseFormat::Vtt) {
            return Err("--speaker-labels is for --format srt and vtt".to_owned());
        }
        if let (Some(least), Some(most)) = (self.min_speakers, self.max_speakers)
            && least > most
        {
            return Err(format!("--min-speakers {least} is more than --max-speakers {most}"));
        }
        let known: Vec<KnownSpeaker> = self.known.iter().map(|known| known.0.clone()).collect();
        let is_twice =
            |(index, one): (usize, &KnownSpeaker)| known[..index].iter().any(|it| it.name == one.name);
        if known.iter().enumerate().any(is_twice) {
            return Err("--known-speaker: two have the same name".to_owned());
        }
        let limits = match self.num_speakers {
            Some(count) => SpeakerLimits::exactly(count),
            None => SpeakerLimits { min: self.min_speakers, max: self.max_speakers },
        };
        Ok(Some(SpeakerOptions {
            step: self.diarization_step_ms.map(ms_to_samples),
            limits,
            threshold: self.diarization_threshold,
            known,
            smoothing: !self.no_speaker_smoothing,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        speakers: SpeakerArgs,
    }

    fn options(flags: &str, format: ResponseFormat) -> Result<Option<SpeakerOptions>, String> {
        let line = std::iter::once("x").chain(flags.split_whitespace());
        let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        line.speakers.options(format, false)
    }

    #[test]
    fn flags_say_what_the_fields_of_the_api_do() {
        assert!(options("", ResponseFormat::Srt).unwrap().is_none());
        assert!(options("", ResponseFormat::DiarizedJson).unwrap().is_some());
        assert!(options("--speaker-labels", ResponseFormat::Vtt).unwrap().is_some());
        let flags = "--diarize --min-speakers 2 --diarization-step-ms 1000 --known-speaker Ann=a=b.wav";
        let told = options(flags, ResponseFormat::VerboseJson).unwrap().unwrap();
        assert_eq!((told.limits.min, told.step, told.smoothing), (Some(2), Some(16_000), true));
        assert_eq!((told.known[0].name.as_str(), told.known[0].clip.path.to_str()), ("Ann", Some("a=b.wav")));
    }

    #[test]
    fn contradictions_and_wrong_values_are_told() {
        for (flags, format) in [
            ("--diarize", ResponseFormat::Text),
            ("--diarize", ResponseFormat::Json),
            ("--speaker-labels", ResponseFormat::VerboseJson),
            ("--diarize --num-speakers 2 --max-speakers 3", ResponseFormat::Srt),
            ("--diarize --min-speakers 4 --max-speakers 3", ResponseFormat::Srt),
            ("--diarize --num-speakers 0", ResponseFormat::Srt),
            ("--diarize --diarization-step-ms 100", ResponseFormat::Srt),
            ("--diarize --diarization-threshold NaN", ResponseFormat::Srt),
            ("--diarize --known-speaker Ann", ResponseFormat::Srt),
            ("--diarize --known-speaker A=x --known-speaker A=y", ResponseFormat::Srt),
        ] {
            assert!(options(flags, format).is_err(), "{flags}");
        }
        assert!(options("--diarize", ResponseFormat::Srt).is_ok());
    }
}
