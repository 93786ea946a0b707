//! Whether a first manifest runs: it is parsed, the data are cleaned by it, and a backtest of
//! the baselines is made, as `evaluate` makes one. What that shows of the data is put into it.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use steppe_model::forecast::Forecast;
use steppe_model::forecast::dataset::Note;
use steppe_model::forecast::evaluation::evaluate;
use steppe_model::host::{Quiet, Stage};
use steppe_model::{Dataset, Series, TrainError, leaks};
use steppe_spec::{Family, Frequency, TrainSpec};
use steppe_wire::hint::Hinted;

use super::given::Given;
use crate::cleaning::cleaned;
use crate::cli::{Args, DataArgs};
use crate::draft::Draft;
use crate::hint::boxed;
use crate::host::Host;
use crate::inputs::RawData;
use crate::project::Workspace;
use crate::training;

/// Share of the total before, below which the newest period is incomplete.
const PARTIAL_BELOW: f64 = 0.65;
/// Periods that are enough for every family.
const PERIODS_ENOUGH: usize = 1_000;
/// Longest and newest series on which a backtest is tried.
const SERIES_TRIED: usize = 10;
/// What messages say of a manifest that does not run.
const NOTHING_WRITTEN: &str = "the first manifest does not run on these data; nothing is written";

/// What is tried.
pub struct Trial<'a> {
    /// The arguments.
    pub args: &'a Args,
    /// Who is told.
    pub host: &'a Host,
    /// The files.
    pub given: &'a [Given],
    /// How they were given.
    pub data: &'a [String],
}

impl Trial<'_> {
    /// Tries a draft and completes it; how its data are given from now on.
    pub async fn run(&self, draft: &mut Draft) -> Result<Vec<String>> {
        let is_of_input = draft.task.table.is_none();
        draft.task.keeps_total = true;
        let (workspace, raw, data) = self.cleaned(draft).await?;
        draft.task.keeps_total = false;
        let total = data.1.notes().iter().find_map(|note| match note {
            Note::Total { series, .. } => Some(series.clone()),
            _ => None,
        });
        match total {
            Some(series) if is_of_input => draft.task.leave_out = vec![series],
            Some(_) => draft.task.keeps_total = true,
            None => {}
        }
        draft.task.is_partial = is_of_input && is_partial(&data.1);
        let mut last = (workspace, data.1);
        if !draft.task.leave_out.is_empty() || draft.task.is_partial {
            let (workspace, _, data) = self.cleaned(draft).await?;
            last = (workspace, data.1);
        }
        drop(raw);
        let (workspace, dataset) = last;
        let spec = forecasts(&workspace)?;
        let judged = tokio::task::spawn_blocking(move || judged(&dataset, &spec));
        draft.task.candidates = judged.await?.context(NOTHING_WRITTEN)?;
        // As it will be read, without what only this trial needed.
        self.workspace(draft)?;
        Ok(data.0)
    }

    fn workspace(&self, draft: &Draft) -> Result<Workspace> {
        let files = draft.sql();
        let beside = |name: &str| {
            let found = files.iter().find(|(file, _)| file == name);
            found.map(|(_, text)| text.clone()).context("a file of SQL is missing")
        };
        Workspace::of(self.args, &draft.name, &draft.manifest(), &beside)
            .context("the first manifest is not valid; nothing is written")
    }

    async fn cleaned(&self, draft: &Draft) -> Result<(Workspace, RawData, (Vec<String>, Dataset))> {
        let workspace = self.workspace(draft)?;
        let expected = self.expected(draft);
        let plain = workspace.raw_data(&DataArgs { data: self.data.to_vec() });
        let (raw, data) = match plain {
            Ok(raw) if assigned(&raw) == expected && raw.left_out.is_empty() => {
                (raw, self.data.to_vec())
            }
            // Files must be named where their columns do not tell of which input they are.
            _ => {
                let named = |(name, files): &(String, BTreeSet<PathBuf>)| {
                    let named = |file: &PathBuf| format!("{name}={}", file.display());
                    files.iter().map(named).collect::<Vec<_>>()
                };
                let data: Vec<String> = expected.iter().flat_map(named).collect();
                (workspace.raw_data(&DataArgs { data: data.clone() })?, data)
            }
        };
        let spec = forecasts(&workspace)?;
        let folder = cleaned(&workspace, &raw, self.host).await.context(NOTHING_WRITTEN)?;
        let cleaned = training::data::<Forecast>(&workspace, &folder, self.host, &spec);
        let cleaned = cleaned.context(NOTHING_WRITTEN)?;
        Ok((workspace, raw, (data, cleaned)))
    }

    /// The files of each input.
    fn expected(&self, draft: &Draft) -> Vec<(String, BTreeSet<PathBuf>)> {
        let file = |at: &usize| self.given[*at].file.clone();
        let inputs = draft.inputs.iter();
        inputs.map(|input| (input.name.clone(), input.files.iter().map(file).collect())).collect()
    }
}

