//! How the voices of one encoder are compared and grouped: its space, and every threshold, in one place. Pure.
//!
//! A threshold belongs to an encoder, its space and a linkage: none of these numbers means anything with another
//! encoder. Knows nothing of windows. Read next: `speakers`, which groups by it.

use std::sync::Arc;

use super::DiarizationError;
use super::clustering::Linkage;
use super::vbx::Strength;
use super::vectors::{dot, times, unit};
use crate::time::{SAMPLE_RATE, SampleIndex};

/// How many times the share of `Minor` may grow.
const MOST_MINOR: f64 = 2.0;

/// How voices of one encoder are compared and grouped. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Method(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    space: Space,
    phi: Vec<f64>,
    grouping: Grouping,
    same_voice: f32,
}

/// The numbers by which voices are grouped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grouping {
    /// How clusters are compared.
    pub linkage: Linkage,
    /// Distance at which the tree is cut.
    pub threshold: f32,
    /// Evidence's scale at a step of one second. Fewer windows tell less often the same, so each counts for more.
    pub fa_per_second: f64,
    /// Price of a speaker.
    pub fb: f64,
    /// Speakers with a smaller share of the speech are let go of.
    pub least_share: f64,
    /// When those who are hardly heard are taken for others, if ever.
    pub minor: Option<Minor>,
    /// Seconds of voices, one window's step each, beyond which more of them tell little that is new.
    pub plenty: Option<f64>,
}

/// Who is hardly heard and sounds like somebody else is nobody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Minor {
    /// Share of the speech, in shares of an even split, below which somebody is hardly heard.
    pub share: f64,
    /// Cosine similarity of centroids above which they sound alike. Those of GE2E's real speakers lie at 0.5 at most.
    pub likeness: f32,
}

impl Grouping {
    /// These, made for so many voices at a window step in samples. Beyond plenty, a speaker's price grows with their
    /// number, and who is hardly heard may be heard more: else the differences within one voice, in hours of it, would
    /// make two of it.
    pub(super) fn for_length(self, voices: usize, step: SampleIndex) -> Self {
        let seconds = step as f64 / f64::from(SAMPLE_RATE);
        let plenty = self.plenty.map_or(1.0, |plenty| (voices as f64 * seconds / plenty).max(1.0));
        let minor = self.minor.map(|minor| Minor { share: minor.share * plenty.min(MOST_MINOR), ..minor });
        Self { fb: self.fb * plenty, minor, ..self }
    }

    /// VBx's settings at a window step in samples.
    pub(super) fn strength(&self, step: SampleIndex) -> Strength {
        Strength { fa: self.fa_per_second * step as f64 / f64::from(SAMPLE_RATE), fb: self.fb }
    }
}

/// What a vector of the encoder is turned into before it is compared.
#[derive(Debug)]
enum Space {
    Ge2e { mean: Vec<f32>, lda: Vec<f32> },
    Community(Plda),
}

/// The PLDA of pyannote's speaker-diarization-community-1 (BUT Speech@FIT, CC BY 4.0), for its WeSpeaker encoder, with
/// the model already diagonal. Matrices are row-major.
#[derive(Clone, Debug, Default)]
pub struct Plda {
    /// Mean of the encoder's vectors; (256).
    pub mean1: Vec<f32>,
    /// Linear discriminant analysis; (256 × 128).
    pub lda: Vec<f32>,
    /// Mean after it; (128).
    pub mean2: Vec<f32>,
    /// Mean of the PLDA model; (128).
    pub mu: Vec<f32>,
    /// Eigenvectors of the between-speaker covariance in its columns, largest first; (128 × 128).
    pub eigenvectors: Vec<f32>,
    /// Between-speaker variances, largest first; (128).
    pub phi: Vec<f32>,
}

/// A voice as it is compared.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Where centroids are taken and tracks find theirs.
    pub at: Vec<f32>,
    /// Its direction, of unit length: what the tree is grown from.
    pub direction: Vec<f32>,
    /// Its PLDA feature.
    pub feature: Vec<f64>,
}

