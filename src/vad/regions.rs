//! Speech probabilities to speech regions. Pure.

/// When a stretch counts as speech. Defaults are those of Silero's own `get_speech_timestamps`, with the
/// pause and padding of OpenAI's `server_vad`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VadOptions {
    /// A window with at least this probability starts speech, in [0, 1].
    pub threshold: f32,
    /// Windows below this probability are silence, in [0, 1]; between the two nothing changes.
    pub neg_threshold: f32,
    /// Regions shorter than this are dropped, in ms.
    pub min_speech_ms: u64,
    /// A pause must last this long to end a region, in ms (`silence_duration_ms`).
    pub min_silence_ms: u64,
    /// Kept before and after each region, in ms (`prefix_padding_ms`); never more than half the gap.
    pub speech_pad_ms: u64,
}

impl Default for VadOptions {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            neg_threshold: 0.35,
            min_speech_ms: 100,
            min_silence_ms: 200,
            speech_pad_ms: 300,
        }
    }
}

/// Turns probabilities into regions as they come.
pub struct RegionBuilder {}

impl RegionBuilder {
    /// For windows of `window` samples.
    pub fn new(_window: usize, _options: VadOptions) -> Self {
        unimplemented!()
    }

    /// Takes the next window's probability; gives a region once its end (padding included) is certain.
    pub fn push(&mut self, _probability: f32) -> Option<crate::time::SpeechRegion> {
        unimplemented!()
    }

    /// Ends the recording, `total` samples long; gives what is still open.
    pub fn finish(self, _total: crate::time::SampleIndex) -> Vec<crate::time::SpeechRegion> {
        unimplemented!()
    }
}
