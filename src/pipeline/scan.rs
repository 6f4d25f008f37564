//! Speech found and cut into chunks, on demand.

use crate::audio::{AudioError, PcmSpool};
use crate::cancel::CancelToken;
use crate::time::{Chunk, SampleIndex, TimeSpan};
use crate::vad::{ChunkOptions, Chunker, RegionBuilder, SpeechLog, VadOptions, VoiceActivityDetector};

use super::PipelineError;

/// Windows of the detector that are read from the spool at once: about 4 s.
const WINDOWS_PER_READ: usize = 128;

/// The chunks of `range`, found as they are asked for: nothing further is listened to than the last chunk
/// needed.
pub struct ChunkScan<'a> {
    spool: &'a PcmSpool,
    vad: &'a mut dyn VoiceActivityDetector,
    cancel: &'a CancelToken,
    range: TimeSpan,
    position: SampleIndex,
    /// `None` once the range has been heard to its end.
    open: Option<(RegionBuilder, Chunker)>,
    ready: std::collections::VecDeque<Chunk>,
    /// Where speech lies, on the clock of the range.
    speech: SpeechLog,
    samples: Vec<f32>,
    probabilities: Vec<f32>,
}

impl<'a> ChunkScan<'a> {
    /// Listens to `range` of `spool`; resets `vad` first.
    pub fn new(
        spool: &'a PcmSpool,
        range: TimeSpan,
        vad: &'a mut dyn VoiceActivityDetector,
        (vad_options, chunk_options): (VadOptions, ChunkOptions),
        cancel: &'a CancelToken,
    ) -> Self {
        vad.reset();
        let builder =
            RegionBuilder::new(vad.spec().window, vad_options).with_longest(chunk_options.longest_region());
        Self {
            spool,
            cancel,
            range,
            position: range.start,
            open: Some((builder, Chunker::new(chunk_options))),
            ready: std::collections::VecDeque::new(),
            speech: SpeechLog::default(),
            samples: Vec::new(),
            probabilities: Vec::new(),
            vad,
        }
    }

    /// The next chunk, on the clock of the recording; `None` at the end.
    ///
    /// # Errors
    /// When the detector fails or the request is cancelled.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, PipelineError> {
        while self.ready.is_empty() && self.open.is_some() {
            self.listen()?;
        }
        Ok(self.ready.pop_front())
    }

    /// Where in `chunk`, the last one given out, speech was found; padding included.
    pub fn speech_in(&mut self, chunk: &Chunk) -> Vec<TimeSpan> {
        let start = self.range.start;
        let own = |span: TimeSpan| TimeSpan::new(span.start - start, span.end - start);
        let local = Chunk { span: own(chunk.span), owned: own(chunk.owned) };
        self.speech.of(&local).into_iter().map(|span| span.shifted(start)).collect()
    }

    fn listen(&mut self) -> Result<(), PipelineError> {
        if self.cancel.is_cancelled() {
            return Err(AudioError::Cancelled.into());
        }
        if self.position >= self.range.end {
            self.close();
            return Ok(());
        }
        let step = (self.vad.spec().window * WINDOWS_PER_READ) as SampleIndex;
        let end = (self.position + step).min(self.range.end);
        self.spool.read(TimeSpan::new(self.position, end), &mut self.samples);
        self.probabilities.clear();
        self.vad.probabilities(&self.samples, &mut self.probabilities)?;
        self.position = end;
        if let Some((builder, chunker)) = &mut self.open {
            for probability in &self.probabilities {
                if let Some(region) = builder.push(*probability) {
                    self.speech.push(&region);
                    self.ready
                        .extend(chunker.push(region).into_iter().map(|chunk| shift(chunk, self.range.start)));
                }
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some((builder, mut chunker)) = self.open.take() else { return };
        let mut last = Vec::new();
        for region in builder.finish(self.range.len()) {
            self.speech.push(&region);
            last.extend(chunker.push(region));
        }
        last.extend(chunker.finish());
        self.ready.extend(last.into_iter().map(|chunk| shift(chunk, self.range.start)));
    }
}

fn shift(chunk: Chunk, offset: SampleIndex) -> Chunk {
    Chunk { span: chunk.span.shifted(offset), owned: chunk.owned.shifted(offset) }
}
