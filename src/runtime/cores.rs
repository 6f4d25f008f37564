//! How the processor's cores can be shared out among workers: the shapes worth trying.
//!
//! Reads what the system says of its cores; decides nothing by itself. Read next: `asr::tuning`, which tries
//! the shapes.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::ops::RangeInclusive;

use super::device::{Device, available_cores, workers_and_threads};

/// Workers, and the threads of each; both at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Chunks decoded at once.
    pub workers: usize,
    /// Threads for each.
    pub threads: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} x {}", self.workers, self.threads)
    }
}

/// The shapes for `cores` cores, of which `physical` are more than another thread of the same core. First the one
/// that is right without a measurement, then fewer workers with more threads, then the same without the second
/// threads. None twice.
pub fn shapes(cores: usize, physical: usize) -> Vec<Shape> {
    let mut shapes = Vec::new();
    for cores in [cores.max(1), physical.clamp(1, cores.max(1))] {
        let (mut workers, _) = workers_and_threads(cores, Device::Cpu, None, None);
        while workers > 0 {
            let shape = Shape { workers, threads: (cores / workers).max(1) };
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
            workers /= 2;
        }
    }
    shapes
}

/// Physical cores that this process may use, at least 1 and at most `available_cores`: fewer where two threads
/// share a core. All are taken to be physical where the system does not say.
pub fn physical_cores() -> usize {
    let cores = available_cores();
    let Some(allowed) = allowed_cpus() else { return cores };
    let siblings: Option<BTreeSet<String>> = allowed.iter().map(|cpu| siblings_of(*cpu)).collect();
    siblings.map_or(cores, |siblings| siblings.len().clamp(1, cores))
}

/// Numbers of the processors that this process may run on.
fn allowed_cpus() -> Option<Vec<u32>> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    parse_list(list.trim())
}

/// The processors that share a core with `cpu`, as the system writes them.
fn siblings_of(cpu: u32) -> Option<String> {
    fs::read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")).ok()
}

/// `0-2,5` is 0, 1, 2, 5.
fn parse_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range: RangeInclusive<u32> = first.parse().ok()?..=last.parse().ok()?;
        cpus.extend(range.take(4_096));
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(cores: usize, physical: usize) -> Vec<(usize, usize)> {
        shapes(cores, physical).into_iter().map(|shape| (shape.workers, shape.threads)).collect()
    }

    #[test]
    fn one_thread_each_comes_first_and_one_worker_with_all_last() {
        assert_eq!(pairs(1, 1), [(1, 1)]);
        assert_eq!(pairs(2, 2), [(2, 1), (1, 2)]);
        assert_eq!(pairs(6, 6), [(6, 1), (3, 2), (1, 6)]);
        assert_eq!(pairs(32, 32), [(8, 4), (4, 8), (2, 16), (1, 32)]);
    }

    #[test]
    fn two_threads_of_a_core_are_tried_both_together_and_alone() {
        assert_eq!(pairs(8, 4), [(8, 1), (4, 2), (2, 4), (1, 8), (4, 1), (2, 2), (1, 4)]);
        assert_eq!(pairs(0, 0), [(1, 1)]);
        assert_eq!(pairs(2, 9), pairs(2, 2));
    }

    #[test]
    fn no_shape_asks_for_more_threads_than_there_are_cores() {
        for cores in 1..80 {
            assert!(shapes(cores, cores / 2).iter().all(|shape| shape.workers * shape.threads <= cores));
        }
    }

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(parse_list("0-2,5"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_list("7"), Some(vec![7]));
        assert_eq!((parse_list(""), parse_list("a-b")), (None, None));
        assert!((1..=available_cores()).contains(&physical_cores()));
    }
}
