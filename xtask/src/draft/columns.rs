//! Columns of an input: the strictest type that every value has, and what of that is a guess.

use steppe_spec::{Column, ColumnType};
use steppe_wire::look::{ColumnLook, Form};

use super::names::Names;
use super::numbers::{Convention, Numeric};

/// Digits that a floating-point number keeps.
const DOUBLE_DIGITS: u32 = 15;
/// Digits of a decimal number, at most.
const DECIMAL_DIGITS: u32 = 38;
/// What names of columns say of UTC.
const UTC_WORDS: [&str; 3] = ["utc", "gmt", "zulu"];
/// What is said of times in a format that has them.
const OF_INSTANTS: &str = "instants are in UTC; `zone = \"UTC\"` and `as` would convert them";
/// Words for true and false.
const TRUTHS: [[&str; 2]; 4] = [["true", "false"], ["yes", "no"], ["t", "f"], ["y", "n"]];

/// A column as the manifest will have it.
#[derive(Debug, Clone)]
pub struct ColumnDraft {
    /// Its place in the file; none for one that `wide` makes.
    pub place: Option<usize>,
    /// What the manifest says.
    pub column: Column,
    /// What it says of it in a comment.
    pub note: Option<String>,
    /// Records without a value, marks not counted.
    pub empty: u64,
    /// Values that are negative.
    pub negative: u64,
    /// What stands where there is no value.
    pub marks: Vec<String>,
    /// How often it does.
    pub marked: u64,
    /// Different values; none when there are very many.
    pub distinct: Option<u64>,
    /// Letters of all values.
    pub characters: u64,
    /// Every value, when each names a moment.
    pub moments: Option<Vec<String>>,
}

/// Columns of an input, and what is left out.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// Those that are read.
    pub all: Vec<ColumnDraft>,
    /// Names of others, and why.
    pub left_out: Vec<(String, &'static str)>,
}

/// The columns of `looks`, with names that nobody has in `names`.
pub fn of(looks: &[&ColumnLook], places: &[usize], by: Convention, names: &mut Names) -> Columns {
    let mut columns = Columns::default();
    for (look, place) in looks.iter().zip(places) {
        if let Some(why) = unread(look, looks) {
            if !look.name.is_empty() || look.forms.iter().any(|form| form.count > 0) {
                columns.left_out.push((look.name.clone(), why));
            }
            continue;
        }
        columns.all.push(of_one(look, *place, by, names));
    }
    columns
}

/// Why a column is no column of the manifest.
pub fn unread(look: &ColumnLook, all: &[&ColumnLook]) -> Option<&'static str> {
    if look.name.is_empty() {
        return Some("it has no name");
    }
    if !look.is_read {
        return Some("values of its type are not read");
    }
    if all.iter().filter(|other| other.name == look.name).count() > 1 {
        return Some("several columns have this name");
    }
    look.forms.is_empty().then_some("it is empty")
}

fn of_one(look: &ColumnLook, place: usize, by: Convention, names: &mut Names) -> ColumnDraft {
    let name = names.column(&look.name, place + 1);
    let numeric = by.numeric(look);
    let (kind, zone, note) = match &look.kind {
        Some(word) => {
            let kind = typed(word, look);
            (kind, None, (kind == ColumnType::Timestamp).then(|| OF_INSTANTS.to_owned()))
        }
        None => text(look, numeric.as_ref()),
    };
    let marks = numeric.filter(|_| kind.is_number()).unwrap_or_default().marks;
    ColumnDraft {
        place: Some(place),
        column: Column {
            from: (look.name != name).then(|| look.name.clone()),
            zone,
            ..Column::new(&name, kind)
        },
        note: note.or_else(|| of_name(look, kind)),
        empty: look.empty,
        negative: look.forms.iter().map(|form| form.negative).sum(),
        marked: if marks.is_empty() { 0 } else { look.texts.iter().map(|(_, n)| n).sum() },
        marks,
        distinct: look.distinct,
        characters: look.characters,
        moments: look.moments.clone(),
    }
}

/// The type of a format that has types; a whole number gets the smaller one that all fit.
fn typed(word: &str, look: &ColumnLook) -> ColumnType {
    match ColumnType::parse(word) {
        Some(ColumnType::Bigint) if fits_int(&look.forms_range()) => ColumnType::Int,
        Some(kind) => kind,
        None => ColumnType::String,
    }
}

