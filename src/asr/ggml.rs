//! The GGML form of a Whisper model, as a stream: a head that is copied, then tensors one after another.
//!
//! Layout: whisper.cpp `whisper_model_load`; everything is little endian. Numbers from the file are checked
//! before anything is sized by them.

use std::ffi::c_void;
use std::io::{self, ErrorKind, Read, Write};

use whisper_rs::whisper_rs_sys as sys;

/// `ggml` in the file's first four bytes.
pub const MAGIC: u32 = 0x6767_6d6c;

/// Numbers after the magic; the last is the type of the weights.
const NUMBERS: usize = 11;

/// Most filters, frequencies, tokens and bytes in a token that a model can have.
const MAX_FILTER_SIDE: u32 = 4_096;
const MAX_TOKENS: u32 = 1 << 20;
const MAX_TOKEN_BYTES: u32 = 1 << 16;

/// Most bytes in a tensor's name, and most numbers along one side.
const MAX_NAME_BYTES: u32 = 256;
const MAX_SIDE: u32 = 1 << 24;

/// Why a model file could not be read, or a new one not be written.
#[derive(Debug, thiserror::Error)]
pub enum GgmlError {
    /// The file is damaged, of another kind, or has weights of an unknown type.
    #[error("{0}")]
    Source(String),
    /// The file cannot be read.
    #[error("its file cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The new file cannot be written.
    #[error("the new file cannot be written: {0}")]
    Write(#[source] io::Error),
}

/// What stands before a tensor's numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorHead {
    /// Its name.
    pub name: String,
    /// Length of each side; the first is that of a row. One to three of them.
    pub sides: Vec<u32>,
    /// ggml's number of its type.
    pub kind: u32,
}

impl TensorHead {
    /// Numbers in a row.
    pub fn row(&self) -> u64 {
        u64::from(self.sides[0])
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.sides[1..].iter().map(|side| u64::from(*side)).product()
    }

    /// Writes it as it is read.
    ///
    /// # Errors
    /// `Write`.
    pub fn write(&self, target: &mut impl Write) -> Result<(), GgmlError> {
        let name = self.name.as_bytes();
        let numbers = [self.sides.len() as u32, name.len() as u32, self.kind];
        for number in numbers.iter().chain(&self.sides) {
            put(target, &number.to_le_bytes())?;
        }
        put(target, name)
    }
}

/// Copies the head (numbers, filters, tokens), with `file_type` for the type of the weights.
///
/// # Errors
/// `Source`, `Read` or `Write`.
pub fn copy_head(source: &mut impl Read, target: &mut impl Write, file_type: u32) -> Result<(), GgmlError> {
    if number(source)? != MAGIC {
        return Err(GgmlError::Source("it is not a Whisper model in GGML form".into()));
    }
    put(target, &MAGIC.to_le_bytes())?;
    copy(source, target, 4 * (NUMBERS - 1))?;
    number(source)?;
    put(target, &file_type.to_le_bytes())?;

    let mels = copy_number(source, target, "n_mel", MAX_FILTER_SIDE)?;
    let frequencies = copy_number(source, target, "n_fft", MAX_FILTER_SIDE)?;
    copy(source, target, 4 * mels as usize * frequencies as usize)?;

    let tokens = copy_number(source, target, "the number of tokens", MAX_TOKENS)?;
    for _ in 0..tokens {
        let bytes = copy_number(source, target, "the length of a token", MAX_TOKEN_BYTES)?;
        copy(source, target, bytes as usize)?;
    }
    Ok(())
}

/// What stands before the next tensor; `None` at the end of the file.
///
/// # Errors
/// `Source` or `Read`.
pub fn next_tensor(source: &mut impl Read) -> Result<Option<TensorHead>, GgmlError> {
    let mut first = [0; 4];
    match read_or_end(source, &mut first)? {
        0 => return Ok(None),
        4 => {}
        _ => return Err(cut_off()),
    }
    let dimensions = within("the dimensions of a tensor", u32::from_le_bytes(first), 1..=3)?;
    let name_bytes = within("the length of a tensor's name", number(source)?, 1..=MAX_NAME_BYTES)?;
    let kind = number(source)?;
    let sides = (0..dimensions)
        .map(|_| within("the side of a tensor", number(source)?, 1..=MAX_SIDE))
        .collect::<Result<Vec<_>, _>>()?;
    let mut name = vec![0; name_bytes as usize];
    fill(source, &mut name)?;
    let name = String::from_utf8(name).map_err(|_| GgmlError::Source("a tensor's name is no text".into()))?;
    Ok(Some(TensorHead { name, sides, kind }))
}

/// Fills `buffer` from the file.
///
/// # Errors
/// `Read`, and `Source` when the file ends before.
pub fn fill(source: &mut impl Read, buffer: &mut [u8]) -> Result<(), GgmlError> {
    source.read_exact(buffer).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => cut_off(),
        _ => GgmlError::Read(error),
    })
}

/// Writes `bytes` to the new file.
///
/// # Errors
/// `Write`.
pub fn put(target: &mut impl Write, bytes: &[u8]) -> Result<(), GgmlError> {
    target.write_all(bytes).map_err(GgmlError::Write)
}

