//! The fields about speakers: how many, how they are told apart, and which voices have names. Pure.

use std::collections::BTreeSet;

use crate::api::error::{ApiError, shown};
use crate::pipeline::{MAX_DISTANCE, SPEAKER_COUNTS, STEPS_MS, SpeakerLimits, SpeakerOptions};
use crate::time::ms_to_samples;

use super::data_url;
use super::fields::Fields;
use super::request::{boolean, invalid};

/// Speakers that can be named, as at OpenAI.
const MAX_KNOWN: usize = 4;
/// Longest name, in characters.
const MAX_NAME: usize = 100;

const NAMES: &str = "known_speaker_names";
const REFERENCES: &str = "known_speaker_references";

/// Every field of this file.
pub const FIELDS: [&str; 8] = [
    NAMES,
    REFERENCES,
    "num_speakers",
    "min_speakers",
    "max_speakers",
    "diarization_step_ms",
    "diarization_threshold",
    "speaker_smoothing",
];

/// What a form says of the speakers.
#[derive(Debug, Default)]
pub struct SpeakerFields {
    /// All but the known voices, whose clips have to become files first.
    pub options: SpeakerOptions,
    /// The known voices.
    pub known: Vec<Named>,
}

/// A name and the recording of its voice.
#[derive(Debug)]
pub struct Named {
    /// The name, verbatim.
    pub name: String,
    /// The bytes of a recording of any kind.
    pub clip: Vec<u8>,
}

/// Reads and checks all of them.
///
/// # Errors
/// 400 with `param` set for the first value that is wrong.
pub fn speakers(fields: &Fields) -> Result<SpeakerFields, ApiError> {
    let options = SpeakerOptions {
        step: step_ms(fields)?.map(ms_to_samples),
        limits: limits(fields)?,
        threshold: threshold(fields)?,
        known: Vec::new(),
        smoothing: boolean(fields, "speaker_smoothing")?.unwrap_or(true),
    };
    Ok(SpeakerFields { options, known: known(fields)? })
}

/// Those of the fields that have a value.
pub fn given(fields: &Fields) -> Vec<&'static str> {
    let has_value = |field: &&str| fields.list(field).is_ok_and(|values| !values.is_empty());
    FIELDS.into_iter().filter(has_value).collect()
}

fn step_ms(fields: &Fields) -> Result<Option<u64>, ApiError> {
    const FIELD: &str = "diarization_step_ms";
    let Some(text) = fields.text(FIELD)? else { return Ok(None) };
    text.parse().ok().filter(|step| STEPS_MS.contains(step)).map(Some).ok_or_else(|| {
        let (least, most) = (STEPS_MS.start(), STEPS_MS.end());
        let text = shown(text);
        invalid(FIELD, format!("`{FIELD}` must be a whole number from {least} to {most}, not `{text}`"))
    })
}

fn threshold(fields: &Fields) -> Result<Option<f32>, ApiError> {
    const FIELD: &str = "diarization_threshold";
    let Some(text) = fields.text(FIELD)? else { return Ok(None) };
    let value = text.parse::<f32>().ok().filter(|value| *value > 0.0 && *value <= MAX_DISTANCE);
    value.map(Some).ok_or_else(|| {
        let text = shown(text);
        invalid(FIELD, format!("`{FIELD}` must be a number above 0 and up to {MAX_DISTANCE}, not `{text}`"))
    })
}

fn limits(fields: &Fields) -> Result<SpeakerLimits, ApiError> {
    let exactly = count(fields, "num_speakers")?;
    let (min, max) = (count(fields, "min_speakers")?, count(fields, "max_speakers")?);
    match (exactly, min, max) {
        (None, Some(least), Some(most)) if least > most => Err(invalid(
            "min_speakers",
            format!("`min_speakers` is {least} and `max_speakers` only {most}; swap them, or leave one out"),
        )),
        (None, min, max) => Ok(SpeakerLimits { min, max }),
        (Some(exactly), None, None) => Ok(SpeakerLimits::exactly(exactly)),
        (Some(_), ..) => Err(invalid(
            "num_speakers",
            "`num_speakers` is exact; leave out `min_speakers` and `max_speakers` beside it".to_owned(),
        )),
    }
}

