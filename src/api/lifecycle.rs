//! From serving to stopping to the end.
//!
//! Once the server is stopping, requests under `/v1` are answered with 503, on old connections and on new ones,
//! and those that were let in before may finish. When their time is up the rest is told so: a request by a 503, a
//! stream by an event with an error. Only then does the server stop listening.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError, web};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::ErrorKind;

use super::ApiState;
use super::context::RequestContext;
use super::error::ApiError;
use super::tally::{Held, Tally};

/// How long those that were told so may take to hear it, and cancelled work to end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// After which clients are asked to come back: another server, or this one started again, is there by then.
const RETRY_AFTER_S: u64 = 2;

/// Where the server stands. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Nobody is let in; those who are may finish.
    Stopping,
    /// Those who are left are told so.
    CutOff,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every request had its answer.
    Finished,
    /// So many requests did not have time for theirs.
    CutOff(usize),
}

/// Where the server stands, and who is there. Cloning shares it.
#[derive(Clone)]
pub struct Lifecycle(Arc<State>);

struct State {
    phase: watch::Sender<Phase>,
    visits: Tally,
}

impl Default for Lifecycle {
    /// Serving, with nobody there.
    fn default() -> Self {
        Self(Arc::new(State { phase: watch::Sender::new(Phase::Serving), visits: Tally::new() }))
    }
}

impl Lifecycle {
    /// Whether nobody is let in any more.
    pub fn is_stopping(&self) -> bool {
        *self.0.phase.borrow() > Phase::Serving
    }

    /// Waits until those who are still there are to be told that there will be no answer.
    pub async fn cut_off(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.phase.subscribe().wait_for(|phase| *phase == Phase::CutOff).await;
    }

    /// A visit that lasts until its answer has been handed over, unless the server is stopping.
    fn visit(&self) -> Option<Held> {
        let visit = self.0.visits.hold();
        // Looked at afterwards: who is not counted when stopping begins is not let in either.
        (!self.is_stopping()).then_some(visit)
    }

    /// Lets nobody in from now on, and waits until all have left; after `patience`, tells those who are left and
    /// gives them a moment more.
    pub async fn stop(&self, patience: Duration) -> Ending {
        self.0.phase.send_replace(Phase::Stopping);
        if timeout(patience, self.0.visits.empty()).await.is_ok() {
            return Ending::Finished;
        }
        let left = self.0.visits.count();
        self.0.phase.send_replace(Phase::CutOff);
        // Whoever does not even read this is left alone.
        let _ = timeout(LAST_WORDS, self.0.visits.empty()).await;
        Ending::CutOff(left)
    }

    /// What those hear who come too late.
    fn refusal() -> ApiError {
        ApiError::new(ErrorKind::Unavailable, "the server is stopping; try again in a moment")
            .with_reason("stopping")
            .with_retry_after(RETRY_AFTER_S)
    }

    /// What those hear whose time is up.
    pub fn last_words() -> ApiError {
        ApiError::new(
            ErrorKind::Unavailable,
            "the server stopped before this request was done; send it again in a moment",
        )
        .with_reason("stopping")
        .with_retry_after(RETRY_AFTER_S)
    }
}

/// Waits for `work` to end, for at most as long as last words may take; whether it did.
pub async fn ends_soon(work: impl Future<Output = ()>) -> bool {
    timeout(LAST_WORDS, work).await.is_ok()
}

/// Middleware: counts the request as a visit, or answers 503 before anything of the body is read.
///
/// # Errors
/// As the handler.
pub async fn gate<B>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<BoxBody>, Error>
where
    B: MessageBody + 'static,
{
    let state = request.app_data::<web::Data<ApiState>>().expect("the app is built with its state");
    match state.lifecycle.visit() {
        Some(visit) => {
            RequestContext::of(request.request()).hold(visit);
            Ok(next.call(request).await?.map_into_boxed_body())
        }
        None => Ok(request.into_response(Lifecycle::refusal().error_response())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[actix_web::test]
    async fn those_who_are_there_may_finish_and_nobody_is_let_in() {
        let lifecycle = Lifecycle::default();
        let visit = lifecycle.visit();
        let stopping = {
            let lifecycle = lifecycle.clone();
            actix_web::rt::spawn(async move { lifecycle.stop(Duration::from_secs(3600)).await })
        };
        while !lifecycle.is_stopping() {
            tokio::task::yield_now().await;
        }
        assert!(lifecycle.visit().is_none());
        assert!(lifecycle.cut_off().now_or_never().is_none());
        drop(visit);
        assert_eq!(stopping.await.unwrap(), Ending::Finished);
    }

    #[actix_web::test]
    async fn when_time_is_up_the_rest_is_told_and_counted() {
        let lifecycle = Lifecycle::default();
        let visits = [lifecycle.visit(), lifecycle.visit()];
        let told = lifecycle.clone();
        let guests = actix_web::rt::spawn(async move {
            told.cut_off().await;
            drop(visits);
        });
        assert_eq!(lifecycle.stop(Duration::ZERO).await, Ending::CutOff(2));
        guests.await.unwrap();
    }
}