/// Bytes read, fewer than asked for only at the end of the file.
fn read_or_end(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize, GgmlError> {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(GgmlError::Read(error)),
        }
    }
    Ok(length)
}

fn copy(source: &mut impl Read, target: &mut impl Write, bytes: usize) -> Result<(), GgmlError> {
    // `io::copy` does not tell whose the error is.
    let mut buffer = [0; 4_096];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(buffer.len());
        fill(source, &mut buffer[..part])?;
        put(target, &buffer[..part])?;
        left -= part;
    }
    Ok(())
}

fn number(source: &mut impl Read) -> Result<u32, GgmlError> {
    let mut bytes = [0; 4];
    fill(source, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn copy_number(
    source: &mut impl Read,
    target: &mut impl Write,
    name: &str,
    most: u32,
) -> Result<u32, GgmlError> {
    let value = within(name, number(source)?, 0..=most)?;
    put(target, &value.to_le_bytes())?;
    Ok(value)
}

fn within(name: &str, value: u32, range: std::ops::RangeInclusive<u32>) -> Result<u32, GgmlError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (low, high) = range.into_inner();
    Err(GgmlError::Source(format!("it is damaged: {name} is {value}, allowed are {low} to {high}")))
}

fn cut_off() -> GgmlError {
    GgmlError::Source("it is cut off".into())
}

/// Bytes of one row of the tensor in the type `kind`, which must be one of ggml's; a row must be of whole blocks.
///
/// # Errors
/// `Source`, when it is not.
pub fn row_bytes(tensor: &TensorHead, kind: sys::ggml_type) -> Result<usize, GgmlError> {
    let row = i64::from(tensor.sides[0]);
    // SAFETY: both read a table of the library; `kind` is one of its types.
    let (block, bytes) = unsafe { (sys::ggml_blck_size(kind), sys::ggml_row_size(kind, row)) };
    if row % block == 0 {
        return Ok(bytes);
    }
    Err(GgmlError::Source(format!(
        "`{}` has rows of {row} weights, and this type stores them by {block}",
        tensor.name
    )))
}

/// Reads `numbers` from as many rows in the type `kind`.
pub fn to_floats(kind: sys::ggml_type, bytes: &[u8], numbers: &mut [f32]) {
    // SAFETY: reads a table of the library; `kind` is one of its types.
    let traits = unsafe { &*sys::ggml_get_type_traits(kind) };
    match traits.to_float {
        // SAFETY: `bytes` holds `numbers.len()` numbers of this type, as `row_bytes` has counted them, and is
        // part of an `Aligned`.
        Some(convert) => unsafe {
            convert(bytes.as_ptr().cast::<c_void>(), numbers.as_mut_ptr(), numbers.len() as i64);
        },
        // Only 32-bit numbers need no conversion.
        None => {
            for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
                *number = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
        }
    }
}

/// Bytes that start where ggml's blocks may: some hold 32-bit numbers.
#[derive(Default)]
pub struct Aligned(Vec<u32>);

impl Aligned {
    /// The first `length` bytes, whatever they hold.
    pub fn bytes(&mut self, length: usize) -> &mut [u8] {
        self.0.resize(length.div_ceil(size_of::<u32>()), 0);
        // SAFETY: the vector has at least so many bytes, all of them written, and any bytes are numbers.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(mels: u32, tokens: &[&[u8]]) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            std::iter::once(MAGIC).chain(1..=NUMBERS as u32).flat_map(u32::to_le_bytes).collect();
        bytes.extend([mels, 2].iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend(vec![7; 4 * 2 * mels as usize]);
        bytes.extend((tokens.len() as u32).to_le_bytes());
        for token in tokens {
            bytes.extend((token.len() as u32).to_le_bytes());
            bytes.extend(*token);
        }
        bytes
    }

    #[test]
    fn the_head_is_copied_but_for_the_type() {
        let source = head(3, &[b"a", b"", b"\xff\x00b"]);
        let mut target = Vec::new();
        copy_head(&mut &source[..], &mut target, 2_007).unwrap();
        let mut expected = source;
        expected[4 * NUMBERS..][..4].copy_from_slice(&2_007_u32.to_le_bytes());
        assert_eq!(target, expected);
    }

    #[test]
    fn a_tensor_is_written_as_it_is_read() {
        let tensor = TensorHead { name: "encoder.ln_post.bias".into(), sides: vec![384, 2], kind: 0 };
        let mut bytes = Vec::new();
        tensor.write(&mut bytes).unwrap();
        let mut reader = &bytes[..];
        assert_eq!(next_tensor(&mut reader).unwrap(), Some(tensor));
        assert_eq!(next_tensor(&mut reader).unwrap(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_stumble(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = next_tensor(&mut &bytes[..]);
            let mut with_magic = MAGIC.to_le_bytes().to_vec();
            with_magic.extend(bytes);
            let _ = copy_head(&mut &with_magic[..], &mut std::io::sink(), 0);
        }

        #[test]
        fn a_cut_head_is_an_error(at in 0..90_usize) {
            let whole = head(2, &[b"some", b"tokens", b"here!!"]);
            let result = copy_head(&mut &whole[..at.min(whole.len() - 1)], &mut std::io::sink(), 0);
            proptest::prop_assert!(matches!(result, Err(GgmlError::Source(_))));
        }
    }
}
