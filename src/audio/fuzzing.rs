//! A door for the fuzz targets to what reads a file before any decoder does. Built with the feature `fuzzing` only.

use std::io::Cursor;

use super::{aac, id3, matroska, mp4, ogg, sniff, wav};

/// Lets everything that looks at a file's own bytes look at `bytes`.
///
/// # Panics
/// When a promise is broken that readers rely on.
pub fn look(bytes: &[u8]) {
    let head = &bytes[..bytes.len().min(sniff::HEAD_BYTES)];
    sniff::identify(head);
    matroska::is_open_ended(head);
    aac::low_complexity_core(bytes);
    let start = id3::end_of_tags(&mut Cursor::new(bytes)).expect("memory can be read");
    assert!(start == 0 || start < bytes.len() as u64, "{start}");
    let wav = wav::inspect(&mut Cursor::new(bytes)).expect("memory can be read");
    let pages = ogg::mend(&mut Cursor::new(bytes)).expect("memory can be read");
    let patches = wav.map(|wav| wav.mend.patches).unwrap_or_default();
    for patches in [patches, pages] {
        // A reader finds its patches by bisection.
        assert!(patches.windows(2).all(|pair| pair[0].0 + 4 <= pair[1].0), "patches overlap: {patches:?}");
    }
    for edit in mp4::inspect(&mut Cursor::new(bytes)).edits.values() {
        let times = [Some(edit.lead_s), Some(edit.start_s), edit.length_s];
        assert!(times.iter().flatten().all(|time| time.is_finite() && *time >= 0.0), "{edit:?}");
    }
}
