//! The edit lists of MP4 files: which part of a track is to be heard, and when.
//!
//! An AAC encoder puts a thousand or more samples of run-up before the sound; the edit list says how many.
//! Reads only the boxes on the way there (ISO/IEC 14496-12, 8.6.6), never the whole index.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

/// Boxes looked at in one file; real indexes have fewer than a few hundred.
const MAX_BOXES: usize = 100_000;

/// Error of a box that reaches past the end of what holds it.
const PAST_END: io::ErrorKind = io::ErrorKind::UnexpectedEof;

/// Entries read from one edit list.
const MAX_ENTRIES: u32 = 64;

/// The part of a track that is played, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edit {
    /// Silence before the track starts.
    pub(super) lead_s: f64,
    /// Start of the part within the track's media.
    pub(super) start_s: f64,
    /// Length of the part; `None` means to the end.
    pub(super) length_s: Option<f64>,
}

/// What the boxes of a file say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Index {
    /// The edits of all tracks that have a simple edit list (one part, perhaps after silence), by track id.
    pub(super) edits: HashMap<u32, Edit>,
    /// Whether the file ends inside a box.
    pub(super) is_cut: bool,
}

/// Reads the boxes of `file`. Whatever cannot be understood has no edit.
pub(super) fn inspect(file: &mut (impl Read + Seek)) -> Index {
    let mut walk =
        Walk { file, boxes_left: MAX_BOXES, movie_timescale: 0, tracks: Vec::new(), is_cut: false };
    // A damaged index ends the walk; what was found before is still good.
    let _ = walk.whole_file();
    let timescale = walk.movie_timescale;
    let edits = walk.tracks.iter().filter_map(|track| Some((track.id?, track.edit(timescale)?)));
    Index { edits: edits.collect(), is_cut: walk.is_cut }
}

#[derive(Default)]
struct TrackBoxes {
    id: Option<u32>,
    media_timescale: u32,
    /// Duration on the movie's clock, and start on the media's clock or -1.
    entries: Vec<(u64, i64)>,
}

impl TrackBoxes {
    fn edit(&self, movie_timescale: u32) -> Option<Edit> {
        if movie_timescale == 0 || self.media_timescale == 0 {
            return None;
        }
        let movie_s = |duration: u64| duration as f64 / f64::from(movie_timescale);
        let silent = self.entries.iter().take_while(|(_, start)| *start == -1).count();
        let [(length, start)] = self.entries[silent..] else { return None };
        Some(Edit {
            lead_s: self.entries[..silent].iter().map(|(duration, _)| movie_s(*duration)).sum(),
            start_s: u64::try_from(start).ok()? as f64 / f64::from(self.media_timescale),
            length_s: (length > 0).then(|| movie_s(length)),
        })
    }
}

struct Walk<'a, F> {
    file: &'a mut F,
    boxes_left: usize,
    movie_timescale: u32,
    tracks: Vec<TrackBoxes>,
    is_cut: bool,
}

