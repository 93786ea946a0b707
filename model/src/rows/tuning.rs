//! A search for the parameters of a family that are best on folds of the training rows.
//!
//! The first trial has the defaults, so nothing that is found is worse than those on the same
//! folds. Some trials of chance follow, and then those that a tree-structured Parzen estimator
//! proposes (Bergstra et al. 2011, with all parameters together as Falkner et al. 2018): of points
//! near the best trials, the one that is likeliest to be near those and not near the others.
//!
//! A trial that is behind on its first folds is not asked about the others: a race, as those of
//! Maron and Moore (1993).
//!
//! A proposal follows from the seed, its number and the trials before it alone, so a search that
//! goes on from its journal proposes what it would have proposed without a stop.

use std::cmp::Ordering;

use crate::parallel;
use serde::{Deserialize, Serialize};

use super::error::RowsError;
use super::metrics::{mean, quantile};

/// The values that a parameter may have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "scale", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Range {
    /// Any number, equal differences alike.
    Linear {
        /// Least value.
        low: f64,
        /// Greatest value.
        high: f64,
    },
    /// Any number above zero, equal ratios alike.
    Log {
        /// Least value.
        low: f64,
        /// Greatest value.
        high: f64,
    },
    /// A whole number.
    Integer {
        /// Least value.
        low: u32,
        /// Greatest value.
        high: u32,
    },
    /// One of some things without an order, by its number from 0.
    Choice {
        /// How many there are.
        choices: u32,
    },
}

impl Range {
    /// Number of different values, where they can be counted.
    fn count(&self) -> Option<f64> {
        match *self {
            Self::Integer { low, high } => Some(f64::from(high) - f64::from(low) + 1.0),
            Self::Choice { choices } => Some(f64::from(choices)),
            _ => None,
        }
    }

    /// The value at a place from 0 to 1.
    fn value(&self, place: f64) -> f64 {
        let step = |count: f64| (place * count).floor().min(count - 1.0);
        match *self {
            Self::Linear { low, high } => (low + (high - low) * place).clamp(low, high),
            Self::Log { low, high } => (low * (high / low).powf(place)).clamp(low, high),
            Self::Integer { low, high } => f64::from(low) + step(f64::from(high - low) + 1.0),
            Self::Choice { choices } => step(f64::from(choices)),
        }
    }

    /// The place of a value, in the middle of those that have it.
    fn place(&self, value: f64) -> f64 {
        match *self {
            Self::Linear { low, high } => (value - low) / (high - low),
            Self::Log { low, high } => (value / low).ln() / (high / low).ln(),
            Self::Integer { low, high } => {
                (value - f64::from(low) + 0.5) / (f64::from(high - low) + 1.0)
            }
            Self::Choice { choices } => (value + 0.5) / f64::from(choices),
        }
    }

    fn holds(&self, value: f64) -> bool {
        let whole = value.fract() == 0.0;
        match *self {
            Self::Linear { low, high } => low < high && (low..=high).contains(&value),
            Self::Log { low, high } => {
                low > 0.0 && low < high && high.is_finite() && (low..=high).contains(&value)
            }
            Self::Integer { low, high } => {
                whole && (f64::from(low)..=f64::from(high)).contains(&value)
            }
            Self::Choice { choices } => whole && (0.0..f64::from(choices)).contains(&value),
        }
    }
}

/// A parameter that is looked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its values.
    pub range: Range,
    /// Its value in the first trial.
    pub default: f64,
}

impl Parameter {
    /// A number above zero of which ratios matter; the range grows as far as its default.
    pub fn log(name: &str, low: f64, high: f64, default: f64) -> Self {
        let range = Range::Log { low: low.min(default), high: high.max(default) };
        Self { name: name.to_owned(), range, default }
    }

    /// A whole number; the range grows as far as its default.
    pub fn whole(name: &str, low: u32, high: u32, default: usize) -> Self {
        let given = u32::try_from(default).unwrap_or(u32::MAX);
        let range = Range::Integer { low: low.min(given), high: high.max(given) };
        Self { name: name.to_owned(), range, default: f64::from(given) }
    }
}

/// What is looked for, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// The parameters.
    pub parameters: Vec<Parameter>,
    /// Folds that a trial is judged on.
    pub folds: usize,
    /// Its chance.
    pub seed: u64,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It has a loss on every fold.
    Complete,
    /// It was hopeless before the last fold.
    Pruned,
    /// There is no model with these values.
    Failed,
}

