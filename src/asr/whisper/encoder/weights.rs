//! The tensors of a GGML Whisper file, found without loading them all and read as `f32`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::Path;

use whisper_rs::whisper_rs_sys as sys;

use crate::asr::ggml::{self, Aligned, GgmlError, TensorHead};

/// A tensor in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// As many values as the dimensions' product.
    pub values: Vec<f32>,
}

/// Where a tensor lies in the file.
struct Entry {
    head: TensorHead,
    offset: u64,
}

/// An open model file with the places of its tensors.
pub struct TensorFile {
    file: BufReader<File>,
    entries: HashMap<String, Entry>,
}

impl TensorFile {
    /// Finds the tensors of the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read or its parts do not fit together.
    pub fn open(path: &Path) -> Result<Self, GgmlError> {
        let mut file = BufReader::new(File::open(path).map_err(GgmlError::Read)?);
        let length = file.get_ref().metadata().map_err(GgmlError::Read)?.len();
        ggml::copy_head(&mut file, &mut io::sink(), 0)?;
        let mut entries = HashMap::new();
        while let Some(head) = ggml::next_tensor(&mut file)? {
            let offset = file.stream_position().map_err(GgmlError::Read)?;
            let end = byte_count(&head)?.checked_add(offset).filter(|end| *end <= length);
            let cut_off = || GgmlError::Source(format!("it is cut off within `{}`", head.name));
            file.seek(SeekFrom::Start(end.ok_or_else(cut_off)?)).map_err(GgmlError::Read)?;
            entries.insert(head.name.clone(), Entry { head, offset });
        }
        Ok(Self { file, entries })
    }

    /// Names of all tensors, in no order.
    #[cfg(feature = "fuzzing")]
    pub fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// Reads the tensor `name`.
    ///
    /// # Errors
    /// When there is none or it cannot be read.
    pub fn read(&mut self, name: &str) -> Result<Tensor, GgmlError> {
        let missing = || GgmlError::Source(format!("it has no tensor `{name}`"));
        let Entry { head, offset } = self.entries.get(name).ok_or_else(missing)?;
        let mut buffer = Aligned::default();
        let bytes = buffer.bytes(byte_count(head)? as usize);
        self.file.seek(SeekFrom::Start(*offset)).map_err(GgmlError::Read)?;
        ggml::fill(&mut self.file, bytes)?;
        let shape: Vec<usize> = head.sides.iter().rev().map(|side| *side as usize).collect();
        let mut values = vec![0.0; shape.iter().product()];
        ggml::to_floats(head.kind, bytes, &mut values);
        Ok(Tensor { shape, values })
    }
}

/// Bytes of a tensor's numbers in the file.
fn byte_count(head: &TensorHead) -> Result<u64, GgmlError> {
    let unknown =
        || GgmlError::Source(format!("`{}` has weights of an unknown type, {}", head.name, head.kind));
    if head.kind >= sys::ggml_type_GGML_TYPE_COUNT {
        return Err(unknown());
    }
    // SAFETY: the kind is below GGML_TYPE_COUNT; the table is constant.
    let traits = unsafe { &*sys::ggml_get_type_traits(head.kind) };
    // Types that ggml has given up have no blocks; those without an opener are plain 32-bit numbers.
    let readable = traits.to_float.is_some() || head.kind == sys::ggml_type_GGML_TYPE_F32;
    if traits.blck_size <= 0 || !readable {
        return Err(unknown());
    }
    (ggml::row_bytes(head, head.kind)? as u64).checked_mul(head.rows()).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(tensors: &[(&str, u32, &[u32], &[u8])]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut put = |bytes: &[u8]| file.write_all(bytes).unwrap();
        put(b"lmgg");
        put(&[0; 44]);
        for number in [1_u32, 2, 0, 0, 2, 1, b'a'.into()] {
            // 1 × 2 filters, two tokens of one byte each; the last one is written below.
            put(&if number == u32::from(b'a') { vec![b'a'] } else { number.to_le_bytes().to_vec() });
        }
        put(&[1, 0, 0, 0, b'b']);
        for (name, kind, dimensions, bytes) in tensors {
            for number in [dimensions.len() as u32, name.len() as u32, *kind] {
                put(&number.to_le_bytes());
            }
            dimensions.iter().for_each(|size| put(&size.to_le_bytes()));
            put(name.as_bytes());
            put(bytes);
        }
        file
    }

    #[test]
    fn tensors_are_found_by_name_and_read_in_row_major_order() {
        let half: Vec<u8> = [0x3c00_u16, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let single: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let file = file(&[("half", 1, &[3, 2], &half), ("single", 0, &[2], &single)]);
        let mut tensors = TensorFile::open(file.path()).unwrap();
        let expected = Tensor { shape: vec![2], values: vec![1.5, -2.0] };
        assert_eq!(tensors.read("single").unwrap(), expected);
        let expected = Tensor { shape: vec![2, 3], values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        assert_eq!(tensors.read("half").unwrap(), expected);
        assert!(tensors.read("none").unwrap_err().to_string().contains("no tensor `none`"));
    }

    #[test]
    fn eight_bit_blocks_are_opened() {
        let mut block = vec![0x00, 0x38]; // a scale of 0.5
        block.extend((0..32).map(|value: i8| value as u8));
        let file = file(&[("q", 8, &[32, 1], &block)]);
        let values = TensorFile::open(file.path()).unwrap().read("q").unwrap().values;
        assert_eq!(values, (0..32).map(|value| value as f32 / 2.0).collect::<Vec<_>>());
    }

    #[test]
    fn damage_is_an_error() {
        for (name, kind, dimensions) in [
            ("cut", 0, &[100][..]),
            ("kind", 4_000, &[1]),
            ("row", 8, &[31]),
            ("flat", 0, &[]),
            ("given up", 4, &[32]),
        ] {
            let file = file(&[(name, kind, dimensions, &[0; 8])]);
            assert!(TensorFile::open(file.path()).is_err(), "{name}");
        }
        assert!(TensorFile::open(Path::new("/nonexistent")).is_err());
    }
}
