//! What comes next in each of many series.

mod answer;
pub mod backtest;
pub mod calendar;
pub mod card;
mod cases;
pub mod conformal;
pub mod dataset;
pub mod decision;
pub mod evaluation;
pub mod fallback;
mod forecaster;
pub mod leakage;
pub mod metrics;
pub mod past;
pub mod seasonality;
mod statistics;
mod told;
pub mod verdict;
pub mod window;
pub mod windows;

use bytes::Bytes;
use steppe_wire::drift::Side;
use steppe_wire::predict::ModelRef;
use steppe_wire::registry::Scores;

use crate::error::TrainError;
use crate::families::{self, combination::Combination};
use crate::family::Recipe;
use crate::host::Stage;
use crate::task::Task;
use crate::trials::{Trials, recorded};
use steppe_spec::{Family, Holidays, TrainSpec};

use backtest::Run;
use cases::Answered;
use dataset::{DataError, Dataset, View};

pub use answer::{PredictedStep, Prediction};
pub use forecaster::{Forecaster, Local, Path};

/// The task: forecasts of series, with prediction intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast;

/// A forecaster with its card.
pub type Artifact = crate::artifact::Artifact<Forecast>;
/// The card of a forecaster.
pub type ModelCard = crate::card::ModelCard<Forecast>;

impl Task for Forecast {
    const NAME: &'static str = "forecast";
    const CASES: &'static str = "forecasts";
    const ANSWER: &'static str = "a forecast";
    const NOTHING_NEW: &'static str = "no whole horizon has been observed";
    const KS_LIMIT: f64 = 0.2;
    const BRIEFLY: usize = 1;

    type Spec = TrainSpec;
    type Data = Dataset;
    type Query<'a> = View<'a>;
    type How = usize;
    type Answer = Prediction;
    type Trials<'a> = Run<'a>;
    type Tried = Answered;
    type Model = families::Model;
    type Section = card::Section;
    type Statistics = statistics::Observed;

    fn read(spec: &TrainSpec, files: Vec<Bytes>) -> Result<Dataset, DataError> {
        Dataset::from_parquet(files, spec)
    }

    fn others(spec: &TrainSpec) -> Vec<String> {
        match &spec.task.holidays {
            Holidays::Table(name) => vec![name.clone()],
            Holidays::None | Holidays::Dates(_) => vec![],
        }
    }

    fn with_others(
        mut data: Dataset,
        _spec: &TrainSpec,
        tables: Vec<Vec<Bytes>>,
    ) -> Result<Dataset, DataError> {
        for files in tables {
            data = data.with_holidays(&dataset::days_of(files)?);
        }
        Ok(data)
    }

    fn notes(data: &Dataset) -> Vec<String> {
        dataset::lines(data.notes())
    }

    fn text(card: &ModelCard, version: &str) -> String {
        card.to_text(version)
    }

    fn check_data(data: &Dataset, spec: &TrainSpec) -> Result<(), TrainError> {
        leakage::check_data(data, spec)
    }

    fn times_to_check(data: &Dataset, spec: &TrainSpec) -> Vec<i64> {
        leakage::origins(data, spec)
    }

    fn scrambled(data: &Dataset, spec: &TrainSpec, origin: i64) -> (Dataset, Dataset) {
        leakage::scrambled(data, spec, origin, dataset::carried)
    }

    fn told_at(
        data: &Dataset,
        origin: i64,
        family: Family,
        spec: &TrainSpec,
    ) -> Result<Vec<Vec<f64>>, TrainError> {
        leakage::forecast_from(data, origin, family, spec)
    }

    fn trials<'a>(
        data: &'a Dataset,
        spec: &'a TrainSpec,
        stage: &Stage<'_>,
    ) -> Result<Run<'a>, TrainError> {
        backtest::run(data, spec, stage)
    }

    fn recipe(family: Family) -> Option<Recipe<Self>> {
        families::Model::recipe(family)
    }

    fn combined(members: Vec<(f64, families::Model)>, spec: &TrainSpec) -> Option<families::Model> {
        Some(Combination { members, transform: spec.model.transform }.into())
    }

    fn section(
        data: &Dataset,
        spec: &TrainSpec,
        run: &Run<'_>,
    ) -> Result<card::Section, TrainError> {
        Ok(card::Section {
            data: card::DataSummary::of(data),
            backtest: run.summary(),
            calibration: run.calibration(run.served(), |_| true),
            fallback: fallback::Fallback::fit(data, spec),
        })
    }

    fn past(run: &Run<'_>) -> Vec<(&'static str, Vec<u8>)> {
        vec![(past::PAST, past::kept(run))]
    }

    fn check_section(section: &card::Section, spec: &TrainSpec) -> Result<(), String> {
        section.check(spec)
    }

    fn scores(section: &card::Section) -> Scores {
        let card::Section { backtest, .. } = section;
        recorded(&cases::scores(&backtest.model, backtest.intervals.coverage))
    }

    fn statistics_of(_: &card::Section) -> Vec<(String, Side)> {
        statistics::STATISTICS.map(|(name, side)| (name.to_owned(), side)).to_vec()
    }

    fn try_out(artifact: &Artifact) -> Result<(), String> {
        artifact.try_out()
    }

    fn answer(artifact: &Artifact, views: &[View<'_>], horizon: usize) -> Vec<Prediction> {
        artifact.forecast(views, horizon)
    }

    fn statistics(
        artifact: &Artifact,
        view: View<'_>,
        prediction: &Prediction,
    ) -> Option<statistics::Observed> {
        artifact.observed(view.history(), prediction)
    }

    fn asked<'a>(artifact: &Artifact, run: &'a Run<'_>) -> Vec<(usize, View<'a>)> {
        let suits = |(_, view): &(usize, View<'_>)| artifact.suits(*view);
        run.views().into_iter().filter(suits).collect()
    }

    fn known(card: &ModelCard) -> &str {
        &card.section.data.last
    }

    fn unseen(champion: &Artifact, run: &Run<'_>) -> Option<(Vec<usize>, usize)> {
        let known = run.data().calendar().parse(&champion.card.section.data.last)?;
        let later = run.cases().enumerate().filter(|(_, case)| case.asked >= known);
        Some((later.map(|(number, _)| number).collect(), run.chosen_at(known)))
    }

    fn answered(champion: &Artifact, run: &Run<'_>, cases: Vec<usize>) -> Vec<(usize, Answered)> {
        cases::answered(champion, run, cases.into_iter())
    }
}

impl Artifact {
    /// What a forecast says about its model.
    pub fn forecast_ref(&self) -> ModelRef {
        let backtest = self.card.section.backtest.model;
        ModelRef { id: self.card.id.clone(), version: self.version(), backtest }
    }
}
