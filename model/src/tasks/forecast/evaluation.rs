//! A backtest in full: every family per step and series, and every forecast beside what happened.

use serde::{Deserialize, Serialize};
use steppe_wire::predict::Errors;

use crate::error::TrainError;
use crate::forecast::Forecast;
use crate::forecast::backtest::{self, Entrant, Run};
use crate::forecast::card::DataSummary;
use crate::forecast::conformal::Asked;
use crate::forecast::dataset::{Dataset, Series};
use crate::forecast::decision::{Decision, decided};
use crate::forecast::leakage;
use crate::forecast::metrics::{IntervalOutcome, IntervalScores, interval_scores};
use crate::forecast::verdict::against_baselines;
use crate::host::Stage;
use crate::leaks;
use steppe_spec::{Family, TrainSpec};

/// Version of the report's schema.
pub const EVALUATION_SCHEMA_VERSION: u32 = 1;

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// [`EVALUATION_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the pipeline.
    pub pipeline: String,
    /// The data.
    pub data: DataSummary,
    /// The family that is, or would be, served.
    pub chosen: Family,
    /// Last periods known to the forecasts.
    pub origins: Vec<String>,
    /// Checks for leaks that were passed.
    pub checks: Vec<String>,
    /// Every family.
    pub families: Vec<FamilyReport>,
    /// Every series, with the forecasts of the chosen family.
    pub series: Vec<SeriesReport>,
}

/// One family on all cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FamilyReport {
    /// The family.
    pub family: Family,
    /// Errors over all steps.
    pub errors: Errors,
    /// Intervals, each calibrated on all other origins.
    pub intervals: IntervalScores,
    /// The same per step, nearest first.
    pub by_step: Vec<StepReport>,
    /// Wilcoxon's signed-rank test against the chosen family; see [`backtest::Candidate`].
    pub p_value: Option<f64>,
    /// What the quantile to decide by would have cost; none where nothing is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// One family on one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Steps ahead, from 1.
    pub step: usize,
    /// Errors.
    pub errors: Errors,
    /// Intervals.
    pub intervals: IntervalScores,
}

/// One series under the chosen family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesReport {
    /// Its name.
    pub series: String,
    /// Errors of the chosen family.
    pub errors: Errors,
    /// Its intervals.
    pub intervals: IntervalScores,
    /// MASE of every family, in the order of [`Evaluation::families`].
    pub mase: Vec<f64>,
    /// The observations, oldest first.
    pub history: Vec<Observation>,
    /// The forecasts beside what happened, oldest origin first.
    pub forecasts: Vec<ForecastReport>,
}

/// One observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Its period.
    pub period: String,
    /// Its value.
    pub value: f64,
}

/// One value that was forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastReport {
    /// The last period known.
    pub origin: String,
    /// Steps ahead, from 1.
    pub step: usize,
    /// The period that was forecast.
    pub period: String,
    /// Its place in the history.
    pub index: usize,
    /// What happened.
    pub actual: f64,
    /// What was forecast.
    pub value: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
    /// The quantile to decide by; none where nothing is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procure: Option<f64>,
}

/// Checks for leaks, then backtests every family.
pub fn evaluate(
    data: &Dataset,
    spec: &TrainSpec,
    stage: &Stage<'_>,
) -> Result<Evaluation, TrainError> {
    leakage::check_data(data, spec)?;
    let checked = leaks::check::<Forecast>(data, spec, &spec.families())?;
    let trials = backtest::run(data, spec, stage)?;
    let mut checks = vec![format!(
        "no forecast of {} families changes when the values after its origin do",
        checked.len()
    )];
    let ahead = spec.task.features.iter().filter(|feature| feature.known.ahead()).count();
    if ahead > 0 {
        checks.push(format!(
            "none of {ahead} features that are known ahead, nor a product or ratio of two, follows \
             the target"
        ));
    }
    Ok(report(&trials, spec, checks))
}

