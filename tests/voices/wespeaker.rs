//! The way WeSpeaker's network is run, on small ones with random weights that look like it from outside
//! (`data/make_encoders.py`); the real one is to be pulled. And Kaldi's filterbank.

use std::fs;

use diarist::diarization::embedding::wespeaker::WespeakerEmbedder;
use diarist::diarization::fbank::{BANDS, Fbank};
use diarist::diarization::masks::{speakers, voice_mask};
use diarist::diarization::samples::padded;
use diarist::diarization::tables;
use diarist::runtime::network::{Network, Tensor};

use crate::listening::{Listening, segmenter};
use crate::{fixture, in_repository, largest_difference};

/// Frame, then the bands 0, 10, 40 and 79: what kaldi-native-fbank 1.22 gives for the fixture, less each band's mean.
const FILTERBANK: [(usize, [f32; 4]); 3] = [
    (60, [6.11285, 6.70702, 0.46042, -0.65347]),
    (120, [3.46402, 1.21871, 4.43615, 2.0284]),
    (400, [6.31713, 7.82823, 0.08156, -0.10791]),
];

fn read(name: &str) -> Vec<u8> {
    fs::read(in_repository(name)).expect("a file of the repository")
}

/// The encoder in the file `name` of `data`.
fn embedder(name: &str) -> WespeakerEmbedder {
    let method = tables::community1(&read("models/community1_plda.safetensors")).expect("its tables");
    let path = format!("tests/voices/data/{name}");
    WespeakerEmbedder::new(&read(&path), &in_repository(&path), method).expect("it loads")
}

#[test]
fn the_filterbank_is_kaldis() {
    let features = Fbank::new().features(&fixture());
    assert_eq!(features.len(), 499 * BANDS);
    for (frame, expected) in FILTERBANK {
        let ours = [0, 10, 40, 79].map(|band| features[frame * BANDS + band]);
        assert!(largest_difference(&ours, &expected) < 2e-3, "frame {frame}: {ours:?}");
    }
}

#[test]
fn the_trunk_is_run_once_for_all_speakers_only_where_that_gives_the_same() {
    assert!(embedder("shared.onnx").shares_trunk());
    assert!(!embedder("tied.onnx").shares_trunk());
}

#[test]
fn each_speaker_gets_what_the_network_gives_for_its_mask_either_way() {
    let samples: Vec<f32> = fixture().into_iter().cycle().take(13 * 16_000).collect();
    for name in ["shared.onnx", "tied.onnx"] {
        let path = in_repository("tests/voices/data").join(name);
        let network =
            Network::load(&fs::read(&path).unwrap(), &path, &[c"fbank", c"weights"]).expect("it loads");
        let windows = Listening::with(segmenter(), Box::new(embedder(name))).listen(&samples, 40_000);
        assert_eq!(windows.len(), 3);
        let mut voices = 0;
        for (index, window) in windows.iter().enumerate() {
            let sound = padded(&samples.as_slice(), 40_000 * index as i64, 160_000);
            let features = Fbank::new().features(&sound);
            for speaker in speakers(&window.activity) {
                let mask: Vec<f32> = voice_mask(&window.activity, speaker, 2)
                    .into_iter()
                    .map(|on| f32::from(u8::from(on)))
                    .collect();
                let mut expected = [0.0; 256];
                let inputs = [
                    Tensor { shape: &[1, 998, 80], values: &features },
                    Tensor { shape: &[1, 589], values: &mask },
                ];
                network.run(&inputs, &[1, 256], &mut expected).expect("it runs");
                let voice = window.embeddings[speaker].as_deref().expect("a voice");
                assert!(largest_difference(voice, &expected) < 1e-4, "{name}, window {index}");
                voices += 1;
            }
        }
        assert!(voices >= 3, "{voices}");
    }
}

#[test]
fn another_network_is_refused() {
    let method = tables::community1(&read("models/community1_plda.safetensors")).expect("its tables");
    let path = in_repository("models/ge2e_resemblyzer_int8.onnx");
    let error = WespeakerEmbedder::new(&fs::read(&path).unwrap(), &path, method)
        .map(drop)
        .expect_err("another network");
    assert!(error.to_string().contains("its inputs are mels"), "{error}");
}
