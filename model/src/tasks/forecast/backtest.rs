//! Rolling-origin backtest: stand at an origin, forecast with what was known then, compare with
//! what came next.
//!
//! Models that learn from all series are trained anew at every origin (`refit`), or once before the
//! first; either way on data that end at the origin, scalers included, so nothing of the future
//! reaches a forecast. Every family forecasts the same cases.

mod fits;

use crate::parallel;
use serde::{Deserialize, Serialize};
use steppe_wire::predict::Errors;

use crate::error::TrainError;
use crate::families::combination::{mean, weights};
use crate::forecast::Forecaster;
use crate::forecast::conformal::{Asked, Calibration, Measure, Place, Residual, bounded, reach};
use crate::forecast::dataset::{Dataset, View};
use crate::forecast::decision::Decision;
use crate::forecast::metrics::{
    IntervalOutcome, IntervalScores, Outcome, errors, interval_scores, naive_scale,
};
use crate::forecast::verdict::against_baselines;
use crate::host::Stage;
use crate::stats::PAIRS_MIN;
use crate::trials::{self, Trials, paired_p_value};
use steppe_spec::{Family, TrainSpec};

use fits::Fits;

/// One value that was forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// Number of the series in the data set.
    pub series: usize,
    /// Number of the origin, oldest first.
    pub origin: usize,
    /// Step ahead, from 0.
    pub step: usize,
    /// What happened.
    pub actual: f64,
    /// Scale of MASE at the origin.
    pub naive_scale: f64,
    /// The series' typical change at the origin, on the transformed scale.
    pub change: f64,
    /// The same of the period that is forecast.
    pub change_ahead: f64,
    /// How far the series' values had gone at the origin: [`reach`].
    pub reach: f64,
}

impl Case {
    /// The scale of losses; series that never changed count in their own units.
    fn scale(&self) -> f64 {
        if self.naive_scale > 0.0 { self.naive_scale } else { 1.0 }
    }

    /// How wrong a forecast of it is, in that scale.
    pub fn loss(&self, point: f64) -> f64 {
        (self.actual - point).abs() / self.scale()
    }
}

/// What one family forecast, one entry per case.
#[derive(Debug, Clone, PartialEq)]
pub struct Entrant {
    /// The family.
    pub family: Family,
    /// Point forecasts.
    pub points: Vec<f64>,
    /// The model's own spreads; empty for a family without them.
    pub spreads: Vec<f64>,
}

/// A backtest that was run: all its forecasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Run<'a> {
    data: &'a Dataset,
    spec: &'a TrainSpec,
    /// Which quantiles are made.
    asked: Asked,
    /// Last periods known, oldest first.
    pub origins: Vec<i64>,
    /// The values that were forecast.
    pub cases: Vec<Case>,
    /// One per family.
    pub entrants: Vec<Entrant>,
    /// Families that did not take part, because there is too little for them.
    pub left_out: Vec<Family>,
    /// Weights of the combination on all cases, one per other family.
    pub weights: Vec<(Family, f64)>,
}

/// Errors of one family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The family.
    pub family: Family,
    /// Errors over all steps.
    pub errors: Errors,
    /// Probability of a difference from the chosen model at least this large when there is none:
    /// Wilcoxon's signed-rank test over the series' mean errors. None for the model itself, and for
    /// too few series.
    pub p_value: Option<f64>,
}

/// What a backtest found: part of a model card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backtest {
    /// Last periods known to the forecasts.
    pub origins: Vec<String>,
    /// Values that were forecast and compared.
    pub cases: usize,
    /// Errors of the chosen model over all steps.
    pub model: Errors,
    /// Its errors per step, nearest first.
    pub by_step: Vec<Errors>,
    /// Every family on the same cases, the chosen one among them.
    pub candidates: Vec<Candidate>,
    /// Families that did not take part, because there is too little for them.
    pub left_out: Vec<Family>,
    /// Weights of the combination, largest first; empty when none was tried.
    pub weights: Vec<(Family, f64)>,
    /// Intervals, each made from all *other* origins.
    pub intervals: IntervalScores,
    /// The quantile to decide by, made in the same way; none where nothing is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

