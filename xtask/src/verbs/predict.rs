//! `predict`: one answer through the deployed predictor, about a series, an entity or a row.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use steppe_aws::Invocation;
use steppe_plan::events::{Did, Step};
use steppe_spec::Served;
use steppe_wire::hint::Hinted;
use steppe_wire::predict::{PredictorOutput, StoredPrediction};
use steppe_wire::score::{Reason, ScoreRequest, ScoreResponse, ScoredRow};

use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::freshness::Lake;
use crate::hint::OrHint;
use crate::host::Host;
use crate::project::Workspace;
use crate::registry::Registry;

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// A series or an entity.
    pub name: Option<&'a str>,
    /// A row, as a JSON object.
    pub row: Option<&'a str>,
}

/// Asks the deployed predictor.
pub async fn run(workspace: &Workspace, host: &Host, asked: Asked<'_>) -> Result<Outcome> {
    match (workspace.manifest.task(), asked) {
        (Served::Forecast(_), Asked { name: Some(series), row: None }) => {
            forecast(workspace, host, series).await
        }
        (Served::Forecast(entry), _) => bail!(Hinted::new(
            "a forecast is about a series",
            format!("`cargo xtask predict {}` names it", entry.task.series.to_uppercase())
        )),
        (Served::Tabular(_), asked) => score(workspace, host, asked).await,
    }
}

/// Where the deployed predictor is, and the version in service that has to answer.
struct Predictor {
    ours: Deployment,
    version: String,
}

impl Predictor {
    /// Of a deployment whose tables are of the data that are there.
    async fn open(workspace: &Workspace, reads_tables: bool) -> Result<Self> {
        let ours = Deployment::open(workspace).await?;
        let registry = Registry::of(&ours)?;
        let (lake, in_service) =
            tokio::try_join!(Lake::of(&ours, &workspace.manifest), registry.some_pointer())?;
        if reads_tables {
            lake.check()?;
        }
        Ok(Self { version: in_service.in_service.current.model.version, ours })
    }

    async fn ask(&self, host: &Host, payload: &Value) -> Result<Invocation> {
        let work = host.begin(Step::Predict, None);
        let answer = self.ours.aws().invoke(self.ours.output("PredictorName")?, payload).await?;
        if answer.failed {
            let failed = answer.payload["errorMessage"].as_str();
            let failed = Hinted::of_process(failed.unwrap_or("the predictor failed"));
            let runs = "`cargo xtask smoke-test` runs the pipeline, which cleans the data";
            bail!(match failed.to_string().contains("no data set") {
                true => failed.and(runs),
                false => failed,
            });
        }
        work.done(Did::Predict);
        Ok(answer)
    }
}

/// Forecasts one series.
async fn forecast(workspace: &Workspace, host: &Host, series: &str) -> Result<Outcome> {
    let predictor = Predictor::open(workspace, true).await?;
    let Some(entry) = workspace.manifest.task().forecast() else { bail!("the task is another") };
    let payload = json!({
        "model_version": predictor.version,
        (&entry.task.series): series,
        "dataset_key": workspace.dataset_key(),
        "bucket_name": predictor.ours.output("DataBucket")?,
    });
    let answer = predictor.ask(host, &payload).await?;
    let output: PredictorOutput = serde_json::from_value(answer.payload.clone())?;
    let Some(forecast) = &output.forecast else {
        let left_out = output.left_out.first();
        let reason = left_out.map_or("it was left out", |left| left.reason.as_str());
        bail!(Hinted::new(
            format!("{series} is not forecast: {reason}"),
            "`gaps` of the task in the manifest decides",
        ));
    };
    let place = output.s3_path.as_deref().unwrap_or_default();
    host.result(&answer.payload, &text(&entry.task.target, forecast, place));
    Ok(Outcome::Done)
}

