//! Cleans the raw data on this machine and trains, unless a model that fits is there already.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
use steppe_plan::stack::sha256_hex;
use steppe_spec::{Total, Training, TrainingSpec};
use steppe_store::table;
use steppe_wire::etl::{EtlPlan, EtlReport, InputReport, RejectedNewest};
use steppe_wire::hint::Hinted;
use steppe_wire::keys::{self, CARD_FILE, WEIGHTS_FILE};
use steppe_wire::predict::ModelPointer;
use steppe_wire::text::shown;

use crate::artifacts::own_binary;
use crate::hint::OrHint;
use crate::host::Host;
use crate::inputs::RawData;
use crate::progress::Progress;
use crate::project::{Workspace, make_private, write};

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
    let data = data::<T>(workspace, raw, host, &spec).await?;
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

/// The cleaned data as the task reads them.
pub async fn data<T: Told>(
    workspace: &Workspace,
    raw: &RawData,
    host: &Host,
    spec: &T::Spec,
) -> Result<T::Data> {
    host.fact(Fact::Data { file: raw.given(), synthetic: raw.synthetic });
    for file in raw.inputs.iter().flat_map(|input| &input.files) {
        for remark in &file.told {
            let hints = remark.hint.into_iter().map(str::to_owned).collect();
            host.fact(Fact::Read { what: remark.what.clone(), hints });
        }
    }
    for file in &raw.left_out {
        let what = format!("{} left out: it has the columns of no input", file.display());
        host.fact(Fact::Read { what, hints: vec![] });
    }
    clean::<T>(workspace, raw, host, spec).await
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

/// Cleans with the embedded engine; the result is kept by the hash of data and plan.
async fn clean<T: Told>(
    workspace: &Workspace,
    raw: &RawData,
    host: &Host,
    spec: &T::Spec,
) -> Result<T::Data> {
    let plan = serde_json::to_vec_pretty(&workspace.etl_plan)?;
    let key = sha256_hex(format!("{}{}", raw.sha256(), sha256_hex(&plan)).as_bytes());
    let dir = workspace.scratch().join("clean").join(&workspace.manifest.name).join(&key[..16]);
    let (work, report_file) = (host.begin(Step::Clean, None), dir.join(&workspace.etl_plan.report));
    if !report_file.exists() {
        engine(workspace, raw, &dir).await?;
    }
    let report: EtlReport = serde_json::from_slice(&std::fs::read(&report_file)?)
        .or_hint(|| Hinted::new(format!("{} is damaged", report_file.display()), "delete it"))?;
    work.done(Did::Clean { clean_rows: report.clean_rows(), raw_rows: report.raw_rows() });
    for input in &report.inputs {
        for (rule, rows) in &input.rejected_by_rule {
            host.fact(Fact::RejectedRows { rows: *rows, rule: rule.clone() });
        }
        rejected_newest(input).into_iter().for_each(|fact| host.fact(fact));
    }
    let files =
        |table: &str| parquet_files(&dir.join(keys::table_prefix(&workspace.manifest.name, table)));
    let others = T::others(spec).iter().map(|table| files(table)).collect::<Result<_>>()?;
    let data = T::read(spec, files(spec.table())?)?;
    let data = T::with_others(data, spec, others)?;
    for note in T::notes(&data) {
        host.fact(Fact::DataNote { note });
    }
    T::refuse(workspace, &data)?;
    Ok(data)
}

/// Series of which only older values are left: their forecasts begin before their data end.
fn rejected_newest(report: &InputReport) -> Vec<Fact> {
    let fact = |newest: &RejectedNewest| Fact::NewestRejected {
        series: shown(&newest.series).to_string(),
        records: newest.records,
        period: newest.period.clone(),
        rule: newest.rule.clone(),
    };
    let mut facts: Vec<Fact> = report.rejected_newest.iter().map(fact).collect();
    let series = report.rejected_newest_count.saturating_sub(facts.len() as u64);
    facts.extend((series > 0).then_some(Fact::MoreNewestRejected { series }));
    facts
}

fn parquet_files(dir: &Path) -> Result<Vec<bytes::Bytes>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "parquet"));
    files.sort();
    let sizes: Vec<u64> =
        files.iter().map(|f| Ok(f.metadata()?.len())).collect::<std::io::Result<_>>()?;
    // What is trained here is served there.
    table::check(files.len(), sizes.iter().sum(), table::BYTES_MAX)
        .context("the clean table is larger than the model server takes")?;
    files.iter().map(|f| Ok(std::fs::read(f)?.into())).collect()
}

/// Runs the plan on this machine, in the folder `dir`, as it runs in the bucket.
async fn engine(workspace: &Workspace, raw: &RawData, dir: &Path) -> Result<()> {
    let root = dir.display().to_string();
    let plan = EtlPlan { root: root.clone(), ..workspace.etl_plan.clone() };
    let plan_file = dir.join("plan.json");
    write(&plan_file, &serde_json::to_vec_pretty(&plan)?)?;
    let mut called = BTreeMap::new();
    for (input, plan) in raw.inputs.iter().zip(&plan.inputs) {
        let folder = dir.join(&plan.prefix);
        make_private(&folder)?;
        for file in &input.files {
            let place = folder.join(&file.name);
            // What a run that was killed left here is of copies that are gone.
            let _ = std::fs::remove_file(&place);
            std::os::unix::fs::symlink(file.copy.path(), &place)
                .with_context(|| format!("cannot write {}", place.display()))?;
            called.insert(
                format!("{root}/{}{}", plan.prefix, file.name),
                file.given.display().to_string(),
            );
        }
    }
    let mut command = tokio::process::Command::new(own_binary(&workspace.root, "steppe-etl"));
    command.args(["clean-files", "--plan", &plan_file.display().to_string()]);
    command.args(["--called", &serde_json::to_string(&called)?]);
    let output = command.output().await.or_hint(|| {
        Hinted::new("cannot start the engine", "`cargo build --bin steppe-etl` builds it")
    });
    let _ = std::fs::remove_dir_all(dir.join("raw"));
    let output = output?;
    if !output.status.success() {
        bail!(Hinted::of_process(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(())
}
