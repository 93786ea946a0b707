//! Coefficients of one model: those with the smallest sum of squared errors, when everything before
//! the first value is taken to be the mean (conditional sum of squares; Box, Jenkins and Reinsel,
//! section 7.1), found by the method of Levenberg and Marquardt.

use crate::least_squares::{cholesky_solve, dot};

/// Numbers of coefficients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orders {
    /// Values before.
    pub ar: usize,
    /// Errors before.
    pub ma: usize,
    /// Values of seasons before.
    pub seasonal_ar: usize,
    /// Errors of seasons before.
    pub seasonal_ma: usize,
    /// Whether there is a mean.
    pub mean: bool,
}

impl Orders {
    /// Number of coefficients.
    pub fn count(self) -> usize {
        self.ar + self.ma + self.seasonal_ar + self.seasonal_ma + usize::from(self.mean)
    }

    /// Places of the four polynomials among coefficients.
    fn parts(self) -> [std::ops::Range<usize>; 4] {
        let ends = [self.ar, self.ma, self.seasonal_ar, self.seasonal_ma];
        let mut from = 0;
        ends.map(|len| {
            from += len;
            from - len..from
        })
    }
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Its orders.
    pub orders: Orders,
    season: usize,
    /// Of values before, of errors before, both of seasons, and the mean.
    coefficients: Vec<f64>,
    /// The corrected criterion of Akaike per value, without what all models have in common.
    pub criterion: f64,
}

/// Steps of the search for coefficients, at most.
const STEPS: usize = 25;
/// Largest partial autocorrelation of a polynomial: nearer to 1, a model is one with another
/// difference.
const PARTIAL_MAX: f64 = 0.99;
/// Share that is added to the diagonal at first.
const DAMPING: f64 = 1e-3;
/// A step that makes the sum of squares smaller by less than this share is the last one.
const ENOUGH: f64 = 1e-4;

/// A polynomial in steps back: places and coefficients of what is added to the newest value.
type Terms = Vec<(usize, f64)>;

/// The product of an ordinary and a seasonal polynomial `1 + …`, both with the given sign.
fn product(ordinary: &[f64], seasonal: &[f64], season: usize, sign: f64) -> Terms {
    let places = |of: &[f64], lag: usize| -> Terms {
        (1..).zip(of).map(|(k, c)| (k * lag, sign * c)).collect()
    };
    let (short, long) = (places(ordinary, 1), places(seasonal, season));
    let both = long.iter().flat_map(|(l, b)| short.iter().map(move |(s, a)| (l + s, a * b)));
    let both: Terms = both.collect();
    short.into_iter().chain(long).chain(both).collect()
}

/// `values` plus the terms of earlier ones; what is before the first is 0.
fn multiply(values: &[f64], terms: &[(usize, f64)]) -> Vec<f64> {
    let mut out = values.to_vec();
    for &(lag, c) in terms {
        for t in lag..values.len() {
            out[t] += c * values[t - lag];
        }
    }
    out
}

/// What gives `out`, as it is, when it is multiplied by `terms`.
fn divide(mut out: Vec<f64>, terms: &[(usize, f64)]) -> Vec<f64> {
    let longest = terms.iter().map(|(lag, _)| *lag).max().unwrap_or(0).min(out.len());
    for t in 0..longest {
        let known = terms.iter().filter(|(lag, _)| *lag <= t);
        out[t] -= known.map(|(lag, c)| c * out[t - lag]).sum::<f64>();
    }
    match terms.len() {
        0 => {}
        1 => rest::<1>(&mut out, terms, longest),
        2 => rest::<2>(&mut out, terms, longest),
        3 => rest::<3>(&mut out, terms, longest),
        4 => rest::<4>(&mut out, terms, longest),
        5 => rest::<5>(&mut out, terms, longest),
        6 => rest::<6>(&mut out, terms, longest),
        7 => rest::<7>(&mut out, terms, longest),
        count => unreachable!("{count} terms, of 3 and 1 coefficients and their products"),
    }
    out
}