fn forecasts(workspace: &Workspace) -> Result<TrainSpec> {
    TrainSpec::of(&workspace.manifest).context("the first manifest does not forecast")
}

fn assigned(raw: &RawData) -> Vec<(String, BTreeSet<PathBuf>)> {
    let inputs = raw.inputs.iter();
    let files = inputs.map(|input| {
        (input.name.clone(), input.files.iter().map(|file| file.given.clone()).collect())
    });
    files.collect()
}

/// Judges the baselines by a backtest, as every family is judged; the candidates for which there
/// are enough periods, when some have too few.
fn judged(data: &Dataset, spec: &TrainSpec) -> Result<Option<Vec<Family>>, TrainError> {
    let data = &some_of(data);
    let plain = spec.clone().with(|spec| spec.model.candidates = Some(vec![]));
    evaluate(data, &plain, &Stage::new(&Quiet))?;
    let longest = data.series().iter().map(|series| series.values.len()).max().unwrap_or(0);
    if longest >= PERIODS_ENOUGH {
        return Ok(None);
    }
    let all = spec.candidates();
    let fitting = leaks::check::<Forecast>(data, spec, &all)?;
    Ok((fitting.len() < all.len()).then_some(fitting))
}

/// The series that decide whether there is enough: the longest ones, and the newest ones.
fn some_of(data: &Dataset) -> Dataset {
    let mut series: Vec<&Series> = data.series().iter().collect();
    series.sort_by_key(|series| Reverse(series.values.len()));
    let mut newest = series.clone();
    newest.sort_by_key(|series| Reverse(series.last()));
    let names: BTreeSet<&str> = [&series, &newest]
        .into_iter()
        .flat_map(|order| order.iter().take(SERIES_TRIED))
        .map(|series| series.name.as_str())
        .collect();
    let some = data.series().iter().filter(|series| names.contains(series.name.as_str()));
    Dataset::of(data.calendar().as_ref().clone(), some.cloned().collect())
}

/// Whether the newest period is incomplete: its total is far below that of one season before, also
/// of the series that both have.
fn is_partial(data: &Dataset) -> bool {
    let frequency = data.frequency();
    let long = matches!(
        frequency,
        Frequency::Yearly | Frequency::Quarterly | Frequency::Monthly | Frequency::Weekly
    );
    if !long {
        return false;
    }
    let (newest, season) = (data.last(), frequency.season() as i64);
    let pairs = data
        .series()
        .iter()
        .filter_map(|series| Some((series.observed(newest)?, series.observed(newest - season)?)));
    let (now, before) = pairs.fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    before > 0.0 && now < PARTIAL_BELOW * before
}

/// Too few periods for any backtest.
pub fn hinted(error: anyhow::Error) -> anyhow::Error {
    let is_short = |cause: &(dyn std::error::Error + 'static)| {
        let kind = cause.downcast_ref::<TrainError>();
        matches!(kind, Some(TrainError::TooShort { .. } | TrainError::TooFewForBacktest { .. }))
    };
    match error.chain().any(is_short) {
        true => Hinted::new(
            "there are too few periods for a forecast that could be judged",
            "give a longer history",
        )
        .because(boxed(error))
        .into(),
        false => error,
    }
}
