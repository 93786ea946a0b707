//! A first manifest for files of which nothing is known: from what was seen in them to what a
//! pipeline says, with every guess told.
//!
//! Values only: files are looked at by the engine, and whether the result runs is tried by the
//! verb. What is not clear is refused with the candidates, never decided.

mod choice;
mod columns;
pub mod dialect;
mod input;
mod names;
mod numbers;
mod series;
mod task;
mod times;
mod wide;
mod write;

use std::path::Path;

use anyhow::{Context, Result, bail};
use steppe_wire::look::{KeyLook, Look, LookRequest};

pub use choice::Wanted;
use choice::{Choice, No};
pub use input::{InputDraft, format_of};
use names::Names;
use steppe_wire::hint::Hinted;
pub use write::Draft;

/// Candidates that are told.
const CANDIDATES_MAX: usize = 12;

/// What was seen, and for what.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Name of the pipeline.
    pub name: &'a str,
    /// What was asked of the engine.
    pub request: &'a LookRequest,
    /// What it told.
    pub look: &'a Look,
    /// The command so far, for hints.
    pub command: &'a str,
}

/// Whoever counts how many records of an input have sets of columns in common.
pub type Ask<'a> = dyn FnMut(&InputDraft, Vec<Vec<usize>>) -> Result<Vec<KeyLook>> + 'a;

/// The draft of a pipeline; `ask` counts how many records of an input have columns in common.
pub fn of(seen: &Seen<'_>, wanted: &Wanted, ask: &mut Ask<'_>) -> Result<Draft> {
    let mut inputs = inputs(seen)?;
    let (at, choice) = chosen(seen, &inputs, wanted)?;
    let input = &inputs[at];
    let series = series::of(input, &choice, &mut |sets| ask(input, sets))
        .with_context(|| inputs[at].name.clone())?;
    for (other, input) in inputs.iter_mut().enumerate() {
        if other != at {
            input.unique = key_of(input);
        }
    }
    let task = task::of(at, &mut inputs[at], &choice, &series, seen.name);
    Ok(Draft { name: seen.name.to_owned(), inputs, task })
}

fn inputs(seen: &Seen<'_>) -> Result<Vec<InputDraft>> {
    let mut names = Names::without([task::TABLE, "joined"]);
    let mut inputs: Vec<InputDraft> = Vec::new();
    for look in &seen.look.inputs {
        let files: Vec<_> = look.files.iter().map(|at| &seen.request.files[*at]).collect();
        let first = files.first().context("an input has files")?;
        let stem = |called: &String| -> String {
            let name = Path::new(called).file_name().unwrap_or_default().to_string_lossy();
            name.split('.').next().unwrap_or_default().to_owned()
        };
        let stems: Vec<String> = files.iter().map(|file| stem(&file.called)).collect();
        let common = names::common(stems.iter().map(String::as_str));
        let name = first.input.clone().unwrap_or(common);
        if first.input.is_some() && inputs.iter().any(|input| input.name == name) {
            bail!(Hinted::new(
                format!("{} has other columns than files before it of `{name}`", first.called),
                "files of an input have the same columns; give it a name of its own",
            ));
        }
        let input = InputDraft::of(look, first.format, first.csv, names.table(&name))
            .with_context(|| first.called.clone())?;
        if input.columns.all.is_empty() || input.records == 0 {
            let what = format!("{} has a header but no records", first.called);
            bail!(Hinted::new(what, "give a file with data"));
        }
        inputs.push(input);
    }
    Ok(inputs)
}

/// The input with the target, and the columns of the forecast.
fn chosen(seen: &Seen<'_>, inputs: &[InputDraft], wanted: &Wanted) -> Result<(usize, Choice)> {
    let (only, wanted) = of_input(inputs, wanted);
    let asked = inputs.iter().enumerate().filter(|(at, _)| only.is_none_or(|only| only == *at));
    let (mut found, mut nos) = (Vec::new(), Vec::new());
    for (at, input) in asked {
        match choice::of(input, &wanted) {
            Ok(choice) => found.push((at, choice)),
            Err(no) => nos.push((at, no)),
        }
    }
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => Err(refused(seen, inputs, nos)),
        _ => {
            let target = |(at, choice): &(usize, Choice)| {
                let column = inputs[*at].columns.all[choice.target].column.source();
                format!("{}.{column}", inputs[*at].name)
            };
            let targets: Vec<String> = found.iter().map(target).collect();
            Err(unclear(seen, "several inputs could be forecast", "target", &targets))
        }
    }
}