/// Values of the parameters, and how good they were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// One per parameter.
    pub values: Vec<f64>,
    /// Losses on folds; less is better.
    pub losses: Vec<f64>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Trial {
    /// Mean loss over folds; none unless it is complete.
    pub fn loss(&self) -> Option<f64> {
        (self.outcome == Outcome::Complete).then(|| mean(self.losses.iter().copied()))
    }

    /// Better ones first: complete ones, pruned ones, of which those with more folds were less
    /// hopeless, and failed ones.
    fn order(&self, other: &Self) -> Ordering {
        let rank = |trial: &Self| match trial.outcome {
            Outcome::Complete | Outcome::Pruned => mean(trial.losses.iter().copied()),
            Outcome::Failed => f64::INFINITY,
        };
        let folds = |trial: &Self| match trial.outcome {
            Outcome::Failed => 0,
            _ => trial.losses.len(),
        };
        folds(other).cmp(&folds(self)).then(rank(self).total_cmp(&rank(other)))
    }
}

/// All that a search has done: what it goes on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// What is looked for.
    pub search: Search,
    /// Its trials, in order.
    pub trials: Vec<Trial>,
}

/// Loss of some values on one fold; an error is that of a family without a model of such values.
pub type Loss<'a> = dyn Fn(&[f64], usize) -> Result<f64, RowsError> + Sync + 'a;

/// Trials before the first that is proposed: the defaults, and chance.
const FIRST_TRIALS: usize = 10;
/// Trials with a first fold before one is pruned by it.
const TRIALS_BEFORE_PRUNING: usize = 5;
/// Folds from which on a difference between two trials has a standard error worth its name.
const FOLDS_OF_A_RACE: usize = 3;
/// Points of which the most promising one is tried.
const CANDIDATES: usize = 32;
/// Share of trials that count as good.
const GOOD: f64 = 0.2;
/// Width of a kernel around one trial, in units of the range.
const WIDTH: f64 = 0.2;

impl Journal {
    /// A search that has not begun.
    ///
    /// # Errors
    /// If a range is empty or does not hold its default.
    pub fn new(search: Search) -> Result<Self, RowsError> {
        let wrong = |p: &&Parameter| !p.range.holds(p.default);
        if let Some(parameter) = search.parameters.iter().find(wrong) {
            let Parameter { name, range, default } = parameter;
            let what = format!("`{name}` has no {default} in {range:?}");
            return Err(RowsError::Unsuitable(what));
        }
        match search.folds {
            0 => Err(RowsError::Unsuitable("a search needs folds to judge on".to_owned())),
            _ => Ok(Self { search, trials: Vec::new() }),
        }
    }

    /// Goes on until there are `trials` trials or `enough` says so, which is asked after each and
    /// may keep the journal. An error of `loss` fails the trial.
    ///
    /// # Errors
    /// If there is no model with the defaults.
    pub fn run(
        &mut self,
        trials: usize,
        loss: &Loss<'_>,
        enough: &mut dyn FnMut(&Self) -> bool,
    ) -> Result<(), RowsError> {
        while self.trials.len() < trials {
            let values = self.proposal();
            let trial = self.tried(values, loss)?;
            self.trials.push(trial);
            if enough(self) {
                break;
            }
        }
        Ok(())
    }

    /// The best trial, of equals the first; none before there is one.
    pub fn best(&self) -> Option<&Trial> {
        let complete = self.trials.iter().filter(|trial| trial.loss().is_some());
        complete.min_by(|a, b| a.order(b))
    }

    /// Refuses a journal that no search has written.
    pub fn check(&self) -> Result<(), RowsError> {
        let fits = |trial: &Trial| {
            let folds = match trial.outcome {
                Outcome::Complete => self.search.folds,
                Outcome::Pruned if trial.losses.len() == self.race() => self.race(),
                Outcome::Pruned => 1,
                Outcome::Failed => trial.losses.len(),
            };
            let values = trial.values.iter().zip(&self.search.parameters);
            trial.values.len() == self.search.parameters.len()
                && values.into_iter().all(|(value, parameter)| parameter.range.holds(*value))
                && trial.losses.len() == folds
                && trial.losses.iter().all(|loss| loss.is_finite())
        };
        Self::new(self.search.clone())?;
        match self.trials.iter().position(|trial| !fits(trial)) {
            None => Ok(()),
            Some(trial) => Err(RowsError::stored("a journal", format!("trial {trial} is none"))),
        }
    }

