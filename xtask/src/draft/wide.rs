//! Tables with a column per period: which columns are periods, and what they become.

use std::collections::BTreeSet;

use steppe_model::Calendar;
use steppe_spec::{Column, ColumnType, Frequency};
use steppe_wire::look::ColumnLook;

use super::columns::{ColumnDraft, number};
use super::names::Names;
use super::numbers::{Convention, Numeric};
use super::times::{self, Times};

/// Columns of periods that make a table wide.
const PERIODS_MIN: usize = 3;
/// Digits of a year.
const YEAR_DIGITS: usize = 4;

/// How the columns of a wide table become records.
#[derive(Debug, Clone)]
pub struct WideDraft {
    /// Places of the columns that are periods.
    pub periods: Vec<usize>,
    /// Columns of the file that stay, as it calls them.
    pub keep: Vec<String>,
    /// The periods.
    pub times: Times,
    /// Whether names say more than the period: `2000 г.`.
    pub has_suffix: bool,
    /// What the columns of periods and values are called.
    pub made: [String; 2],
    /// Cells with a value.
    pub records: u64,
}

/// The wide form of a table; none when its columns are no periods.
pub fn of(looks: &[ColumnLook]) -> Option<WideDraft> {
    let named = |at: &usize| !looks[*at].name.is_empty();
    let plain = |at: &usize| looks[*at].name.clone();
    let year = |at: &usize| year_of(&looks[*at].name);
    let names = || (0..looks.len()).filter(named);
    // A name that is a period as a whole, or else one that begins with a year.
    let whole: Vec<(usize, String)> =
        names().filter(|at| is_period(&plain(at))).map(|at| (at, plain(&at))).collect();
    let begun: Vec<(usize, String)> = names().filter_map(|at| Some((at, year(&at)?))).collect();
    let (periods, has_suffix) =
        if begun.len() > whole.len() { (begun, true) } else { (whole, false) };
    if periods.len() < PERIODS_MIN || periods.len() == names().count() {
        return None;
    }
    let texts: Vec<String> = periods.iter().map(|(_, text)| text.clone()).collect();
    let times = times::of(&texts).ok()?;
    let places: Vec<usize> = periods.into_iter().map(|(at, _)| at).collect();
    let keep = names().filter(|at| !places.contains(at)).map(|at| plain(&at)).collect();
    let made = ["period".to_owned(), "value".to_owned()];
    Some(WideDraft { periods: places, keep, times, has_suffix, made, records: 0 })
}

/// Whether a name is a period: more than a number of a few digits.
fn is_period(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    digits >= YEAR_DIGITS && (year_of(name).as_deref() == Some(name) || names_part(name))
}

/// Whether a text is the name of a quarter, a month, a day or a time.
fn names_part(text: &str) -> bool {
    let mut all = [Frequency::Quarterly, Frequency::Monthly, Frequency::Daily].into_iter();
    all.any(|frequency| Calendar::of(frequency).parse(text).is_some())
}

/// The year with which a name begins.
fn year_of(name: &str) -> Option<String> {
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    let year = name.get(..YEAR_DIGITS).filter(|_| digits == YEAR_DIGITS)?;
    let rest = name[YEAR_DIGITS..].trim_start();
    // `2000-01` and `2000Q1` name parts of a year.
    let plain =
        rest.is_empty() || rest.starts_with(|c: char| c.is_alphabetic() || "[(".contains(c));
    let part = rest.starts_with(['Q', 'q', 'M', 'm', 'K', 'k', 'T', 'W', 'w'])
        && rest[1..].starts_with(|c: char| c.is_ascii_digit());
    let known = (1_500..2_300).contains(&year.parse::<u16>().ok()?);
    (plain && !part && known).then(|| year.to_owned())
}

