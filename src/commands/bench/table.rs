//! Scores as a table for people and as JSON for programs.

use serde::Serialize;

use crate::diarization::score::Score;
use crate::time::samples_to_seconds;

/// Half the width of the usual collar, in milliseconds on each side of an edge.
pub const COLLAR_MS: u64 = 250;

/// One row: a recording, or all of them.
pub struct Row {
    /// Of the recording.
    pub name: String,
    /// Every moment scored.
    pub strict: Score,
    /// The same without the moments near an edge of the truth.
    pub lenient: Score,
    /// What was listened to and what it took; nothing where given turns were scored.
    pub work: Option<Work>,
}

/// Sound heard and time spent.
#[derive(Clone, Copy, Default)]
pub struct Work {
    /// Length of the sound, in seconds.
    pub audio_s: f64,
    /// Processor time of all threads, in seconds.
    pub cpu_s: f64,
}

impl Work {
    fn speed(self) -> Option<f64> {
        (self.cpu_s > 0.0).then(|| self.audio_s / self.cpu_s)
    }
}

/// All rows added up.
pub fn pooled(rows: &[Row]) -> Row {
    let mut pool =
        Row { name: "all".into(), strict: Score::default(), lenient: Score::default(), work: None };
    for row in rows {
        pool.strict += &row.strict;
        pool.lenient += &row.lenient;
        if let Some(work) = row.work {
            let sum = pool.work.get_or_insert_default();
            sum.audio_s += work.audio_s;
            sum.cpu_s += work.cpu_s;
        }
    }
    pool
}

/// A line for each recording and one for all; rates in percent.
pub fn text(rows: &[Row]) -> String {
    let pool = pooled(rows);
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(9);
    let head = ["DER", "miss", "false", "confus", "±.25 s", "JER", "speakers", "speed"];
    let cells = |cells: [String; 8]| cells.map(|cell| format!("{cell:>8}")).join(" ");
    let mut text = format!("{:width$} {}\n", "recording", cells(head.map(str::to_owned)));
    for row in rows.iter().chain([&pool]) {
        text += &format!("{:width$} {}\n", row.name, cells(row.cells()));
    }
    let of = |sum: f64| sum / pool.strict.recordings.max(1) as f64;
    let (off, bias) = (of(pool.strict.speakers_off as f64), of(pool.strict.speakers_bias as f64));
    let speech = samples_to_seconds(pool.strict.speech) / 60.0;
    let recordings = pool.strict.recordings;
    text + &format!(
        "{recordings} recordings with {speech:.1} min of speech; rates in percent, overlapped speech counted; \
         speakers found/true: {off:.2} off in the mean, bias {bias:+.2}; speed: seconds of sound in a second of one core\n"
    )
}

impl Row {
    fn cells(&self) -> [String; 8] {
        let percent = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| format!("{:.2}", 100.0 * rate));
        let strict = &self.strict;
        let found = strict.speakers as i64 + strict.speakers_bias;
        [
            percent(strict.der()),
            percent(strict.share(strict.missed)),
            percent(strict.share(strict.false_alarm)),
            percent(strict.share(strict.confusion)),
            percent(self.lenient.der()),
            percent(strict.jer()),
            format!("{found}/{}", strict.speakers),
            self.work.and_then(Work::speed).map_or("-".to_owned(), |speed| format!("{speed:.1}x")),
        ]
    }
}

/// The same for programs: rates as shares of the speech, `null` where there is none.
pub fn json(rows: &[Row]) -> String {
    let told: Vec<_> = rows.iter().map(Told::of).collect();
    let pool = pooled(rows);
    let report = Report { recordings: told, all: Told::of(&pool) };
    serde_json::to_string_pretty(&report).expect("numbers and names are always JSON") + "\n"
}

#[derive(Serialize)]
struct Report<'a> {
    recordings: Vec<Told<'a>>,
    all: Told<'a>,
}

#[derive(Serialize)]
struct Told<'a> {
    name: &'a str,
    speech_s: f64,
    der: Option<f64>,
    missed: Option<f64>,
    false_alarm: Option<f64>,
    confusion: Option<f64>,
    der_collar_250_ms: Option<f64>,
    jer: Option<f64>,
    speakers: usize,
    speakers_off: usize,
    speakers_bias: i64,
    audio_s: Option<f64>,
    cpu_s: Option<f64>,
    speed: Option<f64>,
}

impl<'a> Told<'a> {
    fn of(row: &'a Row) -> Self {
        let strict = &row.strict;
        Self {
            name: &row.name,
            speech_s: samples_to_seconds(strict.speech),
            der: strict.der(),
            missed: strict.share(strict.missed),
            false_alarm: strict.share(strict.false_alarm),
            confusion: strict.share(strict.confusion),
            der_collar_250_ms: row.lenient.der(),
            jer: strict.jer(),
            speakers: strict.speakers,
            speakers_off: strict.speakers_off,
            speakers_bias: strict.speakers_bias,
            audio_s: row.work.map(|work| work.audio_s),
            cpu_s: row.work.map(|work| work.cpu_s),
            speed: row.work.and_then(Work::speed),
        }
    }
}
