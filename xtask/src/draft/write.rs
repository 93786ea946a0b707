//! The text of a manifest, with what is a guess said beside it.

use std::fmt::Write;

use steppe_spec::{Action, Column, DayCalendar, Frequency, Spacing};
use steppe_wire::etl::TableFormat;

use super::columns::ColumnDraft;
use super::input::{InputDraft, sql_file};
use super::task::TaskDraft;

/// Columns that stand on one line of the manifest.
const INLINE_MAX: usize = 4;

const OF_TOTAL: &str = "guess: the sum of all others, which sums would count twice";
const OF_PARTIAL: &str =
    "guess: the newest period is incomplete, its total being below this share of that before";
const OF_MISSING: &str = "guess: they stand where there is no value";
const OF_DUPLICATES: &str = "guess: a few records have the same time, with other values";
const OF_FOOTNOTES: &str = "other lines follow the table";

/// A whole pipeline.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Its inputs.
    pub inputs: Vec<InputDraft>,
    /// Its task.
    pub task: TaskDraft,
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("texts are JSON").replace('\u{7f}', "\\u007f")
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|t| quoted(t)).collect::<Vec<_>>().join(", "))
}

/// A comment behind a line.
fn behind(note: Option<&String>) -> String {
    note.map(|note| format!("  # {}", note.replace(['\n', '\r'], " "))).unwrap_or_default()
}

impl Draft {
    /// The file of the manifest.
    pub fn manifest(&self) -> String {
        let records: u64 = self.inputs.iter().map(|input| input.records).sum();
        let mut out = String::from("#:schema ../../../docs/pipeline.schema.json\n");
        let _ = writeln!(
            out,
            "# A first manifest by `cargo xtask pipeline new`, of {records} records, all of which \
             were\n# read. What is a guess says so; docs/manifest.md has every key."
        );
        let _ = writeln!(out, "schema_version = 2\nname = {}", quoted(&self.name));
        let _ = writeln!(out, "description = {}", quoted(&self.description()));
        for (at, input) in self.inputs.iter().enumerate() {
            write_input(&mut out, input, at == self.task.input && self.task.table.is_none());
        }
        self.write_table(&mut out);
        self.write_join(&mut out);
        self.write_task(&mut out);
        out
    }

    /// SQL beside the manifest, by file name.
    pub fn sql(&self) -> Vec<(String, String)> {
        let own = |input: &InputDraft| Some((sql_file(&input.name), input.sql.clone()?));
        let table = self.task.table.iter().map(|t| (format!("{}.sql", t.name), t.sql.clone()));
        self.inputs.iter().filter_map(own).chain(table).collect()
    }

