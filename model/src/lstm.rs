//! A long short-term memory layer with a linear head: forward pass, back-propagation through time,
//! AdamW.
//!
//! Gates follow Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000), in the
//! order input, forget, cell, output, as PyTorch's `nn.LSTM` lays them out. Matrices are row-major.
//! One matrix holds input weights, recurrent weights and bias, so a step is a single product
//! `[x, h, 1] · W`.

use matrixmultiply::sgemm;

/// Sizes of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Features per step.
    pub features: usize,
    /// Width of the layer.
    pub hidden: usize,
    /// Outputs of the head.
    pub outputs: usize,
}

impl Shape {
    /// Rows of the gate matrix: features, hidden state, bias.
    pub fn gate_rows(self) -> usize {
        self.features + self.hidden + 1
    }

    /// Values of the gate matrix, `gate_rows × 4·hidden`.
    pub fn gate_len(self) -> usize {
        self.gate_rows() * 4 * self.hidden
    }

    /// Values of the head, `(hidden + 1) × outputs`.
    pub fn head_len(self) -> usize {
        (self.hidden + 1) * self.outputs
    }
}

/// A network: its shape and all its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Lstm {
    /// Sizes.
    pub shape: Shape,
    /// `gate_rows × 4·hidden`.
    pub gates: Vec<f32>,
    /// `(hidden + 1) × outputs`.
    pub head: Vec<f32>,
}

/// What the forward pass keeps for the backward pass, per step.
struct Trace {
    /// `[x, h, 1]`, `batch × gate_rows`.
    input: Vec<f32>,
    /// Gates after their non-linearities, `batch × 4·hidden`.
    gates: Vec<f32>,
    /// Cell state after the step, `batch × hidden`.
    cell: Vec<f32>,
}

impl Lstm {
    /// Random weights: uniform in ±1/√hidden, forget bias 1, and a head that starts at zero, so
    /// that the untrained network forecasts no change.
    pub fn new(shape: Shape, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let bound = 1.0 / (shape.hidden as f32).sqrt();
        let mut gates: Vec<f32> = (0..shape.gate_len()).map(|_| (rng.f32() * 2.0 - 1.0) * bound).collect();
        let bias = &mut gates[(shape.gate_rows() - 1) * 4 * shape.hidden..];
        bias.fill(0.0);
        bias[shape.hidden..2 * shape.hidden].fill(1.0);
        Self { shape, gates, head: vec![0.0; shape.head_len()] }
    }

    /// Outputs for `batch` windows of equal length: `inputs` is `batch × steps × features`, the
    /// result `batch × outputs`.
    pub fn forward(&self, inputs: &[f32], batch: usize) -> Vec<f32> {
        self.run(inputs, batch, |_| ()).0
    }

    /// Runs the network and hands the trace of each step to `keep`; returns outputs and `[h, 1]`.
    fn run(&self, inputs: &[f32], batch: usize, mut keep: impl FnMut(Trace)) -> (Vec<f32>, Vec<f32>) {
        let Shape { features, hidden, outputs } = self.shape;
        let rows = self.shape.gate_rows();
        let steps = inputs.len() / (batch * features).max(1);
        let mut cell = vec![0.0f32; batch * hidden];
        let mut state = vec![0.0f32; batch * (hidden + 1)];
        for step in 0..steps {
            let mut input = vec![1.0f32; batch * rows];
            for b in 0..batch {
                let x = &inputs[(b * steps + step) * features..][..features];
                input[b * rows..][..features].copy_from_slice(x);
                input[b * rows + features..][..hidden].copy_from_slice(&state[b * (hidden + 1)..][..hidden]);
            }
            let mut gates = vec![0.0f32; batch * 4 * hidden];
            product(&input, &self.gates, &mut gates, (batch, rows, 4 * hidden));
            for b in 0..batch {
                let z = &mut gates[b * 4 * hidden..][..4 * hidden];
                for j in 0..hidden {
                    let (i, f) = (sigmoid(z[j]), sigmoid(z[hidden + j]));
                    let (g, o) = (z[2 * hidden + j].tanh(), sigmoid(z[3 * hidden + j]));
                    (z[j], z[hidden + j], z[2 * hidden + j], z[3 * hidden + j]) = (i, f, g, o);
                    let c = f * cell[b * hidden + j] + i * g;
                    cell[b * hidden + j] = c;
                    state[b * (hidden + 1) + j] = o * c.tanh();
                }
            }
            keep(Trace { input, gates, cell: cell.clone() });
        }
        (0..batch).for_each(|b| state[b * (hidden + 1) + hidden] = 1.0);
        let mut out = vec![0.0f32; batch * outputs];
        product(&state, &self.head, &mut out, (batch, hidden + 1, outputs));
        (out, state)
    }

