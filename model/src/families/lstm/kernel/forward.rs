//! The forward pass: four gates of a block of units at a time, for up to four windows.

use super::super::network::{Lstm, Shape};
use super::{BASELINE_FMA, Cpu, LANES, Lane, fma, sigmoid, tanh};

/// The forward pass through [`dispatch`].
macro_rules! call {
    ($cpu:expr, $body:ident::<$together:literal>, $net:ident, $rows:ident, $scratch:ident, $out:ident, $trace:ident) => {
        dispatch!(
            $cpu,
            $body::<$together>,
            ($net: &Packed, $rows: Rows<'_>, $scratch: &mut [f32], $out: &mut [f32], $trace: Option<&mut Trace>)
        )
    };
}

/// A network's weights in the order in which the forward pass reads them.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    shape: Shape,
    cpu: Cpu,
    /// Hidden units rounded up to whole blocks; the extra ones stay at zero.
    padded: usize,
    /// Per block: the four gates' biases, then per input row their weights. Aligned to cache lines:
    /// a register that crosses one costs two reads.
    blocks: Vec<[Lane; 4]>,
    /// `(hidden + 1) × outputs`.
    head: Vec<f32>,
}

/// What the backward pass needs, time-major: place `(step · batch + row)`, in it the blocks.
#[derive(Debug, Default)]
pub struct Trace {
    /// `[x, h, 1]`, `gate_rows` each.
    pub(super) inputs: Vec<f32>,
    /// Gates after their non-linearities.
    pub(super) gates: Vec<[Lane; 4]>,
    /// Cells after the step.
    pub(super) cells: Vec<Lane>,
    /// Their hyperbolic tangents.
    pub(super) squashed: Vec<Lane>,
    /// `[h, 1]` after the last step, `hidden + 1` each.
    pub last: Vec<f32>,
    /// What it fits: the shape, and the numbers of rows and windows.
    fits: Option<(Shape, usize, usize)>,
}

impl Trace {
    /// Makes room. Everything is written by the forward pass but the ones beside inputs and states.
    fn fit(&mut self, shape: Shape, rows: usize, batch: usize) {
        if self.fits == Some((shape, rows, batch)) {
            return;
        }
        let blocks = rows * shape.hidden.div_ceil(LANES);
        *self = Self {
            inputs: vec![1.0; rows * shape.gate_rows()],
            gates: vec![[Lane::ZERO; 4]; blocks],
            cells: vec![Lane::ZERO; blocks],
            squashed: vec![Lane::ZERO; blocks],
            last: vec![1.0; batch * (shape.hidden + 1)],
            fits: Some((shape, rows, batch)),
        };
    }
}

/// Memory of the forward pass, kept between calls.
#[derive(Debug, Default)]
pub struct Scratch(Vec<f32>);

impl Packed {
    /// Packs `net` for this processor.
    pub fn new(net: &Lstm) -> Self {
        Self::for_cpu(net, Cpu::best())
    }

    /// Packs `net` for an instruction set of this processor.
    pub fn for_cpu(net: &Lstm, cpu: Cpu) -> Self {
        let Shape { features, hidden, .. } = net.shape;
        let padded = hidden.next_multiple_of(LANES);
        // Rows after the hidden ones belong to padding units, which are always zero.
        let rows = || {
            std::iter::once(Some(features + hidden))
                .chain((0..features + padded).map(|r| (r < features + hidden).then_some(r)))
        };
        let lanes = |block: usize, row: Option<usize>| {
            let weight = |gate: usize, unit: usize| {
                let row = row.filter(|_| unit < hidden);
                row.map_or(0.0, |row| net.gates[row * 4 * hidden + gate * hidden + unit])
            };
            std::array::from_fn(|gate| {
                Lane(std::array::from_fn(|lane| weight(gate, block * LANES + lane)))
            })
        };
        let blocks = (0..padded / LANES)
            .flat_map(|block| rows().map(move |row| lanes(block, row)))
            .collect();
        Self { shape: net.shape, cpu, padded, blocks, head: net.head.clone() }
    }

    /// Sizes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Outputs for `batch` windows of equal length: `inputs` is `batch × steps × features`, the
    /// result `batch × outputs`.
    pub fn forward(&self, inputs: &[f32], batch: usize) -> Vec<f32> {
        let mut out = Vec::new();
        self.forward_into(inputs, batch, &mut Scratch::default(), &mut out);
        out
    }

    /// As [`Packed::forward`], without allocating once `scratch` and `out` have grown.
    pub fn forward_into(
        &self,
        inputs: &[f32],
        batch: usize,
        scratch: &mut Scratch,
        out: &mut Vec<f32>,
    ) {
        self.run(inputs, batch, scratch, out, None);
    }

    /// As [`Packed::forward`], keeping in `trace` what the backward pass needs.
    pub fn forward_traced(&self, inputs: &[f32], batch: usize, trace: &mut Trace) -> Vec<f32> {
        trace.fit(self.shape, inputs.len() / self.shape.features.max(1), batch);
        let mut out = Vec::new();
        self.run(inputs, batch, &mut Scratch::default(), &mut out, Some(trace));
        out
    }

