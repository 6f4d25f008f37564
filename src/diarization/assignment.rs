//! Who is who: the best one-to-one matching of what is similar. Pure.

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

/// Similarities become integers of this unit, so that the matching is exact.
const UNIT: f64 = 1.0 / (1u64 << 40) as f64;

/// The column that each row is matched with, no column twice, so that the sum of similarities is the largest. A row
/// stays alone where all columns are taken, or where that makes the sum larger, being alone counting as `alone`.
/// `similarities` are rows of equal length, finite, in [-1, 1]; `alone` too, or less.
pub(super) fn matching(similarities: &[Vec<f32>], alone: f32) -> Vec<Option<usize>> {
    let columns = similarities.first().map_or(0, Vec::len);
    if columns == 0 {
        return vec![None; similarities.len()];
    }
    let integer = |similarity: f32| (f64::from(similarity) / UNIT) as i64;
    // A column of its own for each row that may stay alone: (rows, columns + rows)
    let weights = Matrix::from_fn(similarities.len(), columns + similarities.len(), |(row, column)| {
        integer(similarities[row].get(column).copied().unwrap_or(alone))
    });
    let (_, matched) = kuhn_munkres(&weights);
    matched.into_iter().map(|column| Some(column).filter(|column| *column < columns)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sum_counts_and_not_the_first_choice() {
        let matched = matching(&[vec![0.9, 0.8], vec![0.9, 0.1]], -9.0);
        assert_eq!(matched, [Some(1), Some(0)]);
    }

    #[test]
    fn whoever_fits_least_stays_alone() {
        assert_eq!(matching(&[vec![0.2], vec![0.7], vec![-0.3]], -9.0), [None, Some(0), None]);
        assert_eq!(matching(&[vec![0.2, 0.1]], 0.5), [None]);
        assert_eq!(matching(&[vec![], vec![]], 0.5), [None, None]);
        assert_eq!(matching(&[], 0.5), []);
    }

    proptest! {
        #[test]
        fn no_other_matching_has_a_larger_sum(
            rows in 1usize..4, columns in 1usize..5, numbers in prop::collection::vec(-1.0f32..1.0, 20), alone in -2.0f32..0.5,
        ) {
            let similarities: Vec<Vec<f32>> = numbers.chunks(columns).take(rows).map(<[f32]>::to_vec).collect();
            prop_assume!(similarities.iter().all(|row| row.len() == columns));
            let worth = |matched: &[Option<usize>]| -> f64 {
                let of = |(row, column): (usize, &Option<usize>)| column.map_or(alone, |column| similarities[row][column]);
                matched.iter().enumerate().map(of).map(f64::from).sum()
            };
            let found = matching(&similarities, alone);
            let mut best = f64::NEG_INFINITY;
            // Every choice of a column, or none, for each row.
            for choice in 0..(columns + 1).pow(similarities.len() as u32) {
                let pick = |row: u32| Some(choice / (columns + 1).pow(row) % (columns + 1)).filter(|c| *c < columns);
                let picks: Vec<Option<usize>> = (0..similarities.len() as u32).map(pick).collect();
                let taken: Vec<usize> = picks.iter().flatten().copied().collect();
                if (1..taken.len()).all(|i| !taken[..i].contains(&taken[i])) {
                    best = best.max(worth(&picks));
                }
            }
            prop_assert!((worth(&found) - best).abs() < 1e-6, "{found:?} is worth {} of {best}", worth(&found));
        }
    }
}
