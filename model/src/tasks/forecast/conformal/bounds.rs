//! How far forecasts and their intervals may go from what was ever seen.

use steppe_spec::Transform;

/// How many times the largest value of a history, or its forecast, an interval may reach.
const REACH: f64 = 4.0;
/// How many times the largest value of a history a forecast may reach, and an interval with it.
const REACH_MAX: f64 = 10.0;

/// How far a history goes: its largest value on the scale of relative changes, its range
/// otherwise.
pub fn reach(transform: Transform, history: &[f64]) -> f64 {
    let largest = history.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = history.iter().copied().fold(f64::INFINITY, f64::min);
    match transform {
        _ if history.is_empty() => 0.0,
        Transform::Log => transform.apply(largest),
        Transform::None => largest - smallest,
    }
}

/// A point forecast, at most [`REACH_MAX`] times the largest value of its history, where values are
/// relative: models run away, and what they say then is no forecast. What is no finite number stays
/// none, so that whoever looks for such finds it.
pub fn bounded(transform: Transform, reach: f64, point: f64) -> f64 {
    match transform {
        Transform::Log if point.is_finite() => point.min(transform.invert(reach + REACH_MAX.ln())),
        Transform::Log | Transform::None => point,
    }
}

/// Beyond what an interval never goes, transformed: [`REACH`] times what was ever seen or is
/// forecast, and [`REACH_MAX`] times what was ever seen.
pub(super) fn limits(transform: Transform, point: f64, reach: f64, unit: f64) -> (f64, f64) {
    match transform {
        Transform::Log => {
            let most = (reach + REACH_MAX.ln()).max(point);
            (f64::NEG_INFINITY, (reach.max(point) + REACH.ln()).min(most))
        }
        Transform::None => {
            let reach = REACH * reach.max(unit);
            (point - reach, point + reach)
        }
    }
}
