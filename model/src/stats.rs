//! Statistics that every task uses: quantiles of errors, and whether a difference means anything.

use statrs::distribution::{ContinuousCDF, Normal};

/// The split-conformal quantile of sorted scores: the smallest one that covers `level` of
/// exchangeable future values, with the finite-sample correction `⌈(n + 1)·level⌉ / n` (Vovk et al.
/// 2005).
pub fn conformal_quantile(sorted: &[f64], level: f64) -> Option<f64> {
    let rank = ((sorted.len() + 1) as f64 * level).ceil() as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).copied()
}

/// The median: of an even number of values the mean of the two in the middle; none of no values.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(values[middle - 1].midpoint(values[middle])),
    }
}

/// Probability below which a difference is no chance.
pub const BY_CHANCE: f64 = 0.05;
/// Differences below which the signed-rank test says nothing.
pub const PAIRS_MIN: usize = 6;

/// Two-sided p-value of Wilcoxon's signed-rank test (1945) that paired differences are centred at
/// zero, by the normal approximation with corrections for ties and continuity. `None` for fewer
/// than six differences that are not zero: the approximation, and any claim, would be empty.
pub fn signed_rank_p_value(differences: &[f64]) -> Option<f64> {
    let mut ranked: Vec<f64> =
        differences.iter().copied().filter(|d| *d != 0.0 && d.is_finite()).collect();
    let n = ranked.len();
    if n < PAIRS_MIN {
        return None;
    }
    ranked.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let (mut positive, mut ties, mut at) = (0.0, 0.0, 0);
    while at < n {
        let end = (at..n).find(|&i| ranked[i].abs() > ranked[at].abs()).unwrap_or(n);
        let rank = (at + 1 + end) as f64 / 2.0;
        positive += rank * ranked[at..end].iter().filter(|d| **d > 0.0).count() as f64;
        let size = (end - at) as f64;
        ties += size.powi(3) - size;
        at = end;
    }
    let n = n as f64;
    let mean = n * (n + 1.0) / 4.0;
    let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0;
    let z = ((positive - mean).abs() - 0.5).max(0.0) / variance.sqrt();
    Some((2.0 * Normal::standard().sf(z)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conformal_quantile_corrects_for_few_scores() {
        let scores: Vec<f64> = (1..=9).map(f64::from).collect();
        assert_eq!(
            (conformal_quantile(&scores, 0.9), conformal_quantile(&scores, 0.5)),
            (Some(9.0), Some(5.0))
        );
        assert_eq!(conformal_quantile(&[], 0.5), None);
    }

    #[test]
    fn the_signed_rank_test_agrees_with_published_values() {
        // Hollander and Wolfe, depression scores: V = 40 of n = 9, exact two-sided p = 0.0391.
        let before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30];
        #[expect(clippy::approx_constant, reason = "a score, not a circle")]
        let after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
        let differences: Vec<f64> = before.iter().zip(after).map(|(b, a)| b - a).collect();
        let p = signed_rank_p_value(&differences).expect("enough");
        assert!((p - 0.0391).abs() < 0.006, "{p}");
        assert!(signed_rank_p_value(&[1.0, 2.0]).is_none());
        assert!(signed_rank_p_value(&[1.0, -1.0, 2.0, -2.0, 3.0, -3.0]).expect("enough") > 0.9);
    }
}
