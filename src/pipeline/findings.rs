//! What the checks found over all chunks: dropped text, coverage, failures, and how they are told.

use crate::asr::AsrError;
use crate::time::{Chunk, samples_to_seconds};
use crate::transcript::{Coverage, DroppedText, SourceCounts, Warning};

use super::review::{ReviewChecks, Reviewed, Source};

/// Most entries of each list, so that a day of nonsense costs no memory; the log has them all.
const MAX_LISTED: usize = 10_000;

/// Most warnings about single stretches of uncovered speech; `coverage` has the others.
const MAX_WARNED: usize = 100;

/// What was found so far.
pub struct Findings {
    /// What the guard left out, in order.
    pub dropped: Vec<DroppedText>,
    /// How much speech has text; `None` when that is not checked.
    pub coverage: Option<Coverage>,
    failures: Vec<Warning>,
    redecoded_chunks: usize,
    /// Which sound the text of separated chunks was heard in.
    pub sources: SourceCounts,
    unlisted: usize,
}

impl Findings {
    /// None yet.
    pub fn new(checks: ReviewChecks) -> Self {
        Self {
            dropped: Vec::new(),
            coverage: checks.coverage.then(Coverage::default),
            failures: Vec::new(),
            redecoded_chunks: 0,
            sources: SourceCounts::default(),
            unlisted: 0,
        }
    }

    /// Takes in the next chunk's.
    pub fn add(&mut self, reviewed: Reviewed) {
        self.redecoded_chunks += usize::from(reviewed.heard_again);
        match reviewed.chosen {
            Some(Source::Voice) => self.sources.voice += 1,
            Some(Source::Mix) => self.sources.mix += 1,
            None => {}
        }
        for dropped in reviewed.dropped {
            tracing::info!(
                start = samples_to_seconds(dropped.span.start),
                end = samples_to_seconds(dropped.span.end),
                reason = dropped.reason.name(),
                text = dropped.text,
                "text that nobody said was left out"
            );
            push(&mut self.dropped, dropped, &mut self.unlisted);
        }
        let Some(coverage) = &mut self.coverage else { return };
        coverage.redecoded_chunks = self.redecoded_chunks;
        coverage.speech += reviewed.speech;
        coverage.covered += reviewed.speech;
        for gap in reviewed.uncovered {
            let (start, end) = (samples_to_seconds(gap.start), samples_to_seconds(gap.end));
            tracing::info!(start, end, "speech was found, but no text");
            coverage.covered = coverage.covered.saturating_sub(gap.len());
            push(&mut coverage.uncovered, gap, &mut self.unlisted);
        }
    }

    /// Takes in that a chunk has no text because the engine failed on it.
    pub fn add_failure(&mut self, chunk: Chunk, error: &AsrError) {
        let message = format!("this part could not be recognised: {error}");
        let warning = Warning::at("chunk_failed", message, chunk.owned);
        push(&mut self.failures, warning, &mut self.unlisted);
    }

    /// All of it for the client, failures first.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.failures.clone();
        let uncovered = self.coverage.iter().flat_map(|coverage| &coverage.uncovered);
        warnings.extend(uncovered.take(MAX_WARNED).map(|gap| {
            Warning::at(
                "uncovered_speech",
                "speech was found here, but no text, even when it was heard again",
                *gap,
            )
        }));
        if !self.dropped.is_empty() {
            let message = format!(
                "{} passages that nobody seems to have said were left out; `verbose_json` lists them",
                self.dropped.len()
            );
            warnings.push(Warning::new("text_dropped", message));
        }
        if self.unlisted > 0 {
            let message = format!("{} more findings are only in the server's log", self.unlisted);
            warnings.push(Warning::new("findings_not_listed", message));
        }
        warnings
    }

    /// One line for the log.
    pub fn log(&self) {
        let dropped = self.dropped.len();
        match &self.coverage {
            Some(coverage) => tracing::info!(
                speech_seconds = samples_to_seconds(coverage.speech),
                covered_seconds = samples_to_seconds(coverage.covered),
                redecoded_chunks = self.redecoded_chunks,
                uncovered = coverage.uncovered.len(),
                dropped,
                "checked"
            ),
            None => tracing::debug!(redecoded_chunks = self.redecoded_chunks, dropped, "checked"),
        }
    }
}

/// Adds to a list that has a limit.
fn push<T>(list: &mut Vec<T>, item: T, unlisted: &mut usize) {
    if list.len() < MAX_LISTED { list.push(item) } else { *unlisted += 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::TimeSpan;
    use crate::transcript::DropReason;

    fn reviewed(uncovered: usize, dropped: usize) -> Reviewed {
        let span = TimeSpan::new(0, 16_000);
        let text = DroppedText { span, text: "x".into(), reason: DropReason::Loop };
        Reviewed {
            chunk: Chunk { span, owned: span },
            segments: Vec::new(),
            dropped: vec![text; dropped],
            speech: 10_000 * uncovered as u64,
            uncovered: vec![TimeSpan::new(0, 4_000); uncovered],
            heard_again: true,
            chosen: Some(Source::Mix),
        }
    }

    #[test]
    fn findings_add_up_and_lists_are_bounded() {
        let mut findings = Findings::new(ReviewChecks { guard: true, coverage: true });
        findings.add(reviewed(2, 1));
        findings.add(reviewed(MAX_LISTED, 0));
        assert_eq!(findings.sources, SourceCounts { voice: 0, mix: 2 });
        let coverage = findings.coverage.as_ref().unwrap();
        assert_eq!(coverage.speech, 10_000 * (MAX_LISTED as u64 + 2));
        assert_eq!(coverage.covered, 6_000 * (MAX_LISTED as u64 + 2));
        assert_eq!((coverage.redecoded_chunks, coverage.uncovered.len()), (2, MAX_LISTED));
        let warnings = findings.warnings();
        assert_eq!(warnings.len(), MAX_WARNED + 2);
        assert_eq!(warnings[MAX_WARNED].code, "text_dropped");
        assert!(warnings[MAX_WARNED + 1].message.starts_with("2 more"));
    }

    #[test]
    fn without_the_check_there_is_no_coverage() {
        let mut findings = Findings::new(ReviewChecks { guard: false, coverage: false });
        findings.add(reviewed(0, 0));
        assert_eq!(findings.coverage, None);
        assert!(findings.warnings().is_empty());
    }
}
