//! One event, one line: whatever a value holds, it cannot end its line in the log, move the cursor of a terminal that
//! shows it, or turn its direction around.
//!
//! Values that clients choose are escaped where they are logged; this holds for those that are not, such as an
//! error of a library that repeats its input.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Standard error for text, to which each call writes one event.
pub struct OneLine {
    /// Whether the formatter colours its lines, so that escape sequences are its own. It escapes those of values itself.
    pub is_coloured: bool,
}

impl Write for OneLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        // The lock keeps events of other threads out.
        io::stderr().lock().write_all(&one_line(event, self.is_coloured))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// `event` without its control characters, but for a line feed at its end.
fn one_line(event: &[u8], is_coloured: bool) -> Cow<'_, [u8]> {
    let body = event.strip_suffix(b"\n").unwrap_or(event);
    let garbles = |c: char| is_garbling(c) && !(is_coloured && c == '\u{1b}');
    let text = String::from_utf8_lossy(body);
    if matches!(text, Cow::Borrowed(_)) && !text.contains(garbles) {
        return Cow::Borrowed(event);
    }
    let mut line = String::with_capacity(event.len() + 16);
    for character in text.chars() {
        if garbles(character) {
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    Cow::Owned(line.into_bytes())
}

/// Characters that break lines, command terminals or turn the direction of text around.
fn is_garbling(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(event: &str, is_coloured: bool) -> String {
        String::from_utf8(one_line(event.as_bytes(), is_coloured).into_owned()).unwrap()
    }

    #[test]
    fn an_ordinary_event_is_written_as_it_is() {
        assert!(matches!(one_line("INFO größe=3 東京\n".as_bytes(), false), Cow::Borrowed(_)));
    }

    #[test]
    fn a_value_cannot_begin_a_line() {
        assert_eq!(line("WARN a\nINFO forged\r\n", false), "WARN a\\nINFO forged\\r\n");
        assert_eq!(line("a\u{2028}b\u{202e}c\u{85}d", false), "a\\u{2028}b\\u{202e}c\\u{85}d\n");
    }

    #[test]
    fn only_the_formatter_may_colour() {
        assert_eq!(line("\u{1b}[2J\n", false), "\\u{1b}[2J\n");
        assert_eq!(line("\u{1b}[32mINFO\u{1b}[0m a\nb\n", true), "\u{1b}[32mINFO\u{1b}[0m a\\nb\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_line(event in prop::collection::vec(any::<u8>(), 0..60)) {
            let line = String::from_utf8(one_line(&event, false).into_owned()).unwrap();
            prop_assert!(!line.trim_end_matches('\n').contains(is_garbling));
            prop_assert!(line.matches('\n').count() <= 1);
        }
    }
}
