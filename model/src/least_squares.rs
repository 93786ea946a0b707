//! Normal equations, solved.

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
