//! Smaller weights for a Whisper model, made with ggml's own routines.
//!
//! The rules are those of whisper.cpp's `quantize` tool: matrices become the wanted type; vectors and the
//! position tables stay as they are; the two convolutions stay (or become) 16 bit, which is what the loader
//! expects beside anything but 32-bit weights. Unlike the tool, this one also takes weights that were
//! quantised before, and reads no tensor whole. `ggml` knows the file; nothing here knows models by name.

use std::ffi::c_void;
use std::io::{self, Read, Write};

use whisper_rs::whisper_rs_sys as sys;

use super::ggml::{self, Aligned, GgmlError, TensorHead, row_bytes, to_floats};

/// Tensors with two sides that are not weights of a layer.
const KEPT: [&str; 4] = [
    "encoder.conv1.bias",
    "encoder.conv2.bias",
    "encoder.positional_embedding",
    "decoder.positional_embedding",
];

/// About so many numbers are converted at a time.
const BLOCK: u64 = 1 << 18;

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightType {
    /// 16-bit numbers, as Whisper's weights are published.
    F16,
    /// 8.5 bits a weight; no loss that is heard, and the fastest on most processors.
    Q8_0,
    /// 6 bits a weight.
    Q5_1,
    /// 5.5 bits a weight.
    Q5_0,
    /// 5 bits a weight.
    Q4_1,
    /// 4.5 bits a weight; errors begin to show.
    Q4_0,
}

impl WeightType {
    /// From the most exact to the smallest.
    pub const ALL: [Self; 6] = [Self::F16, Self::Q8_0, Self::Q5_1, Self::Q5_0, Self::Q4_1, Self::Q4_0];

    /// Its name in ggml.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
            Self::Q5_1 => "q5_1",
            Self::Q5_0 => "q5_0",
            Self::Q4_1 => "q4_1",
            Self::Q4_0 => "q4_0",
        }
    }

    /// The type of this name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|weight| weight.name().eq_ignore_ascii_case(name))
    }

    fn kind(self) -> sys::ggml_type {
        match self {
            Self::F16 => sys::ggml_type_GGML_TYPE_F16,
            Self::Q8_0 => sys::ggml_type_GGML_TYPE_Q8_0,
            Self::Q5_1 => sys::ggml_type_GGML_TYPE_Q5_1,
            Self::Q5_0 => sys::ggml_type_GGML_TYPE_Q5_0,
            Self::Q4_1 => sys::ggml_type_GGML_TYPE_Q4_1,
            Self::Q4_0 => sys::ggml_type_GGML_TYPE_Q4_0,
        }
    }

    /// What the header says of a file with such weights: ggml's file type, and the version of its blocks.
    fn file_type(self) -> u32 {
        let (file_type, version) = match self {
            Self::F16 => (sys::ggml_ftype_GGML_FTYPE_MOSTLY_F16, 0),
            Self::Q8_0 => (sys::ggml_ftype_GGML_FTYPE_MOSTLY_Q8_0, sys::GGML_QNT_VERSION),
            Self::Q5_1 => (sys::ggml_ftype_GGML_FTYPE_MOSTLY_Q5_1, sys::GGML_QNT_VERSION),
            Self::Q5_0 => (sys::ggml_ftype_GGML_FTYPE_MOSTLY_Q5_0, sys::GGML_QNT_VERSION),
            Self::Q4_1 => (sys::ggml_ftype_GGML_FTYPE_MOSTLY_Q4_1, sys::GGML_QNT_VERSION),
            Self::Q4_0 => (sys::ggml_ftype_GGML_FTYPE_MOSTLY_Q4_0, sys::GGML_QNT_VERSION),
        };
        file_type as u32 + version * sys::GGML_QNT_VERSION_FACTOR
    }
}

