//! The orders of models: a walk from a few simple ones to the best one near.

use std::collections::BTreeSet;

use super::differences::Differences;
use super::fit::{Fitted, Orders};

/// Coefficients of each kind, at most.
const ORDINARY_MAX: usize = 3;
const SEASONAL_MAX: usize = 1;
/// Coefficients of all kinds but the mean, at most.
const ALL_MAX: usize = 5;
/// Models whose criterion is larger than the least by more have next to no weight.
const FAR: f64 = 10.0;

/// The models that the walk came by, without those that are far from the best one.
pub fn models(differences: &Differences) -> Vec<Fitted> {
    let (mean, seasonal) = (differences.may_have_mean(), differences.season > 1);
    let mut search = Search::of(differences);
    search.consider(Orders { mean: false, ..Orders::default() });
    for (ar, ma) in [(0, 0), (1, 0), (0, 1), (2, 2)] {
        let of_season = |order: usize| if seasonal { order.min(SEASONAL_MAX) } else { 0 };
        let (seasonal_ar, seasonal_ma) = (of_season(ar), of_season(ma));
        search.consider(Orders { ar, ma, seasonal_ar, seasonal_ma, mean });
    }
    while let Some(best) = search.best().map(|best| best.orders) {
        neighbours(best, seasonal, mean).into_iter().for_each(|orders| search.consider(orders));
        if search.best().is_some_and(|found| found.orders == best) {
            break;
        }
    }
    let least = search.best().map_or(0.0, |best| best.criterion);
    let limit = least + FAR / differences.values.len() as f64;
    search.fitted.retain(|model| model.criterion <= limit);
    search.fitted
}

struct Search<'a> {
    differences: &'a Differences,
    seen: BTreeSet<Orders>,
    fitted: Vec<Fitted>,
    /// Place of the best one.
    best: usize,
}

impl<'a> Search<'a> {
    fn of(differences: &'a Differences) -> Self {
        Self { differences, seen: BTreeSet::new(), fitted: Vec::new(), best: 0 }
    }

    fn best(&self) -> Option<&Fitted> {
        self.fitted.get(self.best)
    }

    /// Fits a model that was not yet, beginning where the best one is.
    fn consider(&mut self, orders: Orders) {
        if !self.seen.insert(orders) {
            return;
        }
        let Differences { season, values, .. } = self.differences;
        let Some(fitted) = Fitted::new(values, *season, orders, self.best()) else { return };
        if self.best().is_some_and(|best| fitted.criterion < best.criterion) {
            self.best = self.fitted.len();
        }
        self.fitted.push(fitted);
    }
}

/// Orders that differ by one coefficient, or by one of values and one of errors.
fn neighbours(of: Orders, seasonal: bool, with_mean: bool) -> Vec<Orders> {
    let moved = |order: usize, by: isize| order.checked_add_signed(by);
    let ordinary = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)];
    let mut all: Vec<Orders> = Vec::new();
    for (by_ar, by_ma) in ordinary {
        if let (Some(ar), Some(ma)) = (moved(of.ar, by_ar), moved(of.ma, by_ma)) {
            all.push(Orders { ar, ma, ..of });
        }
        let seasonal_orders = (moved(of.seasonal_ar, by_ar), moved(of.seasonal_ma, by_ma));
        if let (true, (Some(seasonal_ar), Some(seasonal_ma))) = (seasonal, seasonal_orders) {
            all.push(Orders { seasonal_ar, seasonal_ma, ..of });
        }
    }
    if with_mean {
        all.push(Orders { mean: !of.mean, ..of });
    }
    all.retain(|o| {
        o.ar.max(o.ma) <= ORDINARY_MAX
            && o.seasonal_ar.max(o.seasonal_ma) <= SEASONAL_MAX
            && o.ar + o.ma + o.seasonal_ar + o.seasonal_ma <= ALL_MAX
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_ends_no_further_than_the_orders_that_made_the_values() {
        let mut rng = fastrand::Rng::with_seed(9);
        let mut noise = || (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
        let mut errors: Vec<f64> = (0..600).map(|_| noise()).collect();
        let moving: Vec<f64> = errors.windows(2).map(|e| e[1] + 0.7 * e[0]).collect();
        (2..errors.len()).for_each(|t| errors[t] += 0.5 * errors[t - 1] - 0.4 * errors[t - 2]);
        for (values, ar, ma) in [(moving, 0, 1), (errors, 2, 0)] {
            let differences = Differences::of(&values, 1);
            assert_eq!((differences.order, differences.seasonal), (0, false));
            let made = Orders { ar, ma, ..Orders::default() };
            let made = Fitted::new(&values, 1, made, None).expect("enough values");
            let all = models(&differences);
            let best = all.iter().min_by(|a, b| a.criterion.total_cmp(&b.criterion));
            let best = best.expect("a model");
            // Models whose criteria are less than 2 apart are alike.
            let apart = (best.criterion - made.criterion) * values.len() as f64;
            assert!(apart < 2.0, "{best:?} {made:?}");
        }
    }

    #[test]
    fn too_little_has_no_model() {
        assert!(models(&Differences::of(&[1.0, 2.0], 1)).is_empty());
    }
}
