//! The plain text answer. Pure.

use std::io::{self, Write};

use super::reading::Reading;

/// The text of the transcript and a line feed; a lone line feed when nothing was said.
///
/// # Errors
/// What `out` gives.
pub fn text(reading: &Reading<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", reading.text())
}

#[cfg(test)]
mod tests {
    use super::super::samples::{segment, transcript};
    use crate::output::{RenderOptions, ResponseFormat, render};
    use crate::transcript::Transcript;

    fn text(transcript: &Transcript) -> String {
        render(transcript, ResponseFormat::Text, &RenderOptions::default()).body
    }

    #[test]
    fn text_is_trimmed_and_ends_with_one_line_feed() {
        let transcript = transcript(4.0, vec![segment(0.0, 2.0, " Grüße aus"), segment(2.0, 4.0, " 東京. ")]);
        assert_eq!(text(&transcript), "Grüße aus 東京.\n");
    }

    #[test]
    fn silence_gives_a_lone_line_feed() {
        assert_eq!(text(&transcript(1.0, Vec::new())), "\n");
    }
}
