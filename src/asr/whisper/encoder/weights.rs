//! The tensors of a GGML Whisper file, found without loading them all and read as `f32`.
//!
//! Layout: whisper.cpp `whisper_model_load`. Quantized blocks are opened by ggml's own routines.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use whisper_rs::whisper_rs_sys as sys;

/// Bytes of the magic and the eleven numbers in front of the mel filters.
const HEADER_BYTES: u64 = 48;

/// Most dimensions of a tensor; the file has room for no more.
const MAX_DIMENSIONS: usize = 4;

/// Longest name of a tensor, in bytes; Whisper's own stay below 50.
const MAX_NAME_BYTES: usize = 256;

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
    kind: sys::ggml_type,
    /// Innermost dimension first, as ggml has it.
    dimensions: Vec<usize>,
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
    /// A sentence, when the file cannot be read or its parts do not fit together.
    pub fn open(path: &Path) -> Result<Self, String> {
        let mut file = BufReader::new(File::open(path).map_err(text)?);
        let length = file.get_ref().metadata().map_err(text)?.len();
        skip_header(&mut file, length)?;
        let mut entries = HashMap::new();
        while file.stream_position().map_err(text)? < length {
            let (name, entry) = read_entry(&mut file)?;
            let end = entry.offset + byte_count(entry.kind, &entry.dimensions)?;
            if end > length {
                return Err(format!("the tensor {name} goes beyond the file's end"));
            }
            file.seek(SeekFrom::Start(end)).map_err(text)?;
            entries.insert(name, entry);
        }
        Ok(Self { file, entries })
    }

    /// Reads the tensor `name`.
    ///
    /// # Errors
    /// A sentence, when there is none or it cannot be read.
    pub fn read(&mut self, name: &str) -> Result<Tensor, String> {
        let entry = self.entries.get(name).ok_or_else(|| format!("the file has no tensor {name}"))?;
        let mut bytes = vec![0; byte_count(entry.kind, &entry.dimensions)? as usize];
        self.file.seek(SeekFrom::Start(entry.offset)).map_err(text)?;
        self.file.read_exact(&mut bytes).map_err(text)?;
        let shape: Vec<usize> = entry.dimensions.iter().rev().copied().collect();
        let values = to_f32(entry.kind, &bytes, shape.iter().product())?;
        Ok(Tensor { shape, values })
    }
}

fn text(error: std::io::Error) -> String {
    format!("the model file cannot be read: {error}")
}

fn read_u32(file: &mut impl Read) -> Result<u32, String> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes).map_err(text)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Goes past the mel filters and the vocabulary.
fn skip_header(file: &mut BufReader<File>, length: u64) -> Result<(), String> {
    file.seek(SeekFrom::Start(HEADER_BYTES)).map_err(text)?;
    let filters = u64::from(read_u32(file)?) * u64::from(read_u32(file)?) * 4;
    if filters > length {
        return Err("the mel filters go beyond the file's end".into());
    }
    file.seek_relative(filters as i64).map_err(text)?;
    for _ in 0..read_u32(file)? {
        let bytes = read_u32(file)?;
        file.seek_relative(i64::from(bytes)).map_err(text)?;
    }
    Ok(())
}

fn read_entry(file: &mut BufReader<File>) -> Result<(String, Entry), String> {
    let (count, name_bytes) = (read_u32(file)? as usize, read_u32(file)? as usize);
    let kind = read_u32(file)?;
    if count > MAX_DIMENSIONS || name_bytes > MAX_NAME_BYTES || kind >= sys::ggml_type_GGML_TYPE_COUNT {
        return Err("a tensor's head is damaged".into());
    }
    let dimensions = (0..count).map(|_| Ok(read_u32(file)? as usize)).collect::<Result<_, String>>()?;
    let mut name = vec![0; name_bytes];
    file.read_exact(&mut name).map_err(text)?;
    let name = String::from_utf8(name).map_err(|_| "a tensor's name is damaged")?;
    let offset = file.stream_position().map_err(text)?;
    Ok((name, Entry { kind, dimensions, offset }))
}

/// Bytes of a tensor of `kind` in the file.
fn byte_count(kind: sys::ggml_type, dimensions: &[usize]) -> Result<u64, String> {
    // SAFETY: the kind is below GGML_TYPE_COUNT; the table is constant.
    let traits = unsafe { *sys::ggml_get_type_traits(kind) };
    let damaged = || "a tensor's dimensions are damaged".to_owned();
    let block = usize::try_from(traits.blck_size).ok().filter(|size| *size > 0).ok_or_else(damaged)?;
    let row = *dimensions.first().ok_or_else(damaged)?;
    if row % block != 0 {
        return Err(damaged());
    }
    let rows = dimensions[1..].iter().try_fold(1_u64, |product, size| product.checked_mul(*size as u64));
    rows.and_then(|rows| rows.checked_mul((row / block * traits.type_size) as u64)).ok_or_else(damaged)
}

/// Opens the blocks of `kind`.
fn to_f32(kind: sys::ggml_type, bytes: &[u8], count: usize) -> Result<Vec<f32>, String> {
    if kind == sys::ggml_type_GGML_TYPE_F32 {
        return Ok(bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect());
    }
    // SAFETY: the kind is below GGML_TYPE_COUNT; the table is constant.
    let open = unsafe { (*sys::ggml_get_type_traits(kind)).to_float };
    let open = open.ok_or_else(|| format!("tensors of ggml's type {kind} cannot be read"))?;
    let mut values = vec![0.0; count];
    // SAFETY: `bytes` holds exactly the blocks of `count` values (`byte_count`).
    unsafe { open(bytes.as_ptr().cast(), values.as_mut_ptr(), count as i64) };
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(tensors: &[(&str, u32, &[u32], &[u8])]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut put = |bytes: &[u8]| file.write_all(bytes).unwrap();
        put(&[0; HEADER_BYTES as usize]);
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
        assert!(tensors.read("none").unwrap_err().contains("no tensor none"));
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
        for (name, kind, dimensions) in
            [("cut", 0, &[100][..]), ("kind", 4_000, &[1]), ("row", 8, &[31]), ("flat", 0, &[])]
        {
            let file = file(&[(name, kind, dimensions, &[0; 8])]);
            assert!(TensorFile::open(file.path()).is_err(), "{name}");
        }
        assert!(TensorFile::open(Path::new("/nonexistent")).is_err());
    }
}
