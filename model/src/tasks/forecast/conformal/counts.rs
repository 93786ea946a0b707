//! Small counts: their intervals are made of a negative binomial distribution (Hilbe, Negative
//! Binomial Regression, 2011) around the forecast, so that they end at whole numbers.
//!
//! Its mean is the forecast times one factor, as forecasts on a scale of logarithms lie below the
//! mean of skewed counts, and its variance `mean + dispersion · mean²`; both are found on the
//! backtest. How far a count is from its forecast is its probability under that distribution, as
//! the normal quantile of it; from there on, calibration is that of any other error. So what the
//! distribution has wrong is corrected as the model's own spread is.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// Least mean of the distribution: what was forecast to be nothing may happen.
const MEAN_MIN: f64 = 0.02;
/// From this mean on the distribution is taken for a normal one.
const MEAN_LARGE: f64 = 500.0;
/// Probabilities nearer to 0 or 1 are not told apart.
const NEAREST: f64 = 1e-6;
/// The golden ratio's share: its multiples are spread evenly between 0 and 1.
const EVENLY: f64 = 0.618_033_988_749_894_9;

/// What counts are beside their forecasts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Mean count, as a multiple of the forecast.
    pub factor: f64,
    /// Variance beyond that of independent events, as a share of the squared mean.
    pub dispersion: f64,
}

impl Counts {
    /// Of pairs of a forecast and the count that came.
    pub fn of(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> Self {
        let total = |of: fn((f64, f64)) -> f64| pairs.clone().map(of).sum::<f64>();
        let (forecast, actual) = (total(|pair| pair.0), total(|pair| pair.1));
        let factor = if forecast > 0.0 { (actual / forecast).clamp(0.5, 3.0) } else { 1.0 };
        let plain = Self { factor, dispersion: 0.0 };
        let (mut beyond, mut squares) = (0.0, 0.0);
        for (point, actual) in pairs {
            let mean = plain.mean(point);
            beyond += (actual - mean).powi(2) - mean;
            squares += mean * mean;
        }
        let dispersion = if squares > 0.0 { (beyond / squares).clamp(0.0, 10.0) } else { 0.0 };
        Self { dispersion, ..plain }
    }

    /// Whether it is what [`Counts::of`] can give.
    pub fn is_usable(self) -> bool {
        (0.5..=3.0).contains(&self.factor) && (0.0..=10.0).contains(&self.dispersion)
    }

    fn mean(self, point: f64) -> f64 {
        (self.factor * point).max(MEAN_MIN)
    }

    fn deviation(self, mean: f64) -> f64 {
        (mean + self.dispersion * mean * mean).sqrt()
    }

    /// Probabilities of 0, 1, 2 and so on.
    fn masses(self, mean: f64) -> impl Iterator<Item = f64> {
        let spread = self.dispersion * mean;
        let none = match self.dispersion > 0.0 {
            true => (-spread.ln_1p() / self.dispersion).exp(),
            false => (-mean).exp(),
        };
        let next = move |(count, mass): &(f64, f64)| {
            let ratio = (mean + spread * count) / (1.0 + spread) / (count + 1.0);
            Some((count + 1.0, mass * ratio))
        };
        std::iter::successors(Some((0.0, none)), next).map(|(_, mass)| mass)
    }

    /// How far the count that came is from its forecast: the normal quantile of its probability.
    /// Of the probabilities that one count has, the `number`-th case takes one.
    pub fn distance(self, (point, actual): (f64, f64), number: usize) -> f64 {
        let mean = self.mean(point);
        if mean > MEAN_LARGE {
            return (actual - mean) / self.deviation(mean);
        }
        let (mut below, mut at) = (0.0, 0.0);
        for mass in self.masses(mean).take(actual as usize + 1) {
            (below, at) = (below + at, mass);
            // So far up nothing is told apart, and a count may be a billion.
            if below >= 1.0 - NEAREST {
                break;
            }
        }
        let share = (number as f64 * EVENLY).fract();
        normal().inverse_cdf((below + share * at).clamp(NEAREST, 1.0 - NEAREST))
    }

    /// The count that is this far from a forecast, at most `most`.
    pub fn at(self, point: f64, distance: f64, most: f64) -> f64 {
        let mean = self.mean(point);
        if mean > MEAN_LARGE {
            return (mean + distance * self.deviation(mean)).ceil().clamp(0.0, most);
        }
        let wanted = normal().cdf(distance).clamp(NEAREST, 1.0 - NEAREST);
        let (mut count, mut up_to) = (0.0, 0.0);
        for mass in self.masses(mean) {
            up_to += mass;
            if up_to >= wanted || count >= most {
                break;
            }
            count += 1.0;
        }
        count.min(most)
    }
}

fn normal() -> Normal {
    Normal::standard()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_the_tables() {
        let of = |dispersion, mean| {
            let counts = Counts { factor: 1.0, dispersion };
            counts.masses(mean).take(4).collect::<Vec<f64>>()
        };
        let near = |found: Vec<f64>, expected: [f64; 4]| {
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12)
        };
        let e = (-2f64).exp();
        assert!(near(of(0.0, 2.0), [e, 2.0 * e, 2.0 * e, 4.0 / 3.0 * e]));
        // With dispersion 1 it is the geometric distribution.
        assert!(near(of(1.0, 3.0), [0.25, 0.1875, 0.140_625, 0.105_468_75]));
        for (dispersion, mean) in [(0.0, 400.0), (0.3, 20.0), (2.0, 0.1)] {
            let counts = Counts { factor: 1.0, dispersion };
            let masses: Vec<f64> = counts.masses(mean).take(5_000).collect();
            let moment =
                |power| masses.iter().enumerate().map(|(k, m)| (k as f64).powi(power) * m).sum();
            let (all, first, second): (f64, f64, f64) = (moment(0), moment(1), moment(2));
            assert!((all - 1.0).abs() < 1e-9 && (first / mean - 1.0).abs() < 1e-9);
            let deviation = (second - first * first).sqrt();
            assert!((deviation / counts.deviation(mean) - 1.0).abs() < 1e-6, "{deviation}");
        }
    }

    #[test]
    fn a_count_is_as_far_away_as_its_distance_says() {
        let counts = Counts { factor: 1.2, dispersion: 0.4 };
        for point in [0.0, 0.3, 4.0, 90.0, 3e4] {
            for actual in [0.0, 1.0, 7.0, 120.0, 31_000.0] {
                let found = counts.at(point, counts.distance((point, actual), 3), f64::MAX);
                // What is further than a probability of a millionth is not told apart.
                let far = counts.distance((point, actual), 3).abs() > 4.7;
                assert!(far || (found - actual).abs() <= 1.0, "{point} {actual}: {found}");
            }
        }
        assert_eq!(counts.at(4.0, 9.0, 12.0), 12.0);
    }

    #[test]
    fn factor_and_dispersion_are_found_again() {
        let pairs = (0..9_000).map(|i| (2.0, if i % 3 == 0 { 9.0 } else { 0.0 }));
        let found = Counts::of(pairs);
        // Mean 3, variance 18.
        let dispersion = (18.0 - 3.0) / 9.0;
        assert!((found.factor - 1.5).abs() < 1e-12 && (found.dispersion - dispersion).abs() < 1e-9);
        let nothing = Counts::of(std::iter::repeat_n((0.0, 0.0), 5));
        assert!(nothing.is_usable() && nothing.at(0.0, 0.0, 3.0) == 0.0);
    }
}
