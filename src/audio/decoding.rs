//! Decoding beside the stages that read what has been decoded so far.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::cancel::CancelToken;

use super::decode::decode_into;
use super::{AudioError, AudioOptions, AudioSource, BlockSink, Decoded, PcmSpool, SpoolWriter};

/// A recording that is being decoded on a thread of its own. Dropping it stops the thread and waits for its
/// end, so that nothing reads the source any longer than its owner lives.
#[derive(Debug)]
pub struct Decoding {
    spool: Arc<PcmSpool>,
    stop: CancelToken,
    thread: Option<JoinHandle<Result<Done, AudioError>>>,
}

/// How decoding went.
#[derive(Debug)]
pub struct Done {
    /// What was taken in.
    pub decoded: Decoded,
    /// Wall time from start to end; other stages were at work meanwhile.
    pub took: Duration,
}

impl Decoding {
    /// Starts to decode `source` into a spool in `options.scratch`.
    ///
    /// # Errors
    /// When the folder does not take a file, or the system gives no thread.
    pub fn start(
        source: AudioSource,
        options: AudioOptions,
        cancel: &CancelToken,
    ) -> Result<Self, AudioError> {
        Self::start_with(source, options, cancel, |_| None)
    }

    /// As `start`, where `sink` may give somebody who takes the sound beside the spool, which it is shown.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_with(
        source: AudioSource,
        options: AudioOptions,
        cancel: &CancelToken,
        sink: impl FnOnce(&Arc<PcmSpool>) -> Option<Box<dyn BlockSink>>,
    ) -> Result<Self, AudioError> {
        let writer = SpoolWriter::create(&options.scratch)?;
        let sink = sink(&writer.spool());
        Self::spawn(writer, cancel, move |writer, stop| decode_into(writer, sink, &source, &options, stop))
    }

    fn spawn(
        writer: SpoolWriter,
        cancel: &CancelToken,
        work: impl FnOnce(SpoolWriter, &CancelToken) -> Result<Decoded, AudioError> + Send + 'static,
    ) -> Result<Self, AudioError> {
        let (spool, stop) = (writer.spool(), cancel.part());
        let (token, span) = (stop.clone(), tracing::Span::current());
        let thread = Builder::new().name("decode".to_owned()).spawn(move || {
            let _request = span.entered();
            let _stage = tracing::debug_span!("decode").entered();
            let start = Instant::now();
            let decoded = work(writer, &token)?;
            Ok(Done { decoded, took: start.elapsed() })
        })?;
        Ok(Self { spool, stop, thread: Some(thread) })
    }

    /// The sound, growing. When decoding fails, waiting for more of it gives `Cancelled`, and `finish` the
    /// reason.
    pub fn spool(&self) -> &Arc<PcmSpool> {
        &self.spool
    }

    /// Ends the work early; `finish` then gives `Cancelled`, unless it was done before.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// As `decode_to_spool`.
    ///
    /// # Panics
    /// When the decoder did, with what it did.
    pub fn finish(mut self) -> Result<Done, AudioError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => resume_unwind(panic),
            None => Err(AudioError::Cancelled),
        }
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // Nobody asks any more how it ended.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::scratch::Scratch;

    fn start(
        cancel: &CancelToken,
        work: impl FnOnce(SpoolWriter, &CancelToken) -> Result<Decoded, AudioError> + Send + 'static,
    ) -> Decoding {
        Decoding::spawn(SpoolWriter::create(&Scratch::default()).unwrap(), cancel, work).unwrap()
    }

    /// Sound without end.
    fn endless(mut writer: SpoolWriter, stop: &CancelToken) -> Result<Decoded, AudioError> {
        while !stop.is_cancelled() {
            writer.push(&[0.0; 1_000])?;
        }
        Err(AudioError::Cancelled)
    }

    #[test]
    fn an_error_after_some_sound_interrupts_the_readers_and_is_told_at_the_end() {
        let decoding = start(&CancelToken::new(), |mut writer, _| {
            writer.push(&[0.0; 100_000])?;
            Err(AudioError::TooLong { limit_s: 6 })
        });
        assert!(matches!(decoding.spool().wait_for(200_000), Err(AudioError::Cancelled)));
        assert!(matches!(decoding.finish(), Err(AudioError::TooLong { limit_s: 6 })));
    }

    #[test]
    fn a_panic_interrupts_the_readers_and_goes_on_at_the_end() {
        let decoding = start(&CancelToken::new(), |_writer, _| panic!("scripted"));
        assert!(decoding.spool().wait_for(1).is_err());
        let panic = catch_unwind(AssertUnwindSafe(|| decoding.finish())).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"scripted"));
    }

    #[test]
    fn the_request_and_its_end_stop_the_decoder() {
        let cancel = CancelToken::new();
        let decoding = start(&cancel, endless);
        decoding.spool().wait_for(50_000).unwrap();
        cancel.cancel();
        assert!(matches!(decoding.finish(), Err(AudioError::Cancelled)));

        let cancel = CancelToken::new();
        let decoding = start(&cancel, endless);
        let spool = Arc::clone(decoding.spool());
        drop(decoding);
        assert!(spool.wait_for(1).is_err() && !cancel.is_cancelled());
    }
}
