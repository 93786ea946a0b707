//! Datapoints and their statistics. Pure.

use serde::{Deserialize, Serialize};

/// Distinct values that a datapoint keeps for its percentiles; beyond them neighbours are merged.
const VALUES_MAX: usize = 500;

/// A statistic: `Sum`, `p99`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// How many values there were.
    SampleCount,
    /// Their mean.
    Average,
    /// Their sum.
    Sum,
    /// The smallest.
    Minimum,
    /// The largest.
    Maximum,
    /// The smallest value that this percentage of all values does not exceed.
    Percentile(f64),
}

impl Statistic {
    /// The statistic of that name, also of an extended one.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "SampleCount" => Self::SampleCount,
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            other => {
                let percent: f64 = other.strip_prefix('p')?.parse().ok()?;
                let digits = other[1..].bytes().all(|b| b.is_ascii_digit() || b == b'.');
                if !digits || !(0.0..=100.0).contains(&percent) {
                    return None;
                }
                Self::Percentile(percent)
            }
        })
    }
}

/// What is known of the values of some time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// How many.
    #[serde(rename = "n")]
    pub count: f64,
    /// Their sum.
    #[serde(rename = "s")]
    pub sum: f64,
    /// The smallest.
    #[serde(rename = "l")]
    pub least: f64,
    /// The largest.
    #[serde(rename = "m")]
    pub most: f64,
    /// The values in order, with how often each came; nothing when only statistics were told.
    #[serde(rename = "v")]
    pub values: Option<Vec<(f64, f64)>>,
}

impl Point {
    /// Of a value that came some times.
    pub fn of(value: f64, count: f64) -> Self {
        let values = Some(vec![(value, count)]);
        Self { count, sum: value * count, least: value, most: value, values }
    }

    /// Of statistics; one value, or equal ones, are known by them.
    pub fn of_set(count: f64, sum: f64, least: f64, most: f64) -> Self {
        let values = (least == most).then(|| vec![(least, count)]);
        Self { count, sum, least, most, values }
    }

    /// Adds the values of another one.
    pub fn add(&mut self, other: &Self) {
        if self.count == 0.0 {
            *self = other.clone();
            return;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
        self.values = match (self.values.take(), &other.values) {
            (Some(mine), Some(theirs)) => Some(merged(mine, theirs)),
            _ => None,
        };
    }

    /// A statistic of the values; nothing when it is a percentile and they are not known.
    pub fn statistic(&self, statistic: Statistic) -> Option<f64> {
        Some(match statistic {
            Statistic::SampleCount => self.count,
            Statistic::Average => self.sum / self.count,
            Statistic::Sum => self.sum,
            Statistic::Minimum => self.least,
            Statistic::Maximum => self.most,
            Statistic::Percentile(percent) => self.percentile(percent)?,
        })
    }

    fn percentile(&self, percent: f64) -> Option<f64> {
        let values = self.values.as_ref()?;
        let wanted = self.count * percent / 100.0;
        let mut seen = 0.0;
        for (value, count) in values {
            seen += count;
            if seen >= wanted {
                return Some(*value);
            }
        }
        Some(self.most)
    }
}

fn merged(mine: Vec<(f64, f64)>, theirs: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut all = mine;
    all.extend_from_slice(theirs);
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    while all.len() > VALUES_MAX {
        all = all.chunks(2).map(mean).collect();
    }
    all
}

fn mean(pair: &[(f64, f64)]) -> (f64, f64) {
    let count: f64 = pair.iter().map(|(_, count)| count).sum();
    let sum: f64 = pair.iter().map(|(value, count)| value * count).sum();
    (sum / count, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Point {
        let mut point = Point::default();
        values.iter().for_each(|value| point.add(&Point::of(*value, 1.0)));
        point
    }

    #[test]
    fn statistics_are_those_of_the_values() {
        let point = of(&[4.0, 1.0, 3.0, 2.0, 2.0]);
        let told = |name: &str| point.statistic(Statistic::named(name).expect("a statistic"));
        assert_eq!(told("SampleCount"), Some(5.0));
        assert_eq!(told("Sum"), Some(12.0));
        assert_eq!(told("Average"), Some(2.4));
        assert_eq!((told("Minimum"), told("Maximum")), (Some(1.0), Some(4.0)));
        let percentiles = ["p0", "p20", "p50", "p60", "p80", "p99.9", "p100"].map(told);
        assert_eq!(percentiles, [1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0].map(Some));
        for wrong in ["p101", "p-1", "px", "p", "tm90", "sum", "p1e1"] {
            assert_eq!(Statistic::named(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn many_values_are_merged_and_their_percentiles_stay_near() {
        let point = of(&(0..10_000).map(f64::from).collect::<Vec<_>>());
        assert!(point.values.as_ref().is_some_and(|values| values.len() <= VALUES_MAX));
        assert_eq!(point.count, 10_000.0);
        let p90 = point.statistic(Statistic::Percentile(90.0)).expect("known");
        assert!((p90 - 9_000.0).abs() < 100.0, "{p90}");
    }

    #[test]
    fn sets_of_statistics_have_no_percentiles() {
        let mut point = of(&[1.0]);
        point.add(&Point::of_set(3.0, 9.0, 2.0, 4.0));
        assert_eq!(point.statistic(Statistic::Sum), Some(10.0));
        assert_eq!(point.statistic(Statistic::Percentile(50.0)), None);
        assert_eq!(
            Point::of_set(2.0, 4.0, 2.0, 2.0).statistic(Statistic::Percentile(50.0)),
            Some(2.0)
        );
    }
}
