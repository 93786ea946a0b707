//! Errors taken apart into the shock that an origin has for all series, and the rest.

use std::collections::BTreeMap;

use super::student;
use crate::stats::conformal_quantile;

/// Independent origins from which on quantiles are taken of the whole error.
const MANY_ORIGINS: f64 = 60.0;
/// Independent origins below which both sides are of one size: three years that all rose say
/// nothing about how far a fourth may fall.
const SIDES_ORIGINS: f64 = 20.0;

/// Standardised errors, taken apart into shocks of origins and the rest.
pub(super) struct Parts {
    /// Spread of the shocks.
    shock: f64,
    /// Independent origins that it rests on.
    origins: f64,
    /// What the quantile is taken of, ascending, and the same with the other sign.
    rest: [Vec<f64>; 2],
}

impl Parts {
    pub fn of(errors: &[(usize, f64)], apart: f64) -> Self {
        let mut by_origin: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        errors.iter().for_each(|(origin, e)| by_origin.entry(*origin).or_default().push(*e));
        let origins = 1.0 + (by_origin.len().saturating_sub(1)) as f64 * apart;
        if origins >= MANY_ORIGINS {
            return Self { shock: 0.0, origins, rest: both(errors.iter().map(|e| e.1).collect()) };
        }
        let (mut squares, mut noise, mut rest) = (0.0, 0.0, Vec::with_capacity(errors.len()));
        for errors in by_origin.values() {
            let n = errors.len() as f64;
            let shock = middle(errors.clone());
            squares += shock * shock;
            if n < 2.0 {
                continue;
            }
            // A middle of few errors is near each of them: what remains is too small by as much.
            let own = (n / (n - 1.0)).sqrt();
            let remaining = errors.iter().map(|e| (e - shock) * own);
            let variance = remaining.clone().map(|e| e * e).sum::<f64>() / n;
            // Variance of the median of normal errors.
            noise += variance * std::f64::consts::FRAC_PI_2 / n;
            rest.extend(remaining);
        }
        let count = by_origin.len().max(1) as f64;
        let shock = ((squares - noise) / count).max(0.0).sqrt();
        if origins < SIDES_ORIGINS {
            let mirrored: Vec<f64> = rest.iter().map(|e| -e).collect();
            rest.extend(mirrored);
        }
        Self { shock, origins, rest: both(rest) }
    }

    /// Distance from the forecast that is exceeded with probability `1 − p` on one side.
    pub fn quantile(&self, above: bool, p: f64) -> f64 {
        let rest = conformal_quantile(&self.rest[usize::from(!above)], p).unwrap_or(0.0).max(0.0);
        let shock = self.shock * student::quantile(p, self.origins);
        shock.hypot(rest)
    }
}

/// Errors ascending, and with the other sign ascending.
fn both(mut errors: Vec<f64>) -> [Vec<f64>; 2] {
    errors.sort_by(f64::total_cmp);
    let mirrored = errors.iter().rev().map(|e| -e).collect();
    [errors, mirrored]
}

/// Median; 0 of nothing.
pub(super) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let at = |i: usize| values.get(i).copied().unwrap_or(0.0);
    if n % 2 == 1 { at(n / 2) } else { (at((n / 2).saturating_sub(1)) + at(n / 2)) / 2.0 }
}
