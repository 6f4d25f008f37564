//! Whole recordings through the small networks: any rate, any length, one channel and two.

use std::sync::Arc;

use diarist::audio::AudioBlock;
use diarist::audio::resample::Resampler;
use diarist::separation::VocalSeparator;
use diarist::separation::reflect::reflected;
use diarist::separation::stream::VoiceStream;

use super::support::{RATE, VOICE_BAND, error_db, mdx, noise, separators, tones};

/// A recording at `rate`, resampled and separated block by block.
fn separated(separator: &Arc<dyn VocalSeparator>, recording: &[Vec<f32>], rate: u32) -> Vec<Vec<f32>> {
    let channels = recording.len();
    let mut resampler = Resampler::new(separator.spec().sample_rate, channels);
    let mut stream = VoiceStream::new(Arc::clone(separator), channels);
    let mut voice = vec![Vec::new(); channels];
    let mut waiting = vec![Vec::new(); channels];
    for start in (0..recording[0].len()).step_by(rate as usize) {
        let part = |channel: &Vec<f32>| channel[start..channel.len().min(start + rate as usize)].to_vec();
        let block = AudioBlock { sample_rate: rate, channels: recording.iter().map(part).collect() };
        resampler.push(&block, &mut waiting);
        stream.push(&waiting, &mut |_| true, &mut voice).expect("separated");
        waiting.iter_mut().for_each(Vec::clear);
    }
    resampler.flush(&mut waiting);
    stream.push(&waiting, &mut |_| true, &mut voice).expect("separated");
    stream.flush(&mut |_| true, &mut voice).expect("separated");
    voice
}

/// The voice of a recording at the model's rate in one piece: `voice_band` with as many frames as it takes would give
/// the same as its mask on one transform.
fn in_one_piece(recording: &[f32]) -> Vec<f32> {
    let grid = VOICE_BAND.grid;
    let window = grid.spec().window as usize;
    let padded = recording.len().next_multiple_of(grid.hop).max(window);
    let stft = grid.stft().unwrap();
    let sound: Vec<f32> = (0..padded).map(|at| reflected(recording, at as i64)).collect();
    let mut frames = Vec::new();
    stft.forward(&sound, |_, bins| frames.push(bins[..grid.dim_f].to_vec()));
    let mut voice = vec![0.0; padded];
    stft.inverse(&mut voice, |frame, bins| {
        bins.fill(Default::default());
        for (bin, value) in frames[frame].iter().enumerate() {
            bins[bin] = value * mask(bin);
        }
    });
    voice.truncate(recording.len());
    voice
}

/// The mask that `scripts/separation_models.py` writes, and the three bins that no MDX-Net hears.
fn mask(bin: usize) -> f32 {
    if bin < 3 {
        return 0.0;
    }
    let frequency = bin as f64 * f64::from(RATE) / 2_048.0;
    let ramp = |from: f64, to: f64| {
        let share = ((frequency - from) / (to - from)).clamp(0.0, 1.0);
        (std::f64::consts::FRAC_PI_2 * share).sin().powi(2)
    };
    (ramp(150.0, 220.0) * ramp(3_700.0, 3_400.0)) as f32
}

#[test]
fn windows_and_one_piece_give_the_same_voice() {
    let separator: Arc<dyn VocalSeparator> = Arc::new(mdx(&VOICE_BAND).unwrap());
    for seconds in [0.1, 1.0, 2.9, 3.0, 7.3, 61.0] {
        let length = (seconds * f64::from(RATE)) as usize;
        for channels in 1..=2 {
            let recording: Vec<_> = (0..channels).map(|seed| noise(length, seed + 1)).collect();
            let voice = separated(&separator, &recording, RATE);
            for (voice, recording) in voice.iter().zip(&recording) {
                let error = error_db(&in_one_piece(recording), voice);
                assert!(error < -60.0, "{seconds} s of {channels}: {error:.1} dB");
            }
        }
    }
}

#[test]
fn ten_minutes_in_windows_and_in_one_piece_give_the_same_voice() {
    let separator: Arc<dyn VocalSeparator> = Arc::new(mdx(&VOICE_BAND).unwrap());
    let recording = [noise(600 * RATE as usize, 5)];
    let voice = separated(&separator, &recording, RATE);
    // Of the one piece, stretches with their ends left out: all its frames would take a gigabyte.
    let (piece, end) = (RATE as usize * 30 / 512 * 512, 8_192);
    for start in (0..recording[0].len() - piece).step_by(piece - 2 * end) {
        let whole = in_one_piece(&recording[0][start..start + piece]);
        let error = error_db(&whole[end..piece - end], &voice[0][start + end..start + piece - end]);
        assert!(error < -60.0, "from sample {start}: {error:.1} dB");
    }
}

