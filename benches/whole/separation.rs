//! Vocal separation beside the bare networks: how much faster than real time each family is on one core, what ONNX
//! Runtime alone takes for the same windows in the same run, and what the stage itself costs.
//!
//! The networks have the size and structure of the real ones and random weights (`benches/separation`): how long they
//! take does not depend on what they know. The stage's own cost is measured by itself, with a network that does
//! nothing: next to seconds of a real one it would be lost in the noise.

#[path = "../../tests/support/noise.rs"]
mod noise;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diarist::runtime::network::{Network, Tensor};
use diarist::separation::mdx::MdxNet;
use diarist::separation::parameters::{Grid, MdxParameters, Part, SpleeterParameters};
use diarist::separation::spleeter::{NetworkFile, Spleeter};
use diarist::separation::stream::VoiceStream;
use diarist::separation::{SeparationError, SeparatorSpec, VocalSeparator};

use crate::measure::process_cpu;

use noise::noise;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// All is done so often in turn; the fastest counts.
const ROUNDS: usize = 3;

/// Windows in the recording that is separated.
const WINDOWS: u64 = 3;

/// The stage's own share that is wanted at most.
const WANTED: f64 = 0.1;

/// As `kim-vocal-2`.
const MDX: MdxParameters = MdxParameters {
    grid: Grid { n_fft: 7_680, hop: 1_024, dim_f: 3_072, dim_t: 256 },
    compensation: 1.009,
    predicts: Part::Voice,
};

/// As `spleeter-2stems`.
const SPLEETER: SpleeterParameters =
    SpleeterParameters { grid: Grid { n_fft: 4_096, hop: 1_024, dim_f: 1_024, dim_t: 512 } };

/// Measures both families, mono and stereo.
pub fn run(folder: &Path) -> bool {
    let networks = folder.join("separation");
    let script = Path::new(ROOT).join("scripts/separation_bench.sh");
    let made = Command::new(script).arg("python3").arg(&networks).status();
    if !made.is_ok_and(|status| status.success()) {
        println!(
            "separation: left out, since the networks cannot be made here (see scripts/separation_bench.sh)"
        );
        return true;
    }
    let file = |name: &str| networks.join(name);
    let mdx = |name: &str| Family::of_mdx(&[file(name)]);
    let spleeter = |names: [&str; 2]| Family::of_spleeter(&names.map(file));
    for (name, real, empty) in [
        ("MDX-Net (kim-vocal-2)", mdx("mdx.onnx"), mdx("mdx-empty.onnx")),
        (
            "Spleeter (2 stems)",
            spleeter(["vocals.onnx", "accompaniment.onnx"]),
            spleeter(["spleeter-empty.onnx", "spleeter-empty.onnx"]),
        ),
    ] {
        for channels in 1..=2 {
            compare(name, &real, &empty, channels);
        }
    }
    true
}

/// A separator, and its networks by themselves.
struct Family {
    separator: Arc<Counted>,
    networks: Vec<Network>,
    shape: Vec<usize>,
}

impl Family {
    fn of_mdx(files: &[PathBuf; 1]) -> Self {
        let shape = [1, 4, MDX.grid.dim_f, MDX.grid.dim_t];
        let separator = MdxNet::new(&read(&files[0]), &files[0], &MDX, 1).expect("a network");
        Self::new(separator, files, &shape)
    }

    fn of_spleeter(files: &[PathBuf; 2]) -> Self {
        let shape = [2, 1, SPLEETER.grid.dim_t, SPLEETER.grid.dim_f];
        let bytes = [read(&files[0]), read(&files[1])];
        let network = |at: usize| NetworkFile { bytes: &bytes[at], path: &files[at] };
        let separator = Spleeter::new(&network(0), &network(1), &SPLEETER, 1).expect("networks");
        Self::new(separator, files, &shape)
    }

    fn new(separator: impl VocalSeparator + 'static, files: &[PathBuf], shape: &[usize]) -> Self {
        let load = |file: &PathBuf| Network::load_wide(&read(file), file, shape, 1).expect("a network");
        Self {
            separator: Arc::new(Counted { inner: Box::new(separator), windows: AtomicU64::new(0) }),
            networks: files.iter().map(load).collect(),
            shape: shape.to_vec(),
        }
    }

    /// Processor time of separating a recording, its seams included, and how many windows that took.
    fn separate(&self, recording: &[Vec<f32>]) -> (Duration, u64) {
        let before = self.separator.windows.load(Ordering::Relaxed);
        let separator: Arc<dyn VocalSeparator> = self.separator.clone();
        let (start, channels) = (process_cpu(), recording.len());
        let mut stream = VoiceStream::new(separator, channels);
        let mut voice = vec![Vec::new(); channels];
        stream.push(recording, &mut |_| true, &mut voice).expect("separated");
        stream.flush(&mut |_| true, &mut voice).expect("separated");
        assert_eq!(voice[0].len(), recording[0].len());
        (process_cpu() - start, self.separator.windows.load(Ordering::Relaxed) - before)
    }

    /// Processor time of the networks alone, for so many windows.
    fn networks_alone(&self, windows: u64) -> Duration {
        let size = self.shape.iter().product();
        let values: Vec<f32> = noise(size, 3).iter().map(|v| v.abs()).collect();
        let mut out = vec![0.0; size];
        let start = process_cpu();
        for _ in 0..windows {
            for network in &self.networks {
                network
                    .run(&[Tensor { shape: &self.shape, values: &values }], &self.shape, &mut out)
                    .expect("run");
            }
        }
        process_cpu() - start
    }
}

/// A separator that counts its windows.
struct Counted {
    inner: Box<dyn VocalSeparator>,
    windows: AtomicU64,
}

impl VocalSeparator for Counted {
    fn spec(&self) -> SeparatorSpec {
        self.inner.spec()
    }

    fn separate(&self, mix: &[Vec<f32>], voice: &mut [Vec<f32>]) -> Result<(), SeparationError> {
        self.windows.fetch_add(1, Ordering::Relaxed);
        self.inner.separate(mix, voice)
    }
}

fn compare(name: &str, real: &Family, empty: &Family, channels: u32) {
    let spec = real.separator.spec();
    let stride = spec.window - 2 * spec.margin - 16 * spec.hop;
    let length = spec.window + (WINDOWS - 1) * stride;
    let recording: Vec<_> = (0..channels).map(|seed| noise(length as usize, seed + 1)).collect();
    let (mut whole, mut alone, mut own) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let (took, windows) = real.separate(&recording);
        whole = whole.min(took);
        alone = alone.min(real.networks_alone(windows));
        let nothing = empty.networks_alone(windows);
        own = own.min(empty.separate(&recording).0.saturating_sub(nothing));
    }
    let seconds = length as f64 / f64::from(spec.sample_rate);
    let times = |took: Duration| seconds / took.as_secs_f64();
    let sound = if channels == 1 { "mono" } else { "stereo" };
    println!(
        "separation: {name}, {sound}: {:.2} times real time on one core, the networks alone {:.2} times for the same \
         windows; the stage's own share {:.3} (wanted: below {WANTED})",
        times(whole),
        times(alone),
        own.as_secs_f64() / (alone + own).as_secs_f64(),
    );
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("a network that has just been written")
}
