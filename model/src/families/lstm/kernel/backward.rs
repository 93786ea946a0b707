//! The backward pass through time, in the blocks of the forward pass.

use super::super::network::{Lstm, Shape};
use super::{BASELINE_FMA, Cpu, LANES, Lane, Trace, fma};

/// A network's recurrent weights in the order in which the backward pass reads them.
#[derive(Debug)]
pub struct Backward {
    shape: Shape,
    cpu: Cpu,
    /// Per block of units: for each unit that they feed, their weights in its four gates.
    recurrent: Vec<[Lane; 4]>,
}

/// Memory of the backward pass, kept between calls.
#[derive(Debug, Default)]
pub struct Gradient {
    /// Of the states after a step, per window its blocks.
    d_hidden: Vec<Lane>,
    /// Of the cells after a step.
    d_cell: Vec<Lane>,
    /// Of the gates before their non-linearities.
    d_z: Vec<[Lane; 4]>,
    /// Of the weights: per block, its rows.
    weights: Vec<[Lane; 4]>,
}

impl Backward {
    /// Packs `net` for an instruction set of this processor.
    pub fn for_cpu(net: &Lstm, cpu: Cpu) -> Self {
        let Shape { features, hidden, .. } = net.shape;
        let blocks = hidden.div_ceil(LANES);
        let weight = |to: usize, gate: usize, from: usize| match to.max(from) < hidden {
            true => net.gates[(features + from) * 4 * hidden + gate * hidden + to],
            false => 0.0,
        };
        let lanes = |first: usize, to: usize| {
            std::array::from_fn(|gate| {
                Lane(std::array::from_fn(|lane| weight(to, gate, first + lane)))
            })
        };
        let recurrent = (0..blocks)
            .flat_map(|block| (0..blocks * LANES).map(move |to| (block * LANES, to)))
            .map(|(first, to)| lanes(first, to))
            .collect();
        Self { shape: net.shape, cpu, recurrent }
    }

    /// Gradients of all weights of the gates, `gate_rows × 4·hidden`, for the windows of `trace`.
    /// `d_last` are those of the states after the last step, `batch × hidden`.
    pub fn run(&self, trace: &Trace, d_last: &[f32], gradient: &mut Gradient) -> Vec<f32> {
        let hidden = self.shape.hidden;
        let (blocks, batch) = (hidden.div_ceil(LANES), d_last.len() / hidden.max(1));
        let Gradient { d_hidden, d_cell, d_z, weights } = gradient;
        for lanes in [&mut *d_hidden, &mut *d_cell] {
            lanes.clear();
            lanes.resize(batch * blocks, Lane::ZERO);
        }
        d_z.resize(batch * blocks, [Lane::ZERO; 4]);
        weights.clear();
        weights.resize(blocks * self.shape.gate_rows(), [Lane::ZERO; 4]);
        for (lanes, d_last) in d_hidden.chunks_mut(blocks).zip(d_last.chunks(hidden)) {
            for (lane, d_last) in lanes.iter_mut().zip(d_last.chunks(LANES)) {
                lane.0[..d_last.len()].copy_from_slice(d_last);
            }
        }
        let net = self;
        if self.cpu.is_wide() {
            dispatch!(
                self.cpu,
                backward::<true>,
                (net: &Backward, trace: &Trace, gradient: &mut Gradient)
            );
        } else {
            dispatch!(
                self.cpu,
                backward::<false>,
                (net: &Backward, trace: &Trace, gradient: &mut Gradient)
            );
        }
        self.unpacked(&gradient.weights)
    }

    /// Blocks as a matrix, `gate_rows × 4·hidden`.
    fn unpacked(&self, weights: &[[Lane; 4]]) -> Vec<f32> {
        let (hidden, rows) = (self.shape.hidden, self.shape.gate_rows());
        let mut all = Vec::with_capacity(self.shape.gate_len());
        for (row, gate) in (0..rows).flat_map(|row| (0..4).map(move |gate| (row, gate))) {
            for (block, first) in (0..hidden).step_by(LANES).enumerate() {
                let units = LANES.min(hidden - first);
                all.extend_from_slice(&weights[block * rows + row][gate].0[..units]);
            }
        }
        all
    }
}

