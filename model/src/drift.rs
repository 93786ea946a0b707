//! Whether what a model sees and says in service is still what it sees and says on the histories of
//! its backtest.
//!
//! A few statistics of every question and its answer are counted in bins that hold equal shares of
//! the backtest's values; which they are, the task says. Series move together, so the values of one
//! origin are no independent sample: what counts as drift is a distance larger than that of any
//! single origin of the backtest from the others, and larger than chance explains for so few
//! values, by two measures that must agree: a new period is as likely as any other to be the
//! strangest so far by one of them.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};
use steppe_wire::drift::{Side, StatisticDrift};

/// Bins of a distribution, at most.
const BINS_MAX: usize = 20;
/// Bins of the population stability index, at most: it needs well-filled ones.
const PSI_BINS_MAX: usize = 10;
/// Values of one bin in a reference that is read; sums of them stay within numbers.
const COUNT_MAX: u64 = 1 << 40;
/// Values in service from which a verdict is possible.
const COUNT_MIN: u64 = 20;
/// Index from which a shift is usually called large (Siddiqi, Credit Risk Scorecards, 2006).
const PSI_LIMIT: f64 = 0.25;
/// Chance explains what stays below with this probability.
const BY_CHANCE: f64 = 0.999;
/// Kolmogorov's distribution's quantile at it.
const KOLMOGOROV_999: f64 = 1.949_475;

/// One statistic's distribution in the backtest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Distribution {
    /// What is counted.
    statistic: String,
    /// Where it is taken.
    side: Side,
    /// Upper ends of all bins but the last, ascending.
    edges: Vec<f64>,
    /// Values per bin.
    counts: Vec<u64>,
    /// The largest index of one origin against the others.
    psi_between_origins: f64,
    /// The largest distance of one origin from the others.
    ks_between_origins: f64,
}

/// What a model says about the histories of its backtest: part of its card.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reference {
    /// Distance below which a difference does not matter, however sure it is.
    ks_limit: f64,
    distributions: Vec<Distribution>,
}

impl Reference {
    /// Checks distributions that were read: there has to be one of each of the `statistics`.
    pub fn check<N: AsRef<str>>(&self, statistics: &[(N, Side)]) -> Result<(), String> {
        let usable = |d: &Distribution| {
            let edges = d.edges.len() < BINS_MAX
                && d.edges.iter().all(|edge| edge.is_finite())
                && d.edges.is_sorted_by(|a, b| a < b);
            let between = [d.psi_between_origins, d.ks_between_origins];
            let counts = d.counts.len() == d.edges.len() + 1
                && d.counts.iter().all(|count| *count <= COUNT_MAX);
            edges && counts && between.iter().all(|v| v.is_finite() && *v >= 0.0)
        };
        let named = self.distributions.iter().map(|d| (d.statistic.as_str(), d.side));
        if named.eq(statistics.iter().map(|(name, side)| (name.as_ref(), *side)))
            && self.distributions.iter().all(usable)
            && (0.0..=1.0).contains(&self.ks_limit)
        {
            Ok(())
        } else {
            Err("the reference for drift has no usable bins for each statistic".to_owned())
        }
    }

    /// The distributions of `statistics` in the backtest. Values are in the same order, each row
    /// with the number of its origin. Distances below `ks_limit` do not matter, however sure they
    /// are.
    pub fn of<N: AsRef<str>, O: AsRef<[f64]>>(
        statistics: &[(N, Side)],
        observed: &[(usize, O)],
        ks_limit: f64,
    ) -> Self {
        let one = |(place, (name, side)): (usize, &(N, Side))| {
            let values = observed.iter().map(|(origin, row)| (*origin, row.as_ref()[place]));
            distribution((name.as_ref(), *side), &values.collect::<Vec<_>>())
        };
        Self { ks_limit, distributions: statistics.iter().enumerate().map(one).collect() }
    }
}

fn distribution((statistic, side): (&str, Side), observed: &[(usize, f64)]) -> Distribution {
    let mut sorted: Vec<f64> = observed.iter().map(|(_, value)| *value).collect();
    sorted.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> =
        (1..BINS_MAX).filter_map(|k| sorted.get(k * sorted.len() / BINS_MAX).copied()).collect();
    edges.dedup();
    let counts_of = |keep: &dyn Fn(usize) -> bool| {
        let mut counts = vec![0; edges.len() + 1];
        observed
            .iter()
            .filter(|(origin, _)| keep(*origin))
            .for_each(|(_, value)| counts[bin(&edges, *value)] += 1);
        counts
    };
    let last = observed.iter().map(|(origin, _)| *origin).max().unwrap_or(0);
    let between = (0..=last).map(|one| (counts_of(&|o| o == one), counts_of(&|o| o != one)));
    let between: Vec<_> =
        between.filter(|(one, others)| total(one) > 0 && total(others) > 0).collect();
    let largest = |distance: fn(&[u64], &[u64]) -> f64| {
        between.iter().map(|(one, others)| distance(one, others)).fold(0.0, f64::max)
    };
    let (psi_between_origins, ks_between_origins) = (largest(psi), largest(ks));
    let counts = counts_of(&|_| true);
    let statistic = statistic.to_owned();
    Distribution { statistic, side, edges, counts, psi_between_origins, ks_between_origins }
}