    fn tried(&self, values: Vec<f64>, loss: &Loss<'_>) -> Result<Trial, RowsError> {
        let mut losses: Vec<f64> = Vec::with_capacity(self.search.folds);
        for until in [1, self.race(), self.search.folds] {
            let first = losses.len();
            let more = parallel::each(until - first, |n| finite(loss(&values, first + n)));
            match more.into_iter().collect::<Result<Vec<f64>, RowsError>>() {
                Ok(more) => losses.extend(more),
                Err(why) if self.trials.is_empty() => return Err(why),
                Err(_) => return Ok(Trial { values, losses: vec![], outcome: Outcome::Failed }),
            }
            if until < self.search.folds && self.hopeless(&losses) {
                return Ok(Trial { values, losses, outcome: Outcome::Pruned });
            }
        }
        Ok(Trial { values, losses, outcome: Outcome::Complete })
    }

    /// Folds after which a trial has to be as good as the best one, but for chance.
    fn race(&self) -> usize {
        self.search.folds.div_ceil(3)
    }

    /// Whether losses on the first folds are too high to go on: on one, above the median of the
    /// trials before; on several, above those of the best trial by more than their standard error.
    fn hopeless(&self, losses: &[f64]) -> bool {
        if let [first] = losses {
            let before = self.trials.iter().filter_map(|trial| trial.losses.first().copied());
            let mut before: Vec<f64> = before.collect();
            before.sort_by(f64::total_cmp);
            return before.len() >= TRIALS_BEFORE_PRUNING && *first > quantile(&before, 0.5);
        }
        let Some(best) = self.best().filter(|_| losses.len() >= FOLDS_OF_A_RACE) else {
            return false;
        };
        let behind: Vec<f64> = losses.iter().zip(&best.losses).map(|(a, b)| a - b).collect();
        let (count, centre) = (behind.len() as f64, mean(behind.iter().copied()));
        let squares: f64 = behind.iter().map(|d| (d - centre).powi(2)).sum();
        centre > (squares / (count - 1.0) / count).sqrt()
    }

    /// Values of the next trial.
    fn proposal(&self) -> Vec<f64> {
        let number = self.trials.len();
        let parameters = &self.search.parameters;
        if number == 0 {
            return parameters.iter().map(|parameter| parameter.default).collect();
        }
        let mut rng = self.chance(number);
        if number < FIRST_TRIALS {
            return parameters.iter().map(|parameter| parameter.range.value(rng.f64())).collect();
        }
        let mut order: Vec<&Trial> = self.trials.iter().collect();
        order.sort_by(|a, b| a.order(b));
        let good = ((number as f64 * GOOD).ceil() as usize).max(2);
        let (good, others) = order.split_at(good);
        let (good, others) = (Density::new(parameters, good), Density::new(parameters, others));
        let candidates = (0..CANDIDATES).map(|_| good.drawn(&mut rng));
        let promising = candidates
            .map(|places| (good.log(&places) - others.log(&places), places))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let (_, places) = promising.expect("there are candidates");
        parameters.iter().zip(places).map(|(p, place)| p.range.value(place)).collect()
    }

    fn chance(&self, number: usize) -> fastrand::Rng {
        let mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        fastrand::Rng::with_seed(self.search.seed ^ mixed)
    }
}

fn finite(loss: Result<f64, RowsError>) -> Result<f64, RowsError> {
    loss.and_then(|loss| match loss.is_finite() {
        true => Ok(loss),
        false => Err(RowsError::Unsuitable(format!("the loss is {loss}"))),
    })
}

/// A mixture of kernels around trials, and one that is the same everywhere.
struct Density<'a> {
    parameters: &'a [Parameter],
    centres: Vec<Vec<f64>>,
    width: f64,
}

impl<'a> Density<'a> {
    fn new(parameters: &'a [Parameter], trials: &[&Trial]) -> Self {
        let place = |(parameter, value): (&Parameter, &f64)| parameter.range.place(*value);
        let centre = |trial: &&Trial| parameters.iter().zip(&trial.values).map(place).collect();
        // Scott's rule (1992).
        let narrower = (trials.len() as f64).powf(-1.0 / (parameters.len() as f64 + 4.0));
        Self { parameters, centres: trials.iter().map(centre).collect(), width: WIDTH * narrower }
    }

    fn drawn(&self, rng: &mut fastrand::Rng) -> Vec<f64> {
        let centre = self.centres.get(rng.usize(..=self.centres.len()));
        let place = |(at, parameter): (usize, &Parameter)| match centre {
            None => rng.f64(),
            Some(centre) => self.near(centre[at], parameter.range, rng),
        };
        self.parameters.iter().enumerate().map(place).collect()
    }

