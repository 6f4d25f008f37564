//! The system's limits on this process, made to end requests and not the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes as many open files as the system allows, and turns the signal of a file grown too large into an error.
///
/// The usual limit of open files, 1024, is there for programs that use `select`; the hard limit is the real one. The
/// signal for a file over its limit (`ulimit -f`, LimitFSIZE) would end the process; ignored, the write fails with an
/// error, and one request ends instead. Called before other threads run.
pub fn soften() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Refused on systems whose hard limit is not to be had; then the soft one stays.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    // SAFETY: sets how a signal is dealt with; no handler runs.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