impl Backtest {
    /// The baseline with the smallest MASE, when it beats the model.
    pub fn better_baseline(&self) -> Option<&Candidate> {
        self.better(Family::is_baseline)
    }

    /// The family with the smallest MASE, when it beats the model.
    pub fn better_family(&self) -> Option<&Candidate> {
        self.better(|_| true)
    }

    /// What it says of the model `served` beside the baselines.
    pub fn verdict(&self, served: Family) -> Option<String> {
        let compared = self.candidates.iter().map(|c| (c.family, c.errors.mase, c.p_value));
        against_baselines(served, &compared.collect::<Vec<_>>())
    }

    fn better(&self, of: impl Fn(Family) -> bool) -> Option<&Candidate> {
        let families = self.candidates.iter().filter(|c| of(c.family));
        let best = families.min_by(|a, b| a.errors.mase.total_cmp(&b.errors.mase))?;
        (best.errors.mase < self.model.mase).then_some(best)
    }
}

/// Weight of a baseline beside a candidate's 1, before anything is known.
const BASELINE_PRIOR: f64 = 0.1;
/// Blocks of origins that are left out one after the other to measure intervals.
const BLOCKS_MAX: usize = 20;
/// Cases that weights rest on: more change them no further.
const WEIGHED_MAX: usize = 20_000;
/// A weight below this share is left out: its model would be trained and run for nothing.
const WEIGHT_MIN: f64 = 0.02;

/// Forecasts every case with every family.
pub fn run<'a>(
    data: &'a Dataset,
    spec: &'a TrainSpec,
    stage: &Stage<'_>,
) -> Result<Run<'a>, TrainError> {
    let families: Vec<Family> =
        spec.families().into_iter().filter(|f| *f != Family::Combination).collect();
    let fits = Fits::of(data, spec, &families, origins(data, spec), stage)?;
    let entrant =
        |family: &Family| Entrant { family: *family, points: Vec::new(), spreads: Vec::new() };
    let taking = |family: &&Family| !fits.left_out.contains(family);
    let mut run = Run {
        data,
        spec,
        asked: Asked::of(spec, data),
        origins: fits.origins.clone(),
        cases: Vec::new(),
        entrants: families.iter().filter(taking).map(entrant).collect(),
        left_out: fits.left_out.clone(),
        weights: Vec::new(),
    };
    for number in 0..run.origins.len() {
        run.stand_at(number, &fits);
    }
    if run.cases.is_empty() {
        return Err(too_few(fits.needed, data, spec));
    }
    run.check_finite()?;
    if spec.families().contains(&Family::Combination) {
        run.combine();
    }
    Ok(run)
}

fn too_few(needed: usize, data: &Dataset, spec: &TrainSpec) -> TrainError {
    let longest = data.series().iter().map(|s| s.values.len()).max().unwrap_or(0);
    let (origins, stride) = (spec.backtest.origins, spec.stride());
    TrainError::TooFewForBacktest {
        origins,
        stride,
        longest,
        needed: needed + spec.task.horizon + origins.saturating_sub(1) * stride,
    }
}

/// The newest origins after which a whole horizon is known, oldest first.
fn origins(data: &Dataset, spec: &TrainSpec) -> Vec<i64> {
    let newest = data.last() - spec.task.horizon as i64;
    (0..spec.backtest.origins as i64)
        .rev()
        .map(|back| newest - back * spec.stride() as i64)
        .collect()
}

