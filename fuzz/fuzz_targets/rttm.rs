//! Any bytes as RTTM (what stands before the first zero byte) and as UEM (the rest): what is read can be scored.

#![no_main]

use diarist::diarization::score::{Score, rttm, uem};
use diarist::time::{TimeSpan, ms_to_samples};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (turns, regions) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let Ok(recordings) = rttm::read(turns) else { return };
    let Ok(evaluated) = uem::read(regions, "a") else { return };
    let evaluated = evaluated.unwrap_or_else(|| vec![TimeSpan::new(0, u64::MAX >> 8)]);
    assert!(evaluated.windows(2).all(|pair| pair[0].end < pair[1].start), "{evaluated:?}");
    let Some(((name, truth), (_, found))) = recordings.first().zip(recordings.last()) else { return };
    let written =
        rttm::read_one(rttm::write(name, truth).as_bytes(), name).expect("what is written reads back");
    assert!(written.turns.len() <= truth.turns.len());
    for collar in [0, ms_to_samples(250)] {
        let score = Score::of(truth, found, &evaluated, collar);
        assert!(score.jer().is_none_or(|rate| (0.0..=1.0).contains(&rate)), "{score:?}");
        assert!(score.missed + score.confusion <= score.speech, "{score:?}");
        let same = Score::of(truth, truth, &evaluated, collar);
        assert!(same.der().unwrap_or(0.0) == 0.0 && same.speakers_bias == 0, "{same:?}");
    }
});