trait Range {
    fn forms_range(&self) -> Option<(i64, i64)>;
}

impl Range for ColumnLook {
    fn forms_range(&self) -> Option<(i64, i64)> {
        let ends = self.forms.iter().map(|form| form.least.zip(form.most));
        let ends = ends.collect::<Option<Vec<_>>>()?;
        let least = ends.iter().map(|(least, _)| *least).min()?;
        Some((least, ends.iter().map(|(_, most)| *most).max()?))
    }
}

/// Whether whole numbers fit into 32 bits, and ten times larger ones, too: data grow.
fn fits_int(range: &Option<(i64, i64)>) -> bool {
    let fits = |value: i64| value.checked_mul(10).is_some_and(|v| i32::try_from(v).is_ok());
    range.is_some_and(|(least, most)| fits(least) && fits(most))
}

/// The type of a column of text, the zone that its values name, and what has to be said.
fn text(
    look: &ColumnLook,
    numeric: Option<&Numeric>,
) -> (ColumnType, Option<String>, Option<String>) {
    let only = |forms: &[Form]| look.forms.iter().all(|found| forms.contains(&found.form));
    if only(&[Form::Date]) {
        return (ColumnType::Date, None, None);
    }
    if only(&[Form::Time]) {
        return (ColumnType::Timestamp, None, None);
    }
    if only(&[Form::Time, Form::TimeUtc]) {
        let note = "`Z`: times in UTC; `as = \"Europe/London\"` would convert them".to_owned();
        return (ColumnType::Timestamp, Some("UTC".to_owned()), Some(note));
    }
    if let Some(numeric) = numeric {
        return match &numeric.doubt {
            None => (number(numeric), None, None),
            Some(example) => (ColumnType::String, None, Some(doubt_note(example))),
        };
    }
    if is_truth(look) {
        return (ColumnType::Boolean, None, None);
    }
    let has = |form: &Form| look.forms.iter().find(|found| found.form == *form);
    let note = match (has(&Form::TimeOffset), has(&Form::OtherDate)) {
        (Some(time), _) => Some(format!(
            "`{}` has an offset, which is not read: `sql` of your own can, or write it in UTC",
            time.example
        )),
        (_, Some(date)) => Some(format!(
            "`{}` is no date in ISO 8601: `sql` of your own can read it",
            date.example
        )),
        _ => Convention::doubtful(look).map(|example| doubt_note(&example)),
    };
    (ColumnType::String, None, note)
}

fn doubt_note(example: &str) -> String {
    format!(
        "`{example}` can be one number or another: say which by `thousands` or `decimal`, then by \
         the type"
    )
}

/// The smallest type of numbers that loses nothing.
pub fn number(numeric: &Numeric) -> ColumnType {
    let (fewest, most) = numeric.decimals;
    match numeric.is_whole {
        true if fits_int(&numeric.range) => ColumnType::Int,
        true if numeric.range.is_some() => ColumnType::Bigint,
        // Amounts with the same decimals everywhere, too large for a double.
        false
            if numeric.digits > DOUBLE_DIGITS + 2
                && fewest == most
                && numeric.digits <= DECIMAL_DIGITS =>
        {
            ColumnType::Decimal(DECIMAL_DIGITS as u8, most as u8)
        }
        true if numeric.digits <= DECIMAL_DIGITS => ColumnType::Decimal(DECIMAL_DIGITS as u8, 0),
        _ => ColumnType::Double,
    }
}

/// Whether a column says true and false in words.
fn is_truth(look: &ColumnLook) -> bool {
    let words: Vec<String> = look.texts.iter().map(|(text, _)| text.to_lowercase()).collect();
    let told: u64 = look.texts.iter().map(|(_, count)| count).sum();
    let all: u64 = look.forms.iter().map(|form| form.count).sum();
    if look.has_more_texts || told != all || words.is_empty() {
        return false;
    }
    TRUTHS.iter().enumerate().any(|(at, pair)| {
        let only = words.iter().all(|word| pair.contains(&word.as_str()));
        // A letter alone may mean anything.
        let both = pair.iter().all(|word| words.iter().any(|other| other == word));
        only && (at < 2 || both)
    })
}

