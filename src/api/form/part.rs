//! Multipart headers as real clients write them. Pure.
//!
//! The boundary may be quoted or hold characters that the media type grammar forbids outside quotes; names
//! may come unquoted; file names hold Windows paths, raw UTF-8 or worse. The multipart parser is strict about
//! all of that, so these headers are read here and handed to it in canonical form.

use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::api::error::{ApiError, shown};

/// Longest boundary; RFC 2046 allows 70.
const MAX_BOUNDARY: usize = 200;
/// Longest label, in characters.
const MAX_LABEL: usize = 255;

/// The names in a part's `Content-Disposition`.
#[derive(Debug, PartialEq, Eq)]
pub struct Disposition {
    /// Name of the field.
    pub name: String,
    /// Name of the file, as the client wrote it.
    pub filename: Option<String>,
}

/// The request's content type, rewritten for the multipart parser. It says `multipart/mixed`, under which
/// the parser leaves the parts' own headers alone.
///
/// # Errors
/// 400 when the body is not a form.
pub fn boundary(headers: &HeaderMap) -> Result<HeaderMap, ApiError> {
    let value = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let value = value.ok_or_else(|| not_a_form("it has no Content-Type"))?;
    let (media_type, rest) = value.split_once(';').unwrap_or((&value, ""));
    if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(not_a_form(&format!("its Content-Type is `{}`", shown(media_type.trim()))));
    }
    let boundary = parameters(rest).find(|(name, _)| name.eq_ignore_ascii_case("boundary"));
    let boundary = boundary.map(|(_, boundary)| boundary).unwrap_or_default();
    let is_sound = (1..=MAX_BOUNDARY).contains(&boundary.len())
        && boundary.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\');
    if !is_sound {
        return Err(not_a_form("its Content-Type has no usable boundary"));
    }
    let canonical = HeaderValue::from_str(&format!("multipart/mixed; boundary=\"{boundary}\""));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, canonical.map_err(|_| not_a_form("its boundary is not plain text"))?);
    Ok(headers)
}

fn not_a_form(reason: &str) -> ApiError {
    ApiError::form(format!("the body must be multipart/form-data with a `file` and a `model`, but {reason}"))
}

/// Reads a part's `Content-Disposition`; `None` when it names no field.
pub fn disposition(value: &HeaderValue) -> Option<Disposition> {
    let value = String::from_utf8_lossy(value.as_bytes());
    let (kind, rest) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let (mut name, mut filename) = (None, None);
    for (key, value) in parameters(rest) {
        match key.to_ascii_lowercase().as_str() {
            "name" => name = name.or(Some(value)),
            "filename" => filename = filename.or(Some(value)),
            _ => {}
        }
    }
    Some(Disposition { name: name.filter(|name| !name.is_empty())?, filename })
}

/// The `key=value` pairs of a header after its first semicolon; values unquoted. Anything else is passed
/// over.
fn parameters(text: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start_matches([';', ' ', '\t']);
            if rest.is_empty() {
                return None;
            }
            let Some(end) = rest.find([';', '=']) else {
                rest = "";
                continue;
            };
            let key = rest[..end].trim();
            if rest.as_bytes()[end] == b';' {
                rest = &rest[end..];
                continue;
            }
            let (value, after) = parameter_value(rest[end + 1..].trim_start());
            rest = after;
            return Some((key, value));
        }
    })
}

/// A quoted or bare value and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match (character, characters.peek()) {
            ('"', _) => return (value, &quoted[at + 1..]),
            // Only these two are escaped in practice: clients write Windows paths with single backslashes.
            ('\\', Some(&(_, escaped @ ('"' | '\\')))) => {
                characters.next();
                value.push(escaped);
            }
            _ => value.push(character),
        }
    }
    (value, "")
}