/// Copies the GGML model `source` to `target` with weights of type `to`, and tells `progress` how many bytes
/// of the source are done. Memory: a few MiB.
///
/// # Errors
/// `Source`, `Read` or `Write`; `target` is then incomplete. Nothing is said of a source that has the right
/// form and the wrong tensors: loading the result does that.
pub fn quantize(
    source: &mut impl Read,
    target: &mut impl Write,
    to: WeightType,
    progress: &mut dyn FnMut(u64),
) -> Result<(), GgmlError> {
    let mut source = Counted { inner: source, bytes: 0 };
    ggml::copy_head(&mut source, target, to.file_type())?;
    let mut tensors = 0;
    while let Some(tensor) = ggml::next_tensor(&mut source)? {
        convert(&tensor, to, &mut source, target, progress)?;
        tensors += 1;
    }
    if tensors == 0 {
        return Err(GgmlError::Source("it has no weights".into()));
    }
    Ok(())
}

/// Copies one tensor, in blocks of whole rows.
fn convert<R: Read>(
    tensor: &TensorHead,
    to: WeightType,
    source: &mut Counted<R>,
    target: &mut impl Write,
    progress: &mut dyn FnMut(u64),
) -> Result<(), GgmlError> {
    let from = source_type(tensor)?;
    let kind = target_type(tensor, from, to);
    let (row, rows) = (tensor.row(), tensor.rows());
    let (from_bytes, to_bytes) = (row_bytes(tensor, from)?, row_bytes(tensor, kind)?);
    TensorHead { kind, ..tensor.clone() }.write(target)?;

    let block = (BLOCK / row).max(1);
    let (mut before, mut numbers, mut after) = (Aligned::default(), Vec::new(), Aligned::default());
    let mut done = 0;
    while done < rows {
        let count = block.min(rows - done);
        let bytes = before.bytes(from_bytes * count as usize);
        ggml::fill(source, bytes)?;
        if kind == from {
            ggml::put(target, bytes)?;
        } else {
            numbers.resize((row * count) as usize, 0.0);
            to_floats(from, bytes, &mut numbers);
            if numbers.iter().any(|number| !number.is_finite()) {
                let message = format!("it is damaged: `{}` holds something that is no number", tensor.name);
                return Err(GgmlError::Source(message));
            }
            let out = after.bytes(to_bytes * count as usize);
            from_floats(kind, &numbers, row, out);
            ggml::put(target, out)?;
        }
        done += count;
        progress(source.bytes);
    }
    Ok(())
}

/// The tensor's type, if it is one that Whisper models have.
fn source_type(tensor: &TensorHead) -> Result<sys::ggml_type, GgmlError> {
    let known = WeightType::ALL.map(WeightType::kind).into_iter().chain([sys::ggml_type_GGML_TYPE_F32]);
    known.into_iter().find(|kind| *kind == tensor.kind).ok_or_else(|| {
        GgmlError::Source(format!(
            "`{}` has weights of type {}, which is unknown here",
            tensor.name, tensor.kind
        ))
    })
}

/// What the tensor becomes.
fn target_type(tensor: &TensorHead, from: sys::ggml_type, to: WeightType) -> sys::ggml_type {
    match tensor.sides.len() {
        2 if !KEPT.contains(&tensor.name.as_str()) => to.kind(),
        // The convolutions.
        3 => sys::ggml_type_GGML_TYPE_F16,
        _ => from,
    }
}

