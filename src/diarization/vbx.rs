//! VBx: a variational mixture over PLDA features that refines a first guess of who is who, and lets go of speakers
//! that the features do not need (Landini et al. 2022, "Bayesian HMM clustering of x-vector sequences"; without the
//! Markov chain, as in pyannote.audio's community-1). Pure.
//!
//! Knows nothing of where features come from. Read next: `method`, which has its settings.

/// Rounds at most.
const ROUNDS: usize = 20;
/// Ends when a round gains less than this in the evidence bound.
const GAIN: f64 = 1e-4;
/// How sure the first guess is: responsibilities start as softmax of this for the guessed speaker, 0 for the others.
const FIRST_GUESS: f64 = 7.0;
/// Keeps the logarithm of a speaker's share finite.
const LEAST_SHARE: f64 = 1e-8;

/// How strongly evidence and speakers' count weigh.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strength {
    /// Scale of the evidence: lower where windows overlap more and tell the same again.
    pub fa: f64,
    /// Scale of the price of a speaker: higher gives fewer.
    pub fb: f64,
}

/// What is to be explained.
pub(super) struct Evidence<'a> {
    /// PLDA features, within-speaker covariance the identity; (n) of (d).
    pub features: Vec<&'a [f64]>,
    /// How many equal features each stands for; (n).
    pub weights: Vec<f64>,
    /// Between-speaker variances; (d).
    pub phi: &'a [f64],
}

/// Who speaks what.
pub(super) struct Shares {
    /// Responsibility of each speaker for each feature; (n × speakers), rows sum to 1.
    pub of_features: Vec<f64>,
    /// Share of each speaker in all features; (speakers), sums to 1.
    pub of_speakers: Vec<f64>,
}

/// Refines `labels`, the first guess, one label below `speakers` for each feature.
pub(super) fn refine(
    evidence: &Evidence<'_>,
    labels: &[usize],
    speakers: usize,
    strength: Strength,
) -> Shares {
    let mut shares = first_guess(labels, speakers);
    let rho: Vec<Vec<f64>> = evidence
        .features
        .iter()
        .map(|feature| feature.iter().zip(evidence.phi).map(|(x, phi)| x * phi.sqrt()).collect())
        .collect();
    let mut bound = f64::NEG_INFINITY;
    for _ in 0..ROUNDS {
        let models = models(evidence, &rho, &shares, strength);
        let next = explain(evidence, &rho, &models, strength, &mut shares) + price(&models, strength.fb);
        if next - bound < GAIN {
            break;
        }
        bound = next;
    }
    shares
}

fn first_guess(labels: &[usize], speakers: usize) -> Shares {
    let other = 1.0 / (FIRST_GUESS.exp() + speakers as f64 - 1.0);
    let mut of_features = vec![other; labels.len() * speakers];
    for (row, label) in of_features.chunks_exact_mut(speakers.max(1)).zip(labels) {
        row[*label] = other * FIRST_GUESS.exp();
    }
    Shares { of_features, of_speakers: vec![1.0 / speakers as f64; speakers] }
}

/// Posterior of a speaker's voice: mean and variance by dimension.
struct Model {
    mean: Vec<f64>,
    variance: Vec<f64>,
}

/// The speakers' voices, given who speaks what (equations 16 and 17).
fn models(evidence: &Evidence<'_>, rho: &[Vec<f64>], shares: &Shares, strength: Strength) -> Vec<Model> {
    let (ratio, width) = (strength.fa / strength.fb, evidence.phi.len());
    let speakers = shares.of_speakers.len();
    let mut sums = vec![(0.0, vec![0.0; width]); speakers];
    for ((row, rho), weight) in shares.of_features.chunks_exact(speakers).zip(rho).zip(&evidence.weights) {
        for (share, (count, sum)) in row.iter().zip(&mut sums) {
            let share = share * weight;
            *count += share;
            sum.iter_mut().zip(rho).for_each(|(sum, x)| *sum += share * x);
        }
    }
    let model = |(count, sum): (f64, Vec<f64>)| {
        let variance: Vec<f64> = evidence.phi.iter().map(|phi| 1.0 / (1.0 + ratio * count * phi)).collect();
        let mean = variance.iter().zip(sum).map(|(variance, sum)| ratio * variance * sum).collect();
        Model { mean, variance }
    };
    sums.into_iter().map(model).collect()
}

