//! Rates of a shard: how much of something it takes in a second. Pure.

/// What is left of a rate: it fills up again evenly, by the cloud's clock.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    per_second: f64,
    left: f64,
    at_millis: i64,
}

impl Rate {
    /// A rate that nothing has been taken of.
    pub fn new(per_second: f64) -> Self {
        Self { per_second, left: per_second, at_millis: i64::MIN }
    }

    fn fill(&mut self, now_millis: i64) {
        let passed = now_millis.saturating_sub(self.at_millis).max(0) as f64 / 1000.0;
        self.left = (self.left + passed * self.per_second).min(self.per_second);
        self.at_millis = self.at_millis.max(now_millis);
    }

    /// Whether that much is left.
    pub fn has(&mut self, amount: f64, now_millis: i64) -> bool {
        self.fill(now_millis);
        self.left >= amount
    }

    /// Takes that much, also when less is left, which whoever comes next waits for.
    pub fn take(&mut self, amount: f64) {
        self.left -= amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_used_up_and_fills_again() {
        let mut rate = Rate::new(5.0);
        for _ in 0..5 {
            assert!(rate.has(1.0, 1_000));
            rate.take(1.0);
        }
        assert!(!rate.has(1.0, 1_100));
        assert!(rate.has(1.0, 1_200));
        rate.take(11.0);
        assert!(!rate.has(1.0, 3_100));
        assert!(rate.has(1.0, 3_500));
        assert!(!rate.has(1.6, 3_500));
    }
}
