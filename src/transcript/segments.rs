//! The segments of a transcript: in memory while they are few, in a temporary file beyond that.
//!
//! A day of speech has 200 000 words, each with its times and tokens. They are written once, in order, and read
//! in order, several times when an answer lists text, segments and words one after the other; so a file that
//! is only appended to and read from its start does.

use std::borrow::Cow;
use std::io::{self, BufReader, Read};

use crate::scratch::{Scratch, ScratchFile};

use super::{Segment, Token, Word};

/// Memory for segments, in bytes; about an hour of speech with words. Beyond that they go to the file.
const KEPT_BYTES: usize = 1 << 20;

/// Bytes fetched from the file at a time.
const READ_BYTES: usize = 64 << 10;

/// Recognised segments in order.
#[derive(Debug, Default)]
pub struct Segments {
    /// Those before `recent`, once there were too many.
    spilled: Option<Spill>,
    recent: Vec<Segment>,
    /// Memory that `recent` takes.
    recent_bytes: usize,
    /// Where the file is made; `None` keeps everything in memory.
    scratch: Option<Scratch>,
}

impl Segments {
    /// No segments yet; what does not fit in about a megabyte goes to a temporary file.
    pub fn spilling_into(scratch: &Scratch) -> Self {
        Self { scratch: Some(scratch.clone()), ..Self::default() }
    }

    /// Appends `segment`.
    ///
    /// # Errors
    /// When there is no room, as a `ScratchError` inside.
    pub fn push(&mut self, segment: Segment) -> io::Result<()> {
        self.recent_bytes += memory_of(&segment);
        self.recent.push(segment);
        if self.recent_bytes <= KEPT_BYTES {
            return Ok(());
        }
        if let Some(scratch) = &self.scratch {
            if self.spilled.is_none() {
                self.spilled = Some(Spill::create(scratch)?);
            }
            if let Some(spill) = &mut self.spilled {
                spill.append(&self.recent)?;
                self.recent.clear();
                self.recent_bytes = 0;
            }
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.spilled.as_ref().map_or(0, |spill| spill.count) + self.recent.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all are in memory, so that reading cannot fail.
    pub fn is_in_memory(&self) -> bool {
        self.spilled.is_none()
    }

    /// All in order. After an error there are no more.
    pub fn iter(&self) -> impl Iterator<Item = io::Result<Cow<'_, Segment>>> {
        let spilled = self.spilled.iter().flat_map(|spill| spill.iter().map(|read| read.map(Cow::Owned)));
        let mut failed = false;
        spilled.chain(self.recent.iter().map(|segment| Ok(Cow::Borrowed(segment)))).take_while(move |read| {
            let goes_on = !failed;
            failed |= read.is_err();
            goes_on
        })
    }

    /// A copy of all in memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn to_vec(&self) -> io::Result<Vec<Segment>> {
        self.iter().map(|read| read.map(Cow::into_owned)).collect()
    }
}

impl From<Vec<Segment>> for Segments {
    fn from(segments: Vec<Segment>) -> Self {
        let recent_bytes = segments.iter().map(memory_of).sum();
        Self { recent: segments, recent_bytes, ..Self::default() }
    }
}

/// Memory that a segment takes, about.
fn memory_of(segment: &Segment) -> usize {
    let tokens: usize = segment.tokens.iter().map(|token| size_of::<Token>() + token.bytes.len()).sum();
    let words: usize = segment.words.iter().map(|word| size_of::<Word>() + word.text.len()).sum();
    size_of::<Segment>() + segment.text.len() + tokens + words
}

/// Segments in a file: for each its length in bytes (32 bits, little-endian), then itself in postcard's format.
#[derive(Debug)]
struct Spill {
    file: ScratchFile,
    bytes: u64,
    count: usize,
}

impl Spill {
    fn create(scratch: &Scratch) -> io::Result<Self> {
        Ok(Self { file: scratch.unnamed()?, bytes: 0, count: 0 })
    }

    fn append(&mut self, segments: &[Segment]) -> io::Result<()> {
        let mut encoded = Vec::new();
        for segment in segments {
            let bytes = postcard::to_stdvec(segment).map_err(io::Error::other)?;
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            encoded.extend_from_slice(&length.to_le_bytes());
            encoded.extend_from_slice(&bytes);
        }
        self.file.write_all_at(&encoded, self.bytes)?;
        self.bytes += encoded.len() as u64;
        self.count += segments.len();
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = io::Result<Segment>> {
        let part = Part { file: &self.file, at: 0, end: self.bytes };
        let mut reader = BufReader::with_capacity(READ_BYTES, part);
        let mut encoded = Vec::new();
        (0..self.count).map(move |_| {
            let mut length = [0; 4];
            reader.read_exact(&mut length)?;
            encoded.resize(u32::from_le_bytes(length) as usize, 0);
            reader.read_exact(&mut encoded)?;
            postcard::from_bytes(&encoded).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        })
    }
}

/// A part of a file as a reader with a place of its own, so that several can read at once.
struct Part<'a> {
    file: &'a ScratchFile,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::TimeSpan;
    use crate::transcript::SpeakerId;
    use proptest::prelude::*;
    use std::path::Path;

