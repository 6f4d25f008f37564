//! SubRip and WebVTT, to the byte as OpenAI's API writes them. Pure.
//!
//! One cue per segment, which can say who speaks (`A: …`, and voice tags in WebVTT); line feeds only, no byte order mark, hours always written. SRT ends with one line
//! feed more than its last cue needs; WebVTT does not.

use std::io::{self, Write};

use crate::transcript::Segment;

use super::labels::Labels;
use super::milliseconds;
use super::reading::Reading;

/// SubRip: numbered cues with comma milliseconds; a lone line feed when nothing was said.
///
/// # Errors
/// What `out` gives.
pub fn srt(reading: &Reading<'_>, speakers: bool, out: &mut dyn Write) -> io::Result<()> {
    for (mut cue, number) in cues(reading).zip(1_u64..) {
        if let Some(name) = cue.speaker.as_deref().filter(|_| speakers) {
            cue.text = format!("{}: {}", cue_text(name), cue.text);
        }
        writeln!(out, "{number}")?;
        cue.write(out, ',')?;
    }
    writeln!(out)
}

/// WebVTT: cues without identifiers; the header alone when nothing was said.
///
/// # Errors
/// What `out` gives.
pub fn vtt(reading: &Reading<'_>, speakers: bool, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "WEBVTT\n")?;
    cues(reading).try_for_each(|mut cue| {
        cue.text = escaped(&cue.text);
        if let Some(name) = cue.speaker.as_deref().filter(|_| speakers) {
            cue.text = format!("<v {}>{}", annotation(name), cue.text);
        }
        cue.write(out, '.')
    })
}

/// One line of text on the screen, times in ms, `start_ms < end_ms`.
struct Cue {
    start_ms: u64,
    end_ms: u64,
    text: String,
    /// Who speaks it, if anybody seems to.
    speaker: Option<String>,
}

impl Cue {
    /// A cue lasts at least a millisecond: WebVTT asks for an end after the start. `None` without text.
    fn of(segment: &Segment, labels: &Labels) -> Option<Self> {
        let text = cue_text(&segment.text);
        let start_ms = milliseconds(segment.span.start);
        let end_ms = milliseconds(segment.span.end).max(start_ms + 1);
        (!text.is_empty()).then(|| Self {
            start_ms,
            end_ms,
            text,
            speaker: labels.get(segment.speaker).map(str::to_owned),
        })
    }

    fn write(&self, out: &mut dyn Write, decimal: char) -> io::Result<()> {
        let (start, end) = (timestamp(self.start_ms, decimal), timestamp(self.end_ms, decimal));
        writeln!(out, "{start} --> {end}\n{}\n", self.text)
    }
}

/// The segments that have text, as cues.
fn cues(reading: &Reading<'_>) -> impl Iterator<Item = Cue> {
    reading.segments().filter_map(|segment| Cue::of(&segment, &reading.labels))
}

/// `text` on one line, without anything that would end the cue or look like a time line; control characters, at
/// some of which readers break lines, are spaces. Whisper's own writer turns `-->` into `->` too (openai/whisper,
/// `whisper/utils.py`).
fn cue_text(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let lines = text.split(breaks).map(str::trim);
    let mut text = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    while text.contains("-->") {
        text = text.replace("-->", "->");
    }
    text
}

/// `text` as WebVTT spells it: `<` would begin a tag, and `&` may begin a character reference. An `&` that begins none
/// stays as it is, as in `Q&A`: every name of a reference has two letters or more (WebVTT, 6.4, cue text tokenizer).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '&' if begins_reference(&text[at + 1..]) => escaped.push_str("&amp;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// A name inside a tag, which ends at `>`: there all three marks are spelled as references (WebVTT, 4.2.2).
fn annotation(name: &str) -> String {
    let mut annotation = cue_text(name).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    if annotation.ends_with("--") {
        // With the end of the tag it would be an arrow; readers drop the space.
        annotation.push(' ');
    }
    annotation
}

