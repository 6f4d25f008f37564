//! UEM, the field's form of what is to be scored: `recording channel start end`, in seconds. Pure.

use super::lines::{FormatError, lines, seconds, span};
use super::regions;
use crate::time::TimeSpan;

/// What is to be scored of `recording`, disjoint and in order, of a file that holds one or several; the only one may
/// have any name. `None` where a file has nothing to say of it.
///
/// # Errors
/// For a line with a field missing, or an end before its start, with its number.
pub fn read(bytes: &[u8], recording: &str) -> Result<Option<Vec<TimeSpan>>, FormatError> {
    let mut spans: Vec<(&str, TimeSpan)> = Vec::new();
    for line in lines(bytes) {
        let (line, fields) = line?;
        let [name, _, start, end, ..] = fields[..] else {
            let reason = format!("a region has 4 fields, this one {}", fields.len());
            return Err(FormatError { line, reason });
        };
        let (start, end) = (seconds(line, "start", start)?, seconds(line, "end", end)?);
        if end < start {
            return Err(FormatError { line, reason: format!("it ends at {end} and starts at {start}") });
        }
        spans.push((name, span(start, end)));
    }
    let alone = spans.iter().all(|(name, _)| *name == spans[0].0);
    let wanted: Vec<_> =
        spans.into_iter().filter(|(name, _)| alone || *name == recording).map(|(_, span)| span).collect();
    Ok((!wanted.is_empty()).then(|| regions::joined(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_of_one_recording_are_put_in_order_and_joined() {
        let text = "a 1 5 6\nb 1 0 9\na 1 0 1.5\na 1 1 2\n";
        let regions = read(text.as_bytes(), "a").unwrap().unwrap();
        assert_eq!(regions, [TimeSpan::new(0, 32_000), TimeSpan::new(80_000, 96_000)]);
        assert_eq!(read(text.as_bytes(), "c"), Ok(None));
        assert_eq!(read(b"x NA 0 1", "c").unwrap().unwrap(), [TimeSpan::new(0, 16_000)]);
        assert_eq!(read(b"", "c"), Ok(None));
    }

    #[test]
    fn errors_name_their_line() {
        assert_eq!(
            read(b"a 1 0 1\na 1 2 1\n", "a").unwrap_err().to_string(),
            "line 2: it ends at 1 and starts at 2"
        );
        assert_eq!(
            read(b"a 1 0\n", "a").unwrap_err().to_string(),
            "line 1: a region has 4 fields, this one 3"
        );
    }
}