/// The input that a target such as `readings.kwh` names, and what is wanted of it.
fn of_input(inputs: &[InputDraft], wanted: &Wanted) -> (Option<usize>, Wanted) {
    let parts = wanted.target.as_ref().and_then(|target| target.split_once('.'));
    let at = parts.and_then(|(name, _)| inputs.iter().position(|input| input.name == name));
    match (at, parts) {
        (Some(at), Some((_, column))) => {
            (Some(at), Wanted { target: Some(column.to_owned()), ..wanted.clone() })
        }
        _ => (None, wanted.clone()),
    }
}

/// Why there is no forecast: what somebody can say, before what cannot be helped.
fn refused(seen: &Seen<'_>, inputs: &[InputDraft], nos: Vec<(usize, No)>) -> anyhow::Error {
    let several = inputs.len() > 1;
    let of = |at: usize, told: &str| match several {
        true => format!("{}: {told}", inputs[at].name),
        false => told.to_owned(),
    };
    let unclear_ones: Vec<&(usize, No)> =
        nos.iter().filter(|(_, no)| matches!(no, No::Unclear(..))).collect();
    if let Some((at, No::Unclear(what, option, names))) = unclear_ones.first() {
        let own = |name: &String| match several && *option == "target" {
            true => format!("{}.{name}", inputs[*at].name),
            false => name.clone(),
        };
        let names: Vec<String> = names.iter().map(own).collect();
        return unclear(seen, &of(*at, what), option, &names);
    }
    if let Some((at, No::Unfit(what))) = nos.iter().find(|(_, no)| matches!(no, No::Unfit(_))) {
        let hint = "another column may do: `--time`, `--target` and `--series` name them";
        return Hinted::new(of(*at, what), hint).into();
    }
    if let Some((_, No::Unknown(option, name))) =
        nos.iter().find(|(_, no)| matches!(no, No::Unknown(..)))
    {
        let names = inputs.iter().flat_map(|input| &input.columns.all);
        let names: Vec<&str> = names.map(|column| column.column.source()).collect();
        let hint = match steppe_spec::nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are `{}`", names.join("`, `")),
        };
        return Hinted::new(format!("`--{option}`: there is no column `{name}`"), hint).into();
    }
    let told = nos.iter().map(|(at, no)| match no {
        No::OtherTable(what) => of(*at, what),
        _ => String::new(),
    });
    Hinted::new(
        format!("no forecast fits these data: {}", told.collect::<Vec<_>>().join("; ")),
        "a forecast needs a column of times and a column of numbers; other kinds of tasks, such as \
         classification, do not exist yet",
    )
    .into()
}

/// Candidates, each with the command that chooses it.
fn unclear(seen: &Seen<'_>, what: &str, option: &str, names: &[String]) -> anyhow::Error {
    let list = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let command = |name: &String| format!("{} --{option} {}", seen.command, shell(name));
    let mut hints: Vec<String> = names.iter().take(CANDIDATES_MAX).map(command).collect();
    if names.len() > CANDIDATES_MAX {
        hints.push(format!("and so on, for {} more", names.len() - CANDIDATES_MAX));
    }
    Hinted::with(format!("{what}: {list}; say which by `--{option}`"), hints).into()
}

/// A text as a shell takes it.
pub fn shell(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A column that no two records of an input have in common.
fn key_of(input: &InputDraft) -> Vec<String> {
    if input.wide.is_some() {
        return vec![];
    }
    let unique = |column: &&columns::ColumnDraft| {
        // Of columns of times, many are different everywhere by chance.
        let kind = column.column.kind;
        let text = !kind.is_number() && !kind.is_time();
        let first = column.place == Some(0) && !kind.is_number();
        let key = text || first || choice::names_time(column) || column.column.name.ends_with("id");
        key && column.empty == 0 && column.distinct == Some(input.records)
    };
    let found = input.columns.all.iter().find(unique);
    found.map(|column| column.column.name.clone()).into_iter().collect()
}
