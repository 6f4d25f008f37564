//! The tags in front of a recording (ID3v2, id3.org): titles, and pictures of any size, which a reader would hold in memory.

use std::io::{self, Read, Seek, SeekFrom};

const MARK: &[u8; 3] = b"ID3";

/// Bytes of a tag's header, and of the footer that it may announce.
const HEADER_BYTES: u64 = 10;

/// Flag of a tag with a footer.
const HAS_FOOTER: u8 = 0x10;

/// Tags looked at; some programs put a second one in front of the first.
const MAX_TAGS: usize = 8;

/// Offset behind the tags in front of `file`; 0 when there are none, or the file ends within them.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn end_of_tags(file: &mut (impl Read + Seek)) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut at = 0;
    for _ in 0..MAX_TAGS {
        file.seek(SeekFrom::Start(at))?;
        let mut header = Vec::new();
        file.by_ref().take(HEADER_BYTES).read_to_end(&mut header)?;
        match tag_bytes(&header) {
            Some(bytes) => at += bytes,
            None => break,
        }
    }
    Ok(if at < length { at } else { 0 })
}

/// Bytes of the tag that begins with `header`, all parts counted.
fn tag_bytes(header: &[u8]) -> Option<u64> {
    let [_, _, _, major, minor, flags, size @ ..] = header else { return None };
    // Versions are never 0xff, and the bytes of the size have seven bits each.
    let is_tag = header.starts_with(MARK) && *major < 0xff && *minor < 0xff;
    let is_size = size.len() == 4 && size.iter().all(|byte| *byte < 0x80);
    let size = size.iter().fold(0, |size, byte| size << 7 | u64::from(*byte));
    let footer = if flags & HAS_FOOTER == 0 { 0 } else { HEADER_BYTES };
    (is_tag && is_size).then_some(HEADER_BYTES + size + footer)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn end(parts: &[&[u8]]) -> u64 {
        end_of_tags(&mut Cursor::new(parts.concat())).unwrap()
    }

    const TAG: &[u8] = b"ID3\x03\x00\x00\x00\x00\x00\x04text";

    #[test]
    fn sound_begins_behind_all_tags() {
        assert_eq!(end(&[TAG, b"\xff\xfb"]), 14);
        assert_eq!(end(&[TAG, TAG, b"\xff\xfb"]), 28);
        assert_eq!(
            end(&[b"ID3\x04\x00\x10\x00\x00\x00\x04text3DI\x04\x00\x10\x00\x00\x00\x04", b"\xff"]),
            24
        );
        assert_eq!(end(&[b"ID3\x03\x00\x00\x00\x00\x02\x00", &[0; 256], b"\xff\xfb"]), 266);
    }

    #[test]
    fn what_is_no_whole_tag_is_left_to_the_reader() {
        for parts in
            [&[TAG][..], &[&TAG[..12]], &[b"fLaC"], &[b""], &[b"ID3\x03\x00\x00\x00\x00\x80\x00", &[0; 300]]]
        {
            assert_eq!(end(parts), 0, "{parts:?}");
        }
        assert_eq!(end(&[b"ID3\xff\x00\x00\x00\x00\x00\x00", b"x"]), 0);
    }
}
