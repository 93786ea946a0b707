//! Every family on folds of all rows but those that are kept for the end.
//!
//! Families are compared with the options of the manifest, and the options of the chosen one are
//! searched afterwards. Found before, they would fit rows that the comparison asks about: a family
//! with many options would win by them, and be worse on other rows.

use crate::parallel;
use steppe_spec::tabular::{Cost, Maximise, TabularSpec, Threshold};
use steppe_spec::{Family, Kind};

use super::answers::{Answers, loss_of, scores};
use super::data::{Rows, Target};
use super::search::{self, Tuning};
use super::sets::Sets;
use crate::error::TrainError;
use crate::host::Stage;
use crate::rows::RowsError;
use crate::rows::calibration::{
    Calibration, Comparison, OutOfFold, choose, fit_cautious_isotonic, fit_platt,
};
use crate::rows::matrix::select;
use crate::rows::metrics::{Bootstrap, mean};
use crate::rows::threshold::{self, Aim};
use crate::stats::BY_CHANCE;
use crate::trials::{Case, Score, Trials};

/// Samples of a bootstrap, and how many there are at least.
const SAMPLES: (usize, usize) = (1_000, 200);
/// Rows in all samples of a bootstrap from which on there are fewer of them: the more rows, the
/// less chance there is to be seen.
const SAMPLED_ROWS: usize = 20_000_000;

/// Samples of a bootstrap of some rows.
pub fn samples(rows: usize) -> usize {
    (SAMPLED_ROWS / rows.max(1)).clamp(SAMPLES.1, SAMPLES.0)
}

/// Families that were asked about rows that they had not seen.
#[derive(Debug)]
pub struct Run<'a> {
    /// The rows.
    pub data: &'a Rows,
    /// What decides the model.
    pub spec: &'a TabularSpec,
    /// Which rows are for what.
    pub sets: Sets,
    /// Rows that were asked about, in order; each is a case.
    pub asked: Vec<usize>,
    /// What is predicted of them.
    pub target: Target,
    /// The fold in which each was asked, in each drawing.
    pub fold_of: Vec<Vec<usize>>,
    /// The families, with the options of the manifest.
    pub entrants: Vec<Entrant>,
    /// The search for options of the chosen one.
    pub tuning: Option<Tuning>,
    /// The chosen one with the options that were found, if they are taken.
    pub found: Option<Entrant>,
}

/// A family in a run.
#[derive(Debug)]
pub struct Entrant {
    /// The family.
    pub family: Family,
    /// Its configuration.
    pub spec: TabularSpec,
    /// What turns its answers into probabilities, one per output; none of numbers.
    pub maps: Vec<Calibration>,
    /// How each way of calibrating did, one per output.
    pub compared: Vec<Comparison>,
    /// Its answers about the rows that were asked, in each drawing of folds. They are calibrated by
    /// maps that have not seen the fold, either.
    pub answers: Vec<Answers>,
}

/// Asks every family.
pub fn run<'a>(
    data: &'a Rows,
    spec: &'a TabularSpec,
    stage: &Stage<'_>,
) -> Result<Run<'a>, TrainError> {
    let sets = Sets::of(data, spec)?;
    let first = &sets.folds[..sets.folds_a_repeat];
    let mut asked: Vec<usize> =
        first.iter().flat_map(|fold| &fold.test).map(|&at| sets.rest[at]).collect();
    asked.sort_unstable();
    let families = spec.task.model.families(data.target().is_number());
    let target = data.select(&asked).target().clone();
    let fold_of = sets.folds.chunks(sets.folds_a_repeat).map(|repeat| {
        let mut fold_of = vec![0; data.rows()];
        for (number, fold) in repeat.iter().enumerate() {
            fold.test.iter().for_each(|&at| fold_of[sets.rest[at]] = number);
        }
        select(&fold_of, &asked)
    });
    let fold_of = fold_of.collect();
    let (entrants, tuning, found) = (vec![], None, None);
    let mut run = Run { data, spec, sets, asked, target, fold_of, entrants, tuning, found };
    stage.host.plan(families.len() as u64);
    for family in families {
        run.entrants.push(run.entrant(family, spec.clone())?);
        stage.host.advance(1);
    }
    let chosen = run.entrants[run.chosen()].family;
    run.tuning = search::search((data, spec, &run.sets), chosen, stage)?;
    if let Some(tuning) = run.tuning.as_ref().filter(|tuning| tuning.taken) {
        run.found = Some(run.entrant(chosen, tuning.found(spec))?);
    }
    Ok(run)
}

