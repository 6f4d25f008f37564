//! What the routes that take a recording share: from form to answer.
//!
//! One hop to a thread for blocking work and one back. When the client goes away, the handler's future (or
//! the stream's body) is dropped, and the drop cancels the work.

use std::future::Future;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpRequest, HttpResponse, web};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;

use crate::audio::AudioSource;
use crate::cancel::CancelToken;
use crate::error::ErrorKind;
use crate::models::ModelError;
use crate::output::{self, RenderOptions, ResponseFormat};
use crate::pipeline::{Control, Event, KnownSpeaker, Outcome, PipelineError, Request};
use crate::scratch::{NamedFile, Scratch, ScratchError};
use crate::telemetry::metrics::RequestMetrics;
use crate::telemetry::metrics::requests::Phase;
use crate::time::samples_to_seconds;
use crate::transcript::{Task, Transcript};

use super::admission::{Place, Slot};
use super::client::Client;
use super::context::RequestContext;
use super::error::ApiError;
use super::form::request::{SpeechRequest, model_name, parse};
use super::form::speakers::{FIELDS as SPEAKER_FIELDS, Named};
use super::form::{self, Form, FormLimits, Upload};
use super::lifecycle::Lifecycle;
use super::line::Ask;
use super::pour::Pour;
use super::{ApiState, Backend, sse};

/// The routes that take a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/audio/transcriptions`.
    Transcriptions,
    /// `/v1/audio/translations`.
    Translations,
    /// `/v1/audio/diarizations`.
    Diarizations,
}

impl Endpoint {
    /// What the recogniser is asked to do.
    pub fn task(self) -> Task {
        match self {
            Self::Transcriptions | Self::Diarizations => Task::Transcribe,
            Self::Translations => Task::Translate,
        }
    }

    /// Whether a form must name a model.
    pub fn needs_model(self) -> bool {
        self != Self::Diarizations
    }

    /// Whether the route has a text field of this name; the others are ignored.
    pub fn knows(self, field: &str) -> bool {
        let of_speakers = SPEAKER_FIELDS.contains(&field);
        match field {
            // Without words there is nothing to smooth.
            _ if self == Self::Diarizations => {
                of_speakers && field != "speaker_smoothing"
                    || matches!(field, "response_format" | "embeddings" | "priority" | "vocal_separation")
            }
            "model" | "prompt" | "response_format" | "temperature" => true,
            // Our own additions.
            "beam_size"
            | "condition_on_previous_text"
            | "chunking_strategy"
            | "priority"
            | "guard"
            | "coverage"
            | "vocal_separation" => true,
            "language"
            | "languages"
            | "keywords"
            | "include"
            | "stream"
            | "timestamp_granularities"
            | "diarize"
            | "speaker_labels" => self == Self::Transcriptions,
            _ => of_speakers && self == Self::Transcriptions,
        }
    }
}

/// What `work` gives, or the server's last words if it stops before.
///
/// # Errors
/// Whatever is found before the first byte of the answer.
pub async fn unless_cut_off(
    state: &ApiState,
    work: impl Future<Output = Result<HttpResponse, ApiError>>,
) -> Result<HttpResponse, ApiError> {
    tokio::select! {
        biased;
        answer = work => answer,
        () = state.lifecycle.cut_off() => Err(Lifecycle::last_words()),
    }
}

/// Answers one request to `endpoint`, or says that the server stops before it can.
///
/// # Errors
/// Whatever is found before the first byte of the answer.
pub async fn answer(
    endpoint: Endpoint,
    http: &HttpRequest,
    payload: web::Payload,
    state: &ApiState,
) -> Result<HttpResponse, ApiError> {
    unless_cut_off(state, work(endpoint, http, payload, state)).await
}

/// A request whose body has been taken in.
pub struct Taken {
    /// Its fields and its file.
    pub form: Form,
    /// Its right to a running place.
    pub slot: Slot,
    /// For its log line.
    pub context: Rc<RequestContext>,
}

/// Lets a request in and takes its form, or refuses it, before its body is read where that is possible.
///
/// # Errors
/// As said.
pub async fn take_in(
    endpoint: Endpoint,
    http: &HttpRequest,
    payload: web::Payload,
    state: &ApiState,
) -> Result<Taken, ApiError> {
    let context = RequestContext::of(http);
    if !state.backend.health().ready {
        let message = "the server is still loading its models; try again in a moment";
        return Err(ApiError::new(ErrorKind::Unavailable, message)
            .with_reason("loading")
            .with_retry_after(2));
    }
    let limits = limits(state);
    refuse_large(http, &limits)?;
    let slot = state.admission.enter(Client::of(http))?;
    form::check_room(http.headers(), &limits)?;
    let check_model = |name: &str| known_model(&*state.backend, model_name(name)?);
    context.enter(Phase::Upload);
    let _upload = state.metrics.requests.upload();
    let received = form::receive(endpoint, http.headers(), payload, &limits, check_model).await;
    let form = received.inspect_err(|error| {
        if error.reason() == form::CLIENT_LEFT {
            context.note_client_left();
        }
    })?;
    Ok(Taken { form, slot, context })
}

