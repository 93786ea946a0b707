//! Forecasts that predictors stored, and the history that they go on from.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;
use steppe_wire::etl::TableFormat;
use steppe_wire::keys;
use steppe_wire::predict::StoredPrediction;
use steppe_wire::rows::{ROWS_MAX, RowsAsked};

use super::ask::{Answer, Ask, Problem};
use super::chart::{Chart, Kind, Series};
use super::chart_text::place;
use super::found::{Found, below, everywhere};
use super::frame::Page;
use super::html::{arn, facts, link, section, text, time};
use super::links::to;
use super::rows;
use super::table::{paged, table};

/// Objects with forecasts that are read, the newest ones.
const OBJECTS_MAX: usize = 500;
/// Forecasts that are listed.
const FORECASTS_MAX: usize = 20_000;
/// Files of a table that history is looked for in.
const FILES_MAX: usize = 20;
/// Periods of history in a chart.
const HISTORY_MAX: usize = 150;

/// The forecasts in an object, one a line.
fn read(ask: &Ask, found: &Found) -> Vec<StoredPrediction> {
    let bytes = found.read(ask).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.filter_map(|line| serde_json::from_slice(line).ok()).take(FORECASTS_MAX).collect()
}

/// The newest forecast of each series by each pipeline's models.
pub async fn list(ask: &Ask) -> Result<Answer, Problem> {
    let mut objects = everywhere(ask, keys::PREDICTIONS_PREFIX, |key| key.ends_with(".json"));
    let is_cut = objects.len() > OBJECTS_MAX;
    objects.truncate(OBJECTS_MAX);
    let mut newest: BTreeMap<(String, String), (Found, StoredPrediction)> = BTreeMap::new();
    for found in &objects {
        for stored in read(ask, found) {
            if newest.len() < FORECASTS_MAX {
                let name = (stored.model_id.clone(), stored.series.clone());
                newest.entry(name).or_insert_with(|| (found.clone(), stored));
            }
        }
    }
    let (shown, pager) = paged(ask, "forecasts", newest.into_values().collect());
    let rows: Vec<Vec<Markup>> = shown
        .iter()
        .map(|(found, stored)| {
            let fields = [
                ("bucket", found.bucket.as_str()),
                ("key", &found.key),
                ("series", &stored.series),
            ];
            let value = |value: f64| text(&format!("{value:.*}", stored.decimals));
            vec![
                link(&to("forecast", &fields), &stored.series),
                text(&stored.model_id),
                text(&stored.observed_until),
                text(&stored.first.period),
                value(stored.first.value),
                value(stored.first.lower),
                value(stored.first.upper),
                time(found.object.modified),
            ]
        })
        .collect();
    let columns =
        ["Series", "Model", "Observed until", "Period", "#Forecast", "#Lower", "#Upper", "Stored"];
    let body = html! {
        @if is_cut { p.quiet { "Of the newest " (OBJECTS_MAX) " objects." } }
        (table("Forecasts", &columns, &rows))
        (pager)
    };
    Ok(Page::new("Forecasts", body).into())
}

/// One forecast: as a chart with its history and as a table.
pub async fn one(ask: &Ask) -> Result<Answer, Problem> {
    let (bucket, key) = (ask.required("bucket")?, ask.required("key")?);
    let absent = || Problem::absent("There is no such forecast.");
    let object = ask.cloud.services.s3.head(bucket, key).map_err(|_| absent())?;
    let found = Found { bucket: bucket.to_owned(), key: key.to_owned(), object };
    let mut all = read(ask, &found).into_iter();
    let stored = match ask.text("series") {
        Some(series) => all.find(|stored| stored.series == series),
        None => all.next(),
    };
    let stored = stored.ok_or_else(absent)?;
    let card = card_of(ask, &stored);
    let history = match &card {
        Some((_, card)) => history(ask, bucket, card, &stored.series).await,
        None => Err("the card of its model is not there".to_owned()),
    };
    let body = html! {
        @if let Some(note) = &stored.note { p.notice { (note) } }
        (chart(&stored, history.as_deref().unwrap_or_default()).drawn())
        @if let Err(words) = &history { p.quiet { "Without its history: " (words) "." } }
        (section("Steps", &steps(&stored)))
        (about(&found, &stored, card.as_ref().map(|(card, _)| card)))
    };
    let page = Page::new(&stored.series, body).below("Forecasts", to("forecasts", &[]));
    Ok(page.into())
}

fn about(found: &Found, stored: &StoredPrediction, card: Option<&Found>) -> Markup {
    let error = |value: f64| text(&format!("{value:.3}"));
    let object = to("object", &[("bucket", &found.bucket), ("key", &found.key)]);
    let model = match card {
        Some(card) => {
            link(&to("model", &[("bucket", &card.bucket), ("key", &card.key)]), &stored.model_id)
        }
        None => text(&stored.model_id),
    };
    facts(vec![
        ("Model", model),
        ("Version", text(&stored.model_version)),
        ("Observed until", text(&stored.observed_until)),
        ("Execution", arn(&stored.execution)),
        ("MAE in the backtest", error(stored.backtest_mae)),
        ("RMSE in the backtest", error(stored.backtest_rmse)),
        ("MAPE in the backtest, percent", error(stored.backtest_mape)),
        ("MASE in the backtest", error(stored.backtest_mase)),
        ("Stored", time(found.object.modified)),
        ("Object", link(&object, &found.key)),
    ])
}

