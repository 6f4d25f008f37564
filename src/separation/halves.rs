//! A recording, block by block as it was decoded, into its voice and its background.
//!
//! At the separator's rate, with one channel or two. What the two halves are written to is the caller's business.

use std::sync::Arc;

use super::stream::{VoiceStream, Wanted};
use super::{SeparationError, VocalSeparator};
use crate::audio::AudioBlock;
use crate::audio::resample::Resampler;
use crate::time::TimeSpan;

/// Takes the next of both halves: planar samples, equally long.
pub type TakeHalves<'a> = dyn FnMut(&[Vec<f32>], &[Vec<f32>]) -> Result<(), SeparationError> + 'a;

/// Splits a recording. Holds no more of it than a few windows.
pub struct Halves {
    resampler: Resampler,
    stream: VoiceStream,
    /// The sound whose voice has not come out yet.
    mix: Vec<Vec<f32>>,
    resampled: Vec<Vec<f32>>,
    voice: Vec<Vec<f32>>,
}

impl Halves {
    /// For a recording that gives `channels` channels, 1 or 2.
    ///
    /// # Panics
    /// With another number of channels.
    pub fn new(separator: Arc<dyn VocalSeparator>, channels: usize) -> Self {
        let empty = || vec![Vec::new(); channels];
        Self {
            resampler: Resampler::new(separator.spec().sample_rate, channels),
            stream: VoiceStream::new(separator, channels),
            mix: empty(),
            resampled: empty(),
            voice: empty(),
        }
    }

    /// Takes the next block of the recording, and gives `take` what is complete. `goes_on` is asked before each
    /// window; once it says no, nothing more is separated.
    ///
    /// # Errors
    /// As the separator and `take`.
    pub fn push(
        &mut self,
        block: &AudioBlock,
        goes_on: &dyn Fn() -> bool,
        take: &mut TakeHalves<'_>,
    ) -> Result<(), SeparationError> {
        self.resampler.push(block, &mut self.resampled);
        self.separate(goes_on, take)
    }

    /// The recording has ended: gives `take` the rest.
    ///
    /// # Errors
    /// As `push`.
    pub fn finish(
        mut self,
        goes_on: &dyn Fn() -> bool,
        take: &mut TakeHalves<'_>,
    ) -> Result<(), SeparationError> {
        self.resampler.flush(&mut self.resampled);
        self.separate(goes_on, take)?;
        self.stream.flush(&mut { |_| goes_on() }, &mut self.voice)?;
        self.give(take)
    }

    fn separate(
        &mut self,
        goes_on: &dyn Fn() -> bool,
        take: &mut TakeHalves<'_>,
    ) -> Result<(), SeparationError> {
        let wanted: &mut Wanted<'_> = &mut |_: TimeSpan| goes_on();
        self.stream.push(&self.resampled, wanted, &mut self.voice)?;
        for (mix, resampled) in self.mix.iter_mut().zip(&mut self.resampled) {
            mix.append(resampled);
        }
        self.give(take)
    }

    /// Hands out the voice that there is, and what of the sound is not voice.
    fn give(&mut self, take: &mut TakeHalves<'_>) -> Result<(), SeparationError> {
        let rest = |(mix, voice): (&mut Vec<f32>, &Vec<f32>)| {
            mix.drain(..voice.len()).zip(voice).map(|(mix, voice)| mix - voice).collect()
        };
        let background: Vec<Vec<f32>> = self.mix.iter_mut().zip(&self.voice).map(rest).collect();
        take(&self.voice, &background)?;
        self.voice.iter_mut().for_each(Vec::clear);
        Ok(())
    }
}