    /// Gradients of `loss` (given as the gradient at the outputs) with respect to gates and head.
    pub fn gradients(&self, inputs: &[f32], batch: usize, loss: impl Fn(&[f32]) -> Vec<f32>) -> (Vec<f32>, Vec<f32>) {
        let Shape { features, hidden, outputs } = self.shape;
        let rows = self.shape.gate_rows();
        let mut traces = Vec::new();
        let (out, state) = self.run(inputs, batch, |trace| traces.push(trace));
        let d_out = loss(&out);
        let mut d_head = vec![0.0f32; self.head.len()];
        product_left_transposed(&state, &d_out, &mut d_head, (batch, hidden + 1, outputs));
        let mut d_state = vec![0.0f32; batch * (hidden + 1)];
        product_right_transposed(&d_out, &self.head, &mut d_state, (batch, outputs, hidden + 1));
        let mut d_hidden: Vec<f32> = d_state.chunks(hidden + 1).flat_map(|row| row[..hidden].to_vec()).collect();
        let mut d_cell = vec![0.0f32; batch * hidden];
        let mut d_gates = vec![0.0f32; self.gates.len()];
        let no_cell = vec![0.0f32; batch * hidden];
        for step in (0..traces.len()).rev() {
            let trace = &traces[step];
            let before = if step == 0 { &no_cell } else { &traces[step - 1].cell };
            let d_z = gate_gradients(trace, before, &d_hidden, &mut d_cell, hidden);
            product_left_transposed(&trace.input, &d_z, &mut d_gates, (batch, rows, 4 * hidden));
            let mut d_input = vec![0.0f32; batch * rows];
            product_right_transposed(&d_z, &self.gates, &mut d_input, (batch, 4 * hidden, rows));
            for b in 0..batch {
                d_hidden[b * hidden..][..hidden].copy_from_slice(&d_input[b * rows + features..][..hidden]);
            }
        }
        (d_gates, d_head)
    }
}

