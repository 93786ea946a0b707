//! Forecasts of series, and beside them what the backtest of the model had forecast and what came.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use steppe_model::Dataset;
use steppe_model::any::About;
use steppe_model::forecast::past::PastForecast;
use steppe_model::forecast::{Artifact, Forecast};
use steppe_store::table::{BYTES_MAX, Table};
use steppe_wire::failure::Failure;
use steppe_wire::keys;
use steppe_wire::predict::{Forecast as Told, LeftOut, StoredPrediction, Summary};

use super::{Part, Run, Scored, Scorer, at_length, cut, model_of, replaced, version_of};
use crate::inputs::table_failure;
use file::{Predictions, Row};

mod file;
mod read;

pub use read::{Stored, read};

/// A model, and the table as it reads it.
#[derive(Debug)]
pub struct Held {
    model: Arc<Artifact>,
    data: Dataset,
    /// What tells whether the table is still the same.
    etag: String,
    /// What the backtest forecast, by series.
    past: HashMap<String, Vec<PastForecast>>,
}

impl Scorer {
    /// Parts of the series that are asked for.
    pub(super) async fn list_series(&self, run: &Run, size: usize) -> Result<Vec<Part>, Failure> {
        let held = self.forecaster(run).await?;
        let names = asked(&held.data, run);
        if let Some(unknown) = names.iter().find(|name| !is_known(&held.data, name)) {
            let series = held.data.series().len();
            let told = format!("there is no series `{unknown}` among the {series} of the table");
            return Err(Failure::permanent(told));
        }
        Ok(cut(&self.table_of(&held.model), &held.etag, names.len(), size, 0))
    }

    /// Forecasts a part.
    pub(super) async fn forecast(&self, run: &Run, part: &Part) -> Result<Scored, Failure> {
        let held = self.forecaster(run).await?;
        if part.of != self.table_of(&held.model) {
            return Err(Failure::permanent(format!("`{}` is not the table", part.of)));
        }
        if part.etag != held.etag {
            return Err(replaced(&part.of));
        }
        let name = keys::run(&run.execution);
        let key = keys::batch(&run.task, name, part.number);
        let work = {
            let (run, part, key) = (run.clone(), part.clone(), key.clone());
            move || held.predicted(&run, &part, &key)
        };
        let (files, scored) = at_length(work).await?;
        if let Some(newest) = files.newest {
            self.put(&key, newest).await?;
        }
        if let Some(backtest) = files.backtest {
            self.put(&keys::backtest_batch(&run.task, name, part.number), backtest).await?;
        }
        Ok(scored)
    }

    fn table_of(&self, model: &Artifact) -> String {
        keys::table_prefix(&self.pipeline, &model.card.spec.table)
    }

    /// The model that has to answer and the table, read unless they were the last ones.
    async fn forecaster(&self, run: &Run) -> Result<Arc<Held>, Failure> {
        let registry = self.registry();
        let version = version_of(&registry, run.model_version.as_deref()).await?;
        let known = self.held.forecasts.get(|held| held.model.version() == version);
        let model = match &known {
            Some(held) => held.model.clone(),
            None => Arc::new(model_of::<Forecast>(&registry, &version).await?),
        };
        let prefix = self.table_of(&model);
        let failed = |error| table_failure(&prefix, error);
        let found = Table::find(&*self.data, &prefix, BYTES_MAX).await.map_err(failed)?;
        let nothing = || Failure::permanent(format!("there is no clean table at `{prefix}`"));
        let table = found.ok_or_else(nothing)?;
        let etag = etag_of(&table);
        if let Some(held) = known.filter(|held| held.etag == etag) {
            return Ok(held);
        }
        let files = table.read(&self.data).await.map_err(failed)?;
        let held = at_length(move || Held::new(model, files, etag)).await?;
        Ok(self.held.forecasts.put(held))
    }
}

impl Held {
    fn new(model: Arc<Artifact>, files: Vec<Bytes>, etag: String) -> Result<Self, Failure> {
        let data = model.card.data_set(files).map_err(|e| unusable(&e))?;
        let mut past: HashMap<String, Vec<PastForecast>> = HashMap::new();
        for forecast in model.past().map_err(|e| unusable(&e))? {
            past.entry(forecast.series.clone()).or_default().push(forecast);
        }
        Ok(Self { model, data, etag, past })
    }

