//! What trees over all series learn from, whoever grows them: lags, levels, calendar, features and
//! static features of single steps, and the departure from the naive forecast. A feature that is
//! known ahead enters with its value of the period that is forecast, a past one with its newest
//! value at the origin.

use steppe_spec::{Frequency, TrainSpec};

use crate::error::TrainError;
use crate::forecast::dataset::{Dataset, View};
use crate::forecast::window::{Frame, NEWEST};
use crate::forecast::windows::Windows;

/// Departures beyond this many units are cut: squared errors must not follow a year like 2020.
const TARGET_MAX: f64 = 6.0;

/// Rows that trees are grown on.
pub struct Grown {
    /// Features and scales.
    pub frame: Frame,
    /// Features, row after row.
    pub features: Vec<f64>,
    /// What comes next, per row.
    pub targets: Vec<f64>,
}

/// Every step of every window, or a random choice of `rows_max` of them.
pub fn grown(data: &Dataset, spec: &TrainSpec, rows_max: usize) -> Result<Grown, TrainError> {
    let frame = Frame::fit(data, spec, context(data.frequency()));
    let windows = Windows::all(data, frame.min_history(), spec.task.horizon)?;
    let mut rng = fastrand::Rng::with_seed(spec.model.seed ^ 0x7ee5);
    let rows = (windows.len() * spec.task.horizon).min(rows_max.max(1));
    let all = rows == windows.len() * spec.task.horizon;
    let (mut features, mut targets) =
        (Vec::with_capacity(rows * frame.columns()), Vec::with_capacity(rows));
    for row in 0..rows {
        let (at, step) = if all {
            (row / spec.task.horizon, row % spec.task.horizon)
        } else {
            (rng.usize(..windows.len()), rng.usize(..spec.task.horizon))
        };
        let (view, future) = windows.get(at);
        let window = frame.window(view);
        frame.row(view, &window, &frame.transform().all(view.history()), step, &mut features);
        let target = window.relative(step, frame.transform().apply(future[step]));
        targets.push(target.clamp(-TARGET_MAX, TARGET_MAX));
    }
    Ok(Grown { frame, features, targets })
}

/// The forecasts of some series, where `answers` tells what trees answer about rows.
pub fn forecast(
    frame: &Frame,
    views: &[View<'_>],
    horizon: usize,
    answers: impl FnOnce(&[f64]) -> Vec<f64>,
) -> Vec<Vec<f64>> {
    let mut rows = Vec::with_capacity(views.len() * horizon * frame.columns());
    let window = |&view: &View<'_>| {
        let window = frame.window(view);
        let history = frame.transform().all(view.history());
        (0..horizon).for_each(|step| frame.row(view, &window, &history, step, &mut rows));
        window
    };
    let windows: Vec<_> = views.iter().map(window).collect();
    let answers = answers(&rows);
    let of_series = |(window, answers): (&crate::forecast::window::Window, &[f64])| {
        let value = |(step, answer): (usize, &f64)| {
            frame.transform().invert(window.absolute(step, *answer))
        };
        answers.iter().enumerate().map(value).collect()
    };
    windows.iter().zip(answers.chunks(horizon)).map(of_series).collect()
}

/// Observations whose typical change is a window's unit, and without which trees neither learn nor
/// forecast: the longest season once, and the newest values of a row. It follows from the frequency
/// alone, so no setting of another family changes the trees.
fn context(frequency: Frequency) -> usize {
    frequency.seasons().last().copied().unwrap_or(1) + NEWEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frequency_has_a_context_that_can_be_read_again() {
        for (frequency, expected) in [
            (Frequency::Yearly, 6),
            (Frequency::Quarterly, 9),
            (Frequency::Monthly, 17),
            (Frequency::Weekly, 57),
            (Frequency::Daily, 12),
            (Frequency::Hourly, 173),
            (Frequency::HalfHourly, 341),
        ] {
            assert_eq!(context(frequency), expected);
            assert!(expected <= steppe_spec::CONTEXT_MAX);
        }
    }
}