/// What the name of a column says of the zone of its times.
fn of_name(look: &ColumnLook, kind: ColumnType) -> Option<String> {
    let name = look.name.to_lowercase();
    let says =
        UTC_WORDS.iter().any(|word| name.split(|c: char| !c.is_alphanumeric()).any(|w| w == *word));
    if kind.is_time() && says {
        return Some(
            "the name says UTC: `zone = \"UTC\"`, and `as` for the zone of the table".to_owned(),
        );
    }
    (kind.is_time() && is_shifted_midnight(look)).then(|| {
        "guess: midnights of a zone with summer time, written in UTC: `type = \"date\", zone = \
         \"UTC\", as = \"Europe/London\"` would make days of them"
            .to_owned()
    })
}

/// Whether the times are on two neighbouring hours only, as local midnights in UTC are.
fn is_shifted_midnight(look: &ColumnLook) -> bool {
    let clocks = look.moments.iter().flatten().filter_map(|moment| moment.get(11..19));
    let clocks: std::collections::BTreeSet<&str> = clocks.collect();
    let clocks: Vec<&str> = clocks.into_iter().collect();
    matches!(clocks[..], ["00:00:00", "23:00:00"])
}

#[cfg(test)]
mod tests {
    use super::super::numbers::{PLAIN, tests::column};
    use super::*;

    fn kind(look: &ColumnLook) -> ColumnType {
        of(&[look], &[0], PLAIN, &mut Names::default()).all[0].column.kind
    }

    #[test]
    fn types_are_the_strictest_that_all_values_have() {
        assert_eq!(kind(&column(&["1", "4"], &["..."])), ColumnType::Int);
        assert_eq!(kind(&column(&["1", "1.1"], &[])), ColumnType::Double);
        assert_eq!(kind(&column(&["0"], &[])), ColumnType::String, "a code");
        assert_eq!(kind(&column(&[], &["Yes", "no"])), ColumnType::Boolean);
        assert_eq!(kind(&column(&[], &["y"])), ColumnType::String);
        assert_eq!(kind(&column(&[], &["y", "N"])), ColumnType::Boolean);
        let mut large = column(&["4"], &[]);
        large.forms[0].most = Some(3_000_000_000);
        assert_eq!(kind(&large), ColumnType::Bigint);
        (large.forms[0].most, large.forms[0].digits) = (None, 20);
        assert_eq!(kind(&large), ColumnType::Decimal(38, 0));
        large.kind = Some("date".to_owned());
        assert_eq!(kind(&large), ColumnType::Date);
        for (form, expected) in [
            (Form::Date, ColumnType::Date),
            (Form::Time, ColumnType::Timestamp),
            (Form::TimeUtc, ColumnType::Timestamp),
            (Form::TimeOffset, ColumnType::String),
            (Form::OtherDate, ColumnType::String),
        ] {
            let mut times = column(&["4"], &[]);
            times.forms[0].form = form.clone();
            let found = of(&[&times], &[0], PLAIN, &mut Names::default()).all.remove(0);
            assert_eq!(found.column.kind, expected, "{form:?}");
            let said = !matches!(form, Form::Date | Form::Time);
            assert_eq!(
                (found.note.is_some(), found.column.zone.is_some()),
                (said, form == Form::TimeUtc)
            );
        }
    }

    #[test]
    fn columns_that_cannot_be_told_apart_or_are_empty_are_left_out() {
        let named = |name: &str, patterns: &[&str]| ColumnLook {
            name: name.to_owned(),
            ..column(patterns, &[])
        };
        let looks = [
            named("Year", &["4"]),
            named("x", &["1"]),
            named("x", &["1"]),
            named("note", &[]),
            named("", &[]),
        ];
        let looks: Vec<&ColumnLook> = looks.iter().collect();
        let found = of(&looks, &[0, 1, 2, 3, 4], PLAIN, &mut Names::default());
        let names: Vec<_> =
            found.all.iter().map(|c| (&*c.column.name, c.column.source())).collect();
        assert_eq!(names, [("year", "Year")]);
        let left: Vec<&str> = found.left_out.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(left, ["x", "x", "note"]);
    }
}