fn begins_reference(rest: &str) -> bool {
    let mut next = rest.bytes();
    let (first, second) = (next.next(), next.next());
    first == Some(b'#')
        || [first, second].iter().all(|byte| byte.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

/// `HH:MM:SS,mmm`; hours grow beyond two digits where needed.
fn timestamp(ms: u64, decimal: char) -> String {
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let (seconds, ms) = (ms / 1000 % 60, ms % 1000);
    format!("{hours:02}:{minutes:02}:{seconds:02}{decimal}{ms:03}")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{segment, transcript};
    use super::{annotation, cue_text, timestamp};
    use crate::output::{RenderOptions, ResponseFormat, render};
    use crate::transcript::{Speaker, SpeakerId, Transcript};

    fn srt(transcript: &Transcript) -> String {
        render(transcript, ResponseFormat::Srt, &RenderOptions::default()).body
    }

    fn vtt(transcript: &Transcript) -> String {
        render(transcript, ResponseFormat::Vtt, &RenderOptions::default()).body
    }

    #[test]
    fn srt_numbers_cues_and_ends_with_an_extra_line_feed() {
        let transcript = transcript(
            5.0,
            vec![
                segment(0.0, 2.0, " Hello, world! This is a test."),
                segment(2.0, 4.9996, " Grüße, 東京 🎉."),
            ],
        );
        assert_eq!(
            srt(&transcript),
            "1\n00:00:00,000 --> 00:00:02,000\nHello, world! This is a test.\n\n\
             2\n00:00:02,000 --> 00:00:05,000\nGrüße, 東京 🎉.\n\n\n"
        );
    }

    #[test]
    fn vtt_writes_hours_and_ends_with_the_last_cue() {
        let transcript = transcript(2.0, vec![segment(0.0, 2.0, " Hello, world! This is a test.")]);
        assert_eq!(
            vtt(&transcript),
            "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nHello, world! This is a test.\n\n"
        );
    }

    #[test]
    fn times_beyond_an_hour_carry_into_hours() {
        assert_eq!(timestamp(3_600_000, ','), "01:00:00,000");
        assert_eq!(timestamp(3_599_999, '.'), "00:59:59.999");
        assert_eq!(timestamp(360_061_001, ','), "100:01:01,001");
        let late = transcript(4_000.0, vec![segment(3_661.5, 3_662.25, " Late.")]);
        assert_eq!(srt(&late), "1\n01:01:01,500 --> 01:01:02,250\nLate.\n\n\n");
    }

    #[test]
    fn silence_gives_valid_empty_subtitles() {
        let silence = transcript(1.0, Vec::new());
        assert_eq!(srt(&silence), "\n");
        assert_eq!(vtt(&silence), "WEBVTT\n\n");
    }

    #[test]
    fn a_cue_never_holds_an_arrow_or_a_line_break() {
        assert_eq!(cue_text(" a --> b ----> c\r\n\r\nd\u{2028}e "), "a -> b -> c d e");
        assert_eq!(cue_text("a\u{c}b\u{b}\u{85}c\u{1d}d\0e\u{1b}[2J"), "a b c d e [2J");
    }

    #[test]
    fn text_is_never_taken_for_markup_in_webvtt() {
        let marked = transcript(2.0, vec![segment(0.0, 2.0, " <b>R&D</b> & Q&A &lt; &#60; a < b > c")]);
        let cue = "&lt;b>R&D&lt;/b> & Q&A &amp;lt; &amp;#60; a &lt; b > c";
        assert_eq!(vtt(&marked), format!("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n{cue}\n\n"));
        assert!(srt(&marked).contains("<b>R&D</b> & Q&A &lt; &#60; a < b > c"));
    }

    #[test]
    fn cues_say_who_speaks_when_asked() {
        let mut segments =
            vec![segment(0.0, 1.0, " Hi <all>."), segment(1.0, 2.0, " Yes & no."), segment(2.0, 3.0, " Hm.")];
        (segments[0].speaker, segments[1].speaker) = (Some(SpeakerId(0)), Some(SpeakerId(1)));
        let mut told = transcript(3.0, segments);
        let name = Some("R&D <b>\n-->".to_owned());
        told.speakers = vec![Speaker { name, ..Speaker::default() }, Speaker::default()];
        let labelled = RenderOptions { speaker_labels: true, ..RenderOptions::default() };
        assert_eq!(
            render(&told, ResponseFormat::Vtt, &labelled).body,
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n<v R&amp;D &lt;b&gt; -&gt;>Hi &lt;all>.\n\n\
             00:00:01.000 --> 00:00:02.000\n<v A>Yes & no.\n\n00:00:02.000 --> 00:00:03.000\nHm.\n\n"
        );
        assert_eq!(
            render(&told, ResponseFormat::Srt, &labelled).body,
            "1\n00:00:00,000 --> 00:00:01,000\nR&D <b> ->: Hi <all>.\n\n\
             2\n00:00:01,000 --> 00:00:02,000\nA: Yes & no.\n\n3\n00:00:02,000 --> 00:00:03,000\nHm.\n\n\n"
        );
        assert!(!vtt(&told).contains("<v "));
    }

    #[test]
    fn a_name_makes_no_arrow_with_the_end_of_its_tag() {
        assert_eq!(annotation("Ann--"), "Ann-- ");
        assert_eq!(annotation("Ann-"), "Ann-");
    }

    #[test]
    fn segments_without_text_have_no_cue_and_do_not_use_up_a_number() {
        let transcript = transcript(3.0, vec![segment(0.0, 1.0, " "), segment(1.0, 1.0, " So.")]);
        assert_eq!(srt(&transcript), "1\n00:00:01,000 --> 00:00:01,001\nSo.\n\n\n");
    }
}
