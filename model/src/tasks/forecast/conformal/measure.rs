//! How large the changes of a series are: the unit of its errors.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use steppe_spec::{TrainSpec, Transform, Width};

/// Keeps constant series from an uncertainty of zero.
pub(super) const UNIT_MIN: f64 = 1e-4;
/// Weight of a change beside that of the next one (RiskMetrics Technical Document, 1996, for daily
/// returns).
const DECAY: f64 = 0.94;
/// Changes that a volatility is made of: what is older weighs nothing.
const CHANGES_MAX: usize = 300;
/// Seasons that are a day of hours or half hours: nights are calmer than days, whatever the series.
const DAYS: RangeInclusive<usize> = 24..=48;
/// Weight of the typical change beside the changes of one time of day.
const DAY_PULL: f64 = 20.0;
/// Periods before and after one whose changes say something about it, too.
const AROUND: usize = 3;

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

    /// How large they are in each of the `horizon` periods after it: of hours and half hours, those
    /// at the same time of earlier days, drawn towards all.
    pub fn ahead(&self, history: &[f64], horizon: usize) -> Vec<f64> {
        let (all, season) = (self.of(history), self.season);
        let changing = self.width == Width::Changes && DAYS.contains(&season);
        if !changing || history.len() <= season {
            return vec![all; horizon];
        }
        let tail = newest(self.scale, season, history);
        let mut by_phase = vec![(0.0, 0.0); season];
        for (at, change) in changes(&tail, season).enumerate() {
            let (sum, count) = &mut by_phase[at % season];
            (*sum, *count) = (*sum + change.abs(), *count + 1.0);
        }
        let of_phase = |phase: usize| {
            let (mut sum, mut weight) = (DAY_PULL * all, DAY_PULL);
            for shift in 0..=2 * AROUND {
                let share = 1.0 / (1 + shift.abs_diff(AROUND)) as f64;
                let (of, count) = by_phase[(phase + season + shift - AROUND) % season];
                (sum, weight) = (sum + share * of, weight + share * count);
            }
            sum / weight
        };
        (0..horizon).map(|step| of_phase((tail.len() + step) % season)).collect()
    }
}

/// Mean absolute change against one season before, on the transformed scale, over the newest part
/// of a history.
pub fn typical_change(transform: Transform, season: usize, history: &[f64]) -> f64 {
    let tail = newest(transform, season, history);
    let changes = changes(&tail, season);
    let count = changes.len().max(1) as f64;
    (changes.map(f64::abs).sum::<f64>() / count).max(UNIT_MIN)
}

/// The part of a history that tells how large its changes are, transformed.
fn newest(transform: Transform, season: usize, history: &[f64]) -> Vec<f64> {
    let newest = history.len().saturating_sub((14 * season).max(60));
    transform.all(&history[newest..])
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
    fn hours_that_change_more_have_wider_units() {
        let of = |season, width| Measure::new(Transform::None, season, width);
        // Nights stand still, days go up and down by 2.
        let value = |hour: usize| {
            let (day, hour) = (hour / 24, hour % 24);
            if hour < 12 { 10.0 } else { 30.0 + if day % 2 == 0 { 2.0 } else { 0.0 } }
        };
        let history: Vec<f64> = (0..24 * 10).map(value).collect();
        let ahead = of(24, Width::Changes).ahead(&history, 30);
        assert_eq!(ahead[..6], ahead[24..]);
        let (night, day) = (ahead[6], ahead[18]);
        // 9 changes of each hour and of those around it, beside 20 typical ones of 1.
        let near = 9.0 * (1.0 + 2.0 * (1.0 / 2.0 + 1.0 / 3.0 + 1.0 / 4.0));
        assert!((night - 20.0 / (20.0 + near)).abs() < 1e-12, "{night}");
        assert!((day - (20.0 + 2.0 * near) / (20.0 + near)).abs() < 1e-12, "{day}");
        for (season, width) in [(7, Width::Changes), (52, Width::Changes), (24, Width::Volatility)]
        {
            let measure = of(season, width);
            assert_eq!(measure.ahead(&history, 3), [measure.of(&history); 3]);
        }
        assert_eq!(of(24, Width::Changes).ahead(&[1.0, 3.0], 2), [2.0; 2]);
        assert_eq!(of(24, Width::Changes).ahead(&[], 1), [UNIT_MIN]);
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
