//! Speech found and cut into chunks, on demand.

use std::collections::VecDeque;

use crate::audio::{AudioError, PcmSpool};
use crate::cancel::CancelToken;
use crate::time::{Chunk, SampleIndex, TimeSpan};
use crate::vad::{ChunkOptions, Chunker, RegionBuilder, SpeechLog, VadOptions, VoiceActivityDetector};

use super::PipelineError;
use super::speech_map::{SpeechMap, Telling};

/// Windows of the detector that are read from the spool at once: about 4 s.
const WINDOWS_PER_READ: usize = 128;

/// A chunk, and where in it speech was found: padding included, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The chunk.
    pub chunk: Chunk,
    /// Sorted, disjoint, inside the chunk's span.
    pub speech: Vec<TimeSpan>,
    /// How sure the detector is of it, in [0, 1].
    pub confidence: f32,
}

/// What a look at the next few seconds of the recording gave.
#[derive(Debug)]
pub enum Polled {
    /// A chunk.
    Found(Found),
    /// No chunk that is complete; there is more to listen to.
    Nothing,
    /// The recording has been heard to its end.
    End,
}

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
    ready: VecDeque<Found>,
    /// Where speech lies in the chunk that is still open.
    speech: SpeechLog,
    samples: Vec<f32>,
    probabilities: Vec<f32>,
    /// Told what is heard.
    map: Option<Telling<'a>>,
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
        let builder =
            RegionBuilder::new(vad.spec().window, vad_options).with_longest(chunk_options.longest_region());
        Self {
            spool,
            cancel,
            position: 0,
            open: Some((builder, Chunker::new(chunk_options))),
            ready: VecDeque::new(),
            speech: SpeechLog::default(),
            samples: Vec::new(),
            probabilities: Vec::new(),
            map: None,
            vad,
        }
    }

    /// The same, telling `map` where speech may be. Dropped before the end of the recording, it gives the map up.
    pub fn telling(self, map: Option<&'a SpeechMap>) -> Self {
        Self { map: map.map(Telling), ..self }
    }

    /// The next chunk, if it is found within the next few seconds of the recording.
    ///
    /// # Errors
    /// When the detector fails, or decoding does, or the request is cancelled.
    pub fn poll(&mut self) -> Result<Polled, PipelineError> {
        if self.ready.is_empty() && self.open.is_some() {
            self.listen()?;
        }
        Ok(match self.ready.pop_front() {
            Some(found) => Polled::Found(found),
            None if self.open.is_some() => Polled::Nothing,
            None => Polled::End,
        })
    }

    /// The chunks that lie within `length` samples from the start of the next one on, or a few more;
    /// `poll` still gives them.
    ///
    /// # Errors
    /// As `poll`.
    pub fn look_ahead(&mut self, length: SampleIndex) -> Result<Vec<Found>, PipelineError> {
        let covers = |scan: &Self| {
            scan.ready.front().is_some_and(|first| scan.position >= first.chunk.span.start + length)
        };
        while self.open.is_some() && !covers(self) {
            self.listen()?;
        }
        Ok(self.ready.iter().cloned().collect())
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
        if let Some(Telling(map)) = &self.map {
            map.extend(&self.probabilities, self.vad.spec().window, end);
        }
        for probability in &self.probabilities {
            if let Some(region) = builder.push(*probability) {
                self.speech.push(&region);
                let chunks = chunker.push(region);
                self.ready.extend(chunks.into_iter().map(|chunk| found(chunk, &mut self.speech)));
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some((builder, mut chunker)) = self.open.take() else { return };
        if let Some(Telling(map)) = &self.map {
            map.finish();
        }
        for region in builder.finish(self.position) {
            self.speech.push(&region);
            let chunks = chunker.push(region);
            self.ready.extend(chunks.into_iter().map(|chunk| found(chunk, &mut self.speech)));
        }
        self.ready.extend(chunker.finish().into_iter().map(|chunk| found(chunk, &mut self.speech)));
    }
}

fn found(chunk: Chunk, speech: &mut SpeechLog) -> Found {
    let heard = speech.of(&chunk);
    Found { chunk, speech: heard, confidence: speech.confidence(&chunk) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::SpoolWriter;
    use crate::scratch::Scratch;
    use crate::time::ms_to_samples;
    use crate::vad::{VadError, VadSpec};

    fn rest(scan: &mut ChunkScan<'_>) -> Vec<Found> {
        let mut chunks = Vec::new();
        loop {
            match scan.poll().unwrap() {
                Polled::Found(found) => chunks.push(found),
                Polled::Nothing => {}
                Polled::End => return chunks,
            }
        }
    }

    /// Takes loud windows for speech.
    struct Loud;

    impl VoiceActivityDetector for Loud {
        fn spec(&self) -> VadSpec {
            VadSpec { window: 512 }
        }

        fn probabilities(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), VadError> {
            out.extend(samples.chunks(512).map(|window| f32::from(u8::from(window[0] > 0.1))));
            Ok(())
        }

        fn reset(&mut self) {}
    }

    const OPTIONS: (VadOptions, ChunkOptions) = (
        VadOptions {
            threshold: 0.5,
            neg_threshold: 0.35,
            min_speech_ms: 100,
            min_silence_ms: 200,
            speech_pad_ms: 300,
        },
        ChunkOptions { max_ms: 30_000, target_ms: 0, overlap_ms: 4_000, max_pause_ms: 1_000 },
    );

    /// Two seconds of speech in every six, from the start on; `sixes` times.
    fn write_speech(writer: &mut SpoolWriter, sixes: usize) {
        for _ in 0..sixes {
            writer.push(&[0.5; 32_000]).unwrap();
            writer.push(&[0.0; 64_000]).unwrap();
        }
    }

    fn all_chunks(spool: &PcmSpool, look_ahead: SampleIndex) -> Vec<Found> {
        let (cancel, mut vad) = (CancelToken::new(), Loud);
        let mut scan = ChunkScan::new(spool, &mut vad, OPTIONS, &cancel);
        let seen = scan.look_ahead(look_ahead).unwrap();
        let chunks: Vec<_> = rest(&mut scan);
        assert_eq!(seen, chunks[..seen.len()]);
        chunks
    }

    #[test]
    fn a_growing_recording_gives_the_chunks_of_a_finished_one() {
        let mut writer = SpoolWriter::create(&Scratch::default()).unwrap();
        let spool = writer.spool();
        let growing = std::thread::scope(|scope| {
            let reader = scope.spawn(|| all_chunks(&spool, 0));
            for _ in 0..20 {
                write_speech(&mut writer, 1);
                std::thread::yield_now();
            }
            writer.finish().unwrap();
            reader.join().unwrap()
        });
        assert_eq!(growing.len(), 20);
        assert_eq!(growing, all_chunks(&spool, 0));
    }

    #[test]
    fn looking_ahead_hears_no_more_than_it_needs_and_loses_nothing() {
        let mut writer = SpoolWriter::create(&Scratch::default()).unwrap();
        write_speech(&mut writer, 20);
        // The rest has not been decoded: whoever asked for it would wait without end.
        let spool = writer.spool();
        let (cancel, mut vad) = (CancelToken::new(), Loud);
        let mut scan = ChunkScan::new(&spool, &mut vad, OPTIONS, &cancel);
        let seen = scan.look_ahead(ms_to_samples(60_000)).unwrap();
        assert!((10..=12).contains(&seen.len()), "{}", seen.len());
        drop(scan);
        let spool = writer.finish().unwrap();
        assert_eq!(all_chunks(&spool, SampleIndex::MAX).len(), 20);
        assert_eq!(all_chunks(&spool, ms_to_samples(60_000))[..seen.len()], seen);
    }

    #[test]
    fn a_recording_that_breaks_off_while_it_is_heard_is_an_error() {
        let mut writer = SpoolWriter::create(&Scratch::default()).unwrap();
        write_speech(&mut writer, 3);
        let spool = writer.spool();
        drop(writer);
        let (cancel, mut vad) = (CancelToken::new(), Loud);
        let mut scan = ChunkScan::new(&spool, &mut vad, OPTIONS, &cancel);
        assert!(scan.poll().is_err());
    }
}
