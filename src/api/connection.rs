//! Connections on which nothing goes on.
//!
//! The framework closes those that are silent, but only the first request of a connection must have its head in
//! time: half a head after that would hold the connection for ever. So each connection has a timer of its own here,
//! which runs while no request does.

use std::any::Any;
use std::cell::Cell;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use actix_web::rt::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// One connection; lives in its extensions, on its worker's thread.
pub struct Connection {
    state: Rc<State>,
    timer: JoinHandle<()>,
}

struct State {
    socket: RawFd,
    requests: Cell<usize>,
    idle_since: Cell<Instant>,
}

/// A request that is being worked on or answered.
pub struct Busy(Rc<State>);

/// For `HttpServer::on_connect`: ends the connection once no request has been going on for `limit`.
pub fn watch(limit: Duration) -> impl Fn(&dyn Any, &mut Extensions) + Send + Sync + 'static {
    move |stream, extensions| {
        let plain = stream.downcast_ref::<TcpStream>();
        let tls = || stream.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref().0);
        if let Some(stream) = plain.or_else(tls) {
            extensions.insert(Connection::new(stream.as_raw_fd(), limit));
        }
    }
}

impl Connection {
    fn new(socket: RawFd, limit: Duration) -> Self {
        let state = Rc::new(State { socket, requests: Cell::new(0), idle_since: Cell::new(Instant::now()) });
        let timer = actix_web::rt::spawn(end_when_idle(Rc::clone(&state), limit));
        Self { state, timer }
    }

    /// Stops the clock until the answer has been dropped.
    pub fn busy(&self) -> Busy {
        self.state.requests.set(self.state.requests.get() + 1);
        Busy(Rc::clone(&self.state))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // From here on the number of the socket may be another's.
        self.timer.abort();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}

async fn end_when_idle(state: Rc<State>, limit: Duration) {
    loop {
        let start = if state.requests.get() > 0 { Instant::now() } else { state.idle_since.get() };
        if start.elapsed() >= limit {
            break;
        }
        sleep_until(start + limit).await;
    }
    // Reading then finds the end, upon which the framework hands over what it has still to write, and closes.
    // SAFETY: the socket is open as long as this task runs: its connection aborts it on the same thread.
    unsafe { libc::shutdown(state.socket, libc::SHUT_RD) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    #[actix_web::test]
    async fn only_a_connection_without_requests_is_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut served, _) = listener.accept().unwrap();
        served.set_nonblocking(true).unwrap();
        let connection = Connection::new(served.as_raw_fd(), Duration::from_millis(20));
        let busy = connection.busy();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(served.read(&mut [0]).is_err(), "nothing to read, and no end");
        drop(busy);
        while served.read(&mut [0]).is_err() {
            tokio::task::yield_now().await;
        }
    }
}
