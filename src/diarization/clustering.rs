//! Agglomerative clustering: a tree of merges over vectors, and ways to cut it. Pure.
//!
//! Knows nothing of windows or of what a vector stands for. Read next: `vbx`, which refines the cut.

use super::vectors::{distance, dot};

/// How far two clusters are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linkage {
    /// The Euclidean distance of their centroids.
    Centroid,
    /// The mean of the cosine distances between their members.
    Average,
}

/// Who was merged with whom, nearest first, until all were one.
pub(super) struct Tree {
    leaves: usize,
    merges: Vec<Merge>,
}

/// Node `leaves + i` of the tree is merge `i`; nodes below `leaves` are vectors.
struct Merge {
    nodes: [usize; 2],
    distance: f32,
}

impl Tree {
    /// The tree over `vectors`, all of one length and finite. Takes memory and time by the square of how many there
    /// are: 12 MB for 2 500.
    ///
    /// For `Linkage::Average` they are unit vectors, or means of such: the cosine distance of two means is the mean over
    /// all pairs of those they stand for.
    pub(super) fn grow(vectors: &[&[f32]], linkage: Linkage) -> Self {
        let leaves = vectors.len();
        let mut tree = Self { leaves, merges: Vec::with_capacity(leaves.saturating_sub(1)) };
        if leaves < 2 {
            return tree;
        }
        let mut distances = Vec::with_capacity(leaves * (leaves - 1) / 2);
        for (i, a) in vectors.iter().enumerate() {
            distances.extend(vectors[i + 1..].iter().map(|b| match linkage {
                Linkage::Centroid => distance(a, b),
                Linkage::Average => 1.0 - dot(a, b),
            }));
        }
        let method = match linkage {
            Linkage::Centroid => kodama::Method::Centroid,
            Linkage::Average => kodama::Method::Average,
        };
        for step in kodama::linkage(&mut distances, leaves, method).steps() {
            let nodes = [step.cluster1, step.cluster2];
            // Centroids of equal vectors may come out at the root of less than nothing.
            let distance = if step.dissimilarity.is_nan() { 0.0 } else { step.dissimilarity };
            tree.merges.push(Merge { nodes, distance });
        }
        tree
    }

    /// Which merge a node is; `None` for a leaf.
    fn merge(&self, node: usize) -> Option<usize> {
        node.checked_sub(self.leaves)
    }

    /// Cluster of each vector when nothing is merged that is further apart than `distance`, as SciPy's `fcluster`
    /// counts: centroids may come nearer by merging, so a merge holds only where all below it do.
    pub(super) fn cut_at(&self, distance: f32) -> Vec<usize> {
        let mut furthest: Vec<f32> = Vec::with_capacity(self.merges.len());
        for merge in &self.merges {
            let below = merge.nodes.iter().filter_map(|node| self.merge(*node)).map(|i| furthest[i]);
            furthest.push(below.fold(merge.distance, f32::max));
        }
        self.flat(|merge| furthest[merge] <= distance)
    }

    /// Cluster of each vector when there are `count` of them, or one for each vector if there are fewer vectors.
    pub(super) fn cut_into(&self, count: usize) -> Vec<usize> {
        let merged = self.leaves.saturating_sub(count.max(1));
        self.flat(|merge| merge < merged)
    }

    /// Numbers the clusters from the root, left before right; `holds` must be true of all merges below
    /// one of which it is true.
    fn flat(&self, holds: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut labels = vec![0; self.leaves];
        let mut clusters = 0;
        let root = (self.leaves + self.merges.len()).checked_sub(1);
        // A node, and whether it lies in the cluster that was begun last.
        let mut waiting: Vec<(usize, bool)> = root.map(|root| (root, false)).into_iter().collect();
        while let Some((node, inside)) = waiting.pop() {
            let merge = self.merge(node);
            let begins = !inside && merge.is_none_or(&holds);
            clusters += usize::from(begins);
            match merge {
                Some(merge) => {
                    let [left, right] = self.merges[merge].nodes;
                    waiting.extend([(right, inside || begins), (left, inside || begins)]);
                }
                None => labels[node] = clusters - 1,
            }
        }
        labels
    }
}

/// How many clusters `labels` name.
pub(super) fn clusters(labels: &[usize]) -> usize {
    labels.iter().max().map_or(0, |last| last + 1)
}

/// Weighted mean of each cluster's vectors, by label; (clusters) vectors.
pub(super) fn means(vectors: &[&[f32]], weights: &[usize], labels: &[usize]) -> Vec<Vec<f32>> {
    let width = vectors.first().map_or(0, |vector| vector.len());
    let mut sums = vec![(vec![0.0f64; width], 0.0f64); clusters(labels)];
    for ((vector, weight), label) in vectors.iter().zip(weights).zip(labels) {
        let ((sum, count), weight) = (&mut sums[*label], *weight as f64);
        sum.iter_mut().zip(*vector).for_each(|(sum, x)| *sum += weight * f64::from(*x));
        *count += weight;
    }
    sums.into_iter().map(|(sum, count)| sum.iter().map(|x| (x / count) as f32).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(points: &[[f32; 2]], linkage: Linkage) -> Tree {
        let vectors: Vec<&[f32]> = points.iter().map(|point| &point[..]).collect();
        Tree::grow(&vectors, linkage)
    }

    fn at(degrees: f32) -> [f32; 2] {
        [degrees.to_radians().cos(), degrees.to_radians().sin()]
    }

    #[test]
    fn what_lies_together_is_cut_together() {
        let points = [at(0.0), at(90.0), at(3.0), at(92.0), at(180.0)];
        for linkage in [Linkage::Centroid, Linkage::Average] {
            let tree = tree(&points, linkage);
            let labels = tree.cut_at(0.2);
            assert_eq!(clusters(&labels), 3);
            assert!(labels[0] == labels[2] && labels[1] == labels[3]);
            assert_eq!(clusters(&tree.cut_at(10.0)), 1);
            assert_eq!(clusters(&tree.cut_at(-1.0)), 5);
        }
    }

    #[test]
    fn a_cut_into_a_count_has_it() {
        let tree = tree(&[at(0.0), at(90.0), at(3.0), at(92.0), at(180.0)], Linkage::Average);
        for count in 1..=5 {
            assert_eq!(clusters(&tree.cut_into(count)), count);
        }
        assert_eq!(clusters(&tree.cut_into(9)), 5);
        assert_eq!(clusters(&tree.cut_into(0)), 1);
    }

    #[test]
    fn nothing_and_one_and_equals_have_trees() {
        for linkage in [Linkage::Centroid, Linkage::Average] {
            assert_eq!(tree(&[], linkage).cut_at(1.0), Vec::<usize>::new());
            assert_eq!(tree(&[at(5.0)], linkage).cut_at(1.0), [0]);
            let equal = tree(&[at(5.0); 40], linkage);
            assert_eq!(equal.cut_at(0.01), vec![0; 40]);
            assert_eq!(clusters(&equal.cut_into(3)), 3);
        }
    }
}