/// Writes rows of `row` numbers in the type `kind`, which fill `out`.
fn from_floats(kind: sys::ggml_type, numbers: &[f32], row: u64, out: &mut [u8]) {
    let rows = numbers.len() as i64 / row as i64;
    // SAFETY: `out` has room for these rows in this type, as `row_bytes` has counted them, and is part of an
    // `Aligned`. None of the types needs an importance matrix.
    let written = unsafe {
        let target = out.as_mut_ptr().cast::<c_void>();
        sys::ggml_quantize_chunk(kind, numbers.as_ptr(), target, 0, rows, row as i64, std::ptr::null())
    };
    debug_assert_eq!(written, out.len());
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn bundled() -> Vec<u8> {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/diarist-micro-en-q8_0.bin")).unwrap()
    }

    fn quantized(source: &[u8], to: WeightType) -> Result<Vec<u8>, GgmlError> {
        let mut target = Vec::new();
        let mut done = 0;
        quantize(&mut &source[..], &mut target, to, &mut |bytes| done = bytes)?;
        assert_eq!(done, source.len() as u64);
        Ok(target)
    }

    #[test]
    fn eight_bits_survive_the_way_over_sixteen() {
        let whole = bundled();
        let wide = quantized(&whole, WeightType::F16).unwrap();
        assert!(wide.len() > whole.len());
        let narrow = quantized(&wide, WeightType::Q8_0).unwrap();
        assert_eq!(narrow.len(), whole.len());
        assert_eq!(narrow[..4_096], whole[..4_096]);
    }

    #[test]
    fn fewer_bits_make_smaller_files_that_load() {
        use crate::asr::whisper::{WhisperModel, WhisperOptions};
        let folder = tempfile::tempdir().unwrap();
        let mut last = usize::MAX;
        let source = quantized(&bundled(), WeightType::F16).unwrap();
        for to in WeightType::ALL {
            let bytes = quantized(&source, to).unwrap();
            assert!(bytes.len() < last, "{}: {} bytes", to.name(), bytes.len());
            last = bytes.len();
            let path = folder.path().join(to.name());
            std::fs::write(&path, bytes).unwrap();
            let options = WhisperOptions {
                use_gpu: false,
                threads: 1,
                short_context: true,
                ..WhisperOptions::default()
            };
            WhisperModel::load(&path, options).unwrap_or_else(|error| panic!("{}: {error}", to.name()));
        }
    }

    #[test]
    fn damaged_files_are_refused_wherever_the_damage_is() {
        let whole = bundled();
        for length in [0, 3, 40, 50_000, 1_000_000, whole.len() - 1] {
            let result = quantized(&whole[..length], WeightType::Q5_0);
            assert!(matches!(result, Err(GgmlError::Source(_))), "{length} bytes");
        }
        let mut wrong = whole.clone();
        wrong[0] ^= 1;
        assert!(matches!(quantized(&wrong, WeightType::Q5_0), Err(GgmlError::Source(_))));
        // A scale that is not a number, in the middle of the weights.
        let mut wrong = whole.clone();
        let middle = whole.len() / 2;
        wrong[middle..middle + 64].fill(0xff);
        let message = quantized(&wrong, WeightType::Q5_0).unwrap_err().to_string();
        assert!(message.contains("damaged"), "{message}");
    }

    #[test]
    fn a_disk_that_is_full_is_not_the_models_fault() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let whole = bundled();
        let result = quantize(&mut &whole[..], &mut Full(2_000_000), WeightType::Q4_0, &mut |_| {});
        assert!(matches!(result, Err(GgmlError::Write(_))), "{result:?}");
    }

    #[test]
    fn rows_must_be_of_whole_blocks() {
        let tensor = TensorHead { name: "x.weight".into(), sides: vec![40, 2], kind: 0 };
        let message = row_bytes(&tensor, WeightType::Q8_0.kind()).unwrap_err().to_string();
        assert!(message.contains("rows of 40") && message.contains("by 32"), "{message}");
        assert_eq!(row_bytes(&tensor, WeightType::F16.kind()).unwrap(), 80);
    }

    #[test]
    fn types_are_known_by_their_names() {
        for weight in WeightType::ALL {
            assert_eq!(WeightType::parse(&weight.name().to_uppercase()), Some(weight));
        }
        assert_eq!(WeightType::parse("q3_k"), None);
        assert_eq!((WeightType::F16.file_type(), WeightType::Q8_0.file_type()), (1, 2_007));
    }
}
