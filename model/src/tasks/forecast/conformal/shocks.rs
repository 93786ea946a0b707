//! Errors taken apart into the shock that an origin has for all series, and the rest.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, StudentsT};

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
        let shock = self.shock * student(p, self.origins);
        shock.hypot(rest)
    }
}

/// The quantile `p`, at least 0.5, of Student's t with `freedom` degrees of freedom, at least 1.
fn student(p: f64, freedom: f64) -> f64 {
    let student = StudentsT::new(0.0, 1.0, freedom.max(1.0)).expect("degrees of freedom");
    student.inverse_cdf(p.clamp(0.5, 1.0 - 1e-12))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_quantiles_match_the_tables() {
        // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2; of 1 and 2 degrees of
        // freedom in closed form.
        let cauchy = (std::f64::consts::PI * 0.45).tan();
        for (freedom, p, expected, digits) in [
            (1.0, 0.95, cauchy, 1e-9),
            (2.0, 0.975, (0.95 * 0.95 / (2.0 * 0.975 * 0.025f64)).sqrt(), 1e-9),
            (3.0, 0.9, 1.638, 5e-4),
            (3.0, 0.95, 2.353, 5e-4),
            (5.0, 0.975, 2.571, 5e-4),
            (8.0, 0.95, 1.860, 5e-4),
            (20.0, 0.99, 2.528, 5e-4),
            (60.0, 0.95, 1.671, 5e-4),
            (7.0, 0.5, 0.0, 1e-9),
        ] {
            let found = student(p, freedom);
            assert!((found - expected).abs() < digits, "{freedom} {p}: {found}");
        }
        let between = student(0.95, 2.5);
        assert!(between > student(0.95, 3.0) && between < student(0.95, 2.0), "{between}");
    }
}
