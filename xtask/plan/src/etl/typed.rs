//! The cleaning SQL that follows from the columns: texts become values of their types, and what
//! cannot be read is told, never lost.

use steppe_spec::{Action, Column, ColumnType, Format, Input};

use super::judged::Judgement;
use super::text::inner;

/// What is a number to both engines: `1d` and `NaN` are numbers to one only.
const NUMBER: &str = "^[-+]?[0-9]*[.]?[0-9]+([eE][-+]?[0-9]+)?$";
const DATE: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";
const TIMESTAMP: &str =
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?$";
/// The same, with the mark of UTC behind it.
const TIMESTAMP_UTC: &str =
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z?$";
const UTC: &str = "UTC";

/// Whether a format's columns are texts.
fn is_text(format: Format) -> bool {
    matches!(format, Format::Csv | Format::Json)
}

/// Columns of which what is there may be unreadable, or not fit.
fn doubtful(input: &Input) -> impl Iterator<Item = &Column> {
    let generated = input.sql.is_none();
    input.columns.iter().filter(move |c| generated && c.kind != ColumnType::String)
}

/// What is there, as a text; of a file with types only that something is.
fn text(input: &Input, column: &Column) -> String {
    match is_text(input.format) {
        true => inner(&column.name),
        false => format!("CASE WHEN {} IS NOT NULL THEN '?' END", column.name),
    }
}

/// Columns that are converted from times of a zone with a summer time.
fn local(input: &Input) -> impl Iterator<Item = (&Column, &str)> {
    let generated = input.sql.is_none();
    let zoned = move |c: &'_ Column| generated && converted(c);
    input.columns.iter().filter(move |c| zoned(c)).filter_map(|c| {
        let zone = c.zone.as_deref().filter(|zone| *zone != UTC)?;
        Some((c, zone))
    })
}

/// Whether a column's times are given in another zone than the file's.
fn converted(column: &Column) -> bool {
    column.local.is_some() && column.local != column.zone
}

/// The cleaning SQL that follows from the columns.
pub fn cleaning_sql(input: &Input) -> String {
    let columns: Vec<String> =
        input.columns.iter().map(|c| format!("{} AS {}", value(input, c), c.name)).collect();
    let texts = doubtful(input).map(|c| format!("{} AS _text_{}", text(input, c), c.name));
    let walls = local(input).map(|(c, _)| format!("{} AS _wall_{}", wall(input, c), c.name));
    let read: Vec<String> = columns.into_iter().chain(texts).chain(walls).collect();
    let read = format!("SELECT\n  _row,\n  {}\nFROM raw", read.join(",\n  "));
    let judged = [unreadable(input), odd_times(input)];
    let judged: Vec<String> = judged.into_iter().flatten().collect();
    if judged.is_empty() {
        return read;
    }
    let names: Vec<&str> = input.columns.iter().map(|c| c.name.as_str()).collect();
    let read = read.replace('\n', "\n  ");
    format!(
        "SELECT\n  _row, {},\n  {}\nFROM (\n  {read}\n) read",
        names.join(", "),
        judged.join(",\n  ")
    )
}

/// The first column whose text says something and cannot be read.
fn unreadable(input: &Input) -> Option<String> {
    let cases: String = doubtful(input)
        .map(|c| format!(" WHEN {0} IS NULL AND _text_{0} <> '' THEN '{0}'", c.name))
        .collect();
    (!cases.is_empty()).then(|| format!("CASE{cases} END AS _unreadable"))
}

/// The first column whose time does not exist in the file's zone, or exists twice: where clocks go
/// forward and back.
fn odd_times(input: &Input) -> Option<String> {
    let cases: String = local(input)
        .map(|(c, zone)| {
            let (wall, name) = (format!("_wall_{}", c.name), &c.name);
            let utc = format!("to_utc_timestamp({wall}, '{zone}')");
            let back = |shift: &str| format!("from_utc_timestamp({utc}{shift}, '{zone}')");
            format!(
                " WHEN {} <> {wall} OR {} = {wall} OR {} = {wall} THEN '{name}'",
                back(""),
                back(" + INTERVAL '1' HOUR"),
                back(" - INTERVAL '1' HOUR"),
            )
        })
        .collect();
    (!cases.is_empty()).then(|| format!("CASE{cases} END AS _odd_time"))
}

