//! Who is active when, against what pyannote.audio 4.0.4 found in the same recordings.

use std::fs;
use std::path::{Path, PathBuf};

use diarist::diarization::DiarizationError;
use diarist::diarization::activity::{Activity, LOCAL_SPEAKERS};
use diarist::diarization::engine::TOGETHER;
use diarist::diarization::grid::{FRAMES, Grid, WINDOW};
use diarist::diarization::samples::padded;
use diarist::diarization::segmentation::{PyannoteSegmenter, SpeakerSegmenter, Window, WindowSegmenter};
use diarist::diarization::split::SplitSegmenter;
use diarist::time::SampleIndex;

use crate::listening;
use crate::{array, in_repository, read_wav, shared};

/// Recordings with sound and stored segmentations, at a step of 1 s.
const RECORDINGS: [&str; 4] =
    ["02_pyannote_sample", "03_dual_speaker", "04_three_speaker", "05_four_speaker"];

/// Names a file with the network's 32-bit weights, which do not come with the project: the package `diarization` 0.1.0
/// has it.
const FULL_WEIGHTS: &str = "DIARIST_TEST_SEGMENTATION_FP32";

fn segmenter(path: &Path) -> PyannoteSegmenter {
    PyannoteSegmenter::new(&fs::read(path).expect("the network"), path).expect("the network loads")
}

/// The network with 32-bit weights: where the variable says, or where cargo keeps the package that has it.
fn full_weights() -> Option<PathBuf> {
    let packages = || {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
        let registries = fs::read_dir(home.join("registry/src")).ok()?;
        let file = "diarization-0.1.0/models/segmentation-3.0.onnx";
        registries.flatten().map(|registry| registry.path().join(file)).find(|path| path.is_file())
    };
    let found = std::env::var_os(FULL_WEIGHTS).map(PathBuf::from).or_else(packages);
    if found.is_none() {
        println!("skipped: no 32-bit network; {FULL_WEIGHTS} names its file");
    }
    found
}

/// Who is active in a window that is heard by itself.
fn alone(
    listener: &dyn WindowSegmenter,
    start: SampleIndex,
    samples: &[f32],
) -> Result<Activity, DiarizationError> {
    Ok(listener.segment(&[Window { start, samples }])?.remove(0))
}

/// Share of frames in which all local speakers are as stored, under each window's best renaming of the three.
fn agreement(segmenter: &dyn SpeakerSegmenter, folder: &Path) -> f64 {
    let (shape, stored) = array::<f32>(&folder.join("segmentations.npz"), "segmentations");
    let clip = read_wav(&folder.join("clip_16k.wav"));
    let grid = Grid { step: 16_000, length: clip.len() as u64 };
    assert_eq!(shape, [grid.windows(), FRAMES, LOCAL_SPEAKERS]);
    let stored: Vec<&[f32]> = stored.chunks(FRAMES * LOCAL_SPEAKERS).collect();
    let sound = clip.as_slice();
    let listener = segmenter.open(&sound);
    let starts: Vec<SampleIndex> = (0..grid.windows()).map(|window| grid.start(window)).collect();
    // As many at once as in the pipeline: the 8-bit network scales its numbers over all of them.
    let heard = starts.chunks(TOGETHER).flat_map(|few| {
        let samples =
            few.iter().map(|start| padded(&sound, *start as i64, WINDOW as usize)).collect::<Vec<_>>();
        let windows = few.iter().zip(&samples).map(|(start, samples)| Window { start: *start, samples });
        listener.segment(&windows.collect::<Vec<_>>()).expect("it runs")
    });
    let alike: usize = heard.zip(stored).map(|(activity, stored)| alike_frames(&activity, stored)).sum();
    alike as f64 / (grid.windows() * FRAMES) as f64
}

fn alike_frames(activity: &Activity, stored: &[f32]) -> usize {
    const RENAMINGS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let alike = |names: [usize; 3]| {
        let frames = activity.frames().zip(stored.chunks(LOCAL_SPEAKERS));
        let same = |(set, stored): &(u8, &[f32])| {
            (0..LOCAL_SPEAKERS).all(|speaker| (set >> names[speaker]) & 1 == u8::from(stored[speaker] > 0.5))
        };
        frames.filter(same).count()
    };
    RENAMINGS.into_iter().map(alike).max().unwrap_or(0)
}

#[test]
fn with_full_weights_every_frame_is_as_pyannote_found_it() {
    let (Some(parity), Some(network)) = (shared("parity"), full_weights()) else { return };
    let segmenter = segmenter(&network);
    for name in RECORDINGS {
        let agreement = agreement(&segmenter, &parity.join(name));
        println!("{name}: {agreement:.5} of the frames alike");
        assert_eq!(agreement, 1.0, "{name}");
    }
}

#[test]
fn the_bundled_weights_differ_in_less_than_one_frame_of_a_hundred() {
    let Some(parity) = shared("parity") else { return };
    let segmenter = listening::segmenter();
    for name in RECORDINGS {
        let agreement = agreement(&*segmenter, &parity.join(name));
        println!("{name}: {agreement:.5} of the frames alike");
        assert!(agreement > 0.99, "{name}: {agreement}");
    }
}

#[test]
fn a_window_of_another_length_or_another_network_is_an_error() {
    let silence: &[f32] = &[0.0; 1_600];
    assert!(alone(&*listening::segmenter().open(&silence), 0, silence).is_err());
    let other = in_repository("models/ge2e_resemblyzer_int8.onnx");
    let bytes = fs::read(&other).unwrap();
    let error = PyannoteSegmenter::new(&bytes, &other).map(drop).expect_err("another network");
    assert!(error.to_string().contains("its inputs are mels"), "{error}");
    assert!(PyannoteSegmenter::new(b"no network at all", &other).is_err());
    let [filters, rest] = listening::segmentation_files().map(|path| (fs::read(&path).unwrap(), path));
    let split = |filters: &(Vec<u8>, PathBuf), rest: &(Vec<u8>, PathBuf)| {
        SplitSegmenter::new((&filters.0, &filters.1), (&rest.0, &rest.1)).map(drop)
    };
    assert!(split(&filters, &rest).is_ok());
    assert!(split(&rest, &filters).is_err(), "the pieces are the wrong way round");
    assert!(split(&filters, &(bytes, other)).is_err());
}

/// Windows that share answers, in any order and from places between those at which the filters listen, hear what a
/// window alone does.
#[test]
fn shared_answers_are_those_of_a_window_by_itself() {
    let segmenter = listening::segmenter();
    let scene = crate::fixture().repeat(10);
    let sound = &scene[..];
    let shared = segmenter.open(&sound);
    let (mut alike, mut frames) = (0, 0);
    for start in [0, 16_000, 40_000, 350_000, 16_010, 8_016, 130, scene.len() as u64 - 90_000] {
        let window = padded(&sound, start as i64, WINDOW as usize);
        let itself = &window[..];
        // The window is its own recording here, so nothing is shared and its first answer is the recording's.
        let expected = alone(&*segmenter.open(&itself), 0, &window).unwrap();
        let found = alone(&*shared, start, &window).unwrap();
        alike += found.frames().zip(expected.frames()).filter(|(one, other)| one == other).count();
        frames += FRAMES;
    }
    println!("{alike} of {frames} frames alike");
    // Sums of other order round differently, which the 8-bit weights make larger.
    assert!(alike * 1000 >= frames * 995);
}