    fn run(
        &self,
        inputs: &[f32],
        batch: usize,
        scratch: &mut Scratch,
        out: &mut Vec<f32>,
        mut trace: Option<&mut Trace>,
    ) {
        let Shape { features, outputs, .. } = self.shape;
        let steps = inputs.len() / (batch * features).max(1);
        assert_eq!(
            inputs.len(),
            batch * steps * features,
            "inputs must be batch × steps × features"
        );
        scratch.0.resize(4 * (features + 3 * self.padded), 0.0);
        out.clear();
        out.resize(batch * outputs, 0.0);
        let mut row = 0;
        while row < batch {
            // Up to four windows share each weight, where there are registers for their sums.
            let together = if self.cpu.is_wide() { (batch - row).min(4) } else { 1 };
            let (net, rows) = (self, Rows { inputs, first: row, batch, steps });
            let (scratch, out, trace) = (&mut scratch.0[..], &mut out[..], trace.as_deref_mut());
            match together {
                1 => call!(self.cpu, forward::<1>, net, rows, scratch, out, trace),
                2 => call!(self.cpu, forward::<2>, net, rows, scratch, out, trace),
                3 => call!(self.cpu, forward::<3>, net, rows, scratch, out, trace),
                _ => call!(self.cpu, forward::<4>, net, rows, scratch, out, trace),
            }
            row += together;
        }
    }
}

/// The windows that one call of the kernel works on.
#[derive(Debug, Clone, Copy)]
struct Rows<'a> {
    inputs: &'a [f32],
    first: usize,
    batch: usize,
    steps: usize,
}

#[inline(always)]
fn forward<const FMA: bool, const R: usize>(
    net: &Packed,
    rows: Rows<'_>,
    scratch: &mut [f32],
    out: &mut [f32],
    mut trace: Option<&mut Trace>,
) {
    let (Shape { features, outputs, hidden }, padded) = (net.shape, net.padded);
    let width = features + padded;
    let (inputs, rest) = scratch.split_at_mut(R * width);
    let (states, rest) = rest.split_at_mut(R * padded);
    let cells = &mut rest[..R * padded];
    inputs.fill(0.0);
    cells.fill(0.0);
    for step in 0..rows.steps {
        for r in 0..R {
            let x = &rows.inputs[((rows.first + r) * rows.steps + step) * features..][..features];
            x.iter().zip(inputs.iter_mut().skip(r).step_by(R)).for_each(|(x, input)| *input = *x);
            if let Some(trace) = trace.as_deref_mut() {
                let at = (step * rows.batch + rows.first + r) * (features + hidden + 1);
                let kept = trace.inputs[at..][..features + hidden].iter_mut();
                kept.zip(inputs.iter().skip(r).step_by(R)).for_each(|(kept, input)| *kept = *input);
            }
        }
        for place in 0..padded / LANES {
            // To and fro: what a step read last is still in the nearest cache when the next one
            // begins with it.
            let block = if step % 2 == 0 { place } else { padded / LANES - 1 - place };
            let weights = &net.blocks[block * (width + 1)..][..width + 1];
            let sums = block_sums::<FMA, R>(weights, inputs);
            for (r, sums) in sums.iter().enumerate() {
                let at = r * padded + block * LANES;
                let (gates, squashed) =
                    activate::<FMA>(sums, &mut cells[at..at + LANES], &mut states[at..at + LANES]);
                if let Some(trace) = trace.as_deref_mut() {
                    let row = step * rows.batch + rows.first + r;
                    let place = row * (padded / LANES) + block;
                    (trace.gates[place], trace.squashed[place]) = (gates, squashed);
                    trace.cells[place].0.copy_from_slice(&cells[at..at + LANES]);
                }
            }
        }
        for (r, states) in states.chunks_exact(padded).enumerate() {
            let inputs = inputs[features * R + r..].iter_mut().step_by(R);
            inputs.zip(states).for_each(|(input, state)| *input = *state);
        }
    }
    for (r, state) in states.chunks_exact(padded).enumerate() {
        let state = &state[..hidden];
        let out = &mut out[(rows.first + r) * outputs..][..outputs];
        out.copy_from_slice(&net.head[hidden * outputs..][..outputs]);
        for (h, weights) in state.iter().zip(net.head.chunks_exact(outputs.max(1))) {
            for (out, weight) in out.iter_mut().zip(weights) {
                *out = fma::<FMA>(*h, *weight, *out);
            }
        }
        if let Some(trace) = trace.as_deref_mut() {
            trace.last[(rows.first + r) * (hidden + 1)..][..hidden].copy_from_slice(state);
        }
    }
}

/// The gates of one block before their non-linearities, for `R` windows whose inputs lie
/// interleaved.
#[inline(always)]
fn block_sums<const FMA: bool, const R: usize>(
    weights: &[[Lane; 4]],
    inputs: &[f32],
) -> [[Lane; 4]; R] {
    let mut sums = [weights[0]; R];
    for (weights, inputs) in weights[1..].iter().zip(inputs.chunks_exact(R)) {
        for r in 0..R {
            for gate in 0..4 {
                sums[r][gate] = sums[r][gate].add_product::<FMA>(inputs[r], weights[gate]);
            }
        }
    }
    sums
}

/// Applies the non-linearities, updates cells and states, and returns the gates and the hyperbolic
/// tangents of the cells.
#[inline(always)]
fn activate<const FMA: bool>(
    sums: &[Lane; 4],
    cells: &mut [f32],
    states: &mut [f32],
) -> ([Lane; 4], Lane) {
    let (mut gates, mut squashed) = (*sums, Lane::ZERO);
    for j in 0..LANES {
        let (input, forget) = (sigmoid::<FMA>(sums[0].0[j]), sigmoid::<FMA>(sums[1].0[j]));
        let (cell, output) = (tanh::<FMA>(sums[2].0[j]), sigmoid::<FMA>(sums[3].0[j]));
        let c = fma::<FMA>(forget, cells[j], input * cell);
        cells[j] = c;
        squashed.0[j] = tanh::<FMA>(c);
        states[j] = output * squashed.0[j];
        (gates[0].0[j], gates[1].0[j], gates[2].0[j], gates[3].0[j]) =
            (input, forget, cell, output);
    }
    (gates, squashed)
}
