//! Languages that Whisper knows: codes and English names.
//!
//! The order is that of Whisper's language tokens (openai/whisper, `whisper/tokenizer.py`, MIT), so an
//! index into the table is the model's language id. Detection lives in `asr::language`.

/// (code, lowercase English name), in the order of Whisper's language tokens.
const LANGUAGES: [(&str, &str); 100] = [
    ("en", "english"),
    ("zh", "chinese"),
    ("de", "german"),
    ("es", "spanish"),
    ("ru", "russian"),
    ("ko", "korean"),
    ("fr", "french"),
    ("ja", "japanese"),
    ("pt", "portuguese"),
    ("tr", "turkish"),
    ("pl", "polish"),
    ("ca", "catalan"),
    ("nl", "dutch"),
    ("ar", "arabic"),
    ("sv", "swedish"),
    ("it", "italian"),
    ("id", "indonesian"),
    ("hi", "hindi"),
    ("fi", "finnish"),
    ("vi", "vietnamese"),
    ("he", "hebrew"),
    ("uk", "ukrainian"),
    ("el", "greek"),
    ("ms", "malay"),
    ("cs", "czech"),
    ("ro", "romanian"),
    ("da", "danish"),
    ("hu", "hungarian"),
    ("ta", "tamil"),
    ("no", "norwegian"),
    ("th", "thai"),
    ("ur", "urdu"),
    ("hr", "croatian"),
    ("bg", "bulgarian"),
    ("lt", "lithuanian"),
    ("la", "latin"),
    ("mi", "maori"),
    ("ml", "malayalam"),
    ("cy", "welsh"),
    ("sk", "slovak"),
    ("te", "telugu"),
    ("fa", "persian"),
    ("lv", "latvian"),
    ("bn", "bengali"),
    ("sr", "serbian"),
    ("az", "azerbaijani"),
    ("sl", "slovenian"),
    ("kn", "kannada"),
    ("et", "estonian"),
    ("mk", "macedonian"),
    ("br", "breton"),
    ("eu", "basque"),
    ("is", "icelandic"),
    ("hy", "armenian"),
    ("ne", "nepali"),
    ("mn", "mongolian"),
    ("bs", "bosnian"),
    ("kk", "kazakh"),
    ("sq", "albanian"),
    ("sw", "swahili"),
    ("gl", "galician"),
    ("mr", "marathi"),
    ("pa", "punjabi"),
    ("si", "sinhala"),
    ("km", "khmer"),
    ("sn", "shona"),
    ("yo", "yoruba"),
    ("so", "somali"),
    ("af", "afrikaans"),
    ("oc", "occitan"),
    ("ka", "georgian"),
    ("be", "belarusian"),
    ("tg", "tajik"),
    ("sd", "sindhi"),
    ("gu", "gujarati"),
    ("am", "amharic"),
    ("yi", "yiddish"),
    ("lo", "lao"),
    ("uz", "uzbek"),
    ("fo", "faroese"),
    ("ht", "haitian creole"),
    ("ps", "pashto"),
    ("tk", "turkmen"),
    ("nn", "nynorsk"),
    ("mt", "maltese"),
    ("sa", "sanskrit"),
    ("lb", "luxembourgish"),
    ("my", "myanmar"),
    ("bo", "tibetan"),
    ("tl", "tagalog"),
    ("mg", "malagasy"),
    ("as", "assamese"),
    ("tt", "tatar"),
    ("haw", "hawaiian"),
    ("ln", "lingala"),
    ("ha", "hausa"),
    ("ba", "bashkir"),
    ("jw", "javanese"),
    ("su", "sundanese"),
    ("yue", "cantonese"),
];

/// Other spellings that clients send: ISO 639-3, regional tags, names.
const ALIASES: [(&str, &str); 12] = [
    ("zh-cn", "zh"),
    ("zh-tw", "zh"),
    ("zh-hk", "yue"),
    ("cmn", "zh"),
    ("jv", "jw"),
    ("iw", "he"),
    ("fil", "tl"),
    ("nb", "no"),
    ("mandarin", "zh"),
    ("castilian", "es"),
    ("burmese", "my"),
    ("flemish", "nl"),
];

/// One of Whisper's languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Language(u8);

impl Language {
    /// English, the language of single-language models and of translations.
    pub const ENGLISH: Language = Language(0);

    /// How many languages there are; older multilingual models know one fewer (no Cantonese).
    pub const COUNT: usize = LANGUAGES.len();

    /// Whisper's id of the language, from 0.
    pub fn id(self) -> usize {
        usize::from(self.0)
    }

    /// The language with Whisper's id `id`.
    pub fn from_id(id: usize) -> Option<Self> {
        (id < LANGUAGES.len()).then_some(Self(id as u8))
    }

    /// Parses a code (`de`), a code with a region (`de-AT`), or an English name (`german`), in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let wanted = text.trim().to_ascii_lowercase().replace('_', "-");
        let find = |wanted: &str| {
            let wanted = ALIASES.iter().find(|(alias, _)| *alias == wanted).map_or(wanted, |(_, code)| code);
            LANGUAGES.iter().position(|(code, name)| *code == wanted || *name == wanted)
        };
        let base = wanted.split('-').next().unwrap_or_default();
        find(&wanted).or_else(|| find(base)).and_then(Self::from_id)
    }

    /// ISO 639 code, for example `de`.
    pub fn code(self) -> &'static str {
        LANGUAGES[self.id()].0
    }

    /// Lowercase English name, for example `german`.
    pub fn name(self) -> &'static str {
        LANGUAGES[self.id()].1
    }

    /// Whether words are written without spaces between them, by the list in Whisper's tokenizer
    /// (`split_to_word_tokens`).
    pub fn is_unspaced(self) -> bool {
        matches!(self.code(), "zh" | "ja" | "th" | "lo" | "my" | "yue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_regions_and_names_all_parse() {
        for (text, code) in [("de", "de"), ("de-AT", "de"), ("German", "de"), ("zh_TW", "zh"), ("YUE", "yue")]
        {
            assert_eq!(Language::parse(text).map(Language::code), Some(code), "{text}");
        }
        for text in ["", "this is bad", "xx", "e"] {
            assert_eq!(Language::parse(text), None, "{text}");
        }
    }

    #[test]
    fn ids_follow_whispers_language_tokens() {
        assert_eq!(Language::COUNT, 100);
        assert_eq!(Language::parse("en").unwrap().id(), 0);
        assert_eq!(Language::parse("yue").unwrap().id(), 99);
    }
}
