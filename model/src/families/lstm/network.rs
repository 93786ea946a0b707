//! A long short-term memory layer with a linear head: weights, back-propagation through time,
//! AdamW.
//!
//! Gates follow Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000), in
//! the order input, forget, cell, output, as PyTorch's `nn.LSTM` lays them out. Matrices are
//! row-major. One matrix holds input weights, recurrent weights and bias, so a step is a single
//! product `[x, h, 1] · W`. Both passes live in [`super::kernel`].

use std::cell::RefCell;

use matrixmultiply::sgemm;

use super::kernel::{Backward, Cpu, Gradient, Packed, Trace};

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

/// Gradients of a loss with respect to all weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// As [`Lstm::gates`].
    pub gates: Vec<f32>,
    /// As [`Lstm::head`].
    pub head: Vec<f32>,
}

impl Gradients {
    /// Adds another shard's gradients.
    pub fn add(&mut self, other: &Self) {
        let add = |a: &mut [f32], b: &[f32]| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        add(&mut self.gates, &other.gates);
        add(&mut self.head, &other.head);
    }

    /// Scales all gradients down so that their norm is at most `max`.
    pub fn clip(&mut self, max: f32) {
        let norm = self.gates.iter().chain(&self.head).map(|g| g * g).sum::<f32>().sqrt();
        if norm > max {
            let scale = max / norm;
            self.gates.iter_mut().chain(&mut self.head).for_each(|g| *g *= scale);
        }
    }
}

impl Lstm {
    /// Random weights: uniform in ±1/√hidden, forget bias 1, and a head that starts at zero, so
    /// that the untrained network forecasts no change.
    pub fn new(shape: Shape, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let bound = 1.0 / (shape.hidden as f32).sqrt();
        let mut gates: Vec<f32> =
            (0..shape.gate_len()).map(|_| (rng.f32() * 2.0 - 1.0) * bound).collect();
        let bias = &mut gates[(shape.gate_rows() - 1) * 4 * shape.hidden..];
        bias.fill(0.0);
        bias[shape.hidden..2 * shape.hidden].fill(1.0);
        Self { shape, gates, head: vec![0.0; shape.head_len()] }
    }

    /// Its weights, ready for the gradients of many windows.
    pub fn learner(&self) -> Learner<'_> {
        self.learner_for(Cpu::best())
    }

    fn learner_for(&self, cpu: Cpu) -> Learner<'_> {
        let (packed, backward) = (Packed::for_cpu(self, cpu), Backward::for_cpu(self, cpu));
        Learner { net: self, packed, backward }
    }
}

/// A network between two updates.
#[derive(Debug)]
pub struct Learner<'a> {
    net: &'a Lstm,
    packed: Packed,
    backward: Backward,
}

impl Learner<'_> {
    /// Gradients for `batch` windows of equal length: `inputs` is `batch × steps × features`.
    /// `loss` turns the outputs, `batch × outputs`, into the gradient at the outputs.
    pub fn gradients(
        &self,
        inputs: &[f32],
        batch: usize,
        loss: impl FnOnce(&[f32]) -> Vec<f32>,
    ) -> Gradients {
        thread_local! {
            // Megabytes that would otherwise be asked of the system, and zeroed, for every batch.
            static WORKSPACE: RefCell<(Trace, Gradient)> = RefCell::default();
        }
        WORKSPACE.with_borrow_mut(|(trace, gradient)| {
            let Shape { hidden, outputs, .. } = self.net.shape;
            let d_out = loss(&self.packed.forward_traced(inputs, batch, trace));
            let mut head = vec![0.0; self.net.head.len()];
            let (last, by_output) =
                ((&trace.last[..], (1, hidden + 1)), (&d_out[..], (outputs, 1)));
            gemm(last, by_output, &mut head, (hidden + 1, batch, outputs));
            let mut d_last = vec![0.0; batch * hidden];
            let transposed = (&self.net.head[..], (1, outputs));
            gemm(by_output, transposed, &mut d_last, (batch, outputs, hidden));
            Gradients { gates: self.backward.run(trace, &d_last, gradient), head }
        })
    }
}

/// `c = a · b` with (row, column) strides for `a: m × k` and `b: k × n`; `c` is row-major.
fn gemm(
    (a, a_strides): (&[f32], (usize, usize)),
    (b, b_strides): (&[f32], (usize, usize)),
    c: &mut [f32],
    (m, k, n): (usize, usize, usize),
) {
    assert!(a.len() >= m * k && b.len() >= k * n && c.len() >= m * n, "matrix sizes disagree");
    let (ra, ca) = (a_strides.0 as isize, a_strides.1 as isize);
    let (rb, cb) = (b_strides.0 as isize, b_strides.1 as isize);
    // SAFETY: the lengths are checked above, and with these strides every index stays below them.
    unsafe {
        sgemm(
            m,
            k,
            n,
            1.0,
            a.as_ptr(),
            ra,
            ca,
            b.as_ptr(),
            rb,
            cb,
            0.0,
            c.as_mut_ptr(),
            n as isize,
            1,
        )
    }
}

