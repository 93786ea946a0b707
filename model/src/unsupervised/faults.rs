//! Faults that are planted in readings, to tell how many of them a search finds.
//!
//! Nobody says which households are faulty, so a search for what is unusual could not be judged.
//! But some ways in which a meter fails are known: planted in copies of real readings, they are
//! cases whose answer is known.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use bytes::Bytes;
use steppe_spec::unsupervised::anomaly::Readings as Where;

use crate::forecast::dataset::DataError;
use crate::rows::RowsError;
use crate::stats::median;
use crate::tabular::columns::{Raw, RawTable};

use super::data::{Moment, moments};

const MICROS_A_DAY: i64 = 86_400_000_000;
/// Days without any energy.
const ZERO_DAYS: i64 = 21;
/// Readings that are too high, and how many times.
const SPIKES: usize = 5;
const SPIKE_TIMES: f64 = 10.0;
/// What leaks at the end, as a share of the median; it begins after a third of the time.
const LEAK_SHARE: f64 = 1.5;
/// Times by which the level of the other meter differs at least: swapped meters of like households
/// are no harm, and nobody can see them.
const SWAP_TIMES: f64 = 2.0;
/// Cases of each fault, at most.
const CASES: usize = 40;
/// Share of all whose readings are changed at once: what is usual must stay what it is.
const SHARE_CHANGED: f64 = 0.1;
/// Where few are, so many are changed at once all the same.
const CHANGED_MIN: usize = 6;
/// Readings of whom faults are planted in, at least.
const READINGS_MIN: usize = 60;

/// A way in which a meter fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Three weeks without any energy.
    ZeroWeeks,
    /// Five readings that are ten times too high.
    Spikes,
    /// From the first third on ever more, at the end one and a half times the median.
    SlowLeak,
    /// From the middle on the readings of another household, at least twice or at most half as
    /// high.
    SwappedMeters,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ZeroWeeks, Self::Spikes, Self::SlowLeak, Self::SwappedMeters];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::ZeroWeeks => "weeks of zeros",
            Self::Spikes => "spikes",
            Self::SlowLeak => "slow leak",
            Self::SwappedMeters => "swapped meters",
        }
    }

    /// What exactly is planted.
    pub fn told(self) -> String {
        match self {
            Self::ZeroWeeks => format!("{ZERO_DAYS} days without any"),
            Self::Spikes => format!("{SPIKES} readings, {SPIKE_TIMES} times too high"),
            Self::SlowLeak => format!(
                "from the first third on ever more, at the end {} % of the median more",
                LEAK_SHARE * 100.0
            ),
            Self::SwappedMeters => format!(
                "from the middle on the readings of another one, {SWAP_TIMES} times as high or low"
            ),
        }
    }
}

/// The readings of a table, by whom they are of.
#[derive(Debug)]
pub struct Panel {
    /// All columns of the table, in its order.
    columns: Vec<(String, Raw)>,
    value: String,
    /// Names with their rows, in the order of time.
    entities: Vec<(String, Vec<usize>)>,
    /// Microseconds since 1970 of each row.
    micros: Vec<i64>,
    times: Vec<Moment>,
    /// Values of each row; NaN is missing.
    values: Vec<f64>,
}

/// A fault of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planted {
    /// Whose, by number.
    pub entity: usize,
    /// Which one.
    pub fault: Fault,
}

impl Panel {
    /// Reads a table with the columns `names`, in which `entity` says whose a reading is.
    ///
    /// # Errors
    /// If a column is missing, or a row says no entity or no time.
    pub fn read(
        names: &[&str],
        entity: &str,
        wanted: &Where,
        files: Vec<Bytes>,
    ) -> Result<Self, DataError> {
        let mut raw = RawTable::read(files, names)?;
        let missing = |name: &str| RowsError::Unsuitable(format!("`{name}` is missing in a row"));
        let of = raw.get(entity)?.texts();
        let times = moments(raw.get(&wanted.time)?).ok_or_else(|| missing(&wanted.time))?;
        let micros = times.iter().map(Moment::micros).collect::<Option<Vec<i64>>>();
        let micros = micros.ok_or_else(|| missing(&wanted.time))?;
        let Raw::Number(values) = raw.get(&wanted.value)?.clone() else {
            return Err(DataError::Column {
                column: wanted.value.clone(),
                problem: "is no `double`",
                available: raw.names(),
            });
        };
        let mut rows: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (row, name) in of.into_iter().enumerate() {
            rows.entry(name.ok_or_else(|| missing(entity))?).or_default().push(row);
        }
        rows.values_mut().for_each(|rows| rows.sort_by_key(|row| micros[*row]));
        let column = |name: &&str| Some(((*name).to_owned(), raw.take(name)?));
        let columns = names.iter().filter_map(column).collect();
        let entities = rows.into_iter().collect();
        Ok(Self { columns, value: wanted.value.clone(), entities, micros, times, values })
    }

