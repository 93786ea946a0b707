//! `evaluate`: compares every family and writes the report.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use steppe_model::forecast::Forecast;
use steppe_model::host::Stage;
use steppe_model::tabular::Tabular;
use steppe_model::{TrainError, forecast, tabular, training_key, with_task};
use steppe_plan::events::{Did, Fact, Step};
use steppe_spec::TrainingSpec;

use super::drift;
use crate::artifacts;
use crate::cleaning::cleaned;
use crate::cli::DataArgs;
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::host::Host;
use crate::inputs::RawData;
use crate::progress::Progress;
use crate::project::{Workspace, write};
use crate::registry::Registry;
use crate::report::{self, ServiceReport};
use crate::training::{self, Told};
use crate::unsupervised;

/// Runs the verb.
pub async fn run(workspace: &Workspace, host: &Host, data: &DataArgs) -> Result<Outcome> {
    artifacts::build_own(&workspace.root, host).await?;
    let raw = workspace.raw_data(data)?;
    let clean = cleaned(workspace, &raw, host).await?;
    let evaluated = with_task!(TrainingSpec::of(&workspace.manifest), |T, spec| {
        evaluated::<T>(workspace, host, (&raw, &clean), *spec).await
    })?;
    let Evaluated { mut text, mut whole, page } = evaluated;
    let folder = workspace.scratch().join("reports").join(&workspace.manifest.name);
    let looked_for = unsupervised::evaluate(workspace, host, &clean, &folder).await?;
    text += &looked_for.text;
    whole["unsupervised"] = looked_for.whole;
    let service = service_report(workspace, host).await;
    whole["service"] = serde_json::to_value(&service)?;
    write(&folder.join("evaluation.json"), &serde_json::to_vec_pretty(&whole)?)?;
    write(&folder.join("evaluation.html"), page(service.as_ref())?.as_bytes())?;
    host.fact(Fact::Report { file: folder.join("evaluation.html").display().to_string() });
    host.result(&whole, &text);
    Ok(Outcome::Done)
}

/// Makes the page, with a section about the model in service where there is one.
type Page = Box<dyn FnOnce(Option<&ServiceReport>) -> Result<String> + Send>;

/// What an evaluation leaves: a text, a value, and a page.
struct Evaluated {
    text: String,
    whole: Value,
    page: Page,
}

/// A task whose families can be compared for people.
trait Compared: Told {
    /// Compares them; also how many families there were, and of what.
    fn compare(
        data: &Self::Data,
        spec: &Self::Spec,
        stage: &Stage<'_>,
    ) -> Result<(Evaluated, Did), TrainError>;
}

impl Compared for Forecast {
    fn compare(
        data: &Self::Data,
        spec: &Self::Spec,
        stage: &Stage<'_>,
    ) -> Result<(Evaluated, Did), TrainError> {
        let evaluation = forecast::evaluation::evaluate(data, spec, stage)?;
        let (families, series) = (evaluation.families.len(), evaluation.series.len());
        let did = Did::Evaluate { families, cases: series, of: "series".to_owned() };
        let (text, whole) = (evaluation.to_text(), serde_json::to_value(&evaluation));
        let page = move |service: Option<&ServiceReport>| report::html(&evaluation, service);
        let whole = whole.expect("a record of plain values");
        Ok((Evaluated { text, whole, page: Box::new(page) }, did))
    }
}

impl Compared for Tabular {
    fn compare(
        data: &Self::Data,
        spec: &Self::Spec,
        stage: &Stage<'_>,
    ) -> Result<(Evaluated, Did), TrainError> {
        let evaluation = tabular::evaluation::evaluate(data, spec, stage)?;
        let families = evaluation.section.candidates.len();
        let did = Did::Evaluate { families, cases: data.rows(), of: "rows".to_owned() };
        let (text, whole) = (evaluation.to_text(), serde_json::to_value(&evaluation));
        let page = move |service: Option<&ServiceReport>| report::rows::html(&evaluation, service);
        let whole = whole.expect("a record of plain values");
        Ok((Evaluated { text, whole, page: Box::new(page) }, did))
    }
}

async fn evaluated<T: Compared>(
    workspace: &Workspace,
    host: &Host,
    (raw, clean): (&RawData, &Path),
    spec: T::Spec,
) -> Result<Evaluated> {
    let data = training::data::<T>(workspace, clean, host, &spec)?;
    let work = host.begin(Step::Evaluate, None);
    let folder = workspace.scratch().join("evaluations").join(training_key(&spec, &data));
    let progress = Progress::new(host.clone(), Step::Evaluate, folder);
    let of_evaluation = progress.clone();
    let evaluating = move || T::compare(&data, &spec, &Stage::new(&of_evaluation));
    let evaluation = tokio::task::spawn_blocking(evaluating).await?;
    progress.forget();
    let (evaluated, did) =
        evaluation.with_context(|| format!("{} cannot be evaluated", raw.given()))?;
    work.done(did);
    Ok(evaluated)
}

/// What the deployment says about its model; without one the report is about the data alone.
async fn service_report(workspace: &Workspace, host: &Host) -> Option<ServiceReport> {
    let gather = async {
        let ours = Deployment::open(workspace).await?;
        let registry = Registry::of(&ours)?;
        let in_service = registry.some_pointer().await?.in_service;
        anyhow::Ok(ServiceReport {
            in_service,
            trainings: registry.records().await?,
            drift: drift::newest(ours.aws(), workspace).await?,
        })
    };
    let gathered = gather.await;
    if let Err(error) = &gathered {
        let why = error.to_string().lines().next().unwrap_or_default().to_owned();
        host.fact(Fact::NoServiceReport { why });
    }
    gathered.ok()
}