impl WideDraft {
    /// The columns of periods and of values; none when the cells are no numbers.
    pub fn columns(
        &mut self,
        looks: &[ColumnLook],
        by: Convention,
        names: &mut Names,
    ) -> Option<[ColumnDraft; 2]> {
        let cells: Vec<&ColumnLook> = self.periods.iter().map(|at| &looks[*at]).collect();
        // A period without any value is one, too.
        let (empty, filled): (Vec<_>, Vec<_>) =
            cells.iter().copied().partition(|look| Convention::only_marks(look).is_some());
        let numbers =
            filled.into_iter().map(|look| by.numeric(look)).collect::<Option<Vec<Numeric>>>()?;
        let mut all = numbers.into_iter().reduce(together)?;
        all.marks.extend(empty.into_iter().filter_map(Convention::only_marks).flatten());
        if all.doubt.is_some() {
            return None;
        }
        let count = |look: &&ColumnLook| look.forms.iter().map(|form| form.count).sum::<u64>();
        let marked: u64 = cells.iter().flat_map(|look| &look.texts).map(|(_, n)| n).sum();
        self.records = cells.iter().map(count).sum::<u64>() - marked;
        let period = match self.times.frequency {
            Frequency::Yearly => ("year", ColumnType::Int),
            Frequency::Quarterly => ("quarter", ColumnType::String),
            Frequency::Monthly => ("month", ColumnType::String),
            _ if self.times.has_clock => ("time", ColumnType::String),
            _ => ("day", ColumnType::Date),
        };
        self.made = [names.column(period.0, 0), names.column("value", 0)];
        let made = |name: &str, kind| ColumnDraft {
            place: None,
            column: Column::new(name, kind),
            note: None,
            empty: 0,
            negative: 0,
            marks: vec![],
            marked: 0,
            distinct: None,
            characters: 0,
            moments: None,
        };
        // Of different values per column only a bound is known, which says nothing here.
        let values = ColumnDraft {
            negative: all.negative,
            marks: all.marks.clone(),
            ..made(&self.made[1], number(&all))
        };
        Some([made(&self.made[0], period.1), values])
    }

    /// Names of columns that are there twice.
    pub fn repeated(&self, looks: &[ColumnLook]) -> Option<String> {
        let mut seen = BTreeSet::new();
        let mut names = self.periods.iter().map(|at| &looks[*at].name);
        names.find(|name| !seen.insert(*name)).cloned()
    }
}

/// Numbers of two columns as those of one.
fn together(mut one: Numeric, other: Numeric) -> Numeric {
    one.is_whole &= other.is_whole;
    one.digits = one.digits.max(other.digits);
    one.decimals = (one.decimals.0.min(other.decimals.0), one.decimals.1.max(other.decimals.1));
    one.negative += other.negative;
    one.range = one.range.zip(other.range).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1)));
    one.marks.extend(other.marks);
    one.marks.sort_unstable();
    one.marks.dedup();
    one.doubt = one.doubt.or(other.doubt);
    one
}

#[cfg(test)]
mod tests {
    use super::super::numbers::{PLAIN, tests::column};
    use super::*;

    fn looks(names: &[&str]) -> Vec<ColumnLook> {
        let texts =
            |at: usize| if at == 0 { column(&[], &["A", "B"]) } else { column(&["3"], &[]) };
        let named =
            |(at, name): (usize, &&str)| ColumnLook { name: (*name).to_owned(), ..texts(at) };
        names.iter().enumerate().map(named).collect()
    }

    #[test]
    fn columns_of_periods_make_a_table_wide() {
        for (names, frequency, has_suffix) in [
            (&["Регион", "2000", "2001", "2002"][..], Frequency::Yearly, false),
            (
                &["Country", "2000 [YR2000]", "2001 [YR2001]", "2002 [YR2002]"],
                Frequency::Yearly,
                true,
            ),
            (&["Регион", "2000 г.", "2001 г.", "2002 г."], Frequency::Yearly, true),
            (&["a", "2000-01", "2000-02", "2000-03"], Frequency::Monthly, false),
            (&["a", "2000Q1", "2000Q2", "2000Q3"], Frequency::Quarterly, false),
            (&["a", "2000-01-01", "2000-01-02", "2000-01-03"], Frequency::Daily, false),
        ] {
            let looks = looks(names);
            let mut found = of(&looks).expect("wide");
            assert_eq!(
                (found.times.frequency, found.has_suffix),
                (frequency, has_suffix),
                "{names:?}"
            );
            assert_eq!(found.keep, [names[0]]);
            let made = found.columns(&looks, PLAIN, &mut Names::default()).expect("numbers");
            assert_eq!((made[1].column.name.as_str(), found.records), ("value", 150));
        }
        for names in
            [&["region", "year", "n"][..], &["V1", "V2", "V3", "V4"], &["a", "1", "2", "3"]]
        {
            assert!(of(&looks(names)).is_none(), "{names:?}");
        }
    }
}
