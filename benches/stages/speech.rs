//! Voice activity: the network, and its numbers to regions and chunks.

use std::hint::black_box;
use std::path::Path;

use criterion::Criterion;
use diarist::time::{SAMPLE_RATE, TimeSpan};
use diarist::vad::{ChunkOptions, Chunker, RegionBuilder, SileroVad, VadOptions, VoiceActivityDetector};

use crate::{audio, fixture, noise, sound};

const MODEL: &str = "models/silero_vad_16k_op15.onnx";

/// Samples per probability.
const WINDOW: usize = 512;

/// Windows in ten hours.
const TEN_HOURS: usize = 10 * 3_600 * SAMPLE_RATE as usize / WINDOW;

pub fn bench(criterion: &mut Criterion) {
    let mut vad = SileroVad::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(MODEL)).unwrap();
    let spool = audio::decode(&fixture("hello.flac"));
    let (mut samples, mut probabilities) = (Vec::new(), Vec::new());
    spool.read(TimeSpan::new(0, spool.len()), &mut samples);
    let mut group = criterion.benchmark_group("vad");
    group.throughput(sound(spool.len()));
    group.bench_function("silero", |bencher| {
        bencher.iter(|| {
            probabilities.clear();
            vad.reset();
            vad.probabilities(&samples, &mut probabilities).unwrap();
        });
    });

    let probabilities = talk();
    group.throughput(sound((TEN_HOURS * WINDOW) as u64));
    group.bench_function("regions and chunks of 10 h", |bencher| {
        bencher.iter(|| black_box(cut(&probabilities)));
    });
    group.finish();
}

/// Ten hours of talk: about 3 s of speech, then a pause of 0.6 s, neither of them sure.
fn talk() -> Vec<f32> {
    let speaks = |index: usize| index % 112 < 94;
    let probability =
        |(index, noise): (usize, f32)| if speaks(index) { 0.4 + 0.6 * noise } else { 0.4 * noise };
    noise(TEN_HOURS).enumerate().map(probability).collect()
}

/// How many chunks there are.
fn cut(probabilities: &[f32]) -> usize {
    let mut regions = RegionBuilder::new(WINDOW, VadOptions::default());
    let mut chunker = Chunker::new(ChunkOptions::default());
    let mut chunks = 0;
    for probability in probabilities {
        chunks += regions.push(*probability).map_or(0, |region| chunker.push(region).len());
    }
    for region in regions.finish((probabilities.len() * WINDOW) as u64) {
        chunks += chunker.push(region).len();
    }
    chunks + chunker.finish().len()
}