fn steps(stored: &StoredPrediction) -> Markup {
    let value = |value: f64| text(&format!("{value:.*}", stored.decimals));
    let rows: Vec<Vec<Markup>> = stored
        .steps
        .iter()
        .map(|step| {
            vec![
                text(&step.period),
                value(step.value),
                value(step.lower),
                value(step.upper),
                text(&format!("{:.0} %", step.level * 100.0)),
                step.procure.map_or_else(|| text(""), value),
            ]
        })
        .collect();
    table("Steps", &["Period", "#Forecast", "#Lower", "#Upper", "#Interval", "#To procure"], &rows)
}

/// The card of the model that made a forecast.
fn card_of(ask: &Ask, stored: &StoredPrediction) -> Option<(Found, Value)> {
    let end = format!("/{}/{}", stored.model_version, keys::CARD_FILE);
    let found = everywhere(ask, "models/", |key| key.ends_with(&end)).into_iter().next()?;
    let card = found.json(ask)?;
    Some((found, card))
}

/// Periods and values of a series in the table that the model was trained on.
async fn history(
    ask: &Ask,
    bucket: &str,
    card: &Value,
    series: &str,
) -> Result<Vec<(String, f64)>, String> {
    let spec = &card["spec"];
    let word =
        |value: &Value| value.as_str().map(str::to_owned).ok_or("its model's card names no table");
    let (pipeline, table) = (word(&spec["pipeline"])?, word(&spec["table"])?);
    let task = &spec["task"];
    let [column, time, target] = [&task["series"], &task["time"], &task["target"]];
    let (column, time, target) = (word(column)?, word(time)?, word(target)?);
    let prefix = keys::table_prefix(&pipeline, &table);
    let files = below(ask, bucket, &prefix, |key| {
        !key.rsplit('/').next().unwrap_or_default().starts_with(['_', '.'])
    });
    if files.is_empty() {
        return Err(format!("nothing is at s3://{bucket}/{prefix}"));
    }
    let mut found: BTreeMap<String, f64> = BTreeMap::new();
    for file in files.iter().take(FILES_MAX) {
        let asked = RowsAsked {
            object: format!("s3://{bucket}/{}", file.key),
            format: TableFormat::Parquet,
            columns: vec![time.clone(), target.clone()],
            only: Some((column.clone(), series.to_owned())),
            rows: ROWS_MAX,
        };
        for row in rows::of(ask, &asked).await?.rows {
            let [Some(period), Some(value)] = &row[..] else { continue };
            if let Ok(value) = value.parse::<f64>() {
                found.insert(period.clone(), value);
            }
        }
    }
    let mut history: Vec<(String, f64)> = found.into_iter().collect();
    history.sort_by(|(one, _), (other, _)| {
        let places = place(one).zip(place(other));
        places.map_or_else(|| one.cmp(other), |(one, other)| one.total_cmp(&other))
    });
    Ok(history.split_off(history.len().saturating_sub(HISTORY_MAX)))
}

fn chart(stored: &StoredPrediction, history: &[(String, f64)]) -> Chart {
    let periods = history.iter().map(|(period, _)| period.as_str());
    let periods: Vec<&str> =
        periods.chain(stored.steps.iter().map(|s| s.period.as_str())).collect();
    // Periods whose names say no time stand one beside the other.
    let places: Vec<f64> = periods.iter().map_while(|period| place(period)).collect();
    let places = match places.len() == periods.len() && places.is_sorted() {
        true => places,
        false => (0..periods.len()).map(|index| index as f64).collect(),
    };
    let (past, ahead) = places.split_at(history.len());
    let known: Vec<(f64, f64)> =
        past.iter().copied().zip(history.iter().map(|(_, value)| *value)).collect();
    let last = known.last().copied();
    let points =
        last.into_iter().chain(ahead.iter().copied().zip(stored.steps.iter().map(|s| s.value)));
    let begin = last.map(|(x, y)| (x, y, y)).into_iter();
    let band = ahead.iter().zip(&stored.steps).map(|(x, step)| (*x, step.lower, step.upper));
    let forecast = Series { name: "forecast".to_owned(), points: points.collect() };
    let known = Series { name: "observed".to_owned(), points: known };
    Chart {
        title: format!("{} until {}", stored.series, stored.steps.last().map_or("", |s| &s.period)),
        kind: Kind::Line,
        series: vec![known, forecast],
        band: begin.chain(band).collect(),
        labels: places.into_iter().zip(periods.into_iter().map(str::to_owned)).collect(),
    }
}
