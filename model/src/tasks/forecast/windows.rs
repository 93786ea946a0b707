//! Training windows of a data set, by number: each is a history and the values after it.
//!
//! Windows are built when they are needed: memory is a few bytes per window.

use crate::error::TrainError;

use super::dataset::{Dataset, View};

/// Windows of all series that are long enough, by number.
#[derive(Debug)]
pub struct Windows<'a> {
    data: &'a Dataset,
    horizon: usize,
    /// Per series the number of its first window, and the length of that window's history.
    starts: Vec<(usize, usize, usize)>,
    /// Per [`HINTED`] windows the place in `starts` of the first of them: windows are asked for in
    /// any order, and a search among all series would be most of the work.
    hints: Vec<u32>,
    len: usize,
}

/// Windows that share a hint.
const HINTED: usize = 16;

impl<'a> Windows<'a> {
    /// Every window with at least `min_history` values and `horizon` values after it.
    pub fn all(data: &'a Dataset, min_history: usize, horizon: usize) -> Result<Self, TrainError> {
        Self::choose(data, min_history, horizon, |length| {
            (min_history, length.saturating_sub(horizon))
        })
    }

    /// Those whose targets end before the newest `horizon` values.
    pub fn early(
        data: &'a Dataset,
        min_history: usize,
        horizon: usize,
    ) -> Result<Self, TrainError> {
        Self::choose(data, min_history, 2 * horizon, |length| {
            (min_history, length.saturating_sub(2 * horizon))
        })
        .map(|w| Self { horizon, ..w })
    }

    /// The last one of every series: its targets are the newest `horizon` values.
    pub fn newest(
        data: &'a Dataset,
        min_history: usize,
        horizon: usize,
    ) -> Result<Self, TrainError> {
        Self::choose(data, min_history, horizon, |length| {
            let last = length.saturating_sub(horizon);
            (last.max(min_history), last)
        })
    }

    fn choose(
        data: &'a Dataset,
        min_history: usize,
        horizon: usize,
        histories: impl Fn(usize) -> (usize, usize),
    ) -> Result<Self, TrainError> {
        let (mut starts, mut len) = (Vec::new(), 0);
        for (index, series) in data.series().iter().enumerate() {
            let (shortest, longest) = histories(series.values.len());
            if longest >= shortest {
                starts.push((len, index, shortest));
                len += longest - shortest + 1;
            }
        }
        if len == 0 {
            let longest = data.series().iter().max_by_key(|s| s.values.len());
            let (series, length) =
                longest.map_or((String::new(), 0), |s| (s.name.clone(), s.values.len()));
            return Err(TrainError::TooShort { series, length, needed: min_history + horizon });
        }
        let mut hints = Vec::with_capacity(len.div_ceil(HINTED));
        for (place, (first, ..)) in starts.iter().enumerate() {
            let end = starts.get(place + 1).map_or(len, |(next, ..)| *next);
            hints.extend((*first..end).filter(|i| i % HINTED == 0).map(|_| place as u32));
        }
        Ok(Self { data, horizon, starts, hints, len })
    }

    /// Number of windows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none; construction refuses that.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The window with number `index`, and the `horizon` values after it.
    pub fn get(&self, index: usize) -> (View<'a>, &'a [f64]) {
        let hint = self.hints[index / HINTED] as usize;
        let later =
            self.starts[hint + 1..].iter().take_while(|(first, ..)| *first <= index).count();
        let (first, series, shortest) = self.starts[hint + later];
        let series = &self.data.series()[series];
        let known = shortest + index - first;
        (series.until(series.start + known as i64 - 1), &series.values[known..known + self.horizon])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::dataset::Series;
    use steppe_spec::Frequency;

    #[test]
    fn windows_are_numbered_by_series_and_then_by_time() {
        let series = |s: usize| {
            let value = |t: usize| (100 * s + t) as f64;
            Series::new(format!("s{s:02}"), 2000, (0..3 + s * s % 37).map(value).collect())
        };
        let data = Dataset::new(Frequency::Yearly, (0..40).map(series).collect());
        let windows = Windows::all(&data, 5, 2).expect("long enough");
        let mut number = 0;
        for series in data.series() {
            for known in 5..(series.values.len() + 1).saturating_sub(2) {
                let (view, future) = windows.get(number);
                let (history, ahead) = series.values.split_at(known);
                assert_eq!((view.history(), future), (history, &ahead[..2]));
                number += 1;
            }
        }
        assert_eq!(number, windows.len());
    }

    #[test]
    fn validation_targets_are_never_trained_on() {
        let series =
            |s: usize| Series::new(format!("s{s:02}"), 2000, (0..40).map(f64::from).collect());
        let data = Dataset::new(Frequency::Yearly, (0..12).map(series).collect());
        let horizon = 2;
        let (early, newest) = (
            Windows::early(&data, 5, horizon).expect("early"),
            Windows::newest(&data, 5, horizon).expect("newest"),
        );
        let last_trained =
            (0..early.len()).map(|i| early.get(i).0.len() + horizon).max().expect("windows");
        let first_validated =
            (0..newest.len()).map(|i| newest.get(i).0.len() + 1).min().expect("windows");
        assert!(last_trained < first_validated, "{last_trained} {first_validated}");
        assert_eq!(newest.len(), data.series().len());
    }
}
