//! The text fields of a form, in all the encodings in which clients send arrays and objects. Pure.
//!
//! `name[]`, `name[0]`, a repeated bare `name` and a JSON array are all lists; `name[key]` and a JSON object
//! are both objects; `extra_body[name]…` is `name…`, as OpenAI's own JavaScript sample has it. An empty string
//! is the same as nothing.

use serde_json::Value;

use crate::api::error::{ApiError, shown};

/// Names that stand for more than themselves have at most so many brackets.
const MAX_DEPTH: usize = 4;

/// The text fields in the order in which they came.
#[derive(Debug, Default)]
pub struct Fields(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    base: String,
    path: Vec<String>,
    value: String,
}

/// What an object field was given as.
#[derive(Debug, PartialEq)]
pub enum ObjectField {
    /// Plain text, such as `auto`.
    Text(String),
    /// Keys and values; bracketed values are JSON strings.
    Keys(Vec<(String, Value)>),
}

/// The name of a field without brackets and aliases: `include` for `extra_body[include][]`.
pub fn base(name: &str) -> String {
    split(name).0
}

impl Fields {
    /// Adds the field `name`, as it was on the wire.
    pub fn add(&mut self, name: &str, value: String) {
        let (base, path) = split(name);
        self.0.push(Entry { base, path, value });
    }

    /// The value of a field that is no list; `None` when absent or empty.
    ///
    /// # Errors
    /// 400 when it is given twice and differently, or as an object.
    pub fn text<'a>(&'a self, field: &str) -> Result<Option<&'a str>, ApiError> {
        let mut found: Option<&'a str> = None;
        for entry in self.entries(field) {
            if !entry.is_plain_or_listed() {
                return Err(ApiError::field(field, format!("the field `{field}` must be a plain value")));
            }
            let value = entry.value.trim();
            match found {
                Some(before) if before != value && !value.is_empty() => {
                    return Err(ApiError::field(
                        field,
                        format!(
                            "the field `{field}` is given twice, as `{}` and `{}`",
                            shown(before),
                            shown(value)
                        ),
                    ));
                }
                _ if value.is_empty() => {}
                _ => found = Some(value),
            }
        }
        Ok(found)
    }

    /// The values of a list field, empty ones left out.
    ///
    /// # Errors
    /// 400 when it is given as an object.
    pub fn list(&self, field: &str) -> Result<Vec<String>, ApiError> {
        let mut values = self.places(field)?;
        values.retain(|value| !value.is_empty());
        Ok(values)
    }

    /// The values of a list field whose places count: empty ones are kept, unless all are.
    ///
    /// # Errors
    /// As `list`.
    pub fn column(&self, field: &str) -> Result<Vec<String>, ApiError> {
        let values = self.places(field)?;
        Ok(if values.iter().all(String::is_empty) { Vec::new() } else { values })
    }

    /// The values of a list field, white space around them left out.
    fn places(&self, field: &str) -> Result<Vec<String>, ApiError> {
        let mut values = Vec::new();
        for entry in self.entries(field) {
            if !entry.is_plain_or_listed() {
                return Err(ApiError::field(field, format!("the field `{field}` must be a list of values")));
            }
            match json_strings(&entry.value) {
                Some(listed) => values.extend(listed.iter().map(|value| value.trim().to_owned())),
                None => values.push(entry.value.trim().to_owned()),
            }
        }
        Ok(values)
    }

    /// The value of a field that may be text or an object; `None` when absent or empty.
    ///
    /// # Errors
    /// 400 when it is given as both, or with brackets inside brackets.
    pub fn object(&self, field: &str) -> Result<Option<ObjectField>, ApiError> {
        let mut keys = Vec::new();
        for entry in self.entries(field).filter(|entry| !entry.path.is_empty()) {
            let [key] = entry.path.as_slice() else {
                return Err(ApiError::field(field, format!("the object `{field}` holds plain values only")));
            };
            keys.push((key.clone(), Value::String(entry.value.trim().to_owned())));
        }
        let plain = self.entries(field).find(|entry| entry.path.is_empty() && !entry.value.trim().is_empty());
        match plain {
            Some(_) if !keys.is_empty() => Err(ApiError::field(
                field,
                format!("the field `{field}` is given both as a value and as an object; send one of them"),
            )),
            Some(entry) => Ok(Some(object_or_text(entry.value.trim()))),
            None => Ok((!keys.is_empty()).then_some(ObjectField::Keys(keys))),
        }
    }

    fn entries<'a>(&'a self, field: &str) -> impl Iterator<Item = &'a Entry> {
        self.0.iter().filter(move |entry| entry.base == field)
    }
}

impl Entry {
    /// Whether the name was `name`, `name[]` or `name[3]`.
    fn is_plain_or_listed(&self) -> bool {
        match self.path.as_slice() {
            [] => true,
            [index] => index.bytes().all(|byte| byte.is_ascii_digit()),
            _ => false,
        }
    }
}

