//! Which columns a forecast is about: the time, the target, and what may name its series.
//!
//! Only what is clear is chosen; anything else is refused with the candidates.

use steppe_spec::{ColumnType, Frequency};

use super::columns::ColumnDraft;
use super::input::InputDraft;
use super::times::{self, Times};

/// Names by which columns of times are called.
const TIMES: [&str; 25] = [
    "date",
    "day",
    "time",
    "timestamp",
    "datetime",
    "year",
    "month",
    "week",
    "quarter",
    "period",
    "hour",
    "ds",
    "t",
    "ref_date",
    "reference_date",
    "god",
    "data",
    "zhyl",
    "jahr",
    "datum",
    "ar",
    "anno",
    "fecha",
    "dt",
    "when",
];
/// Parts of a period that are columns of their own.
const PARTS: [&str; 6] = ["month", "quarter", "week", "mesiats", "monat", "kvartal"];
/// Columns of which it is told why they are no times.
const REASONS_MAX: usize = 2;
/// Columns that may name series, at most.
const SERIES_MAX: usize = 12;

/// What somebody asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The target.
    pub target: Option<String>,
    /// The time.
    pub time: Option<String>,
    /// The series.
    pub series: Vec<String>,
}

/// Columns of a forecast, by their places among those of the input.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The time.
    pub time: usize,
    /// Its periods.
    pub times: Times,
    /// The target.
    pub target: usize,
    /// Whether it was chosen because it is the only one.
    pub is_only_target: bool,
    /// Other columns of times that would do.
    pub other_times: Vec<String>,
    /// Columns that name series, when somebody said so.
    pub series: Option<Vec<usize>>,
    /// Columns that may, the likelier first.
    pub candidates: Vec<usize>,
}

/// Why there is no forecast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum No {
    /// The table has no time, or no number: it is another kind of table.
    OtherTable(String),
    /// Somebody has to say which column.
    Unclear(String, &'static str, Vec<String>),
    /// A column that was asked for is not there.
    Unknown(&'static str, String),
    /// A column that was asked for does not do.
    Unfit(String),
}

/// The columns of a forecast about `input`.
pub fn of(input: &InputDraft, wanted: &Wanted) -> Result<Choice, No> {
    let named = |option: &'static str, name: &String| {
        input.find(name).ok_or_else(|| No::Unknown(option, name.clone()))
    };
    let target = wanted.target.as_ref().map(|name| named("target", name)).transpose()?;
    let series = match &wanted.series[..] {
        [] => None,
        names => Some(names.iter().map(|n| named("series", n)).collect::<Result<Vec<_>, _>>()?),
    };
    let (time, times, other_times) = match &wanted.time {
        Some(name) => {
            let at = named("time", name)?;
            (at, times_of(input, at).map_err(|why| unfit(input, at, &why))?, vec![])
        }
        None => time_of(input, target)?,
    };
    if input.wide.is_none() {
        refuse_parts(input, time, times, wanted)?;
    }
    let free = |at: usize| at != time && !series.iter().flatten().any(|own| *own == at);
    let (target, is_only_target) = match target {
        Some(at) if !input.columns.all[at].column.kind.is_number() => {
            return Err(unfit(input, at, "it is no number"));
        }
        Some(at) if at == time => return Err(unfit(input, at, "it is the time")),
        Some(at) => (at, false),
        None => (target_of(input, free)?, true),
    };
    let candidates = series_candidates(input, |at| free(at) && at != target);
    Ok(Choice { time, times, target, is_only_target, other_times, series, candidates })
}

fn source(input: &InputDraft, at: usize) -> String {
    input.columns.all[at].column.source().to_owned()
}

fn unfit(input: &InputDraft, at: usize, why: &str) -> No {
    No::Unfit(format!("the column `{}` does not do: {why}", source(input, at)))
}

/// The periods of a column; why not, when it has none.
fn times_of(input: &InputDraft, at: usize) -> Result<Times, String> {
    let column = &input.columns.all[at];
    match (&input.wide, &column.moments) {
        (Some(wide), _) if wide.made[0] == column.column.name => Ok(wide.times),
        (_, Some(moments)) => {
            let found = times::of(moments)?;
            let year_of_day = found.is_year_of_day && input.dialect.is_none();
            let text = column.column.kind == ColumnType::String;
            if year_of_day
                || found.frequency == Frequency::Yearly && text && input.dialect.is_none()
            {
                return Err("years of this format must be whole numbers".to_owned());
            }
            Ok(found)
        }
        (_, None) if column.column.kind.is_time() => {
            Err("it has more different times than are looked at".to_owned())
        }
        _ => {
            Err("not every value of it is a time in ISO 8601, a year, a quarter or a month"
                .to_owned())
        }
    }
}

