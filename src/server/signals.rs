//! What signals do to a running server, and what its exit code then is.
//!
//! SIGTERM and SIGINT let requests finish and tell the rest; a second one ends the process at once. SIGHUP reads the
//! certificate again.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::Api;
use crate::api::lifecycle::Ending;
use crate::api::tls::Tls;
use crate::scratch::Scratch;
use crate::telemetry;

/// Exit code when requests were cut off because their time was up.
const CUT_OFF: u8 = 3;
/// Exit code after a second signal.
const AT_ONCE: u8 = 4;
/// How long traces may take to be sent when the process ends at once.
const LAST_SPANS: Duration = Duration::from_millis(500);

/// 0 when every request had its answer, 3 when some did not.
pub fn exit_code(ending: Ending) -> u8 {
    match ending {
        Ending::Finished => 0,
        Ending::CutOff(_) => CUT_OFF,
    }
}

/// Closes `api` at the first signal, then stops `server`; the cell then says how that went. A second signal ends the
/// process, and takes the temporary files with it.
pub fn end_on_signal(api: Api, server: ServerHandle, scratch: Scratch) -> Rc<Cell<Ending>> {
    let ending = Rc::new(Cell::new(Ending::Finished));
    let outcome = Rc::clone(&ending);
    rt::spawn(async move {
        let Some(mut signals) = Signals::new() else { return };
        signals.next().await;
        tracing::info!("stopping: running requests may finish");
        rt::spawn(async move {
            signals.next().await;
            tracing::warn!("stopping at once");
            exit_with(AT_ONCE, &scratch)
        });
        outcome.set(api.close().await);
        if let Ending::CutOff(requests) = outcome.get() {
            tracing::warn!(requests, "stopped before all requests were done");
        }
        server.stop(true).await;
    });
    ending
}

/// Reads the certificate again at each SIGHUP. Without one, the signal does what it does to any program: ends it.
pub fn reload_on_hangup(tls: Option<Tls>) {
    let (Some(tls), Ok(mut hangups)) = (tls, signal(SignalKind::hangup())) else { return };
    rt::spawn(async move {
        while hangups.recv().await.is_some() {
            match tls.reload() {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => tracing::error!(%error, "the certificate stays as it was"),
            }
        }
    });
}

/// Ends the process with the exit code for `ending`, whatever is still running.
pub fn exit_now(ending: Ending, scratch: &Scratch) -> ! {
    exit_with(exit_code(ending), scratch)
}

fn exit_with(code: u8, scratch: &Scratch) -> ! {
    scratch.close();
    // The last spans, if whoever collects them is quick.
    let (done, sent) = mpsc::channel();
    std::thread::spawn(move || {
        telemetry::stop();
        let _ = done.send(());
    });
    let _ = sent.recv_timeout(LAST_SPANS);
    // Not `exit`: its cleaning up would take the engines' memory from under their running threads.
    // SAFETY: ends the process; nothing is touched any more.
    unsafe { libc::_exit(code.into()) }
}

/// The signals that end the program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Option<Self> {
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => Some(Self { terminate, interrupt }),
            _ => {
                tracing::error!("signals cannot be received; stop the process by SIGKILL");
                None
            }
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
