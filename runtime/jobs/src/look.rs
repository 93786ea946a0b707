//! Looks at a whole table for what is unusual, or for groups, and writes what it found as one
//! Parquet file per run.
//!
//! A run that looks again, for example after a time-out, replaces its file.

use bytes::Bytes;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use steppe_model::unsupervised::{clustering, read_entities, read_series, rows, series};
use steppe_spec::{UnsupervisedSpec, UnsupervisedTask};
use steppe_store::table::{BYTES_MAX, Table};
use steppe_store::{Bucket, BucketError, read_json};
use steppe_wire::failure::Failure;
use steppe_wire::hint::Hinted;
use steppe_wire::keys;

use crate::inputs::table_failure;
use file::Run;

mod file;

/// Notes that people are told with what was found.
const NOTES_MAX: usize = 3;
/// Characters of one.
const NOTE_CHARS_MAX: usize = 300;

/// What the state machine asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Name of the task.
    pub task: String,
    /// The execution.
    pub execution: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Rows, or series, that were looked at.
    pub looked_at: usize,
    /// What was found of them, in words.
    pub found: String,
}

/// The job of one pipeline.
#[derive(Debug, Clone)]
pub struct Looker {
    /// Bucket of the configuration.
    pub artifacts: Bucket,
    /// Bucket of tables.
    pub data: Bucket,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Key of what is looked for in the artifacts bucket.
    pub tasks_key: String,
}

impl Looker {
    /// Looks at the table of a task.
    pub async fn run(&self, event: &Event, now: Timestamp) -> Result<Outcome, Failure> {
        let key = &self.tasks_key;
        let specs: Option<Vec<UnsupervisedSpec>> =
            read_json(&self.artifacts, key, "what is looked for").await?;
        let absent = || Failure::permanent(format!("`{key}` does not exist; deploy again"));
        let mut specs = specs.ok_or_else(absent)?.into_iter();
        let unknown = || Failure::permanent(format!("there is no task `{}`", event.task));
        let spec = specs.find(|spec| spec.name == event.task).ok_or_else(unknown)?;
        let files = self.table(&spec.table).await?;
        let (execution, name) = (event.execution.clone(), spec.name.clone());
        let work = move || {
            let run = Run { execution: &execution, looked_at: now };
            looked(&spec, files, run)
        };
        let (bytes, outcome) = tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Failure::permanent(format!("the search broke off: {e}")))??;
        let key = keys::found(&name, &event.execution);
        let put = self.data.put(&Path::from(key.as_str()), PutPayload::from(bytes)).await;
        put.map_err(|e| Failure::from(BucketError::of(&key, e)))?;
        Ok(outcome)
    }

    async fn table(&self, name: &str) -> Result<Vec<Bytes>, Failure> {
        let prefix = keys::table_prefix(&self.pipeline, name);
        let failed = |error| table_failure(&prefix, error);
        let found = Table::find(&*self.data, &prefix, BYTES_MAX).await.map_err(failed)?;
        let nothing = || Failure::permanent(format!("there is no table at `{prefix}`"));
        found.ok_or_else(nothing)?.read(&self.data).await.map_err(failed)
    }
}

/// What a table has, as a file and in words.
fn looked(
    spec: &UnsupervisedSpec,
    files: Vec<Bytes>,
    run: Run<'_>,
) -> Result<(Vec<u8>, Outcome), Failure> {
    let name = &spec.name;
    let refused = |what: String, hint: Option<&str>| {
        let hints = hint.map(str::to_owned).into_iter().collect();
        let told = Hinted::with(what, hints);
        Failure::permanent(told.at(format_args!("`{}` cannot be looked at", spec.table)))
    };
    let of_data = |e: steppe_model::DataError| refused(e.to_string(), e.hint());
    let of_rows = |e: steppe_model::rows::RowsError| refused(e.to_string(), e.hint());
    let unwritten = |e| Failure::permanent(format!("what was found cannot be written: {e}"));
    match &spec.task {
        UnsupervisedTask::Anomaly(task) if task.is_of_series() => {
            let all = read_series(task, files).map_err(of_data)?;
            let alarms = all.iter().map(|one| series::alarms(one, task));
            let alarms = alarms.collect::<Result<Vec<_>, _>>();
            let alarms = alarms.map_err(|e| refused(e.to_string(), None))?.concat();
            let values = match alarms.len() {
                1 => "1 unusual value".to_owned(),
                count => format!("{count} unusual values"),
            };
            let found = format!("{name}: {values} in {} series", all.len());
            let bytes = run.alarms(&alarms).map_err(unwritten)?;
            Ok((bytes, Outcome { looked_at: all.len(), found }))
        }
        UnsupervisedTask::Anomaly(task) => {
            let own = (task.entity(), task.within.as_deref());
            let table = read_entities(spec, own, files).map_err(of_data)?;
            let found = rows::find(&table, task).map_err(of_rows)?;
            let flagged = found.rows.iter().filter(|row| row.flagged).count();
            let bytes = run.rows(&found.rows).map_err(unwritten)?;
            let looked_at = table.names.len();
            let told = format!("{name}: {flagged} of {looked_at} rows are unusual");
            Ok((bytes, Outcome { looked_at, found: noted(told, &found.notes) }))
        }
        UnsupervisedTask::Clustering(task) => {
            let table = read_entities(spec, (&task.entity, None), files).map_err(of_data)?;
            let groups = clustering::find(&table, task).map_err(of_rows)?;
            let bytes = run.groups(&table, &groups).map_err(unwritten)?;
            let looked_at = table.names.len();
            let told = format!("{name}: {} groups of {looked_at} rows", groups.profiles.len());
            Ok((bytes, Outcome { looked_at, found: noted(told, &groups.notes) }))
        }
    }
}

/// What was found, and what is to be known about it, a line each. A run carries it along, so that
/// it has bounds; `evaluate` tells all.
fn noted(told: String, notes: &[String]) -> String {
    let short = |note: &String| match note.char_indices().nth(NOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &note[..end]),
        None => note.clone(),
    };
    notes.iter().take(NOTES_MAX).fold(told, |told, note| format!("{told}\n  note: {}", short(note)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_told_with_what_was_found_as_far_as_they_are_short() {
        let notes = ["`ä` is missing".to_owned(), "ä".repeat(NOTE_CHARS_MAX + 1)];
        let cut = format!("{}…", "ä".repeat(NOTE_CHARS_MAX));
        let expected = format!("t: 1 of 9\n  note: `ä` is missing\n  note: {cut}");
        assert_eq!(noted("t: 1 of 9".to_owned(), &notes), expected);
        let many = vec!["x".to_owned(); 9];
        assert_eq!(noted(String::new(), &many).matches("note: x").count(), NOTES_MAX);
    }
}