fn bin(edges: &[f64], value: f64) -> usize {
    edges.partition_point(|edge| *edge < value)
}

fn total(counts: &[u64]) -> u64 {
    counts.iter().sum()
}

/// Counts of what a model saw and said in service.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    counts: Vec<Vec<u64>>,
}

impl Tally {
    /// Nothing yet.
    pub fn new(reference: &Reference) -> Self {
        Self { counts: reference.distributions.iter().map(|d| vec![0; d.counts.len()]).collect() }
    }

    /// Counts one forecast.
    pub fn add(&mut self, reference: &Reference, observed: &[f64]) {
        for ((counts, distribution), value) in
            self.counts.iter_mut().zip(&reference.distributions).zip(observed)
        {
            counts[bin(&distribution.edges, *value)] += 1;
        }
    }

    /// Service beside the backtest, one entry per statistic.
    pub fn compare(&self, reference: &Reference) -> Vec<StatisticDrift> {
        let compare = |(counts, distribution): (&Vec<u64>, &Distribution)| {
            let (count, in_training) = (total(counts), total(&distribution.counts));
            let (psi, ks) = match count {
                0 => (0.0, 0.0),
                _ => (psi(counts, &distribution.counts), ks(counts, &distribution.counts)),
            };
            let by_chance = psi_by_chance(counts.len(), count, in_training);
            let psi_limit = PSI_LIMIT.max(distribution.psi_between_origins).max(by_chance);
            let by_chance = ks_by_chance(count, in_training);
            let ks_limit = reference.ks_limit.max(distribution.ks_between_origins).max(by_chance);
            StatisticDrift {
                statistic: distribution.statistic.clone(),
                side: distribution.side,
                count,
                reference: in_training,
                psi,
                psi_limit,
                ks,
                ks_limit,
                drifted: count >= COUNT_MIN && psi > psi_limit && ks > ks_limit,
            }
        };
        self.counts.iter().zip(&reference.distributions).map(compare).collect()
    }
}

/// Population stability index: `Σ (p − q)·ln(p / q)` over bins, each with half a value more so that
/// an empty one stays finite.
fn psi(service: &[u64], reference: &[u64]) -> f64 {
    let merged = |counts: &[u64]| {
        counts.chunks(counts.len().div_ceil(PSI_BINS_MAX)).map(total).collect::<Vec<u64>>()
    };
    let (service, reference) = (merged(service), merged(reference));
    let share = |counts: &[u64], i: usize| {
        (counts[i] as f64 + 0.5) / (total(counts) as f64 + 0.5 * counts.len() as f64)
    };
    let term = |i: usize| {
        let (p, q) = (share(&service, i), share(&reference, i));
        (p - q) * (p / q).ln()
    };
    (0..service.len()).map(term).sum()
}

/// Largest distance between two cumulative distributions, at the ends of bins.
fn ks(service: &[u64], reference: &[u64]) -> f64 {
    let (n, m) = (total(service) as f64, total(reference) as f64);
    let (mut a, mut b, mut largest) = (0.0, 0.0, 0.0f64);
    for (s, r) in service.iter().zip(reference) {
        (a, b) = (a + *s as f64 / n, b + *r as f64 / m);
        largest = largest.max((a - b).abs());
    }
    largest
}

/// What the index stays below in 999 of 1,000 samples of the same distribution: it is distributed
/// like `(1/n + 1/m)·χ²` with one degree of freedom less than bins (Yurdakul, Statistical
/// Properties of the Population Stability Index, 2018).
fn psi_by_chance(bins: usize, n: u64, m: u64) -> f64 {
    let freedom = (bins.min(PSI_BINS_MAX) as f64 - 1.0).max(1.0);
    let distribution = ChiSquared::new(freedom).expect("at least one degree of freedom");
    distribution.inverse_cdf(BY_CHANCE) * (1.0 / n.max(1) as f64 + 1.0 / m.max(1) as f64)
}

