//! Ctrl-C in commands that clean up behind them.

use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::cancel::CancelToken;

/// Exit code when somebody does not wait for that.
const AT_ONCE: i32 = 130;

/// The first SIGINT or SIGTERM cancels the work, a second one ends the process at once. Where the system does not let
/// signals be watched they do what they always do.
pub fn cancel_on_interrupt(cancel: &CancelToken) {
    let cancel = cancel.clone();
    let watch = move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            for is_first in [true, false] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if is_first {
                    cancel.cancel();
                } else {
                    std::process::exit(AT_ONCE);
                }
            }
        });
    };
    // Without the thread, a signal ends the process as it would have anyway.
    let _ = thread::Builder::new().name("signals".to_owned()).spawn(watch);
}
