//! From numbers of any scale to tail probabilities, and from those to scores.

use serde::{Deserialize, Serialize};

/// Values below which moments say nothing.
const COUNT_MIN: usize = 30;
/// Differences from the mean that rounding can make, relative to it.
const ROUNDING: f64 = 1e-9;
/// Powers of ten of the smallest tail probability that is told from smaller ones.
const DECADES: f64 = 10.0;

/// The score of a distance from the mean, in standard deviations: minus the decimal logarithm of
/// the normal distribution's tail probability on both sides, in tenths, between 0 and 1.
///
/// Numenta's log likelihood is the same scale. What is below the mean is usual and scores 0; who
/// looks at both sides asks with the absolute distance. Scores of distributions with heavier tails
/// than the normal's are too high, so a threshold is to be chosen on data, not from this formula.
pub fn tail_score(distance: f64) -> f64 {
    if distance <= 0.0 {
        return 0.0;
    }
    let probability = libm::erfc(distance / std::f64::consts::SQRT_2);
    (-libm::log10(probability) / DECADES).clamp(0.0, 1.0)
}

/// Running mean and variance (Welford 1962) of the last values, in constant space.
///
/// All values count alike until there are `memory` of them; from then on the older ones fade
/// exponentially with that time constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    memory: usize,
    count: usize,
    mean: f64,
    variance: f64,
}

impl Moments {
    /// Moments of nothing yet.
    pub fn new(memory: usize) -> Self {
        Self { memory, count: 0, mean: 0.0, variance: 0.0 }
    }

    /// Takes a value in.
    pub fn add(&mut self, value: f64) {
        self.count = (self.count + 1).min(self.memory);
        let (weight, difference) = (1.0 / self.count.max(1) as f64, value - self.mean);
        self.mean += weight * difference;
        self.variance = (1.0 - weight) * (self.variance + weight * difference * difference);
    }

    /// Distance of a value from the mean in standard deviations; 0 as long as there are fewer than
    /// thirty values. After a constant every change is infinitely far away.
    pub fn distance(&self, value: f64) -> f64 {
        let difference = value - self.mean;
        if self.count < COUNT_MIN || difference.abs() <= ROUNDING * self.mean.abs() {
            return 0.0;
        }
        difference / self.variance.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_tenths_of_powers_of_ten() {
        // Tail probabilities on both sides: 0.0455003 of 2, 0.0026998 of 3, 5.733e-7 of 5.
        let expected = [(2.0, 0.134_199), (3.0, 0.256_867), (5.0, 0.624_162)];
        for (distance, score) in expected {
            assert!((tail_score(distance) - score).abs() < 1e-6, "{}", tail_score(distance));
        }
        assert_eq!([-3.0, 0.0, 50.0, f64::INFINITY].map(tail_score), [0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn moments_are_those_of_all_values_until_the_memory_is_full() {
        let values: Vec<f64> = (0..40).map(|i| f64::from(i * i % 17)).collect();
        let mut moments = Moments::new(40);
        values.iter().for_each(|value| moments.add(*value));
        let mean = values.iter().sum::<f64>() / 40.0;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        let expected = (20.0 - mean) / (squares / 40.0).sqrt();
        assert!((moments.distance(20.0) - expected).abs() < 1e-12);
        // Forty memories later nothing is left of them.
        (0..1600).for_each(|i| moments.add(f64::from(100 + i % 2)));
        assert!((moments.distance(101.0) - 1.0).abs() < 0.05);
    }

    #[test]
    fn after_a_constant_every_change_is_far() {
        let mut moments = Moments::new(100);
        (0..29).for_each(|_| moments.add(0.1));
        assert_eq!(moments.distance(7.0), 0.0, "too few");
        moments.add(0.1);
        assert_eq!(
            [0.1, 7.0, -7.0].map(|value| moments.distance(value)),
            [0.0, f64::INFINITY, f64::NEG_INFINITY]
        );
    }
}
