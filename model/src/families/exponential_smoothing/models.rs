//! Models of a level and a trend, each with its parameters of greatest likelihood, and the choice
//! among them by the corrected criterion of Akaike (Hyndman, Koehler, Snyder and Grose 2002).
//!
//! Parameters and the state before the first value are found together by the simplex of Nelder and
//! Mead (1965), with the steps of Gao and Han (2012) and the bounds of the R package `forecast`.

/// Weight of the newest error in the level, in the trend, what is left of a trend after a step,
/// level and trend before the first value.
type Point = [f64; 5];

/// Least and greatest parameters. A trend changes less than the level does at first.
const BOUNDS: [(f64, f64); 5] =
    [(1e-4, 0.9999), (1e-4, START.0), (0.8, 0.98), UNBOUNDED, UNBOUNDED];
const UNBOUNDED: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);
/// The first three parameters at the start.
const START: (f64, f64, f64) = (0.20006, 0.020096, 0.9782);
/// Values that the state before the first one is guessed by.
const GUESSED: usize = 10;
/// Values that any model needs.
const VALUES_MIN: usize = 7;
/// Steps of the simplex, at most.
const STEPS: usize = 2_000;
/// The simplex is small enough when the standard deviation of its costs is.
const ENOUGH: f64 = 1e-4;
/// What is added to nothing at all before its logarithm is taken.
const NOTHING: f64 = 1e-8;

/// A level alone, one with a trend, and one with a trend that fades: the places of their
/// parameters.
const TRENDS: [&[usize]; 3] = [&[0, 3], &[0, 1, 3, 4], &[0, 1, 2, 3, 4]];

/// One model.
#[derive(Debug, Clone, Copy)]
struct Model<'a> {
    values: &'a [f64],
    /// Places of its parameters; the others stay as they are.
    free: &'static [usize],
    /// Whether errors grow with what was expected.
    relative: bool,
}

/// The next `horizon` values of a series by the best model, none where there are too few values.
pub fn forecast(values: &[f64], horizon: usize) -> Option<Vec<f64>> {
    if values.len() < VALUES_MIN {
        return None;
    }
    let positive = values.iter().all(|v| *v > 0.0);
    let errors = [false, true].into_iter().filter(|relative| positive || !relative);
    let models = errors.flat_map(|relative| TRENDS.map(|free| Model { values, free, relative }));
    let fitted = models.filter(|model| model.free.len() + 1 < values.len()).map(Model::fit);
    let (_, point) = fitted.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
    let (_, mut level, mut trend) = run(values, &point, false);
    let step = |_| {
        trend *= point[2];
        level += trend;
        level
    };
    Some((0..horizon).map(step).collect())
}

impl Model<'_> {
    /// The criterion, and the parameters.
    fn fit(self) -> (f64, Point) {
        let (cost, point) = self.descend();
        // With the variance of the errors.
        let parameters = self.free.len() as f64 + 1.0;
        let left = self.values.len() as f64 - parameters - 1.0;
        let correction =
            if left > 0.0 { 2.0 * parameters * (parameters + 1.0) / left } else { f64::INFINITY };
        (cost + 2.0 * (parameters - 1.0) + correction, point)
    }

    /// Twice the negative logarithm of the likelihood, without what all models have in common.
    fn cost(self, point: &Point) -> f64 {
        let (cost, ..) = run(self.values, point, self.relative);
        if cost.is_nan() { f64::INFINITY } else { cost }
    }

    fn start(self) -> Point {
        let first = &self.values[..GUESSED.min(self.values.len())];
        let n = first.len() as f64;
        let mean = first.iter().sum::<f64>() / n;
        let (level, beta, damping) = (START.0, START.1, START.2);
        if !self.free.contains(&1) {
            return [level, 0.0, 1.0, mean, 0.0];
        }
        // The line of least squares, one step before the first value.
        let middle = (n + 1.0) / 2.0;
        let products = (1..).zip(first).map(|(t, v)| (f64::from(t) - middle) * v);
        let slope = products.sum::<f64>() / (n * (n * n - 1.0) / 12.0);
        let damping = if self.free.contains(&2) { damping } else { 1.0 };
        [level, beta, damping, mean - slope * middle, slope]
    }

    /// Goes down to the least cost, and returns it with its place.
    fn descend(self) -> (f64, Point) {
        let (free, n) = (self.free, self.free.len() as f64);
        let at = |mut point: Point| {
            free.iter().for_each(|&i| point[i] = point[i].clamp(BOUNDS[i].0, BOUNDS[i].1));
            (self.cost(&point), point)
        };
        let start = at(self.start());
        let mut simplex = vec![start];
        simplex.extend(free.iter().map(|&i| {
            let mut point = start.1;
            point[i] = if point[i].abs() < NOTHING { 1e-4 } else { 1.05 * point[i] };
            at(point)
        }));
        for _ in 0..STEPS {
            simplex.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            if deviation(&simplex) < ENOUGH {
                break;
            }
            let last = free.len();
            let (best, second, worst) = (simplex[0], simplex[last - 1].0, simplex[last]);
            let mut centre = [0.0; 5];
            for (_, point) in &simplex[..last] {
                (0..5).for_each(|i| centre[i] += point[i] / n);
            }
            let towards = |to: &Point, share: f64| {
                let mut point = *to;
                free.iter().for_each(|&i| point[i] = centre[i] + share * (to[i] - centre[i]));
                at(point)
            };
            let reflected = towards(&worst.1, -1.0);
            let (shorter, found) = (0.75 - 0.5 / n, |cost: f64| reflected.0 < cost);
            let next = if found(best.0) {
                let further = towards(&reflected.1, 1.0 + 2.0 / n);
                Some(if further.0 < reflected.0 { further } else { reflected })
            } else if found(second) {
                Some(reflected)
            } else if found(worst.0) {
                Some(towards(&reflected.1, shorter)).filter(|(cost, _)| *cost <= reflected.0)
            } else {
                Some(towards(&reflected.1, -shorter)).filter(|(cost, _)| *cost < worst.0)
            };
            match next {
                Some(next) => simplex[last] = next,
                None => simplex[1..].iter_mut().for_each(|(cost, point)| {
                    let smaller = |i: usize| best.1[i] + (1.0 - 1.0 / n) * (point[i] - best.1[i]);
                    (*cost, *point) = at(std::array::from_fn(smaller));
                }),
            }
        }
        simplex.into_iter().min_by(|(a, _), (b, _)| a.total_cmp(b)).unwrap_or(start)
    }
}