/// `chunking_strategy[type]` → (`chunking_strategy`, [`type`]). A name with unsound brackets is left whole.
fn split(name: &str) -> (String, Vec<String>) {
    let (base, brackets) = name.split_at(name.find('[').unwrap_or(name.len()));
    let Some(mut path) = bracketed(brackets).filter(|_| !base.is_empty()) else {
        return (name.to_owned(), Vec::new());
    };
    if base == "extra_body" && !path.is_empty() {
        let base = path.remove(0);
        return (base, path);
    }
    (base.to_owned(), path)
}

fn bracketed(mut text: &str) -> Option<Vec<String>> {
    let mut path = Vec::new();
    while !text.is_empty() {
        let (key, rest) = text.strip_prefix('[')?.split_once(']')?;
        path.push(key.to_owned());
        if path.len() > MAX_DEPTH {
            return None;
        }
        text = rest;
    }
    Some(path)
}

/// The strings of a JSON array, if `text` is one of strings.
fn json_strings(text: &str) -> Option<Vec<String>> {
    if !text.trim_start().starts_with('[') {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn object_or_text(text: &str) -> ObjectField {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => ObjectField::Keys(object.into_iter().collect()),
        Ok(Value::String(text)) => ObjectField::Text(text),
        _ => ObjectField::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, (*value).to_owned());
        }
        fields
    }

    #[test]
    fn lists_are_the_same_in_every_encoding() {
        for pairs in [
            &[("g[]", "word"), ("g[]", "segment")][..],
            &[("g", "word"), ("g", "segment")],
            &[("g", r#"["word","segment"]"#)],
            &[("g[0]", "word"), ("g[1]", "segment")],
            &[("extra_body[g][]", "word"), ("extra_body[g][]", "segment")],
            &[("g[]", ""), ("g[]", "word"), ("other", "x"), ("g", "segment")],
        ] {
            assert_eq!(fields(pairs).list("g").unwrap(), ["word", "segment"], "{pairs:?}");
        }
        assert!(fields(&[]).list("g").unwrap().is_empty());
        assert_eq!(fields(&[("g", "[not json")]).list("g").unwrap(), ["[not json"]);
    }

    #[test]
    fn an_empty_value_is_no_value() {
        assert_eq!(fields(&[("language", " ")]).text("language").unwrap(), None);
        assert_eq!(fields(&[("language", ""), ("language", "en")]).text("language").unwrap(), Some("en"));
    }

    #[test]
    fn contradictions_are_errors() {
        assert!(fields(&[("t", "0"), ("t", "0")]).text("t").is_ok());
        assert!(fields(&[("t", "0"), ("t", "1")]).text("t").is_err());
        assert!(fields(&[("t[a]", "0")]).text("t").is_err());
        assert!(fields(&[("c", "auto"), ("c[type]", "server_vad")]).object("c").is_err());
        assert!(fields(&[("c[a][b]", "x")]).object("c").is_err());
    }

    #[test]
    fn objects_come_in_brackets_or_as_json() {
        let brackets = fields(&[("c[type]", "server_vad"), ("c[threshold]", "0.3")]).object("c").unwrap();
        let Some(ObjectField::Keys(keys)) = brackets else { panic!("{brackets:?}") };
        assert_eq!(keys[1], ("threshold".into(), Value::from("0.3")));
        let json = fields(&[("c", r#"{"type":"server_vad","threshold":0.3}"#)]).object("c").unwrap();
        let Some(ObjectField::Keys(keys)) = json else { panic!("{json:?}") };
        assert_eq!(keys[1], ("threshold".into(), Value::from(0.3)));
        assert_eq!(fields(&[("c", "auto")]).object("c").unwrap(), Some(ObjectField::Text("auto".into())));
        assert_eq!(fields(&[("c", "\"auto\"")]).object("c").unwrap(), Some(ObjectField::Text("auto".into())));
        assert_eq!(fields(&[("c", "")]).object("c").unwrap(), None);
    }

    #[test]
    fn unsound_brackets_stay_part_of_the_name() {
        for name in ["a[", "a]", "a[b", "a[b]c", "[a]", "a[][][][][]"] {
            assert_eq!(base(name), name);
        }
        assert_eq!(base("extra_body[include][]"), "include");
        assert_eq!(base("extra_body"), "extra_body");
    }

    proptest::proptest! {
        #[test]
        fn no_name_or_value_makes_the_parser_stumble(name in "[ab\\[\\]é]{0,12}", value in "[\\[\\]{}\":,a1 ]{0,24}") {
            let mut fields = Fields::default();
            fields.add(&name, value);
            let base = base(&name);
            let _ = (fields.text(&base), fields.list(&base), fields.object(&base));
        }
    }
}
