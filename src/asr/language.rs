//! The language of a recording from several windows. Pure.
//!
//! One window decides badly: it may hold a jingle, a name or a greeting in another language. So up to a
//! few chunks, spread over the recording, are heard and their probabilities averaged. Codes and names of
//! languages live in `crate::language`.

use crate::language::Language;
use crate::time::{Chunk, TimeSpan};

/// How many chunks are heard to decide the language.
pub const DETECTION_WINDOWS: usize = 3;

/// Indices, ascending, of the chunks to hear: at most `count`, the longest of each of `count` equal
/// parts of the recording; where a part has none, the longest of the others instead. No chunks give none.
///
/// `chunks` are those known so far, ordered by time.
pub fn pick_windows(chunks: &[Chunk], count: usize) -> Vec<usize> {
    let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { return Vec::new() };
    let whole = TimeSpan::new(first.span.start, last.span.end);
    let part = |chunk: &Chunk| {
        let offset = u128::from(chunk.span.midpoint().saturating_sub(whole.start));
        (offset * count as u128 / u128::from(whole.len().max(1))) as usize
    };
    // Of equal lengths the earlier is preferred.
    let mut by_length: Vec<usize> = (0..chunks.len()).collect();
    by_length.sort_by_key(|&index| std::cmp::Reverse(chunks[index].owned.len()));

    let mut picked: Vec<usize> = Vec::new();
    for wanted in 0..count {
        picked.extend(by_length.iter().copied().find(|&index| part(&chunks[index]) == wanted));
    }
    let missing = count.saturating_sub(picked.len());
    let spare: Vec<usize> = by_length.into_iter().filter(|index| !picked.contains(index)).collect();
    picked.extend(spare.into_iter().take(missing));
    picked.sort_unstable();
    picked
}

/// The most probable of `candidates` (empty: of all languages) over several windows, and its probability
/// in [0, 1] among the candidates.
///
/// `windows` holds, for each window heard, the probability of every language by Whisper's id; all windows
/// count alike, and languages past a row's end (English-only and older models) are improbable there. When
/// the windows say nothing about the candidates, the first candidate (or English) is given with
/// probability 0.
pub fn decide(windows: &[Vec<f32>], candidates: &[Language]) -> (Language, f32) {
    let all: Vec<Language> = (0..Language::COUNT).filter_map(Language::from_id).collect();
    let candidates = if candidates.is_empty() { &all } else { candidates };
    let sum_of = |language: &Language| -> f64 {
        let values = windows.iter().filter_map(|window| window.get(language.id()));
        values.filter(|value| value.is_finite() && **value > 0.0).map(|&value| f64::from(value)).sum()
    };
    let mut seen: Vec<Language> = Vec::new();
    let (mut best, mut best_sum, mut total) = (candidates[0], 0.0, 0.0);
    for &language in candidates {
        if seen.contains(&language) {
            continue;
        }
        seen.push(language);
        let sum = sum_of(&language);
        total += sum;
        if sum > best_sum {
            (best, best_sum) = (language, sum);
        }
    }
    if total > 0.0 { (best, ((best_sum / total) as f32).clamp(0.0, 1.0)) } else { (best, 0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(spans: &[(u64, u64)]) -> Vec<Chunk> {
        spans
            .iter()
            .map(|&(start, end)| {
                let span = TimeSpan::new(start, end);
                Chunk { span, owned: span }
            })
            .collect()
    }

    fn language(code: &str) -> Language {
        Language::parse(code).unwrap()
    }

    fn window(probabilities: &[(&str, f32)]) -> Vec<f32> {
        let mut row = vec![0.0; Language::COUNT];
        for (code, probability) in probabilities {
            row[language(code).id()] = *probability;
        }
        row
    }

    #[test]
    fn the_longest_chunk_of_each_third_is_heard() {
        let chunks = chunks(&[(0, 5), (6, 30), (31, 40), (41, 49), (50, 60), (60, 70), (71, 90)]);
        assert_eq!(pick_windows(&chunks, 3), [1, 4, 6]);
    }

    #[test]
    fn with_few_chunks_all_are_heard_and_without_any_none() {
        assert_eq!(pick_windows(&chunks(&[(0, 5), (90, 95)]), 3), [0, 1]);
        assert_eq!(pick_windows(&[], 3), [0; 0]);
        assert_eq!(pick_windows(&chunks(&[(7, 7)]), 3), [0]);
        assert_eq!(pick_windows(&chunks(&[(0, 5)]), 0), [0; 0]);
    }

    #[test]
    fn an_empty_third_is_made_up_for_by_the_longest_of_the_rest() {
        let chunks = chunks(&[(0, 2), (3, 9), (10, 14), (80, 90)]);
        assert_eq!(pick_windows(&chunks, 3), [1, 2, 3]);
    }

    #[test]
    fn windows_are_averaged() {
        let windows = [
            window(&[("de", 0.4), ("en", 0.6)]),
            window(&[("de", 0.9), ("en", 0.1)]),
            window(&[("de", 0.8), ("en", 0.2)]),
        ];
        let (decided, probability) = decide(&windows, &[]);
        assert_eq!(decided, language("de"));
        assert!((probability - 0.7).abs() < 1e-6);
    }

    #[test]
    fn candidates_restrict_the_choice_and_share_the_probability() {
        let windows = [window(&[("de", 0.6), ("nl", 0.3), ("en", 0.1)])];
        let (decided, probability) = decide(&windows, &[language("en"), language("nl"), language("nl")]);
        assert_eq!(decided, language("nl"));
        assert!((probability - 0.75).abs() < 1e-6);
    }

    #[test]
    fn an_english_only_model_decides_for_english() {
        assert_eq!(decide(&[vec![1.0]], &[]), (Language::ENGLISH, 1.0));
    }

    #[test]
    fn windows_that_say_nothing_give_the_first_candidate_without_confidence() {
        assert_eq!(decide(&[], &[]), (Language::ENGLISH, 0.0));
        assert_eq!(decide(&[vec![f32::NAN, f32::INFINITY]], &[]), (Language::ENGLISH, 0.0));
        assert_eq!(decide(&[vec![1.0]], &[language("fr"), language("de")]), (language("fr"), 0.0));
    }
}
