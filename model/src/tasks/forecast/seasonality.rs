//! Whether a series has a season, and taking it out: the classical decomposition that the M3 and M4
//! competitions used for their benchmarks.

/// Whether the autocorrelation at `season` is significant at the 90 % level, by the test of the M4
/// competition's benchmarks (Bartlett's approximation, one-sided quantile 1.645).
pub fn is_seasonal(values: &[f64], season: usize) -> bool {
    if season < 2 || values.len() < 3 * season {
        return false;
    }
    let correlations: Vec<f64> = (1..=season).map(|lag| autocorrelation(values, lag)).collect();
    let before: f64 = correlations[..season - 1].iter().map(|r| r * r).sum();
    let limit = 1.645 * ((1.0 + 2.0 * before) / values.len() as f64).sqrt();
    correlations[season - 1].abs() > limit
}

fn autocorrelation(values: &[f64], lag: usize) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let covariance: f64 =
        values.iter().zip(&values[lag..]).map(|(a, b)| (a - mean) * (b - mean)).sum();
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

/// Seasonal indices of a series: what to divide by (multiplicative) or to subtract (additive).
#[derive(Debug, Clone, PartialEq)]
pub struct Indices {
    values: Vec<f64>,
    multiplicative: bool,
    len: usize,
}

impl Indices {
    /// Classical decomposition with a centred moving average; multiplicative when every value is
    /// positive. `None` when there is no season to take out.
    pub fn estimate(values: &[f64], season: usize) -> Option<Self> {
        if !is_seasonal(values, season) {
            return None;
        }
        let multiplicative = values.iter().all(|&v| v > 0.0);
        let trend = centred_average(values, season);
        let (mut sums, mut counts) = (vec![0.0; season], vec![0.0f64; season]);
        for (index, (value, trend)) in values.iter().zip(&trend).enumerate() {
            let Some(trend) = trend else { continue };
            sums[index % season] += if multiplicative { value / trend } else { value - trend };
            counts[index % season] += 1.0;
        }
        let mut indices: Vec<f64> = sums.iter().zip(&counts).map(|(s, n)| s / n.max(1.0)).collect();
        let mean = indices.iter().sum::<f64>() / season as f64;
        indices.iter_mut().for_each(|i| if multiplicative { *i /= mean } else { *i -= mean });
        let usable = !multiplicative || indices.iter().all(|&i| i > 1e-3);
        usable.then_some(Self { values: indices, multiplicative, len: values.len() })
    }

    /// The series without its season.
    pub fn remove(&self, values: &[f64]) -> Vec<f64> {
        let one = |(at, v): (usize, &f64)| {
            let index = self.values[at % self.values.len()];
            if self.multiplicative { v / index } else { v - index }
        };
        values.iter().enumerate().map(one).collect()
    }

    /// The season put back onto a forecast `step` steps after the end, from 1.
    pub fn restore(&self, value: f64, step: usize) -> f64 {
        let index = self.values[(self.len + step - 1) % self.values.len()];
        if self.multiplicative { value * index } else { value + index }
    }
}

/// Strength of a season, from 0 to 1: the share of what is not trend that the mean season explains
/// (Wang, Smith and Hyndman 2006, on the classical decomposition).
pub fn strength(values: &[f64], season: usize) -> f64 {
    if season < 2 || values.len() < 2 * season {
        return 0.0;
    }
    let trend = centred_average(values, season);
    let apart = || {
        let apart = values.iter().zip(&trend).enumerate();
        apart.filter_map(|(at, (value, trend))| Some((at % season, value - (*trend)?)))
    };
    let (mut sums, mut counts) = (vec![0.0; season], vec![0.0f64; season]);
    apart().for_each(|(phase, v)| {
        (sums[phase], counts[phase]) = (sums[phase] + v, counts[phase] + 1.0)
    });
    let middle = sums.iter().sum::<f64>() / counts.iter().sum::<f64>().max(1.0);
    let squares =
        |of: &dyn Fn(usize, f64) -> f64| apart().map(|(p, v)| of(p, v).powi(2)).sum::<f64>();
    let whole = squares(&|_, v| v - middle);
    // Each mean has taken as much of the noise as one value of its phase has.
    let freedom = |p: usize| (counts[p] / (counts[p] - 1.0).max(0.5)).sqrt();
    let rest = squares(&|p, v| (v - sums[p] / counts[p].max(1.0)) * freedom(p));
    if whole > 0.0 { (1.0 - rest / whole).max(0.0) } else { 0.0 }
}

fn centred_average(values: &[f64], season: usize) -> Vec<Option<f64>> {
    let half = season / 2;
    let at = |i: usize| {
        if i < half || i + half >= values.len() {
            return None;
        }
        let window = &values[i - half..=i + half];
        let sum: f64 = window.iter().sum();
        // With an even season the window is one too long; its ends count half.
        let sum =
            if season.is_multiple_of(2) { sum - 0.5 * (window[0] + window[season]) } else { sum };
        Some(sum / season as f64)
    };
    (0..values.len()).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seasonal(n: usize) -> Vec<f64> {
        (0..n).map(|i| (100.0 + i as f64) * [0.8, 1.0, 1.3, 0.9][i % 4]).collect()
    }

    #[test]
    fn a_season_is_found_removed_and_restored() {
        let values = seasonal(32);
        let indices = Indices::estimate(&values, 4).expect("a season");
        let flat = indices.remove(&values);
        assert!(
            flat.iter().enumerate().all(|(i, v)| (v - 100.0 - i as f64).abs() < 3.0),
            "{flat:?}"
        );
        assert!((indices.restore(132.0, 1) - 132.0 * 0.8).abs() < 3.0);
    }

    #[test]
    fn a_season_is_as_strong_as_it_explains_what_is_no_trend() {
        let mut rng = fastrand::Rng::with_seed(3);
        let noise: Vec<f64> = (0..120).map(|_| rng.f64()).collect();
        assert!(strength(&noise, 12) < 0.2, "{}", strength(&noise, 12));
        assert!(strength(&seasonal(32), 4) > 0.95);
        assert_eq!(strength(&[1.0; 40], 4), 0.0);
        assert_eq!(strength(&seasonal(7), 4), 0.0);
    }

    #[test]
    fn noise_and_short_series_have_no_season() {
        let mut rng = fastrand::Rng::with_seed(3);
        let noise: Vec<f64> = (0..60).map(|_| rng.f64()).collect();
        assert!(!is_seasonal(&noise, 12));
        assert!(Indices::estimate(&seasonal(11), 4).is_none());
        assert!(!is_seasonal(&[1.0; 40], 4), "a constant series");
    }
}