fn report(trials: &Run<'_>, spec: &TrainSpec, checks: Vec<String>) -> Evaluation {
    let chosen = trials.served();
    let Asked { level, decision, .. } = Asked::by(spec);
    // Of one family at a time: those of all are more than everything else.
    let intervals = |entrant: &Entrant| -> Vec<IntervalOutcome> {
        (0..trials.cases.len()).map(trials.intervals(entrant)).collect()
    };
    let scores = |outcomes: &[IntervalOutcome], keep: &dyn Fn(usize) -> bool| {
        interval_scores(
            level,
            outcomes.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, o)| o.clone()),
        )
    };
    let family = |entrant: &Entrant| {
        let outcomes = &intervals(entrant);
        let step = |step: usize| {
            let at = |i: usize| trials.cases[i].step == step;
            let errors = trials.errors_of(entrant, |case| case.step == step)?;
            Some(StepReport { step: step + 1, errors, intervals: scores(outcomes, &at)? })
        };
        Some(FamilyReport {
            family: entrant.family,
            errors: trials.errors_of(entrant, |_| true)?,
            intervals: scores(outcomes, &|_| true)?,
            by_step: (0..spec.task.horizon).filter_map(step).collect(),
            p_value: if entrant.family == chosen.family {
                None
            } else {
                trials.p_value(entrant, chosen)
            },
            decision: decision.and_then(|probability| {
                let beside_points = outcomes.iter().cloned().zip(entrant.points.iter().copied());
                Decision::of(probability, beside_points)
            }),
        })
    };
    let chosen_outcomes = intervals(chosen);
    let (data, calendar) = (trials.data(), trials.data().calendar());
    let series = |(series, cases): (&Series, &Vec<usize>)| {
        let mase = |e: &Entrant| trials.errors_at(e, cases).map_or(f64::NAN, |e| e.mase);
        let forecast = |&i: &usize| {
            let (case, outcome) = (&trials.cases[i], &chosen_outcomes[i]);
            let (origin, period) = (trials.origins[case.origin], trials.target(case));
            ForecastReport {
                origin: calendar.label(origin),
                step: case.step + 1,
                period: calendar.label(period),
                index: (period - series.start) as usize,
                actual: case.actual,
                value: chosen.points[i],
                lower: outcome.lower,
                upper: outcome.upper,
                procure: decision.and_then(|probability| decided(probability, outcome)),
            }
        };
        let observation =
            |(period, &value): (i64, &f64)| Observation { period: calendar.label(period), value };
        Some(SeriesReport {
            series: series.name.clone(),
            errors: trials.errors_at(chosen, cases)?,
            intervals: interval_scores(level, cases.iter().map(|&i| chosen_outcomes[i].clone()))?,
            mase: trials.entrants.iter().map(mase).collect(),
            history: (series.start..).zip(&series.values).map(observation).collect(),
            forecasts: cases.iter().map(forecast).collect(),
        })
    };
    Evaluation {
        schema_version: EVALUATION_SCHEMA_VERSION,
        pipeline: spec.pipeline.clone(),
        data: DataSummary::of(data),
        chosen: chosen.family,
        origins: trials.origins.iter().map(|&o| calendar.label(o)).collect(),
        checks,
        families: trials.entrants.iter().filter_map(family).collect(),
        series: data.series().iter().zip(&trials.cases_by_series()).filter_map(series).collect(),
    }
}

impl Evaluation {
    /// The report of the chosen family.
    pub fn chosen(&self) -> Option<&FamilyReport> {
        self.families.iter().find(|f| f.family == self.chosen)
    }

    /// What it says of the chosen family beside the baselines.
    pub fn verdict(&self) -> Option<String> {
        let compared = self.families.iter().map(|f| (f.family, f.errors.mase, f.p_value));
        against_baselines(self.chosen, &compared.collect::<Vec<_>>())
    }

    /// Decimals of errors in units of the target: one more than the values have, and at least two.
    pub fn error_decimals(&self) -> usize {
        (self.data.decimals + 1).max(2)
    }