fn count(fields: &Fields, field: &'static str) -> Result<Option<usize>, ApiError> {
    let Some(text) = fields.text(field)? else { return Ok(None) };
    let value = text.parse().ok().filter(|count| SPEAKER_COUNTS.contains(count));
    value.map(Some).ok_or_else(|| {
        let (least, most) = (SPEAKER_COUNTS.start(), SPEAKER_COUNTS.end());
        let text = shown(text);
        invalid(field, format!("`{field}` must be a whole number from {least} to {most}, not `{text}`"))
    })
}

fn known(fields: &Fields) -> Result<Vec<Named>, ApiError> {
    // Paired by their places, so one that is empty is not passed over.
    let (names, references) = (fields.column(NAMES)?, fields.column(REFERENCES)?);
    for (field, values) in [(NAMES, &names), (REFERENCES, &references)] {
        if values.len() > MAX_KNOWN {
            let count = values.len();
            return Err(invalid(field, format!("`{field}` has {count} entries, the most are {MAX_KNOWN}")));
        }
    }
    if names.len() != references.len() {
        let message = format!(
            "there are {} known speaker names but {} references; send one for each",
            names.len(),
            references.len()
        );
        return Err(invalid(REFERENCES, message));
    }
    check_names(&names)?;
    let recordings = (1..).zip(&references).map(|(number, reference)| {
        data_url::recording(reference).map_err(|error| {
            let message = format!("reference {number} must be a `data:audio/…;base64,…` URL, but {error}");
            invalid(REFERENCES, message)
        })
    });
    let clips = recordings.collect::<Result<Vec<_>, _>>()?;
    Ok(names.into_iter().zip(clips).map(|(name, clip)| Named { name, clip }).collect())
}

