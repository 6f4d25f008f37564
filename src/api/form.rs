//! The multipart form, in two steps.
//!
//! Here the body is taken in: text fields into memory, within limits, and the file straight to disk, whatever
//! their order. `form::request` then parses the fields into a `pipeline::Request` without doubts. `body`
//! watches over size and pace, `part` reads the odd spellings of multipart headers, `fields` the odd
//! spellings of arrays and objects, `speakers` what is said of speakers, `data_url` the recordings inside text fields.

mod body;
pub mod data_url;
mod fields;
mod part;
pub mod request;
pub mod speakers;

use std::sync::Arc;
use std::time::Duration;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, HeaderMap};
use actix_web::web;
use futures_util::StreamExt;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ErrorKind;
use crate::scratch::{NamedFile, Scratch, ScratchError};
use crate::telemetry::metrics::Count;

use super::answer::Endpoint;
use super::error::{ApiError, shown};
use body::{LimitedBody, Watch};
pub use fields::Fields;

/// Fields that one form may have.
const MAX_FIELDS: usize = 1_000;
/// Size of one text field, in bytes.
const MAX_FIELD_BYTES: usize = 1 << 20;
/// Size of one reference clip, which is text too: ten seconds of uncompressed audio in base64.
const MAX_REFERENCE_BYTES: usize = 4 << 20;
/// Size of all text fields, in bytes.
const MAX_TEXT_BYTES: usize = 20 << 20;
/// Unknown fields whose names are kept.
const MAX_IGNORED: usize = 16;
/// How long the end of a body is waited for once the form is complete.
const EPILOGUE: Duration = Duration::from_secs(5);
/// Bytes of the file that are written at once.
const WRITE_BUFFER: usize = 256 << 10;

/// Reason of the error that a connection gave which ended within the body.
pub const CLIENT_LEFT: &str = "client_left";

/// What a form may take.
#[derive(Clone, Debug)]
pub struct FormLimits<'a> {
    /// Size of the whole body, in bytes.
    pub max_upload_bytes: u64,
    /// Longest silence of the client.
    pub idle: Duration,
    /// Longest time for the whole body.
    pub longest: Duration,
    /// Where the file goes.
    pub scratch: &'a Scratch,
    /// Counts the bytes as they come.
    pub received: Count,
    /// Bytes that the text fields of all requests may still take in memory.
    pub text_room: &'a Arc<Semaphore>,
}

/// A form taken in.
pub struct Form {
    /// Its text fields.
    pub fields: Fields,
    /// Names of fields that this route does not know, without repetition.
    pub ignored: Vec<String>,
    /// Its file.
    pub upload: Upload,
}

/// A file on disk, deleted when dropped.
#[derive(Debug)]
pub struct Upload {
    /// The file itself.
    pub file: NamedFile,
    /// What the client calls it; a label, never a path.
    pub name: Option<String>,
    /// Its size.
    pub bytes: u64,
}

/// Takes in the form of a request to `endpoint`. `check_model` is asked about the model as soon as its name is
/// known, so that a wrong name need not wait for the whole file.
///
/// # Errors
/// 400 for anything but a whole form with one file and a model, 408, 413, and 503 when the disk does not
/// take the file.
pub async fn receive(
    endpoint: Endpoint,
    headers: &HeaderMap,
    payload: web::Payload,
    limits: &FormLimits<'_>,
    check_model: impl Fn(&str) -> Result<(), ApiError>,
) -> Result<Form, ApiError> {
    let canonical = part::boundary(headers)?;
    let (body, watch) = LimitedBody::new(payload.into_inner(), limits);
    let body = body.counted(limits.received.clone());
    let mut parts = Multipart::new(&canonical, body.clone());
    let mut intake = Intake {
        endpoint,
        limits,
        watch: &watch,
        fields: Fields::default(),
        ignored: vec![],
        count: 0,
        text_bytes: 0,
        text_share: None,
        upload: None,
    };
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| intake.broken(&error))?;
        intake.take(part, &check_model).await?;
    }
    drop(parts);
    // The connection can only be used again once the body has been read to its end; what it holds after the
    // form is of no interest, and neither is whether it ever ends.
    let _ = tokio::time::timeout(EPILOGUE, body.drain()).await;
    let Intake { fields, ignored, upload, .. } = intake;
    if endpoint.needs_model() {
        check_model(required_model(&fields)?)?;
    }
    let upload = upload.ok_or_else(|| {
        ApiError::field("file", "the form has no file; send the recording as the part named `file`")
    })?;
    if upload.bytes == 0 {
        return Err(ApiError::new(ErrorKind::UndecodableAudio, "the file is empty"));
    }
    Ok(Form { fields, ignored, upload })
}

/// Answers 503 before the body is read where its declared size, or none at all, would not find room.
///
/// # Errors
/// As said.
pub fn check_room(headers: &HeaderMap, limits: &FormLimits<'_>) -> Result<(), ApiError> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    limits.scratch.check(length.unwrap_or(0)).map_err(no_storage)
}

/// The name of the model.
fn required_model(fields: &Fields) -> Result<&str, ApiError> {
    fields.text("model")?.ok_or_else(|| {
        ApiError::field("model", "the form has no `model`; `GET /v1/models` lists those there are")
    })
}

