//! The GE2E encoder against numbers of Resemblyzer's own code.

use std::fs;
use std::path::Path;

use diarist::runtime::network::{Network, Tensor};

use crate::{array, cosine, in_repository, largest_difference, shared};

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