impl Entrant {
    /// Its answers about each row, in the first drawing of folds.
    pub fn each(&self) -> Vec<Vec<f64>> {
        let rows = self.answers[0].0[0].len();
        (0..rows).map(|row| self.answers[0].row(row)).collect()
    }
}

impl Run<'_> {
    /// The entrant as it would be served: the chosen one with the options that were found.
    pub fn served(&self, entrant: usize) -> &Entrant {
        let usual = &self.entrants[entrant];
        self.found.as_ref().filter(|found| found.family == usual.family).unwrap_or(usual)
    }

    /// A family with its answers in all folds.
    fn entrant(&self, family: Family, spec: TabularSpec) -> Result<Entrant, TrainError> {
        let raw = self.out_of_fold(family, &spec)?;
        let (mut maps, mut compared) = (vec![], vec![]);
        let mut answers = raw.clone();
        if !self.target.is_number() {
            for output in 0..self.target.outputs() {
                let labels = self.target.happened(output);
                let of = |repeat: usize| OutOfFold {
                    labels: &labels,
                    answers: &raw[repeat].0[output],
                    folds: &self.fold_of[repeat],
                };
                let (map, comparison) = choose(&of(0));
                for (repeat, answers) in answers.iter_mut().enumerate() {
                    answers.0[output] = crossed(&of(repeat), &map);
                }
                maps.push(map);
                compared.push(comparison);
            }
        }
        let answers = answers.into_iter().map(|answers| answers.calibrated(&[])).collect();
        Ok(Entrant { family, spec, maps, compared, answers })
    }

    /// Answers as the family gives them, in each drawing of folds.
    fn out_of_fold(&self, family: Family, spec: &TabularSpec) -> Result<Vec<Answers>, TrainError> {
        let rows = |places: &[usize]| select(&self.sets.rest, places);
        let said = parallel::of(&self.sets.folds, |fold| {
            let known = self.data.select(&rows(&fold.train));
            Answers::of(family, &known, spec, &self.data.select(&rows(&fold.test)))
        });
        let said = said.into_iter().collect::<Result<Vec<_>, TrainError>>()?;
        let outputs = self.target.outputs();
        let repeats = self.sets.folds.chunks(self.sets.folds_a_repeat);
        let gather = |(folds, said): (&[crate::rows::split::Fold], &[Answers])| {
            let mut of_row = vec![vec![0.0; self.data.rows()]; outputs];
            for (fold, answers) in folds.iter().zip(said) {
                for (of_row, answers) in of_row.iter_mut().zip(&answers.0) {
                    let places = fold.test.iter().zip(answers);
                    places.for_each(|(&at, answer)| of_row[self.sets.rest[at]] = *answer);
                }
            }
            Answers(of_row.iter().map(|of_row| select(of_row, &self.asked)).collect())
        };
        Ok(repeats.zip(said.chunks(self.sets.folds_a_repeat)).map(gather).collect())
    }

    /// The threshold of two classes, by the answers of all drawings of folds: it follows few rows.
    pub fn threshold(&self, entrant: &Entrant) -> Result<Option<f64>, RowsError> {
        if self.target.labels().len() != 2 {
            return Ok(None);
        }
        let happened = self.target.happened(0);
        let labels = happened.repeat(entrant.answers.len());
        let answers = entrant.answers.iter().map(|answers| &answers.0[0]);
        let answers: Vec<f64> = answers.flatten().copied().collect();
        let chosen = threshold::choose(&labels, &answers, aim(&self.spec.task.threshold))?;
        Ok(Some(chosen.threshold))
    }

    /// Scores of an entrant in each fold.
    pub fn by_fold(&self, entrant: &Entrant) -> Vec<Vec<Score>> {
        let drawings = self.fold_of.iter().zip(&entrant.answers);
        let of_drawing = |(fold_of, answers): (&Vec<usize>, &Answers)| {
            (0..self.sets.folds_a_repeat)
                .map(|fold| {
                    let rows: Vec<usize> =
                        (0..fold_of.len()).filter(|row| fold_of[*row] == fold).collect();
                    self.scores_of(&rows, answers)
                })
                .collect::<Vec<_>>()
        };
        drawings.flat_map(of_drawing).collect()
    }

    fn scores_of(&self, rows: &[usize], answers: &Answers) -> Vec<Score> {
        scores(&self.target.select(rows), &answers.select(rows))
    }
}

