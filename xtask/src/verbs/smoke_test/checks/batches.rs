//! Forecasts that were made in batches: each series once in the run's partition, whole, by the
//! right model, and equal to what the server answers; the backtest's once, beside what came.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use steppe_plan::smoke_test::Place;
use steppe_wire::keys;
use steppe_wire::predict::{PredictRequest, PredictResponse};

use super::Test;
use crate::execution::Execution;

/// Series whose forecasts are compared with the server's answers.
const COMPARED: usize = 20;
/// How far a number may be from the same number that went through a text.
const ROUNDING: f64 = 1e-9;

impl Test<'_> {
    /// What a run predicted in batches.
    pub(super) async fn predictions(
        &self,
        execution: &Execution,
        table: &str,
        (series, place): (&[String], Place),
    ) -> Result<String> {
        let run = keys::run(&execution.arn).replace('\'', "''");
        let (of_run, version) = (format!("FROM {table} WHERE run = '{run}'"), self.version);
        let newest = format!("{of_run} AND NOT backtest");
        let all = self.all_forecast(execution, series, &newest).await?;
        let entry = self.workspace.manifest.task().forecast();
        let horizon = entry.context("the task does not forecast")?.task.horizon as u64;
        let done = execution.output["count"].as_u64().unwrap_or_default();
        let steps = self.count(&format!("SELECT count(*) AS n {newest}")).await?;
        ensure!(
            steps == done * horizon,
            "Athena finds {steps} steps of {done} forecasts, each of {horizon}"
        );
        let strange = format!(
            "SELECT count(*) AS n {of_run} AND (model_version <> '{version}' OR \
             NOT (predicted BETWEEN lower AND upper))"
        );
        let strange = self.count(&strange).await?;
        ensure!(strange == 0, "{strange} forecasts are of another model, or no forecasts");
        let compared = match place {
            Place::Embedded => self.compare_batch(&newest).await?,
            Place::Aws => "model server not reachable from here, so not compared".to_owned(),
        };
        let past = self.backtest(&format!("{of_run} AND backtest")).await?;
        Ok(format!("{all}; {compared}; {past}"))
    }

    /// Some stored forecasts must be what the model server answers now.
    async fn compare_batch(&self, newest: &str) -> Result<String> {
        let sql = format!(
            "SELECT series, step, period, predicted, lower, upper {newest} ORDER BY series, step"
        );
        let entry = self.workspace.manifest.task().forecast();
        let steps = entry.context("the task does not forecast")?.task.horizon;
        let stored = self.ask_athena(&sql, COMPARED * steps).await?;
        let mut by_series: BTreeMap<String, Vec<(String, [f64; 3])>> = BTreeMap::new();
        for row in stored.rows {
            let [Some(series), _, Some(period), Some(value), Some(lower), Some(upper)] = &row[..]
            else {
                bail!("a forecast is {row:?}")
            };
            let numbers = [value.parse()?, lower.parse()?, upper.parse()?];
            by_series.entry(series.clone()).or_default().push((period.clone(), numbers));
        }
        let names: Vec<String> = by_series.keys().cloned().collect();
        ensure!(!names.is_empty(), "there is no forecast");
        let bucket = self.ours.output("DataBucket")?;
        let request = PredictRequest {
            model_version: Some(self.version.to_owned()),
            ..PredictRequest::several(&names, bucket, &self.workspace.dataset_key())
        };
        let url = format!("{}/predict", self.ours.output("ServerUrl")?);
        let answer: PredictResponse = self.post(&url, &request).await?;
        for forecast in &answer.forecasts {
            let stored = &by_series[&forecast.series];
            let same = forecast.steps.len() == stored.len()
                && forecast.steps.iter().zip(stored).all(|(now, (period, stored))| {
                    let numbers = [now.value, now.lower, now.upper].into_iter().zip(stored);
                    now.period == *period
                        && numbers.into_iter().all(|(now, stored)| close(now, *stored))
                });
            ensure!(
                same,
                "the forecast of {} is {stored:?}, and the model server answers {:?}",
                forecast.series,
                forecast.steps
            );
        }
        ensure!(answer.forecasts.len() == names.len(), "the server answered about fewer series");
        Ok(format!("{} looked at: equal to POST /predict", names.len()))
    }

    /// What the backtest had predicted lies there once, beside what came.
    async fn backtest(&self, past: &str) -> Result<String> {
        let count = async |of: &str| self.count(&format!("SELECT count(*) AS n {of}")).await;
        let forecasts = format!("FROM (SELECT DISTINCT series, observed_until, step {past}) once");
        let (all, once) = (count(past).await?, count(&forecasts).await?);
        ensure!(all == once, "{all} forecasts of the backtest are there, of which {once} differ");
        let known = count(&format!("{past} AND actual IS NOT NULL")).await?;
        ensure!(known > 0, "no forecast of the model's backtest lies beside what came");
        let inside = count(&format!("{past} AND actual BETWEEN lower AND upper")).await?;
        let share = 100.0 * inside as f64 / known as f64;
        Ok(format!("{known} of the backtest beside what came, {share:.1} % inside"))
    }
}

fn close(now: f64, stored: f64) -> bool {
    (now - stored).abs() <= ROUNDING * stored.abs().max(1.0)
}