    /// The files of a part, and what it came to. The file of its newest forecasts will be at `key`.
    fn predicted(&self, run: &Run, part: &Part, key: &str) -> Result<(Files, Scored), Failure> {
        let names = asked(&self.data, run);
        let until = (part.from + part.count).min(names.len());
        let names = &names[part.from.min(until)..until];
        let (told, left_out) = self.told(names)?;
        let stored = |forecast: &Told| {
            let made = StoredPrediction::new(&run.execution, forecast, &self.model.forecast_ref());
            let made = made.ok_or_else(|| unusable(&"a forecast has no steps"))?;
            match made.defect() {
                Some(defect) => Err(unusable(&format!("a forecast is none: {defect}"))),
                None => Ok(made),
            }
        };
        let stored = told.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
        let shown = run.shown.saturating_sub(part.from);
        let scored = Scored {
            count: stored.len(),
            absent: left_out.len(),
            forecasts: stored.iter().take(shown).map(|one| Summary::of(one, key)).collect(),
            left_out: left_out.iter().take(run.left_out_shown).map(LeftOut::shortened).collect(),
            ..Scored::default()
        };
        let of_model = Predictions {
            execution: &run.execution,
            model: &self.model.forecast_ref(),
            level: self.model.card.section.calibration.level,
            scored_at: run.started,
        };
        let file = |rows: Vec<Row<'_>>| match rows.is_empty() {
            true => Ok(None),
            false => of_model.to_parquet(&rows).map(|file| Some(file.into())),
        };
        let newest = file(stored.iter().flat_map(Row::newest).collect());
        let backtest = file(told.iter().flat_map(|told| self.backtest(&told.series)).collect());
        let files = Files {
            newest: newest.map_err(|e| unusable(&e))?,
            backtest: backtest.map_err(|e| unusable(&e))?,
        };
        Ok((files, scored))
    }

    /// What the model says of series, and why nothing of others.
    fn told(&self, names: &[String]) -> Result<(Vec<Told>, Vec<LeftOut>), Failure> {
        let (mut series, mut left_out) = (Vec::new(), Vec::new());
        for name in names {
            match self.data.absence(name) {
                Some(reason) => left_out.push(LeftOut { series: name.clone(), reason }),
                None => series.extend(self.data.find(name)),
            }
        }
        let needed = self.model.min_history();
        if let Some(short) = series.iter().find(|series| series.values.len() < needed) {
            let (name, length) = (&short.name, short.values.len());
            return Err(unusable(&format!("`{name}` has {length} values; {needed} are needed")));
        }
        let views: Vec<_> = series.iter().map(|series| series.view()).collect();
        let predictions = self.model.forecast(&views, self.model.card.spec.task.horizon);
        let one = |(series, prediction): (&&steppe_model::Series, _)| {
            let told = self.model.told(Some(&self.data), series, &prediction, false);
            told.ok_or_else(|| {
                unusable(&format!("the forecast of `{}` is not finite", series.name))
            })
        };
        let told = series.iter().zip(predictions).map(one).collect::<Result<_, _>>()?;
        Ok((told, left_out))
    }

    /// Forecasts of the backtest beside what came. Their periods are counted as the model counted
    /// them; data that have grown may count others, so the two meet by name.
    fn backtest<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Row<'a>> {
        let (trained, now) = (&self.model.card.section.data.calendar, self.data.calendar());
        let found = self.data.find(name);
        let past = self.past.get(name).into_iter().flatten();
        past.map(move |forecast| {
            let period = trained.label(forecast.origin + 1 + forecast.step as i64);
            Row {
                series: name,
                observed_until: trained.label(forecast.origin),
                step: forecast.step as u32 + 1,
                actual: found.and_then(|series| series.observed(now.parse(&period)?)),
                period,
                predicted: [forecast.value, forecast.lower, forecast.upper],
                procure: None,
                note: None,
                backtest: true,
            }
        })
    }
}

/// The files of a part, where there is something to write.
struct Files {
    newest: Option<Bytes>,
    backtest: Option<Bytes>,
}

/// The series that a run asks for: every one of the table, or those that it names.
fn asked(data: &Dataset, run: &Run) -> Vec<String> {
    match &run.series {
        Some(named) => named.clone(),
        None => data.names(),
    }
}

fn is_known(data: &Dataset, name: &str) -> bool {
    data.find(name).is_some() || data.absence(name).is_some()
}

fn etag_of(table: &Table) -> String {
    let etags = table.etags().into_iter().map(Option::unwrap_or_default);
    let files = table.keys().into_iter().zip(etags).map(|(key, etag)| format!("{key}\0{etag}\0"));
    About::sha256(files.collect::<String>().as_bytes())
}

fn unusable(e: &dyn std::fmt::Display) -> Failure {
    Failure::permanent(format!("the clean table cannot be forecast: {e}"))
}