    /// The report as a page of text: every family, the chosen one per step, and the series it finds
    /// hardest.
    pub fn to_text(&self) -> String {
        let decimals = self.error_decimals();
        let mut text = format!(
            "{}: {} series, {} to {}, origins {} to {}\n\n{:<24}{:>10}{:>10}{:>10}{:>8}{:>8}{:>9}{:>8}{:>8}\n",
            self.pipeline,
            self.data.series,
            self.data.first,
            self.data.last,
            self.origins.first().map_or("", String::as_str),
            self.origins.last().map_or("", String::as_str),
            "family",
            "MAE",
            "RMSE",
            "sMAPE %",
            "MASE",
            "MSIS",
            "inside %",
            "CRPS",
            "p",
        );
        for f in &self.families {
            let mark = if f.family == self.chosen { "→ " } else { "  " };
            let p = f.p_value.map_or_else(String::new, |p| format!("{p:.3}"));
            text += &format!(
                "{mark}{:<22}{}{p:>8}\n",
                f.family.name(),
                numbers(&f.errors, &f.intervals, decimals)
            );
        }
        if let Some(verdict) = self.verdict() {
            text += &format!("\n{verdict}\n");
        }
        if let Some(decision) = self.chosen().and_then(|chosen| chosen.decision) {
            text += &decision.to_text(decimals);
        }
        let header = format!(
            "{:>10}{:>10}{:>10}{:>8}{:>8}{:>9}{:>8}\n",
            "MAE", "RMSE", "sMAPE %", "MASE", "MSIS", "inside %", "CRPS"
        );
        text += &format!("\n{:<24}{header}", format!("{}, per step", self.chosen.name()));
        for step in self.chosen().into_iter().flat_map(|c| &c.by_step) {
            text += &format!(
                "  {:<22}{}\n",
                step.step,
                numbers(&step.errors, &step.intervals, decimals)
            );
        }
        let mut hardest: Vec<&SeriesReport> = self.series.iter().collect();
        hardest.sort_by(|a, b| b.errors.mase.total_cmp(&a.errors.mase));
        text += &format!("\n{:<24}{header}", "hardest series");
        for series in hardest.iter().take(SERIES_PRINTED) {
            let name: String = series.series.chars().take(22).collect();
            text +=
                &format!("  {name:<22}{}\n", numbers(&series.errors, &series.intervals, decimals));
        }
        if self.series.len() > SERIES_PRINTED {
            text += &format!("  … {} more in the report\n", self.series.len() - SERIES_PRINTED);
        }
        text += "\nchecked for leaks:\n";
        self.checks.iter().for_each(|check| text += &format!("  {check}\n"));
        text
    }
}

/// Series that are printed.
const SERIES_PRINTED: usize = 10;

/// Errors and scores in columns; errors in units of the target have `decimals`.
fn numbers(e: &Errors, i: &IntervalScores, decimals: usize) -> String {
    format!(
        "{:>10.decimals$}{:>10.decimals$}{:>10.2}{:>8.3}{:>8.2}{:>9.1}{:>8.3}",
        e.mae,
        e.rmse,
        e.smape,
        e.mase,
        i.msis,
        i.coverage * 100.0,
        i.crps
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Quiet;
    use crate::training_key::tests::spec;
    use steppe_spec::Kind;

    #[test]
    fn every_forecast_is_beside_what_happened() {
        let value = |s: i64, t: i64| {
            100.0 * (s + 1) as f64 * 1.03f64.powi(t as i32) + f64::from((t * 7 % 5) as i32)
        };
        let series =
            |s: i64| Series::new(format!("s{s}"), 2000, (0..16).map(|t| value(s, t)).collect());
        let data = Dataset::new(steppe_spec::Frequency::Yearly, (0..8).map(series).collect());
        let report = evaluate(&data, &spec(), &Stage::new(&Quiet)).expect("evaluates");
        assert_eq!(
            (report.chosen, report.families.len(), report.series.len()),
            (Family::Lstm, 4, 8)
        );
        assert_eq!(report.series[0].forecasts.len(), 3 * 2);
        for forecast in report.series.iter().flat_map(|s| s.forecasts.iter().map(move |f| (s, f))) {
            let (series, forecast) = forecast;
            assert_eq!(
                (&series.history[forecast.index].period, series.history[forecast.index].value),
                (&forecast.period, forecast.actual)
            );
            assert!(forecast.lower <= forecast.value && forecast.value <= forecast.upper);
        }
        assert!(report.families.iter().any(|f| f.p_value.is_some()));
        assert!(report.to_text().contains("hardest series"));
        assert!(report.chosen().is_some_and(|c| c.by_step.len() == 2));
    }
    #[test]
    fn of_few_series_origins_are_compared() {
        let value = |t: i64| 100.0 + 3.0 * t as f64 + f64::from((t * 7 % 5) as i32);
        let series = Series::new("s".to_owned(), 1900, (0..60).map(value).collect());
        let data = Dataset::new(steppe_spec::Frequency::Yearly, vec![series]);
        let p_of = |origins: usize| {
            let spec = spec().with(|s| {
                s.model.kind = Kind::Of(Family::Drift);
                s.backtest.origins = origins;
            });
            let report = evaluate(&data, &spec, &Stage::new(&Quiet)).expect("evaluates");
            let last = report.families.iter().find(|f| f.family == Family::LastValue);
            last.and_then(|f| f.p_value)
        };
        // Two steps ahead at every origin: each second one is about other periods.
        assert_eq!(p_of(10), None, "five that do not overlap say nothing");
        assert!(p_of(24).is_some_and(|p| p < 0.01), "a line is no last value");
    }
}