/// Waits for the request's turn.
pub async fn wait_for_place(state: &ApiState, context: &RequestContext, slot: Slot, ask: Ask) -> Place {
    context.enter(Phase::Queue);
    let place = {
        let _wait = state.metrics.requests.wait();
        state.admission.start(slot, ask).await
    };
    context.enter(Phase::Work);
    place
}

/// Writes the clips of known speakers into files, so that they take no memory while the request waits.
///
/// # Errors
/// 503 when there is no room for them.
pub async fn keep_clips(
    known: Vec<Named>,
    scratch: &Scratch,
) -> Result<(Vec<KnownSpeaker>, Vec<NamedFile>), ApiError> {
    if known.is_empty() {
        return Ok(Default::default());
    }
    let scratch = scratch.clone();
    let keep = move |Named { name, clip }: Named| -> Result<(KnownSpeaker, NamedFile), ScratchError> {
        let (mut kept, mut file) = scratch.named("reference-")?;
        kept.share.grow(clip.len() as u64)?;
        file.write_all(&clip)?;
        let source = AudioSource { path: kept.path().to_path_buf(), name: None };
        Ok((KnownSpeaker { name, clip: source }, kept))
    };
    let writing = web::block(move || known.into_iter().map(keep).collect::<Result<Vec<_>, _>>());
    let written = writing.await.map_err(|_| ApiError::internal())?;
    Ok(written.map_err(form::no_storage)?.into_iter().unzip())
}

async fn work(
    endpoint: Endpoint,
    http: &HttpRequest,
    payload: web::Payload,
    state: &ApiState,
) -> Result<HttpResponse, ApiError> {
    let Taken { form, slot, context } = take_in(endpoint, http, payload, state).await?;
    let (mut speech, upload) = speech_request(endpoint, form)?;
    let (known, clips) = keep_clips(std::mem::take(&mut speech.known), &state.options.scratch).await?;
    if let Some(speakers) = &mut speech.request.speakers {
        speakers.known = known;
    }
    context.note_request(&speech.request.model, upload.bytes);
    let ask = Ask { priority: speech.request.priority, bytes: upload.bytes };
    let place = wait_for_place(state, &context, slot, ask).await;
    let listen = match (speech.stream, speech.request.speakers.is_some()) {
        (false, _) => Listen::No,
        // What a segment is like is known when all speakers are.
        (true, true) => Listen::Start,
        (true, false) => Listen::Segments,
    };
    let request = speech.request.clone();
    let held = Held { upload, clips, place };
    let job = Job::start(state, held, listen, move |backend, control| backend.run(&request, control));
    if speech.stream {
        return sse::answer(job, speech, context, state.lifecycle.clone()).await;
    }
    let mut outcome = job.finish().await?;
    outcome.transcript.warnings.splice(0..0, speech.warnings);
    context.note_outcome(samples_to_seconds(outcome.transcript.duration), &outcome.timings);
    rendered(outcome.transcript, speech.format, speech.render, &context).await
}

/// The answer at once where it is short, and piece by piece where the transcript lies in a file.
async fn rendered(
    transcript: Transcript,
    format: ResponseFormat,
    options: RenderOptions,
    context: &RequestContext,
) -> Result<HttpResponse, ApiError> {
    let mut response = HttpResponse::Ok();
    response.content_type(format.content_type()).insert_header(("server-timing", context.server_timing()));
    if transcript.segments.is_in_memory() {
        return Ok(response.body(output::render(&transcript, format, &options).body));
    }
    let mut body = Pour::start(move |out| output::write(&transcript, format, &options, out));
    body.begin().await.map_err(|error| {
        tracing::error!(%error, "a finished transcript could not be read");
        ApiError::internal()
    })?;
    Ok(response.streaming(body.into_stream()))
}

fn limits(state: &ApiState) -> FormLimits<'_> {
    FormLimits {
        max_upload_bytes: state.options.max_upload_bytes,
        idle: Duration::from_secs(state.options.body_timeout_s.max(1)),
        scratch: &state.options.scratch,
        longest: Duration::from_secs(state.options.upload_timeout_s.max(1)),
        received: state.metrics.requests.upload_bytes(),
        text_room: &state.text_room,
    }
}

/// Answers 413 before the body is read where the client says how long it is.
fn refuse_large(http: &HttpRequest, limits: &FormLimits<'_>) -> Result<(), ApiError> {
    let length = http.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match length.and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length > limits.max_upload_bytes => Err(ApiError::too_large(limits.max_upload_bytes)),
        _ => Ok(()),
    }
}

fn known_model(backend: &dyn Backend, name: &str) -> Result<(), ApiError> {
    match backend.resolve(name) {
        Ok(_) => Ok(()),
        // A model for something else: the client's mistake, unlike one found damaged when it is loaded.
        Err(error @ ModelError::Unusable { .. }) => {
            Err(ApiError::field("model", error.to_string()).with_code("model_unusable"))
        }
        Err(error) => Err(ApiError::from(&error)),
    }
}

