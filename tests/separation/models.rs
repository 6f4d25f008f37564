//! Each family on one window, and models that are not what they should be.

use std::path::Path;

use diarist::separation::mdx::MdxNet;
use diarist::separation::parameters::{Grid, MdxParameters, Part, SpleeterParameters};
use diarist::separation::{SeparationError, VocalSeparator};

use super::support::{
    RATE, SMALL_SPLEETER, VOICE_BAND, bytes_of, error_db, mdx, noise, separators, spleeter, tones,
};

/// What a separator makes of a window, away from its ends.
fn heard(separator: &dyn VocalSeparator, mix: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut voice = vec![vec![f32::NAN; mix[0].len()]; mix.len()];
    separator.separate(mix, &mut voice).expect("the network runs");
    let margin = separator.spec().margin as usize;
    voice.iter().map(|channel| channel[margin..channel.len() - margin].to_vec()).collect()
}

#[test]
fn tones_of_a_voice_stay_and_others_go() {
    for (name, separator) in separators() {
        let window = separator.spec().window as usize;
        let voice = tones(&[440.0, 1_700.0], window, RATE);
        let rest = tones(&[107.7, 4_500.0], window, RATE);
        let mix: Vec<f32> = voice.iter().zip(&rest).map(|(a, b)| a + b).collect();
        let margin = separator.spec().margin as usize;
        let expected = |of: &[f32]| of[margin..window - margin].to_vec();
        let result = heard(&*separator, &[mix.clone(), rest.clone()]);
        // The network that is told to predict the background lets the voice be what is left of what it hears.
        let (left, right) = if name == "mdx, background" {
            (expected(&rest), expected(&rest))
        } else {
            (expected(&voice), Vec::new())
        };
        let error = error_db(&left, &result[0]);
        assert!(error < -60.0, "{name}: {error:.1} dB");
        if right.is_empty() {
            let loudest = result[1].iter().fold(0.0_f32, |a, v| a.max(v.abs()));
            assert!(loudest < 1e-3, "{name}: {loudest}");
        } else {
            assert!(error_db(&right, &result[1]) < -60.0, "{name}");
        }
    }
}

#[test]
fn one_channel_is_heard_as_two_that_are_equal() {
    for (name, separator) in separators() {
        let mix = noise(separator.spec().window as usize, 4);
        let one = heard(&*separator, std::slice::from_ref(&mix));
        let two = heard(&*separator, &[mix.clone(), mix.clone()]);
        assert!(error_db(&two[0], &one[0]) < -110.0, "{name}");
        assert!(error_db(&two[0], &two[1]) < -110.0, "{name}");
    }
}

#[test]
fn channels_do_not_leak_into_each_other() {
    for (name, separator) in separators() {
        let window = separator.spec().window as usize;
        let (left, right) = (noise(window, 1), noise(window, 2));
        let together = heard(&*separator, &[left.clone(), right.clone()]);
        let alone = heard(&*separator, &[left, vec![0.0; window]]);
        assert!(error_db(&alone[0], &together[0]) < -110.0, "{name}");
        let loudest = alone[1].iter().fold(0.0_f32, |a, v| a.max(v.abs()));
        assert!(loudest < 1e-5, "{name}: {loudest}");
    }
}

#[test]
fn the_result_is_multiplied_by_the_compensation() {
    let mix = tones(&[1_000.0], 255 * 512, RATE);
    let plain = heard(&mdx(&VOICE_BAND).unwrap(), std::slice::from_ref(&mix));
    let louder = MdxParameters { compensation: 1.25, ..VOICE_BAND };
    let louder = heard(&mdx(&louder).unwrap(), std::slice::from_ref(&mix));
    let expected: Vec<f32> = plain[0].iter().map(|v| v * 1.25).collect();
    assert!(error_db(&expected, &louder[0]) < -110.0);
}

#[test]
fn several_at_once_hear_what_one_alone_hears() {
    for (name, separator) in separators() {
        let mixes: Vec<_> = (1..5).map(|seed| noise(separator.spec().window as usize, seed)).collect();
        let alone: Vec<_> = mixes.iter().map(|mix| heard(&*separator, std::slice::from_ref(mix))).collect();
        std::thread::scope(|scope| {
            for (mix, alone) in mixes.iter().zip(&alone) {
                let separator = &separator;
                scope.spawn(move || {
                    assert_eq!(heard(&**separator, std::slice::from_ref(mix)), *alone, "{name}")
                });
            }
        });
    }
}

fn message<T>(result: Result<T, SeparationError>) -> String {
    match result {
        Err(error @ SeparationError::Model(_)) => error.to_string(),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[test]
fn a_network_of_another_shape_is_told_by_both_shapes() {
    let parameters = MdxParameters { grid: Grid { dim_f: 300, ..VOICE_BAND.grid }, ..VOICE_BAND };
    let message = message(mdx(&parameters));
    assert!(message.contains("? × 4 × 256 × 256 instead of 1 × 4 × 300 × 256"), "{message}");
}

#[test]
fn a_network_of_the_other_family_is_told_by_both_shapes() {
    let path = Path::new("vocals.onnx");
    let network = bytes_of("tests/separation/voice.onnx");
    let told = message(MdxNet::new(&network, path, &VOICE_BAND, 1));
    assert!(
        told.contains("vocals.onnx") && told.contains("2 × ? × 64 × 512 instead of 1 × 4 × 256 × 256"),
        "{told}"
    );
    let grid = Grid { dim_f: 256, dim_t: 256, ..SMALL_SPLEETER.grid };
    assert!(message(spleeter(&SpleeterParameters { grid })).contains("instead of 2 × 1 × 256 × 256"));
}

#[test]
fn a_network_for_another_task_and_no_network_at_all_are_told() {
    let path = Path::new("x.onnx");
    let other = bytes_of("models/silero_vad_16k_op15.onnx");
    let told = message(MdxNet::new(&other, path, &VOICE_BAND, 1));
    assert!(told.contains("3 inputs and 2 outputs instead of one of each"), "{told}");
    let damaged = &bytes_of("models/voice_band.onnx")[..700];
    for bytes in [&b"no network"[..], &[], damaged] {
        let told = message(MdxNet::new(bytes, path, &VOICE_BAND, 1));
        assert!(told.contains("x.onnx is not a usable ONNX model"), "{told}");
    }
}

#[test]
fn numbers_that_cannot_be_are_told() {
    let grid = Grid { hop: 2_000, ..VOICE_BAND.grid };
    let told = message(mdx(&MdxParameters { grid, predicts: Part::Background, ..VOICE_BAND }));
    assert!(told.contains("do not overlap"), "{told}");
}
