//! The answer to `stream=true`: server-sent events, to the byte as OpenAI's API writes them.
//!
//! Only `data:` lines, CRLF ends, a blank line after every event, `[DONE]` at the end. Whatever fails before the
//! pipeline has accepted the file is an ordinary HTTP error; later failures are an event with an `error`
//! object. The deltas, joined, equal the final text exactly. Nothing here grows with the recording: deltas are
//! forgotten when they are sent, and the last events are written from the finished transcript.
//!
//! With `diarized_json` there are segments instead of deltas. Who is who is known when all has been heard, so they come
//! together at the end; until then comments keep the connection alive.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::Serialize;

use crate::output::json::{
    DiarizedSegment, LanguageCode, Logprob, Logprobs, Usage, WarningBody, to_json, warnings, write_json,
};
use crate::output::pieces::{Piece, Trimmer, segment_pieces};
use crate::output::reading::{Reading, Text};
use crate::output::{RenderOptions, ResponseFormat};
use crate::pipeline::{Event, Outcome};
use crate::time::samples_to_seconds;
use crate::transcript::{Segment, Warning};

use super::answer::Job;
use super::context::RequestContext;
use super::error::ApiError;
use super::form::request::SpeechRequest;
use super::lifecycle::Lifecycle;
use super::pour::Pour;

/// Silence after which a comment is sent, so that nothing in between gives the connection up.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A comment; clients skip it. Named events or `retry:` lines would break some of them.
const PING: &str = ": ping\r\n\r\n";
const DONE: &str = "data: [DONE]\r\n\r\n";

#[derive(Serialize)]
#[serde(tag = "type")]
enum Payload<'a> {
    #[serde(rename = "transcript.text.delta")]
    Delta {
        delta: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<Vec<Logprob>>,
    },
    #[serde(rename = "transcript.text.done")]
    Done {
        text: Text<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<Logprobs<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        languages: Option<[LanguageCode; 1]>,
        usage: Usage,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<WarningBody<'a>>,
    },
}

/// Waits until the pipeline has accepted the file, then answers with a stream.
///
/// # Errors
/// What is wrong with the request or the file.
pub async fn answer(
    mut job: Job,
    speech: SpeechRequest,
    context: Rc<RequestContext>,
    lifecycle: Lifecycle,
) -> Result<HttpResponse, ApiError> {
    let mut telling = Telling::new(&speech);
    let mut source = Source::Job;
    loop {
        match job.events.recv().await {
            Some(Event::Accepted) => break,
            Some(event) => telling.tell(&event),
            None => {
                let outcome = job.outcome().await?;
                source = Source::Ending(telling.end(outcome, speech.warnings.clone(), &context));
                break;
            }
        }
    }
    let frames = Frames { job, source, telling, warnings: speech.warnings, context, lifecycle };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(frames.into_stream()))
}

/// The body: frames as they become ready. Dropping it cancels the job that it holds.
struct Frames {
    job: Job,
    source: Source,
    telling: Telling,
    warnings: Vec<Warning>,
    context: Rc<RequestContext>,
    lifecycle: Lifecycle,
}

/// Where the next frames come from.
enum Source {
    /// The running job.
    Job,
    /// The last events of a finished one.
    Ending(Pour),
    /// Nowhere.
    Nothing,
}

impl Frames {
    fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::unfold(self, |mut frames| async move {
            let next = frames.next().await?;
            Some((next, frames))
        })
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if let Some(frame) = self.telling.ready.pop_front() {
                return Some(Ok(Bytes::from(frame)));
            }
            match &mut self.source {
                Source::Nothing => return None,
                Source::Ending(pour) => {
                    let piece = pour.next().await;
                    if let Some(Err(error)) = &piece {
                        tracing::error!(%error, "the end of a stream could not be written");
                        self.source = Source::Nothing;
                    }
                    return piece;
                }
                Source::Job => self.listen_unless_cut_off().await,
            }
        }
    }

    /// Waits for what happens next in the job, or for the moment when the server will wait no longer.
    async fn listen_unless_cut_off(&mut self) {
        let lifecycle = self.lifecycle.clone();
        tokio::select! {
            biased;
            () = self.listen() => {}
            () = lifecycle.cut_off() => self.fail(&Lifecycle::last_words()),
        }
    }

    /// Ends the stream with an error.
    fn fail(&mut self, error: &ApiError) {
        self.telling.ready.push_back(frame(&error.envelope()));
        self.source = Source::Nothing;
    }

    /// Waits for what happens next in the job. Nothing is lost when it is dropped while it waits for an event; the
    /// end of the job is waited for once.
    async fn listen(&mut self) {
        match tokio::time::timeout(PING_EVERY, self.job.events.recv()).await {
            Err(_silence) => self.telling.ready.push_back(PING.to_owned()),
            Ok(Some(event)) => self.telling.tell(&event),
            Ok(None) => match self.job.outcome().await {
                Ok(outcome) => {
                    let warnings = std::mem::take(&mut self.warnings);
                    self.source = Source::Ending(self.telling.end(outcome, warnings, &self.context));
                }
                Err(error) => self.fail(&error),
            },
        }
    }
}

