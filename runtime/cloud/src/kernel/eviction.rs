//! Which records of ended work are forgotten: those that are older than AWS keeps them, and the
//! oldest of more than this cloud keeps.

use jiff::{SignedDuration, Timestamp};

/// How much ended work is remembered, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// Records.
    pub count_max: usize,
    /// Days since the end.
    pub days: i64,
}

impl Kept {
    /// Whether what ended then is older than it may be.
    pub fn is_over(&self, end: Timestamp, now: Timestamp) -> bool {
        now.duration_since(end) > SignedDuration::from_hours(24 * self.days)
    }

    /// The names of those that go, out of the ends of all and their names, so that one more fits.
    pub fn surplus(&self, mut ended: Vec<(Timestamp, String)>, now: Timestamp) -> Vec<String> {
        ended.sort_unstable_by(|one, other| other.cmp(one));
        let young = ended.partition_point(|(end, _)| !self.is_over(*end, now));
        let first = young.min(self.count_max.saturating_sub(1));
        ended.drain(first..).map(|(_, name)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_they_are_too_many_or_too_old() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a time");
        let ended = |days: &[i64]| -> Vec<(Timestamp, String)> {
            days.iter()
                .map(|d| (now - SignedDuration::from_hours(24 * d), format!("{d} days")))
                .collect()
        };
        let kept = Kept { count_max: 4, days: 90 };
        assert!(kept.surplus(ended(&[]), now).is_empty());
        assert!(kept.surplus(ended(&[3, 1, 90]), now).is_empty());
        assert_eq!(kept.surplus(ended(&[5, 3, 1, 4]), now), ["5 days"]);
        assert_eq!(kept.surplus(ended(&[5, 3, 1, 4, 2]), now), ["4 days", "5 days"]);
        assert_eq!(kept.surplus(ended(&[91, 1, 200]), now), ["91 days", "200 days"]);
    }
}
