//! What the system does for connections: it ends those whose other side reads nothing, or is no longer there.
//!
//! The server itself cannot see either while it waits for room to write, or for work to end.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Silence after which the other side is asked whether it is still there, and how often, until it counts as gone.
const ASK_AFTER: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_secs(10);

/// Lets all connections that `listener` accepts end when their other side has gone without a word, or, on Linux,
/// takes nothing of what is sent to it for `patience`.
///
/// # Errors
/// When the system refuses.
pub fn keep_watch(listener: &TcpListener, patience: Duration) -> io::Result<()> {
    let socket = SockRef::from(listener);
    // Accepted connections take these options over from the listener.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_EVERY))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(patience))?;
    #[cfg(not(target_os = "linux"))]
    let _ = patience;
    Ok(())
}
