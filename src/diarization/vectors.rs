//! Vectors of speaker encoders: angles, unit length, compact storage. Pure.
//!
//! Knows nothing of windows or speakers. Read next: `method`.

/// Scalar product of two vectors of equal length.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums side by side: the compiler may not reorder one sum of floats, and would not vectorise it.
    let mut sums = [0.0f32; 8];
    let (a_eights, a_rest) = a.as_chunks::<8>();
    let (b_eights, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_eights.iter().zip(b_eights) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Cosine of the angle between two vectors of equal length; 0 where one has no direction.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let lengths = dot(a, a).sqrt() * dot(b, b).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

/// Euclidean distance of two vectors of equal length.
pub(super) fn distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a_eights, a_rest) = a.as_chunks::<8>();
    let (b_eights, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_eights.iter().zip(b_eights) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += (a - b) * (a - b);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    (sums.iter().sum::<f32>() + rest).sqrt()
}

/// The vector at unit length, or `None` when it has no direction: all zeros, or numbers that are none.
pub(super) fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if !length.is_finite() || length < f64::from(f32::MIN_POSITIVE) {
        return None;
    }
    for x in &mut vector {
        *x = (f64::from(*x) / length) as f32;
    }
    Some(vector)
}

/// Row vector (n) times matrix (n, columns), row-major; (columns).
pub(super) fn times(vector: &[f32], matrix: &[f32], columns: usize) -> Vec<f32> {
    let mut product = vec![0.0f32; columns];
    for (x, row) in vector.iter().zip(matrix.chunks_exact(columns)) {
        for (sum, weight) in product.iter_mut().zip(row) {
            *sum += x * weight;
        }
    }
    product
}

/// A vector in 16 bits per number with a scale of its own: half the memory, and wrong by at most 1/65 534 of its
/// largest number, a hundredth of what a network in 8 bits is wrong by.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    scale: f32,
    values: Box<[i16]>,
}

impl Packed {
    /// `None` for a vector without a direction: all zeros, or numbers that are none.
    pub(super) fn of(vector: &[f32]) -> Option<Self> {
        let largest = vector.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let scale = largest / f32::from(i16::MAX);
        if !vector.iter().all(|x| x.is_finite()) || scale < f32::MIN_POSITIVE {
            return None;
        }
        Some(Self { scale, values: vector.iter().map(|x| (x / scale).round() as i16).collect() })
    }

    /// The vector.
    pub(super) fn unpack(&self) -> Vec<f32> {
        self.values.iter().map(|x| f32::from(*x) * self.scale).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_distances_take_what_does_not_fill_eight() {
        let a: Vec<f32> = (0..11).map(|i| i as f32).collect();
        let b = vec![2.0; 11];
        assert_eq!(dot(&a, &b), 110.0);
        assert_eq!(distance(&a, &a), 0.0);
        assert!((cosine(&a, &b) - 110.0 / (385.0f32 * 44.0).sqrt()).abs() < 1e-6);
        assert_eq!(cosine(&a, &[0.0; 11]), 0.0);
        assert!((distance(&[3.0; 11], &[0.0; 11]) - 99.0f32.sqrt()).abs() < 1e-5);
        assert_eq!(times(&[1.0, 10.0], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [41.0, 52.0, 63.0]);
    }

    #[test]
    fn a_vector_without_direction_is_none() {
        for vector in [vec![], vec![0.0; 4], vec![1.0, f32::NAN], vec![f32::INFINITY, 1.0]] {
            assert!(unit(vector.clone()).is_none(), "{vector:?}");
            assert!(Packed::of(&vector).is_none(), "{vector:?}");
        }
        assert_eq!(unit(vec![3.0, -4.0]), Some(vec![0.6, -0.8]));
    }

    #[test]
    fn packing_keeps_each_number_to_a_65_534th_of_the_largest() {
        let vector: Vec<f32> = (0..256).map(|i| ((i * 7919) as f32).sin() * 3.0).collect();
        let back = Packed::of(&vector).unwrap().unpack();
        for (x, y) in vector.iter().zip(&back) {
            assert!((x - y).abs() <= 3.0 / 65_534.0 * 1.01, "{x} {y}");
        }
    }
}
