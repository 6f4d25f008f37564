//! Speech found and cut into chunks, on demand.

use std::collections::VecDeque;

use crate::audio::{AudioError, PcmSpool};
use crate::cancel::CancelToken;
use crate::time::{Chunk, SampleIndex, TimeSpan};
use crate::vad::{ChunkOptions, Chunker, RegionBuilder, VadOptions, VoiceActivityDetector};

use super::PipelineError;

/// Windows of the detector that are read from the spool at once: about 4 s.
const WINDOWS_PER_READ: usize = 128;

/// The chunks of a recording, found as they are asked for: nothing further is listened to than the last chunk
/// needed. The recording may still be growing; what has not been decoded is waited for.
pub struct ChunkScan<'a> {
    spool: &'a PcmSpool,
    vad: &'a mut dyn VoiceActivityDetector,
    cancel: &'a CancelToken,
    position: SampleIndex,
    /// `None` once the recording has been heard to its end.
    open: Option<(RegionBuilder, Chunker)>,
    /// Found and not yet asked for.
    ready: VecDeque<Chunk>,
    samples: Vec<f32>,
    probabilities: Vec<f32>,
}

impl<'a> ChunkScan<'a> {
    /// Listens to `spool` from its start; resets `vad` first.
    pub fn new(
        spool: &'a PcmSpool,
        vad: &'a mut dyn VoiceActivityDetector,
        (vad_options, chunk_options): (VadOptions, ChunkOptions),
        cancel: &'a CancelToken,
    ) -> Self {
        vad.reset();
        let builder = RegionBuilder::new(vad.spec().window, vad_options);
        Self {
            spool,
            cancel,
            position: 0,
            open: Some((builder, Chunker::new(chunk_options))),
            ready: VecDeque::new(),
            samples: Vec::new(),
            probabilities: Vec::new(),
            vad,
        }
    }

    /// The next chunk; `None` at the end of the recording.
    ///
    /// # Errors
    /// When the detector fails, or decoding does, or the request is cancelled.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, PipelineError> {
        while self.ready.is_empty() && self.open.is_some() {
            self.listen()?;
        }
        Ok(self.ready.pop_front())
    }

    /// The chunks that lie within `length` samples from the start of the next one on, or a few more;
    /// `next_chunk` still gives them.
    ///
    /// # Errors
    /// As `next_chunk`.
    pub fn look_ahead(&mut self, length: SampleIndex) -> Result<Vec<Chunk>, PipelineError> {
        let covers = |ready: &VecDeque<Chunk>| match (ready.front(), ready.back()) {
            (Some(first), Some(last)) => last.span.end - first.span.start >= length,
            _ => false,
        };
        while self.open.is_some() && !covers(&self.ready) {
            self.listen()?;
        }
        Ok(self.ready.iter().copied().collect())
    }

    fn listen(&mut self) -> Result<(), PipelineError> {
        if self.cancel.is_cancelled() {
            return Err(AudioError::Cancelled.into());
        }
        let Some((builder, chunker)) = &mut self.open else { return Ok(()) };
        let step = (self.vad.spec().window * WINDOWS_PER_READ) as SampleIndex;
        let wanted = self.position + step;
        // Fewer only at the end, so that no window but the last is filled up with silence.
        let end = self.spool.wait_for(wanted)?.min(wanted);
        if end == self.position {
            self.close();
            return Ok(());
        }
        self.spool.read(TimeSpan::new(self.position, end), &mut self.samples);
        self.probabilities.clear();
        self.vad.probabilities(&self.samples, &mut self.probabilities)?;
        self.position = end;
        for probability in &self.probabilities {
            if let Some(region) = builder.push(*probability) {
                self.ready.extend(chunker.push(region));
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some((builder, mut chunker)) = self.open.take() else { return };
        for region in builder.finish(self.position) {
            self.ready.extend(chunker.push(region));
        }
        self.ready.extend(chunker.finish());
    }
}