    /// Whose readings there are, by number.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entities.iter().map(|(name, _)| name.as_str())
    }

    /// Those that have enough readings to plant something in, by number.
    pub fn plantable(&self) -> Vec<usize> {
        let enough = |at: &usize| {
            let middle = self.median(*at);
            self.entities[*at].1.len() >= READINGS_MIN && middle.is_some_and(|middle| middle > 0.0)
        };
        (0..self.entities.len()).filter(enough).collect()
    }

    /// Who gets which fault, drawn by a seed, in rounds in each of which only a few are changed and
    /// nobody has two.
    pub fn rounds(&self, seed: u64) -> Vec<Vec<Planted>> {
        let entities = self.plantable();
        let at_once = ((SHARE_CHANGED * entities.len() as f64) as usize).max(CHANGED_MIN);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut drawn = |fault: Fault| {
            let mut order = entities.clone();
            rng.shuffle(&mut order);
            order.into_iter().take(CASES).map(move |entity| Planted { entity, fault })
        };
        let drawn = Fault::ALL.map(|fault| drawn(fault).collect::<Vec<_>>());
        let most = drawn.iter().map(Vec::len).max().unwrap_or_default();
        // By turns, so that each round has some of each fault.
        let turns = (0..most).flat_map(|at| drawn.iter().filter_map(move |all| all.get(at)));
        let mut rounds: Vec<Vec<Planted>> = Vec::new();
        for one in turns {
            let free = |round: &&mut Vec<Planted>| {
                round.len() < at_once && round.iter().all(|other| other.entity != one.entity)
            };
            match rounds.iter_mut().find(free) {
                Some(round) => round.push(*one),
                None => rounds.push(vec![*one]),
            }
        }
        rounds
    }

    /// The values of all rows.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The number of somebody.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.entities.iter().position(|(own, _)| own == name)
    }

    /// The times and values of somebody, by number.
    pub fn curve(&self, entity: usize) -> impl Iterator<Item = (i64, f64)> {
        self.entities[entity].1.iter().map(|row| (self.micros[*row], self.values[*row]))
    }

    /// When a reading of somebody with a number was taken, for people.
    pub fn told(&self, entity: usize, at: usize) -> String {
        self.entities[entity].1.get(at).map(|row| self.times[*row].told()).unwrap_or_default()
    }

    /// The values with faults in them. A swap for which there is no other meter is left out; what
    /// was planted is told.
    pub fn plant(&self, wanted: &[Planted], seed: u64) -> (Vec<f64>, Vec<Planted>) {
        let (mut values, mut planted) = (self.values.clone(), Vec::new());
        for one in wanted {
            let mut rng = fastrand::Rng::with_seed(seed.wrapping_add(one.entity as u64));
            if self.plant_one(*one, &mut values, &mut rng).is_some() {
                planted.push(*one);
            }
        }
        (values, planted)
    }

    fn plant_one(&self, one: Planted, values: &mut [f64], rng: &mut fastrand::Rng) -> Option<()> {
        let rows = &self.entities[one.entity].1;
        let middle = self.median(one.entity)?;
        match one.fault {
            Fault::ZeroWeeks => {
                let (first, last) = (self.micros[*rows.first()?], self.micros[*rows.last()?]);
                let latest = last.saturating_sub(ZERO_DAYS * MICROS_A_DAY).max(first);
                let start = rng.i64(first..=latest);
                let gone = start..start.saturating_add(ZERO_DAYS * MICROS_A_DAY);
                rows.iter().filter(|r| gone.contains(&self.micros[**r])).for_each(|r| {
                    values[*r] = 0.0;
                });
            }
            Fault::Spikes => {
                let mut order = rows.clone();
                rng.shuffle(&mut order);
                order.iter().take(SPIKES).for_each(|row| values[*row] *= SPIKE_TIMES);
            }
            Fault::SlowLeak => {
                let begin = rows.len() / 3;
                let last = (rows.len() - 1 - begin).max(1) as f64;
                for (at, row) in rows[begin..].iter().enumerate() {
                    values[*row] += LEAK_SHARE * middle * at as f64 / last;
                }
            }
            Fault::SwappedMeters => {
                let other = self.other(one.entity, middle, rng)?;
                let theirs: HashMap<i64, f64> = self.curve(other).collect();
                for row in &rows[rows.len() / 2..] {
                    let found = theirs.get(&self.micros[*row]);
                    values[*row] = found.copied().unwrap_or(values[*row]);
                }
            }
        }
        Some(())
    }

    /// Somebody else whose meter shows something else at the same times.
    fn other(&self, entity: usize, middle: f64, rng: &mut fastrand::Rng) -> Option<usize> {
        let rows = &self.entities[entity].1;
        let (half, last) = (self.micros[rows[rows.len() / 2]], self.micros[*rows.last()?]);
        let mut others: Vec<usize> = self.plantable();
        others.retain(|other| {
            let theirs = &self.entities[*other].1;
            let there = *other != entity
                && theirs.first().is_some_and(|row| self.micros[*row] <= half)
                && theirs.last().is_some_and(|row| self.micros[*row] >= last);
            let times = self.median(*other).map_or(1.0, |theirs| theirs / middle);
            there && (times >= SWAP_TIMES || times * SWAP_TIMES <= 1.0)
        });
        rng.choice(others)
    }

    fn median(&self, entity: usize) -> Option<f64> {
        let values = self.entities[entity].1.iter().map(|row| self.values[*row]);
        median(values.filter(|value| value.is_finite()).collect())
    }

    /// The time in whose middle half of all readings have been taken.
    pub fn middle(&self) -> i64 {
        let mut micros = self.micros.clone();
        micros.sort_unstable();
        micros.get(micros.len() / 2).copied().unwrap_or_default()
    }

    /// The table as CSV, with other values, of the readings that `keep` keeps by their time.
    pub fn csv(&self, values: &[f64], keep: impl Fn(i64) -> bool) -> Vec<u8> {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let mut out = names.join(",");
        out.push('\n');
        for row in (0..values.len()).filter(|row| keep(self.micros[*row])) {
            for (at, (name, column)) in self.columns.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                match *name == self.value {
                    true => number(&mut out, values[row]),
                    false => field(&mut out, column, row),
                }
            }
            out.push('\n');
        }
        out.into_bytes()
    }
}

