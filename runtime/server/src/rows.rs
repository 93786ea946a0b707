//! Rows as this server takes and gives them: in JSON, in CSV, in JSON lines, and in tensors.

mod csv_lines;
mod form;
mod tensors;

use std::sync::Arc;
use std::time::Instant;

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value};
use steppe_model::DataError;
use steppe_model::rows::table::{Column, Table};
use steppe_model::tabular::data::Rows;
use steppe_model::tabular::{Answered, Artifact, Asked, ModelCard, Row, Tabular, Wanted};
use steppe_spec::Family;
use steppe_spec::tabular::TabularSpec;
use steppe_wire::predict::ModelRef;
use steppe_wire::registry::Scores;
use steppe_wire::score::{ScoreRequest, ScoreResponse, ScoredRow};

use crate::body::{check_json, media_type};
use crate::model_store;
use crate::problems::RequestError;
use crate::routes::json;
use crate::served::{Inferred, Served};
use crate::service::Service;
use crate::tensors::{InferRequest, Signature};
pub use form::Form;

/// A model of rows in service.
type ServedModel = model_store::ServedModel<Tabular>;

/// Rows up to which a quick model answers at once.
const AT_ONCE: usize = 64;
/// Rows of one request.
pub const ROWS_MAX: usize = 10_000;
/// Types of bodies that hold an object per line.
const JSON_LINES: [&str; 3] =
    ["application/jsonlines", "application/jsonl", "application/x-ndjson"];

/// Rows that are asked about.
struct Questions {
    table: Table,
    /// What each is about, if it says so.
    entities: Vec<Option<String>>,
}

/// How they are to be answered.
#[derive(Clone, Copy)]
struct How {
    explain: bool,
    threshold: Option<f64>,
}

impl Served for Tabular {
    type Scores = Scores;
    type Held = Rows;
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

    fn held(card: &ModelCard, files: Vec<Bytes>) -> Result<Rows, DataError> {
        Rows::asked(&card.spec, files)
    }

    fn fits(card: &ModelCard, held: &Rows) -> bool {
        let names = held.table.columns().map(|(name, _)| name);
        names.eq(card.spec.columns.iter().map(|column| column.name.as_str()))
    }