/// What is said of texts that cannot be read, and of times that do not exist or exist twice.
pub(super) fn judgements(input: &Input) -> impl Iterator<Item = Judgement> {
    let unreadable = doubtful(input).map(|c| Judgement {
        name: format!("{}_unreadable", c.name),
        column: c.name.clone(),
        when: format!("_unreadable = '{}'", c.name),
        reason: format!("cannot be read as {}", told(c)),
        action: Action::Fail,
    });
    let odd = local(input).map(|(c, zone)| Judgement {
        name: format!("{}_odd_time", c.name),
        column: c.name.clone(),
        when: format!("_odd_time = '{}'", c.name),
        reason: format!("this time does not exist in {zone}, or exists twice: clocks change then"),
        action: Action::Fail,
    });
    unreadable.chain(odd)
}

fn told(column: &Column) -> String {
    match column.kind {
        ColumnType::Int => "a whole number of 32 bits".to_owned(),
        ColumnType::Bigint => "a whole number".to_owned(),
        ColumnType::Double => "a number".to_owned(),
        ColumnType::Decimal(digits, scale) => {
            format!("a number with {digits} digits, {scale} of them after the point")
        }
        ColumnType::Boolean => "true or false".to_owned(),
        ColumnType::Date => "a date such as 2026-01-31".to_owned(),
        ColumnType::Timestamp => "a time such as 2026-01-31 12:00:00".to_owned(),
        ColumnType::String => "text".to_owned(),
    }
}

/// The value of a column, in the zone in which the table has it.
fn value(input: &Input, column: &Column) -> String {
    if !converted(column) {
        return plain(input, column, column.kind);
    }
    let (zone, local) = (column.zone.as_deref(), column.local.as_deref());
    let mut time = wall(input, column);
    if let Some(zone) = zone.filter(|zone| *zone != UTC) {
        time = format!("to_utc_timestamp({time}, '{zone}')");
    }
    if let Some(local) = local.filter(|local| *local != UTC) {
        time = format!("from_utc_timestamp({time}, '{local}')");
    }
    if column.kind == ColumnType::Date { format!("CAST({time} AS DATE)") } else { time }
}

/// The time as the file says it.
fn wall(input: &Input, column: &Column) -> String {
    plain(input, column, ColumnType::Timestamp)
}

/// What a column says, as this type.
fn plain(input: &Input, column: &Column, kind: ColumnType) -> String {
    let name = &column.name;
    if !is_text(input.format) {
        return match kind {
            ColumnType::String => format!("NULLIF({}, '')", inner(name)),
            // The file's own, which is exact: a cast would go by way of nanoseconds.
            ColumnType::Timestamp => name.clone(),
            _ => format!("TRY_CAST({name} AS {})", kind.hive().to_uppercase()),
        };
    }
    let value = inner(name);
    let matching = |pattern: &str, then: &str| {
        format!("CASE WHEN REGEXP_LIKE({value}, '{pattern}') THEN {then} END")
    };
    let cast = |kind: ColumnType| format!("TRY_CAST({value} AS {})", kind.hive().to_uppercase());
    match kind {
        ColumnType::String => format!("NULLIF({value}, '')"),
        ColumnType::Int | ColumnType::Bigint => cast(kind),
        ColumnType::Double => matching(NUMBER, &cast(kind)),
        // More digits after the point would be rounded, by each engine in its way.
        ColumnType::Decimal(_, 0) => matching("^[-+]?[0-9]+$", &cast(kind)),
        ColumnType::Decimal(_, scale) => {
            matching(&format!("^[-+]?[0-9]+([.][0-9]{{1,{scale}}})?$"), &cast(kind))
        }
        ColumnType::Boolean => format!(
            "CASE WHEN LOWER({value}) IN ('true', 't', 'yes', 'y', '1') THEN TRUE \
             WHEN LOWER({value}) IN ('false', 'f', 'no', 'n', '0') THEN FALSE END"
        ),
        ColumnType::Date => matching(DATE, &cast(kind)),
        ColumnType::Timestamp if column.zone.as_deref() == Some(UTC) => {
            matching(TIMESTAMP_UTC, &format!("TRY_CAST(REPLACE({value}, 'Z', '') AS TIMESTAMP)"))
        }
        ColumnType::Timestamp => matching(TIMESTAMP, &cast(kind)),
    }
}