/// The part of [`divide`] in which nothing is missing, and into which most of the time goes: `N`
/// terms.
fn rest<const N: usize>(out: &mut [f64], terms: &[(usize, f64)], longest: usize) {
    let terms: [(usize, f64); N] = std::array::from_fn(|i| terms[i]);
    for t in longest..out.len() {
        // The nearest term comes last: only it has to wait for the value before.
        let later = |value: f64, (lag, c): &(usize, f64)| value - c * out[t - lag];
        out[t] = terms.iter().rev().fold(out[t], later);
    }
}

/// Whether the process of a polynomial `1 − Σ cᵢBⁱ` is stationary, by the recursion of Durbin and
/// Levinson backwards.
fn is_stationary(coefficients: impl Iterator<Item = f64>) -> bool {
    let mut left: Vec<f64> = coefficients.collect();
    while let Some(partial) = left.pop() {
        if partial.is_nan() || partial.abs() >= PARTIAL_MAX {
            return false;
        }
        let (n, scale) = (left.len(), 1.0 - partial * partial);
        left = (0..n).map(|i| (left[i] + partial * left[n - 1 - i]) / scale).collect();
    }
    true
}

impl Fitted {
    /// Fits a model of `orders` to `values`, beginning with what it has in common with `near`; none
    /// where there are too few values.
    pub fn new(values: &[f64], season: usize, orders: Orders, near: Option<&Self>) -> Option<Self> {
        let (n, parameters) = (values.len() as f64, orders.count() as f64 + 1.0);
        if n < parameters + 2.0 {
            return None;
        }
        let coefficients = start(values, orders, near);
        let mut fitted = Self { orders, season, coefficients, criterion: f64::INFINITY };
        let squares = fitted.descend(values);
        // Akaike's 2k, and its correction for few values.
        let penalty = 2.0 * parameters / (n - parameters - 1.0);
        fitted.criterion = (squares / n).max(f64::MIN_POSITIVE).ln() + penalty;
        fitted.criterion.is_finite().then_some(fitted)
    }

    fn of(&self, part: usize) -> &[f64] {
        &self.coefficients[self.orders.parts()[part].clone()]
    }

    fn mean(&self) -> f64 {
        if self.orders.mean { self.coefficients[self.coefficients.len() - 1] } else { 0.0 }
    }

    fn is_inside(&self) -> bool {
        let ar = [0, 2].iter().all(|part| is_stationary(self.of(*part).iter().copied()));
        ar && [1, 3].iter().all(|part| is_stationary(self.of(*part).iter().map(|c| -c)))
    }

    fn ar_terms(&self) -> Terms {
        product(self.of(0), self.of(2), self.season, -1.0)
    }

    fn ma_terms(&self) -> Terms {
        product(self.of(1), self.of(3), self.season, 1.0)
    }

    /// Departures from the mean, and errors.
    fn errors(&self, values: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let departures: Vec<f64> = values.iter().map(|v| v - self.mean()).collect();
        let errors = divide(multiply(&departures, &self.ar_terms()), &self.ma_terms());
        (departures, errors)
    }

    /// Derivatives of the errors, one column per coefficient. Those of a polynomial are the same
    /// series, later by one (season) for each further coefficient.
    fn derivatives(&self, departures: &[f64], errors: &[f64]) -> Vec<Vec<f64>> {
        let (ma, season) = (self.ma_terms(), self.season);
        let ordinary = |part: usize, sign: f64| product(self.of(part), &[], season, sign);
        let of_season = |part: usize, sign: f64| product(&[], self.of(part), season, sign);
        let mut columns = Vec::with_capacity(self.coefficients.len());
        let mut add = |part: usize, lag: usize, source: &dyn Fn() -> Vec<f64>| {
            if !self.of(part).is_empty() {
                let source = source();
                columns.extend((1..=self.of(part).len()).map(|k| later(&source, k * lag)));
            }
        };
        add(0, 1, &|| divide(multiply(departures, &of_season(2, -1.0)), &ma));
        add(1, 1, &|| divide(errors.to_vec(), &ordinary(1, 1.0)));
        add(2, season, &|| divide(multiply(departures, &ordinary(0, -1.0)), &ma));
        add(3, season, &|| divide(errors.to_vec(), &of_season(3, 1.0)));
        if self.orders.mean {
            let ones = vec![-1.0; departures.len()];
            columns.push(divide(multiply(&ones, &self.ar_terms()), &ma));
        }
        columns
    }