/// Gradient before the non-linearities; turns `d_cell` into the gradient of the previous cell.
fn gate_gradients(trace: &Trace, cell_before: &[f32], d_hidden: &[f32], d_cell: &mut [f32], hidden: usize) -> Vec<f32> {
    let mut d_z = vec![0.0f32; trace.gates.len()];
    for (b, (gates, d_z)) in trace.gates.chunks(4 * hidden).zip(d_z.chunks_mut(4 * hidden)).enumerate() {
        for j in 0..hidden {
            let at = b * hidden + j;
            let (i, f, g, o) = (gates[j], gates[hidden + j], gates[2 * hidden + j], gates[3 * hidden + j]);
            let squashed = trace.cell[at].tanh();
            let d_c = d_cell[at] + d_hidden[at] * o * (1.0 - squashed * squashed);
            d_z[j] = d_c * g * i * (1.0 - i);
            d_z[hidden + j] = d_c * cell_before[at] * f * (1.0 - f);
            d_z[2 * hidden + j] = d_c * i * (1.0 - g * g);
            d_z[3 * hidden + j] = d_hidden[at] * squashed * o * (1.0 - o);
            d_cell[at] = d_c * f;
        }
    }
    d_z
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// `c += a · b` for `a: m × k`, `b: k × n`.
fn product(a: &[f32], b: &[f32], c: &mut [f32], (m, k, n): (usize, usize, usize)) {
    gemm(a, (k, 1), b, (n, 1), c, (m, k, n));
}

/// `c += aᵀ · b` for `a: k × m` given as `(k, m, n)`, `b: k × n`.
fn product_left_transposed(a: &[f32], b: &[f32], c: &mut [f32], (k, m, n): (usize, usize, usize)) {
    gemm(a, (1, m), b, (n, 1), c, (m, k, n));
}

/// `c += a · bᵀ` for `a: m × k`, `b: n × k`.
fn product_right_transposed(a: &[f32], b: &[f32], c: &mut [f32], (m, k, n): (usize, usize, usize)) {
    gemm(a, (k, 1), b, (1, k), c, (m, k, n));
}

/// `c += a · b` with (row, column) strides for `a` and `b`; `c` is row-major.
fn gemm(a: &[f32], a_strides: (usize, usize), b: &[f32], b_strides: (usize, usize), c: &mut [f32], (m, k, n): (usize, usize, usize)) {
    assert!(a.len() >= m * k && b.len() >= k * n && c.len() >= m * n, "matrix sizes disagree");
    let (ra, ca) = (a_strides.0 as isize, a_strides.1 as isize);
    let (rb, cb) = (b_strides.0 as isize, b_strides.1 as isize);
    // SAFETY: the lengths are checked above, and with these strides every index stays below them.
    unsafe { sgemm(m, k, n, 1.0, a.as_ptr(), ra, ca, b.as_ptr(), rb, cb, 1.0, c.as_mut_ptr(), n as isize, 1) }
}

/// AdamW (Loshchilov and Hutter 2019) over one weight vector.
#[derive(Debug)]
pub struct AdamW {
    first: Vec<f32>,
    second: Vec<f32>,
    step: i32,
}

impl AdamW {
    /// State for `len` weights.
    pub fn new(len: usize) -> Self {
        Self { first: vec![0.0; len], second: vec![0.0; len], step: 0 }
    }

    /// One update with the usual β₁ = 0.9, β₂ = 0.999.
    pub fn update(&mut self, weights: &mut [f32], gradient: &[f32], rate: f32, decay: f32) {
        self.step += 1;
        let correction = (1.0 - 0.999f32.powi(self.step)).sqrt() / (1.0 - 0.9f32.powi(self.step));
        for (((w, &g), m), v) in weights.iter_mut().zip(gradient).zip(&mut self.first).zip(&mut self.second) {
            *m = 0.9 * *m + 0.1 * g;
            *v = 0.999 * *v + 0.001 * g * g;
            *w -= rate * (correction * *m / (v.sqrt() + 1e-8) + decay * *w);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { features: 2, hidden: 3, outputs: 2 };

    /// Sum of squares of the outputs: its gradient at the outputs is `2·out`.
    fn loss(net: &Lstm, inputs: &[f32]) -> f64 {
        net.forward(inputs, 2).iter().map(|&o| f64::from(o).powi(2)).sum()
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let mut net = Lstm::new(SHAPE, 7);
        let mut rng = fastrand::Rng::with_seed(1);
        net.head.iter_mut().for_each(|w| *w = rng.f32() - 0.5);
        let inputs: Vec<f32> = (0..2 * 5 * 2).map(|_| rng.f32() * 2.0 - 1.0).collect();
        let (d_gates, d_head) = net.gradients(&inputs, 2, |out| out.iter().map(|o| 2.0 * o).collect());
        let eps = 1e-2f32;
        for at in 0..net.gates.len() + net.head.len() {
            let nudge = |net: &mut Lstm, by: f32| match at.checked_sub(SHAPE.gate_len()) {
                None => net.gates[at] += by,
                Some(head_at) => net.head[head_at] += by,
            };
            let (mut up, mut down) = (net.clone(), net.clone());
            nudge(&mut up, eps);
            nudge(&mut down, -eps);
            let numeric = (loss(&up, &inputs) - loss(&down, &inputs)) / f64::from(2.0 * eps);
            let exact = f64::from(*d_gates.get(at).unwrap_or_else(|| &d_head[at - SHAPE.gate_len()]));
            assert!((numeric - exact).abs() < 2e-3, "weight {at}: {numeric} against {exact}");
        }
    }

    #[test]
    fn an_untrained_network_forecasts_no_change() {
        assert_eq!(Lstm::new(SHAPE, 3).forward(&[0.5; 8], 2), [0.0; 4]);
    }
}