/// The one column of times.
fn time_of(input: &InputDraft, target: Option<usize>) -> Result<(usize, Times, Vec<String>), No> {
    if let Some(wide) = &input.wide {
        let at = input.find(&wide.made[0]).unwrap_or_default();
        return Ok((at, wide.times, vec![]));
    }
    let mut found: Vec<(usize, Times, u8)> = Vec::new();
    let mut reasons = Vec::new();
    for (at, column) in input.columns.all.iter().enumerate() {
        if target == Some(at) || column.moments.is_none() && !column.column.kind.is_time() {
            continue;
        }
        match times_of(input, at) {
            Ok(times) => found.push((at, times, rank(column))),
            Err(_) if column.column.kind.is_number() => {}
            Err(why) => reasons.push(format!("`{}`: {why}", column.column.source())),
        }
    }
    let best = found.iter().map(|(_, _, rank)| *rank).min();
    let (first, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|f| Some(f.2) == best);
    match first[..] {
        [] if reasons.is_empty() => {
            Err(No::OtherTable(format!("no column names times{}", noted(input))))
        }
        [] => {
            let more = reasons.len().saturating_sub(REASONS_MAX);
            reasons.truncate(REASONS_MAX);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            let what = format!("no column names periods: {}{more}", reasons.join("; "));
            Err(No::OtherTable(what))
        }
        [(at, times, _)] => {
            let others = others.iter().map(|(at, ..)| source(input, *at)).collect();
            Ok((at, times, others))
        }
        _ => {
            let names = first.iter().map(|(at, ..)| source(input, *at)).collect();
            Err(No::Unclear("several columns name times".to_owned(), "time", names))
        }
    }
}

/// Whether a column is called as times are.
pub fn names_time(column: &ColumnDraft) -> bool {
    TIMES.contains(&column.column.name.as_str())
}

/// How likely a column is that of the time: by its values, and by its name.
fn rank(column: &ColumnDraft) -> u8 {
    let named = names_time(column);
    match (named, column.column.kind.is_number()) {
        (true, _) => 0,
        (false, false) => 1,
        (false, true) => 2,
    }
}

/// A year beside a month is half of a time.
fn refuse_parts(input: &InputDraft, time: usize, times: Times, wanted: &Wanted) -> Result<(), No> {
    let part = input.columns.all.iter().find(|column| {
        let plain = PARTS.contains(&column.column.name.as_str());
        plain && column.distinct.is_some_and(|n| (2..=53).contains(&n))
    });
    let asked = wanted.time.is_some();
    let Some(part) = part.filter(|_| times.frequency == Frequency::Yearly && !asked) else {
        return Ok(());
    };
    Err(No::Unfit(format!(
        "the period is in two columns, `{}` and `{}`: make one column such as 2024-01 or 2024-Q1 \
         of them",
        source(input, time),
        part.column.source()
    )))
}

/// The one column of numbers that measures something.
fn target_of(input: &InputDraft, free: impl Fn(usize) -> bool) -> Result<usize, No> {
    let measures = |at: &usize| {
        let column = &input.columns.all[*at];
        let made = column.place.is_none();
        let code = column.column.name == "id" || column.column.name.ends_with("_id");
        let varies = made || column.distinct != Some(1) && !code;
        free(*at) && column.column.kind.is_number() && varies
    };
    let all: Vec<usize> = (0..input.columns.all.len()).filter(measures).collect();
    match all[..] {
        [one] => Ok(one),
        [] => {
            let constant = (0..input.columns.all.len())
                .any(|at| free(at) && input.columns.all[at].column.kind.is_number());
            let more = if constant { ", apart from constants and codes" } else { "" };
            let noted = noted(input);
            Err(No::OtherTable(format!("no column has numbers to forecast{more}{noted}")))
        }
        _ => {
            let names = all.iter().map(|at| source(input, *at)).collect();
            Err(No::Unclear("several columns could be forecast".to_owned(), "target", names))
        }
    }
}

/// What is said of columns of text that are nearly something else.
fn noted(input: &InputDraft) -> String {
    let texts = input.columns.all.iter().filter(|c| c.column.kind == ColumnType::String);
    let notes = texts.filter_map(|c| Some((c.column.source(), c.note.as_ref()?)));
    let all: Vec<String> = notes.map(|(name, note)| format!("`{name}`: {note}")).collect();
    if all.is_empty() { String::new() } else { format!("; {}", all.join("; ")) }
}

/// Columns that may name series: texts before numbers, names before codes.
fn series_candidates(input: &InputDraft, free: impl Fn(usize) -> bool) -> Vec<usize> {
    let rows = match &input.wide {
        Some(wide) => input.records / wide.periods.len().max(1) as u64,
        None => input.records / 2,
    };
    let names = |at: &usize| {
        let column = &input.columns.all[*at];
        let kind = matches!(
            column.column.kind,
            ColumnType::String | ColumnType::Int | ColumnType::Bigint | ColumnType::Boolean
        );
        let few =
            column.distinct.is_some_and(|n| n > 1 && (n <= rows.max(2) || input.wide.is_some()));
        // A few records may have none; a column that is mostly empty names nothing.
        let filled = 100 * column.empty <= input.records;
        free(*at) && kind && few && filled && column.place.is_some()
    };
    let mut all: Vec<usize> = (0..input.columns.all.len()).filter(names).collect();
    let order = |at: &usize| {
        let column = &input.columns.all[*at];
        (column.column.kind != ColumnType::String, std::cmp::Reverse(column.characters))
    };
    all.sort_by_key(order);
    all.truncate(SERIES_MAX);
    all
}
