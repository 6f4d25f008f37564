//! Sound beyond its ends: mirrored at its first and its last sample, as often as needed.
//!
//! Pure. The mirrored sample itself is not repeated, as in `numpy.pad(mode="reflect")` and `torch.stft`.

/// The sample at `at`, which may lie before or behind `samples`; 0 when there are none.
pub fn reflected(samples: &[f32], at: i64) -> f32 {
    match samples {
        [] => 0.0,
        [only] => *only,
        _ => {
            let last = samples.len() as i64 - 1;
            let turned = at.rem_euclid(2 * last);
            samples[turned.min(2 * last - turned) as usize]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_sound_goes_to_and_fro() {
        let around = |samples: &[f32]| (-5..6).map(|at| reflected(samples, at)).collect::<Vec<_>>();
        assert_eq!(around(&[0.0, 1.0, 2.0]), [1., 0., 1., 2., 1., 0., 1., 2., 1., 0., 1.]);
        assert_eq!(around(&[7.0]), [7.0; 11]);
        assert_eq!(around(&[]), [0.0; 11]);
    }
}
