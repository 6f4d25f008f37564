//! RTTM, the field's form of turns: reading and writing. Pure.
//!
//! NIST's Rich Transcription 2009 plan, appendix A: ten fields, `SPEAKER recording channel start duration <NA> <NA>
//! speaker <NA> <NA>`, times in seconds. Programs differ in how many of the last fields they write, in line ends, and in
//! kinds of lines besides, so those are not looked at. Channels are not told apart.

use std::fmt::Write;

use super::Annotation;
use super::lines::{FormatError, lines, number, seconds, shown, span};
use crate::time::samples_to_seconds;
use crate::transcript::{SpeakerId, SpeakerTurn};

/// Fewest fields of a turn: up to its speaker.
const FIELDS: usize = 8;

/// The turns of each recording in a file, with its name, in order of first appearance. Turns of no length are left out.
///
/// # Errors
/// For a turn with a field missing or a time that is none, with the number of its line.
pub fn read(bytes: &[u8]) -> Result<Vec<(String, Annotation)>, FormatError> {
    let mut recordings: Vec<(String, Annotation)> = Vec::new();
    for line in lines(bytes) {
        let (line, fields) = line?;
        if fields[0] != "SPEAKER" {
            continue;
        }
        let [_, recording, _, start, length, _, _, speaker, ..] = fields[..] else {
            let reason = format!("a turn has at least {FIELDS} fields, this one {}", fields.len());
            return Err(FormatError { line, reason });
        };
        if speaker == "<NA>" {
            return Err(FormatError { line, reason: "its speaker has no name".into() });
        }
        let (start, length) = (seconds(line, "start", start)?, seconds(line, "duration", length)?);
        let place = recordings.iter().position(|(name, _)| name == recording).unwrap_or_else(|| {
            recordings.push((recording.to_owned(), Annotation::default()));
            recordings.len() - 1
        });
        let annotation = &mut recordings[place].1;
        let span = span(start, start + length);
        if !span.is_empty() {
            let speaker = SpeakerId(number(line, &mut annotation.speakers, speaker)?);
            annotation.turns.push(SpeakerTurn { span, speaker });
        }
    }
    Ok(recordings)
}

/// The turns of `recording` in a file that holds those of one or several; the only one may have any name.
///
/// # Errors
/// As `read`, and for a file with others only.
pub fn read_one(bytes: &[u8], recording: &str) -> Result<Annotation, FormatError> {
    let mut recordings = read(bytes)?;
    let place = match recordings.len() {
        0 => return Ok(Annotation::default()),
        1 => Some(0),
        _ => recordings.iter().position(|(name, _)| name == recording),
    };
    place.map(|place| recordings.swap_remove(place).1).ok_or_else(|| FormatError {
        line: 1,
        reason: format!("there are several recordings in this file, and `{}` is not one", shown(recording)),
    })
}

/// One line for each turn, in order. `recording` has no white space.
pub fn write(recording: &str, annotation: &Annotation) -> String {
    annotation.turns.iter().fold(String::new(), |mut text, turn| {
        let (start, length) = (samples_to_seconds(turn.span.start), samples_to_seconds(turn.span.len()));
        let speaker = &annotation.speakers[turn.speaker.0 as usize];
        let line = format_args!("SPEAKER {recording} 1 {start:.3} {length:.3} <NA> <NA> {speaker} <NA> <NA>");
        writeln!(text, "{line}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::TimeSpan;

    #[test]
    fn turns_of_several_recordings_are_told_apart() {
        let text = "SPKR-INFO b 1 <NA> <NA> <NA> unknown Ann <NA> <NA>\n\
                    SPEAKER b 1 1.000 0.500 <NA> <NA> Ann <NA> <NA>\n\
                    SPEAKER a 1 0 2 <NA> <NA> Ann\n\
                    SPEAKER b 2 1.25 1 <NA> <NA> Bob <NA>\n\
                    SPEAKER b 1 9 0 <NA> <NA> Cid <NA> <NA>\n";
        let read = read(text.as_bytes()).unwrap();
        assert_eq!(read.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        let turn = |start, end, speaker| SpeakerTurn {
            span: TimeSpan::new(start, end),
            speaker: SpeakerId(speaker),
        };
        assert_eq!(read[0].1.turns, [turn(16_000, 24_000, 0), turn(20_000, 36_000, 1)]);
        assert_eq!(read[0].1.speakers, ["Ann", "Bob"]);
    }

    #[test]
    fn errors_name_their_line() {
        let broken = [
            ("SPEAKER a 1 0 1 <NA> <NA>", "at least 8 fields"),
            ("SPEAKER a 1 zero 1 <NA> <NA> A", "start is `zero`"),
            ("SPEAKER a 1 0 -1 <NA> <NA> A", "duration is `-1`"),
            ("SPEAKER a 1 0 1 <NA> <NA> <NA> <NA>", "no name"),
        ];
        for (line, reason) in broken {
            let error = read(format!("\n;; comment\n{line}\n").as_bytes()).unwrap_err();
            assert_eq!(error.line, 3);
            assert!(error.reason.contains(reason), "{error}");
        }
        assert_eq!(read(b"\n\xFF\n").unwrap_err().to_string(), "line 2: it is not UTF-8");
    }

    #[test]
    fn the_only_recording_of_a_file_may_have_any_name() {
        let line = |name: &str| format!("SPEAKER {name} 1 0 1 <NA> <NA> A <NA> <NA>\n");
        assert_eq!(read_one(line("x").as_bytes(), "y").unwrap().turns.len(), 1);
        let two = line("x") + &line("y");
        assert_eq!(read_one(two.as_bytes(), "y").unwrap().turns.len(), 1);
        assert!(read_one(two.as_bytes(), "z").is_err());
        assert_eq!(read_one(b"", "z").unwrap(), Annotation::default());
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = "SPEAKER a 1 0.500 1.250 <NA> <NA> Ann <NA> <NA>\nSPEAKER a 1 1.000 0.100 <NA> <NA> Bob <NA> <NA>\n";
        assert_eq!(write("a", &read_one(text.as_bytes(), "a").unwrap()), text);
    }
}
