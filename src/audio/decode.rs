//! Source file to spool.

use crate::cancel::CancelToken;
use crate::transcript::Warning;

use super::{AudioError, AudioOptions, AudioSource, PcmSpool};

/// A recording taken in.
pub struct Decoded {
    /// Its sound.
    pub spool: PcmSpool,
    /// What was found, for logs: for example `mp3 44100 Hz 2 channels`.
    pub description: String,
    /// Damage that was passed over.
    pub warnings: Vec<Warning>,
}

/// Decodes `source` block by block into a spool in `options.temp_dir`.
///
/// # Errors
/// When nothing can be decoded, or a limit is exceeded, or `cancel` is set.
pub fn decode_to_spool(
    _source: &AudioSource,
    _options: &AudioOptions,
    _cancel: &CancelToken,
) -> Result<Decoded, AudioError> {
    unimplemented!()
}
