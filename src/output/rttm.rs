//! RTTM, the form in which the field exchanges who spoke when: a line of ten fields for each turn. Pure.
//!
//! Source: NIST, "The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan", appendix A.

use std::io::{self, Write};

use crate::transcript::{Conversation, SpeakerTurn};

use super::labels::Labels;
use super::milliseconds;

/// Longest file name that is kept, in characters.
const MAX_FILE: usize = 100;

/// File name where there is none.
const NO_FILE: &str = "recording";

/// What stands in a field that says nothing.
const NOTHING: &str = "<NA>";

/// One line a turn, in order; `file` is what the client calls the recording.
///
/// Fields end at white space, so in names every character of that kind is written as its bytes in percent signs, and the
/// percent sign as well: names stay apart, and can be read back. A name that is what stands in empty fields is not that.
///
/// # Errors
/// What `out` gives.
pub fn rttm(conversation: &Conversation, file: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    let labels = Labels::new(&conversation.speakers, &conversation.known_names);
    let file = file_field(file.unwrap_or_default());
    for SpeakerTurn { span, speaker } in &conversation.turns {
        let start_ms = milliseconds(span.start);
        let length_ms = milliseconds(span.end).saturating_sub(start_ms).max(1);
        let (start, length) = (decimal(start_ms), decimal(length_ms));
        let name = name_field(labels.get_or_nobody(Some(*speaker)));
        writeln!(out, "SPEAKER {file} 1 {start} {length} {NOTHING} {NOTHING} {name} {NOTHING} {NOTHING}")?;
    }
    Ok(())
}

/// Milliseconds as seconds, exactly.
fn decimal(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn name_field(name: &str) -> String {
    if name == NOTHING {
        return name.replace('<', "%3C");
    }
    let mut field = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_whitespace() || character.is_control() || character == '%' {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                field.push_str(&format!("%{byte:02X}"));
            }
        } else {
            field.push(character);
        }
    }
    field
}

/// The file's name without its extension, of harmless characters alone: programs make paths of it.
fn file_field(name: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let harmless = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let field: String = stem.trim_start_matches('.').chars().map(harmless).take(MAX_FILE).collect();
    if field.trim_matches(['_', '.']).is_empty() { NO_FILE.to_owned() } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{TimeSpan, ms_to_samples};
    use crate::transcript::{Speaker, SpeakerId};
    use proptest::prelude::*;

    fn written(turns: &[(u64, u64, u32)], names: &[Option<&str>], file: Option<&str>) -> String {
        let turn = |(start, end, who): &(u64, u64, u32)| SpeakerTurn {
            span: TimeSpan::new(ms_to_samples(*start), ms_to_samples(*end)),
            speaker: SpeakerId(*who),
        };
        let speaker = |name: &Option<&str>| Speaker { name: name.map(str::to_owned), ..Speaker::default() };
        let conversation = Conversation {
            turns: turns.iter().map(turn).collect(),
            speakers: names.iter().map(speaker).collect(),
            ..Conversation::default()
        };
        let mut bytes = Vec::new();
        rttm(&conversation, file, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_turn_is_a_line_of_ten_fields() {
        let turns = [(500, 2_250, 0), (2_000, 3_661_007, 1)];
        assert_eq!(
            written(&turns, &[None, Some("Ann Lee")], Some("talk one.mp3")),
            "SPEAKER talk_one 1 0.500 1.750 <NA> <NA> A <NA> <NA>\n\
             SPEAKER talk_one 1 2.000 3659.007 <NA> <NA> Ann%20Lee <NA> <NA>\n"
        );
        assert_eq!(written(&[], &[], None), "");
    }

    #[test]
    fn names_stay_apart_and_files_are_harmless() {
        assert_eq!(name_field("a b%\u{2003}\n"), "a%20b%25%E2%80%83%0A");
        assert_eq!((name_field("<NA>").as_str(), name_field("<b>").as_str()), ("%3CNA>", "<b>"));
        assert_eq!(file_field("../../etc/passwd.wav"), "_.._etc_passwd");
        for (name, field) in
            [("", NO_FILE), ("..", NO_FILE), ("/.wav", NO_FILE), ("Grüße.wav", "Grüße"), ("a", "a")]
        {
            assert_eq!(file_field(name), field, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_line_has_ten_fields_whatever_the_names(name in "\\PC{0,20}|[ \n\t%]{1,5}", file in "\\PC{0,20}") {
            prop_assume!(!name.is_empty());
            let text = written(&[(0, 1_000, 0)], &[Some(&name)], Some(&file));
            let lines: Vec<_> = text.lines().collect();
            prop_assert_eq!(lines.len(), 1);
            prop_assert_eq!(lines[0].split_whitespace().count(), 10, "{}", lines[0]);
        }
    }
}
