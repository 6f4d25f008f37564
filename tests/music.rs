//! How often the music detector is right: rates over the fixtures, and over recordings of real people where those are at
//! hand.

use std::path::{Path, PathBuf};

use diarist::audio::{AudioOptions, AudioSource, decode_to_spool};
use diarist::cancel::CancelToken;
use diarist::scratch::Scratch;
use diarist::separation::music::MusicDetector;
use diarist::time::{SAMPLE_RATE, TimeSpan};
use scenes::Scene;

#[path = "pipeline/scenes.rs"]
#[allow(dead_code, reason = "shared with the tests of the pipeline")]
mod scenes;

const MUSIC: [Scene; 3] = [Scene::Pads, Scene::Melody, Scene::Band];

const NO_MUSIC: [Scene; 6] =
    [Scene::Silence, Scene::White, Scene::Pink, Scene::Wind, Scene::Hum, Scene::Clicks];

/// Seconds listened to, and taken for music.
#[derive(Clone, Copy, Default)]
struct Rate {
    heard: f64,
    music: f64,
}

impl Rate {
    fn of(samples: &[f32]) -> Self {
        let (mut detector, mut found) = (MusicDetector::new(), Vec::new());
        samples.chunks(16_384).for_each(|part| detector.push(part, &mut found));
        detector.flush(&mut found);
        let seconds = |samples: u64| samples as f64 / f64::from(SAMPLE_RATE);
        Self { heard: seconds(samples.len() as u64), music: seconds(found.iter().map(TimeSpan::len).sum()) }
    }

    fn add(&mut self, other: Self) {
        self.heard += other.heard;
        self.music += other.music;
    }

    fn share(self) -> f64 {
        self.music / self.heard.max(1e-9)
    }

    fn show(self, what: &str) -> Self {
        println!("{what:44} {:7.1} s, {:6.2} % taken for music", self.heard, 100.0 * self.share());
        self
    }
}

fn sound(path: &Path) -> Vec<f32> {
    let options = AudioOptions { scratch: Scratch::default(), max_duration_s: 3_600, ffmpeg: None };
    let source = AudioSource { path: path.to_owned(), name: None };
    let spool = decode_to_spool(&source, &options, &CancelToken::new()).unwrap().spool;
    let mut samples = Vec::new();
    spool.read(TimeSpan::new(0, spool.len()), &mut samples);
    samples
}

/// The recordings in a folder, in order.
fn recordings(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|kind| kind == "flac" || kind == "wav"));
    found.sort();
    found
}

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let found = recordings(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio").join(folder));
    assert!(!found.is_empty(), "{folder}");
    found
}

/// Ten voices, one after another.
fn sentences() -> Vec<f32> {
    fixtures("sentences").iter().flat_map(|path| sound(path)).collect()
}

fn is_music(path: &Path) -> bool {
    path.file_stem().is_some_and(|name| name == "music")
}

#[test]
fn speech_noise_and_telephones_are_no_music() {
    let mut all = Rate::of(&sentences()).show("sentences");
    for path in [fixtures("scenes"), fixtures("")].concat() {
        if !is_music(&path) {
            all.add(Rate::of(&sound(&path)).show(&path.file_stem().unwrap().to_string_lossy()));
        }
    }
    let speech = sentences();
    for scene in NO_MUSIC {
        all.add(Rate::of(&scene.render(60 * SAMPLE_RATE as usize, 0.05, 1)).show(&format!("{scene:?}")));
        all.add(Rate::of(&mixed(&speech, scene, 0.03)).show(&format!("{scene:?} under speech")));
    }
    assert_eq!(all.show("all of that").music, 0.0);
}

fn mixed(speech: &[f32], scene: Scene, level: f32) -> Vec<f32> {
    let mut samples = scene.render(speech.len(), level, 2);
    samples.iter_mut().zip(speech).for_each(|(sample, speech)| *sample += speech);
    samples
}

#[test]
fn music_is_found_alone_and_under_speech() {
    let speech = sentences();
    let power = |samples: &[f32]| samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32;
    let level = power(&speech).sqrt();
    for scene in MUSIC {
        let alone = Rate::of(&scene.render(60 * SAMPLE_RATE as usize, 0.05, 1));
        assert!(alone.show(&format!("{scene:?}")).share() > 0.95);
        for (below_db, least) in [(0.0, 0.98), (10.0, 0.9), (20.0, 0.0)] {
            let mixed = mixed(&speech, scene, level * 10f32.powf(-below_db / 20.0));
            let rate = Rate::of(&mixed).show(&format!("{scene:?} {below_db} dB below speech"));
            assert!(rate.share() >= least, "{scene:?} at {below_db} dB");
        }
    }
    for path in fixtures("scenes").iter().filter(|path| is_music(path)) {
        assert!(Rate::of(&sound(path)).show("scenes/music").share() > 0.9);
    }
}

#[test]
fn real_people_are_practically_never_music() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/eval");
    let paths = [recordings(&folder.join("speech")), recordings(&folder.join("diarization"))].concat();
    if paths.is_empty() {
        println!("skipped: the recordings for development are not at hand");
        return;
    }
    let mut all = Rate::default();
    for path in &paths {
        let rate = Rate::of(&sound(path));
        if rate.music > 0.0 {
            rate.show(&path.file_stem().unwrap().to_string_lossy());
        }
        all.add(rate);
    }
    assert!(all.show(&format!("{} recordings of real people", paths.len())).share() < 0.01);
}