impl<'a> Run<'a> {
    /// One entrant, asked also about the rows that are kept for the end: fitted on all others.
    pub fn with_kept(&self, entrant: usize) -> Result<Self, TrainError> {
        let Entrant { family, spec, maps, answers, .. } = self.served(entrant);
        let (rest, test) = (&self.sets.rest, &self.sets.test);
        let kept = Answers::of(*family, &self.data.select(rest), spec, &self.data.select(test))?;
        let kept = kept.calibrated(maps);
        let places = self.asked.iter().chain(test).enumerate();
        let mut order: Vec<(usize, usize)> = places.map(|(place, &row)| (row, place)).collect();
        order.sort_unstable();
        let both = |output: usize| {
            let all = [&answers[0].0[output][..], &kept.0[output]].concat();
            order.iter().map(|(_, place)| all[*place]).collect()
        };
        let answers = vec![Answers((0..kept.0.len()).map(both).collect())];
        let asked: Vec<usize> = order.iter().map(|(row, _)| *row).collect();
        let entrant = Entrant {
            family: *family,
            spec: spec.clone(),
            maps: maps.clone(),
            compared: vec![],
            answers,
        };
        Ok(Self {
            data: self.data,
            spec: self.spec,
            sets: Sets { test: vec![], ..self.sets.clone() },
            target: self.data.select(&asked).target().clone(),
            fold_of: vec![vec![0; asked.len()]],
            asked,
            entrants: vec![entrant],
            tuning: None,
            found: None,
        })
    }
}

/// What a threshold is for.
fn aim(threshold: &Threshold) -> Aim {
    match *threshold {
        Threshold { recall: Some(recall), .. } => Aim::Recall(recall),
        Threshold { precision: Some(precision), .. } => Aim::Precision(precision),
        Threshold { cost: Some(Cost { missed, false_alarm }), .. } => {
            Aim::Cost { missed, false_alarm }
        }
        Threshold { maximise: Some(Maximise::F1) | None, .. } => Aim::F1,
    }
}

/// Answers, each calibrated by a map of the chosen kind that was fitted on the other folds.
fn crossed(of: &OutOfFold<'_>, chosen: &Calibration) -> Vec<f64> {
    let mut all = of.answers.to_vec();
    let folds = of.folds.iter().max().map_or(0, |last| last + 1);
    for fold in 0..folds {
        let others: Vec<usize> = (0..all.len()).filter(|row| of.folds[*row] != fold).collect();
        let (labels, answers) = (select(of.labels, &others), select(of.answers, &others));
        let map = match chosen {
            Calibration::None => Calibration::None,
            Calibration::Platt { .. } => fit_platt(&labels, &answers).unwrap_or(Calibration::None),
            Calibration::Isotonic { .. } => fit_cautious_isotonic(&labels, &answers),
        };
        let of_fold = (0..all.len()).filter(|row| of.folds[*row] == fold);
        of_fold.for_each(|row| all[row] = map.apply(of.answers[row]));
    }
    all
}