/// AdamW (Loshchilov and Hutter 2019) over one weight vector.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    /// Running mean of the gradients.
    pub first: Vec<f32>,
    /// Running mean of their squares.
    pub second: Vec<f32>,
    /// Updates made.
    pub step: i32,
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
        for (((w, &g), m), v) in
            weights.iter_mut().zip(gradient).zip(&mut self.first).zip(&mut self.second)
        {
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

    fn inputs(len: usize) -> Vec<f32> {
        let mut rng = fastrand::Rng::with_seed(1);
        (0..len).map(|_| rng.f32() * 2.0 - 1.0).collect()
    }

    fn network(shape: Shape) -> Lstm {
        let mut net = Lstm::new(shape, 7);
        let mut rng = fastrand::Rng::with_seed(2);
        net.head.iter_mut().for_each(|w| *w = rng.f32() - 0.5);
        net
    }

    /// Every weight of every kernel, for windows that fill registers and for those left over.
    #[test]
    fn gradients_agree_with_finite_differences() {
        const BATCH: usize = 5;
        let eps = 1e-2f32;
        for shape in [SHAPE, Shape { hidden: 18, ..SHAPE }] {
            let (net, inputs) = (network(shape), inputs(BATCH * 5 * 2));
            let loss = |net: &Lstm| -> f64 {
                let out = Packed::new(net).forward(&inputs, BATCH);
                out.iter().map(|&o| f64::from(o).powi(2)).sum()
            };
            let numeric = |at: usize| {
                let nudged = |by: f32| {
                    let mut net = net.clone();
                    match at.checked_sub(shape.gate_len()) {
                        None => net.gates[at] += by,
                        Some(head_at) => net.head[head_at] += by,
                    }
                    loss(&net)
                };
                (nudged(eps) - nudged(-eps)) / f64::from(2.0 * eps)
            };
            let numeric: Vec<f64> = (0..shape.gate_len() + shape.head_len()).map(numeric).collect();
            for cpu in Cpu::available() {
                let squares = |out: &[f32]| out.iter().map(|o| 2.0 * o).collect();
                let found = net.learner_for(cpu).gradients(&inputs, BATCH, squares);
                for (at, exact) in found.gates.iter().chain(&found.head).enumerate() {
                    let (exact, numeric) = (f64::from(*exact), numeric[at]);
                    assert!(
                        (numeric - exact).abs() < 4e-3,
                        "{cpu:?}, weight {at}: {numeric} against {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_untrained_network_forecasts_no_change() {
        assert_eq!(Packed::new(&Lstm::new(SHAPE, 3)).forward(&[0.5; 8], 2), [0.0; 4]);
    }

    /// The definition, in double precision and without any cleverness.
    fn reference(net: &Lstm, window: &[f32]) -> Vec<f64> {
        let Shape { features, hidden, outputs } = net.shape;
        let (mut h, mut c) = (vec![0.0f64; hidden], vec![0.0f64; hidden]);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for x in window.chunks(features) {
            let input: Vec<f64> =
                x.iter().map(|&v| f64::from(v)).chain(h.iter().copied()).chain([1.0]).collect();
            let z = |j: usize| {
                input
                    .iter()
                    .enumerate()
                    .map(|(k, v)| v * f64::from(net.gates[k * 4 * hidden + j]))
                    .sum::<f64>()
            };
            let z: Vec<f64> = (0..4 * hidden).map(z).collect();
            for j in 0..hidden {
                c[j] = sigmoid(z[hidden + j]) * c[j] + sigmoid(z[j]) * z[2 * hidden + j].tanh();
                h[j] = sigmoid(z[3 * hidden + j]) * c[j].tanh();
            }
        }
        h.push(1.0);
        (0..outputs)
            .map(|o| {
                h.iter().enumerate().map(|(j, v)| v * f64::from(net.head[j * outputs + o])).sum()
            })
            .collect()
    }

    #[test]
    fn every_kernel_agrees_with_the_definition_for_every_batch() {
        for hidden in [3, 16, 40] {
            let net = network(Shape { features: 3, hidden, outputs: 5 });
            let inputs = inputs(7 * 9 * 3);
            for cpu in Cpu::available() {
                for batch in [1, 2, 4, 7] {
                    let out = Packed::for_cpu(&net, cpu).forward(&inputs[..batch * 27], batch);
                    for (row, window) in out.chunks(5).zip(inputs.chunks(27)) {
                        for (got, expected) in row.iter().zip(reference(&net, window)) {
                            assert!(
                                (f64::from(*got) - expected).abs() < 2e-6,
                                "{cpu:?} batch {batch}: {got} against {expected}"
                            );
                        }
                    }
                }
            }
        }
    }
}