    /// A place by chance near to another one.
    fn near(&self, centre: f64, range: Range, rng: &mut fastrand::Rng) -> f64 {
        if let Range::Choice { .. } = range {
            return if rng.f64() < self.width { rng.f64() } else { centre };
        }
        let width = self.width_of(range);
        let normal = || {
            let (radius, angle) = ((1.0 - rng.f64()).ln(), rng.f64());
            (-2.0 * radius).sqrt() * (std::f64::consts::TAU * angle).cos()
        };
        let within = std::iter::repeat_with(normal).take(64).map(|normal| centre + width * normal);
        within.into_iter().find(|place| (0.0..=1.0).contains(place)).unwrap_or(centre)
    }

    /// A kernel is never so narrow that a whole number has no neighbour.
    fn width_of(&self, range: Range) -> f64 {
        self.width.max(range.count().map_or(0.0, |count| 0.5 / count))
    }

    /// Logarithm of the density at a place.
    fn log(&self, places: &[f64]) -> f64 {
        let kernels = self.centres.iter().map(|centre| {
            let each = self.parameters.iter().zip(places.iter().zip(centre));
            each.map(|(parameter, (place, centre))| self.kernel(parameter.range, *place, *centre))
                .product::<f64>()
        });
        // The kernel that is the same everywhere is 1.
        ((kernels.sum::<f64>() + 1.0) / (self.centres.len() as f64 + 1.0)).ln()
    }

    fn kernel(&self, range: Range, place: f64, centre: f64) -> f64 {
        if let Range::Choice { choices } = range {
            let same = range.value(place) == range.value(centre);
            let chosen = if same { (1.0 - self.width) * f64::from(choices) } else { 0.0 };
            return chosen + self.width;
        }
        let width = self.width_of(range);
        let within = normal_share((1.0 - centre) / width) - normal_share(-centre / width);
        let off = (place - centre) / width;
        (-0.5 * off * off).exp() / (width * within * std::f64::consts::TAU.sqrt())
    }
}

