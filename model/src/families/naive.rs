//! The rules that every model must be compared with.

use crate::forecast::dataset::View;
use steppe_spec::Transform;

use crate::forecast::{Forecaster, Local};
use crate::spec::TrainSpec;

/// The last value, for every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastValue;

/// The last value plus the mean change of the history, per step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Keeps forecasts of counts from falling below zero.
    pub transform: Transform,
}

/// The mean of the last values, for every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// How many values.
    pub of: usize,
}

/// The value one season before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeasonalNaive {
    /// Length of the season.
    pub season: usize,
}

impl Local for LastValue {
    const QUICK: bool = true;

    fn new(_: &TrainSpec) -> Self {
        Self
    }
}

impl Forecaster for LastValue {
    fn min_history(&self) -> usize {
        1
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        views.iter().map(|v| vec![v.history()[v.len() - 1]; horizon]).collect()
    }
}

impl Local for Drift {
    const QUICK: bool = true;

    fn new(spec: &TrainSpec) -> Self {
        Self { transform: spec.transform }
    }
}

impl Forecaster for Drift {
    fn min_history(&self) -> usize {
        2
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        let one = |view: &View<'_>| {
            let history = view.history();
            let (first, last) = (history[0], history[history.len() - 1]);
            let change = (last - first) / (history.len() - 1) as f64;
            (1..=horizon).map(|step| self.transform.bound(last + step as f64 * change)).collect()
        };
        views.iter().map(one).collect()
    }
}

impl Local for Mean {
    const QUICK: bool = true;

    fn new(_: &TrainSpec) -> Self {
        Self { of: 3 }
    }
}

impl Forecaster for Mean {
    fn min_history(&self) -> usize {
        1
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        let one = |view: &View<'_>| {
            let tail = &view.history()[view.len().saturating_sub(self.of)..];
            vec![tail.iter().sum::<f64>() / tail.len() as f64; horizon]
        };
        views.iter().map(one).collect()
    }
}

impl Local for SeasonalNaive {
    const QUICK: bool = true;

    fn new(spec: &TrainSpec) -> Self {
        Self { season: spec.frequency.season() }
    }
}

impl Forecaster for SeasonalNaive {
    fn min_history(&self) -> usize {
        self.season
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        views.iter().map(|v| seasonal_naive(v.history(), self.season, horizon)).collect()
    }
}

/// The last season, repeated; the last value where the history is shorter than a season.
pub fn seasonal_naive(history: &[f64], season: usize, horizon: usize) -> Vec<f64> {
    let season = if history.len() < season { 1 } else { season };
    let last = &history[history.len() - season..];
    (0..horizon).map(|step| last[step % season]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::dataset::Series;

    #[test]
    fn rules_match_hand_computed_values() {
        let series = Series::new("A", 2000, vec![10.0, 12.0, 14.0, 22.0]);
        let forecast =
            |rule: &dyn Forecaster, horizon| rule.forecast(&[series.view()], horizon).remove(0);
        assert_eq!(forecast(&LastValue, 2), [22.0, 22.0]);
        assert_eq!(forecast(&Drift { transform: Transform::Log }, 2), [26.0, 30.0]);
        assert_eq!(forecast(&Mean { of: 3 }, 1), [16.0]);
        assert_eq!(forecast(&SeasonalNaive { season: 3 }, 4), [12.0, 14.0, 22.0, 12.0]);
        assert_eq!(seasonal_naive(&[5.0], 12, 1), [5.0]);
    }
}