/// Scores one entity of the clean table, or a row.
async fn score(workspace: &Workspace, host: &Host, asked: Asked<'_>) -> Result<Outcome> {
    let Some(entry) = workspace.manifest.task().tabular() else { bail!("the task is another") };
    let (target, entity) = (&entry.task.target, &entry.task.entity);
    let predictor = Predictor::open(workspace, asked.row.is_none()).await?;
    let mut request = ScoreRequest {
        explain: true,
        model_version: Some(predictor.version.clone()),
        ..ScoreRequest::default()
    };
    match (asked, entity) {
        (Asked { row: Some(row), name: None }, _) => {
            let row: Map<String, Value> = serde_json::from_str(row).or_hint(|| {
                let example = "`--row '{\"age\": 67, \"bmi\": null}'`";
                Hinted::new("the row is no JSON object", format!("such as {example}"))
            })?;
            request.rows = vec![row];
        }
        (Asked { name: Some(name), row: None }, Some(_)) => {
            request.entities = vec![name.to_owned()];
            request.dataset_key = Some(workspace.dataset_key());
            request.bucket_name = Some(predictor.ours.output("DataBucket")?.to_owned());
        }
        (Asked { name: Some(_), row: None }, None) => bail!(Hinted::new(
            "the task has no `entity`, so no row has a name",
            "`cargo xtask predict --row '{…}'` asks about a row",
        )),
        _ => bail!(Hinted::new(
            "there is nothing to predict",
            "give what a row is about, or `--row '{\"column\": value, …}'`",
        )),
    }
    let answer = predictor.ask(host, &serde_json::to_value(&request)?).await?;
    let scored: ScoreResponse = serde_json::from_value(answer.payload.clone())?;
    let Some(row) = scored.rows.first() else { bail!("the predictor answered about no row") };
    host.result(&answer.payload, &scored_text(target, row, &scored));
    Ok(Outcome::Done)
}

fn scored_text(target: &str, row: &ScoredRow, scored: &ScoreResponse) -> String {
    let mut text = row.entity.as_ref().map_or_else(String::new, |entity| format!("{entity}: "));
    text += target;
    if let Some(label) = &row.label {
        text += &format!(" {label}");
    }
    if let (Some(probability), Some(threshold)) = (row.probability, row.threshold) {
        text += &format!(", probability {probability:.4} (yes from {threshold:.4} on)");
    }
    if let Some(value) = row.value {
        text += &format!(" {value:.4}");
    }
    text.push('\n');
    for (label, probability) in &row.probabilities {
        text += &format!("  {label:<24}{probability:>10.4}\n");
    }
    for Reason { column, value, effect } in row.reasons.iter().flatten() {
        let value = match value {
            Value::Null => "missing".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        text += &format!("  {effect:>+9.4}  {column} = {value}\n");
    }
    if let Some(base) = row.base {
        text += &format!("  {base:>+9.4}  of a row of which nothing is known\n");
    }
    for column in &row.unknown_levels {
        text += &format!("note: the model has never seen this `{column}`\n");
    }
    let model = &scored.model;
    let measure = crate::registry::deciding(&model.backtest);
    text + &format!("model {} {}, out of fold {measure}\n", model.id, model.version)
}

fn text(target: &str, forecast: &StoredPrediction, place: &str) -> String {
    let decimals = forecast.decimals;
    let mut text =
        format!("{}: {target}, observed until {}\n", forecast.series, forecast.observed_until);
    for step in &forecast.steps {
        text += &format!(
            "  {}  {:>10.decimals$}   {:.0} % interval {:.decimals$} to {:.decimals$}",
            step.period,
            step.value,
            step.level * 100.0,
            step.lower,
            step.upper
        );
        if let Some(procure) = step.procure {
            text += &format!("   procure {procure:.decimals$}");
        }
        text.push('\n');
    }
    text += &format!(
        "model {} {}, backtest MAPE {:.2} %, MASE {:.3}\n",
        forecast.model_id, forecast.model_version, forecast.backtest_mape, forecast.backtest_mase
    );
    if let Some(note) = &forecast.note {
        text += &format!("note: {note}\n");
    }
    text + place + "\n"
}