/// Share of a normal distribution below `z`.
fn normal_share(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(name: &str, range: Range, default: f64) -> Parameter {
        Parameter { name: name.to_owned(), range, default }
    }

    fn search(seed: u64) -> Search {
        let parameters = vec![
            parameter("rate", Range::Log { low: 0.001, high: 1.0 }, 0.9),
            parameter("share", Range::Linear { low: 0.0, high: 1.0 }, 0.0),
            parameter("depth", Range::Integer { low: 1, high: 12 }, 12.0),
            parameter("kind", Range::Choice { choices: 3 }, 0.0),
        ];
        Search { parameters, folds: 3, seed }
    }

    /// Smallest at a rate of 0.03, a share of 0.3, a depth of 4 and the last kind.
    fn bowl(values: &[f64], fold: usize) -> Result<f64, RowsError> {
        let far = [
            (values[0] / 0.03).ln() / 3.0,
            (values[1] - 0.3) * 2.0,
            (values[2] - 4.0) / 6.0,
            if values[3] == 2.0 { 0.0 } else { 0.7 },
        ];
        Ok(far.iter().map(|off| off * off).sum::<f64>() + 0.01 * fold as f64)
    }

    fn found(seed: u64, trials: usize) -> Journal {
        let mut journal = Journal::new(search(seed)).expect("ranges");
        journal.run(trials, &bowl, &mut |_| false).expect("trials");
        journal
    }

    #[test]
    fn the_minimum_of_a_known_function_is_found_better_than_by_chance() {
        let (mut better, mut sums) = (0, (0.0, 0.0));
        for seed in 0..20 {
            let journal = found(seed, 40);
            let best = journal.best().and_then(Trial::loss).expect("complete");
            let mut rng = fastrand::Rng::with_seed(seed + 1_000);
            let chance = |_| {
                let parameters = search(seed).parameters;
                let values = parameters.iter().map(|p| p.range.value(rng.f64()));
                let values: Vec<f64> = values.collect();
                mean((0..3).map(|fold| bowl(&values, fold).expect("a loss")))
            };
            let by_chance = (0..40).map(chance).fold(f64::INFINITY, f64::min);
            better += usize::from(best < by_chance);
            sums = (sums.0 + best - 0.01, sums.1 + by_chance - 0.01);
        }
        assert!(better >= 15, "{better} of 20");
        assert!(sums.0 < 0.6 * sums.1, "{sums:?}");
    }

    #[test]
    fn a_search_that_goes_on_from_its_journal_is_the_same() {
        let whole = found(3, 30);
        let mut journal = Journal::new(search(3)).expect("ranges");
        for stop in [4, 11, 25, 30] {
            journal.run(30, &bowl, &mut |journal| journal.trials.len() == stop).expect("trials");
            let text = serde_json::to_string(&journal).expect("text");
            journal = serde_json::from_str(&text).expect("a journal");
            assert_eq!(journal.check(), Ok(()));
        }
        assert_eq!(journal, whole);
        assert_ne!(found(4, 30).trials[5..], whole.trials[5..]);
    }

    #[test]
    fn nothing_worse_than_the_defaults_is_found() {
        for seed in 0..20 {
            // A loss of chance, so that no proposal means anything.
            let noise = |values: &[f64], fold: usize| {
                let bits = values.iter().fold(fold as u64 ^ seed, |bits, value| {
                    bits.rotate_left(13).wrapping_mul(31) ^ value.to_bits()
                });
                Ok(fastrand::Rng::with_seed(bits).f64())
            };
            let mut journal = Journal::new(search(seed)).expect("ranges");
            journal.run(20, &noise, &mut |_| false).expect("trials");
            assert_eq!(journal.trials[0].values, [0.9, 0.0, 12.0, 0.0]);
            let (best, defaults) = (journal.best().expect("one"), &journal.trials[0]);
            assert!(best.loss().expect("complete") <= defaults.loss().expect("complete"));
        }
    }

    #[test]
    fn hopeless_trials_cost_one_fold_and_failed_ones_nothing_more() {
        let journal = found(5, 40);
        let pruned = journal.trials.iter().filter(|t| t.outcome == Outcome::Pruned);
        assert!(pruned.clone().all(|trial| trial.losses.len() == 1));
        assert!((5..30).contains(&pruned.count()));
        let fragile = |values: &[f64], fold: usize| match values[3] {
            1.0 => Err(RowsError::Unsuitable("no".to_owned())),
            _ => bowl(values, fold),
        };
        let mut journal = Journal::new(search(5)).expect("ranges");
        journal.run(30, &fragile, &mut |_| false).expect("trials");
        let failed = |t: &Trial| t.outcome == Outcome::Failed;
        assert!(journal.trials.iter().any(failed));
        assert!(journal.trials.iter().all(|t| failed(t) == (t.values[3] == 1.0)));
        let broken = |_: &[f64], _| Err(RowsError::Unsuitable("no model".to_owned()));
        let mut journal = Journal::new(search(5)).expect("ranges");
        let refused = journal.run(30, &broken, &mut |_| false).expect_err("no defaults");
        assert_eq!(refused.to_string(), "no model");
    }

    #[test]
    fn of_many_folds_a_trial_that_falls_behind_sees_a_third() {
        let search = Search { folds: 15, ..search(5) };
        let mut journal = Journal::new(search).expect("ranges");
        journal.run(40, &bowl, &mut |_| false).expect("trials");
        let lengths = |outcome| {
            let trials = journal.trials.iter().filter(move |trial| trial.outcome == outcome);
            trials.map(|trial| trial.losses.len()).collect::<Vec<_>>()
        };
        let pruned = lengths(Outcome::Pruned);
        assert!(pruned.iter().all(|folds| [1, 5].contains(folds)), "{pruned:?}");
        assert!(pruned.contains(&1) && pruned.contains(&5), "{pruned:?}");
        // The differences between two trials of this function are the same on all folds, so
        // whatever goes on is the best so far.
        let complete = journal.trials.iter().filter_map(Trial::loss).collect::<Vec<_>>();
        assert!(complete.is_sorted_by(|a, b| a > b), "{complete:?}");
        assert_eq!(journal.check(), Ok(()));
        journal.trials.iter_mut().for_each(|trial| trial.losses.truncate(4));
        assert!(journal.check().is_err());
    }

    #[test]
    fn ranges_and_journals_that_are_none_are_refused() {
        for (range, default) in [
            (Range::Log { low: 0.0, high: 1.0 }, 0.5),
            (Range::Linear { low: 1.0, high: 1.0 }, 1.0),
            (Range::Integer { low: 1, high: 3 }, 1.5),
            (Range::Choice { choices: 2 }, 2.0),
        ] {
            let parameters = vec![parameter("p", range, default)];
            assert!(Journal::new(Search { parameters, folds: 3, seed: 1 }).is_err(), "{range:?}");
        }
        let mut journal = found(1, 3);
        journal.trials[1].values[2] = 13.0;
        assert!(journal.check().is_err());
    }

    #[test]
    fn every_value_has_its_place() {
        for range in search(0).parameters.into_iter().map(|p| p.range) {
            for place in [0.0, 0.1, 0.5, 0.99, 1.0] {
                let value = range.value(place);
                assert!(range.holds(value), "{value} in {range:?}");
                let again = range.value(range.place(value));
                assert!((again - value).abs() < 1e-12, "{again} instead of {value}");
            }
        }
    }
}
