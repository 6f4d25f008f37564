//! `diarist separate`: what it writes, and what it leaves behind when something is wrong.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::support::{error_db, in_repository, noise, tones};

/// A folder with a recording in it, and one for results and models each.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("models")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn record(&self, name: &str, rate: u32, channels: &[Vec<f32>]) -> PathBuf {
        let path = self.path(name);
        let spec = hound::WavSpec {
            channels: channels.len() as u16,
            sample_rate: rate,
            bits_per_sample: 32,
            sample_format: hound::SampleFormat::Float,
        };
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        for frame in 0..channels[0].len() {
            channels.iter().for_each(|channel| writer.write_sample(channel[frame]).unwrap());
        }
        writer.finalize().unwrap();
        path
    }

    fn separate(&self, file: &Path, model: &str) -> Command {
        let mut command = self.separate_as_set(file);
        command.args(["--model", model]);
        command
    }

    fn separate_as_set(&self, file: &Path) -> Command {
        let mut command = super::command::diarist();
        command.env("DIARIST_BUNDLED_MODELS_DIR", in_repository("models"));
        command.env("DIARIST_MODELS_DIR", self.path("models"));
        command.arg("separate").arg(file).arg("-o").arg(self.path("out"));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, file: &Path, model: &str) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.separate(file, model).output().unwrap();
        (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
    }

    /// Names in the folder of results.
    fn results(&self) -> Vec<String> {
        let Ok(listing) = std::fs::read_dir(self.path("out")) else { return Vec::new() };
        let mut names: Vec<_> =
            listing.map(|item| item.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Planar samples at 44.1 kHz.
    fn result(&self, name: &str) -> Vec<Vec<f32>> {
        let mut reader = hound::WavReader::open(self.path("out").join(name)).unwrap();
        assert_eq!(reader.spec().sample_rate, 44_100);
        let count = usize::from(reader.spec().channels);
        let samples: Vec<f32> = reader.samples().map(Result::unwrap).collect();
        (0..count).map(|channel| samples.iter().skip(channel).step_by(count).copied().collect()).collect()
    }
}

#[test]
fn both_halves_are_written_and_sum_up_to_the_recording() {
    let desk = Desk::new();
    for channels in 1..=2 {
        let length = 7 * 44_100 + 123;
        let recording: Vec<_> = (0..channels).map(|seed| noise(length, seed + 1)).collect();
        let file = desk.record("film.wav", 44_100, &recording);
        let (code, said) = desk.run(&file, "voice-band");
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("film.vocals.wav") && said.contains("film.background.wav"), "{said}");
        assert_eq!(desk.results(), ["film.background.wav", "film.vocals.wav"]);
        let (voice, rest) = (desk.result("film.vocals.wav"), desk.result("film.background.wav"));
        assert_eq!((voice.len(), rest.len()), (recording.len(), recording.len()));
        for ((voice, rest), recording) in voice.iter().zip(&rest).zip(&recording) {
            let sum: Vec<f32> = voice.iter().zip(rest).map(|(a, b)| a + b).collect();
            assert!(error_db(recording, &sum) < -120.0);
        }
    }
}

#[test]
fn a_voice_under_music_comes_out_alone() {
    let desk = Desk::new();
    let frames = 5 * 48_000;
    let mix = tones(&[50.0, 1_000.0, 6_000.0], frames, 48_000);
    let silence = vec![0.0; frames];
    // Six channels are mixed to two.
    let channels = [mix.clone(), mix, silence.clone(), silence.clone(), silence.clone(), silence];
    let file = desk.record("six.wav", 48_000, &channels);
    let (code, said) = desk.run(&file, "voice-band");
    assert_eq!(code, Some(0), "{said}");
    let [left, right] = &desk.result("six.vocals.wav")[..] else { panic!("not two channels") };
    assert_eq!(left.len(), 5 * 44_100);
    let expected: Vec<f32> = tones(&[1_000.0], left.len(), 44_100).iter().map(|v| v / 3.0).collect();
    let inner = 22_050..left.len() - 22_050;
    for side in [left, right] {
        let error = error_db(&expected[inner.clone()], &side[inner.clone()]);
        assert!(error < -60.0, "{error:.1} dB");
    }
}

