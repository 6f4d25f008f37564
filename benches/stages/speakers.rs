//! Diarization: each network by itself, and both over a minute of talk at two steps.
//!
//! Times are **processor time** of the process, not wall time, so that `Kelem/s` reads as times real time on one core
//! however many there are and whatever else runs on them.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use diarist::audio::{PcmSpool, SpoolWriter};
use diarist::cancel::CancelToken;
use diarist::diarization::embedding::SpeakerEmbedder;
use diarist::diarization::embedding::ge2e::Ge2eEmbedder;
use diarist::diarization::embedding::wespeaker::WespeakerEmbedder;
use diarist::diarization::engine::TOGETHER;
use diarist::diarization::fbank::Fbank;
use diarist::diarization::mel::PowerMel;
use diarist::diarization::segmentation::{SpeakerSegmenter, Window};
use diarist::diarization::split::SplitSegmenter;
use diarist::diarization::team::{Places, Team};
use diarist::diarization::{DiarizationEngine, Sound, tables};
use diarist::runtime::device::available_cores;
use diarist::scratch::Scratch;
use diarist::time::{SampleIndex, TimeSpan, ms_to_samples};

use crate::{audio, fixture, sound};

/// Names a WeSpeaker network to measure, which does not come with the program.
const WESPEAKER: &str = "BENCH_WESPEAKER";

/// Length of the talk.
const LENGTH: SampleIndex = ms_to_samples(120_000);

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("speakers");
    let talk = talk();
    group.throughput(sound(LENGTH));
    let (mel, fbank) = (PowerMel::new(), Fbank::new());
    processor_time(&mut group, "spectrogram of ge2e", || drop(black_box(mel.frames(&talk))));
    processor_time(&mut group, "filterbank of wespeaker", || drop(black_box(fbank.features(&talk))));

    let segmenter = segmenter();
    let window = &talk[..160_000];
    group.throughput(sound(160_000));
    processor_time(&mut group, "segmentation, a window by itself", || {
        drop(black_box(segmenter.open(&window).segment(&[Window { start: 0, samples: window }]).unwrap()))
    });
    let (all, starts) = (&talk[..], (0..LENGTH - 160_000).step_by(16_000).collect::<Vec<_>>());
    group.throughput(sound(16_000 * starts.len() as u64));
    processor_time(&mut group, "segmentation, a window every second", || {
        let windows = segmenter.open(&all);
        let window = |start: &u64| Window { start: *start, samples: &talk[*start as usize..][..160_000] };
        let hear = |few: &[u64]| windows.segment(&few.iter().map(window).collect::<Vec<_>>()).unwrap();
        starts.chunks(TOGETHER).for_each(|few| drop(black_box(hear(few))));
    });

    let spool = spool(&talk);
    let places = Arc::new(Places::new(available_cores()));
    whole(&mut group, &spool, "ge2e", &engine(ge2e(), &places), &places);
    if let Some(path) = std::env::var_os(WESPEAKER) {
        whole(&mut group, &spool, "wespeaker", &engine(wespeaker(Path::new(&path)), &places), &places);
    }
    group.finish();
}

/// Both networks over all of the talk.
fn whole(
    group: &mut BenchmarkGroup<'_, WallTime>,
    spool: &PcmSpool,
    name: &str,
    engine: &DiarizationEngine,
    places: &Places,
) {
    let cancel = CancelToken::new();
    group.throughput(sound(LENGTH));
    for step_ms in [1_000, 2_500] {
        let sound = Sound { spool, speech: None, cancel: &cancel };
        processor_time(group, &format!("networks, {name}, {step_ms} ms"), || {
            let team = Team::new(places, &cancel);
            engine
                .listen(&sound, ms_to_samples(step_ms), &team, &mut |numbers| drop(black_box(numbers)))
                .unwrap();
        });
    }
}

/// Measures the processor time that `work` takes on all threads together.
fn processor_time(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut work: impl FnMut()) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let start = processor_clock();
            (0..times).for_each(|_| work());
            processor_clock() - start
        });
    });
}

fn processor_clock() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every system that the benches run on, and writes into `time` alone.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The fixture's dialogue, again and again.
fn talk() -> Vec<f32> {
    let dialogue = audio::decode(&fixture("dialogue.flac"));
    let mut samples = Vec::new();
    dialogue.read(TimeSpan::new(0, dialogue.len()), &mut samples);
    samples.into_iter().cycle().take(LENGTH as usize).collect()
}

fn spool(samples: &[f32]) -> Arc<PcmSpool> {
    let mut writer = SpoolWriter::create(&Scratch::default()).unwrap();
    writer.push(samples).unwrap();
    writer.finish().unwrap()
}

fn engine(embedder: Box<dyn SpeakerEmbedder>, places: &Arc<Places>) -> DiarizationEngine {
    DiarizationEngine::new(segmenter(), embedder, Arc::clone(places))
}

fn model(name: &str) -> (Vec<u8>, PathBuf) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
    (fs::read(&path).unwrap(), path)
}

fn segmenter() -> Box<dyn SpeakerSegmenter> {
    let [filters, rest] = ["filters", "rest"].map(|piece| model(&format!("segmentation-3.0.{piece}.onnx")));
    Box::new(SplitSegmenter::new((&filters.0, &filters.1), (&rest.0, &rest.1)).unwrap())
}

fn ge2e() -> Box<dyn SpeakerEmbedder> {
    let (network, path) = model("ge2e_resemblyzer_int8.onnx");
    let method = tables::ge2e(&model("ge2e_lda64.safetensors").0).unwrap();
    Box::new(Ge2eEmbedder::new(&network, &path, method).unwrap())
}

fn wespeaker(path: &Path) -> Box<dyn SpeakerEmbedder> {
    let method = tables::community1(&model("community1_plda.safetensors").0).unwrap();
    Box::new(WespeakerEmbedder::new(&fs::read(path).unwrap(), path, method).unwrap())
}