/// What the distance stays below in 999 of 1,000 samples of the same distribution, by Kolmogorov's
/// limiting distribution; binning only makes it smaller.
fn ks_by_chance(n: u64, m: u64) -> f64 {
    KOLMOGOROV_999 * (1.0 / n.max(1) as f64 + 1.0 / m.max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Observed = [f64; 4];

    const STATISTICS: [(&str, Side); 4] =
        [("a", Side::Input), ("b", Side::Input), ("c", Side::Output), ("d", Side::Output)];

    /// Values of a distribution with the given centre, the same for all statistics.
    fn values(rng: &mut fastrand::Rng, count: usize, centre: f64) -> Vec<Observed> {
        let mut normal = || (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
        (0..count).map(|_| [centre + normal(); 4]).collect()
    }

    fn drifted(reference: &Reference, seen: &[Observed]) -> usize {
        let mut tally = Tally::new(reference);
        seen.iter().for_each(|o| tally.add(reference, o));
        tally.compare(reference).iter().filter(|d| d.drifted).count()
    }

    #[test]
    fn the_same_distribution_is_no_drift_and_another_one_is() {
        let mut rng = fastrand::Rng::with_seed(4);
        let training: Vec<(usize, Observed)> = (0..8)
            .flat_map(|o| values(&mut rng, 50, 0.0).into_iter().map(move |v| (o, v)))
            .collect();
        let reference = Reference::of(&STATISTICS, &training, 0.2);
        for count in [20, 50, 400, 20_000] {
            assert_eq!(drifted(&reference, &values(&mut rng, count, 0.0)), 0, "{count}");
            assert_eq!(drifted(&reference, &values(&mut rng, count, 2.0)), 4, "{count}");
        }
        assert_eq!(
            drifted(&reference, &values(&mut rng, 19, 9.0)),
            0,
            "too few values for a verdict"
        );
    }

    #[test]
    fn of_independent_values_chance_is_all_that_distance_has_to_beat() {
        let kinds: [fn(&mut fastrand::Rng) -> f64; 4] = [
            |rng| (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0,
            |rng| -(1.0 - rng.f64()).ln(),
            |rng| f64::from(u8::from(rng.f64() < 0.05)),
            |rng| f64::from(rng.u32(..5)),
        ];
        let drawn = |rng: &mut fastrand::Rng, count: usize| -> Vec<Observed> {
            (0..count).map(|_| kinds.map(|kind| kind(rng))).collect()
        };
        for seed in 0..50 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let known = drawn(&mut rng, 2_000).into_iter().map(|row| (0, row));
            let reference = Reference::of(&STATISTICS, &known.collect::<Vec<_>>(), 0.0);
            for count in [20, 60, 400, 4_000] {
                let seen = drawn(&mut rng, count);
                assert_eq!(drifted(&reference, &seen), 0, "seed {seed}, {count} values");
                let moved: Vec<Observed> = seen.iter().map(|row| row.map(|v| v + 0.8)).collect();
                assert!(count < 400 || drifted(&reference, &moved) == 4, "seed {seed}");
            }
        }
    }

    #[test]
    fn origins_that_differ_among_themselves_raise_the_limits() {
        let mut rng = fastrand::Rng::with_seed(5);
        // Whole years move together: one is far from the others.
        let years = [0.0, 0.3, -0.2, 0.1, -2.0, 0.2];
        let mut training = Vec::new();
        for (origin, centre) in years.into_iter().enumerate() {
            training.extend(values(&mut rng, 30, centre).into_iter().map(|v| (origin, v)));
        }
        let reference = Reference::of(&STATISTICS, &training, 0.2);
        assert_eq!(
            drifted(&reference, &values(&mut rng, 30, 0.8)),
            0,
            "no stranger than the strangest year"
        );
        assert_eq!(drifted(&reference, &values(&mut rng, 30, 6.0)), 4);
    }

    #[test]
    fn constant_statistics_have_one_place_of_their_own() {
        let reference = Reference::of(&STATISTICS, &vec![(0, [3.0; 4]); 30], 0.2);
        assert_eq!(drifted(&reference, &vec![[3.0; 4]; 100]), 0);
        assert_eq!(drifted(&reference, &vec![[3.5; 4]; 100]), 4);
    }

    #[test]
    fn distances_match_hand_computed_values() {
        // Shares with half a value more per bin: 10.5/21, 10.5/21 against 5.5/21, 15.5/21.
        let expected = (0.5 - 5.5 / 21.0) * (0.5 / (5.5 / 21.0f64)).ln()
            + (0.5 - 15.5 / 21.0) * (0.5 / (15.5 / 21.0f64)).ln();
        assert!((psi(&[10, 10], &[5, 15]) - expected).abs() < 1e-12);
        let twenty =
            |counts: [u64; 4]| counts.iter().flat_map(|c| [*c, 0, 0, 0, 0]).collect::<Vec<_>>();
        assert_eq!(
            psi(&twenty([4, 6, 10, 0]), &twenty([5, 0, 7, 8])),
            psi(&[4, 0, 6, 0, 0, 10, 0, 0, 0, 0], &[5, 0, 0, 0, 0, 7, 0, 8, 0, 0])
        );
        assert!((ks(&[4, 6, 10, 0], &[5, 0, 7, 8]) - 0.4).abs() < 1e-12);
        // χ² with 9 degrees of freedom: 27.88 at 0.999; the approximation is within a hundredth.
        assert!(
            (psi_by_chance(20, 2, 2) / 27.88 - 1.0).abs() < 0.01,
            "{}",
            psi_by_chance(20, 2, 2)
        );
    }
}
