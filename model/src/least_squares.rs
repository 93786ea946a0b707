//! Normal equations, solved.

/// Penalties that are tried, on predictors scaled to a standard deviation of 1, smallest first.
const PENALTIES: [f64; 11] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0];
/// Deviation below which a predictor is constant and says nothing.
const DEVIATION_MIN: f64 = 1e-9;

/// Solves `gram · x = right` in place for a symmetric positive definite matrix, lower half given.
pub fn cholesky_solve(gram: &mut [f64], right: &mut [f64], n: usize) -> bool {
    for i in 0..n {
        for j in 0..=i {
            let products: f64 = (0..j).map(|k| gram[i * n + k] * gram[j * n + k]).sum();
            let rest = gram[i * n + j] - products;
            if i == j {
                if rest <= 0.0 {
                    return false;
                }
                gram[i * n + i] = rest.sqrt();
            } else {
                gram[i * n + j] = rest / gram[j * n + j];
            }
        }
    }
    for i in 0..n {
        let known: f64 = (0..i).map(|k| gram[i * n + k] * right[k]).sum();
        right[i] = (right[i] - known) / gram[i * n + i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| gram[k * n + i] * right[k]).sum();
        right[i] = (right[i] - known) / gram[i * n + i];
    }
    true
}

/// A predictor in all rows, scaled.
pub struct Column {
    /// What was taken off.
    pub mean: f64,
    /// What rows were divided by, if it varies.
    pub deviation: f64,
    /// Per row.
    pub scaled: Vec<f64>,
}

impl Column {
    /// With mean 0, and deviation 1 unless it is constant.
    pub fn of(rows: impl Iterator<Item = f64>) -> Self {
        let rows: Vec<f64> = rows.collect();
        let mean = rows.iter().sum::<f64>() / rows.len().max(1) as f64;
        Self::about(mean, rows)
    }

    /// With a root mean square of 1 around `mean`, which its rows need not have.
    pub fn about(mean: f64, mut scaled: Vec<f64>) -> Self {
        let count = scaled.len().max(1) as f64;
        scaled.iter_mut().for_each(|value| *value -= mean);
        let deviation = (dot(&scaled, &scaled) / count).sqrt();
        if deviation > DEVIATION_MIN {
            scaled.iter_mut().for_each(|value| *value /= deviation);
        }
        Self { mean, deviation, scaled }
    }

    /// Whether it says anything.
    pub fn varies(&self) -> bool {
        self.deviation > DEVIATION_MIN
    }
}

/// Coefficients of scaled columns with the ridge penalty of least generalised cross-validation
/// (Golub, Heath and Wahba 1979); none of a target that does not vary.
pub fn ridge(columns: &[Column], target: &Column) -> Option<Vec<f64>> {
    let (n, rows) = (columns.len(), target.scaled.len() as f64);
    if !target.varies() || n == 0 {
        return None;
    }
    let mut gram = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            gram[i * n + j] = dot(&columns[i].scaled, &columns[j].scaled) / rows;
        }
    }
    let right: Vec<f64> = columns.iter().map(|c| dot(&c.scaled, &target.scaled) / rows).collect();
    let mut best: Option<(f64, Vec<f64>)> = None;
    for penalty in PENALTIES {
        let (mut factor, mut solution) = (gram.clone(), right.clone());
        (0..n).for_each(|i| factor[i * n + i] += penalty);
        if !cholesky_solve(&mut factor, &mut solution, n) {
            continue;
        }
        // Of 1, the target's variance, what remains: 1 − b'c − penalty·c'c, since (G + λ)c = b.
        let explained = dot(&solution, &right) + penalty * dot(&solution, &solution);
        let freedom = 1.0 + n as f64 - penalty * inverse_trace(&factor, n);
        let score = (1.0 - explained).max(0.0) / (1.0 - freedom / rows).max(1e-6).powi(2);
        if best.as_ref().is_none_or(|(least, _)| score < *least) {
            best = Some((score, solution));
        }
    }
    let scaled = |c: &f64| c * target.deviation;
    best.map(|(_, solution)| solution.iter().map(scaled).collect())
}

/// Trace of the inverse of a matrix with this Cholesky factor, given in the lower half: the sum of
/// the squares of the factor's inverse.
fn inverse_trace(factor: &[f64], n: usize) -> f64 {
    let (mut sum, mut column) = (0.0, vec![0.0; n]);
    for j in 0..n {
        for i in j..n {
            let known = dot(&factor[i * n + j..i * n + i], &column[j..i]);
            let unit = if i == j { 1.0 } else { 0.0 };
            column[i] = (unit - known) / factor[i * n + i];
            sum += column[i] * column[i];
        }
    }
    sum
}

/// Sum of products, in as many parts as the processor adds at once.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_of_an_inverse_is_that_of_its_factor() {
        let (mut gram, mut right) = (vec![4.0, 0.0, 2.0, 3.0], vec![2.0, 5.0]);
        assert!(cholesky_solve(&mut gram, &mut right, 2));
        // The inverse of [4 2; 2 3] is [3 −2; −2 4] / 8.
        assert!((inverse_trace(&gram, 2) - 7.0 / 8.0).abs() < 1e-12);
        let long: Vec<f64> = (1..=11).map(f64::from).collect();
        assert_eq!(dot(&long, &long), 506.0);
    }
}