impl Trials for Run<'_> {
    type Answer = Vec<f64>;

    fn cases(&self) -> impl ExactSizeIterator<Item = Case> {
        self.asked.iter().map(|&row| Case { group: row, asked: 0, answered: 0 })
    }

    fn families(&self) -> Vec<Family> {
        self.entrants.iter().map(|entrant| entrant.family).collect()
    }

    fn wanted(&self) -> Kind {
        self.spec.task.model.kind
    }

    fn shares(&self, entrant: usize) -> Vec<(Family, f64)> {
        vec![(self.entrants[entrant].family, 1.0)]
    }

    fn answers(&self, entrant: usize) -> Vec<Vec<f64>> {
        self.served(entrant).each()
    }

    fn loss(&self, case: usize, answer: &Vec<f64>) -> f64 {
        loss_of(&self.target, case, answer)
    }

    fn scores(&self, answered: &[(usize, Vec<f64>)]) -> Option<Vec<Score>> {
        let cases: Vec<usize> = answered.iter().map(|(case, _)| *case).collect();
        let answers = answered.iter().map(|(_, answer)| answer.as_slice());
        let answers = Answers::from_rows(answers, self.target.outputs());
        (!cases.is_empty()).then(|| scores(&self.target.select(&cases), &answers))
    }

    fn deciding(&self, entrant: usize, keep: &dyn Fn(&Case) -> bool) -> Option<f64> {
        let kept = self.cases().enumerate().filter(|(_, case)| keep(case));
        let kept: Vec<usize> = kept.map(|(number, _)| number).collect();
        if kept.is_empty() {
            return None;
        }
        let drawings = self.entrants[entrant].answers.iter();
        let each =
            drawings.filter_map(|answers| Some(self.scores_of(&kept, answers).first()?.value));
        Some(mean(each))
    }

    fn p_value(&self, pairs: &[(usize, Vec<f64>, Vec<f64>)]) -> Option<f64> {
        let losses =
            pairs.iter().map(|(case, one, other)| (self.loss(*case, one), self.loss(*case, other)));
        let (one, other): (Vec<f64>, Vec<f64>) = losses.unzip();
        let bootstrap = Bootstrap { samples: samples(pairs.len()), level: 0.95, seed: 1 };
        let total = |losses: &[f64], rows: &[usize]| {
            Some(rows.iter().map(|&row| losses[row]).sum::<f64>() / rows.len() as f64)
        };
        if pairs.is_empty() {
            return None;
        }
        let paired =
            bootstrap.paired(pairs.len(), |rows| total(&one, rows), |rows| total(&other, rows));
        paired.map(|paired| paired.p_value)
    }

    /// A baseline only where it is better than every other family by more than chance: of folds of
    /// few rows, what learns little is the least wrong, and of all rows it is not.
    fn best(&self, keep: &dyn Fn(&Case) -> bool) -> Option<usize> {
        let of = |baseline: bool| {
            let entrants = (0..self.entrants.len()).filter_map(|entrant| {
                let one = self.entrants[entrant].family.is_baseline() == baseline;
                Some((entrant, self.deciding(entrant, keep).filter(|_| one)?))
            });
            entrants.min_by(|a, b| a.1.total_cmp(&b.1))
        };
        let (Some((baseline, simple)), Some((candidate, loss))) = (of(true), of(false)) else {
            return of(false).or_else(|| of(true)).map(|(entrant, _)| entrant);
        };
        let sure = || {
            let of = |entrant: usize| self.entrants[entrant].each().into_iter();
            let answers = of(candidate).zip(of(baseline)).zip(self.cases()).enumerate();
            let kept = answers.filter(|(_, (_, case))| keep(case));
            let pairs: Vec<_> = kept.map(|(case, ((a, b), _))| (case, a, b)).collect();
            self.p_value(&pairs).is_some_and(|p| p < BY_CHANCE)
        };
        Some(if simple < loss && sure() { baseline } else { candidate })
    }

    fn label(&self, _: i64) -> String {
        "folds".to_owned()
    }
}
