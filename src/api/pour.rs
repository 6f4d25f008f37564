//! A body that blocking code writes while it is being sent, so that a long answer is never held whole.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, error::SendTimeoutError};
use tokio::task::JoinHandle;

/// Bytes sent at a time.
const PIECE_BYTES: usize = 64 << 10;

/// How long the writer waits for the client to take one more piece.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pieces written ahead of the client; then the writer waits for it.
const PIECES_AHEAD: usize = 4;

/// The pieces of a body, in order. Dropping it ends the writing.
pub struct Pour {
    pieces: mpsc::Receiver<Bytes>,
    first: Option<Bytes>,
    /// `None` once its end has been told.
    task: Option<JoinHandle<io::Result<()>>>,
}

impl Pour {
    /// Runs `write` on a thread for blocking work.
    pub fn start(write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Self {
        Self::start_with(PATIENCE, write)
    }

    fn start_with(
        patience: Duration,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let span = tracing::Span::current();
        let task = tokio::task::spawn_blocking(move || {
            let _span = span.entered();
            let spout = Spout { pieces: sender, runtime: Handle::current(), patience };
            let mut out = BufWriter::with_capacity(PIECE_BYTES, spout);
            let written = write(&mut out).and_then(|()| out.flush());
            // Not dropped: that would send what a failed write has left behind.
            let _ = out.into_parts();
            written
        });
        Self { pieces, first: None, task: Some(task) }
    }

    /// Waits for the first piece, so that what fails at once is still an ordinary error.
    ///
    /// # Errors
    /// When `write` ended before it.
    pub async fn begin(&mut self) -> io::Result<()> {
        self.first = self.next().await.transpose()?;
        Ok(())
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// Once, in place of the next piece, when `write` failed or panicked: the body then lacks its end and must
    /// not look whole.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        if let Some(piece) = self.pieces.recv().await {
            return Some(Ok(piece));
        }
        let ended = self.task.take()?.await;
        ended.map_err(io::Error::other).flatten().err().map(Err)
    }

    /// The pieces as the body of an answer. Where it fails, the connection is cut.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::unfold(self, |mut pour| async move {
            let piece = pour.next().await?;
            if let Err(error) = &piece {
                tracing::error!(%error, "an answer broke off");
            }
            Some((piece, pour))
        })
    }
}

/// Hands every write on as a piece, as long as the client takes them: a thread is lent to it meanwhile.
struct Spout {
    pieces: mpsc::Sender<Bytes>,
    runtime: Handle,
    patience: Duration,
}

impl Write for Spout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        match self.runtime.block_on(self.pieces.send_timeout(piece, self.patience)) {
            Ok(()) => Ok(bytes.len()),
            Err(SendTimeoutError::Closed(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(SendTimeoutError::Timeout(_)) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the client has stopped reading its answer"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    async fn collect(pour: Pour) -> Vec<io::Result<Bytes>> {
        pour.into_stream().collect().await
    }

    #[actix_web::test]
    async fn a_client_that_stops_reading_gives_its_thread_back() {
        let mut pour = Pour::start_with(Duration::from_millis(20), |out| {
            (0..100).try_for_each(|_| out.write_all(&[0; PIECE_BYTES]))
        });
        pour.begin().await.unwrap();
        let task = pour.task.take().unwrap();
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[actix_web::test]
    async fn what_is_written_arrives_in_order() {
        let written: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = written.clone();
        let mut pour = Pour::start(move |out| written.chunks(777).try_for_each(|part| out.write_all(part)));
        pour.begin().await.unwrap();
        let pieces = collect(pour).await.into_iter().collect::<io::Result<Vec<_>>>().unwrap();
        assert!(pieces.concat() == expected);
    }

    #[actix_web::test]
    async fn a_failure_at_once_is_told_before_the_answer_begins() {
        let mut pour = Pour::start(|_| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(pour.begin().await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[actix_web::test]
    async fn a_failure_or_a_panic_on_the_way_is_the_last_item() {
        for panics in [false, true] {
            let pour = Pour::start(move |out| {
                out.write_all(&[b'x'; 3 * PIECE_BYTES])?;
                assert!(!panics, "scripted");
                Err(io::ErrorKind::NotFound.into())
            });
            let pieces = collect(pour).await;
            assert!(pieces.last().unwrap().is_err());
            assert_eq!(pieces.iter().filter(|piece| piece.is_err()).count(), 1);
        }
    }

    #[actix_web::test]
    async fn a_client_that_leaves_ends_the_writing() {
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut pour = Pour::start(move |out| {
            let error = loop {
                if let Err(error) = out.write_all(&[b'x'; PIECE_BYTES]) {
                    break error;
                }
            };
            tell.send(error.kind()).map_err(|_| io::ErrorKind::Other)?;
            Ok(())
        });
        pour.begin().await.unwrap();
        drop(pour);
        assert_eq!(told.await.unwrap(), io::ErrorKind::BrokenPipe);
    }
}