    /// Goes down to the smallest sum of squares, and returns it.
    fn descend(&mut self, values: &[f64]) -> f64 {
        let (mut departures, mut errors) = self.errors(values);
        let (mut least, mut damping, mut steps) = (dot(&errors, &errors), DAMPING, 0);
        while steps < STEPS && !self.coefficients.is_empty() {
            let (gram, right) = normal(&self.derivatives(&departures, &errors), &errors);
            let before = least;
            // Shorter and shorter steps, until one goes down.
            while least == before {
                steps += 1;
                if let Some(next) = self.moved(&gram, &right, damping) {
                    let (of_mean, tried) = next.errors(values);
                    let squares = dot(&tried, &tried);
                    if squares < least {
                        (departures, errors, least) = (of_mean, tried, squares);
                        self.coefficients = next.coefficients;
                    }
                }
                damping *= if least < before { 0.2 } else { 5.0 };
                if steps >= STEPS {
                    return least;
                }
            }
            if before - least <= ENOUGH * before {
                break;
            }
        }
        least
    }

    /// A damped step on from here; none to where a model is not stationary and invertible.
    fn moved(&self, gram: &[f64], right: &[f64], damping: f64) -> Option<Self> {
        let (n, mut gram, mut step) = (right.len(), gram.to_vec(), right.to_vec());
        (0..n).for_each(|i| gram[i * n + i] *= 1.0 + damping);
        let mut next = self.clone();
        let solved = cholesky_solve(&mut gram, &mut step, n);
        next.coefficients.iter_mut().zip(&step).for_each(|(c, s)| *c += s);
        (solved && next.is_inside()).then_some(next)
    }

    /// The next `horizon` values.
    pub fn forecast(&self, values: &[f64], horizon: usize) -> Vec<f64> {
        let (mut departures, mut errors) = self.errors(values);
        let (ar, ma) = (self.ar_terms(), self.ma_terms());
        for _ in 0..horizon {
            let t = departures.len();
            let earlier = |terms: &Terms, of: &[f64]| {
                let known = terms.iter().filter(|(lag, _)| *lag <= t);
                known.map(|(lag, c)| c * of[t - lag]).sum::<f64>()
            };
            let next = earlier(&ma, &errors) - earlier(&ar, &departures);
            departures.push(next);
            errors.push(0.0);
        }
        departures[values.len()..].iter().map(|departure| departure + self.mean()).collect()
    }
}

/// Coefficients to begin with: those of a neighbouring model, 0 for what it has not, and the mean
/// of the values.
fn start(values: &[f64], orders: Orders, near: Option<&Fitted>) -> Vec<f64> {
    let lens = [orders.ar, orders.ma, orders.seasonal_ar, orders.seasonal_ma];
    let own = |part: usize, i: usize| near.and_then(|near| near.of(part).get(i).copied());
    let mut all: Vec<f64> = Vec::with_capacity(orders.count());
    for (part, len) in lens.into_iter().enumerate() {
        // A shorter polynomial of the same coefficients may be outside of what is stationary.
        let whole = near.is_some_and(|near| near.of(part).len() <= len);
        all.extend((0..len).map(|i| own(part, i).filter(|_| whole).unwrap_or(0.0)));
    }
    let known = near.filter(|near| near.orders.mean).map(Fitted::mean);
    let mean = || values.iter().sum::<f64>() / values.len() as f64;
    all.extend(orders.mean.then(|| known.unwrap_or_else(mean)));
    all
}