impl Run<'_> {
    /// Refuses a family that has no number for an answer, before it makes nonsense of all others.
    fn check_finite(&self) -> Result<(), TrainError> {
        for Entrant { family, points, .. } in &self.entrants {
            let broken = self.cases.iter().zip(points).find(|(_, point)| !point.is_finite());
            if let Some((case, point)) = broken {
                let (name, series) = (family.name(), &self.data.series()[case.series].name);
                let what = format!("`{name}` says {point} for `{series}`");
                return Err(TrainError::Unusable(what));
            }
        }
        Ok(())
    }

    /// Forecasts from one origin with all models.
    fn stand_at(&mut self, number: usize, fits: &Fits) {
        let (origin, season) = (self.origins[number], self.data.frequency().season());
        let measure = Measure::by(self.spec);
        let usable = |view: &View<'_>| view.last() == origin && view.len() >= fits.needed;
        let chosen: Vec<(usize, View<'_>)> = self
            .data
            .series()
            .iter()
            .map(|s| s.until(origin))
            .enumerate()
            .filter(|(_, v)| usable(v))
            .collect();
        let views: Vec<View<'_>> = chosen.iter().map(|(_, view)| *view).collect();
        let mut kept: Vec<(usize, usize)> = Vec::new();
        for (at, (series, view)) in chosen.iter().enumerate() {
            let scale = naive_scale(view.history(), season);
            let change = measure.of(view.history());
            let ahead = measure.ahead(view.history(), self.spec.task.horizon);
            let reach = reach(self.spec.model.transform, view.history());
            for (step, change_ahead) in ahead.into_iter().enumerate() {
                let target = origin + 1 + step as i64;
                let Some(actual) = view.series().observed(target) else { continue };
                self.cases.push(Case {
                    series: *series,
                    origin: number,
                    step,
                    actual,
                    naive_scale: scale,
                    change,
                    change_ahead,
                    reach,
                });
                kept.push((at, step));
            }
        }
        for entrant in &mut self.entrants {
            let model = fits.model(number, entrant.family).expect("every family was fitted");
            let paths = model.paths(&views, self.spec.task.horizon);
            let cases = &self.cases[self.cases.len() - kept.len()..];
            entrant.points.extend(kept.iter().zip(cases).map(|(&(at, step), case)| {
                bounded(self.spec.model.transform, case.reach, paths[at].points[step])
            }));
            entrant
                .spreads
                .extend(kept.iter().filter_map(|&(at, step)| paths[at].spreads.get(step)));
        }
    }

    /// Adds the combination. At each origin its weights rest on what was known there: on the cases
    /// whose actual values lie at or before the origin.
    fn combine(&mut self) {
        let transform = self.spec.model.transform;
        let scaled = |entrant: &Entrant, i: usize| {
            let case = &self.cases[i];
            (transform.apply(case.actual) - transform.apply(entrant.points[i])) / case.change
        };
        // Baselines take part, but have to earn their place when there is something better to
        // combine.
        let lone = self.entrants.iter().all(|e| e.family.is_baseline());
        let prior: Vec<f64> = self
            .entrants
            .iter()
            .map(|e| if e.family.is_baseline() && !lone { BASELINE_PRIOR } else { 1.0 })
            .collect();
        let weights_from = |known: &[usize]| {
            let known = || known.iter().step_by(known.len() / WEIGHED_MAX + 1);
            let errors: Vec<Vec<f64>> =
                self.entrants.iter().map(|e| known().map(|&i| scaled(e, i)).collect()).collect();
            weights(&errors, &prior)
        };
        let mut points = vec![0.0; self.cases.len()];
        for (number, &origin) in self.origins.iter().enumerate() {
            let known: Vec<usize> =
                (0..self.cases.len()).filter(|&i| self.target(&self.cases[i]) <= origin).collect();
            let weights = weights_from(&known);
            for i in (0..self.cases.len()).filter(|&i| self.cases[i].origin == number) {
                let of = self.entrants.iter().map(|entrant| entrant.points[i]);
                points[i] = mean(transform, &weights, of);
            }
        }
        let all: Vec<usize> = (0..self.cases.len()).collect();
        let found = weights_from(&all);
        let mut weights: Vec<(Family, f64)> = self
            .entrants
            .iter()
            .map(|e| e.family)
            .zip(found)
            .filter(|(_, w)| *w >= WEIGHT_MIN)
            .collect();
        let total: f64 = weights.iter().map(|(_, w)| w).sum();
        weights.iter_mut().for_each(|(_, w)| *w /= total);
        weights.sort_by(|a, b| b.1.total_cmp(&a.1));
        self.weights = weights;
        self.entrants.push(Entrant { family: Family::Combination, points, spreads: Vec::new() });
    }

    /// What the family to serve has forecast.
    pub fn served(&self) -> &Entrant {
        &self.entrants[self.chosen()]
    }

    /// Numbers of each series' cases: looking through all of them for every series would take the
    /// square of the time.
    pub fn cases_by_series(&self) -> Vec<Vec<usize>> {
        let mut numbers = vec![Vec::new(); self.data.series().len()];
        self.cases.iter().enumerate().for_each(|(i, case)| numbers[case.series].push(i));
        numbers
    }

    /// Errors of a family over the cases with the given numbers.
    pub fn errors_at(&self, entrant: &Entrant, numbers: &[usize]) -> Option<Errors> {
        let outcome = |&i: &usize| {
            let case = &self.cases[i];
            Outcome {
                forecast: entrant.points[i],
                actual: case.actual,
                naive_scale: case.naive_scale,
            }
        };
        errors(numbers.iter().map(outcome))
    }

    /// Errors of a family over the cases that `keep` keeps.
    pub fn errors_of(&self, entrant: &Entrant, keep: impl Fn(&Case) -> bool) -> Option<Errors> {
        let kept = self.cases.iter().zip(&entrant.points).filter(|(case, _)| keep(case));
        errors(kept.map(|(case, &forecast)| Outcome {
            forecast,
            actual: case.actual,
            naive_scale: case.naive_scale,
        }))
    }

    /// Probability of a difference this large between two families when there is none.
    pub fn p_value(&self, a: &Entrant, b: &Entrant) -> Option<f64> {
        self.p_value_over(a, b, &|_| true)
    }

    /// The same over the cases that `keep` keeps.
    pub fn p_value_over(
        &self,
        a: &Entrant,
        b: &Entrant,
        keep: &dyn Fn(&trials::Case) -> bool,
    ) -> Option<f64> {
        let points = a.points.iter().zip(&b.points);
        let kept = self.cases.iter().zip(points).filter(|(case, _)| keep(&self.shared(case)));
        paired_p_value(kept.map(|(case, (a, b))| (self.group(case), case.loss(*a), case.loss(*b))))
    }

    fn residual(&self, entrant: &Entrant, i: usize) -> Residual<'_> {
        let (case, transform) = (&self.cases[i], self.spec.model.transform);
        Residual {
            place: Place {
                series: &self.data.series()[case.series].name,
                step: case.step,
                change: case.change_ahead,
                spread: entrant.spreads.get(i).copied(),
                reach: case.reach,
            },
            origin: case.origin,
            error: transform.apply(case.actual) - transform.apply(entrant.points[i]),
            values: (entrant.points[i], case.actual),
        }
    }

    /// Calibrates a family on the cases that `keep` keeps.
    pub fn calibration(
        &self,
        entrant: &Entrant,
        keep: impl Fn(&Case) -> bool + Copy,
    ) -> Calibration {
        let kept = (0..self.cases.len()).filter(|&i| keep(&self.cases[i]));
        Calibration::fit(
            kept.map(|i| self.residual(entrant, i)),
            (self.spec.task.horizon, self.spec.stride()),
            self.asked,
            Measure::by(self.spec),
        )
    }

    /// Intervals of a family by case, each calibrated on all *other* origins, or on all outside of
    /// its block of neighbours where there are many; with one origin, on its own. They are made
    /// when they are asked for: all at once they take more memory than everything else here.
    pub fn intervals<'b>(&'b self, entrant: &'b Entrant) -> impl Fn(usize) -> IntervalOutcome + 'b {
        let (origins, lone) = (self.origins.len(), self.origins.len() == 1);
        let blocks = origins.min(BLOCKS_MAX);
        let block_of = move |origin: usize| origin * blocks / origins;
        let by_block: Vec<Calibration> = parallel::each(blocks, |block| {
            self.calibration(entrant, |case| lone || block_of(case.origin) != block)
        });
        move |i: usize| {
            let case = &self.cases[i];
            let calibration = &by_block[block_of(case.origin)];
            let spread = calibration.spread(entrant.points[i], &self.residual(entrant, i).place);
            let (lower, upper) = calibration.interval(&spread);
            let quantiles = calibration.quantiles(&spread);
            IntervalOutcome {
                lower,
                upper,
                quantiles,
                actual: case.actual,
                naive_scale: case.naive_scale,
            }
        }
    }

    /// A case as everything that tasks share sees it.
    pub fn shared(&self, case: &Case) -> trials::Case {
        let (asked, answered) = (self.origins[case.origin], self.target(case));
        trials::Case { group: self.group(case), asked, answered }
    }

    /// What a case's loss counts with once: its series or, where there are too few series to
    /// compare by, the origins whose forecasts are about the same periods.
    fn group(&self, case: &Case) -> usize {
        let overlapping = self.spec.task.horizon.div_ceil(self.spec.stride());
        match self.data.series().len() < PAIRS_MIN {
            true => case.origin / overlapping,
            false => case.series,
        }
    }

    /// The period that a case is about.
    pub fn target(&self, case: &Case) -> i64 {
        self.origins[case.origin] + 1 + case.step as i64
    }

    /// Every history that was forecast from, with the number of its origin.
    pub fn views(&self) -> Vec<(usize, View<'_>)> {
        let nearest = self.cases.iter().filter(|case| case.step == 0);
        nearest
            .map(|case| {
                (case.origin, self.data.series()[case.series].until(self.origins[case.origin]))
            })
            .collect()
    }

    /// The data.
    pub fn data(&self) -> &Dataset {
        self.data
    }

    /// The configuration.
    pub fn spec(&self) -> &TrainSpec {
        self.spec
    }

    /// What goes onto the model's card.
    pub fn summary(&self) -> Backtest {
        let chosen = self.served();
        let none = Errors { mae: 0.0, rmse: 0.0, mape: 0.0, mase: 0.0, smape: 0.0 };
        let errors_at =
            |step: usize| self.errors_of(chosen, |case| case.step == step).unwrap_or(none);
        let candidate = |entrant: &Entrant| Candidate {
            family: entrant.family,
            errors: self.errors_of(entrant, |_| true).unwrap_or(none),
            p_value: if entrant.family == chosen.family {
                None
            } else {
                self.p_value(entrant, chosen)
            },
        };
        let Asked { level, decision, .. } = self.asked;
        let interval = self.intervals(chosen);
        let intervals = || (0..self.cases.len()).map(&interval);
        let beside_points = || intervals().zip(chosen.points.iter().copied());
        Backtest {
            origins: self.origins.iter().map(|&o| self.data.calendar().label(o)).collect(),
            cases: self.cases.len(),
            model: self.errors_of(chosen, |_| true).unwrap_or(none),
            by_step: (0..self.spec.task.horizon).map(errors_at).collect(),
            candidates: self.entrants.iter().map(candidate).collect(),
            left_out: self.left_out.clone(),
            weights: self.weights.clone(),
            decision: decision.and_then(|p| Decision::of(p, beside_points())),
            intervals: interval_scores(level, intervals()).expect("there are cases"),
        }
    }
}
