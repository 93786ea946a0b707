//! Rows: what the clean table has that the model in service has not seen, and past scores beside
//! what became of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use statrs::distribution::{ContinuousCDF, Normal};
use steppe_model::DataError;
use steppe_model::drift::Tally;
use steppe_model::tabular::answers::{Answers, scores};
use steppe_model::tabular::columns::{Raw, RawTable};
use steppe_model::tabular::data::{Rows, Target};
use steppe_model::tabular::{Artifact, Asked, Row, Tabular};
use steppe_model::task::Task;
use steppe_model::trials::recorded;
use steppe_spec::tabular::TabularSpec;
use steppe_store::table::{BYTES_MAX, Table};
use steppe_store::{Bucket, BucketError, Registry, objects};
use steppe_wire::drift::{Finding, Labelled, TableDrift};
use steppe_wire::failure::Failure;
use steppe_wire::keys;

use super::{Looked, Monitor, drifted};
use crate::inputs::table_failure;
use crate::score::model_of;

/// Newest objects of scores that are looked at.
const OBJECTS_MAX: usize = 200;
/// Rows from which a verdict on a model is possible.
const ROWS_MIN: usize = 50;
/// Probability of a difference from which probabilities are not what they promise.
const CALIBRATION_P: f64 = 0.001;
/// The deciding score, in multiples of that of the trials, from which the model has lost its way.
const LOSS_RATIO: f64 = 1.5;
/// Versions of models whose past scores are looked at.
const VERSIONS_MAX: usize = 10;

/// A score that lies in S3.
struct Stored {
    entity: String,
    answer: f64,
}

/// Who scored, a version, and what: an entity.
type Scored = (String, String);

/// Looks at the clean table and at past scores.
pub async fn look(monitor: &Monitor, spec: &TabularSpec) -> Result<Looked, Failure> {
    let prefix = keys::table_prefix(&monitor.pipeline, &spec.table);
    let registry = Registry::new(monitor.artifacts.clone(), &monitor.pipeline);
    let absent = || Failure::permanent("no model is in service".to_owned());
    let version = registry.pointer().await?.ok_or_else(absent)?.in_service.current.model.version;
    let model = model_of(&registry, &version).await?;
    let failed = |error| table_failure(&prefix, error);
    let found = Table::find(&*monitor.data, &prefix, BYTES_MAX).await.map_err(failed)?;
    let Some(table) = found else {
        let told = "there is no clean table yet".to_owned();
        return Ok(Looked { told, ..Looked::default() });
    };
    let (files, of) = (table.read(&monitor.data).await.map_err(failed)?, spec.clone());
    let unusable = |e: &dyn Display| Failure::permanent(format!("`{prefix}` cannot be used: {e}"));
    let work = tokio::task::spawn_blocking(move || {
        let table = table_drift(&model, &Rows::asked(&of, files.clone())?);
        // As long as no target is known, there is nothing to hold scores against.
        Ok::<_, DataError>((table, Rows::learnt(&of, files).ok()))
    });
    let (table, data) = work.await.map_err(|e| unusable(&e))?.map_err(|e| unusable(&e))?;
    let mut labelled = Vec::new();
    for (version, stored) in past(&monitor.data, spec).await? {
        // A model that is no longer there cannot say what it had seen.
        let Ok(model) = model_of(&registry, &version).await else { continue };
        labelled.extend(data.as_ref().and_then(|data| beside(&model, &version, &stored, data)));
    }
    let mut findings: Vec<Finding> =
        drifted(&table.model_version, &table.statistics, "new rows").collect();
    findings.extend(labelled.iter().filter(|l| l.rows >= ROWS_MIN).flat_map(wrong));
    let checked: usize = labelled.iter().map(|labelled| labelled.rows).sum();
    let told = format!(
        "{} rows are new since the training, {checked} past scores beside what happened",
        table.rows
    );
    Ok(Looked { table: Some(table), labelled, findings, told, ..Looked::default() })
}

/// What rows that are new or have changed look like.
fn table_drift(model: &Artifact, data: &Rows) -> TableDrift {
    let seen = model.card.section.data.contents.reader();
    let new: Vec<usize> = (0..data.rows()).filter(|row| !seen(&data.content(*row))).collect();
    let new = data.select(&new);
    let rows: Vec<Row<'_>> = (0..new.rows()).map(|row| Row { table: &new.table, row }).collect();
    let answers = model.answer(&rows, Asked { reasons: false });
    let reference = &model.card.reference;
    let mut tally = Tally::new(reference);
    for (row, answered) in rows.iter().zip(&answers) {
        if let Some(counted) = Tabular::statistics(model, *row, answered) {
            tally.add(reference, &counted);
        }
    }
    TableDrift {
        model_version: model.version(),
        rows: new.rows(),
        unknown_levels: model.unknown_levels_of(&new.table),
        statistics: tally.compare(reference),
    }
}