/// A file name as a label: its last part, without control characters, of bounded length.
pub fn label(filename: &str) -> Option<String> {
    let last = filename.rsplit(['/', '\\']).next().unwrap_or_default();
    let label: String = last.chars().filter(|c| !c.is_control()).take(MAX_LABEL).collect();
    (!label.is_empty()).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(header: &[u8]) -> Option<(String, Option<String>)> {
        disposition(&HeaderValue::from_bytes(header).unwrap()).map(|found| (found.name, found.filename))
    }

    fn rewritten(content_type: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        let canonical = boundary(&headers).ok()?;
        Some(canonical.get(CONTENT_TYPE).unwrap().to_str().unwrap().to_owned())
    }

    #[test]
    fn boundaries_are_found_quoted_and_bare() {
        for (header, found) in [
            ("multipart/form-data; boundary=abc", "abc"),
            ("Multipart/Form-Data;charset=utf-8; BOUNDARY=\"=_a=b:c\"", "=_a=b:c"),
            ("multipart/form-data; boundary=--a/b+c=?d", "--a/b+c=?d"),
            ("multipart/form-data; boundary=\"a b\"; charset=x", "a b"),
        ] {
            assert_eq!(rewritten(header), Some(format!("multipart/mixed; boundary=\"{found}\"")), "{header}");
        }
    }

    #[test]
    fn other_bodies_are_not_forms() {
        let long = format!("multipart/form-data; boundary={}", "x".repeat(201));
        for header in [
            "application/json",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/form-data; boundary=\"a\\\"b\"",
            "multipart/mixed; boundary=x",
            &long,
        ] {
            assert_eq!(rewritten(header), None, "{header}");
        }
        assert!(boundary(&HeaderMap::new()).is_err());
    }

    #[test]
    fn names_are_found_in_every_spelling() {
        let file = |name: &str| Some(("file".to_owned(), Some(name.to_owned())));
        assert_eq!(names(b"form-data; name=\"file\"; filename=\"a.wav\""), file("a.wav"));
        assert_eq!(
            names(b"form-data; name=file; filename=\"Assets\\a.wav\"; filename*=utf-8''Assets%5Ca.wav"),
            file("Assets\\a.wav")
        );
        assert_eq!(names(b"Form-Data;NAME=\"file\";filename=\"a\\\"b;c.wav\""), file("a\"b;c.wav"));
        assert_eq!(names("form-data; name=file; filename=\"né.mp3\"".as_bytes()), file("né.mp3"));
        assert_eq!(names(b"form-data; name=file; filename=\"n\xe9.mp3\""), file("n\u{fffd}.mp3"));
        assert_eq!(names(b"form-data; filename=; name=\"file\" "), file(""));
        assert_eq!(names(b"form-data; x; name=\"file[]\""), Some(("file[]".into(), None)));
    }

    #[test]
    fn parts_without_a_name_have_none() {
        for header in [
            &b"form-data"[..],
            b"form-data; filename=\"a\"",
            b"form-data; name=\"\"",
            b"attachment; name=\"x\"",
            b"form-data; name",
            b";;;=;",
        ] {
            assert_eq!(names(header), None, "{header:?}");
        }
    }

    #[test]
    fn labels_are_the_last_part_of_a_path() {
        assert_eq!(label("../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(label("C:\\x\\a\r\n.wav").as_deref(), Some("a.wav"));
        assert_eq!(label("a/"), None);
        assert_eq!(label(&"é".repeat(300)).map(|label| label.chars().count()), Some(255));
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_the_parser_stumble(text in "[a-z;=\"\\\\ *'é]{0,40}") {
            let all: Vec<(&str, String)> = parameters(&text).collect();
            proptest::prop_assert!(all.len() <= text.len());
            if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                let _ = disposition(&value);
            }
        }

        #[test]
        fn a_quoted_name_is_read_back(name in "[ -~é]{1,40}") {
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("form-data; name=\"{escaped}\"; filename=x");
            let value = HeaderValue::from_bytes(header.as_bytes()).unwrap();
            proptest::prop_assert_eq!(disposition(&value).unwrap().name, name);
        }
    }
}
