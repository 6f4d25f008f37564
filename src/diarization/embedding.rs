//! What each local speaker of a window sounds like: a vector that is near for the same voice and far for others.
//!
//! Two encoders: `ge2e` hears fixed partials of the recording, each once, and a window's speakers get the mean of
//! those in which they speak alone; `wespeaker` hears a window once and pools it for each speaker. What vectors mean,
//! and how they are compared, is the business of `attribution::Method`, which each encoder brings along.

pub mod ge2e;
pub mod wespeaker;

use super::DiarizationError;
use super::activity::Activity;
use super::attribution::{Method, WindowNumbers};
use super::samples::Samples;
use super::team::Team;
use crate::time::SampleIndex;

/// Length of an embedding, with both encoders.
pub const DIMENSIONS: usize = 256;

/// A network that tells voices apart, shared by all requests.
pub trait SpeakerEmbedder: Send + Sync {
    /// How its embeddings are compared.
    fn method(&self) -> Method;

    /// Begins a recording.
    fn open<'a>(&'a self, sound: &'a dyn Samples) -> Box<dyn VoiceListener + 'a>;
}

/// Embeds the speakers of one recording, window by window.
pub trait VoiceListener {
    /// Takes the next windows, in order; all that they hear can be read from the recording. Gives the windows that are
    /// finished, in order and each once: those taken now or earlier, and with `Horizon::End` all that are left. After
    /// an error it is of no more use.
    ///
    /// # Errors
    /// `Engine` when the network fails; `Cancelled`.
    fn hear(
        &mut self,
        windows: Vec<HeardWindow>,
        horizon: Horizon,
        team: &Team<'_>,
    ) -> Result<Vec<WindowNumbers>, DiarizationError>;
}

/// A window that has been segmented.
#[derive(Clone, Debug)]
pub struct HeardWindow {
    /// Its first sample.
    pub start: SampleIndex,
    /// Who is active in it.
    pub activity: Activity,
}

/// How far the recording is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Horizon {
    /// There is another window, which starts at this sample.
    Next(SampleIndex),
    /// There is none; the recording has so many samples.
    End(SampleIndex),
}

/// `vector` with length 1; `None` if it has none.
fn unit(mut vector: Vec<f32>) -> Option<Box<[f32]>> {
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= norm);
    (norm > 0.0 && norm.is_finite()).then(|| vector.into())
}
