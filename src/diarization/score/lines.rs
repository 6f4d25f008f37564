//! What RTTM and UEM have in common: lines of fields, comments, times in seconds. Pure.

use super::MAX_SPEAKERS;
use crate::time::{TimeSpan, seconds_to_samples};

/// Latest time that is taken, in seconds: 115 days.
const MAX_SECONDS: f64 = 1e7;

/// Longest part of a field that a message repeats, in characters.
const SHOWN: usize = 40;

/// Why a file of turns or regions cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct FormatError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it, for people.
    pub reason: String,
}

/// The fields of each line that has any, with its number; comments (`;;`, as NIST writes them, and `#`) are left
/// out. Line ends of any system and a mark of byte order at the start are taken.
///
/// Items are errors where a line is not UTF-8.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = Result<(usize, Vec<&str>), FormatError>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    (1..).zip(bytes.split(|byte| *byte == b'\n' || *byte == b'\r')).filter_map(|(line, bytes)| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Some(Err(FormatError { line, reason: "it is not UTF-8".into() }));
        };
        let fields: Vec<_> = text.split_whitespace().collect();
        let first = fields.first()?;
        (!first.starts_with(";;") && !first.starts_with('#')).then_some(Ok((line, fields)))
    })
}

/// A time or a length: seconds, from 0 to 115 days.
///
/// # Errors
/// Says which field it is.
pub fn seconds(line: usize, name: &str, field: &str) -> Result<f64, FormatError> {
    let value = field.parse().ok().filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds));
    value.ok_or_else(|| {
        let reason = format!("its {name} is `{}`, expected are seconds, 0 to {MAX_SECONDS}", shown(field));
        FormatError { line, reason }
    })
}

/// A span from one time to another, in seconds, to the nearest sample.
pub fn span(start: f64, end: f64) -> TimeSpan {
    TimeSpan::new(seconds_to_samples(start), seconds_to_samples(end))
}

/// A field as a message may repeat it: neither long nor with control characters.
pub fn shown(field: &str) -> String {
    field.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

/// The number of `name`, in order of first appearance.
///
/// # Errors
/// When there are too many.
pub fn number(line: usize, names: &mut Vec<String>, name: &str) -> Result<u32, FormatError> {
    let known = names.iter().position(|other| other == name);
    if known.is_none() && names.len() == MAX_SPEAKERS {
        return Err(FormatError { line, reason: format!("there are more than {MAX_SPEAKERS} speakers") });
    }
    Ok(known.unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    }) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blank_lines_and_line_ends_of_any_system_are_taken() {
        let text = b"\xEF\xBB\xBFa b\r\n;; note\n# note\n\n  \tc\t d  \n";
        let read: Vec<_> = lines(text).collect::<Result<_, _>>().unwrap();
        assert_eq!(
            read.iter().map(|(_, fields)| fields.clone()).collect::<Vec<_>>(),
            [["a", "b"], ["c", "d"]]
        );
    }

    #[test]
    fn times_that_are_no_seconds_are_refused() {
        for field in ["", "x", "-0.1", "NaN", "inf", "1e99"] {
            assert!(seconds(3, "start", field).is_err(), "{field}");
        }
        assert_eq!(seconds(3, "start", "1.5"), Ok(1.5));
    }
}
