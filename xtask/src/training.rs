//! Cleans the raw data on this machine and trains, unless a model that fits is there already.

use std::path::Path;

use anyhow::{Context, Result, bail};
use steppe_model::any::AnyModel;
use steppe_model::artifact::{Artifact, ArtifactError};
use steppe_model::forecast::Forecast;
use steppe_model::forecast::dataset::Note;
use steppe_model::host::Stage;
use steppe_model::tabular::Tabular;
use steppe_model::task::Task;
use steppe_model::{Dataset, training_key, with_task};
use steppe_plan::events::{Did, Fact, Step};
use steppe_spec::{Total, Training, TrainingSpec};
use steppe_wire::hint::Hinted;
use steppe_wire::keys::{self, CARD_FILE, WEIGHTS_FILE};
use steppe_wire::predict::ModelPointer;

use crate::cleaning::{cleaned, parquet_files};
use crate::host::Host;
use crate::inputs::RawData;
use crate::progress::Progress;
use crate::project::{Workspace, write};

/// Series that are too short for the model and are named.
const SHORT_NAMED: usize = 5;

/// A task as this tool tells people of its data and models.
pub trait Told: Task {
    /// Refuses data of which any number would mislead.
    fn refuse(_workspace: &Workspace, _data: &Self::Data) -> Result<()> {
        Ok(())
    }

    /// What of the data a model does not answer about as it does about the rest.
    fn exceptions(_artifact: &Artifact<Self>, _data: &Self::Data) -> Option<Fact> {
        None
    }
}

impl Told for Tabular {}

impl Told for Forecast {
    /// Sums over all series would be twice the truth, in the queries and wherever people add up.
    fn refuse(workspace: &Workspace, data: &Dataset) -> Result<()> {
        let total = data.notes().iter().find_map(|note| match note {
            Note::Total { series, .. } => Some(series),
            _ => None,
        });
        let fails = workspace.manifest.task().forecast().map(|entry| entry.total);
        match total {
            Some(series) if fails == Some(Total::Fail) => bail!(Hinted::new(
                format!(
                    "`{series}` is the sum of all other series, so that sums count everything twice"
                ),
                format!(
                    "`leave_out = [\"{series}\"]` of the task in the manifest leaves it out; \
                     `total = \"keep\"` keeps it as a series like the others"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Series that get the plain rule instead of the model.
    fn exceptions(artifact: &Artifact<Self>, data: &Dataset) -> Option<Fact> {
        let forecast = data.series().iter().filter(|s| data.absence(&s.name).is_none());
        let mut named: Vec<String> =
            forecast.filter(|s| !artifact.suits(s.view())).map(|s| s.name.clone()).collect();
        let series = named.len();
        named.truncate(SHORT_NAMED);
        (series > 0).then_some(Fact::ShortSeries { series, named })
    }
}

/// Cleans and trains; returns the model and the name of its configuration and data.
pub async fn run(workspace: &Workspace, raw: &RawData, host: &Host) -> Result<(AnyModel, String)> {
    with_task!(TrainingSpec::of(&workspace.manifest), |T, spec| {
        trained::<T>(workspace, raw, host, *spec).await
    })
}

async fn trained<T: Told>(
    workspace: &Workspace,
    raw: &RawData,
    host: &Host,
    spec: T::Spec,
) -> Result<(AnyModel, String)> {
    let folder = cleaned(workspace, raw, host).await?;
    let data = data::<T>(workspace, &folder, host, &spec)?;
    let key = training_key(&spec, &data);
    let dir = workspace.scratch().join("models").join(&workspace.manifest.name).join(&key);
    let tell = |artifact: &Artifact<T>, data: &T::Data| {
        T::exceptions(artifact, data).into_iter().for_each(|fact| host.fact(fact));
    };
    if let Some(artifact) = load(&dir, Artifact::<T>::load) {
        host.fact(Fact::ModelFits { version: artifact.version() });
        tell(&artifact, &data);
        return Ok((AnyModel::of(&artifact), key));
    }
    let work = host.begin(Step::Train, None);
    let progress = Progress::new(host.clone(), Step::Train, dir.join("checkpoints"));
    let of_training = progress.clone();
    let train = move || (Artifact::<T>::train(&data, &spec, &Stage::new(&of_training)), data);
    let (artifact, data) = tokio::task::spawn_blocking(train).await?;
    let artifact =
        artifact.with_context(|| format!("no model can be trained on {}", raw.given()))?;
    let model = AnyModel::of(&artifact);
    save(&dir, &model)?;
    progress.forget();
    work.done(Did::Train { version: artifact.version() });
    tell(&artifact, &data);
    Ok((model, key))
}

/// The clean tables in a folder as the task reads them.
pub fn data<T: Told>(
    workspace: &Workspace,
    folder: &Path,
    host: &Host,
    spec: &T::Spec,
) -> Result<T::Data> {
    let pipeline = &workspace.manifest.name;
    let files = |table: &str| parquet_files(&folder.join(keys::table_prefix(pipeline, table)));
    let others = T::others(spec).iter().map(|table| files(table)).collect::<Result<_>>()?;
    let data = T::read(spec, files(spec.table())?)?;
    let data = T::with_others(data, spec, others)?;
    for note in T::notes(&data) {
        host.fact(Fact::DataNote { note });
    }
    T::refuse(workspace, &data)?;
    Ok(data)
}

/// The model trained here last, if any.
pub fn newest(workspace: &Workspace) -> Option<AnyModel> {
    let dirs = std::fs::read_dir(workspace.scratch().join("models").join(&workspace.manifest.name))
        .ok()?;
    let by_time = |d: &std::fs::DirEntry| d.metadata().and_then(|m| m.modified()).ok();
    let mut dirs: Vec<_> = dirs.flatten().collect();
    dirs.sort_by_key(by_time);
    dirs.iter().rev().find_map(|d| load(&d.path(), AnyModel::load))
}

/// What reads a model: its card, its weights, and what points to it.
type Load<M> = fn(Vec<u8>, Vec<u8>, &ModelPointer) -> Result<M, ArtifactError>;

fn load<M>(dir: &Path, load: Load<M>) -> Option<M> {
    let pointer: ModelPointer =
        serde_json::from_slice(&std::fs::read(dir.join("current.json")).ok()?).ok()?;
    let (card, weights) = (dir.join(CARD_FILE), dir.join(WEIGHTS_FILE));
    load(std::fs::read(card).ok()?, std::fs::read(weights).ok()?, &pointer).ok()
}

fn save(dir: &Path, model: &AnyModel) -> Result<()> {
    write(&dir.join(CARD_FILE), &model.card_bytes)?;
    write(&dir.join(WEIGHTS_FILE), &model.weights_bytes)?;
    // Written last: without it the folder counts as empty.
    write(&dir.join("current.json"), &serde_json::to_vec_pretty(&model.pointer)?)
}
