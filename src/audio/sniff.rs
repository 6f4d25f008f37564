//! What a file is, by its first bytes. Pure: names and declared types play no part.

/// Bytes of the file's head that [`identify`] needs to see everything it knows.
pub(super) const HEAD_BYTES: usize = 4_096;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Possibly something that the built-in decoders open.
    Candidate,
    /// Audio or video that only ffmpeg opens, by name.
    Foreign(&'static str),
    /// No audio at all, by name.
    NotAudio(&'static str),
}

/// Offset, bytes there, and what they mean.
type Magic = (usize, &'static [u8], &'static str);

/// Audio and video containers without a built-in decoder, by magic bytes at an offset.
const FOREIGN: &[Magic] = &[
    (0, b"\x0b\x77", "AC-3 or E-AC-3"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (WMA, ASF)"),
    (0, b"#!AMR", "AMR"),
    (0, b".snd", "Sun audio (.au)"),
    (0, b"FLV\x01", "Flash video"),
    (0, b".RMF", "RealMedia"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"wvpk", "WavPack"),
    (0, b"TTA1", "True Audio"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"riff\x2e\x91\xcf\x11", "Sony Wave64"),
    (0, b"\x00\x00\x01\xba", "MPEG program stream"),
    (0, b"\x7f\xfe\x80\x01", "DTS"),
    (8, b"AVI ", "AVI video"),
    (28, b"Speex   ", "Speex"),
];

/// Files that people send by mistake, by magic bytes at an offset.
const NOT_AUDIO: &[Magic] = &[
    (0, b"PK\x03\x04", "a ZIP archive or an office document"),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (8, b"WEBP", "a WebP image"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftypheic", "a HEIC image"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"SQLite format 3\x00", "a database"),
];

/// Texts with a name of their own, by their first characters in lower case.
const TEXTS: &[(&str, &str)] = &[
    ("<!doctype html", "an HTML page"),
    ("<html", "an HTML page"),
    ("<?xml", "an XML document"),
    ("<svg", "an SVG image"),
    ("{", "a JSON document"),
    ("[{", "a JSON document"),
    ("#extm3u", "a playlist"),
    ("[playlist]", "a playlist"),
    ("ffconcat", "a playlist"),
    ("webvtt", "a subtitle file"),
    ("data:audio", "a base64 data URL; send the decoded bytes instead"),
];

/// Names the kind of a file from `head`, its first [`HEAD_BYTES`] bytes or fewer.
pub(super) fn identify(head: &[u8]) -> Kind {
    if let Some(name) = named(NOT_AUDIO, head) {
        return Kind::NotAudio(name);
    }
    if let Some(name) = text_kind(head) {
        return Kind::NotAudio(name);
    }
    if let Some(name) = named(FOREIGN, head) {
        return Kind::Foreign(name);
    }
    if is_transport_stream(head) {
        return Kind::Foreign("MPEG transport stream");
    }
    Kind::Candidate
}

/// The name of the first entry of `table` whose magic bytes `head` has.
fn named(table: &[Magic], head: &[u8]) -> Option<&'static str> {
    let has = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    table.iter().find(|(at, magic, _)| has(*at, magic)).map(|(_, _, name)| *name)
}

/// A name for `head` if it is text.
fn text_kind(head: &[u8]) -> Option<&'static str> {
    let body = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let start = body[..body.len().min(64)].to_ascii_lowercase();
    if let Some((_, name)) = TEXTS.iter().find(|(prefix, _)| start.starts_with(prefix.as_bytes())) {
        return Some(name);
    }
    let text = match str::from_utf8(head) {
        Ok(text) => text,
        // The head may end inside a character.
        Err(error) if error.error_len().is_none() => str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    (!text.is_empty() && text.chars().all(is_text)).then_some("a text file")
}

/// Whether a sync byte comes every 188 bytes, or every 192 behind a four-byte time stamp.
fn is_transport_stream(head: &[u8]) -> bool {
    let every = |first: usize, step: usize| {
        (0..5).all(|packet| head.get(first + packet * step).is_some_and(|&byte| byte == 0x47))
    };
    every(0, 188) || every(4, 192)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_that_the_built_in_decoders_may_open_are_candidates() {
        let heads: [&[u8]; 6] = [
            b"RIFF\x24\x00\x00\x00WAVEfmt ",
            b"fLaC\x00\x00\x00\x22",
            b"OggS\x00\x02",
            b"\x00\x00\x00\x20ftypisom\x00\x00",
            b"\x1a\x45\xdf\xa3\x9f\x42",
            b"ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb",
        ];
        for head in heads {
            assert_eq!(identify(head), Kind::Candidate, "{head:?}");
        }
    }

    #[test]
    fn foreign_audio_is_named() {
        assert_eq!(identify(b"#!AMR\n\x04\x0b\x90"), Kind::Foreign("AMR"));
        assert_eq!(identify(b"RIFF\x24\x00\x00\x00AVI LIST"), Kind::Foreign("AVI video"));
        let mut stream = vec![0xab; 1_000];
        stream.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
        assert_eq!(identify(&stream), Kind::Foreign("MPEG transport stream"));
    }

    #[test]
    fn files_that_are_not_audio_are_named() {
        assert_eq!(identify(b"PK\x03\x04\x14\x00"), Kind::NotAudio("a ZIP archive or an office document"));
        assert_eq!(identify(b"\xef\xbb\xbf\n <!DOCTYPE html>"), Kind::NotAudio("an HTML page"));
        assert_eq!(identify(br#"{"error": 1}"#), Kind::NotAudio("a JSON document"));
        assert_eq!(identify("Grüße, cut in the middle of ü".as_bytes()), Kind::NotAudio("a text file"));
        assert_eq!(identify(&"Grüße".as_bytes()[..3]), Kind::NotAudio("a text file"));
    }

    #[test]
    fn a_playlist_is_refused_even_with_binary_behind_it() {
        assert_eq!(identify(b"#EXTM3U\n\x00\xff\xfe"), Kind::NotAudio("a playlist"));
    }

    #[test]
    fn no_bytes_are_no_kind() {
        assert_eq!(identify(b""), Kind::Candidate);
    }
}
