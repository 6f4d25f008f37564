//! The tables by which voices are compared, read from files in the safetensors format.
//!
//! An encoder's vectors hold more than the voice; a linear transform, estimated from many voices, turns them into what
//! tells speakers apart. The files hold its numbers by name, little-endian, row by row; what they mean is the business
//! of `attribution`.

use safetensors::{Dtype, SafeTensors};

use super::DiarizationError;
use super::attribution::{Method, Plda};

/// How GE2E embeddings are compared: `mean` (256), `lda` (256, 64) and `phi` (64).
///
/// # Errors
/// `Model` when the bytes are not such a file.
pub fn ge2e(file: &[u8]) -> Result<Method, DiarizationError> {
    let tables = Tables::parse(file)?;
    Method::ge2e(
        &tables.numbers("mean", &[256])?,
        &tables.numbers("lda", &[256, 64])?,
        &tables.numbers("phi", &[64])?,
    )
}

/// How WeSpeaker embeddings are compared: the PLDA of pyannote's community-1.
///
/// # Errors
/// `Model` when the bytes are not such a file.
pub fn community1(file: &[u8]) -> Result<Method, DiarizationError> {
    let tables = Tables::parse(file)?;
    Method::community1(&Plda {
        mean1: tables.numbers("mean1", &[256])?,
        mean2: tables.numbers("mean2", &[128])?,
        lda: tables.numbers("lda", &[256, 128])?,
        mu: tables.numbers("mu", &[128])?,
        eigenvectors: tables.numbers("eigenvectors", &[128, 128])?,
        phi: tables.numbers("phi", &[128])?,
    })
}

struct Tables<'a> {
    file: SafeTensors<'a>,
}

impl<'a> Tables<'a> {
    fn parse(file: &'a [u8]) -> Result<Self, DiarizationError> {
        let file = SafeTensors::deserialize(file)
            .map_err(|error| DiarizationError::Model(format!("its tables cannot be read: {error}")))?;
        Ok(Self { file })
    }

    /// The table `name`, which must have this shape and finite numbers.
    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, DiarizationError> {
        let wrong = |what: String| DiarizationError::Model(format!("its table `{name}` {what}"));
        let table = self.file.tensor(name).map_err(|error| wrong(format!("is missing: {error}")))?;
        if table.shape() != shape {
            return Err(wrong(format!("has the shape {:?}, not {shape:?}", table.shape())));
        }
        let numbers: Vec<f32> = match table.dtype() {
            Dtype::F32 => table.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Dtype::F64 => {
                table.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect()
            }
            other => return Err(wrong(format!("holds {other:?}, not floating point numbers"))),
        };
        if numbers.iter().all(|number| number.is_finite()) {
            Ok(numbers)
        } else {
            Err(wrong("holds what is no number".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GE2E: &[u8] = include_bytes!("../../models/ge2e_lda64.safetensors");
    const COMMUNITY1: &[u8] = include_bytes!("../../models/community1_plda.safetensors");

    fn problem(result: Result<Method, DiarizationError>) -> String {
        result.map(drop).expect_err("an error").to_string()
    }

    #[test]
    fn the_bundled_tables_are_read() {
        assert!(ge2e(GE2E).is_ok() && community1(COMMUNITY1).is_ok());
    }

    #[test]
    fn the_variances_of_the_plda_fall() {
        let tables = Tables::parse(COMMUNITY1).unwrap();
        let phi = tables.numbers("phi", &[128]).unwrap();
        assert!(phi.windows(2).all(|pair| pair[0] >= pair[1]) && phi.iter().all(|value| *value > 0.0));
    }

    #[test]
    fn another_file_is_refused_by_name_of_what_is_wrong() {
        assert!(problem(ge2e(b"nothing of the kind")).contains("cannot be read"));
        assert!(problem(ge2e(COMMUNITY1)).contains("`mean` is missing"));
        assert!(problem(community1(GE2E)).contains("`mean1` is missing"));
        let mut damaged = GE2E.to_vec();
        let last = damaged.len();
        damaged[last - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(problem(ge2e(&damaged)).contains("no number"));
        damaged.truncate(last - 1);
        assert!(problem(ge2e(&damaged)).contains("cannot be read"));
    }
}
