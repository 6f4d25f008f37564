//! What must be known of a separation model beside its file, as `catalogue.toml` tells it.
//!
//! Pure. The files do not say it themselves: of an MDX-Net only `dim_f` and `dim_t` can be read in its shape.

use super::SeparatorSpec;
use super::stft::Stft;

/// The rate at which both families were trained, in Hz.
const SAMPLE_RATE: u32 = 44_100;

/// A model's family and its numbers: `[model.separation]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(tag = "family", rename_all = "kebab-case")]
pub enum Parameters {
    /// Real and imaginary parts in and out.
    MdxNet(MdxParameters),
    /// Magnitudes in and out, from two networks.
    Spleeter(SpleeterParameters),
}

/// How the network of one file works.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub struct MdxParameters {
    /// Frames and bins.
    #[serde(flatten)]
    pub grid: Grid,
    /// What its result is multiplied by: such networks give a little less than there is.
    pub compensation: f32,
    /// What it gives.
    pub predicts: Part,
}

/// How a pair of networks works.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub struct SpleeterParameters {
    /// Frames and bins.
    #[serde(flatten)]
    pub grid: Grid,
}

/// Half of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// What is sung or said.
    Voice,
    /// All the rest.
    Background,
}

/// The part of a spectrogram that a network hears at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Grid {
    /// Samples in a frame.
    pub n_fft: usize,
    /// Samples from frame to frame.
    pub hop: usize,
    /// Bins from 0 Hz on; what lies above belongs to the background.
    pub dim_f: usize,
    /// Frames in a window.
    pub dim_t: usize,
}

impl Grid {
    /// What a separator on this grid takes: windows from the middle of the first frame to that of the last. Within a
    /// frame's length of either end, frames see the mirrored end of the window.
    pub fn spec(&self) -> SeparatorSpec {
        SeparatorSpec {
            sample_rate: SAMPLE_RATE,
            window: (self.hop * (self.dim_t - 1)) as u64,
            hop: self.hop as u64,
            margin: self.n_fft as u64,
        }
    }

    /// The transform of this grid.
    ///
    /// # Errors
    /// A sentence, when frames would not overlap by half, there are not as many bins, or nothing is left of a window
    /// between its margins.
    pub fn stft(&self) -> Result<Stft, String> {
        let Self { n_fft, hop, dim_f, dim_t } = *self;
        let stft = Stft::new(n_fft, hop)
            .ok_or(format!("frames of {n_fft} samples do not overlap at a hop of {hop}"))?;
        if dim_f == 0 || dim_f > stft.bins() {
            return Err(format!("frames of {n_fft} samples have {} bins, not {dim_f}", stft.bins()));
        }
        if hop * dim_t.saturating_sub(1) < 2 * n_fft + 2 * hop {
            return Err(format!("{dim_t} frames are too few for frames of {n_fft} samples"));
        }
        Ok(stft)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_the_catalogue_is_read() {
        let parameters: Parameters = toml::from_str(
            "family = 'mdx-net'\nn_fft = 7680\nhop = 1024\ndim_f = 3072\ndim_t = 256\ncompensation = 1.009\n\
             predicts = 'voice'",
        )
        .unwrap();
        let Parameters::MdxNet(mdx) = parameters else { panic!("{parameters:?}") };
        assert_eq!((mdx.compensation, mdx.predicts), (1.009, Part::Voice));
        assert!(mdx.grid.stft().is_ok());
        let spec = mdx.grid.spec();
        assert_eq!((spec.window, spec.margin), (261_120, 7_680));
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let sound = Grid { n_fft: 2_048, hop: 512, dim_f: 1_024, dim_t: 64 };
        assert!(sound.stft().is_ok());
        for grid in [
            Grid { hop: 0, ..sound },
            Grid { hop: 1_100, ..sound },
            Grid { dim_f: 0, ..sound },
            Grid { dim_f: 1_026, ..sound },
            Grid { dim_t: 0, ..sound },
            Grid { dim_t: 10, ..sound },
        ] {
            assert!(grid.stft().is_err(), "{grid:?}");
        }
    }
}