/// Back through all steps.
#[inline(always)]
fn backward<const FMA: bool, const WIDE: bool>(
    net: &Backward,
    trace: &Trace,
    gradient: &mut Gradient,
) {
    let Gradient { d_hidden, d_cell, d_z, weights } = gradient;
    let (size, rows) = (d_cell.len(), net.shape.gate_rows());
    let blocks = net.shape.hidden.div_ceil(LANES);
    for step in (0..trace.cells.len() / size.max(1)).rev() {
        let of_step = step * size..(step + 1) * size;
        let (gates, squashed) = (&trace.gates[of_step.clone()], &trace.squashed[of_step]);
        let before = step.checked_sub(1).map(|before| &trace.cells[before * size..][..size]);
        for (at, d_z) in d_z.iter_mut().enumerate() {
            let before = before.map_or(&Lane::ZERO, |before| &before[at]);
            let passed = (&d_hidden[at], &mut d_cell[at]);
            *d_z = gate_gradients::<FMA>(&gates[at], &squashed[at], before, passed);
        }
        let batch = size / blocks;
        let inputs = &trace.inputs[step * batch * rows..][..batch * rows];
        for block in 0..blocks {
            let weights = &mut weights[block * rows..][..rows];
            let mut row = 0;
            // As many rows at once as there are registers for their sums.
            while WIDE && row + 6 <= rows {
                add_products::<FMA, 6>(inputs, row, (d_z, blocks, block), weights);
                row += 6;
            }
            for row in row..rows {
                add_products::<FMA, 1>(inputs, row, (d_z, blocks, block), weights);
            }
        }
        if step > 0 {
            let mut row = 0;
            while WIDE && row + 4 <= batch {
                states::<FMA, 4>(net, (row, blocks), d_z, d_hidden);
                row += 4;
            }
            for row in row..batch {
                states::<FMA, 1>(net, (row, blocks), d_z, d_hidden);
            }
        }
    }
}

/// Gradients before the non-linearities of one step; turns the second of `passed`, the gradient of
/// the cells, into that of the cells before the step.
#[inline(always)]
fn gate_gradients<const FMA: bool>(
    gates: &[Lane; 4],
    squashed: &Lane,
    before: &Lane,
    (d_hidden, d_cell): (&Lane, &mut Lane),
) -> [Lane; 4] {
    let mut d_z = [Lane::ZERO; 4];
    for j in 0..LANES {
        let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[gate].0[j]);
        let (squashed, d_hidden) = (squashed.0[j], d_hidden.0[j]);
        let d_c = fma::<FMA>(d_hidden * o, 1.0 - squashed * squashed, d_cell.0[j]);
        d_z[0].0[j] = d_c * g * i * (1.0 - i);
        d_z[1].0[j] = d_c * before.0[j] * f * (1.0 - f);
        d_z[2].0[j] = d_c * i * (1.0 - g * g);
        d_z[3].0[j] = d_hidden * squashed * o * (1.0 - o);
        d_cell.0[j] = d_c * f;
    }
    d_z
}

/// Adds one step of all windows to the gradients of `R` rows of one block's weights.
#[inline(always)]
fn add_products<const FMA: bool, const R: usize>(
    inputs: &[f32],
    first: usize,
    (d_z, blocks, block): (&[[Lane; 4]], usize, usize),
    weights: &mut [[Lane; 4]],
) {
    let rows = weights.len();
    let kept = &mut weights[first..first + R];
    let mut sums: [[Lane; 4]; R] = std::array::from_fn(|r| kept[r]);
    for (inputs, d_z) in inputs.chunks_exact(rows).zip(d_z.chunks_exact(blocks)) {
        let (inputs, d_z) = (&inputs[first..first + R], &d_z[block]);
        for r in 0..R {
            for gate in 0..4 {
                sums[r][gate] = sums[r][gate].add_product::<FMA>(inputs[r], d_z[gate]);
            }
        }
    }
    kept.copy_from_slice(&sums);
}

/// Gradients of the states before a step for `R` windows.
#[inline(always)]
fn states<const FMA: bool, const R: usize>(
    net: &Backward,
    (first, blocks): (usize, usize),
    d_z: &[[Lane; 4]],
    d_hidden: &mut [Lane],
) {
    for (to, weights) in net.recurrent.chunks_exact(blocks * LANES).enumerate() {
        // A sum per gate: more sums than one are under way at any time.
        let mut sums = [[Lane::ZERO; 4]; R];
        for (block, weights) in weights.chunks_exact(LANES).enumerate() {
            let d_z: [&[Lane; 4]; R] = std::array::from_fn(|r| &d_z[(first + r) * blocks + block]);
            for (lane, weights) in weights.iter().enumerate() {
                for r in 0..R {
                    for gate in 0..4 {
                        let factor = d_z[r][gate].0[lane];
                        sums[r][gate] = sums[r][gate].add_product::<FMA>(factor, weights[gate]);
                    }
                }
            }
        }
        for (r, [i, f, g, o]) in sums.into_iter().enumerate() {
            let sum = |j: usize| (i.0[j] + f.0[j]) + (g.0[j] + o.0[j]);
            d_hidden[(first + r) * blocks + to] = Lane(std::array::from_fn(sum));
        }
    }
}
