//! Both families beside numbers that numpy got by the recipes of Ultimate Vocal Remover and sherpa-onnx
//! (`scripts/separation_models.py`), with networks that mix all they get: a plane, a bin or a factor in the wrong place
//! would show.

use std::path::PathBuf;

use diarist::separation::VocalSeparator;
use diarist::separation::mdx::MdxNet;
use diarist::separation::parameters::{Grid, MdxParameters, Part, SpleeterParameters};
use diarist::separation::spleeter::{NetworkFile, Spleeter};
use ndarray::Array2;

use super::support::{error_db, in_repository};

const GRID: Grid = Grid { n_fft: 512, hop: 128, dim_f: 200, dim_t: 32 };

fn file(name: &str) -> PathBuf {
    in_repository("tests/separation/reference").join(name)
}

fn numbers(name: &str) -> Vec<Vec<f32>> {
    let array: Array2<f32> = ndarray_npy::read_npy(file(name)).expect("an array");
    array.rows().into_iter().map(|row| row.to_vec()).collect()
}

fn compare(separator: &dyn VocalSeparator, expected: &str) {
    let (sound, expected) = (numbers("sound.npy"), numbers(expected));
    let mut voice = vec![vec![f32::NAN; sound[0].len()]; 2];
    separator.separate(&sound, &mut voice).expect("separated");
    for (channel, (voice, expected)) in voice.iter().zip(&expected).enumerate() {
        let error = error_db(expected, voice);
        assert!(error < -100.0, "channel {channel}: {error:.1} dB");
    }
}

#[test]
fn mdx_net_is_heard_as_by_others() {
    let path = file("mdx.onnx");
    let network = std::fs::read(&path).unwrap();
    for (predicts, expected) in [(Part::Voice, "mdx_voice.npy"), (Part::Background, "mdx_rest.npy")] {
        let parameters = MdxParameters { grid: GRID, compensation: 1.05, predicts };
        compare(&MdxNet::new(&network, &path, &parameters, 1).unwrap(), expected);
    }
}

#[test]
fn spleeter_is_heard_as_by_others() {
    let paths = ["spleeter_voice.onnx", "spleeter_background.onnx"].map(file);
    let bytes = paths.each_ref().map(|path| std::fs::read(path).unwrap());
    let network = |at: usize| NetworkFile { bytes: &bytes[at], path: &paths[at] };
    let spleeter = Spleeter::new(&network(0), &network(1), &SpleeterParameters { grid: GRID }, 1).unwrap();
    compare(&spleeter, "spleeter.npy");
}
