//! What people should know about a set of series: which ended, which lack values, whose names look
//! alike, and which is the sum of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};
use steppe_wire::hint::text;

use super::{Dataset, Series};

/// Series that a note names; more are counted.
const NAMED_MAX: usize = 5;
/// Periods that a series must be the sum of the others in.
const TOTAL_PERIODS_MIN: usize = 3;
/// How far from the sum a total may be, as a share of it: rounding of published tables.
const TOTAL_TOLERANCE: f64 = 1e-6;

/// Something about the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum Note {
    /// Missing values were filled by the value before.
    Filled {
        /// How many.
        values: usize,
        /// In how many series.
        series: usize,
    },
    /// Missing values of a feature are the ones before.
    Carried {
        /// The feature.
        feature: String,
        /// How many.
        values: usize,
        /// In how many series.
        series: usize,
    },
    /// Values before a long gap are not used.
    Split {
        /// The series.
        series: String,
        /// First period that is used.
        from: String,
        /// Periods without a value before it.
        missing: usize,
    },
    /// A series with a long gap is left out.
    Gap {
        /// The series.
        series: String,
        /// First period without a value.
        from: String,
        /// How many there are.
        missing: usize,
    },
    /// A series has no new values, while others have.
    Ended {
        /// The series.
        series: String,
        /// Its newest period.
        last: String,
        /// The newest period of all.
        newest: String,
    },
    /// A series lacks the newest periods, and is forecast from an earlier one than the others.
    Late {
        /// The series.
        series: String,
        /// Its newest period.
        last: String,
        /// The newest period of all.
        newest: String,
    },
    /// Two names differ only in white space, Unicode form or case.
    Alike {
        /// One name.
        one: String,
        /// The other.
        other: String,
    },
    /// A series is the sum of all others.
    Total {
        /// The series.
        series: String,
        /// How many others there are.
        others: usize,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filled { values, series } => write!(
                f,
                "{values} missing values of {series} series are filled by the value before; no \
                 forecast is judged by them"
            ),
            Self::Carried { feature, values, series } => write!(
                f,
                "{values} missing values of the feature `{feature}`, in {series} series, are filled \
                 by the value before"
            ),
            Self::Split { series, from, missing } => write!(
                f,
                "`{}` has no value for {missing} periods before {from}: its earlier values are \
                 not used",
                shown(series)
            ),
            Self::Gap { series, from, missing } => write!(
                f,
                "`{}` has no value for {missing} periods from {from} on: it is left out",
                shown(series)
            ),
            Self::Ended { series, last, newest } => {
                write!(f, "`{}` ends in {last}, while others go on to {newest}", shown(series))
            }
            Self::Late { series, last, newest } => write!(
                f,
                "`{}` is known until {last} only, others until {newest}: its forecast begins \
                 earlier",
                shown(series)
            ),
            Self::Alike { one, other } => write!(
                f,
                "`{}` and `{}` are two series whose names differ only in white space, Unicode \
                 form or case ({})",
                shown(one),
                shown(other),
                difference(one, other)
            ),
            Self::Total { series, others } => write!(
                f,
                "`{}` is the sum of the other {others} series: sums over all series count \
                 everything twice",
                shown(series)
            ),
        }
    }
}

impl Note {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Alike { .. } => Some("if they are one, make them equal in the cleaning SQL"),
            _ => None,
        }
    }

    /// Counts one more series in which `values` of a feature were missing.
    pub(super) fn carried(notes: &mut Vec<Self>, name: &str, more: usize) {
        for note in notes.iter_mut() {
            match note {
                Self::Carried { feature, values, series } if feature == name => {
                    (*values, *series) = (*values + more, *series + 1);
                    return;
                }
                _ => {}
            }
        }
        notes.push(Self::Carried { feature: name.to_owned(), values: more, series: 1 });
    }
}