/// What has been told so far, and what is ready to be.
struct Telling {
    options: RenderOptions,
    diarized: bool,
    trimmer: Trimmer,
    segments: usize,
    ready: VecDeque<String>,
}

impl Telling {
    fn new(speech: &SpeechRequest) -> Self {
        Self {
            options: speech.render,
            diarized: speech.format == ResponseFormat::DiarizedJson,
            trimmer: Trimmer::default(),
            segments: 0,
            ready: VecDeque::new(),
        }
    }

    fn tell(&mut self, event: &Event) {
        if let Event::Segment(segment) = event
            && !self.diarized
        {
            self.segments += 1;
            self.ready.extend(delta(&mut self.trimmer, segment, &self.options));
        }
    }

    /// The last events, written as they are sent.
    fn end(&mut self, outcome: Outcome, warnings: Vec<Warning>, context: &RequestContext) -> Pour {
        let Outcome { mut transcript, timings } = outcome;
        transcript.warnings.splice(0..0, warnings);
        context.note_outcome(samples_to_seconds(transcript.duration), &timings);
        let (trimmer, told, options) = (std::mem::take(&mut self.trimmer), self.segments, self.options);
        let diarized = self.diarized;
        Pour::start(move |out| {
            let reading = Reading::new(&transcript);
            if diarized {
                write_segments(&reading, out)?;
            } else {
                write_deltas(&reading, told, trimmer, &options, out)?;
            }
            write_done(reading, &options, out)
        })
    }
}

/// One delta for `segment`, unless nothing of it can be shown yet.
fn delta(trimmer: &mut Trimmer, segment: &Segment, options: &RenderOptions) -> Option<String> {
    let pieces = if options.logprobs {
        segment_pieces(segment)
    } else {
        vec![Piece { text: segment.text.clone(), logprob: segment.avg_logprob }]
    };
    let pieces = trimmer.push(pieces);
    let delta: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
    if delta.is_empty() {
        return None;
    }
    let logprobs = options.logprobs.then(|| pieces.into_iter().map(Logprob::from).collect());
    Some(frame(&to_json(&Payload::Delta { delta: &delta, logprobs })))
}

/// Writes the segments, each of one speaker.
fn write_segments(reading: &Reading<'_>, out: &mut dyn Write) -> io::Result<()> {
    reading.segments().zip(0..).try_for_each(|(segment, number)| {
        let event = DiarizedSegment::of(&segment, number, &reading.labels);
        out.write_all(frame(&to_json(&event)).as_bytes())
    })
}

/// Writes what follows the first `told` segments.
fn write_deltas(
    reading: &Reading<'_>,
    told: usize,
    mut trimmer: Trimmer,
    options: &RenderOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    if told < reading.transcript.segments.len() {
        for segment in reading.segments().skip(told) {
            let frame = delta(&mut trimmer, &segment, options);
            out.write_all(frame.unwrap_or_default().as_bytes())?;
        }
    }
    Ok(())
}

/// Writes the whole text and the end mark.
fn write_done(reading: Reading<'_>, options: &RenderOptions, out: &mut dyn Write) -> io::Result<()> {
    let transcript = reading.transcript;
    out.write_all(b"data: ")?;
    let done = Payload::Done {
        text: reading.text(),
        logprobs: options.logprobs.then_some(Logprobs(&reading)),
        languages: options.languages.then(|| [LanguageCode::of(transcript.language)]),
        usage: Usage::of(transcript, options.usage),
        warnings: warnings(transcript),
    };
    write_json(&done, out)?;
    drop(done);
    reading.end()?;
    out.write_all(b"\r\n\r\n")?;
    out.write_all(DONE.as_bytes())
}

/// One event. JSON escapes line ends, so that it always fits one line.
fn frame(json: &str) -> String {
    format!("data: {json}\r\n\r\n")
}