impl<F: Read + Seek> Walk<'_, F> {
    fn whole_file(&mut self) -> io::Result<()> {
        let end = self.file.seek(SeekFrom::End(0))?;
        self.children(0, end).inspect_err(|error| self.is_cut = error.kind() == PAST_END)
    }

    /// Visits the boxes between two offsets, and those inside the ones that matter.
    fn children(&mut self, mut at: u64, end: u64) -> io::Result<()> {
        while at + 8 <= end {
            self.boxes_left = self.boxes_left.checked_sub(1).ok_or(io::ErrorKind::InvalidData)?;
            self.file.seek(SeekFrom::Start(at))?;
            let short_size = self.u32()?;
            let name: [u8; 4] = self.bytes()?;
            let (header, size) = match short_size {
                0 => (8, end - at),
                1 => (16, self.u64()?),
                size => (8, u64::from(size)),
            };
            let next = at.checked_add(size).filter(|&next| size >= header && next <= end);
            self.visit(name, at + header, next.unwrap_or(end))?;
            at = next.ok_or(PAST_END)?;
        }
        Ok(())
    }

    /// Reads the box `name` whose payload lies between two offsets; the file stands at its start.
    fn visit(&mut self, name: [u8; 4], start: u64, end: u64) -> io::Result<()> {
        match &name {
            b"moov" | b"mdia" | b"edts" => self.children(start, end)?,
            b"trak" => {
                self.tracks.push(TrackBoxes::default());
                self.children(start, end)?;
            }
            b"mvhd" => self.movie_timescale = self.full_box_times()?,
            b"mdhd" => {
                let timescale = self.full_box_times()?;
                self.track()?.media_timescale = timescale;
            }
            b"tkhd" => {
                let id = self.full_box_times()?;
                self.track()?.id = Some(id);
            }
            b"elst" => self.edit_list()?,
            _ => {}
        }
        Ok(())
    }

    fn track(&mut self) -> io::Result<&mut TrackBoxes> {
        self.tracks.last_mut().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Skips version, flags and the two dates; the number behind them is the time scale or the track's id.
    fn full_box_times(&mut self) -> io::Result<u32> {
        let [version, ..] = self.bytes::<4>()?;
        let dates = if version == 1 { 16 } else { 8 };
        self.file.seek_relative(dates)?;
        self.u32()
    }

    fn edit_list(&mut self) -> io::Result<()> {
        let [version, ..] = self.bytes::<4>()?;
        for _ in 0..self.u32()?.min(MAX_ENTRIES) {
            let entry = if version == 1 {
                (self.u64()?, self.u64()? as i64)
            } else {
                (u64::from(self.u32()?), i64::from(self.u32()? as i32))
            };
            self.file.seek_relative(4)?;
            self.track()?.entries.push(entry);
        }
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.bytes().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.bytes().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn boxed(name: &[u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32 + 8).to_be_bytes().to_vec();
        bytes.extend(name);
        bytes.extend(payload);
        bytes
    }

    /// A version 0 box: version, flags, two dates, and the number that matters.
    fn times(name: &[u8; 4], number: u32) -> Vec<u8> {
        boxed(name, &[&[0; 12][..], &number.to_be_bytes(), &[0; 8]].concat())
    }

    fn file_with(entries: &[(u32, i32)]) -> Vec<u8> {
        let mut list = [0_u32.to_be_bytes(), (entries.len() as u32).to_be_bytes()].concat();
        for (length, start) in entries {
            list.extend(length.to_be_bytes());
            list.extend(start.to_be_bytes());
            list.extend([0, 1, 0, 0]);
        }
        let track = [
            times(b"tkhd", 7),
            boxed(b"edts", &boxed(b"elst", &list)),
            boxed(b"mdia", &times(b"mdhd", 44_100)),
        ]
        .concat();
        let movie = [times(b"mvhd", 1_000), boxed(b"trak", &track)].concat();
        [boxed(b"ftyp", b"M4A "), boxed(b"mdat", &[0; 50]), boxed(b"moov", &movie)].concat()
    }

    fn edit_of(entries: &[(u32, i32)]) -> Option<Edit> {
        inspect(&mut Cursor::new(file_with(entries))).edits.get(&7).copied()
    }

    #[test]
    fn the_run_up_of_the_encoder_is_found() {
        let edit = edit_of(&[(6_131, 1_024)]).unwrap();
        assert_eq!(edit, Edit { lead_s: 0.0, start_s: 1_024.0 / 44_100.0, length_s: Some(6.131) });
    }

    #[test]
    fn an_empty_edit_is_silence_before_the_track() {
        let edit = edit_of(&[(500, -1), (0, 0)]).unwrap();
        assert_eq!(edit, Edit { lead_s: 0.5, start_s: 0.0, length_s: None });
    }

    #[test]
    fn lists_with_several_parts_are_left_alone() {
        assert_eq!(edit_of(&[(100, 0), (100, 44_100)]), None);
        assert_eq!(edit_of(&[]), None);
    }

    #[test]
    fn cut_and_garbled_files_have_no_edits() {
        let whole = file_with(&[(6_131, 1_024)]);
        for end in 0..whole.len() - 30 {
            inspect(&mut Cursor::new(&whole[..end]));
        }
        for at in 0..whole.len() {
            let mut garbled = whole.clone();
            garbled[at] ^= 0xff;
            inspect(&mut Cursor::new(garbled));
        }
        assert!(inspect(&mut Cursor::new(b"OggS and something else")).edits.is_empty());
    }

    #[test]
    fn a_file_that_ends_inside_a_box_is_cut() {
        let whole = file_with(&[(6_131, 1_024)]);
        assert!(!inspect(&mut Cursor::new(&whole)).is_cut);
        assert!(inspect(&mut Cursor::new(&whole[..40])).is_cut);
    }
}