    fn check_invocation(headers: &HeaderMap) -> Result<(), RequestError> {
        let given = media_type(headers);
        match given == "text/csv" || JSON_LINES.contains(&&*given) {
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
        if given == "text/csv" {
            let model = service.model(None, false).await?;
            let questions = csv_lines::read(&model.form, body)?;
            return in_lines(service, headers, model, questions, started).await;
        }
        if JSON_LINES.contains(&&*given) {
            let model = service.model(None, false).await?;
            let rows = json_lines(body)?;
            let questions = of_rows(&model.form, &rows)?;
            return in_lines(service, headers, model, questions, started).await;
        }
        let request: ScoreRequest = serde_json::from_slice(body)
            .map_err(|e| RequestError::Invalid(format!("the body is not a request: {e}")))?;
        let response = answer(service, &request, started).await?;
        json(service, &response)
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
        let answered = answered(service, &model, Arc::new(questions), how, started).await?;
        Ok(tensors::told(&model, &answered, outputs))
    }
}

async fn answer(
    service: &Service<Tabular>,
    request: &ScoreRequest,
    started: Instant,
) -> Result<ScoreResponse, RequestError> {
    let version = request.model_version.as_deref();
    let model = service.model(version, request.dataset_key.is_some()).await?;
    let how = How { explain: request.explain, threshold: request.threshold };
    check_threshold(&model, how.threshold)?;
    let questions = match (request.rows.is_empty(), request.entities.is_empty()) {
        (false, true) => of_rows(&model.form, &request.rows)?,
        (true, false) => of_dataset(service, &model, request).await?,
        _ => {
            let what = "give either `rows` or `entities`, and at least one of them";
            return Err(RequestError::Invalid(what.to_owned()));
        }
    };
    let questions = Arc::new(questions);
    let answered = answered(service, &model, questions.clone(), how, started).await?;
    let rows = told(&model, &questions, &answered, how)?;
    let model = model.model_ref.clone();
    Ok(ScoreResponse { rows, model, seconds: started.elapsed().as_secs_f64() })
}

/// The answers as lines, as the clients of SageMaker want them.
async fn in_lines(
    service: &Service<Tabular>,
    headers: &HeaderMap,
    model: Arc<ServedModel>,
    questions: Questions,
    started: Instant,
) -> Result<Response, RequestError> {
    let (questions, how) = (Arc::new(questions), How { explain: false, threshold: None });
    let answers = answered(service, &model, questions.clone(), how, started).await?;
    let accepted = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("text/csv");
    let lines = JSON_LINES.into_iter().find(|kind| accepted.contains(kind));
    let rows = told(&model, &questions, &answers, how)?;
    if lines.is_none() && accepted.contains("json") {
        let model = model.model_ref.clone();
        let seconds = started.elapsed().as_secs_f64();
        return json(service, &ScoreResponse { rows, model, seconds });
    }
    let line = |(row, answered): (&ScoredRow, &Answered)| match lines {
        Some(_) => serde_json::to_string(row).unwrap_or_default(),
        None => answered.answers.iter().map(f64::to_string).collect::<Vec<_>>().join(","),
    };
    let mut text: String =
        rows.iter().zip(&answers).map(line).flat_map(|line| [line, "\n".to_owned()]).collect();
    text.shrink_to_fit();
    let body = service.untaken.body(text.into_bytes())?;
    let kind = lines.unwrap_or("text/csv");
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

/// Answers about rows: a few by a quick model at once, others on a thread of their own.
///
/// They are not counted for drift: whom people look up is no sample of all, and what clients bring
/// along is theirs to invent. The check for drift looks at the clean table instead.
async fn answered(
    service: &Service<Tabular>,
    model: &Arc<ServedModel>,
    questions: Arc<Questions>,
    how: How,
    started: Instant,
) -> Result<Vec<Answered>, RequestError> {
    let rows = questions.table.rows();
    check_size(service, model, rows, how)?;
    let asked = Asked { reasons: how.explain };
    let answers = match is_quick(model, rows, how) {
        true => model.artifact.of_table(&questions.table, asked),
        false => {
            let (model, questions) = (model.clone(), questions.clone());
            let work = move || model.artifact.of_table(&questions.table, asked);
            service.at_length(work).await?
        }
    };
    let answers = answers.map_err(|e| RequestError::Invalid(e.to_string()))?;
    service.metrics.forecasts.inc_by(rows as u64);
    service.metrics.observe(&model.model_ref.version, started.elapsed().as_secs_f64());
    Ok(answers)
}

fn told(
    model: &ServedModel,
    questions: &Questions,
    answers: &[Answered],
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

/// Whether a request is answered on its event loop. The reasons of a forest take milliseconds.
fn is_quick(model: &ServedModel, rows: usize, how: How) -> bool {
    let slow = how.explain && model.artifact.card.family == Family::RandomForest;
    rows <= AT_ONCE && model.artifact.is_quick() && !slow
}

fn check_size(
    service: &Service<Tabular>,
    model: &ServedModel,
    rows: usize,
    how: How,
) -> Result<(), RequestError> {
    if rows > ROWS_MAX {
        let what = format!("{rows} rows in one request; at most {ROWS_MAX}");
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
        let what = "`threshold` is of two classes, and this model answers something else";
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

fn of_rows(form: &Form, rows: &[Map<String, Value>]) -> Result<Questions, RequestError> {
    let mut building = form.building(rows.len());
    for (number, row) in rows.iter().enumerate() {
        building.add(number, row)?;
    }
    let (table, entities) = building.table()?;
    Ok(Questions { table, entities })
}

fn json_lines(body: &Bytes) -> Result<Vec<Map<String, Value>>, RequestError> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let row = |(number, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|e| RequestError::BadRow {
            row: number,
            reason: format!("the line is no JSON object: {e}"),
        })
    };
    let rows: Vec<_> = lines.enumerate().map(row).collect::<Result<_, _>>()?;
    match rows.is_empty() {
        true => Err(RequestError::Invalid("the body has no rows".to_owned())),
        false => Ok(rows),
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
    let row = |entity: &String| data.find(entity).ok_or_else(|| unknown(entity, &data));
    let rows: Vec<usize> = request.entities.iter().map(row).collect::<Result<_, _>>()?;
    let entities = request.entities.iter().cloned().map(Some).collect();
    Ok(Questions { table: data.table.select(&rows), entities })
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