/// Shares anew, given the voices (equations 23 and 24). Gives the evidence's part of the bound.
fn explain(
    evidence: &Evidence<'_>,
    rho: &[Vec<f64>],
    models: &[Model],
    strength: Strength,
    shares: &mut Shares,
) -> f64 {
    let prior: Vec<f64> = models
        .iter()
        .zip(&shares.of_speakers)
        .map(|(model, share)| {
            let spread: f64 = model
                .mean
                .iter()
                .zip(&model.variance)
                .zip(evidence.phi)
                .map(|((mean, variance), phi)| (variance + mean * mean) * phi)
                .sum();
            (share + LEAST_SHARE).ln() - strength.fa * 0.5 * spread
        })
        .collect();
    let mut heard = vec![0.0; models.len()];
    let mut bound = 0.0;
    let rows = shares.of_features.chunks_exact_mut(models.len().max(1));
    for (((row, rho), feature), weight) in rows.zip(rho).zip(&evidence.features).zip(&evidence.weights) {
        for ((share, model), prior) in row.iter_mut().zip(models).zip(&prior) {
            *share = prior + strength.fa * rho.iter().zip(&model.mean).map(|(x, mean)| x * mean).sum::<f64>();
        }
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = row.iter().map(|log| (log - most).exp()).sum();
        for (share, heard) in row.iter_mut().zip(&mut heard) {
            *share = (*share - most).exp() / total;
            *heard += *share * weight;
        }
        bound += weight * (most + total.ln() + strength.fa * standard_log_density(feature));
    }
    let all: f64 = heard.iter().sum();
    shares.of_speakers = heard.into_iter().map(|heard| heard / all).collect();
    bound
}

/// Logarithm of the standard normal density.
fn standard_log_density(feature: &[f64]) -> f64 {
    let square: f64 = feature.iter().map(|x| x * x).sum();
    -0.5 * (square + feature.len() as f64 * std::f64::consts::TAU.ln())
}

/// The speakers' part of the bound: how far their voices are from the prior (equation 25).
fn price(models: &[Model], fb: f64) -> f64 {
    let of = |mean: &f64, variance: &f64| variance.ln() - variance - mean * mean + 1.0;
    let all: f64 = models
        .iter()
        .map(|model| {
            model.mean.iter().zip(&model.variance).map(|(mean, variance)| of(mean, variance)).sum::<f64>()
        })
        .sum();
    fb * 0.5 * all
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRENGTH: Strength = Strength { fa: 0.4, fb: 1.0 };

    fn evidence(features: &[[f64; 2]]) -> Evidence<'_> {
        Evidence {
            features: features.iter().map(|feature| &feature[..]).collect(),
            weights: vec![1.0; features.len()],
            phi: &[9.0, 4.0],
        }
    }

    fn speaker_of(shares: &Shares, feature: usize) -> usize {
        let row = &shares.of_features[feature * shares.of_speakers.len()..][..shares.of_speakers.len()];
        (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap()
    }

    #[test]
    fn two_voices_stay_two_and_a_wrong_guess_is_put_right() {
        let features = [[4.0, 0.1], [3.9, -0.2], [4.2, 0.0], [-4.0, 0.3], [-4.1, 0.0], [-3.8, 0.1]];
        let shares = refine(&evidence(&features), &[0, 0, 1, 1, 1, 1], 2, STRENGTH);
        assert_eq!((0..6).map(|i| speaker_of(&shares, i)).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
        assert!((shares.of_speakers[0] - 0.5).abs() < 0.01);
    }

    #[test]
    fn a_voice_guessed_twice_becomes_one() {
        let features: Vec<[f64; 2]> =
            (0..40).map(|i| [3.0 + 0.3 * f64::from(i % 5), 0.2 * f64::from(i % 3)]).collect();
        let labels: Vec<usize> = (0..40).map(|i| usize::from(i % 8 == 0)).collect();
        let shares = refine(&evidence(&features), &labels, 2, Strength { fa: 0.8, fb: 20.0 });
        assert!(shares.of_speakers[1] < 1e-3, "{:?}", shares.of_speakers);
    }

    #[test]
    fn a_weight_is_as_many_equal_features() {
        let twice = [[2.0, 0.5], [2.0, 0.5], [-2.0, 0.0]];
        let many = refine(&evidence(&twice), &[0, 0, 1], 2, STRENGTH);
        let once =
            Evidence { features: vec![&twice[0], &twice[2]], weights: vec![2.0, 1.0], phi: &[9.0, 4.0] };
        let few = refine(&once, &[0, 1], 2, STRENGTH);
        for (a, b) in many.of_speakers.iter().zip(&few.of_speakers) {
            assert!((a - b).abs() < 1e-12);
        }
    }

    #[test]
    fn degenerate_features_give_numbers() {
        for features in [vec![[0.0, 0.0]; 3], vec![[1e6, -1e6]; 3], vec![[1e-30, 0.0]]] {
            let labels: Vec<usize> = (0..features.len()).collect();
            let shares = refine(&evidence(&features), &labels, labels.len(), STRENGTH);
            assert!(shares.of_features.iter().chain(&shares.of_speakers).all(|share| share.is_finite()));
            for row in shares.of_features.chunks_exact(labels.len()) {
                assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            }
        }
    }
}
