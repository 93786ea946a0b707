//! The task, and what it needs of its input: types, rules, and a table where columns do not do.

use steppe_spec::{Action, Column, ColumnType, Family, Frequency, Rule};
use steppe_wire::etl::TableFormat;

use super::choice::Choice;
use super::columns::ColumnDraft;
use super::input::InputDraft;
use super::series::Series;

/// The zone that is UTC under another name, so that times in it are converted to days.
const UTC: &str = "Etc/UTC";

/// Name of the table that is made where columns do not do.
pub const TABLE: &str = "history";

/// The task as the manifest will have it.
#[derive(Debug, Clone)]
pub struct TaskDraft {
    /// The place of its input.
    pub input: usize,
    /// The table that it is about, when it is not the input's.
    pub table: Option<TableDraft>,
    /// Columns.
    pub series: String,
    /// Column of the period.
    pub time: String,
    /// Column that is forecast.
    pub target: String,
    /// How often there is a value.
    pub frequency: Frequency,
    /// Whether the target may be negative.
    pub is_signed: bool,
    /// What is said of the series, the time and the target.
    pub notes: [Option<String>; 3],
    /// Series that are left out.
    pub leave_out: Vec<String>,
    /// Whether a series that is the sum of the others stays.
    pub keeps_total: bool,
    /// Whether the newest period is incomplete.
    pub is_partial: bool,
    /// Families that compete, when there are too few periods for some.
    pub candidates: Option<Vec<Family>>,
}