    /// Guesses and other things that people should look at, where they stand.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for input in &self.inputs {
            notes.extend(of_lines(input).into_iter().map(|note| format!("{}: {note}", input.name)));
            for column in &input.columns.all {
                let said = column.note.iter();
                notes.extend(said.map(|n| format!("{}.{}: {n}", input.name, column.column.name)));
            }
            for (name, why) in &input.columns.left_out {
                notes.push(format!("{}: the column `{name}` is left out: {why}", input.name));
            }
        }
        let task = &self.task;
        let named = [("series", &task.series), ("time", &task.time), ("target", &task.target)];
        for ((what, name), note) in named.iter().zip(&task.notes) {
            notes.extend(note.iter().map(|note| format!("{what} = {name}: {note}")));
        }
        notes.extend(task.table.iter().map(|table| format!("{}: {}", table.name, table.why)));
        if let (_, Some((calendar, why)), _) = frequency(task.frequency) {
            notes.push(format!("calendar = {calendar}: {why}"));
        }
        if !task.leave_out.is_empty() {
            notes.push(format!("leave_out = {}: {OF_TOTAL}", list(&task.leave_out)));
        }
        if task.is_partial {
            notes.push(format!("partial_period: {OF_PARTIAL}"));
        }
        notes
    }

    /// What it forecasts.
    pub fn description(&self) -> String {
        let task = &self.task;
        match &task.table {
            Some(table) if table.is_one_series => format!("Forecasts of {}", task.target),
            _ => format!("Forecasts of {} per {}", task.target, task.series),
        }
    }

    fn write_table(&self, out: &mut String) {
        let Some(table) = &self.task.table else { return };
        let column = |c: &Column| format!("{} = {}", c.name, quoted(&c.kind.hive()));
        let columns: Vec<String> = table.columns.iter().map(column).collect();
        let keys = [self.task.series.clone(), self.task.time.clone()];
        let _ = write!(
            out,
            "\n# A table of its own: {}.\n[[tables]]\nname = {}\nsql = {}\ncolumns = {{ {} }}\n\
             keys = {}\n",
            table.why,
            quoted(&table.name),
            quoted(&format!("{}.sql", table.name)),
            columns.join(", "),
            list(&keys)
        );
    }

    /// An example of a join, where another input is identified by a column that both have.
    fn write_join(&self, out: &mut String) {
        let own = &self.inputs[self.task.input];
        let (name, task) = (&own.name, &self.task);
        let find = |column: &str| own.columns.all.iter().find(|c| c.column.name == column);
        let mine = [&task.time, &task.target].map(|column| find(column));
        let ([Some(time), Some(target)], Some(series)) = (mine, find(&task.series)) else { return };
        let joined = |other: &'_ InputDraft| {
            let [key] = &other.unique[..] else { return None };
            let at = other.columns.all.iter().position(|c| c.column.name == *key)?;
            let kind = other.columns.all[at].column.kind;
            let same = find(key).is_some_and(|column| column.column.kind == kind);
            let more = other.columns.all.iter().find(|c| find(&c.column.name).is_none())?;
            same.then(|| (other.name.clone(), key.clone(), more.column.clone()))
        };
        let Some((other, key, more)) = self.inputs.iter().find_map(joined) else { return };
        let columns = [&series.column, &time.column, &target.column];
        let typed = columns.into_iter().chain([&more]);
        let typed = typed.map(|c| format!("{} = {}", c.name, quoted(&c.kind.hive())));
        let chosen = columns.map(|column| format!("{name}.{}", column.name));
        let _ = write!(
            out,
            "\n# Inputs are joined in a table, which the task then names, `table = \"joined\"`:\n\
             #\n# [[tables]]\n# name = \"joined\"\n# sql = \"joined.sql\"\n\
             # columns = {{ {} }}\n# keys = {}\n#\n# And in joined.sql:\n#\n\
             # SELECT {}, {other}.{}\n# FROM {name} JOIN {other} ON {other}.{key} = {name}.{key}\n",
            typed.collect::<Vec<_>>().join(", "),
            list(&[task.series.clone(), task.time.clone()]),
            chosen.join(", "),
            more.name
        );
    }

    fn write_task(&self, out: &mut String) {
        let task = &self.task;
        let (spacing, calendar, word) = frequency(task.frequency);
        let _ = writeln!(out, "\n[[tasks]]\nname = \"next-{word}\"");
        let several = self.inputs.len() > 1 || task.table.is_some();
        let name = task.table.as_ref().map_or(&self.inputs[task.input].name, |table| &table.name);
        if several {
            let _ = writeln!(out, "table = {}", quoted(name));
        }
        let named = [("series", &task.series), ("time", &task.time), ("target", &task.target)];
        for ((key, column), note) in named.iter().zip(&task.notes) {
            let _ = writeln!(out, "{key} = {}{}", quoted(column), behind(note.as_ref()));
        }
        let _ = writeln!(out, "frequency = {spacing}");
        if let Some((calendar, why)) = calendar {
            let _ = writeln!(out, "calendar = {calendar}  # {why}");
        }
        if !task.leave_out.is_empty() {
            let _ = writeln!(out, "leave_out = {}  # {OF_TOTAL}", list(&task.leave_out));
        }
        if task.keeps_total {
            let _ = writeln!(out, "total = \"keep\"  # one series is the sum of all others");
        }
        if task.is_partial {
            let _ = writeln!(out, "# {OF_PARTIAL}\npartial_period = {{ below = 0.65 }}");
        }
        let _ =
            writeln!(out, "# horizon = 1: periods ahead; `features` and `model` are in the docs");
        if task.is_signed || task.candidates.is_some() {
            let _ = writeln!(out, "\n[tasks.model]");
        }
        if task.is_signed {
            let _ = writeln!(out, "transform = \"none\"  # some values are negative");
        }
        if let Some(candidates) = &task.candidates {
            let names: Vec<String> = candidates.iter().map(|f| f.name().to_owned()).collect();
            let _ = writeln!(
                out,
                "# There are too few periods for the others, as they are by default.\n\
                 candidates = {}",
                list(&names)
            );
        }
    }
}

