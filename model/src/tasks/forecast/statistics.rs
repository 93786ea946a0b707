//! What drift counts of a forecast: four statistics of its history and of its nearest step.

use steppe_wire::drift::Side;

use steppe_spec::Transform;

/// What is counted, in the order of [`Observed`].
pub(super) const STATISTICS: [(&str, Side); 4] = [
    // The last value on the model's scale: units, and series that are new.
    ("level", Side::Input),
    // The change against one season before, in typical changes of the series.
    ("change", Side::Input),
    // The nearest forecast against one season before it, in typical changes of the series.
    ("forecast", Side::Output),
    // Logarithm of the interval's width, in typical changes of the series.
    ("width", Side::Output),
];

/// The statistics of one forecast.
pub type Observed = [f64; STATISTICS.len()];

/// A forecast as drift sees it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The values known, oldest first; at least one.
    pub history: &'a [f64],
    /// Periods of a season.
    pub season: usize,
    /// The scale on which the model works.
    pub transform: Transform,
    /// The series' typical change, on that scale.
    pub change: f64,
    /// The nearest step's forecast.
    pub value: f64,
    /// Its interval.
    pub interval: (f64, f64),
}

impl Seen<'_> {
    /// Its statistics.
    pub fn statistics(&self) -> Observed {
        let back = |seasons_before: usize| {
            self.history
                [self.history.len().saturating_sub(seasons_before).min(self.history.len() - 1)]
        };
        let on_scale = |value: f64| self.transform.apply(value);
        let last = on_scale(back(1));
        let width = (on_scale(self.interval.1) - on_scale(self.interval.0)).max(f64::MIN_POSITIVE);
        [
            last,
            (last - on_scale(back(1 + self.season))) / self.change,
            (on_scale(self.value) - on_scale(back(self.season))) / self.change,
            (width / self.change).ln(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_in_typical_changes() {
        let seen = Seen {
            history: &[10.0, 12.0, 11.0, 15.0],
            season: 2,
            transform: Transform::None,
            change: 2.0,
            value: 13.0,
            interval: (11.0, 15.0),
        };
        assert_eq!(seen.statistics(), [15.0, 1.5, 1.0, 2f64.ln()]);
        assert!(Seen { history: &[1.0], ..seen }.statistics().iter().all(|v| v.is_finite()));
    }
}