/// Past scores by model version: of each entity the newest.
async fn past(data: &Bucket, spec: &TabularSpec) -> Result<BTreeMap<String, Vec<Stored>>, Failure> {
    let folder = keys::batches_prefix(&spec.name);
    let failed = |error| Failure::from(BucketError::of(&folder, error));
    let path = Path::from(folder.as_str());
    let listed = objects(&**data, &path, |key| key.ends_with(".parquet"));
    let mut files: Vec<ObjectMeta> = listed.try_collect().await.map_err(failed)?;
    files.sort_by_key(|file| file.last_modified);
    files.drain(..files.len().saturating_sub(OBJECTS_MAX));
    let mut newest: HashMap<Scored, f64> = HashMap::new();
    for file in files {
        let read = async { data.get(&file.location).await?.bytes().await };
        match stored(read.await.map_err(failed)?) {
            Some(all) => newest.extend(all),
            None => eprintln!("{} is left out: it has no scores", file.location),
        }
    }
    let mut by_version: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
    for ((version, entity), answer) in newest {
        by_version.entry(version).or_default().push(Stored { entity, answer });
    }
    while by_version.len() > VERSIONS_MAX {
        by_version.pop_first();
    }
    Ok(by_version)
}

/// Scores of an object by model version and entity. Those of several classes are not looked at: the
/// object has lists of them.
fn stored(file: Bytes) -> Option<Vec<(Scored, f64)>> {
    let wanted = ["entity", "probability", "value", "model_version"];
    let mut table = RawTable::read([file], &wanted).ok()?;
    let (entities, versions) =
        (table.take("entity")?.texts(), table.take("model_version")?.texts());
    let (Raw::Number(probabilities), Raw::Number(values)) =
        (table.take("probability")?, table.take("value")?)
    else {
        return None;
    };
    let one = |row: usize| {
        let answer = if probabilities[row].is_nan() { values[row] } else { probabilities[row] };
        let key = (versions[row].clone()?, entities[row].clone()?);
        answer.is_finite().then_some((key, answer))
    };
    Some((0..table.rows()).filter_map(one).collect())
}

/// A model's past scores of rows that it had not seen, beside what became of them.
fn beside(model: &Artifact, version: &str, stored: &[Stored], data: &Rows) -> Option<Labelled> {
    let section = &model.card.section;
    if section.target.labels != data.target().labels() || section.target.labels.len() > 2 {
        return None;
    }
    let seen = section.data.seen.reader();
    let entities = data.entities.as_ref()?;
    let rows: HashMap<&str, usize> =
        entities.iter().map(String::as_str).zip(0..data.rows()).collect();
    let (mut known, mut answers) = (Vec::new(), Vec::new());
    for Stored { entity, answer } in stored {
        if let Some(&row) = rows.get(entity.as_str())
            && !seen(&data.key(row))
        {
            known.push(row);
            answers.push(*answer);
        }
    }
    let target = data.select(&known).target?;
    let (expected, happened) = match &target {
        Target::Classes { .. } => {
            let happened = target.happened(0).into_iter().filter(|yes| *yes).count();
            (Some(answers.iter().sum::<f64>()), Some(happened))
        }
        Target::Numbers(_) => (None, None),
    };
    let calibration_p = expected.zip(happened).and_then(|(expected, happened)| {
        let variance: f64 = answers.iter().map(|p| p * (1.0 - p)).sum();
        let z = (happened as f64 - expected).abs() / variance.sqrt();
        z.is_finite().then(|| 2.0 * (1.0 - Normal::standard().cdf(z)))
    });
    let rows = answers.len();
    (rows > 0).then(|| Labelled {
        model_version: version.to_owned(),
        rows,
        scores: recorded(&scores(&target, &Answers(vec![answers]))),
        in_trials: Tabular::scores(section),
        expected,
        happened,
        calibration_p,
    })
}

/// What is wrong with a model's past scores.
fn wrong(labelled: &Labelled) -> Vec<Finding> {
    let Labelled { model_version: version, rows, .. } = labelled;
    let mut findings = Vec::new();
    if let (Some(expected), Some(happened), Some(p)) =
        (labelled.expected, labelled.happened, labelled.calibration_p)
        && p < CALIBRATION_P
    {
        let text = format!(
            "model {version} is not calibrated: of {rows} rows {expected:.1} were to happen, and \
             {happened} did"
        );
        findings.push(Finding { id: format!("calibration/{version}/{rows}"), text });
    }
    if let (Some(now), Some(then)) = (labelled.scores.deciding(), labelled.in_trials.deciding())
        && now.value > LOSS_RATIO * then.value
    {
        let text = format!(
            "model {version} lost its way: {} {:.3} on {rows} rows, {:.3} in its trials",
            now.name, now.value, then.value
        );
        findings.push(Finding { id: format!("error/{version}/{rows}"), text });
    }
    findings
}
