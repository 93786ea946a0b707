//! What was found without a target: each row once, and flags as the manifest wants them.

use anyhow::{Context, Result, ensure};
use steppe_spec::Unsupervised;

use super::Test;
use crate::execution::Execution;

impl Test<'_> {
    /// The table of a task must say of each row of its own table once what was found of it.
    pub(super) async fn found(
        &self,
        execution: &Execution,
        task: &str,
        table: &str,
    ) -> Result<String> {
        let mut all = self.workspace.manifest.unsupervised();
        let of = all.find(|of| of.name() == task).context("the manifest has no such task")?;
        let arn = execution.arn.replace('\'', "''");
        let of_run = format!("FROM {task} WHERE execution = '{arn}'");
        let stored = self.count(&format!("SELECT count(*) AS n {of_run}")).await?;
        if let Unsupervised::Anomaly(entry) = of
            && entry.task.is_of_series()
        {
            let (series, value) = (entry.task.entity(), entry.task.target.as_deref());
            let value = value.context("the task names no values")?;
            let unknown = format!(
                "SELECT count(*) AS n FROM (SELECT series, value {of_run}) found LEFT JOIN \
                 (SELECT DISTINCT \"{series}\" AS series, CAST(\"{value}\" AS double) AS value \
                 FROM {table}) known ON known.series = found.series AND known.value = found.value \
                 WHERE known.series IS NULL"
            );
            let unknown = self.count(&unknown).await?;
            ensure!(unknown == 0, "{unknown} unusual values are not in `{table}`");
            return Ok(format!("{stored} unusual values, each of them in `{table}`"));
        }
        let rows = self.count(&format!("SELECT count(*) AS n FROM {table}")).await?;
        ensure!(
            stored == rows,
            "Athena finds {stored} rows in `{task}`, not {rows} as in `{table}`"
        );
        let missing = format!(
            "SELECT count(*) AS n FROM {table} LEFT JOIN (SELECT DISTINCT entity {of_run}) found \
             ON found.entity = CAST({table}.\"{}\" AS VARCHAR) WHERE found.entity IS NULL",
            of.entity()
        );
        let missing = self.count(&missing).await?;
        ensure!(missing == 0, "`{task}` says nothing of {missing} rows of `{table}`");
        let told = match of {
            Unsupervised::Anomaly(_) => {
                let flagged = format!("SELECT count(*) AS n {of_run} AND flagged");
                let reasons =
                    format!("SELECT count(*) AS n {of_run} AND flagged AND reason IS NULL");
                let without = self.count(&reasons).await?;
                ensure!(without == 0, "{without} flagged rows have no reason");
                format!("{} of {rows} rows flagged, with reasons", self.count(&flagged).await?)
            }
            Unsupervised::Clustering(_) => {
                let groups = format!("SELECT count(DISTINCT cluster) AS n {of_run}");
                format!("{rows} rows in {} groups", self.count(&groups).await?)
            }
        };
        Ok(told)
    }
}
