//! What the bytes of a Matroska or WebM file say that its reader does not (RFC 9559).

use std::fs::File;
use std::io;
use std::path::Path;

use super::source;

/// First bytes of every Matroska file: the EBML header's identifier.
const HEADER: &[u8] = b"\x1a\x45\xdf\xa3";

/// Identifiers of the element around everything, and of the elements that hold a few seconds each.
const SEGMENT: &[u8; 4] = b"\x18\x53\x80\x67";
const CLUSTER: &[u8; 4] = b"\x1f\x43\xb6\x75";

/// How far into a file its first cluster is looked for.
const MAX_HEAD_BYTES: u64 = 16 << 20;

/// Whether `head` starts a Matroska or WebM file.
pub(super) fn is_matroska(head: &[u8]) -> bool {
    head.starts_with(HEADER)
}

/// Whether `head` is of a file whose size was left open, as browsers and live encoders do; such a file has
/// no marked end.
pub(super) fn is_open_ended(head: &[u8]) -> bool {
    if !is_matroska(head) {
        return false;
    }
    let Some(at) = head.windows(SEGMENT.len()).position(|bytes| bytes == SEGMENT) else { return false };
    let Some((&first, rest)) = head[at + SEGMENT.len()..].split_first() else { return false };
    // A size of n bytes starts with n-1 zero bits and a one; all value bits set means unknown.
    let more = first.leading_zeros() as usize;
    let value_bits = 0xff_u8.checked_shr(more as u32 + 1).unwrap_or(0);
    first & value_bits == value_bits && rest.len() >= more && rest[..more].iter().all(|&byte| byte == 0xff)
}

/// The part of the file to leave out so that reading goes on with the first cluster at or after `from`;
/// `None` when there is no further cluster.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn hole_before_next_cluster(path: &Path, from: u64) -> io::Result<Option<(u64, u64)>> {
    let mut file = File::open(path)?;
    let Some(first) = source::find(&mut file, CLUSTER, 0, MAX_HEAD_BYTES)? else { return Ok(None) };
    let next = source::find(&mut file, CLUSTER, from.max(first + 1), u64::MAX)?;
    Ok(next.map(|next| (first, next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_ended_file_is_told_from_a_sized_one() {
        let with_size = |size: &[u8]| [b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67", size].concat();
        assert!(is_open_ended(&with_size(b"\x01\xff\xff\xff\xff\xff\xff\xff\x15")));
        assert!(is_open_ended(&with_size(b"\xff\x15")));
        assert!(!is_open_ended(&with_size(b"\x01\x00\x00\x00\x00\x00\x10\x00\x15")));
        assert!(!is_open_ended(&with_size(b"\x01\xff")));
    }
}
