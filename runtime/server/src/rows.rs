//! Rows as this server takes and gives them: in JSON, in CSV, in JSON lines, and in tensors.

mod csv_lines;
mod form;
mod json;
mod tensors;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::value::RawValue;
use steppe_model::DataError;
use steppe_model::rows::table::{Column, Table};
use steppe_model::tabular::data::Rows;
use steppe_model::tabular::{Answered, Artifact, Asked, ModelCard, Row, Tabular, Wanted};
use steppe_spec::tabular::TabularSpec;
use steppe_wire::predict::ModelRef;
use steppe_wire::registry::Scores;
use steppe_wire::score::{ScoreRequest, ScoreResponse, ScoredRow};

use crate::body::{check_json, media_type};
use crate::model_store;
use crate::problems::RequestError;
use crate::routes;
use crate::served::{Inferred, Served};
use crate::service::Service;
use crate::tensors::{InferRequest, Signature};
pub use form::Form;

/// A model of rows in service.
type ServedModel = model_store::ServedModel<Tabular>;

/// Rows up to which a quick model answers at once.
const AT_ONCE: usize = 64;
/// As many when reasons are wanted.
const EXPLAINED_AT_ONCE: usize = 4;
/// Values up to which that is so.
const VALUES_AT_ONCE: usize = 2_000;
/// Rows of one request.
pub const ROWS_MAX: usize = 10_000;
/// The type of a body in CSV.
const CSV: &str = "text/csv";
/// Types of bodies that hold an object per line.
const JSON_LINES: [&str; 3] =
    ["application/jsonlines", "application/jsonl", "application/x-ndjson"];

/// Rows that are asked about.
struct Questions {
    table: Table,
    /// What each is about, if it says so.
    entities: Vec<Option<String>>,
}

/// A data set in memory.
#[derive(Debug)]
pub struct Held {
    rows: Rows,
    /// The newest row about each entity.
    newest: HashMap<String, usize>,
    /// What it was read by.
    spec: TabularSpec,
}

/// How they are to be answered.
#[derive(Clone, Copy)]
struct How {
    explain: bool,
    threshold: Option<f64>,
}

impl Served for Tabular {
    type Scores = Scores;
    type Held = Held;
    type Form = Form;

    fn model_ref(artifact: &Artifact) -> ModelRef<Scores> {
        artifact.model_ref()
    }

    fn called(spec: &TabularSpec) -> &str {
        &spec.name
    }

    fn form(card: &ModelCard) -> Form {
        Form::of(&card.spec)
    }

    fn held(card: &ModelCard, files: Vec<Bytes>) -> Result<Held, DataError> {
        let rows = Rows::asked(&card.spec, files)?;
        let mut newest: HashMap<String, usize> = HashMap::new();
        let time = |row: usize| rows.times.as_ref().map(|times| times[row]);
        for (row, entity) in rows.entities.iter().flatten().enumerate() {
            match newest.get_mut(entity) {
                Some(before) if time(*before) > time(row) => {}
                Some(before) => *before = row,
                None => drop(newest.insert(entity.clone(), row)),
            }
        }
        Ok(Held { rows, newest, spec: card.spec.clone() })
    }

    fn fits(card: &ModelCard, held: &Held) -> bool {
        let (ours, theirs) = (&card.spec, &held.spec);
        ours.columns == theirs.columns
            && ours.task.entity == theirs.task.entity
            && ours.task.time == theirs.task.time
    }

    fn check_invocation(headers: &HeaderMap) -> Result<(), RequestError> {
        let given = media_type(headers);
        match given == CSV || JSON_LINES.contains(&&*given) {
            true => Ok(()),
            false => check_json(headers),
        }
    }