fn deviation(simplex: &[(f64, Point)]) -> f64 {
    let n = simplex.len() as f64;
    let mean = simplex.iter().map(|(cost, _)| cost).sum::<f64>() / n;
    (simplex.iter().map(|(cost, _)| (cost - mean) * (cost - mean)).sum::<f64>() / n).sqrt()
}

/// The cost of a point, and level and trend after the last value.
fn run(values: &[f64], point: &Point, relative: bool) -> (f64, f64, f64) {
    let [alpha, beta, damping, mut level, mut trend] = *point;
    // The sum of logarithms is that of a product, which is taken before it leaves the range.
    let (mut squares, mut product, mut logarithms) = (0.0, 1.0, 0.0);
    for value in values {
        trend *= damping;
        let expected = level + trend;
        let mut error = value - expected;
        (level, trend) = (expected + alpha * error, trend + beta * error);
        if relative {
            let size = expected.abs().max(NOTHING);
            error /= size;
            product *= size;
            if !(1e-100..1e100).contains(&product) {
                logarithms += product.ln();
                product = 1.0;
            }
        }
        squares += error * error;
    }
    let spread = if squares > 0.0 { squares } else { NOTHING };
    let sizes = if relative { 2.0 * (logarithms + product.ln()) } else { 0.0 };
    (values.len() as f64 * spread.ln() + sizes, level, trend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_the_one_computed_by_hand() {
        // Expected 10, 11 and 11.5; errors 2, 1 and −1.5.
        let point = [0.5, 0.0, 1.0, 10.0, 0.0];
        let values = [12.0, 12.0, 10.0];
        let (plain, level, trend) = run(&values, &point, false);
        assert!((plain - 3.0 * f64::ln(4.0 + 1.0 + 2.25)).abs() < 1e-12);
        assert_eq!((level, trend), (10.75, 0.0));
        let squares: f64 = [2.0 / 10.0, 1.0 / 11.0, 1.5 / 11.5].iter().map(|e| e * e).sum();
        let sizes = 2.0 * f64::ln(10.0 * 11.0 * 11.5);
        let (relative, ..) = run(&values, &point, true);
        assert!((relative - 3.0 * squares.ln() - sizes).abs() < 1e-12);
    }

    #[test]
    fn the_simplex_ends_where_no_step_goes_further_down() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut level = 100.0;
        let values: Vec<f64> = (0..80)
            .map(|_| {
                level += 8.0 * (rng.f64() - 0.5);
                level + 5.0 * rng.f64()
            })
            .collect();
        for free in TRENDS {
            let model = Model { values: &values, free, relative: false };
            let (least, point) = model.descend();
            assert!(least < model.cost(&model.start()), "{point:?}");
            for (i, by) in free.iter().flat_map(|i| [(*i, 0.99), (*i, 1.01)]) {
                let mut near = point;
                near[i] = (near[i] * by).clamp(BOUNDS[i].0, BOUNDS[i].1);
                assert!(model.cost(&near) > least - 0.05, "{point:?} {near:?}");
            }
        }
    }

    #[test]
    fn few_values_have_no_model_and_wild_ones_a_finite_forecast() {
        assert_eq!(forecast(&[1.0; 6], 2), None);
        for wild in [vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1e12], vec![1e-9; 9], vec![-5.0; 8]] {
            let steps = forecast(&wild, 3).expect("enough values");
            assert!(steps.iter().all(|v| v.is_finite()), "{wild:?}: {steps:?}");
        }
    }
}