/// A name as a terminal may show it: what is invisible in it is escaped.
fn shown(name: &str) -> String {
    let visible = |c: char| match c {
        ' ' => " ".to_owned(),
        c if c.is_whitespace() || c.is_control() => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    name.chars().map(visible).collect()
}

/// The first characters in which two names differ, by their code points.
fn difference(one: &str, other: &str) -> String {
    let code = |c: Option<char>| {
        c.map_or_else(|| "nothing".to_owned(), |c| format!("U+{:04X}", u32::from(c)))
    };
    let (mut a, mut b) = (one.chars(), other.chars());
    loop {
        match (a.next(), b.next()) {
            (Some(x), Some(y)) if x == y => {}
            (None, None) => return "equal".to_owned(),
            (x, y) => return format!("{} and {}", code(x), code(y)),
        }
    }
}

/// A name without what the eye does not tell apart.
fn folded(name: &str) -> String {
    let composed = ComposingNormalizerBorrowed::new_nfkc().normalize(name);
    let words: Vec<&str> = composed.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

impl Dataset {
    /// Looks at the whole set.
    pub(super) fn look(&mut self) {
        let filled = self.series.iter().filter(|s| !s.filled.is_empty()).count();
        if filled > 0 {
            self.notes.push(Note::Filled { values: self.filled(), series: filled });
        }
        let newest = self.last();
        let behind = self.series.iter().filter(|series| series.last() < newest);
        let (last, newest) =
            (|s: &Series| self.calendar.label(s.last()), self.calendar.label(newest));
        let late = |series: &Series| match self.has_ended(series) {
            true => Note::Ended {
                series: series.name.clone(),
                last: last(series),
                newest: newest.clone(),
            },
            false => Note::Late {
                series: series.name.clone(),
                last: last(series),
                newest: newest.clone(),
            },
        };
        let late: Vec<Note> = behind.map(late).collect();
        let (alike, total) = (self.alike(), self.total());
        self.notes.extend(late);
        self.notes.extend(alike);
        self.notes.extend(total);
    }

    /// Whether a series has no values where others go on.
    pub fn has_ended(&self, series: &Series) -> bool {
        self.last() - series.last() > self.gaps.fill as i64
    }

    /// Names of all series, also of those that have been left out, in their order.
    pub fn names(&self) -> Vec<String> {
        let left_out = self.notes.iter().filter_map(|note| match note {
            Note::Gap { series, .. } => Some(series),
            _ => None,
        });
        let all: BTreeSet<&String> =
            self.series.iter().map(|series| &series.name).chain(left_out).collect();
        all.into_iter().cloned().collect()
    }

    /// Why the series called `name` is not forecast; none when it is, or when nobody knows it.
    pub fn absence(&self, name: &str) -> Option<String> {
        let about = |note: &&Note| match note {
            Note::Gap { series, .. } => series == name,
            Note::Ended { series, .. } => {
                series == name && self.gaps.ended == steppe_spec::Ended::LeaveOut
            }
            _ => false,
        };
        self.notes.iter().find(about).map(ToString::to_string)
    }

    /// What a reader of the forecast of `name` should know.
    pub fn remark(&self, name: &str) -> Option<String> {
        let about = |note: &&Note| match note {
            Note::Late { series, .. }
            | Note::Ended { series, .. }
            | Note::Split { series, .. }
            | Note::Total { series, .. } => series == name,
            Note::Alike { one, other } => one == name || other == name,
            Note::Filled { .. } | Note::Carried { .. } | Note::Gap { .. } => false,
        };
        // A hint is for whoever deploys.
        let told: Vec<String> = self.notes.iter().filter(about).map(Note::to_string).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    fn alike(&self) -> Vec<Note> {
        let mut by_look: BTreeMap<String, &str> = BTreeMap::new();
        let mut notes = Vec::new();
        for series in &self.series {
            if let Some(one) = by_look.insert(folded(&series.name), &series.name) {
                notes.push(Note::Alike { one: one.to_owned(), other: series.name.clone() });
            }
        }
        notes
    }

    /// The series that in every period is what all others add up to.
    fn total(&self) -> Option<Note> {
        if self.series.len() < 3 {
            return None;
        }
        let mut sums: BTreeMap<i64, f64> = BTreeMap::new();
        for (period, value) in self.series.iter().flat_map(Series::observations) {
            *sums.entry(period).or_default() += value;
        }
        let is_total = |series: &&Series| {
            let mut periods = 0;
            let all = series.observations().all(|(period, value)| {
                periods += 1;
                let others = sums.get(&period).map_or(0.0, |sum| sum - value);
                (others - value).abs() <= TOTAL_TOLERANCE * value.abs()
            });
            let some = series.values.iter().any(|value| *value != 0.0);
            all && some && periods >= TOTAL_PERIODS_MIN
        };
        let series = self.series.iter().find(is_total)?;
        Some(Note::Total { series: series.name.clone(), others: self.series.len() - 1 })
    }
}

/// Notes as lines for people: of each kind the first few, and how many more there are.
pub fn lines(notes: &[Note]) -> Vec<String> {
    let mut by_kind: Vec<(std::mem::Discriminant<Note>, Vec<&Note>)> = Vec::new();
    for note in notes {
        let kind = std::mem::discriminant(note);
        match by_kind.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, of_kind)) => of_kind.push(note),
            None => by_kind.push((kind, vec![note])),
        }
    }
    let mut lines = Vec::new();
    for (_, of_kind) in by_kind {
        lines.extend(
            of_kind.iter().take(NAMED_MAX).map(|note| text(&note.to_string(), note.hint())),
        );
        if of_kind.len() > NAMED_MAX {
            lines.push(format!("and {} more series like that", of_kind.len() - NAMED_MAX));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use steppe_spec::Frequency;

    fn notes(series: Vec<Series>) -> Vec<String> {
        let mut data = Dataset::new(Frequency::Yearly, series);
        data.look();
        lines(data.notes())
    }

    fn plain(name: &str, start: i64, values: &[f64]) -> Series {
        Series::new(name, start, values.to_vec())
    }

    #[test]
    fn a_series_that_ended_is_told_from_one_that_is_late() {
        let told = notes(vec![
            plain("A", 2000, &[1.0; 20]),
            plain("D", 2000, &[1.0; 10]),
            plain("L", 2000, &[1.0; 19]),
        ]);
        assert_eq!(told[0], "`D` ends in 2009, while others go on to 2019");
        assert!(told[1].starts_with("`L` is known until 2018 only"), "{told:?}");
    }

    #[test]
    fn names_that_look_alike_are_told() {
        let told = notes(vec![
            plain("Нур Султан", 2000, &[1.0; 4]),
            plain("Нур\u{a0}Султан", 2000, &[2.0; 4]),
        ]);
        assert!(told[0].contains("`Нур\\u{a0}Султан`"), "{told:?}");
        assert!(told[0].contains("(U+0020 and U+00A0)"), "{told:?}");
        assert_eq!(folded("É  a"), folded("e\u{301} A"));
        assert_ne!(folded("Almaty"), folded("Almaty Region"));
    }

    #[test]
    fn a_total_is_told_from_its_parts() {
        let parts = [[1.0, 2.0, 4.0], [3.0, 5.0, 6.0]];
        let sum: Vec<f64> = (0..3).map(|i| parts[0][i] + parts[1][i]).collect();
        let mut series = vec![
            plain("a", 2000, &parts[0]),
            plain("b", 2000, &parts[1]),
            plain("Republic", 2000, &sum),
        ];
        assert!(notes(series.clone())[0].starts_with("`Republic` is the sum of the other 2"));
        let mut data = Dataset::new(Frequency::Yearly, series.clone());
        data.look();
        assert!(data.remark("Republic").is_some_and(|told| told.ends_with("everything twice")));
        assert_eq!(data.remark("a"), None);
        series[2].values[1] += 1.0;
        assert_eq!(notes(series), [""; 0]);
        let zeros = ["a", "b", "c"].map(|name| plain(name, 2000, &[0.0; 5]));
        assert_eq!(notes(zeros.to_vec()), [""; 0], "all zero is no total");
    }

    #[test]
    fn many_notes_of_one_kind_are_counted() {
        let mut series: Vec<Series> =
            (0..30).map(|i| plain(&format!("s{i:02}"), 2000, &[1.0; 3])).collect();
        series.push(plain("z", 2000, &[2.0; 20]));
        let told = notes(series);
        assert_eq!((told.len(), told[5].as_str()), (6, "and 25 more series like that"));
    }
}