/// The keys of a frequency, and what a period is called.
fn frequency(frequency: Frequency) -> (String, Option<(String, &'static str)>, &'static str) {
    let mut task = steppe_spec::Task::new("", "", "");
    task.set_frequency(frequency);
    let json = |value: serde_json::Result<String>| value.expect("a word is JSON");
    let calendar = match task.calendar {
        DayCalendar::EveryDay => None,
        DayCalendar::Weekdays => Some("there is no weekend"),
        DayCalendar::AsObserved => Some("guess: days without values, such as holidays, are none"),
    };
    let calendar = calendar.map(|why| (json(serde_json::to_string(&task.calendar)), why));
    let word = match task.frequency {
        Spacing::Yearly => "year",
        Spacing::Quarterly => "quarter",
        Spacing::Monthly => "month",
        Spacing::Weekly => "week",
        Spacing::Daily => "day",
        Spacing::Hourly => "hour",
        Spacing::HalfHourly => "half-hour",
    };
    (json(serde_json::to_string(&task.frequency)), calendar, word)
}

/// What is to be said of how the lines of an input are read.
fn of_lines(input: &InputDraft) -> Vec<String> {
    let mut notes = Vec::new();
    if input.has_footnotes {
        notes.push(format!("footnotes: {OF_FOOTNOTES}, and are left out"));
    }
    if let Some(thousands) = input.by.thousands {
        notes.push(format!("thousands = {}", quoted(&thousands.to_string())));
    }
    if input.by.decimal != '.' {
        notes.push(format!("decimal = {}", quoted(&input.by.decimal.to_string())));
    }
    let missing = input.missing();
    if !missing.is_empty() {
        notes.push(format!("missing = {}: {OF_MISSING}", list(&missing)));
    }
    if input.rejects_duplicates {
        notes.push(format!("duplicates: {OF_DUPLICATES}"));
    }
    notes
}

fn write_input(out: &mut String, input: &InputDraft, is_of_task: bool) {
    out.push('\n');
    for (name, why) in &input.columns.left_out {
        let name = name.replace(['\n', '\r'], " ");
        let _ = writeln!(out, "# left out: the column `{name}`: {why}");
    }
    let _ = writeln!(out, "[[inputs]]\nname = {}", quoted(&input.name));
    if input.format != TableFormat::Csv {
        let _ = writeln!(out, "format = {}", quoted(input.format.name()));
    }
    if let Some(dialect) = input.dialect {
        if dialect.delimiter != ',' {
            let _ = writeln!(out, "delimiter = {}", quoted(&dialect.delimiter.to_string()));
        }
        if dialect.skip_lines > 0 {
            let _ = writeln!(out, "skip_lines = {}", dialect.skip_lines);
        }
    }
    if input.has_footnotes {
        let _ = writeln!(out, "footnotes = \"leave-out\"  # {OF_FOOTNOTES}");
    }
    if let Some(thousands) = input.by.thousands {
        let _ = writeln!(out, "thousands = {}", quoted(&thousands.to_string()));
    }
    if input.by.decimal != '.' {
        let _ = writeln!(out, "decimal = {}", quoted(&input.by.decimal.to_string()));
    }
    let missing = input.missing();
    if !missing.is_empty() {
        let _ = writeln!(out, "missing = {}  # {OF_MISSING}", list(&missing));
    }
    if let Some(wide) = &input.wide {
        let [names, values] = &wide.made;
        let _ = writeln!(
            out,
            "wide = {{ keep = {}, names = {}, values = {} }}",
            list(&wide.keep),
            quoted(names),
            quoted(values)
        );
    }
    if input.sql.is_some() {
        let _ = writeln!(out, "sql = {}", quoted(&sql_file(&input.name)));
    }
    if !input.unique.is_empty() {
        let _ = writeln!(out, "unique = {}", list(&input.unique));
    }
    if input.rejects_duplicates {
        let _ = writeln!(out, "duplicates = \"reject\"  # {OF_DUPLICATES}");
    }
    write_rules(out, input, is_of_task);
    write_columns(out, &input.columns.all);
}

fn write_rules(out: &mut String, input: &InputDraft, is_of_task: bool) {
    if input.rules.is_empty() {
        if is_of_task {
            let _ = writeln!(
                out,
                "# Without `rules`, series, time and target must be there, once per period."
            );
        }
        return;
    }
    let _ = writeln!(out, "rules = [");
    for rule in &input.rules {
        let action = match rule.action {
            Action::Reject => "reject",
            Action::Fail => "fail",
        };
        let _ = writeln!(
            out,
            "    {{ name = {}, when = {}, reason = {}, action = \"{action}\" }},",
            quoted(&rule.name),
            quoted(&rule.when),
            quoted(&rule.reason)
        );
    }
    let _ = writeln!(out, "]");
}

fn write_columns(out: &mut String, columns: &[ColumnDraft]) {
    let said = |column: &Column| {
        let kind = quoted(&column.kind.hive());
        if column.from.is_none() && column.zone.is_none() {
            return format!("{} = {kind}", column.name);
        }
        let from = column.from.iter().map(|from| format!("from = {}", quoted(from)));
        let zone = column.zone.iter().map(|zone| format!("zone = {}", quoted(zone)));
        let local = column.local.iter().map(|local| format!("as = {}", quoted(local)));
        let parts = from.chain([format!("type = {kind}")]).chain(zone).chain(local);
        format!("{} = {{ {} }}", column.name, parts.collect::<Vec<_>>().join(", "))
    };
    let noted = columns.iter().any(|c| c.note.is_some() || c.column.from.is_some());
    if columns.len() <= INLINE_MAX && !noted {
        let all: Vec<String> = columns.iter().map(|c| said(&c.column)).collect();
        let _ = writeln!(out, "columns = {{ {} }}", all.join(", "));
        return;
    }
    let _ = writeln!(out, "\n[inputs.columns]");
    for column in columns {
        let _ = writeln!(out, "{}{}", said(&column.column), behind(column.note.as_ref()));
    }
}