fn number(out: &mut String, value: f64) {
    if !value.is_nan() {
        let _ = write!(out, "{value}");
    }
}

/// A value of a column; nothing where it is missing.
fn field(out: &mut String, column: &Raw, row: usize) {
    let whole = |out: &mut String, value: Option<i64>| {
        let _ = value.map(|value| write!(out, "{value}"));
    };
    let moment = |out: &mut String, value: Option<Moment>| {
        out.push_str(&value.map(|value| value.told()).unwrap_or_default());
    };
    match column {
        Raw::Boolean(values) => {
            let _ = values[row].map(|value| write!(out, "{value}"));
        }
        Raw::Whole(values) => whole(out, values[row]),
        Raw::Number(values) => number(out, values[row]),
        Raw::Day(values) => moment(out, values[row].map(Moment::Day)),
        Raw::Moment(values) => moment(out, values[row].map(Moment::Micros)),
        Raw::Text { codes, texts } => {
            if let Some(code) = codes[row] {
                let _ = write!(out, "\"{}\"", texts[code as usize].replace('"', "\"\""));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two small and two large households of 100 days, with a text that CSV must quote.
    fn panel() -> Panel {
        let levels = [2.0, 3.0, 20.0, 30.0];
        let days: Vec<Option<i64>> = (0..400).map(|row| Some(i64::from(row % 100))).collect();
        let values: Vec<f64> =
            (0..400).map(|row: usize| levels[row / 100] + (row % 7) as f64 * 0.1).collect();
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        let entities = (0..4).map(|e| (names[e].clone(), (e * 100..e * 100 + 100).collect()));
        let codes = (0..400).map(|row| Some(row / 100)).collect();
        let texts = vec!["a".to_owned(), "b".to_owned(), "c".to_owned(), "d, \"e\"".to_owned()];
        let columns = vec![
            ("household".to_owned(), Raw::Text { codes, texts }),
            ("day".to_owned(), Raw::Day(days.clone())),
            ("kwh".to_owned(), Raw::Number(values.clone())),
        ];
        Panel {
            columns,
            value: "kwh".to_owned(),
            entities: entities.collect(),
            micros: days.iter().flatten().map(|day| day * MICROS_A_DAY).collect(),
            times: days.into_iter().flatten().map(Moment::Day).collect(),
            values,
        }
    }

    /// The values of somebody before and after a fault; nobody else has other ones.
    fn planted(entity: usize, fault: Fault) -> (Vec<f64>, Vec<f64>) {
        let panel = panel();
        let (values, planted) = panel.plant(&[Planted { entity, fault }], 1);
        assert_eq!(planted.len(), 1);
        let own = entity * 100..entity * 100 + 100;
        let others = (0..400).filter(|row| !own.contains(row));
        others.for_each(|row| assert_eq!(values[row], panel.values[row]));
        (panel.values[own.clone()].to_vec(), values[own].to_vec())
    }

    #[test]
    fn faults_are_what_they_say() {
        let (_, zeros) = planted(0, Fault::ZeroWeeks);
        assert_eq!(zeros.iter().filter(|value| **value == 0.0).count(), 21);
        let first = zeros.iter().position(|value| *value == 0.0).expect("zeros");
        assert!(zeros[first..first + 21].iter().all(|value| *value == 0.0), "days in a row");
        let (before, spikes) = planted(1, Fault::Spikes);
        let times = |(a, b): (&f64, &f64)| (b / a).round();
        let times: Vec<f64> = before.iter().zip(&spikes).map(times).collect();
        assert_eq!(times.iter().filter(|times| **times == 10.0).count(), 5);
        assert_eq!(times.iter().filter(|times| **times == 1.0).count(), 95);
        let (before, leak) = planted(2, Fault::SlowLeak);
        let more: Vec<f64> = before.iter().zip(&leak).map(|(a, b)| b - a).collect();
        assert!(more[..33].iter().all(|more| *more == 0.0) && more.is_sorted());
        let middle = median(before).expect("a median");
        assert!((more[99] - 1.5 * middle).abs() < 1e-9);
        let (before, swapped) = planted(0, Fault::SwappedMeters);
        assert_eq!(before[..50], swapped[..50]);
        let all = panel().values;
        let theirs = [&all[250..300], &all[350..400]];
        assert!(theirs.contains(&&swapped[50..]), "of one whose level is another");
    }

    #[test]
    fn a_swap_without_another_meter_is_not_planted() {
        let mut panel = panel();
        panel.values.iter_mut().for_each(|value| *value = 1.0);
        let one = Planted { entity: 0, fault: Fault::SwappedMeters };
        let (values, planted) = panel.plant(&[one], 1);
        assert!(planted.is_empty() && values == panel.values);
        panel.values.fill(0.0);
        assert!(panel.plantable().is_empty() && panel.rounds(1).is_empty());
    }

    #[test]
    fn everybody_has_each_fault_once_and_one_at_a_time() {
        let rounds = panel().rounds(1);
        let all: Vec<&Planted> = rounds.iter().flatten().collect();
        assert_eq!(all.len(), 16);
        for fault in Fault::ALL {
            let mut whose: Vec<usize> =
                all.iter().filter(|one| one.fault == fault).map(|one| one.entity).collect();
            whose.sort_unstable();
            assert_eq!(whose, [0, 1, 2, 3]);
        }
        for round in &rounds {
            let whose: std::collections::BTreeSet<usize> =
                round.iter().map(|one| one.entity).collect();
            assert!(whose.len() == round.len() && round.len() <= CHANGED_MIN);
        }
        assert_eq!(panel().rounds(1), rounds, "drawn by the seed");
    }

    #[test]
    fn a_table_is_written_with_its_other_values() {
        let panel = panel();
        let mut values = panel.values.clone();
        (values[0], values[399]) = (f64::NAN, 0.1 + 0.2);
        let text = String::from_utf8(panel.csv(&values, |_| true)).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (401, "household,day,kwh"));
        assert_eq!(lines[1], "\"a\",1970-01-01,");
        assert_eq!(lines[400], "\"d, \"\"e\"\"\",1970-04-10,0.30000000000000004");
        let half = panel.csv(&values, |time| time < panel.middle());
        assert_eq!(half.iter().filter(|byte| **byte == b'\n').count(), 201);
    }
}
