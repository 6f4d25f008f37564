//! Recognition beside whisper.cpp and faster-whisper: whole processes, the same recording, the same weights, all cores.
//!
//! The models are made by `benches/peers/models.py`: Whisper's true dimensions and cost, with a fixed text in each
//! window. `scripts/peers.sh` prepares the peers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::measure::{children_cpu, minutes};
use crate::speech;

/// Model sizes compared.
const SIZES: [&str; 2] = ["base", "small"];

/// The project's folder.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One program at work: how long it took, what it cost, what it wrote.
struct Run {
    wall: Duration,
    cpu: Duration,
    words: usize,
}

/// Runs everything and prints a row for each pair.
pub fn run(folder: &Path) -> bool {
    let Some(peers) = prepare() else {
        println!("peers: left out, since they cannot be installed here (see scripts/peers.sh)");
        return true;
    };
    let minutes = minutes("BENCH_PEERS_MIN", 5.0);
    let recording = speech(folder, minutes);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    println!(
        "peers: {minutes} min of speech with natural pauses, {threads} cores; wall time of whole processes"
    );
    for size in SIZES {
        let model = |ending: &str| peers.join(format!("models/scripted-{size}{ending}"));
        let whisper_cpp = |ending: &str, beams: &str| {
            let mut command = Command::new(peers.join("run_whisper_cpp"));
            command.arg(model(ending)).arg(&recording).arg(beams);
            timed(command)
        };
        let diarist = |ending: &str, beams: Option<&str>| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_diarist"));
            command.args(["transcribe", "--models-dir"]).arg(peers.join("models")).arg(&recording);
            command.arg("--model").arg(format!("scripted-{size}{ending}"));
            command.args(beams.map(|beams| format!("--set=beam_size={beams}")));
            // The script is not what is spoken: checks that the others do not have would hear it again and again.
            command.args(["--set=guard=false", "--set=coverage=false"]);
            timed(command)
        };
        let faster_whisper = || {
            let mut command = Command::new(peers.join("venv/bin/python"));
            command.arg("-B").arg(Path::new(ROOT).join("benches/peers/run_faster_whisper.py"));
            command.arg(model("-int8")).arg(&recording).arg(&threads);
            timed(command)
        };
        let row = |what: &str, ours: &Run, peer: &str, theirs: &Run, limit: f64| {
            let ratio = ours.wall.as_secs_f64() / theirs.wall.as_secs_f64();
            println!(
                "peers {size}, {what}: Diarist {}, {peer} {}: ratio {ratio:.2} (aim: at most {limit})",
                ours.tell(minutes),
                theirs.tell(minutes),
            );
        };
        row("as installed", &diarist("", None), "whisper.cpp", &whisper_cpp(".bin", "5"), 0.5);
        row("greedy, f16", &diarist("", Some("1")), "whisper.cpp", &whisper_cpp(".bin", "1"), 0.8);
        let greedy = diarist("-q8_0", Some("1"));
        row("greedy, q8_0", &greedy, "whisper.cpp", &whisper_cpp("-q8_0.bin", "1"), 0.8);
        row("greedy, 8 bits", &greedy, "faster-whisper, batched", &faster_whisper(), 1.0);
    }
    true
}

/// The folder of the prepared peers; `None` where they cannot be had.
fn prepare() -> Option<PathBuf> {
    let root = Path::new(ROOT);
    let done = Command::new(root.join("scripts/peers.sh")).arg("python3").current_dir(root).status();
    done.is_ok_and(|status| status.success()).then(|| root.join("target/peers"))
}

fn timed(mut command: Command) -> Run {
    let (start, cpu) = (Instant::now(), children_cpu());
    let output =
        command.stderr(Stdio::inherit()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?} failed");
    Run {
        wall: start.elapsed(),
        cpu: children_cpu() - cpu,
        words: String::from_utf8_lossy(&output.stdout).split_whitespace().count(),
    }
}

impl Run {
    fn tell(&self, minutes: f64) -> String {
        format!(
            "{:.1} s ({:.1} times real time, {:.1} s of processor time, {} words)",
            self.wall.as_secs_f64(),
            minutes * 60.0 / self.wall.as_secs_f64(),
            self.cpu.as_secs_f64(),
            self.words,
        )
    }
}
