//! The GE2E encoder against numbers of Resemblyzer's own code.

use std::fs;
use std::path::Path;

use diarist::diarization::activity::Activity;
use diarist::diarization::grid::FRAMES;
use diarist::diarization::mel::{BANDS, HOP, MARGIN, PowerMel};
use diarist::diarization::samples::padded;
use diarist::runtime::network::{Network, Tensor};

use crate::listening::{Listening, OneByOne, Told, ge2e, segmenter};
use crate::{array, cosine, fixture, in_repository, largest_difference, shared};

/// What the network gives for `mels` (partials, 160, 40).
fn encode(path: &Path, mels: &[f32]) -> Vec<f32> {
    let partials = mels.len() / (160 * 40);
    let network = Network::load(&fs::read(path).expect("the network"), path, &[c"mels"]).expect("it loads");
    let mut out = vec![0.0; partials * 256];
    let input = Tensor { shape: &[partials, 160, 40], values: mels };
    network.run(&[input], &[partials, 256], &mut out).expect("it runs");
    out
}

#[test]
fn the_encoder_gives_what_resemblyzer_gives() {
    let Some(check) = shared("models/ge2e_check.npz") else { return };
    let (shape, mels) = array::<f32>(&check, "x");
    let (_, expected) = array::<f32>(&check, "y");
    assert_eq!(shape, [3, 160, 40]);
    if let Some(full) = shared("models/ge2e_resemblyzer_fp32.onnx") {
        let difference = largest_difference(&encode(&full, &mels), &expected);
        assert!(difference < 1e-5, "{difference}");
    }
    let bundled = encode(&in_repository("models/ge2e_resemblyzer_int8.onnx"), &mels);
    for (ours, theirs) in bundled.chunks(256).zip(expected.chunks(256)) {
        assert!(cosine(ours, theirs) > 0.99, "{}", cosine(ours, theirs));
    }
}

/// Frame, then the bands 0, 5, 13, 20, 30 and 39, then the power: what librosa's steps give for the fixture in
/// Python.
const SPECTROGRAM: [(usize, [f32; 6], f32); 3] = [
    (60, [0.0581718, 0.236757, 9.51221e-06, 0.000143682, 0.00348181, 2.57677e-05], 0.00494077),
    (120, [0.00104229, 0.00260241, 0.000202123, 8.66279e-05, 0.00107745, 2.73926e-05], 0.000231324),
    (400, [0.0449387, 0.197934, 0.181443, 6.32258e-07, 0.000924952, 7.93144e-05], 0.00449421),
];

/// The beginning of the embedding that the reference pipeline in Python gives with the same networks for the one voice
/// of the fixture.
const VOICE: [f32; 12] =
    [0.13718, 0.0, 0.04019, 0.0, 0.0, 0.01881, 0.00285, 0.00136, 0.09921, 0.16036, 0.10813, 0.12079];

#[test]
fn the_spectrogram_is_librosas() {
    let samples = fixture();
    // Frames are centred: the first has its middle at the first sample.
    let frames =
        PowerMel::new().frames(&padded(&samples.as_slice(), -(MARGIN as i64), samples.len() + 2 * MARGIN));
    assert_eq!(frames.powers.len(), 1 + samples.len() / HOP);
    let near = |ours: f32, theirs: f32| (ours - theirs).abs() <= 1e-4 * theirs.abs() + 1e-9;
    for (frame, mels, power) in SPECTROGRAM {
        for (band, expected) in [0, 5, 13, 20, 30, 39].into_iter().zip(mels) {
            let ours = frames.mels[frame * BANDS + band];
            assert!(near(ours, expected), "frame {frame}, band {band}: {ours}, not {expected}");
        }
        assert!(near(frames.powers[frame], power), "frame {frame}: {}", frames.powers[frame]);
    }
}

#[test]
fn the_voice_of_a_recording_is_the_references() {
    let samples = fixture();
    // In the frames that the reference had: whether one at an edge is speech decides how many partials fit.
    let mut frames = [0; FRAMES];
    [26..122, 168..256].into_iter().for_each(|spoken| frames[spoken].fill(0b010));
    let told = Told(Activity::of(&frames));
    let windows = Listening::with(Box::new(told), ge2e()).listen(&samples, 16_000);
    let [window] = &windows[..] else { panic!("{} windows", windows.len()) };
    let voices: Vec<_> = window.embeddings.iter().flatten().collect();
    let [voice] = &voices[..] else { panic!("{} voices", voices.len()) };
    let length: f32 = voice.iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-4 && voice.len() == 256);
    let difference = largest_difference(&voice[..VOICE.len()], &VOICE);
    assert!(difference < 0.01, "{difference}: {:?}", &voice[..VOICE.len()]);
}

#[test]
fn each_partial_is_heard_once_whatever_the_step() {
    // A minute of speech, so that there are blocks of windows and windows that share partials.
    let samples: Vec<f32> = fixture().into_iter().cycle().take(60 * 16_000).collect();
    let listen = |step| Listening::with(Box::new(OneByOne(segmenter())), ge2e()).listen(&samples, step);
    let (coarse, fine) = (listen(80_000), listen(16_000));
    assert_eq!((coarse.len(), fine.len()), (11, 51));
    // Window n of the one is window 5 n of the other, and what is heard in it differs by what the batches do.
    for (index, window) in coarse.iter().enumerate() {
        let other = &fine[5 * index];
        assert_eq!(window.activity, other.activity);
        for pair in window.embeddings.iter().zip(&other.embeddings) {
            match pair {
                (Some(a), Some(b)) => assert!(cosine(a, b) > 0.995, "window {index}: {}", cosine(a, b)),
                (a, b) => assert_eq!(a.is_some(), b.is_some(), "window {index}"),
            }
        }
    }
}

#[test]
fn the_shortest_recordings_are_heard() {
    for milliseconds in [0, 1, 200, 900, 1_599, 1_600] {
        let samples = &fixture()[8_000..8_000 + 16 * milliseconds];
        let windows = Listening::bundled().listen(samples, 40_000);
        assert_eq!(windows.len(), 1, "{milliseconds} ms");
        let has_voice = windows[0].embeddings.iter().any(Option::is_some);
        assert!(has_voice || milliseconds < 900, "{milliseconds} ms of speech have no voice");
    }
}
