//! How large the changes of a series are: the unit of its errors.

use serde::{Deserialize, Serialize};
use steppe_spec::{TrainSpec, Transform, Width};

/// Keeps constant series from an uncertainty of zero.
pub(super) const UNIT_MIN: f64 = 1e-4;
/// Weight of a change beside that of the next one (RiskMetrics Technical Document, 1996, for daily
/// returns).
const DECAY: f64 = 0.94;
/// Changes that a volatility is made of: what is older weighs nothing.
const CHANGES_MAX: usize = 300;

/// How large the changes of a series are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    scale: Transform,
    season: usize,
    #[serde(default, skip_serializing_if = "Width::is_of_changes")]
    width: Width,
}

impl Measure {
    /// Of changes against one season before, on a scale.
    pub fn new(scale: Transform, season: usize, width: Width) -> Self {
        Self { scale, season, width }
    }

    /// What a configuration asks for.
    pub fn by(spec: &TrainSpec) -> Self {
        let (scale, width) = (spec.model.transform, spec.backtest.interval_width);
        Self::new(scale, spec.frequency().season(), width)
    }

    /// The scale that changes are measured on.
    pub fn scale(&self) -> Transform {
        self.scale
    }

    /// How large the changes at the end of a history are.
    pub fn of(&self, history: &[f64]) -> f64 {
        match self.width {
            Width::Changes => typical_change(self.scale, self.season, history),
            Width::Volatility => volatility(self.scale, self.season, history),
        }
    }
}

/// Mean absolute change against one season before, on the transformed scale, over the newest part
/// of a history.
pub fn typical_change(transform: Transform, season: usize, history: &[f64]) -> f64 {
    let newest = history.len().saturating_sub((14 * season).max(60));
    let tail = transform.all(&history[newest..]);
    let changes = changes(&tail, season);
    let count = changes.len().max(1) as f64;
    (changes.map(f64::abs).sum::<f64>() / count).max(UNIT_MIN)
}

/// Root of the mean squared change against one season before, on the transformed scale, in which
/// each change weighs [`DECAY`] of the one after it.
fn volatility(transform: Transform, season: usize, history: &[f64]) -> f64 {
    let newest = history.len().saturating_sub(CHANGES_MAX + season);
    let (sum, weight) = changes(&transform.all(&history[newest..]), season)
        .fold((0.0, 0.0), |(sum, weight), change| {
            (DECAY * sum + change * change, DECAY * weight + 1.0)
        });
    if weight > 0.0 { (sum / weight).sqrt().max(UNIT_MIN) } else { UNIT_MIN }
}

/// Changes against one season before; of less than a season, from value to value.
fn changes(values: &[f64], season: usize) -> impl ExactSizeIterator<Item = f64> {
    let lag = if values.len() > season { season } else { 1 };
    values.iter().zip(values.iter().skip(lag)).map(|(before, after)| after - before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volatility_follows_the_newest_changes() {
        let measure = Measure::new(Transform::None, 1, Width::Volatility);
        let walk = |steps: &[(usize, f64)]| {
            let changes = steps.iter().flat_map(|(count, size)| vec![*size; *count]);
            let mut value = 0.0;
            let mut up = false;
            let mut next = |size: f64| {
                up = !up;
                value += if up { size } else { -size };
                value
            };
            [0.0].into_iter().chain(changes.map(&mut next)).collect::<Vec<f64>>()
        };
        assert!((measure.of(&walk(&[(500, 2.0)])) - 2.0).abs() < 1e-12);
        // After 60 changes, what was before weighs 0.94^60, a fortieth.
        let calm = measure.of(&walk(&[(200, 2.0), (60, 1.0)]));
        let expected = (1.0 + 3.0 * 0.94_f64.powi(60)).sqrt();
        assert!((calm - expected).abs() < 1e-4, "{calm} instead of {expected}");
        for nothing in [&[][..], &[7.0], &[7.0; 9]] {
            assert_eq!(measure.of(nothing), UNIT_MIN);
        }
    }

    #[test]
    fn a_season_is_no_volatility() {
        let of = |season| Measure::new(Transform::None, season, Width::Volatility);
        let weeks: Vec<f64> = (0..70).map(|day| f64::from(day % 7)).collect();
        assert_eq!(of(7).of(&weeks), UNIT_MIN);
        assert!(of(1).of(&weeks) > 1.0);
        // Less than a season has changes from value to value.
        assert_eq!(of(7).of(&[1.0, 3.0, 1.0]), 2.0);
    }
}
