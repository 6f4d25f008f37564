//! Each stage by itself. Where a stage works on sound, an "element" is a millisecond of it, so that
//! criterion's `Kelem/s` reads as times real time. `docs/benchmarks.md` lists what is measured.

mod audio;
mod speakers;
mod speech;
mod text;
mod upload;

use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{Criterion, Throughput};
use diarist::time::SampleIndex;

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    audio::bench(&mut criterion);
    speech::bench(&mut criterion);
    speakers::bench(&mut criterion);
    text::bench(&mut criterion);
    upload::bench(&mut criterion);
    criterion.final_summary();
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio").join(name)
}

/// Throughput for work on so many samples at 16 kHz.
fn sound(samples: SampleIndex) -> Throughput {
    Throughput::Elements(samples / 16)
}

/// Numbers in [0, 1) without pattern, the same in every run.
fn noise(count: usize) -> impl Iterator<Item = f32> {
    let step = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((*state >> 8) as f32 / (1 << 24) as f32)
    };
    std::iter::repeat_n((), count).scan(1_u32, move |state, ()| step(state))
}
