//! Mends damaged Ogg pages.
//!
//! A reader refuses a page whose checksum is wrong, and a whole file whose first pages are. The codecs do
//! better with a damaged packet than with none, so such pages get the checksum of what they hold.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::checksum::Crc32;
use symphonia::core::io::Monitor;

use super::source;

const MARK: &[u8; 4] = b"OggS";

/// Bytes of a page before its table of segments, and the place of the checksum among them.
const HEADER_BYTES: usize = 27;
const CHECKSUM_AT: usize = 22;

/// Damaged pages mended in one file; with more there is little to be saved.
const MAX_PATCHES: usize = 100_000;

/// Checksums to be read in place of wrong ones, by offset.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn mend(file: &mut (impl Read + Seek)) -> io::Result<Vec<(u64, [u8; 4])>> {
    let mut patches = Vec::new();
    let mut page = Vec::new();
    let mut at = 0;
    while patches.len() < MAX_PATCHES {
        file.seek(SeekFrom::Start(at))?;
        if !read_page(file, &mut page)? {
            // Cut off here, or damage in the header: go on with the next page, if there is one.
            match source::find(file, MARK, at + 1, u64::MAX)? {
                Some(next) => at = next,
                None => break,
            }
            continue;
        }
        let stated = [page[CHECKSUM_AT], page[CHECKSUM_AT + 1], page[CHECKSUM_AT + 2], page[CHECKSUM_AT + 3]];
        page[CHECKSUM_AT..CHECKSUM_AT + 4].fill(0);
        let mut checksum = Crc32::new(0);
        checksum.process_buf_bytes(&page);
        let right = checksum.crc().to_le_bytes();
        if right != stated {
            patches.push((at + CHECKSUM_AT as u64, right));
        }
        at += page.len() as u64;
    }
    Ok(patches)
}

/// Replaces `page` by the page at the current place; `false` when there is no whole one.
fn read_page(file: &mut impl Read, page: &mut Vec<u8>) -> io::Result<bool> {
    page.clear();
    let mut read = |page: &mut Vec<u8>, count: usize| -> io::Result<bool> {
        Ok(file.by_ref().take(count as u64).read_to_end(page)? == count)
    };
    if !read(page, HEADER_BYTES)? || !page.starts_with(MARK) {
        return Ok(false);
    }
    let segments = usize::from(page[HEADER_BYTES - 1]);
    if !read(page, segments)? {
        return Ok(false);
    }
    let body = page[HEADER_BYTES..].iter().map(|&length| usize::from(length)).sum();
    read(page, body)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn page(body: &[u8], checksum: [u8; 4]) -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        bytes.extend([0; 18]);
        bytes.extend(checksum);
        bytes.extend([1, body.len() as u8]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn only_pages_with_a_wrong_checksum_are_patched() {
        let wrong = page(b"hello", [0; 4]);
        let patches = mend(&mut Cursor::new(&wrong)).unwrap();
        let right = page(b"hello", patches[0].1);
        assert_eq!(patches, [(22, patches[0].1)]);
        let file = [&right[..], b"junk", &wrong, &right].concat();
        let expected = (right.len() + 4 + 22) as u64;
        assert_eq!(mend(&mut Cursor::new(file)).unwrap(), [(expected, patches[0].1)]);
    }

    #[test]
    fn a_cut_page_is_left_alone() {
        let whole = page(b"hello", [0; 4]);
        for end in 0..whole.len() {
            assert_eq!(mend(&mut Cursor::new(&whole[..end])).unwrap(), []);
        }
    }
}