fn check_names(names: &[String]) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    for name in names {
        let is_bad = name.is_empty() || name.chars().any(char::is_control);
        if is_bad || name.chars().nth(MAX_NAME).is_some() {
            let message = format!(
                "`{}` is no name; use one to {MAX_NAME} characters without control characters",
                shown(name)
            );
            return Err(invalid(NAMES, message));
        }
        if !seen.insert(name) {
            return Err(invalid(NAMES, format!("the name `{}` is given twice", shown(name))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIP: &str = "data:audio/wav;base64,UklGRg==";

    fn parsed(pairs: &[(&str, &str)]) -> Result<SpeakerFields, ApiError> {
        let mut fields = Fields::default();
        pairs.iter().for_each(|(name, value)| fields.add(name, (*value).to_owned()));
        speakers(&fields)
    }

    #[track_caller]
    fn param(pairs: &[(&str, &str)]) -> String {
        let envelope: serde_json::Value =
            serde_json::from_str(&parsed(pairs).unwrap_err().envelope()).unwrap();
        assert_eq!(envelope["error"]["code"], "invalid_value");
        envelope["error"]["param"].as_str().unwrap().to_owned()
    }

    #[test]
    fn nothing_given_is_nothing_known() {
        let SpeakerFields { options, known } = parsed(&[]).unwrap();
        assert_eq!((options.limits, options.step, options.threshold), (SpeakerLimits::default(), None, None));
        assert!(options.smoothing && known.is_empty());
    }

    #[test]
    fn counts_are_exact_or_bounds() {
        let limits = |pairs| parsed(pairs).unwrap().options.limits;
        assert_eq!(limits(&[("num_speakers", "3")]), SpeakerLimits::exactly(3));
        assert_eq!(limits(&[("max_speakers", "9")]), SpeakerLimits { min: None, max: Some(9) });
        let both = limits(&[("min_speakers", "2"), ("max_speakers", "2")]);
        assert_eq!(both, SpeakerLimits { min: Some(2), max: Some(2) });
        assert_eq!(param(&[("min_speakers", "3"), ("max_speakers", "2")]), "min_speakers");
        assert_eq!(param(&[("num_speakers", "3"), ("max_speakers", "3")]), "num_speakers");
        for text in ["0", "-1", "1.5", "101", "two", "99999999999999999999"] {
            for field in ["num_speakers", "min_speakers", "max_speakers"] {
                assert_eq!(param(&[(field, text)]), field, "{text}");
            }
        }
    }

    #[test]
    fn numbers_have_bounds() {
        let options =
            parsed(&[("diarization_step_ms", "1000"), ("diarization_threshold", "0.5")]).unwrap().options;
        assert_eq!((options.step, options.threshold), (Some(16_000), Some(0.5)));
        for text in ["499", "10001", "1.5", "x", "-1"] {
            assert_eq!(param(&[("diarization_step_ms", text)]), "diarization_step_ms", "{text}");
        }
        for text in ["0", "2.1", "NaN", "inf", "-1", "x"] {
            assert_eq!(param(&[("diarization_threshold", text)]), "diarization_threshold", "{text}");
        }
        assert_eq!(param(&[("speaker_smoothing", "maybe")]), "speaker_smoothing");
    }

    #[test]
    fn known_speakers_come_in_every_spelling() {
        for (names, references) in [
            ("known_speaker_names[]", "known_speaker_references[]"),
            ("known_speaker_names", "known_speaker_references"),
            ("extra_body[known_speaker_names][]", "extra_body[known_speaker_references][]"),
        ] {
            let known = parsed(&[(names, "Ann Lee"), (references, CLIP)]).unwrap().known;
            assert_eq!((known[0].name.as_str(), known[0].clip.as_slice()), ("Ann Lee", &b"RIFF"[..]));
        }
    }

    #[test]
    fn known_speakers_are_pairs_of_a_name_and_a_recording() {
        let name = |name| ("known_speaker_names[]", name);
        let clip = |clip| ("known_speaker_references[]", clip);
        assert_eq!(param(&[name("Ann")]), REFERENCES);
        assert_eq!(param(&[clip(CLIP)]), REFERENCES);
        assert_eq!(param(&[name("x"); 5]), NAMES);
        let five: Vec<_> =
            ["a", "b", "c", "d", "e"].into_iter().flat_map(|n| [name(n), clip(CLIP)]).collect();
        assert_eq!(param(&five), NAMES);
        assert_eq!(param(&[name("a"), name("a"), clip(CLIP), clip(CLIP)]), NAMES);
        let long = "x".repeat(101);
        for bad in ["a\nb", &long] {
            assert_eq!(param(&[("known_speaker_names[]", bad), clip(CLIP)]), NAMES);
        }
        assert_eq!(param(&[name(""), name("Bo"), clip(CLIP), clip("")]), NAMES);
        assert_eq!(param(&[name("Al"), name("Bo"), clip(CLIP), clip("")]), REFERENCES);
        assert_eq!(param(&[("known_speaker_names", r#"["  "]"#), clip(CLIP)]), REFERENCES);
        assert!(parsed(&[name(""), clip("")]).unwrap().known.is_empty());
        for bad in ["http://x/y.wav", "data:audio/wav;base64,???", "data:audio/wav,abc"] {
            assert_eq!(param(&[name("Ann"), clip(bad)]), REFERENCES, "{bad}");
        }
    }

    #[test]
    fn fields_with_a_value_are_named() {
        let mut fields = Fields::default();
        for (name, value) in [("num_speakers", "2"), ("max_speakers", ""), ("known_speaker_names[]", "x")] {
            fields.add(name, value.to_owned());
        }
        assert_eq!(given(&fields), [NAMES, "num_speakers"]);
    }
}