fn speech_request(endpoint: Endpoint, form: Form) -> Result<(SpeechRequest, Upload), ApiError> {
    let Form { fields, ignored, upload } = form;
    let model = fields.text("model")?.unwrap_or_default().to_owned();
    let source = AudioSource { path: upload.file.path().to_path_buf(), name: upload.name.clone() };
    Ok((parse(endpoint, &fields, &ignored, Request::new(source, model))?, upload))
}

/// What a job keeps until its work has really ended, cancelled or not.
pub struct Held {
    /// The recording.
    pub upload: Upload,
    /// Those of known speakers.
    pub clips: Vec<NamedFile>,
    /// Its running place.
    pub place: Place,
}

/// What somebody wants to hear of a job on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nothing.
    No,
    /// That its file is accepted.
    Start,
    /// That, and every segment.
    Segments,
}

/// A request that runs on another thread. Dropping it cancels the work.
pub struct Job<T = Outcome> {
    task: JoinHandle<Result<T, PipelineError>>,
    /// What happens on the way, where somebody asked for it. Ends when the work does. Segments may be missing
    /// at the end, where the client was far behind; those before are all there.
    pub events: mpsc::Receiver<Event>,
    metrics: RequestMetrics,
    _cancel: CancelOnDrop,
}

/// Events that a client may be behind. Its connection holds many kilobytes besides.
const EVENTS_AHEAD: usize = 1_024;

/// Tells a stream what it shows. The pipeline must not wait for a client, and what waits for it must not grow: one
/// that falls too far behind is told nothing more until the end, when the transcript holds what is missing.
struct Teller {
    sender: mpsc::Sender<Event>,
    listen: Listen,
    is_behind: AtomicBool,
}

impl Teller {
    fn tell(&self, event: Event) {
        let is_shown = match event {
            Event::Accepted => self.listen != Listen::No,
            Event::Segment(_) => self.listen == Listen::Segments,
            _ => false,
        };
        if is_shown
            && !self.is_behind.load(Ordering::Relaxed)
            && let Err(TrySendError::Full(_)) = self.sender.try_send(event)
        {
            self.is_behind.store(true, Ordering::Relaxed);
        }
    }
}

struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl<T: Send + 'static> Job<T> {
    /// Starts `work`.
    pub fn start(
        state: &ApiState,
        held: Held,
        listen: Listen,
        work: impl FnOnce(&dyn Backend, &Control) -> Result<T, PipelineError> + Send + 'static,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_AHEAD);
        let cancel = CancelToken::new();
        let control = if listen != Listen::No {
            let teller = Teller { sender, listen, is_behind: AtomicBool::new(false) };
            Control::with_listener(cancel.clone(), move |event| teller.tell(event))
        } else {
            drop(sender);
            Control::new(cancel.clone())
        };
        let backend = Arc::clone(&state.backend);
        let span = tracing::Span::current();
        let task = tokio::task::spawn_blocking(move || {
            let _span = span.entered();
            let result = work(&*backend, &control);
            // By a panic they go as well.
            let Held { upload, clips, place } = held;
            drop((upload, clips, place));
            result
        });
        let metrics = state.metrics.requests.clone();
        Self { task, events, metrics, _cancel: CancelOnDrop(cancel) }
    }

    /// Waits for the end.
    pub async fn finish(mut self) -> Result<T, ApiError> {
        self.outcome().await
    }

    /// Waits for the end; to be called once.
    pub async fn outcome(&mut self) -> Result<T, ApiError> {
        match (&mut self.task).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(error)) => {
                log_failure(&error);
                Err(ApiError::from(&error))
            }
            Err(error) => {
                tracing::error!(%error, "a request ended in a panic");
                self.metrics.panicked();
                Err(ApiError::internal())
            }
        }
    }
}

/// The client's own mistakes are told to the client; the rest belongs in the log as well.
fn log_failure(error: &PipelineError) {
    match error.kind() {
        ErrorKind::Internal | ErrorKind::Unavailable | ErrorKind::ModelUnusable => {
            tracing::error!(%error, "a request failed");
        }
        kind => tracing::debug!(%error, ?kind, "a request was refused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::TimeSpan;
    use crate::transcript::Segment;

    fn segment(number: u64) -> Event {
        Event::Segment(Segment { span: TimeSpan::new(number, number + 1), ..Segment::default() })
    }

    #[test]
    fn a_client_that_falls_behind_is_told_a_prefix() {
        let (sender, mut events) = mpsc::channel(3);
        let teller = Teller { sender, listen: Listen::Segments, is_behind: AtomicBool::new(false) };
        (0..5).for_each(|number| teller.tell(segment(number)));
        let mut told = vec![events.try_recv().unwrap()];
        // There is room again, but a gap must not come about.
        teller.tell(segment(5));
        told.extend(std::iter::from_fn(|| events.try_recv().ok()));
        let starts: Vec<_> = told
            .iter()
            .map(|event| if let Event::Segment(segment) = event { segment.span.start } else { 99 })
            .collect();
        assert_eq!(starts, [0, 1, 2]);
    }
}
