//! What each of many rows is, or is worth: classification and regression.

mod answer;
pub mod answers;
pub mod card;
mod checks;
pub mod columns;
pub mod data;
pub mod evaluation;
pub mod judged;
pub mod model;
pub mod search;
pub mod section;
pub mod seen;
pub mod sets;
pub mod trials;

use bytes::Bytes;
use steppe_spec::Family;
use steppe_spec::tabular::TabularSpec;
use steppe_wire::drift::Side;
use steppe_wire::registry::{self, Scores};

use crate::error::TrainError;
use crate::families::RowModel;
use crate::family::Recipe;
use crate::forecast::dataset::DataError;
use crate::host::Stage;
use crate::rows::table::Table;
use crate::task::Task;
use crate::trials::{Case, Trials};

use data::Rows;
use section::Section;
use trials::Run;

pub use answer::{Answered, Asked, Wanted, shown};

/// The task: classes or numbers of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Tabular;

/// A model of rows with its card.
pub type Artifact = crate::artifact::Artifact<Tabular>;
/// The card of a model of rows.
pub type ModelCard = crate::card::ModelCard<Tabular>;

/// A row of a table, as a question.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The table.
    pub table: &'a Table,
    /// The number of the row.
    pub row: usize,
}

impl Task for Tabular {
    const NAME: &'static str = "tabular";
    const CASES: &'static str = "rows";
    const ANSWER: &'static str = "an answer";
    const NOTHING_NEW: &'static str = "there is no row that neither model has seen";
    /// Rows are independent, so it is known what chance explains: the index says how large a shift
    /// has to be, and this distance that it is one.
    const KS_LIMIT: f64 = 0.0;
    const BRIEFLY: Asked = Asked { reasons: false };

    type Spec = TabularSpec;
    type Data = Rows;
    type Query<'a> = Row<'a>;
    type How = Asked;
    type Answer = Answered;
    type Trials<'a> = Run<'a>;
    type Tried = Vec<f64>;
    type Model = RowModel;
    type Section = Section;
    type Statistics = Vec<f64>;

    fn read(spec: &TabularSpec, files: Vec<Bytes>) -> Result<Rows, DataError> {
        Rows::learnt(spec, files)
    }

    fn notes(data: &Rows) -> Vec<String> {
        let without = data.unlabelled;
        let told = format!("{without} rows have no target: they are scored, not learnt from");
        if without > 0 { vec![told] } else { vec![] }
    }

    fn text(card: &ModelCard, version: &str) -> String {
        card.to_text(version)
    }

    fn check_data(data: &Rows, spec: &TabularSpec) -> Result<(), TrainError> {
        checks::check_data(data, spec)
    }

    fn times_to_check(_: &Rows, spec: &TabularSpec) -> Vec<i64> {
        vec![0, spec.task.split.folds as i64 - 1]
    }

    fn scrambled(data: &Rows, spec: &TabularSpec, fold: i64) -> (Rows, Rows) {
        checks::scrambled(data, spec, fold)
    }

    fn told_at(
        data: &Rows,
        fold: i64,
        family: Family,
        spec: &TabularSpec,
    ) -> Result<Vec<Vec<f64>>, TrainError> {
        checks::told_at(data, fold, family, spec)
    }

    fn trials<'a>(
        data: &'a Rows,
        spec: &'a TabularSpec,
        stage: &Stage<'_>,
    ) -> Result<Run<'a>, TrainError> {
        trials::run(data, spec, stage)
    }

    fn recipe(family: Family) -> Option<Recipe<Self>> {
        RowModel::recipe(family)
    }

    fn found(_: &TabularSpec, run: &Run<'_>) -> TabularSpec {
        run.served(run.chosen()).spec.clone()
    }

    fn section(data: &Rows, spec: &TabularSpec, run: &Run<'_>) -> Result<Section, TrainError> {
        Section::of(data, spec, run)
    }

    fn check_section(section: &Section, spec: &TabularSpec) -> Result<(), String> {
        section.check(spec)
    }

    fn scores(section: &Section) -> Scores {
        let scores = section.out_of_fold.scores.iter();
        let score = |s: &judged::Measured| registry::Score { name: s.name.clone(), value: s.value };
        Scores(scores.map(score).collect())
    }

    fn statistics_of(section: &Section) -> Vec<(String, Side)> {
        answer::statistics_of(section)
    }

    fn try_out(artifact: &Artifact) -> Result<(), String> {
        artifact.try_out()
    }

    fn answer(artifact: &Artifact, rows: &[Row<'_>], asked: Asked) -> Vec<Answered> {
        artifact.answer(rows, asked)
    }

    fn statistics(artifact: &Artifact, row: Row<'_>, answered: &Answered) -> Option<Vec<f64>> {
        Some(artifact.statistics(row, answered))
    }

    fn asked<'a>(_: &Artifact, run: &'a Run<'_>) -> Vec<(usize, Row<'a>)> {
        let of_row = |(&row, &fold): (&usize, &usize)| (fold, Row { table: &run.data.table, row });
        run.asked.iter().zip(&run.fold_of[0]).map(of_row).collect()
    }

    fn known(card: &ModelCard) -> &str {
        &card.section.data.known
    }

    /// Rows that are kept for the end are new before others where rows are told apart by time.
    fn onward<'a>(
        champion: &Artifact,
        _: &'a Rows,
        run: &Run<'a>,
    ) -> Result<Option<Run<'a>>, TrainError> {
        let seen = champion.card.section.data.seen.reader();
        match run.sets.test.iter().all(|row| seen(&run.data.key(*row))) {
            true => Ok(None),
            false => {
                let (_, chosen) = Self::unseen(champion, run).unwrap_or_default();
                run.with_kept(chosen).map(Some)
            }
        }
    }

    fn unseen(champion: &Artifact, run: &Run<'_>) -> Option<(Vec<usize>, usize)> {
        let seen = champion.card.section.data.seen.reader();
        let is_new: Vec<bool> = (0..run.data.rows()).map(|row| !seen(&run.data.key(row))).collect();
        let cases = run.cases().enumerate();
        let new = cases.filter(|(_, case)| is_new[case.group]).map(|(number, _)| number).collect();
        let known = |case: &Case| !is_new[case.group];
        let chosen = run.asked().or_else(|| run.best(&known)).unwrap_or_else(|| run.chosen());
        Some((new, chosen))
    }

    fn answered(champion: &Artifact, run: &Run<'_>, cases: Vec<usize>) -> Vec<(usize, Vec<f64>)> {
        if champion.card.section.target.labels != run.target.labels() {
            return vec![];
        }
        let row = |case: &usize| Row { table: &run.data.table, row: run.asked[*case] };
        let rows: Vec<Row<'_>> = cases.iter().map(row).collect();
        let answered = champion.answer(&rows, Self::BRIEFLY).into_iter();
        cases.into_iter().zip(answered.map(|answered| answered.answers)).collect()
    }
}
