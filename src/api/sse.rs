//! The answer to `stream=true`: server-sent events, to the byte as OpenAI's API writes them.
//!
//! Only `data:` lines, CRLF ends, a blank line after every event, `[DONE]` at the end. Whatever fails before the
//! pipeline has accepted the file is an ordinary HTTP error; later failures are an event with an `error`
//! object. The deltas, joined, equal the final text exactly.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::Serialize;

use crate::output::RenderOptions;
use crate::output::json::{LanguageCode, Logprob, Usage, WarningBody, to_json, warnings};
use crate::output::pieces::{Piece, Trimmer, segment_pieces};
use crate::pipeline::{Event, Outcome};
use crate::time::samples_to_seconds;
use crate::transcript::{Segment, Transcript};

use super::answer::Job;
use super::context::RequestContext;
use super::error::ApiError;
use super::form::request::SpeechRequest;

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
        logprobs: Option<&'a [Logprob]>,
    },
    #[serde(rename = "transcript.text.done")]
    Done {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<&'a [Logprob]>,
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
) -> Result<HttpResponse, ApiError> {
    let mut telling = Telling::new(speech);
    loop {
        match job.events.recv().await {
            Some(Event::Accepted { .. }) => break,
            Some(event) => telling.tell(event),
            None => {
                let outcome = job.outcome().await?;
                telling.end(outcome, &context);
                break;
            }
        }
    }
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(frames(job, telling, context)))
}

/// The frames as they become ready. Dropping the stream cancels the job that it holds.
fn frames(
    job: Job,
    telling: Telling,
    context: Rc<RequestContext>,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    stream::unfold((job, telling, context), |(mut job, mut telling, context)| async move {
        loop {
            if let Some(frame) = telling.ready.pop_front() {
                return Some((Ok(Bytes::from(frame)), (job, telling, context)));
            }
            if telling.ended {
                return None;
            }
            match tokio::time::timeout(PING_EVERY, job.events.recv()).await {
                Err(_silence) => telling.ready.push_back(PING.to_owned()),
                Ok(Some(event)) => telling.tell(event),
                Ok(None) => match job.outcome().await {
                    Ok(outcome) => telling.end(outcome, &context),
                    Err(error) => telling.fail(&error),
                },
            }
        }
    })
}

/// What has been told so far, and what is ready to be.
struct Telling {
    options: RenderOptions,
    warnings: Vec<crate::transcript::Warning>,
    trimmer: Trimmer,
    segments: usize,
    text: String,
    logprobs: Vec<Logprob>,
    ready: VecDeque<String>,
    ended: bool,
}

impl Telling {
    fn new(speech: SpeechRequest) -> Self {
        Self {
            options: speech.render,
            warnings: speech.warnings,
            trimmer: Trimmer::default(),
            segments: 0,
            text: String::new(),
            logprobs: Vec::new(),
            ready: VecDeque::new(),
            ended: false,
        }
    }

    fn tell(&mut self, event: Event) {
        if let Event::Segment(segment) = event {
            self.delta(&segment);
        }
    }

    /// One delta for `segment`, unless nothing of it can be shown yet.
    fn delta(&mut self, segment: &Segment) {
        self.segments += 1;
        let pieces = if self.options.logprobs {
            segment_pieces(segment)
        } else {
            vec![Piece { text: segment.text.clone(), logprob: segment.avg_logprob }]
        };
        let pieces = self.trimmer.push(pieces);
        let delta: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
        if delta.is_empty() {
            return;
        }
        let first = self.logprobs.len();
        if self.options.logprobs {
            self.logprobs.extend(pieces.into_iter().map(Logprob::from));
        }
        let logprobs = self.options.logprobs.then(|| &self.logprobs[first..]);
        self.ready.push_back(frame(&to_json(&Payload::Delta { delta: &delta, logprobs })));
        self.text.push_str(&delta);
    }

    /// The last events: what the pipeline did not announce on the way, the whole text, the end mark.
    fn end(&mut self, outcome: Outcome, context: &RequestContext) {
        let Outcome { mut transcript, timings } = outcome;
        for segment in transcript.segments.iter().skip(self.segments) {
            self.delta(segment);
        }
        transcript.warnings.splice(0..0, std::mem::take(&mut self.warnings));
        context.note_outcome(samples_to_seconds(transcript.duration), &timings);
        let done = self.done(&transcript);
        self.ready.extend([done, DONE.to_owned()]);
        self.ended = true;
    }

    fn done(&self, transcript: &Transcript) -> String {
        if self.text != transcript.text() {
            // What was sent stays sent: the client's text and ours must not differ.
            tracing::error!("the segments announced differ from those of the transcript");
        }
        frame(&to_json(&Payload::Done {
            text: &self.text,
            logprobs: self.options.logprobs.then_some(self.logprobs.as_slice()),
            languages: self.options.languages.then(|| [LanguageCode::of(transcript.language)]),
            usage: Usage::of(transcript, self.options.usage),
            warnings: warnings(transcript),
        }))
    }

    fn fail(&mut self, error: &ApiError) {
        self.ready.push_back(frame(&error.envelope()));
        self.ended = true;
    }
}

/// One event. JSON escapes line ends, so that it always fits one line.
fn frame(json: &str) -> String {
    format!("data: {json}\r\n\r\n")
}
