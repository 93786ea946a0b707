//! Which differences make a series one that can be modelled.

use crate::forecast::seasonality::strength;

/// Strength of a season from which on differences against the season before are taken (the limit
/// of `nsdiffs` in the R package `forecast`).
const STRONG: f64 = 0.64;
/// 5 % point of the statistic of Kwiatkowski and others for a level (their table 1).
const KPSS_LEVEL: f64 = 0.463;
/// Differences from value to value, at most.
const DIFFERENCES_MAX: usize = 2;
/// Values that remain after differences, at least.
const LEFT_MIN: usize = 4;

/// A series after differences.
#[derive(Debug, Clone, PartialEq)]
pub struct Differences {
    /// Length of the season, 1 where the series is too short for it.
    pub season: usize,
    /// Whether the season before was subtracted.
    pub seasonal: bool,
    /// How many times the value before was subtracted.
    pub order: usize,
    /// What remains.
    pub values: Vec<f64>,
}

impl Differences {
    /// Takes the differences that `values` want.
    pub fn of(values: &[f64], season: usize) -> Self {
        let season = if values.len() >= 2 * season + LEFT_MIN { season } else { 1 };
        let seasonal = season > 1 && strength(values, season) > STRONG;
        let mut left = if seasonal { lagged(values, season) } else { values.to_vec() };
        let mut order = 0;
        while order < DIFFERENCES_MAX && left.len() > LEFT_MIN && kpss(&left) > KPSS_LEVEL {
            left = lagged(&left, 1);
            order += 1;
        }
        Self { season, seasonal, order, values: left }
    }

    /// Whether a mean of what remains would be a trend of at most the first degree.
    pub fn may_have_mean(&self) -> bool {
        self.order + usize::from(self.seasonal) <= 1
    }

    /// Forecasts of what remains as forecasts of `values`, of which it remained.
    pub fn undo(&self, values: &[f64], steps: &[f64]) -> Vec<f64> {
        let mut before = vec![];
        let mut left = values.to_vec();
        if self.seasonal {
            before.push((self.season, left.clone()));
            left = lagged(&left, self.season);
        }
        for _ in 0..self.order {
            before.push((1, left.clone()));
            left = lagged(&left, 1);
        }
        before.into_iter().rev().fold(steps.to_vec(), |steps, (lag, of)| integrate(of, lag, &steps))
    }
}

fn lagged(values: &[f64], lag: usize) -> Vec<f64> {
    values.iter().zip(&values[lag..]).map(|(before, value)| value - before).collect()
}

fn integrate(mut values: Vec<f64>, lag: usize, steps: &[f64]) -> Vec<f64> {
    let known = values.len();
    steps.iter().for_each(|step| values.push(values[values.len() - lag] + step));
    values.split_off(known)
}

/// The statistic of Kwiatkowski and others for a level: mean square of the running sums of
/// departures from the mean, in units of their long-run variance (weights of Bartlett, as many lags
/// as Schwert's shorter rule says).
fn kpss(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let departures: Vec<f64> = values.iter().map(|v| v - mean).collect();
    let lags = (4.0 * (n / 100.0).powf(0.25)) as usize;
    let product =
        |lag: usize| departures.iter().zip(&departures[lag..]).map(|(a, b)| a * b).sum::<f64>() / n;
    let weight = |lag: usize| 1.0 - lag as f64 / (lags as f64 + 1.0);
    let later: f64 = (1..=lags).map(|lag| 2.0 * weight(lag) * product(lag)).sum();
    let variance = product(0) + later;
    let (mut sum, mut squares) = (0.0, 0.0);
    for departure in &departures {
        sum += departure;
        squares += sum * sum;
    }
    if variance > f64::EPSILON * (1.0 + mean * mean) { squares / (n * n * variance) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_are_differenced_and_noise_is_not() {
        let mut rng = fastrand::Rng::with_seed(4);
        let noise: Vec<f64> = (0..200).map(|_| rng.f64() - 0.5).collect();
        let sums = |of: &[f64]| {
            let mut sum = 0.0;
            of.iter()
                .map(|v| {
                    sum += v;
                    sum
                })
                .collect::<Vec<f64>>()
        };
        let walk = sums(&noise);
        let orders = [&noise, &walk, &sums(&walk)].map(|values| Differences::of(values, 1).order);
        assert_eq!(orders, [0, 1, 2]);
    }

    #[test]
    fn differences_are_undone() {
        let values: Vec<f64> =
            (0..40).map(|t| f64::from(t * t) + 300.0 * f64::from(t % 4)).collect();
        let known = Differences::of(&values[..32], 4);
        assert!(known.seasonal && known.order >= 1, "{known:?}");
        let mut left = lagged(&values, 4);
        (0..known.order).for_each(|_| left = lagged(&left, 1));
        let undone = known.undo(&values[..32], &left[left.len() - 8..]);
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
        assert!(undone.iter().zip(&values[32..]).all(near), "{undone:?}");
    }

    #[test]
    fn a_statistic_matches_the_one_computed_by_hand() {
        // Departures −1.5, −0.5, 0.5, 1.5; sums −1.5, −2, −1.5, 0; one lag of weight one half.
        let expected = 8.5 / (16.0 * (1.25 + 2.0 * 0.5 * 1.25 / 4.0));
        assert!((kpss(&[1.0, 2.0, 3.0, 4.0]) - expected).abs() < 1e-12);
        assert_eq!(kpss(&[3.0; 9]), 0.0);
    }
}