impl Method {
    /// For the GE2E encoder: `mean` (d), `lda` (d × k, row-major) and `phi` (k), the between-speaker variances.
    ///
    /// # Errors
    /// `Model` when sizes do not go together or a number is none.
    pub fn ge2e(mean: &[f32], lda: &[f32], phi: &[f32]) -> Result<Self, DiarizationError> {
        check(
            "GE2E's LDA",
            &[("mean", mean, mean.len()), ("lda", lda, mean.len() * phi.len()), ("phi", phi, phi.len())],
        )?;
        Ok(Self(Arc::new(Inner {
            space: Space::Ge2e { mean: mean.to_vec(), lda: lda.to_vec() },
            phi: phi.iter().map(|phi| f64::from(*phi)).collect(),
            grouping: Grouping {
                linkage: Linkage::Average,
                threshold: 0.40,
                fa_per_second: 0.05,
                fb: 0.5,
                least_share: 1e-3,
                // 12 voices for 10 minutes: 12 speakers instead of 15, and 8.4 % of error instead of 10.0.
                minor: Some(Minor { share: 0.25, likeness: 0.5 }),
                // A quarter of an hour. 12 voices for 3 hours: 12 speakers instead of 15, 9.5 % of error instead of 14.3.
                plenty: Some(900.0),
            },
            // On the voices of twelve recordings 0.1 % of strangers are taken for somebody and 0.9 % are not found.
            same_voice: 0.6,
        })))
    }

    /// For the WeSpeaker ResNet34-LM encoder, as pyannote's community-1 does.
    ///
    /// # Errors
    /// `Model` when sizes do not go together or a number is none.
    pub fn community1(plda: &Plda) -> Result<Self, DiarizationError> {
        let (wide, narrow) = (plda.mean1.len(), plda.mean2.len());
        check(
            "the PLDA",
            &[
                ("mean1", &plda.mean1, wide),
                ("lda", &plda.lda, wide * narrow),
                ("mean2", &plda.mean2, narrow),
                ("mu", &plda.mu, narrow),
                ("eigenvectors", &plda.eigenvectors, narrow * narrow),
                ("phi", &plda.phi, narrow),
            ],
        )?;
        Ok(Self(Arc::new(Inner {
            space: Space::Community(plda.clone()),
            phi: plda.phi.iter().map(|phi| f64::from(*phi)).collect(),
            grouping: Grouping {
                linkage: Linkage::Centroid,
                threshold: 0.6,
                fa_per_second: 0.07,
                fb: 0.8,
                least_share: 1e-7,
                minor: None,
                plenty: None,
            },
            same_voice: 0.5,
        })))
    }

    /// The numbers by which its voices are grouped.
    pub(super) fn grouping(&self) -> Grouping {
        self.0.grouping
    }

    /// Between-speaker variances of the PLDA features.
    pub(super) fn phi(&self) -> &[f64] {
        &self.0.phi
    }

    /// Similarity, in [-1, 1], from which on two voices are the same.
    pub(super) fn same_voice(&self) -> f32 {
        self.0.same_voice
    }

    /// Where a vector of the encoder lies; `None` for one of another length or without a direction.
    pub(super) fn place(&self, vector: &[f32]) -> Option<Place> {
        let width = match &self.0.space {
            Space::Ge2e { mean, .. } => mean.len(),
            Space::Community(plda) => plda.mean1.len(),
        };
        if vector.len() != width {
            return None;
        }
        match &self.0.space {
            Space::Ge2e { mean, lda } => {
                let centred = unit(minus(&unit(vector.to_vec())?, mean))?;
                let feature = times(&centred, lda, self.0.phi.len());
                let direction = unit(feature.clone())?;
                Some(Place { at: direction.clone(), direction, feature: widen(&feature) })
            }
            Space::Community(plda) => {
                let direction = unit(vector.to_vec())?;
                let feature = plda.feature(vector)?;
                Some(Place { at: vector.to_vec(), direction, feature: widen(&feature) })
            }
        }
    }