/// `values` with the other sign, later by so many places.
fn later(values: &[f64], by: usize) -> Vec<f64> {
    let by = by.min(values.len());
    let zeros = std::iter::repeat_n(0.0, by);
    zeros.chain(values[..values.len() - by].iter().map(|v| -v)).collect()
}

/// Normal equations, the lower half: products of columns with each other and with the errors.
fn normal(columns: &[Vec<f64>], errors: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let n = columns.len();
    let mut gram = vec![0.0; n * n];
    for i in 0..n {
        (0..=i).for_each(|j| gram[i * n + j] = dot(&columns[i], &columns[j]));
    }
    (gram, columns.iter().map(|column| -dot(column, errors)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Orders = Orders { ar: 2, ma: 1, seasonal_ar: 1, seasonal_ma: 1, mean: true };

    fn fitted(coefficients: &[f64]) -> Fitted {
        Fitted { orders: ALL, season: 4, coefficients: coefficients.to_vec(), criterion: 0.0 }
    }

    #[test]
    fn derivatives_match_differences() {
        let mut rng = fastrand::Rng::with_seed(2);
        let values: Vec<f64> = (0..40).map(|_| rng.f64()).collect();
        let at = [0.4, -0.2, 0.3, 0.5, -0.4, 0.6];
        let here = fitted(&at);
        let (departures, errors) = here.errors(&values);
        for (i, column) in here.derivatives(&departures, &errors).iter().enumerate() {
            let moved = |by: f64| {
                let mut at = at;
                at[i] += by;
                fitted(&at).errors(&values).1
            };
            let (up, down) = (moved(1e-5), moved(-1e-5));
            for ((up, down), derivative) in up.iter().zip(&down).zip(column) {
                let difference = (up - down) / 2e-5;
                assert!((difference - derivative).abs() < 1e-6, "{i}: {difference} {derivative}");
            }
        }
    }

    #[test]
    fn errors_are_what_a_process_was_made_of_and_forecasts_go_on_without_them() {
        let mut rng = fastrand::Rng::with_seed(3);
        let made_of: Vec<f64> =
            (0..50).map(|t| if t < 44 { rng.f64() - 0.5 } else { 0.0 }).collect();
        let model = fitted(&[0.4, -0.2, 0.3, 0.5, -0.4, 10.0]);
        let process = divide(multiply(&made_of, &model.ma_terms()), &model.ar_terms());
        let values: Vec<f64> = process.iter().map(|v| v + 10.0).collect();
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close(&model.errors(&values).1, &made_of));
        assert!(close(&model.forecast(&values[..44], 6), &values[44..]));
    }

    #[test]
    fn coefficients_are_found_again() {
        let mut rng = fastrand::Rng::with_seed(1);
        let made_of: Vec<f64> =
            (0..2_000).map(|_| (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0).collect();
        let truth = fitted(&[0.5, -0.3, 0.4, 0.6, -0.5, 3.0]);
        let process = divide(multiply(&made_of, &truth.ma_terms()), &truth.ar_terms());
        let values: Vec<f64> = process.iter().map(|v| v + 3.0).collect();
        let found = Fitted::new(&values, 4, ALL, None).expect("enough values");
        let near = |(found, truth): (&f64, &f64)| (found - truth).abs() < 0.12;
        let polynomials = found.coefficients.iter().zip(&truth.coefficients);
        assert!(polynomials.take(5).all(near), "{:?}", found.coefficients);
    }

    #[test]
    fn processes_that_run_away_are_not_stationary() {
        let stationary = |c: &[f64]| is_stationary(c.iter().copied());
        assert!(stationary(&[0.9]) && stationary(&[0.5, 0.4]) && stationary(&[]));
        assert!(!stationary(&[1.0]) && !stationary(&[0.6, 0.5]) && !stationary(&[0.2, f64::NAN]));
    }
}
