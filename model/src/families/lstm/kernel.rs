//! The forward pass and the backward pass through time, compiled once per instruction set and
//! chosen when the program runs.
//!
//! Weights are packed by blocks of [`LANES`] units: for every input row the four gates of the block
//! lie side by side, so a step reads memory once, in order, and keeps all sums in registers. The
//! code is plain Rust on arrays of [`LANES`] values; the compiler turns it into AVX-512, AVX2 or
//! NEON. Several windows at once share every weight that is read. The backward pass lies in the same
//! blocks, step by step, so that its sums stay in registers, too, and nothing is packed twice.

use super::network::{Lstm, Shape};

/// Units of a block: the width of an AVX-512 register.
pub const LANES: usize = 16;

/// Instruction sets with a version of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cpu {
    /// What every processor of the architecture has: SSE2 on x86-64, NEON on 64-bit ARM.
    Baseline,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Cpu {
    /// The instruction sets of this processor, slowest first.
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            [(true, Self::Baseline), (avx2, Self::Avx2), (avx512, Self::Avx512)]
                .into_iter()
                .filter_map(|(have, cpu)| have.then_some(cpu))
                .collect()
        }
        #[cfg(not(target_arch = "x86_64"))]
        vec![Self::Baseline]
    }

    /// The fastest one of this processor.
    pub fn best() -> Self {
        static BEST: std::sync::OnceLock<Cpu> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::available().pop().unwrap_or(Self::Baseline))
    }

    /// Whether the sums of four windows fit into its registers.
    fn is_wide(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self == Self::Avx512;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Its name in logs and cards.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline if cfg!(target_arch = "aarch64") => "neon",
            Self::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
        }
    }
}

/// Whether a fused multiply-add is an instruction of the baseline, and not a slow library call.
const BASELINE_FMA: bool = cfg!(target_arch = "aarch64");

/// Compiles `$body` for every instruction set and calls the version for `$cpu`.
macro_rules! dispatch {
    ($cpu:expr, $body:ident::<$($constant:literal),*>, ($($arg:ident: $type:ty),*)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn avx512($($arg: $type),*) {
            $body::<true $(, $constant)*>($($arg),*)
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2($($arg: $type),*) {
            $body::<true $(, $constant)*>($($arg),*)
        }
        match $cpu {
            Cpu::Baseline => $body::<BASELINE_FMA $(, $constant)*>($($arg),*),
            // SAFETY: the value exists only where `Cpu::available` has found the instruction set.
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx2 => unsafe { avx2($($arg),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx512 => unsafe { avx512($($arg),*) },
        }
    }};
}

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

/// A block of values, one register wide.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
struct Lane([f32; LANES]);

impl Lane {
    const ZERO: Self = Self([0.0; LANES]);

    /// `factor · weights + self`.
    #[inline(always)]
    fn add_product<const FMA: bool>(self, factor: f32, weights: Self) -> Self {
        let mut sum = self.0;
        for (sum, weight) in sum.iter_mut().zip(weights.0) {
            *sum = fma::<FMA>(factor, weight, *sum);
        }
        Self(sum)
    }
}

#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `eˣ` within 2 units in the last place for |x| ≤ 87, after Cephes' `expf`; branch-free, so that
/// it becomes vector instructions.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding it leaves the nearest whole number in the low bits.
    let x = x.clamp(-87.0, 87.0);
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts, the first of which n multiplies without rounding.
    let r = fma::<FMA>(n, 2.121_944_4e-4, fma::<FMA>(n, -0.693_359_4, x));
    let p = fma::<FMA>(1.987_569_1e-4, r, 1.398_199_9e-3);
    let p = fma::<FMA>(p, r, 8.333_452e-3);
    let p = fma::<FMA>(p, r, 4.166_579_6e-2);
    let p = fma::<FMA>(p, r, 1.666_666_5e-1);
    let p = fma::<FMA>(p, r, 0.5);
    let mantissa = fma::<FMA>(p, r * r, r) + 1.0;
    f32::from_bits(mantissa.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[inline(always)]
fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

#[inline(always)]
fn tanh<const FMA: bool>(x: f32) -> f32 {
    2.0 / (1.0 + exp::<FMA>(-2.0 * x)) - 1.0
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
    inputs: Vec<f32>,
    /// Gates after their non-linearities.
    gates: Vec<[Lane; 4]>,
    /// Cells after the step.
    cells: Vec<Lane>,
    /// Their hyperbolic tangents.
    squashed: Vec<Lane>,
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
            dispatch!(self.cpu, backward::<true>, (net: &Backward, trace: &Trace, gradient: &mut Gradient));
        } else {
            dispatch!(self.cpu, backward::<false>, (net: &Backward, trace: &Trace, gradient: &mut Gradient));
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