    /// How alike two vectors of the encoder sound, in [-1, 1]; `None` where one has no direction.
    pub(super) fn similarity(&self, a: &[f32], b: &[f32]) -> Option<f32> {
        Some(dot(&unit(self.place(a)?.at)?, &unit(self.place(b)?.at)?))
    }
}

impl Plda {
    /// (256) → (128): `xvec_tf` and `plda_tf` of pyannote.audio's `utils/vbx.py`.
    fn feature(&self, vector: &[f32]) -> Option<Vec<f32>> {
        let (wide, narrow) = (self.mean1.len(), self.mean2.len());
        let centred = scaled(unit(minus(vector, &self.mean1))?, (wide as f32).sqrt());
        let discriminated = unit(minus(&times(&centred, &self.lda, narrow), &self.mean2))?;
        let whitened = minus(&scaled(discriminated, (narrow as f32).sqrt()), &self.mu);
        Some(times(&whitened, &self.eigenvectors, narrow))
    }
}

fn minus(vector: &[f32], mean: &[f32]) -> Vec<f32> {
    vector.iter().zip(mean).map(|(x, mean)| x - mean).collect()
}

fn scaled(mut vector: Vec<f32>, scale: f32) -> Vec<f32> {
    vector.iter_mut().for_each(|x| *x *= scale);
    vector
}

fn widen(vector: &[f32]) -> Vec<f64> {
    vector.iter().map(|x| f64::from(*x)).collect()
}

/// Whether each part, with its name, has the size it should have and holds numbers only.
fn check(what: &str, parts: &[(&str, &[f32], usize)]) -> Result<(), DiarizationError> {
    for (name, numbers, size) in parts {
        if numbers.len() != *size || numbers.is_empty() {
            let message = format!("{what} has {} numbers in {name} where {size} belong", numbers.len());
            return Err(DiarizationError::Model(message));
        }
        if !numbers.iter().all(|x| x.is_finite()) {
            return Err(DiarizationError::Model(format!(
                "{name} of {what} holds something that is no number"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// GE2E's way in four dimensions, none of them better than the others.
    pub(in super::super) fn plain() -> Method {
        let identity: Vec<f32> = (0..16).map(|i| f32::from(u8::from(i % 5 == 0))).collect();
        Method::ge2e(&[0.0; 4], &identity, &[6.0; 4]).unwrap()
    }

    #[test]
    fn sizes_that_do_not_go_together_are_an_error() {
        let short = Method::ge2e(&[0.0; 4], &[1.0; 7], &[1.0; 2]).unwrap_err();
        assert!(short.to_string().contains("7 numbers in lda where 8 belong"), "{short}");
        assert!(Method::ge2e(&[], &[], &[]).is_err());
        assert!(Method::ge2e(&[f32::NAN], &[1.0], &[1.0]).is_err());
        assert!(Method::community1(&Plda::default()).is_err());
    }

    #[test]
    fn vectors_that_cannot_be_compared_have_no_place() {
        let method = plain();
        for vector in [vec![], vec![1.0; 3], vec![0.0; 4], vec![f32::NAN; 4]] {
            assert!(method.place(&vector).is_none(), "{vector:?}");
            assert!(method.similarity(&vector, &[1.0, 0.0, 0.0, 0.0]).is_none());
        }
        let similarity = method.similarity(&[2.0, 0.0, 0.0, 0.0], &[3.0, 3.0, 0.0, 0.0]).unwrap();
        assert!((similarity - 0.5f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn fewer_windows_count_for_more() {
        let grouping = plain().grouping();
        assert!((grouping.strength(16_000).fa - 0.05).abs() < 1e-12);
        assert!((grouping.strength(40_000).fa - 0.125).abs() < 1e-12);
    }

    #[test]
    fn hours_of_talk_make_speakers_dearer() {
        let (short, long) =
            (plain().grouping().for_length(900, 16_000), plain().grouping().for_length(7_200, 40_000));
        assert_eq!((short.fb, short.minor.unwrap().share), (0.5, 0.25));
        assert_eq!((long.fb, long.minor.unwrap().share), (10.0, 0.5));
        assert_eq!(long.minor.unwrap().likeness, 0.5);
    }
}