    prop_compose! {
        fn span()(start: u64, length in 0_u64..1_000_000) -> TimeSpan {
            TimeSpan::new(start, start.saturating_add(length))
        }
    }

    prop_compose! {
        fn word()(
            text in "\\PC{0,12}", span in span(), probability in 0_f32..=1.0,
            speaker in prop::option::of(any::<u32>()), overlapped: bool,
        ) -> Word {
            Word { text, span, probability, speaker: speaker.map(SpeakerId), overlapped }
        }
    }

    prop_compose! {
        fn token()(id: i32, bytes in prop::collection::vec(any::<u8>(), 0..8), logprob in -50_f32..=0.0) -> Token {
            Token { id, bytes, logprob }
        }
    }

    prop_compose! {
        fn segment()(
            span in span(), text in "\\PC{0,200}", tokens in prop::collection::vec(token(), 0..40),
            words in prop::collection::vec(word(), 0..20), seek: u64,
            numbers in prop::array::uniform4(prop_oneof![
                Just(f32::INFINITY), Just(f32::NEG_INFINITY), -100_f32..100.0,
            ]),
            speaker in prop::option::of(any::<u32>()), overlapped: bool,
        ) -> Segment {
            let [temperature, avg_logprob, compression_ratio, no_speech_prob] = numbers;
            Segment {
                span, text, tokens, words, seek, temperature, avg_logprob, compression_ratio, no_speech_prob,
                speaker: speaker.map(SpeakerId), overlapped,
            }
        }
    }

    /// What `segments` look like after being stored, `per_spill` at a time.
    fn stored(segments: &[Segment], per_spill: usize) -> Segments {
        let mut spill = Spill::create(&Scratch::default()).unwrap();
        let whole = segments.len() / per_spill * per_spill;
        for part in segments[..whole].chunks(per_spill) {
            spill.append(part).unwrap();
        }
        let recent = segments[whole..].to_vec();
        Segments { spilled: Some(spill), recent, recent_bytes: 0, scratch: None }
    }

    proptest! {
        #[test]
        fn what_is_stored_comes_back_exactly(
            segments in prop::collection::vec(segment(), 0..40), per_spill in 1_usize..12,
        ) {
            let stored = stored(&segments, per_spill);
            prop_assert_eq!(stored.len(), segments.len());
            prop_assert_eq!(&stored.to_vec().unwrap(), &segments);
            prop_assert_eq!(&stored.to_vec().unwrap(), &segments, "and again");
        }
    }

    fn long_segment(number: u64) -> Segment {
        let span = TimeSpan::new(number * 16_000, number * 16_000 + 8_000);
        let text = format!(" number {number} {}", "x".repeat(1_000));
        Segment { span, text, ..Segment::default() }
    }

    #[test]
    fn many_segments_leave_memory_without_a_trace_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let mut segments = Segments::spilling_into(&Scratch::within(folder.path()));
        for number in 0..5_000 {
            segments.push(long_segment(number)).unwrap();
            assert!(segments.recent_bytes <= KEPT_BYTES);
        }
        assert!(!segments.is_in_memory());
        assert_eq!(segments.len(), 5_000);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(segments.iter().map(Result::unwrap).zip(0..).all(|(read, n)| *read == long_segment(n)));
    }

    #[test]
    fn few_segments_stay_in_memory() {
        let mut segments = Segments::spilling_into(&Scratch::within(Path::new("/nonexistent/folder")));
        segments.push(long_segment(1)).unwrap();
        assert!(segments.is_in_memory() && !segments.is_empty());
    }

    #[test]
    fn a_folder_that_takes_no_file_is_an_error_and_no_panic() {
        let mut segments = Segments::spilling_into(&Scratch::within(Path::new("/nonexistent/folder")));
        let result = (0..5_000).try_for_each(|number| segments.push(long_segment(number)));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_that_has_lost_its_end_gives_one_error_and_then_nothing() {
        let segments = stored(&[long_segment(0), long_segment(1), long_segment(2)], 1);
        let spill = segments.spilled.as_ref().unwrap();
        spill.file.file().set_len(spill.bytes / 2).unwrap();
        let read: Vec<_> = segments.iter().collect();
        assert_eq!(read.len(), 2);
        assert!(read[0].is_ok() && read[1].is_err());
        assert!(segments.to_vec().is_err());
    }
}
