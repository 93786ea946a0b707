//! The forecasts of a backtest as cases on which models are chosen and compared.

use std::collections::BTreeMap;

use steppe_wire::predict::Errors;

use crate::stats::BY_CHANCE;
use crate::trials::{self, Better, Score, Trials};
use steppe_spec::{Family, Kind};

use super::Artifact;
use super::backtest::{Case, Run};
use super::dataset::View;
use super::forecaster::Forecaster;
use super::metrics::{IntervalOutcome, Outcome, errors, holds};

impl Trials for Run<'_> {
    type Answer = Answered;

    fn cases(&self) -> impl ExactSizeIterator<Item = trials::Case> {
        self.cases.iter().map(|case| self.shared(case))
    }

    fn families(&self) -> Vec<Family> {
        self.entrants.iter().map(|entrant| entrant.family).collect()
    }

    fn wanted(&self) -> Kind {
        self.spec().model.kind
    }

    fn shares(&self, entrant: usize) -> Vec<(Family, f64)> {
        match self.entrants[entrant].family {
            Family::Combination => self.weights.clone(),
            family => vec![(family, 1.0)],
        }
    }

    fn answers(&self, entrant: usize) -> Vec<Answered> {
        let entrant = &self.entrants[entrant];
        let interval = self.intervals(entrant);
        let answered = |(number, point): (usize, &f64)| {
            let IntervalOutcome { lower, upper, .. } = interval(number);
            Answered { point: *point, lower, upper }
        };
        entrant.points.iter().enumerate().map(answered).collect()
    }

    fn loss(&self, case: usize, answer: &Answered) -> f64 {
        self.cases[case].loss(answer.point)
    }

    fn scores(&self, answered: &[(usize, Answered)]) -> Option<Vec<Score>> {
        let outcome = |(case, answer): &(usize, Answered)| {
            let Case { actual, naive_scale, .. } = self.cases[*case];
            Outcome { forecast: answer.point, actual, naive_scale }
        };
        let inside = |(case, answer): &&(usize, Answered)| {
            holds(answer.lower, answer.upper, self.cases[*case].actual)
        };
        let errors = errors(answered.iter().map(outcome))?;
        let coverage = answered.iter().filter(inside).count() as f64 / answered.len() as f64;
        Some(scores(&errors, coverage))
    }

    fn deciding(&self, entrant: usize, keep: &dyn Fn(&trials::Case) -> bool) -> Option<f64> {
        let kept = |case: &Case| keep(&self.shared(case));
        Some(self.errors_of(&self.entrants[entrant], kept)?.mase)
    }

    /// The combination, unless another family is better by more than chance. Which of several
    /// families has the smallest error is a matter of chance where series or origins are few, and
    /// the combination is never far from the best. A baseline that nothing beats is served as well:
    /// a mean of models that are no better than a rule is none.
    fn best(&self, keep: &dyn Fn(&trials::Case) -> bool) -> Option<usize> {
        let least = self.least(keep)?;
        let combined = self.entrants.iter().position(|e| e.family == Family::Combination);
        let Some(combined) = combined.filter(|combined| *combined != least) else {
            return Some(least);
        };
        let (one, other) = (&self.entrants[least], &self.entrants[combined]);
        let surely = || self.p_value_over(one, other, keep).is_some_and(|p| p < BY_CHANCE);
        Some(if one.family.is_baseline() || surely() { least } else { combined })
    }

    fn label(&self, asked: i64) -> String {
        self.data().calendar().label(asked)
    }
}

/// What somebody forecast in one case, with the interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answered {
    /// The point forecast.
    pub point: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
}

/// The deciding score first.
pub(super) fn scores(errors: &Errors, coverage: f64) -> Vec<Score> {
    let lower = |(name, value)| Score { name, value, better: Better::Lower };
    let named = [
        ("MASE", errors.mase),
        ("MAE", errors.mae),
        ("RMSE", errors.rmse),
        ("MAPE", errors.mape),
        ("sMAPE", errors.smape),
    ];
    let coverage = Score { name: "coverage", value: coverage, better: Better::Higher };
    named.map(lower).into_iter().chain([coverage]).collect()
}

/// The champion's forecasts of those `cases` that it can forecast, with their numbers.
pub(super) fn answered(
    champion: &Artifact,
    run: &Run<'_>,
    cases: impl Iterator<Item = usize>,
) -> Vec<(usize, Answered)> {
    let horizon = champion.card.spec.task.horizon;
    let mut by_view: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for i in cases.filter(|i| run.cases[*i].step < horizon) {
        let Case { series, origin, .. } = run.cases[i];
        by_view.entry((series, origin)).or_default().push(i);
    }
    let view = |(series, origin): (usize, usize)| -> View<'_> {
        run.data().series()[series].until(run.origins[origin])
    };
    by_view.retain(|place, _| view(*place).len() >= champion.model.min_history());
    let views: Vec<View<'_>> = by_view.keys().map(|place| view(*place)).collect();
    let mut answered = Vec::new();
    for (cases, prediction) in by_view.values().zip(champion.forecast(&views, horizon)) {
        for &i in cases {
            let step = &prediction.steps[run.cases[i].step];
            let answer = Answered { point: step.value, lower: step.lower, upper: step.upper };
            answered.push((i, answer));
        }
    }
    answered.sort_by_key(|(number, _)| *number);
    answered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::backtest;
    use crate::host::{Quiet, Stage};
    use crate::training_key::tests::spec;
    use crate::{Dataset, Series};

    /// What is served when a family errs by as much as `errors` says, per series, and the
    /// combination by 1.
    fn served(family: Family, errors: [f64; 8]) -> Family {
        let series = |s: usize| {
            let values = (0..16).map(|t| 100.0 + f64::from(t * 7 % 5)).collect();
            Series::new(format!("s{s}"), 2000, values)
        };
        let data = Dataset::new(steppe_spec::Frequency::Yearly, (0..8).map(series).collect());
        let spec = spec().with(|s| {
            s.model.kind = Kind::Auto;
            s.model.candidates = Some(vec![Family::Theta]);
        });
        let mut run = backtest::run(&data, &spec, &Stage::new(&Quiet)).expect("runs");
        for entrant in &mut run.entrants {
            let error = |case: &Case| match entrant.family {
                Family::Combination => 1.0,
                own if own == family => errors[case.series],
                _ => 9.0,
            };
            entrant.points = run.cases.iter().map(|case| case.actual + error(case)).collect();
        }
        run.served().family
    }

    #[test]
    fn the_combination_is_served_unless_another_is_better_by_more_than_chance() {
        let by_chance = [0.0, 0.0, 0.0, 1.5, 1.6, 1.4, 1.3, 1.1];
        assert_eq!(served(Family::Theta, by_chance), Family::Combination);
        assert_eq!(served(Family::Theta, [0.9; 8]), Family::Theta);
        assert_eq!(served(Family::Theta, [1.1; 8]), Family::Combination);
        assert_eq!(served(Family::LastValue, by_chance), Family::LastValue);
        assert_eq!(served(Family::LastValue, [1.1; 8]), Family::Combination);
    }
}
