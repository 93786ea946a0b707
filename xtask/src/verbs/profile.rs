//! `profile`: what the tables of a deployed pipeline hold, as a page.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;
use steppe_plan::events::{Did, Fact, Step};
use steppe_plan::profile::{Question, Rows, Shape, Subject, TableProfile};
use steppe_spec::nearest;
use steppe_wire::hint::Hinted;

use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::host::Host;
use crate::project::{Workspace, write};
use crate::report::{self, profile::value};
use crate::table::table;

/// Asks about the named tables, or about all.
pub async fn run(
    workspace: &Workspace,
    host: &Host,
    names: &[String],
    output: Option<&Path>,
) -> Result<Outcome> {
    let subjects = subjects(Subject::all(&workspace.manifest), names)?;
    let ours = Deployment::open(workspace).await?;
    let asking = Asking { ours: &ours };
    let work = host.begin(Step::Profile, None);
    let mut profiles = Vec::new();
    for subject in &subjects {
        profiles.push(asking.profile(subject).await?);
    }
    work.done(Did::Profile {
        tables: profiles.len(),
        statements: profiles.iter().map(|profile| profile.statements).sum(),
        scanned_bytes: profiles.iter().map(|profile| profile.scanned_bytes).sum(),
    });
    let page = report::profile::html(&workspace.manifest.name, &profiles)?;
    let own = workspace.scratch().join("reports").join(&workspace.manifest.name);
    let file = output.map_or_else(|| own.join("profile.html"), Path::to_owned);
    if output.is_some() {
        std::fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))?;
    } else {
        write(&file, page.as_bytes())?;
    }
    host.fact(Fact::Report { file: file.display().to_string() });
    host.result(&json!({ "tables": profiles }), &text(&profiles));
    Ok(Outcome::Done)
}

/// The subjects of these names, in the order of the manifest.
fn subjects(all: Vec<Subject>, names: &[String]) -> Result<Vec<Subject>> {
    for name in names {
        if !all.iter().any(|subject| subject.name == *name) {
            let known: Vec<&str> = all.iter().map(|subject| subject.name.as_str()).collect();
            let hint = nearest(name, known.iter().copied()).map_or_else(
                || format!("the pipeline makes {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            bail!(Hinted::new(format!("the pipeline makes no table `{name}`"), hint));
        }
    }
    let wanted = |subject: &Subject| names.is_empty() || names.contains(&subject.name);
    Ok(all.into_iter().filter(wanted).collect())
}

struct Asking<'a> {
    ours: &'a Deployment,
}

impl Asking<'_> {
    async fn profile(&self, subject: &Subject) -> Result<TableProfile> {
        let (first, mut scanned_bytes) = (subject.summaries(), 0);
        let summary = subject.summarised(&self.answers(&first, &mut scanned_bytes).await?)?;
        let second = subject.details(&summary);
        let answers = self.answers(&second, &mut scanned_bytes).await?;
        let mut profile = subject.detailed(summary, &answers)?;
        (profile.statements, profile.scanned_bytes) = (first.len() + second.len(), scanned_bytes);
        Ok(profile)
    }

    async fn answers(&self, questions: &[Question], scanned_bytes: &mut u64) -> Result<Vec<Rows>> {
        let group = self.ours.output("WorkGroupName")?;
        let database = self.ours.output("DatabaseName")?;
        let mut answers = Vec::new();
        for question in questions {
            let Question { sql, rows_max } = question;
            let answer = self.ours.aws().query(group, database, sql, *rows_max).await?;
            *scanned_bytes += answer.scanned_bytes;
            answers.push(answer.rows);
        }
        Ok(answers)
    }
}

/// Every column in a line, and the notes.
fn text(profiles: &[TableProfile]) -> String {
    let mut text = String::new();
    for profile in profiles {
        text += &format!("{}: {} records\n", profile.table, profile.records);
        let line = |column: &steppe_plan::profile::ColumnProfile| {
            let (low, high) = ends(&column.shape);
            let about = if column.distinct_is_exact { "" } else { "about " };
            vec![
                column.column.clone(),
                column.kind.clone(),
                column.missing.to_string(),
                format!("{about}{}", column.distinct),
                low,
                high,
            ]
        };
        let lines: Vec<Vec<String>> = profile.columns.iter().map(line).collect();
        text += &table(&["column", "type", "missing", "distinct", "from", "to"], &lines);
        for note in &profile.notes {
            text += &format!("- {note}\n");
        }
        text += "\n";
    }
    text
}

/// The least and the largest value, or the most frequent one.
fn ends(shape: &Shape) -> (String, String) {
    match shape {
        Shape::Numbers(numbers) => (value(&numbers.min), value(&numbers.max)),
        Shape::Times { first, last, .. } => {
            (first.clone().unwrap_or_default(), last.clone().unwrap_or_default())
        }
        Shape::Text { .. } | Shape::Truth { .. } => Default::default(),
    }
}
