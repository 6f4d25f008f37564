//! The request body, watched: its size and its pace.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep};

use crate::api::error::ApiError;
use crate::telemetry::metrics::Count;

use super::FormLimits;

/// Slowest pace at which an upload may go on, in bytes per second, so that a trickle does not hold a slot
/// for days.
const MIN_BYTES_PER_S: u64 = 1_024;

/// Why a body was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Over the limit.
    TooLarge,
    /// Silent for too long, or far too slow.
    TooSlow,
}

impl Verdict {
    /// As the client hears it.
    pub fn error(self, limit: u64) -> ApiError {
        match self {
            Self::TooLarge => ApiError::too_large(limit),
            Self::TooSlow => ApiError::too_slow(),
        }
    }
}

/// Tells why a body ended with an error.
#[derive(Clone, Default)]
pub struct Watch(Rc<Cell<Option<Verdict>>>);

impl Watch {
    /// The verdict, if there is one.
    pub fn verdict(&self) -> Option<Verdict> {
        self.0.get()
    }
}

/// A stream of the body that fails once it is over its limits. Clones read the same body.
#[derive(Clone)]
pub struct LimitedBody(Rc<RefCell<Inner>>);

struct Inner {
    payload: Payload,
    limit: u64,
    idle: Duration,
    /// When the body must be there.
    end: Instant,
    since: Instant,
    received: u64,
    ended: bool,
    /// Runs while nothing comes.
    alarm: Option<Pin<Box<Sleep>>>,
    watch: Watch,
    count: Count,
}

impl LimitedBody {
    /// `payload`, held to the limits on its size and pace.
    pub fn new(payload: Payload, limits: &FormLimits<'_>) -> (Self, Watch) {
        let watch = Watch::default();
        let now = Instant::now();
        let inner = Inner {
            payload,
            limit: limits.max_upload_bytes,
            idle: limits.idle,
            end: now + limits.longest,
            since: now,
            received: 0,
            ended: false,
            alarm: None,
            watch: watch.clone(),
            count: Count::default(),
        };
        (Self(Rc::new(RefCell::new(inner))), watch)
    }

    /// The same, counting its bytes as they come.
    pub fn counted(self, count: Count) -> Self {
        self.0.borrow_mut().count = count;
        self
    }

    /// Reads to the end, or to the first failure, and forgets what comes.
    pub async fn drain(mut self) {
        while let Some(Ok(_)) = self.next().await {}
    }
}

impl Stream for LimitedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().poll(cx)
    }
}

impl Inner {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.payload).poll_next(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                self.alarm = None;
                self.received += chunk.len() as u64;
                self.count.inc_by(chunk.len() as u64);
                if self.received > self.limit {
                    return self.end(Verdict::TooLarge);
                }
                // Whoever never pauses meets no alarm.
                if Instant::now() > self.end {
                    return self.end(Verdict::TooSlow);
                }
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(end) => {
                self.ended = true;
                Poll::Ready(end)
            }
            Poll::Pending => {
                let deadline = self.deadline();
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                match alarm.as_mut().poll(cx) {
                    Poll::Ready(()) => self.end(Verdict::TooSlow),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    /// When a silence that begins now has lasted too long.
    fn deadline(&self) -> Instant {
        let at_min_pace = Duration::from_secs(self.received / MIN_BYTES_PER_S);
        let silence = Instant::now() + self.idle;
        silence.min(self.since + self.idle * 2 + at_min_pace).min(self.end)
    }

    fn end(&mut self, verdict: Verdict) -> Poll<Option<Result<Bytes, PayloadError>>> {
        self.ended = true;
        self.watch.0.set(Some(verdict));
        Poll::Ready(Some(Err(PayloadError::Overflow)))
    }
}