    async fn respond(
        service: &Service<Self>,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response, RequestError> {
        let started = Instant::now();
        let _place = service.place()?;
        let given = media_type(headers);
        let lines = JSON_LINES.into_iter().find(|kind| *kind == given);
        if given == CSV || lines.is_some() {
            let model = service.model(None, false).await?;
            let questions = match lines {
                Some(kind) => (json::lines(&model.form, body)?, kind),
                None => (csv_lines::read(&model.form, body)?, CSV),
            };
            return in_lines(service, headers, model, questions, started).await;
        }
        let asked = json::asked(body)?;
        let response = answer(service, &asked.request, asked.rows, started).await?;
        routes::json(service, &response)
    }

    fn signature(card: &ModelCard) -> Signature {
        tensors::signature(card)
    }

    async fn infer(
        service: &Service<Self>,
        request: &InferRequest,
        model_version: Option<String>,
        outputs: &[&str],
    ) -> Result<Inferred, RequestError> {
        let started = Instant::now();
        let _place = service.place()?;
        let model = service.model(model_version.as_deref(), false).await?;
        let questions = tensors::read(&model.artifact.card, &request.inputs)?;
        let explain = outputs.contains(&tensors::EFFECTS);
        let how = How { explain, threshold: None };
        let answers = answered(service, &model, questions, how, started, plain).await?;
        Ok(tensors::told(&model, &answers, outputs))
    }
}

async fn answer(
    service: &Service<Tabular>,
    request: &ScoreRequest,
    rows: Option<&RawValue>,
    started: Instant,
) -> Result<ScoreResponse, RequestError> {
    let version = request.model_version.as_deref();
    let model = service.model(version, request.dataset_key.is_some()).await?;
    let how = How { explain: request.explain, threshold: request.threshold };
    check_threshold(&model, how.threshold)?;
    check_together(request, rows.is_some())?;
    let questions = match rows {
        Some(rows) => json::rows(&model.form, rows)?,
        None => of_dataset(service, &model, request).await?,
    };
    if questions.table.rows() == 0 {
        return Err(RequestError::Invalid("`rows` is empty; send at least one row".to_owned()));
    }
    let rows = answered(service, &model, questions, how, started, told).await?;
    let model = model.model_ref.clone();
    Ok(ScoreResponse { rows, model, seconds: started.elapsed().as_secs_f64() })
}

/// Refuses a request that is about nothing, or about two things.
fn check_together(request: &ScoreRequest, has_rows: bool) -> Result<(), RequestError> {
    let what = match (has_rows, request.entities.is_empty()) {
        (false, false) => return Ok(()),
        (true, true) if request.dataset_key.is_none() && request.bucket_name.is_none() => {
            return Ok(());
        }
        (true, true) => "`dataset_key` and `bucket_name` go with `entities`; leave them out",
        (true, false) => "`rows` and `entities` are both there; send one of them",
        (false, true) => {
            "there is nothing to answer about; send `rows`, or `entities` with `dataset_key` and \
             `bucket_name`"
        }
    };
    Err(RequestError::Invalid(what.to_owned()))
}

/// The answers as lines, as the clients of SageMaker want them: as `Accept` says, or else in the
/// form of the request.
async fn in_lines(
    service: &Service<Tabular>,
    headers: &HeaderMap,
    model: Arc<ServedModel>,
    (questions, kind): (Questions, &'static str),
    started: Instant,
) -> Result<Response, RequestError> {
    let how = How { explain: false, threshold: None };
    let accepted = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let kinds = JSON_LINES.into_iter().chain(["application/json", CSV]);
    let kind = kinds.into_iter().find(|kind| accepted.contains(kind)).unwrap_or(kind);
    if kind == CSV {
        let numbers = answered(service, &model, questions, how, started, numbers).await?;
        return body(service, kind, numbers);
    }
    let rows = answered(service, &model, questions, how, started, told).await?;
    if kind == "application/json" {
        let model = model.model_ref.clone();
        let seconds = started.elapsed().as_secs_f64();
        return routes::json(service, &ScoreResponse { rows, model, seconds });
    }
    let mut text = Vec::with_capacity(4096);
    for row in &rows {
        // A map with keys that are no texts would be a defect; there is none.
        serde_json::to_writer(&mut text, row).map_err(|_| RequestError::Internal)?;
        text.push(b'\n');
    }
    body(service, kind, text)
}

fn body(
    service: &Service<Tabular>,
    kind: &'static str,
    text: Vec<u8>,
) -> Result<Response, RequestError> {
    let body = service.untaken.body(text)?;
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

/// How answers are told: the last step, on the thread that answered.
type Tell<A> = fn(&ServedModel, &Questions, Vec<Answered>, How) -> Result<A, RequestError>;

/// Answers about rows: a few by a quick model at once, others on a thread of their own.
///
/// They are not counted for drift: whom people look up is no sample of all, and what clients bring
/// along is theirs to invent. The check for drift looks at the clean table instead.
async fn answered<A: Send + 'static>(
    service: &Service<Tabular>,
    model: &Arc<ServedModel>,
    questions: Questions,
    how: How,
    started: Instant,
    tell: Tell<A>,
) -> Result<A, RequestError> {
    let rows = questions.table.rows();
    check_size(service, model, rows, how)?;
    let work = move |model: &ServedModel| {
        let asked = Asked { reasons: how.explain };
        let answers = model.artifact.of_table(&questions.table, asked);
        let answers = answers.map_err(|e| RequestError::Invalid(e.to_string()))?;
        let finite = |answered: &Answered| answered.answers.iter().all(|a| a.is_finite());
        match answers.iter().position(|answered| !finite(answered)) {
            Some(row) => Err(RequestError::NotFinite(format!("rows[{row}]"))),
            None => tell(model, &questions, answers, how),
        }
    };
    let told = match is_quick(model, rows, how) {
        true => work(model),
        false => {
            let model = model.clone();
            service.at_length(move || work(&model)).await?
        }
    }?;
    service.metrics.forecasts.inc_by(rows as u64);
    service.metrics.observe(&model.model_ref.version, started.elapsed().as_secs_f64());
    Ok(told)
}

/// Answers as lines of numbers.
fn numbers(
    _: &ServedModel,
    _: &Questions,
    answers: Vec<Answered>,
    _: How,
) -> Result<Vec<u8>, RequestError> {
    let mut text = Vec::with_capacity(4096);
    for answered in answers {
        let numbers: Vec<String> = answered.answers.iter().map(f64::to_string).collect();
        text.extend(numbers.join(",").into_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

/// Answers as they are.
fn plain(
    _: &ServedModel,
    _: &Questions,
    answers: Vec<Answered>,
    _: How,
) -> Result<Vec<Answered>, RequestError> {
    Ok(answers)
}

fn told(
    model: &ServedModel,
    questions: &Questions,
    answers: Vec<Answered>,
    how: How,
) -> Result<Vec<ScoredRow>, RequestError> {
    let one = |(row, (answered, entity)): (usize, (&Answered, &Option<String>))| {
        let most = usize::MAX;
        let wanted = Wanted { entity: entity.as_deref(), threshold: how.threshold, most };
        let scored = model.artifact.scored(Row { table: &questions.table, row }, answered, &wanted);
        scored.ok_or_else(|| RequestError::NotFinite(format!("rows[{row}]")))
    };
    answers.iter().zip(&questions.entities).enumerate().map(one).collect()
}

/// Whether a request is answered on its event loop. The reasons of a forest take milliseconds, and
/// those of other families as much for many rows or columns.
fn is_quick(model: &ServedModel, rows: usize, how: How) -> bool {
    let card = &model.artifact.card;
    let most = match (how.explain, model.artifact.reasons_are_quick()) {
        (true, false) => 0,
        (true, true) => EXPLAINED_AT_ONCE,
        (false, _) => AT_ONCE,
    };
    let values = rows.saturating_mul(card.spec.columns.len());
    rows <= most && values <= VALUES_AT_ONCE && model.artifact.is_quick()
}

fn check_size(
    service: &Service<Tabular>,
    model: &ServedModel,
    rows: usize,
    how: How,
) -> Result<(), RequestError> {
    if rows > ROWS_MAX {
        let what = format!("{rows} rows in one request; at most {ROWS_MAX}; send several");
        return Err(RequestError::Invalid(what));
    }
    let reasons = if how.explain { model.artifact.card.spec.columns.len() } else { 0 };
    let each = reasons + model.artifact.card.section.calibration.len().max(1);
    match rows.saturating_mul(each) > service.limits.answer_values {
        true => Err(RequestError::AnswerTooLarge),
        false => Ok(()),
    }
}

fn check_threshold(model: &ServedModel, threshold: Option<f64>) -> Result<(), RequestError> {
    let Some(threshold) = threshold else { return Ok(()) };
    if model.artifact.card.section.target.labels.len() != 2 {
        let what =
            "`threshold` is of two classes, and this model answers something else; leave it out";
        return Err(RequestError::Invalid(what.to_owned()));
    }
    match (0.0..=1.0).contains(&threshold) {
        true => Ok(()),
        false => {
            let what = format!("`threshold` is {threshold}; expected a probability, 0 to 1");
            Err(RequestError::Invalid(what))
        }
    }
}

/// The rows of the clean table about some entities.
async fn of_dataset(
    service: &Service<Tabular>,
    model: &ServedModel,
    request: &ScoreRequest,
) -> Result<Questions, RequestError> {
    let invalid = |what: &str| RequestError::Invalid(what.to_owned());
    if model.artifact.card.spec.task.entity.is_none() {
        return Err(invalid("the task has no `entity`, so no row has a name; send `rows`"));
    }
    if request.entities.len() > ROWS_MAX {
        let rows = request.entities.len();
        let what = format!("{rows} entities in one request; at most {ROWS_MAX}");
        return Err(RequestError::Invalid(what));
    }
    let (Some(key), Some(bucket)) = (&request.dataset_key, &request.bucket_name) else {
        return Err(invalid("`entities` needs `dataset_key` and `bucket_name`"));
    };
    service.check_dataset(bucket, key)?;
    let data = service.dataset(model, key).await?;
    let row = |entity: &String| match data.newest.get(entity) {
        Some(row) => Ok(*row),
        None => Err(unknown(entity, &data.rows)),
    };
    let rows: Vec<usize> = request.entities.iter().map(row).collect::<Result<_, _>>()?;
    let entities = request.entities.iter().cloned().map(Some).collect();
    Ok(Questions { table: data.rows.table.select(&rows), entities })
}

/// Entities that are looked at for a near name.
const LIKENED: usize = 10_000;

fn unknown(name: &str, data: &Rows) -> RequestError {
    let likeness = |have: &str| strsim::jaro_winkler(&name.to_lowercase(), &have.to_lowercase());
    let entities = data.entities.iter().flatten().take(LIKENED);
    let nearest = entities.map(|have| (likeness(have), have)).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match nearest {
        Some((likeness, nearest)) if likeness > 0.8 => format!("; did you mean `{nearest}`?"),
        _ => format!("; the data set has {} others", data.rows()),
    };
    RequestError::UnknownEntity { name: name.to_owned(), hint }
}

/// A column of numbers, truth values or categories, as it is read from requests.
fn push(table: &mut Table, name: &str, column: Column) -> Result<(), RequestError> {
    table.push(name, column).map_err(|e| RequestError::Invalid(e.to_string()))
}
