//! Scores of rows: each row once, whole, by the right model, and equal to what the server answers.

use anyhow::{Context, Result, bail, ensure};
use steppe_plan::smoke_test::Place;
use steppe_wire::keys;
use steppe_wire::score::{ScoreRequest, ScoreResponse};

use super::Test;
use crate::execution::Execution;

/// Entities whose scores are compared with the server's answers.
const COMPARED: usize = 20;
/// How far a number may be from the same number that went through a text.
const ROUNDING: f64 = 1e-9;

impl Test<'_> {
    /// Every row of the clean table must be scored exactly once, as Athena counts.
    pub(super) async fn scores(
        &self,
        execution: &Execution,
        scores: &str,
        place: Place,
    ) -> Result<String> {
        let manifest = &self.workspace.manifest;
        let table = manifest.source().name;
        let entry = manifest.task().tabular().context("the task is not about rows")?;
        let done = execution.output["count"].as_u64();
        let done = done.context("the execution does not say how many rows it scored")?;
        let rows = self.count(&format!("SELECT count(*) AS n FROM {table}")).await?;
        ensure!(done == rows, "{done} rows are scored, and the clean table has {rows}");
        let run = keys::run(&execution.arn).replace('\'', "''");
        let of_run = format!("FROM {scores} WHERE run = '{run}'");
        let stored = self.count(&format!("SELECT count(*) AS n {of_run}")).await?;
        ensure!(stored == done, "Athena finds the scores of {stored} rows, not of {done}");
        let version = self.version;
        let strange = self
            .count(&format!(
                "SELECT count(*) AS n {of_run} AND (model_version <> '{version}' \
                 OR probability < 0 OR probability > 1 OR coalesce(probability, value) IS NULL)"
            ))
            .await?;
        ensure!(strange == 0, "{strange} scores are of another model, or no numbers");
        let mut told = format!("{done} of {rows} rows in S3, once each");
        if let Some(entity) = &entry.task.entity {
            let missing = format!(
                "SELECT count(*) AS n FROM {table} LEFT JOIN (SELECT DISTINCT entity {of_run}) \
                 scored ON scored.entity = CAST({table}.\"{entity}\" AS VARCHAR) WHERE \
                 scored.entity IS NULL"
            );
            let missing = self.count(&missing).await?;
            ensure!(missing == 0, "{missing} rows of the clean table have no score");
            told += &match place {
                Place::Embedded => self.compared(&of_run).await?,
                Place::Aws => "; model server not reachable from here, so not compared".to_owned(),
            };
        }
        Ok(told)
    }

    /// Some stored scores must be what the model server answers now.
    async fn compared(&self, of_run: &str) -> Result<String> {
        let sql = format!(
            "SELECT entity, coalesce(probability, value) AS answer {of_run} ORDER BY answer DESC, \
             entity LIMIT {COMPARED}"
        );
        let stored = self.ask_athena(&sql, COMPARED).await?;
        let (mut entities, mut answers) = (Vec::new(), Vec::new());
        for row in stored.rows {
            let [Some(entity), Some(answer)] = &row[..] else { bail!("a score is {row:?}") };
            entities.push(entity.clone());
            answers.push(answer.parse::<f64>()?);
        }
        let request = ScoreRequest {
            entities,
            dataset_key: Some(self.workspace.dataset_key()),
            bucket_name: Some(self.ours.output("DataBucket")?.to_owned()),
            model_version: Some(self.version.to_owned()),
            ..ScoreRequest::default()
        };
        let url = format!("{}/predict", self.ours.output("ServerUrl")?);
        let answer: ScoreResponse = self.post(&url, &request).await?;
        ensure!(answer.rows.len() == answers.len(), "the model server answered about fewer rows");
        for (row, stored) in answer.rows.iter().zip(&answers) {
            let of_label = || row.probabilities.get(row.label.as_ref()?).copied();
            let now = row.probability.or(row.value).or_else(of_label);
            let now = now.context("the model server answered nothing")?;
            ensure!(
                (now - stored).abs() <= ROUNDING * stored.abs().max(1.0),
                "the score of {} is {stored}, and the model server answers {now}",
                row.entity.as_deref().unwrap_or_default()
            );
        }
        Ok(format!("; {} equal to POST /predict", answers.len()))
    }
}
