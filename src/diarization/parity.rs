//! The decisions against those of pyannote's speaker-diarization-community-1, stage by stage, on what its networks gave
//! for real recordings. The recordings' numbers are not part of the repository: where they are absent the tests say so
//! and pass.

use std::fs::File;
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, Array3};
use ndarray_npy::NpzReader;
use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

use super::activity::{Activity, SpeakerSet};
use super::attribution::{Attributed, Attribution, Method, Plda, WindowNumbers};
use super::clustering::Tree;
use super::gathering::Bound;
use super::grid::{FRAMES, Grid, WINDOW};
use super::method::Place;
use super::score::{Annotation, Score, rttm};
use super::vbx;
use super::{DiarizationOptions, SpeakerLimits};
use crate::time::{SAMPLE_RATE, SampleIndex, TimeSpan};

/// The folders with numbers of real recordings, if they are there.
fn recordings() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/parity");
    let Ok(folder) = std::fs::read_dir(&root) else {
        eprintln!("SKIPPED: {} is not there, so nothing is compared", root.display());
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.join("clustering.npz").exists());
    found.sort();
    assert!(!found.is_empty(), "{} holds no recordings", root.display());
    found
}

fn npz(path: PathBuf) -> NpzReader<File> {
    NpzReader::new(File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// Little-endian `f64` numbers.
fn blob(folder: &Path, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(folder.join(format!("{name}.bin"))).unwrap();
    bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect()
}

fn community1(root: &Path) -> Method {
    let folder = root.join("plda");
    let plda = Plda {
        mean1: blob(&folder, "mean1"),
        lda: blob(&folder, "lda"),
        mean2: blob(&folder, "mean2"),
        mu: blob(&folder, "mu"),
        eigenvectors: blob(&folder, "eigenvectors_desc"),
        phi: blob(&folder, "phi_desc"),
    };
    Method::community1(&plda).unwrap()
}

/// The windows' numbers of a recording.
fn windows(recording: &Path) -> Vec<WindowNumbers> {
    let active: Array3<f32> = npz(recording.join("segmentations.npz")).by_name("segmentations").unwrap();
    let voices: Array3<f32> = npz(recording.join("raw_embeddings.npz")).by_name("embeddings").unwrap();
    std::iter::zip(active.outer_iter(), voices.outer_iter())
        .map(|(active, voices)| {
            let set = |frame: ndarray::ArrayView1<'_, f32>| {
                frame
                    .iter()
                    .enumerate()
                    .map(|(local, on)| SpeakerSet::from(*on > 0.5) << local)
                    .sum::<SpeakerSet>()
            };
            let sets: Vec<SpeakerSet> = active.outer_iter().map(set).collect();
            assert_eq!(sets.len(), FRAMES);
            let mut voices = voices.outer_iter().map(|voice| Some(voice.to_vec().into_boxed_slice()));
            WindowNumbers {
                activity: Activity::of(&sets),
                embeddings: std::array::from_fn(|_| voices.next().unwrap()),
            }
        })
        .collect()
}

fn gathered(windows: &[WindowNumbers], method: &Method) -> Attribution {
    let mut attribution = Attribution::new(method.clone());
    windows.iter().for_each(|window| attribution.push(window));
    attribution
}

/// As the reference was made: a step of a second, nothing polished.
fn exact() -> DiarizationOptions {
    DiarizationOptions {
        step: SAMPLE_RATE.into(),
        limits: SpeakerLimits::default(),
        threshold: None,
        min_on: 0,
        min_off: 0,
    }
}

/// A recording that all `windows` lie in.
fn grid(windows: usize, step: u64) -> Grid {
    Grid { step, length: WINDOW + (windows as u64 - 1) * step }
}

/// Share of the active local speakers that are given to the same cluster as in the reference, under the best
/// one-to-one naming of clusters.
fn agreement(ours: &[[Option<usize>; 3]], reference: &Array2<i8>, windows: &[WindowNumbers]) -> f64 {
    // The last row and column: nobody.
    const NOBODY: usize = 63;
    let mut common = Matrix::new(NOBODY + 1, NOBODY + 1, 0i64);
    let mut total = 0;
    for ((ours, reference), window) in ours.iter().zip(reference.outer_iter()).zip(windows) {
        for local in (0..3).filter(|local| window.activity.active_frames()[*local] > 0) {
            let theirs = usize::try_from(reference[local]).unwrap_or(NOBODY);
            // Nobody is nobody, not a name.
            let worth = if (ours[local].is_none()) == (theirs == NOBODY) { 1 } else { 0 };
            common[(ours[local].unwrap_or(NOBODY), theirs)] += worth;
            total += 1;
        }
    }
    kuhn_munkres(&common).0 as f64 / f64::from(total)
}

fn annotation(found: &Attributed) -> Annotation {
    let speakers = (0..found.voices.len()).map(|number| number.to_string()).collect();
    Annotation { speakers, turns: found.turns.clone() }
}

/// Diarization error rate of `found` without a collar.
fn error_rate(found: &Attributed, reference: &Annotation) -> f64 {
    let whole = TimeSpan::new(0, SampleIndex::MAX);
    Score::of(reference, &annotation(found), &[whole], 0).der().expect("the reference has speech")
}

fn decide(windows: &[WindowNumbers], method: &Method, step: u64) -> Attributed {
    gathered(windows, method).finish(grid(windows.len(), step), &DiarizationOptions { step, ..exact() })
}

/// Unit vectors and PLDA features of the tracks that community-1 groups.
fn clear_places(windows: &[WindowNumbers], method: &Method) -> Vec<Place> {
    let clear = |window: &WindowNumbers, local: usize| {
        window.activity.clean_frames()[local] as f64 >= 0.2 * FRAMES as f64
    };
    let voice = |window: &WindowNumbers, local: usize| method.place(window.embeddings[local].as_deref()?);
    windows
        .iter()
        .flat_map(|window| {
            (0..3).filter(|local| clear(window, *local)).filter_map(|local| voice(window, local))
        })
        .collect()
}

/// The labels numbered by first appearance.
fn by_appearance<Label: PartialEq>(labels: impl IntoIterator<Item = Label>) -> Vec<usize> {
    let mut seen: Vec<Label> = Vec::new();
    let number = |label: Label| {
        seen.iter().position(|other| *other == label).unwrap_or_else(|| {
            seen.push(label);
            seen.len() - 1
        })
    };
    labels.into_iter().map(number).collect()
}

#[test]
fn the_tree_is_cut_as_scipy_does() {
    for recording in recordings() {
        let method = community1(recording.parent().unwrap());
        let places = clear_places(&windows(&recording), &method);
        let directions: Vec<&[f32]> = places.iter().map(|place| &place.direction[..]).collect();
        let grouping = method.grouping();
        let ours = Tree::grow(&directions, grouping.linkage).cut_at(grouping.threshold);
        let reference: Array1<i64> = ndarray_npy::read_npy(recording.join("ahc_init_labels.npy")).unwrap();
        assert_eq!(by_appearance(ours), by_appearance(reference), "{}", recording.display());
    }
}

#[test]
fn vbx_gives_speakers_the_shares_that_pyannote_gives_them() {
    for recording in recordings() {
        let method = community1(recording.parent().unwrap());
        let places = clear_places(&windows(&recording), &method);
        let guess: Array1<i64> = ndarray_npy::read_npy(recording.join("ahc_init_labels.npy")).unwrap();
        let guess: Vec<usize> = guess.iter().map(|label| *label as usize).collect();
        let evidence = vbx::Evidence {
            features: places.iter().map(|place| &place.feature[..]).collect(),
            weights: vec![1.0; places.len()],
            phi: method.phi(),
        };
        let speakers = guess.iter().max().unwrap() + 1;
        let shares = vbx::refine(&evidence, &guess, speakers, method.grouping().strength(SAMPLE_RATE.into()));
        let reference: Array1<f64> = npz(recording.join("vbx_state.npz")).by_name("sp_final").unwrap();
        for (ours, theirs) in shares.of_speakers.iter().zip(&reference) {
            assert!((ours - theirs).abs() < 1e-3, "{}: {ours} {theirs}", recording.display());
        }
        let reference: Array2<f64> = npz(recording.join("vbx_state.npz")).by_name("q_final").unwrap();
        let apart = shares.of_features.iter().zip(&reference).map(|(a, b)| (a - b).abs()).sum::<f64>()
            / places.len() as f64;
        eprintln!("{}: responsibilities differ by {apart:.6} in the mean", recording.display());
        assert!(apart < 5e-3, "{}: {apart}", recording.display());
    }
}

#[test]
fn hard_clusters_are_those_of_community_1() {
    for recording in recordings() {
        let method = community1(recording.parent().unwrap());
        let windows = windows(&recording);
        let ours = gathered(&windows, &method).who(&exact());
        let reference: Array2<i8> = npz(recording.join("clustering.npz")).by_name("hard_clusters").unwrap();
        let same = agreement(&ours, &reference, &windows);
        eprintln!("{}: {:.2} % of the hard clusters", recording.display(), 100.0 * same);
        assert_eq!(same, 1.0, "{}", recording.display());
    }
}

#[test]
fn turns_are_those_of_community_1() {
    for recording in recordings() {
        let method = community1(recording.parent().unwrap());
        let found = decide(&windows(&recording), &method, SAMPLE_RATE.into());
        let reference = std::fs::read(recording.join("reference.rttm")).unwrap();
        let error = error_rate(&found, &rttm::read_one(&reference, "").unwrap());
        eprintln!("{}: {:.3} % diarization error", recording.display(), 100.0 * error);
        assert!(error < 1e-3, "{}: {error}", recording.display());
    }
}

#[test]
fn joining_voices_within_blocks_changes_next_to_nothing() {
    for recording in recordings() {
        let method = community1(recording.parent().unwrap());
        let windows = windows(&recording);
        let whole = decide(&windows, &method, SAMPLE_RATE.into());
        let mut bounded = gathered(&windows, &method);
        bounded.bound = Bound { most: 200, block: 150 };
        let bounded = bounded.finish(grid(windows.len(), SAMPLE_RATE.into()), &exact());
        let error = error_rate(&bounded, &annotation(&whole));
        assert!(error < 0.01, "{}: {error}", recording.display());
    }
}