#[test]
fn recordings_that_cannot_be_separated_leave_nothing_behind() {
    let desk = Desk::new();
    let short = desk.record("short.wav", 44_100, &[noise(1_000, 1)]);
    let text = desk.path("text.wav");
    std::fs::write(&text, "no sound at all, only words ".repeat(100)).unwrap();
    for (file, reason) in
        [(&short, "shortest"), (&text, "could not be decoded"), (&desk.path("none.wav"), "cannot be read")]
    {
        let (code, said) = desk.run(file, "voice-band");
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(reason) && said.contains(&*file.to_string_lossy()), "{said}");
        assert!(desk.results().is_empty(), "{:?}", desk.results());
    }
}

#[test]
fn without_a_flag_the_model_is_the_setting_s() {
    let desk = Desk::new();
    let file = desk.record("tone.wav", 44_100, &[vec![0.1; 4_410]]);
    let said = desk.separate_as_set(&file).output().unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains("`kim-vocal-2`"), "{said:?}");
    let mut set = desk.separate_as_set(&file);
    assert!(set.env("DIARIST_SEPARATION_MODEL", "voice-band").output().unwrap().status.success());
    assert_eq!(desk.results(), ["tone.background.wav", "tone.vocals.wav"]);
}

#[test]
fn an_interrupted_separation_leaves_nothing_behind() {
    let desk = Desk::new();
    let file = desk.record("long.wav", 8_000, &[noise(3_600 * 8_000, 1)]);
    let mut child =
        desk.separate(&file, "voice-band").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while desk.results().is_empty() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(desk.results().iter().all(|name| name.starts_with('.')), "{:?}", desk.results());
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert_eq!((status.code(), desk.results()), (Some(130), Vec::new()));
}

#[test]
fn a_model_that_is_not_here_names_the_command_that_pulls_it() {
    let desk = Desk::new();
    let file = desk.record("film.wav", 44_100, &[noise(44_100, 1)]);
    for (model, pulled) in [
        ("kim-vocal-2", "kim-vocal-2"),
        ("UVR-MDX-NET-Voc_FT.onnx", "voc-ft"),
        ("spleeter-2stems", "spleeter-2stems"),
    ] {
        let (code, said) = desk.run(&file, model);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(&format!("`diarist models pull {pulled}`")), "{said}");
    }
    // With one network of two, the same command helps.
    sparse(&desk, "spleeter-2stems-vocals.onnx", 39_318_336);
    let (_, said) = desk.run(&file, "spleeter-2stems");
    assert!(said.contains("`diarist models pull spleeter-2stems` does that"), "{said}");
    assert!(desk.results().is_empty());
}

#[test]
fn damaged_models_and_models_for_other_tasks_are_told() {
    let desk = Desk::new();
    let file = desk.record("film.wav", 44_100, &[noise(44_100, 1)]);
    sparse(&desk, "Kim_Vocal_2.onnx", 1_000);
    sparse(&desk, "UVR-MDX-NET-Inst_HQ_3.onnx", 66_759_214);
    sparse(&desk, "spleeter-2stems-vocals.onnx", 39_318_336);
    sparse(&desk, "spleeter-2stems-accompaniment.onnx", 39_318_343);
    for (model, reason) in [
        ("kim-vocal-2", "its file has 1000 bytes instead of 66759214; `diarist models pull kim-vocal-2`"),
        ("inst-hq-3", "its file is damaged or has been replaced"),
        ("spleeter-2stems", "its file is damaged or has been replaced"),
        ("spleeter-2stems-accompaniment", "it is for vocal-separation-part"),
        ("silero-vad", "it is for voice-activity, not for separating voices from music"),
        ("nothing", "the model `nothing` does not exist"),
    ] {
        let (code, said) = desk.run(&file, model);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(reason), "{model}: {said}");
    }
    assert!(desk.results().is_empty());
}

/// A file of zeros that takes no room.
fn sparse(desk: &Desk, name: &str, bytes: u64) {
    File::create(desk.path("models").join(name)).unwrap().set_len(bytes).unwrap();
}
