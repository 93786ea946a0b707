//! Periods without a value: what fills them, and what becomes of longer gaps.

/// What a missing value becomes: from the known values before and after it.
pub type Fill = fn(before: (i64, f64), after: (i64, f64), at: i64) -> f64;

/// The value before: all that was known then.
pub fn carried(before: (i64, f64), _after: (i64, f64), _at: i64) -> f64 {
    before.1
}

/// Observed values with their periods, ascending, as one value per period; also the places of
/// those that were filled.
pub(super) fn filled(observed: &[(i64, f64)], fill: Fill) -> (Vec<f64>, Vec<usize>) {
    let (mut values, mut places) = (Vec::with_capacity(observed.len()), Vec::new());
    let mut before: Option<(i64, f64)> = None;
    for &after in observed {
        if let Some(before) = before {
            for at in before.0 + 1..after.0 {
                places.push(values.len());
                values.push(fill(before, after, at));
            }
        }
        values.push(after.1);
        before = Some(after);
    }
    (values, places)
}

/// A gap that is longer than those that are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// The first period without a value.
    pub from: i64,
    /// How many there are.
    pub missing: usize,
}

/// The newest gap with more than `fill` missing periods, which are those that are filled.
pub(super) fn newest(observed: &[(i64, f64)], fill: usize) -> Option<Gap> {
    let gap = |pair: &[(i64, f64)]| {
        let (from, missing) = (pair[0].0 + 1, (pair[1].0 - pair[0].0 - 1) as usize);
        (missing > fill).then_some(Gap { from, missing })
    };
    observed.windows(2).rev().find_map(gap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_filled_by_what_was_known_before_it() {
        let (values, places) = filled(&[(0, 1.0), (3, 4.0), (4, 5.0)], carried);
        assert_eq!((values, places), (vec![1.0, 1.0, 1.0, 4.0, 5.0], vec![1, 2]));
        assert_eq!(filled(&[], carried), (vec![], vec![]));
    }

    #[test]
    fn the_newest_long_gap_is_found() {
        let observed = [(0, 1.0), (5, 1.0), (7, 1.0), (10, 1.0), (12, 1.0)];
        assert_eq!(newest(&observed, 1), Some(Gap { from: 8, missing: 2 }));
        assert_eq!(newest(&observed[3..], 1), None);
    }
}