#[test]
fn any_rate_and_length_comes_out_as_long_as_it_went_in() {
    for (name, separator) in separators() {
        for rate in RATES {
            for seconds in [0.1, 0.5, 4.0] {
                for channels in 1..=2 {
                    let frames = (seconds * f64::from(rate)) as usize;
                    let recording = vec![tones(&[440.0, 1_000.0], frames, rate); channels];
                    let voice = separated(&separator, &recording, rate);
                    let expected = (frames as f64 * 44_100.0 / f64::from(rate)).round() as usize;
                    let lengths = voice.iter().map(Vec::len).collect::<Vec<_>>();
                    assert_eq!(lengths, vec![expected; channels], "{name}, {rate} Hz, {seconds} s");
                    assert!(voice.iter().flatten().all(|v| v.is_finite()), "{name}, {rate} Hz, {seconds} s");
                }
            }
        }
    }
}

#[test]
fn a_voice_keeps_its_place_and_level_at_every_rate() {
    let separator: Arc<dyn VocalSeparator> = Arc::new(mdx(&VOICE_BAND).unwrap());
    for rate in [8_000_u32, 16_000, 44_100, 48_000, 192_000] {
        let voice = separated(&separator, &[tones(&[440.0, 1_000.0], 5 * rate as usize, rate)], rate);
        let expected = tones(&[440.0, 1_000.0], voice[0].len(), RATE);
        let inner = RATE as usize / 2..voice[0].len() - RATE as usize / 2;
        let error = error_db(&expected[inner.clone()], &voice[0][inner]);
        assert!(error < -60.0, "{rate} Hz: {error:.1} dB");
    }
}

/// At the model's rate, resampled in one piece.
fn resampled(recording: &[Vec<f32>], rate: u32, target: u32) -> Vec<Vec<f32>> {
    let mut resampler = Resampler::new(target, recording.len());
    let mut out = vec![Vec::new(); recording.len()];
    resampler.push(&AudioBlock { sample_rate: rate, channels: recording.to_vec() }, &mut out);
    resampler.flush(&mut out);
    out
}

const RATES: [u32; 9] = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000];

#[test]
fn windows_and_one_piece_agree_at_every_rate() {
    let separator: Arc<dyn VocalSeparator> = Arc::new(mdx(&VOICE_BAND).unwrap());
    for rate in RATES {
        for seconds in [0.1, 3.1, 10.0] {
            for channels in 1..=2 {
                let frames = (seconds * f64::from(rate)) as usize;
                let recording: Vec<_> = (0..channels).map(|seed| noise(frames, seed + 1)).collect();
                let voice = separated(&separator, &recording, rate);
                for (voice, sound) in voice.iter().zip(resampled(&recording, rate, RATE)) {
                    let error = error_db(&in_one_piece(&sound), voice);
                    assert!(error < -60.0, "{rate} Hz, {seconds} s of {channels}: {error:.1} dB");
                }
            }
        }
    }
}

#[test]
fn sound_of_every_rate_goes_through_the_transform_and_back() {
    for rate in RATES {
        for seconds in [0.1, 2.0] {
            let frames = (seconds * f64::from(rate)) as usize;
            let recording = [tones(&[440.0, 3_000.0], frames, rate)];
            let sound = resampled(&recording, rate, RATE).remove(0);
            let stft = VOICE_BAND.grid.stft().unwrap();
            let mut bins_of = Vec::new();
            stft.forward(&sound, |_, bins| bins_of.push(bins.to_vec()));
            let mut out = vec![0.0; sound.len()];
            stft.inverse(&mut out, |frame, bins| bins.copy_from_slice(&bins_of[frame]));
            let error = error_db(&sound, &out);
            assert!(error < -100.0, "{rate} Hz, {seconds} s: {error:.1} dB");
            // And at the recording's own rate, away from its ends, where it is not limited to a band.
            let back = resampled(&[out], RATE, rate).remove(0);
            assert_eq!(back.len(), frames, "{rate} Hz");
            let inner = frames / 4..frames * 3 / 4;
            let error = error_db(&recording[0][inner.clone()], &back[inner]);
            assert!(seconds < 1.0 || error < -80.0, "{rate} Hz, {seconds} s: {error:.1} dB");
        }
    }
}
