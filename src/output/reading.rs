//! A transcript as it is read for an answer: from its start, as often as the answer's form asks.
//!
//! The segments of a long one come from a file, and reading may fail in the middle of a list or a string, where
//! serialisers know no such errors. So passes end there, and `end` tells why once the answer is written.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::io;

use serde::{Serialize, Serializer};

use crate::transcript::{Segment, Transcript};

use super::labels::Labels;
use super::pieces::Trimmer;

/// One transcript, read pass by pass.
pub struct Reading<'a> {
    /// What is read.
    pub transcript: &'a Transcript,
    /// What its speakers are called.
    pub labels: Labels,
    failure: RefCell<Option<io::Error>>,
}

impl<'a> Reading<'a> {
    /// Nothing is read yet.
    pub fn new(transcript: &'a Transcript) -> Self {
        let labels = Labels::new(&transcript.speakers, &transcript.known_names);
        Self { transcript, labels, failure: RefCell::new(None) }
    }

    /// The segments in order, up to the first that cannot be read.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'a, Segment>> {
        self.transcript.segments.iter().map_while(|read| match read {
            Ok(segment) => Some(segment),
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
                None
            }
        })
    }

    /// The text of all segments, trimmed at both ends; not held in memory.
    pub fn text(&self) -> Text<'_> {
        Text(self)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When a pass broke off: what was written is not the answer.
    pub fn end(self) -> io::Result<()> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }
}

/// The whole text, written segment by segment.
pub struct Text<'a>(&'a Reading<'a>);

impl fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut trimmer = Trimmer::default();
        self.0.segments().try_for_each(|segment| out.write_str(&trimmer.push_text(&segment.text)))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{segment, transcript};
    use super::*;

    #[test]
    fn text_written_in_pieces_equals_the_text_at_once() {
        let transcript =
            transcript(9.0, vec![segment(0.0, 2.0, "  \"Grüße\" "), segment(2.0, 4.0, " 東京.\n ")]);
        let reading = Reading::new(&transcript);
        assert_eq!(reading.text().to_string(), transcript.text());
        assert_eq!(
            serde_json::to_string(&reading.text()).unwrap(),
            serde_json::to_string(&transcript.text()).unwrap()
        );
        reading.end().unwrap();
    }
}
