//! What models say of rows, as one list per output, and how wrong that is.

use steppe_spec::Family;
use steppe_spec::tabular::{Objective, TabularSpec};

use super::Tabular;
use super::data::{Rows, Target};
use crate::error::TrainError;
use crate::families::RowModel;
use crate::host::{Quiet, Stage};
use crate::rows::RowsError;
use crate::rows::calibration::Calibration;
use crate::rows::matrix::{Matrix, select};
use crate::rows::metrics::{
    average_precision, brier, brier_of_classes, log_loss, log_loss_of, log_loss_of_classes, mae,
    normalised, r_squared, rmse, roc_auc,
};
use crate::rows::table::Table;
use crate::task::Task;
use crate::trials::{Better, Score};

/// Answers about rows: for each output one number per row.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers(pub Vec<Vec<f64>>);

impl Answers {
    /// What a family says of the rows of `asked` when it is fitted on `known`, not calibrated.
    pub fn of(
        family: Family,
        known: &Rows,
        spec: &TabularSpec,
        asked: &Rows,
    ) -> Result<Self, TrainError> {
        let model = fitted(family, known, spec)?;
        Ok(Self::by(&model, &asked.table)?)
    }

    /// What a model says of the rows of a table, not calibrated.
    pub fn by(model: &RowModel, table: &Table) -> Result<Self, RowsError> {
        let (scorer, mut all) = (model.role(), model.role().margins(table)?);
        let link = scorer.link();
        all.iter_mut().flatten().for_each(|margin| *margin = link.answer(*margin));
        Ok(Self(all).whole())
    }

    /// Calibrated by one map per output.
    pub fn calibrated(mut self, maps: &[Calibration]) -> Self {
        for (answers, map) in self.0.iter_mut().zip(maps) {
            answers.iter_mut().for_each(|answer| *answer = map.apply(*answer));
        }
        self.whole()
    }

    /// Those of several classes add up to one for each row.
    fn whole(self) -> Self {
        if self.0.len() < 2 {
            return self;
        }
        let (rows, columns) = (self.0[0].len(), self.0.len());
        let whole = normalised(&Matrix::new(rows, columns, self.0.concat()));
        Self((0..columns).map(|column| whole.column(column).to_vec()).collect())
    }

    /// Those about some rows, in the order of their numbers.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self(self.0.iter().map(|answers| select(answers, rows)).collect())
    }

    /// Those about one row.
    pub fn row(&self, row: usize) -> Vec<f64> {
        self.0.iter().map(|output| output[row]).collect()
    }

    /// Of answers about rows one by one.
    pub fn from_rows<'a>(rows: impl Iterator<Item = &'a [f64]>, outputs: usize) -> Self {
        let mut all = vec![Vec::new(); outputs];
        for row in rows {
            all.iter_mut().zip(row).for_each(|(output, answer)| output.push(*answer));
        }
        Self(all)
    }

    fn matrix(&self) -> Matrix {
        Matrix::new(self.0[0].len(), self.0.len(), self.0.concat())
    }
}

/// A family that is fitted on rows.
pub fn fitted(family: Family, known: &Rows, spec: &TabularSpec) -> Result<RowModel, TrainError> {
    let recipe = Tabular::recipe(family).ok_or_else(|| {
        TrainError::Unusable(format!("the family `{}` is not about rows", family.name()))
    })?;
    (recipe.fit)(known, spec, &Stage::new(&Quiet))
}

/// How well probabilities tell what happened.
type Measure = fn(&[bool], &[f64]) -> Option<f64>;

/// How wrong answers are by an objective; less is better.
pub fn loss_by(objective: Objective, target: &Target, answers: &Answers) -> f64 {
    let each = |measure: Measure| {
        let of = |(output, answers): (usize, &Vec<f64>)| measure(&target.happened(output), answers);
        let all: Option<Vec<f64>> = answers.0.iter().enumerate().map(of).collect();
        // Where one class is not there, nothing is measured.
        all.map_or(f64::NAN, |all| -all.iter().sum::<f64>() / all.len() as f64)
    };
    match (objective, target) {
        (Objective::Rmse, Target::Numbers(values)) => rmse(values, &answers.0[0]),
        (Objective::Mae, Target::Numbers(values)) => mae(values, &answers.0[0]),
        (Objective::AucPr, _) => each(average_precision),
        (Objective::RocAuc, _) => each(roc_auc),
        (Objective::Brier, target) => value(&scores(target, answers), "Brier"),
        (_, target) => value(&scores(target, answers), "log loss"),
    }
}

fn value(scores: &[Score], name: &str) -> f64 {
    scores.iter().find(|score| score.name == name).map_or(f64::NAN, |score| score.value)
}

/// How wrong one answer is: squared error, or log loss.
pub fn loss_of(target: &Target, row: usize, answer: &[f64]) -> f64 {
    match target {
        Target::Numbers(values) => (values[row] - answer[0]).powi(2),
        Target::Classes { labels, codes } if labels.len() == 2 => {
            log_loss_of(codes[row] == 1, answer[0])
        }
        Target::Classes { codes, .. } => log_loss_of(true, answer[codes[row]]),
    }
}

/// How good answers about rows are, by the usual measures; the deciding one first. One that does
/// not exist for these rows is left out.
pub fn scores(target: &Target, answers: &Answers) -> Vec<Score> {
    let score = |name, better, value: Option<f64>| Some(Score { name, value: value?, better });
    let (lower, higher) = (Better::Lower, Better::Higher);
    let all = match target {
        Target::Numbers(values) => {
            let answers = &answers.0[0];
            vec![
                score("RMSE", lower, Some(rmse(values, answers))),
                score("MAE", lower, Some(mae(values, answers))),
                score("R²", higher, r_squared(values, answers)),
            ]
        }
        Target::Classes { labels, .. } if labels.len() == 2 => {
            let (happened, answers) = (target.happened(0), &answers.0[0]);
            vec![
                score("log loss", lower, Some(log_loss(&happened, answers))),
                score("AUC-PR", higher, average_precision(&happened, answers)),
                score("ROC-AUC", higher, roc_auc(&happened, answers)),
                score("Brier", lower, Some(brier(&happened, answers))),
            ]
        }
        Target::Classes { codes, .. } => {
            let matrix = answers.matrix();
            let right = codes.iter().enumerate().filter(|(row, code)| {
                let answer = |class: usize| matrix.at(*row, class);
                let best = (0..matrix.columns()).max_by(|a, b| answer(*a).total_cmp(&answer(*b)));
                best == Some(**code)
            });
            let accuracy = right.count() as f64 / codes.len() as f64;
            vec![
                score("log loss", lower, Some(log_loss_of_classes(codes, &matrix))),
                score("Brier", lower, Some(brier_of_classes(codes, &matrix))),
                score("accuracy", higher, Some(accuracy)),
            ]
        }
    };
    all.into_iter().flatten().collect()
}