/// A table by SQL.
#[derive(Debug, Clone)]
pub struct TableDraft {
    /// Its name.
    pub name: String,
    /// Why it is needed.
    pub why: String,
    /// Whether it has one series.
    pub is_one_series: bool,
    /// Its statement.
    pub sql: String,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// The task about `input`, which stands at `at`; `taken` are names of tables.
pub fn of(
    at: usize,
    input: &mut InputDraft,
    choice: &Choice,
    series: &Series,
    name: &str,
) -> TaskDraft {
    let of_time = type_time(input, choice);
    let constant = input.columns.all.iter().position(|column| {
        let filled = column.distinct == Some(1) && column.empty == 0 && column.place.is_some();
        column.column.kind == ColumnType::String && filled
    });
    let parts: Vec<usize> = match series.columns[..] {
        [] if !series.is_exact => constant.into_iter().collect(),
        _ => series.columns.clone(),
    };
    let is_typed = !matches!(input.format, TableFormat::Csv | TableFormat::Json);
    for part in parts.iter().filter(|_| !is_typed) {
        input.columns.all[*part].column.kind = ColumnType::String;
        input.columns.all[*part].column.zone = None;
    }
    let column = |at: usize| input.columns.all[at].column.clone();
    let (time, target) = (column(choice.time), column(choice.target));
    let is_text = |at: &usize| column(*at).kind == ColumnType::String;
    let plain = parts.len() == 1 && parts.iter().all(is_text);
    let table = (!plain || series.is_exact).then(|| {
        let parts: Vec<Column> = parts.iter().map(|at| column(*at)).collect();
        table(input, &parts, [&time, &target], series.is_exact, name)
    });
    let series_name = match &table {
        Some(table) => table.columns[0].name.clone(),
        None => column(parts[0]).name,
    };
    let is_signed = input.columns.all[choice.target].negative > 0;
    let notes = [series_note(input, series, &parts), of_time, target_note(input, choice)];
    demand(input, choice, &parts, table.is_some(), is_signed);
    let keys = parts.iter().map(|at| input.columns.all[*at].column.name.clone());
    if table.is_some() && !series.is_exact {
        input.unique = keys.chain([time.name.clone()]).collect();
    }
    input.rejects_duplicates = series.repeated > 0 && !series.is_exact;
    if choice.times.is_year_of_day || input.wide.as_ref().is_some_and(|wide| wide.has_suffix) {
        read_years(input, choice, &parts);
    }
    TaskDraft {
        input: at,
        table,
        series: series_name,
        time: time.name,
        target: target.name,
        frequency: choice.times.frequency,
        is_signed,
        notes,
        leave_out: vec![],
        keeps_total: false,
        is_partial: false,
        candidates: None,
    }
}

/// Gives the time a type that its frequency has; what is to be said of that.
fn type_time(input: &mut InputDraft, choice: &Choice) -> Option<String> {
    let is_typed = !matches!(input.format, TableFormat::Csv | TableFormat::Json);
    let column = &mut input.columns.all[choice.time];
    let own = &mut column.column;
    let others = || match &choice.other_times[..] {
        [] => None,
        names => Some(format!("guess: `{}` names times, too", names.join("`, `"))),
    };
    match (choice.times.frequency, own.kind) {
        (Frequency::Yearly, _) => {
            own.kind = ColumnType::Int;
            own.zone = None;
            column.note = None;
        }
        (Frequency::Hourly | Frequency::HalfHourly, _) | (_, ColumnType::Date) => {}
        (_, ColumnType::Timestamp) if is_typed => own.kind = ColumnType::Date,
        (_, ColumnType::Timestamp) if own.zone.is_some() => {
            (own.kind, own.local) = (ColumnType::Date, Some(UTC.to_owned()));
            column.note = None;
            return Some(
                "guess: days of UTC; `as` of the column may name the zone of the place".to_owned(),
            );
        }
        _ => own.kind = ColumnType::String,
    }
    others()
}

fn series_note(input: &InputDraft, series: &Series, parts: &[usize]) -> Option<String> {
    let name = |at: &usize| input.columns.all[*at].column.source().to_owned();
    let why = match (&series.columns[..], parts, &series.others[..]) {
        ([], [_], _) => Some("it says the same everywhere, so there is one series".to_owned()),
        (_, _, [other, ..]) => Some(format!("`{}` tells the records apart as well", name(other))),
        _ => None,
    };
    let compared = series.compared.map(|n| format!("only the first {n} records were compared"));
    let all: Vec<String> = why.into_iter().chain(compared).collect();
    (!all.is_empty()).then(|| format!("guess: {}", all.join("; ")))
}

fn target_note(input: &InputDraft, choice: &Choice) -> Option<String> {
    let made = input.columns.all[choice.target].place.is_none();
    (choice.is_only_target && !made)
        .then(|| "guess: the only column of numbers that vary".to_owned())
}

/// A table with a column that names the series.
fn table(
    input: &InputDraft,
    parts: &[Column],
    [time, target]: [&Column; 2],
    is_exact: bool,
    name: &str,
) -> TableDraft {
    let text = |column: &Column| match column.kind {
        ColumnType::String => column.name.clone(),
        _ => format!("CAST({} AS STRING)", column.name),
    };
    let (series, mut why) = match parts {
        [] => (format!("'{name}'"), "no column names series, and there is one".to_owned()),
        [one] => (text(one), "the series is named by a number".to_owned()),
        several => {
            let texts: Vec<String> = several.iter().map(text).collect();
            let why = "a series is named by several columns together".to_owned();
            (format!("CONCAT({})", texts.join(", ' / ', ")), why)
        }
    };
    if is_exact {
        why = "some records are there more than once, and are equal in everything".to_owned();
    }
    let own = match parts {
        [one] if one.kind == ColumnType::String => one.name.clone(),
        _ if [&time.name, &target.name].iter().any(|name| *name == "series") => {
            "series_name".to_owned()
        }
        _ => "series".to_owned(),
    };
    let distinct = if is_exact { "DISTINCT " } else { "" };
    let (day, value) = (&time.name, &target.name);
    let sql = format!(
        "-- {why}\nSELECT {distinct}{series} AS {own}, {day}, {value}\nFROM {}\n",
        input.name
    );
    let plain = |column: &Column| Column::new(&column.name, column.kind);
    let columns = vec![Column::new(&own, ColumnType::String), plain(time), plain(target)];
    TableDraft { name: TABLE.to_owned(), why, is_one_series: parts.is_empty(), sql, columns }
}

/// Rules, where those that follow from the task would refuse what is there, or do not follow.
fn demand(
    input: &mut InputDraft,
    choice: &Choice,
    parts: &[usize],
    is_table: bool,
    is_signed: bool,
) {
    let column = |at: usize| &input.columns.all[at];
    let missing = |at: usize| {
        let column = column(at);
        column.empty + if is_table { column.marked } else { 0 }
    };
    let all = parts.iter().copied().chain([choice.time, choice.target]);
    if !is_table && all.clone().all(|at| missing(at) == 0) {
        return;
    }
    let rule = |at: usize, what: &str, when: String, reason: String| Rule {
        name: format!("{}_{what}", column(at).column.name),
        column: None,
        when,
        reason,
        action: if missing(at) > 0 { Action::Reject } else { Action::Fail },
    };
    let given = |at: usize| {
        let name = &column(at).column.name;
        rule(at, "given", format!("{name} IS NULL"), format!("the {name} must not be empty"))
    };
    let mut rules: Vec<Rule> = parts.iter().map(|at| given(*at)).collect();
    let time = &column(choice.time).column.name;
    rules.push(match choice.times.frequency {
        Frequency::Yearly => {
            let when = format!("{time} IS NULL OR {time} < 1000 OR {time} > 2999");
            rule(choice.time, "valid", when, format!("the {time} must be a year"))
        }
        _ => given(choice.time),
    });
    let target = &column(choice.target).column.name;
    let (sign, told) = match is_signed {
        true => (String::new(), ""),
        false => (format!(" OR {target} < 0"), " that is not negative"),
    };
    let reason = format!("the {target} must be a number{told}");
    rules.push(rule(choice.target, "valid", format!("{target} IS NULL{sign}"), reason));
    input.rules = rules;
}

/// Years that are written as days, or with a word behind: the first four digits say them.
fn read_years(input: &mut InputDraft, choice: &Choice, parts: &[usize]) {
    let wanted = |at: usize| parts.contains(&at) || at == choice.time || at == choice.target;
    let time = input.columns.all[choice.time].column.name.clone();
    let all = std::mem::take(&mut input.columns.all);
    let kept = all.into_iter().enumerate().filter(|(at, _)| wanted(*at));
    input.columns.all = kept.map(|(_, column)| column).collect();
    let value = |column: &ColumnDraft| {
        let Column { name, kind, .. } = &column.column;
        let word = kind.hive().to_uppercase();
        match kind {
            _ if *name == time => format!("TRY_CAST(SUBSTR(TRIM({name}), 1, 4) AS INT)"),
            ColumnType::Int | ColumnType::Bigint => format!("TRY_CAST(TRIM({name}) AS {word})"),
            // Words such as `NaN` are numbers to one engine only.
            kind if kind.is_number() => format!(
                "CASE WHEN REGEXP_LIKE(TRIM({name}), '^[-+]?[0-9]*[.]?[0-9]+$') \
                 THEN TRY_CAST(TRIM({name}) AS {word}) END"
            ),
            _ => format!("NULLIF(TRIM({name}), '')"),
        }
    };
    let all = input.columns.all.iter();
    let select: Vec<String> =
        all.map(|column| format!("{} AS {}", value(column), column.column.name)).collect();
    input.sql = Some(format!(
        "-- A year is the beginning of what the file says.\n\
         SELECT\n  _row,\n  {}\nFROM raw\n",
        select.join(",\n  ")
    ));
}