/// A form on its way in.
struct Intake<'a> {
    endpoint: Endpoint,
    limits: &'a FormLimits<'a>,
    watch: &'a Watch,
    fields: Fields,
    ignored: Vec<String>,
    count: usize,
    text_bytes: usize,
    /// What they take of the room that all requests share.
    text_share: Option<OwnedSemaphorePermit>,
    upload: Option<Upload>,
}

impl Intake<'_> {
    async fn take(
        &mut self,
        mut part: Field,
        check_model: &impl Fn(&str) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        self.count += 1;
        if self.count > MAX_FIELDS {
            return Err(ApiError::form(format!("the form has more than {MAX_FIELDS} fields")));
        }
        let disposition = part.headers().get(CONTENT_DISPOSITION).and_then(part::disposition);
        let Some(part::Disposition { name, filename }) = disposition else {
            return Err(ApiError::form(
                "a part of the form has no name; each needs `Content-Disposition: form-data; name=\"…\"`",
            ));
        };
        let base = fields::base(&name);
        if base == "file" {
            if let Some(model) = self.fields.text("model")? {
                check_model(model)?;
            }
            if self.upload.is_some() {
                return Err(ApiError::field("file", "the form has more than one `file`; send one recording"));
            }
            self.upload = Some(self.store(&mut part, filename).await?);
        } else if self.endpoint.knows(&base) {
            let value = self.text(&base, &mut part).await?;
            self.fields.add(&name, value);
        } else {
            self.skip(&name, &mut part).await?;
        }
        Ok(())
    }

    /// Takes room for so many more bytes of text, until the form has been read.
    fn reserve(&mut self, bytes: usize) -> Result<(), ApiError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let share = Arc::clone(self.limits.text_room).try_acquire_many_owned(bytes).map_err(|_| {
            let message = "the server holds as much text of other forms as it can; try again in a moment";
            ApiError::new(ErrorKind::Busy, message).with_reason("text")
        })?;
        match &mut self.text_share {
            Some(all) => all.merge(share),
            None => self.text_share = Some(share),
        }
        Ok(())
    }

    async fn store(&self, part: &mut Field, filename: Option<String>) -> Result<Upload, ApiError> {
        let (mut kept, file) = self.limits.scratch.named("upload-").map_err(no_storage)?;
        let mut file = BufWriter::with_capacity(WRITE_BUFFER, tokio::fs::File::from_std(file));
        let mut bytes = 0;
        while let Some(chunk) = part.next().await {
            let chunk = chunk.map_err(|error| self.broken(&error))?;
            bytes += chunk.len() as u64;
            kept.share.grow(chunk.len() as u64).map_err(no_storage)?;
            file.write_all(&chunk).await.map_err(no_storage)?;
        }
        file.flush().await.map_err(no_storage)?;
        Ok(Upload { file: kept, name: filename.as_deref().and_then(part::label), bytes })
    }

    async fn text(&mut self, base: &str, part: &mut Field) -> Result<String, ApiError> {
        let limit = if base == "known_speaker_references" { MAX_REFERENCE_BYTES } else { MAX_FIELD_BYTES };
        let mut value = Vec::new();
        while let Some(chunk) = part.next().await {
            let chunk = chunk.map_err(|error| self.broken(&error))?;
            self.text_bytes += chunk.len();
            if value.len() + chunk.len() > limit || self.text_bytes > MAX_TEXT_BYTES {
                return Err(ApiError::field(
                    base,
                    format!(
                        "the field `{}` is larger than {limit} bytes, or the fields are together",
                        shown(base)
                    ),
                ));
            }
            self.reserve(chunk.len())?;
            value.extend_from_slice(&chunk);
        }
        String::from_utf8(value)
            .map_err(|_| ApiError::field(base, format!("the field `{}` is not UTF-8 text", shown(base))))
    }

    async fn skip(&mut self, name: &str, part: &mut Field) -> Result<(), ApiError> {
        while let Some(chunk) = part.next().await {
            chunk.map_err(|error| self.broken(&error))?;
        }
        let name = shown(name);
        if self.ignored.len() < MAX_IGNORED && !self.ignored.contains(&name) {
            self.ignored.push(name);
        }
        Ok(())
    }

    /// What to say when the body cannot be read on.
    fn broken(&self, error: &MultipartError) -> ApiError {
        if let Some(verdict) = self.watch.verdict() {
            return verdict.error(self.limits.max_upload_bytes);
        }
        let reason = match error {
            MultipartError::Incomplete | MultipartError::Payload(_) => {
                "it ends early, or a header in it is too long".to_owned()
            }
            MultipartError::BoundaryMissing => "a boundary is missing or damaged".to_owned(),
            MultipartError::Nested => "a part is itself multipart, which is not supported".to_owned(),
            other => shown(&other.to_string()),
        };
        let damaged = ApiError::form(format!("the multipart form is damaged: {reason}"));
        match error {
            MultipartError::Payload(PayloadError::Incomplete(_)) => damaged.with_reason(CLIENT_LEFT),
            _ => damaged,
        }
    }
}

/// A disk that does not take what a client sent.
pub fn no_storage(error: impl Into<ScratchError>) -> ApiError {
    let error = error.into();
    tracing::error!(%error, detail = ?error, "an upload could not be stored");
    ApiError::from(&error)
}
