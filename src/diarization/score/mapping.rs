//! Which speaker found is which speaker of the truth. Pure.

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

use crate::time::SampleIndex;

/// The one-to-one pairs (speaker of the truth, speaker found) that have most time in common, over
/// `together[truth][found]` in samples. Whoever has nothing in common with anybody left has no partner. Exact
/// (Hungarian method, on whole samples).
pub fn best(together: &[Vec<SampleIndex>]) -> Vec<(usize, usize)> {
    let (rows, columns) = (together.len(), together.first().map_or(0, Vec::len));
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    let weights = Matrix::from_fn(rows, columns, |(row, column)| together[row][column] as i64);
    // The method asks for no more rows than columns.
    let swapped = rows > columns;
    let (_, chosen) = kuhn_munkres(&if swapped { weights.transposed() } else { weights });
    chosen
        .into_iter()
        .enumerate()
        .map(|(row, column)| if swapped { (column, row) } else { (row, column) })
        .filter(|(truth, found)| together[*truth][*found] > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_sum_wins_over_the_best_pair() {
        assert_eq!(best(&[vec![10, 9], vec![9, 1]]), [(0, 1), (1, 0)]);
    }

    #[test]
    fn more_speakers_on_one_side_leave_some_alone() {
        assert_eq!(best(&[vec![1], vec![5], vec![2]]), [(1, 0)]);
        assert_eq!(best(&[vec![1, 5, 2]]), [(0, 1)]);
        assert_eq!(best(&[vec![0, 0], vec![0, 3]]), [(1, 1)]);
        assert!(best(&[]).is_empty());
        assert!(best(&[vec![], vec![]]).is_empty());
    }
}
