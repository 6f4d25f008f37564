//! `POST /v1/audio/diarizations`: who spoke when, without the text. An extension.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::audio::AudioSource;
use crate::output::{Rendered, render_turns};
use crate::pipeline::{DiarizationOutcome, DiarizationRequest, SpeakerOptions};
use crate::time::samples_to_seconds;

use super::ApiState;
use super::answer::{
    Endpoint, Held, Job, Listen, Taken, keep_clips, take_in, unless_cut_off, wait_for_place,
};
use super::error::ApiError;
use super::form::Form;
use super::form::request::{TurnsRequest, parse_turns};
use super::line::Ask;

/// Answers with turns and speakers, as JSON or RTTM.
pub async fn create(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    unless_cut_off(&state, work(&request, payload, &state)).await
}

async fn work(http: &HttpRequest, payload: web::Payload, state: &ApiState) -> Result<HttpResponse, ApiError> {
    let Taken { form: Form { fields, ignored, upload }, slot, context } =
        take_in(Endpoint::Diarizations, http, payload, state).await?;
    let TurnsRequest { speakers, separation, format, embeddings, priority, warnings } =
        parse_turns(&fields, &ignored)?;
    drop(fields);
    let (known, clips) = keep_clips(speakers.known, &state.options.scratch).await?;
    context.note_request("", upload.bytes);
    let source = AudioSource { path: upload.file.path().to_path_buf(), name: upload.name.clone() };
    let name = upload.name.clone();
    let speakers = SpeakerOptions { known, ..speakers.options };
    let request = DiarizationRequest { source, speakers, separation };
    let place = wait_for_place(state, &context, slot, Ask { priority, bytes: upload.bytes }).await;
    let held = Held { upload, clips, place };
    let job = Job::start(state, held, Listen::No, move |backend, control| backend.diarize(&request, control));
    let DiarizationOutcome { mut conversation, timings } = job.finish().await?;
    conversation.warnings.splice(0..0, warnings);
    context.note_outcome(samples_to_seconds(conversation.duration), &timings);
    let rendering = move || render_turns(&conversation, format, name.as_deref(), embeddings);
    let Rendered { content_type, body } = web::block(rendering).await.map_err(|_| ApiError::internal())?;
    let mut response = HttpResponse::Ok();
    response.content_type(content_type).insert_header(("server-timing", context.server_timing()));
    Ok(response.body(body))
}
