//! The header of a GGML Whisper file, checked before the engine sees the file.
//!
//! whisper.cpp trusts these numbers and sizes its buffers by them; a damaged file could make it allocate
//! without bound or stop the process. Layout: whisper.cpp `whisper_model_load`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use whisper_rs::whisper_rs_sys as sys;

use crate::asr::AsrError;
use crate::asr::ggml::MAGIC;

/// Name and allowed range of the eleven numbers that follow the magic.
const FIELDS: [(&str, std::ops::RangeInclusive<i32>); 11] = [
    ("n_vocab", 51_864..=65_536),
    ("n_audio_ctx", 1_500..=1_500),
    ("n_audio_state", 8..=4_096),
    ("n_audio_head", 1..=64),
    ("n_audio_layer", 1..=128),
    ("n_text_ctx", 16..=4_096),
    ("n_text_state", 8..=4_096),
    ("n_text_head", 1..=64),
    ("n_text_layer", 1..=128),
    ("n_mels", 80..=128),
    ("ftype", 0..=9_999),
];

/// What is known of a model file before it is loaded.
#[derive(Debug)]
pub struct Header {
    /// Size of the whole file.
    pub file_bytes: u64,
    vocabulary: i32,
    encoder_layers: i32,
    decoder_layers: i32,
    mels: i32,
}

impl Header {
    /// Which attention heads follow the audio: OpenAI's lists for its models, as whisper.cpp has them.
    pub fn alignment_heads(&self) -> sys::whisper_alignment_heads_preset {
        let english = self.vocabulary == 51_864;
        match (self.encoder_layers, self.decoder_layers, self.mels) {
            (4, 4, 80) if english => sys::whisper_alignment_heads_preset_WHISPER_AHEADS_TINY_EN,
            (4, 4, 80) => sys::whisper_alignment_heads_preset_WHISPER_AHEADS_TINY,
            (6, 6, 80) if english => sys::whisper_alignment_heads_preset_WHISPER_AHEADS_BASE_EN,
            (6, 6, 80) => sys::whisper_alignment_heads_preset_WHISPER_AHEADS_BASE,
            (12, 12, 80) if english => sys::whisper_alignment_heads_preset_WHISPER_AHEADS_SMALL_EN,
            (12, 12, 80) => sys::whisper_alignment_heads_preset_WHISPER_AHEADS_SMALL,
            (24, 24, 80) if english => sys::whisper_alignment_heads_preset_WHISPER_AHEADS_MEDIUM_EN,
            (24, 24, 80) => sys::whisper_alignment_heads_preset_WHISPER_AHEADS_MEDIUM,
            // large-v1 has the same shape; nobody is known to use it.
            (32, 32, 80) => sys::whisper_alignment_heads_preset_WHISPER_AHEADS_LARGE_V2,
            (32, 32, 128) => sys::whisper_alignment_heads_preset_WHISPER_AHEADS_LARGE_V3,
            (32, 4, 128) => sys::whisper_alignment_heads_preset_WHISPER_AHEADS_LARGE_V3_TURBO,
            _ => sys::whisper_alignment_heads_preset_WHISPER_AHEADS_N_TOP_MOST,
        }
    }

    /// Layers whose heads are used where there is no list: the upper half, as openai/whisper does.
    pub fn top_layers(&self) -> i32 {
        (self.decoder_layers + 1) / 2
    }
}

/// Reads and checks the header of the file at `path`.
pub fn read(path: &Path) -> Result<Header, AsrError> {
    let cannot_read = |error: std::io::Error| AsrError::Model(format!("its file cannot be read: {error}"));
    let mut file = File::open(path).map_err(cannot_read)?;
    let file_bytes = file.metadata().map_err(cannot_read)?.len();
    let mut bytes = [0; 4 * (1 + FIELDS.len())];
    file.read_exact(&mut bytes)
        .map_err(|_| AsrError::Model("its file is too short for a Whisper model in GGML form".into()))?;
    let fields = check(&bytes).map_err(AsrError::Model)?;
    let least = least_bytes(&fields);
    if file_bytes < least {
        let reason = format!("its file is cut off: it has {file_bytes} bytes, at least {least} are needed");
        return Err(AsrError::Model(reason));
    }
    Ok(Header {
        file_bytes,
        vocabulary: fields[0],
        encoder_layers: fields[4],
        decoder_layers: fields[8],
        mels: fields[9],
    })
}

/// Bytes that the table of token embeddings alone takes at 2 bits a weight, less than any quantization
/// has. whisper.cpp takes a file that ends before its first tensor for a model without weights.
fn least_bytes(fields: &[i32; FIELDS.len()]) -> u64 {
    let [vocabulary, text_state] = [fields[0], fields[6]].map(|number| u64::from(number.unsigned_abs()));
    vocabulary * text_state / 4
}

/// The eleven numbers, each in its range.
fn check(bytes: &[u8]) -> Result<[i32; FIELDS.len()], String> {
    let mut numbers =
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    if numbers.next() != Some(MAGIC) {
        return Err("its file is not a Whisper model in GGML form".into());
    }
    let mut fields = [0; FIELDS.len()];
    for (((name, range), value), field) in FIELDS.iter().zip(numbers).zip(&mut fields) {
        *field = i32::try_from(value).ok().filter(|value| range.contains(value)).ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            format!("its header is damaged: {name} is {value}, allowed are {low} to {high}")
        })?;
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(fields: [u32; 11]) -> Vec<u8> {
        std::iter::once(MAGIC).chain(fields).flat_map(u32::to_le_bytes).collect()
    }

    const TINY_EN: [u32; 11] = [51_864, 1_500, 384, 6, 4, 448, 384, 6, 4, 80, 1];

    #[test]
    fn the_header_of_a_real_model_passes() {
        assert_eq!(check(&header(TINY_EN)).unwrap()[4], 4);
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let mut fields = TINY_EN;
        fields[4] = 0xffff_ffff;
        let message = check(&header(fields)).unwrap_err();
        assert!(message.contains("n_audio_layer"), "{message}");
    }

    #[test]
    fn a_file_that_ends_before_the_weights_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bin");
        let mut bytes = header(TINY_EN);
        bytes.resize(1 << 20, 0);
        std::fs::write(&path, bytes).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("cut off"), "{message}");
    }

    #[test]
    fn other_files_are_not_models() {
        assert!(check(&[0; 48]).is_err());
    }
}
