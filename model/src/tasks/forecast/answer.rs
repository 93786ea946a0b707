//! Forecasts with intervals: the model's own, or those of the rule for short histories.

use super::Artifact;
use super::conformal::{Asked, Calibration, Place, Spread, bounded};
use super::dataset::{FeatureValues, Series, View};
use super::fallback::Fallback;
use super::forecaster::{Forecaster, Path};
use super::statistics::{Observed, Seen};
use steppe_spec::Feature;

/// A forecast with its quantiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// One entry per step, nearest first.
    pub steps: Vec<PredictedStep>,
    /// The series' typical change, on the transformed scale.
    pub change: f64,
    /// Whether the history was too short for the model, so that the rule for such was applied.
    pub by_rule: bool,
}

/// One step of a forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictedStep {
    /// Point forecast, in units of the target.
    pub value: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
    /// The quantile to decide by; none where nothing is decided.
    pub procure: Option<f64>,
    /// What its quantiles are made from.
    pub spread: Spread,
}

impl Artifact {
    /// Whether a history is long enough for the model itself, or gets the rule for short ones.
    pub fn suits(&self, view: View<'_>) -> bool {
        view.len() >= self.model.min_history()
    }

    /// Observations that a history needs to get any forecast.
    pub fn min_history(&self) -> usize {
        if self.card.section.fallback.is_some() { 1 } else { self.model.min_history() }
    }

    /// Forecasts with intervals. Every view has at least [`Artifact::min_history`] values, and
    /// `horizon` is at most that of the spec.
    pub fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Prediction> {
        let long: Vec<View<'_>> = views.iter().copied().filter(|v| self.suits(*v)).collect();
        let mut of_long = self.by_model(&long, horizon).into_iter();
        let any = |view: &View<'_>| match (&self.card.section.fallback, self.suits(*view)) {
            (Some(rule), false) => self.by_rule(rule, *view, horizon),
            _ => of_long.next().expect("a forecast of each long history"),
        };
        views.iter().map(any).collect()
    }

    fn by_model(&self, views: &[View<'_>], horizon: usize) -> Vec<Prediction> {
        let calibration = &self.card.section.calibration;
        let prediction = |(view, path): (&View<'_>, Path)| {
            let change = calibration.change(*view);
            let places = calibration.places(*view, path.points.len(), &path.spreads);
            let transform = self.card.spec.model.transform;
            let step = |(&value, place): (&f64, &Place<'_>)| {
                let value = bounded(transform, place.reach, value);
                self.predicted(calibration, value, calibration.spread(value, place))
            };
            let steps = path.points.iter().zip(&places).map(step).collect();
            Prediction { steps, change, by_rule: false }
        };
        views.iter().zip(self.model.paths(views, horizon)).map(prediction).collect()
    }

    /// The forecast of a history that is too short for the model.
    fn by_rule(&self, rule: &Fallback, view: View<'_>, horizon: usize) -> Prediction {
        let calibration = rule.calibration();
        let steps = rule.forecast(view, horizon).into_iter();
        let steps = steps.map(|(value, spread)| self.predicted(calibration, value, spread));
        Prediction { steps: steps.collect(), change: calibration.change(view), by_rule: true }
    }

    fn predicted(&self, calibration: &Calibration, value: f64, spread: Spread) -> PredictedStep {
        let (lower, upper) = calibration.interval(&spread);
        let decision = Asked::by(&self.card.spec).decision;
        let procure = decision.map(|probability| calibration.at(probability, &spread));
        PredictedStep { value, lower, upper, procure, spread }
    }

    /// What the quantiles of a forecast come from: the model's errors, or those of the rule for
    /// short histories.
    pub fn calibration_of(&self, prediction: &Prediction) -> &Calibration {
        let rule = self.card.section.fallback.as_ref().filter(|_| prediction.by_rule);
        rule.map_or(&self.card.section.calibration, Fallback::calibration)
    }

    /// What is counted of a forecast, to find drift.
    pub fn observed(&self, history: &[f64], prediction: &Prediction) -> Option<Observed> {
        let nearest = prediction.steps.first()?;
        let (season, transform) =
            (self.card.spec.frequency().season(), self.card.spec.model.transform);
        let (value, interval) = (nearest.value, (nearest.lower, nearest.upper));
        Some(
            Seen { history, season, transform, change: prediction.change, value, interval }
                .statistics(),
        )
    }

    /// Forecasts a few plain histories over all steps; an artifact that gives no finite number, or
    /// no ordered interval, is of no use. It also brings weights into memory before the first
    /// request.
    pub(super) fn try_out(&self) -> Result<(), String> {
        let spec = &self.card.spec;
        let length = self.model.min_history().max(2);
        let series = |value: fn(usize) -> f64| {
            let mut series = Series::new("try-out", 0, (0..length).map(value).collect());
            let feature = |feature: &Feature| {
                let ahead = if feature.known.ahead() { spec.task.horizon } else { 0 };
                FeatureValues::new(feature.known, vec![0.0; length + ahead])
            };
            series.features = spec.task.features.iter().map(feature).collect();
            series.statics = vec![0.0; spec.task.static_features.len()];
            series.calendar = self.card.section.data.calendar.clone();
            series
        };
        let tried = [series(|_| 1.0), series(|_| 0.0), series(|t| 100.0 + (t % 7) as f64)];
        let views: Vec<View<'_>> = tried.iter().map(Series::view).collect();
        let usable = |step: &PredictedStep| {
            let finite = step.lower.is_finite() && step.value.is_finite() && step.upper.is_finite();
            let decided = step.procure.is_none_or(f64::is_finite);
            finite && decided && step.lower <= step.value && step.value <= step.upper
        };
        let predictions = self.forecast(&views, spec.task.horizon);
        let whole =
            |p: &Prediction| p.steps.len() == spec.task.horizon && p.steps.iter().all(usable);
        if predictions.iter().all(whole) {
            Ok(())
        } else {
            Err("its forecast of a plain series is no finite number".to_owned())
        }
    }
}
