//! The whole recording as 16 kHz mono 16-bit samples in a temporary file, mapped into memory.

use std::path::Path;

use crate::time::{SampleIndex, TimeSpan};

use super::AudioError;

/// Takes 16 kHz mono samples and writes them down.
pub struct SpoolWriter {}

impl SpoolWriter {
    /// A new, private (0600), unnamed or self-removing file in `dir`.
    ///
    /// # Errors
    /// When the folder does not take a file.
    pub fn create(_dir: &Path) -> Result<Self, AudioError> {
        unimplemented!()
    }

    /// Appends samples in [-1, 1]; values outside are clipped.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn push(&mut self, _samples: &[f32]) -> Result<(), AudioError> {
        unimplemented!()
    }

    /// Samples written so far.
    pub fn len(&self) -> SampleIndex {
        unimplemented!()
    }

    /// Closes the file for reading.
    ///
    /// # Errors
    /// When the file cannot be flushed or mapped.
    pub fn finish(self) -> Result<PcmSpool, AudioError> {
        unimplemented!()
    }
}

/// A finished recording; `Send + Sync`, read by any number of stages at once.
pub struct PcmSpool {}

impl PcmSpool {
    /// Length in samples.
    pub fn len(&self) -> SampleIndex {
        unimplemented!()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces `out` by the samples of `span`, in [-1, 1]; the part past the end is left out.
    pub fn read(&self, _span: TimeSpan, _out: &mut Vec<f32>) {
        unimplemented!()
    }
}
