//! Recordings inside a text field, as `data:` URLs (RFC 2397). Pure.
//!
//! What such a URL says of its media type plays no part, as with files: the content decides. It must be in base64,
//! for bytes written as percent signs are no recording that any client sends.

use data_url::DataUrl;

/// Longest media type that is looked at, in bytes.
const MAX_HEAD: usize = 256;

/// Why a text is no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataUrlError {
    /// It begins otherwise.
    #[error("it does not begin with `data:`")]
    Scheme,
    /// Nothing separates the media type from the data, or only after more than any media type has.
    #[error("it has no comma between the media type and the data")]
    Comma,
    /// The data is not marked as base64.
    #[error("its data is not marked as `;base64`")]
    Encoding,
    /// The media type is of something that is neither audio nor video nor left open.
    #[error("its media type is not one of audio")]
    MediaType,
    /// The data holds something that base64 does not know, or ends in the middle.
    #[error("its data is not base64")]
    Base64,
    /// No data.
    #[error("it holds no data")]
    Empty,
}

/// The bytes of the recording that `text` holds; never more than three quarters of its length.
///
/// # Errors
/// When it is no `data:` URL of audio (or video, which may hold it) in base64.
pub fn recording(text: &str) -> Result<Vec<u8>, DataUrlError> {
    let text = text.trim();
    let is_data = text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    if !is_data {
        return Err(DataUrlError::Scheme);
    }
    // A parser that looks for the comma by itself reads megabytes as a media type where there is none.
    let comma = text.bytes().take(MAX_HEAD).position(|byte| byte == b',').ok_or(DataUrlError::Comma)?;
    let media = media_type(&text["data:".len()..comma]).ok_or(DataUrlError::Encoding)?;
    let url = DataUrl::process(text).map_err(|_| DataUrlError::Comma)?;
    let stated = url.mime_type();
    let is_open = stated.type_ == "application" && stated.subtype == "octet-stream";
    // Nothing is `text/plain` by the standard; clients that know no type write that.
    if !(stated.type_ == "audio" || stated.type_ == "video" || is_open || media.is_empty()) {
        return Err(DataUrlError::MediaType);
    }
    let (bytes, fragment) = url.decode_to_vec().map_err(|_| DataUrlError::Base64)?;
    match bytes.is_empty() {
        _ if fragment.is_some() => Err(DataUrlError::Base64),
        true => Err(DataUrlError::Empty),
        false => Ok(bytes),
    }
}

/// What stands before `;base64` in the head of a URL; `None` when that is not its end.
fn media_type(head: &str) -> Option<&str> {
    let split = head.trim_end_matches(' ').len().checked_sub("base64".len())?;
    let (media, mark) = (head.get(..split)?, head.get(split..)?.trim_end_matches(' '));
    let media = media.trim_end_matches(' ').strip_suffix(';')?;
    mark.eq_ignore_ascii_case("base64").then_some(media.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn recordings_come_in_every_spelling_of_base64() {
        for url in [
            "data:audio/wav;base64,UklGRg==",
            "data:audio/wav;base64,UklGRg",
            " data:audio/mpeg;base64,UklG\r\n Rg==\n",
            "DATA:Audio/X-Wav;codecs=1;BASE64,UklGRg%3D%3D",
            "data:video/mp4;base64,UklGRg==",
            "data:application/octet-stream;base64,UklGRg==",
            "data:;base64,UklGRg==",
        ] {
            assert_eq!(recording(url).as_deref(), Ok(&b"RIFF"[..]), "{url}");
        }
    }

    #[test]
    fn what_is_no_recording_is_told_apart() {
        for (text, expected) in [
            ("http://x/y.wav", DataUrlError::Scheme),
            ("", DataUrlError::Scheme),
            ("dat\u{e9}:", DataUrlError::Scheme),
            ("data:audio/wav;base64", DataUrlError::Comma),
            ("data:audio/wav,abc", DataUrlError::Encoding),
            ("data:,", DataUrlError::Encoding),
            ("data:<base64,\0\0\0", DataUrlError::Encoding),
            ("data:audio/base64,UklGRg==", DataUrlError::Encoding),
            ("data:text/html;base64,UklGRg==", DataUrlError::MediaType),
            ("data:audio/wav;base64,???", DataUrlError::Base64),
            ("data:audio/wav;base64,UklGR", DataUrlError::Base64),
            ("data:audio/wav;base64,UklGRg==#x", DataUrlError::Base64),
            ("data:audio/wav;base64,", DataUrlError::Empty),
        ] {
            assert_eq!(recording(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_comma_is_not_looked_for_in_megabytes() {
        let long = format!("data:{}", "x".repeat(4 << 20));
        assert_eq!(recording(&long), Err(DataUrlError::Comma));
    }

    proptest! {
        #[test]
        fn bytes_come_back_as_they_were(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            use base64::Engine;
            let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
            prop_assert_eq!(recording(&format!("data:audio/wav;base64,{text}")), Ok(bytes));
        }

        #[test]
        fn no_text_makes_the_parser_stumble(head in "[a-z;/= %é]{0,20}", data in "[A-Za-z0-9+/=% #é]{0,40}") {
            for text in [format!("data:{head},{data}"), format!("data:{head};base64,{data}"), data] {
                if let Ok(bytes) = recording(&text) {
                    prop_assert!(bytes.len() <= text.len() * 3 / 4);
                }
            }
        }
    }
}
