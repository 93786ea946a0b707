//! Sequence numbers: 56 digits that order the records of a shard, and from which a record is found
//! again without an index.
//!
//! `496`, ten digits of the second in which the shard was made, twenty of the position in the
//! shard's log, thirteen of the millisecond of arrival, ten of the shard's number.

/// How all begin.
const HEAD: &str = "496";
/// Digits of one.
const DIGITS: usize = 56;
/// The largest arrival that fits, which no record has.
const LATEST_MILLIS: i64 = 9_999_999_999_999;

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// Second in which the shard was made.
    pub made_secs: i64,
    /// Position in the shard's log.
    pub position: u64,
    /// Millisecond of arrival.
    pub millis: i64,
    /// The shard's number.
    pub shard: u32,
}

impl Sequence {
    /// What comes before all records of a shard.
    pub fn first(made_secs: i64, shard: u32) -> Self {
        Self { made_secs, position: 0, millis: 0, shard }
    }

    /// What comes after all records of a shard that ended at `position`.
    pub fn last(made_secs: i64, shard: u32, position: u64) -> Self {
        Self { made_secs, position, millis: LATEST_MILLIS, shard }
    }

    /// Whether it stands for a record, and not for a shard's begin or end.
    pub fn is_record(&self) -> bool {
        (1..LATEST_MILLIS).contains(&self.millis)
    }

    /// Its digits.
    pub fn digits(&self) -> String {
        let (made, millis) = (self.made_secs.max(0), self.millis.max(0));
        format!("{HEAD}{made:010}{:020}{millis:013}{:010}", self.position, self.shard)
    }

    /// Reads digits.
    pub fn parse(digits: &str) -> Option<Self> {
        let rest = digits.strip_prefix(HEAD).filter(|_| digits.len() == DIGITS)?;
        if !rest.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            made_secs: rest[..10].parse().ok()?,
            position: rest[10..30].parse().ok()?,
            millis: rest[30..43].parse().ok()?,
            shard: rest[43..].parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_order_and_come_back() {
        let record =
            |position, millis| Sequence { made_secs: 1_700_000_000, position, millis, shard: 3 };
        let all = [
            Sequence::first(1_700_000_000, 3),
            record(0, 1_700_000_001_000),
            record(90, 1_700_000_001_000),
            record(1_000, 1_700_000_001_001),
            Sequence::last(1_700_000_000, 3, 1_000),
        ];
        let digits: Vec<String> = all.iter().map(Sequence::digits).collect();
        assert!(digits.is_sorted());
        assert!(digits.iter().all(|one| one.len() == DIGITS));
        assert!(digits.iter().map(|one| Sequence::parse(one)).eq(all.map(Some)));
        assert_eq!(all.map(|one| one.is_record()), [false, true, true, true, false]);
        for wrong in ["", "1", "49600", &"4".repeat(56), &format!("496{}x", "0".repeat(52))] {
            assert_eq!(Sequence::parse(wrong), None);
        }
    }
}
