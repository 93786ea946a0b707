//! The forward pass and the backward pass through time, compiled once per instruction set and
//! chosen when the program runs.
//!
//! Weights are packed by blocks of [`LANES`] units: for every input row the four gates of the block
//! lie side by side, so a step reads memory once, in order, and keeps all sums in registers. The
//! code is plain Rust on arrays of [`LANES`] values; the compiler turns it into AVX-512, AVX2 or
//! NEON. Several windows at once share every weight that is read. The backward pass lies in the same
//! blocks, step by step, so that its sums stay in registers, too, and nothing is packed twice.

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

mod backward;
mod forward;

pub use backward::{Backward, Gradient};
pub use forward::{Packed, Scratch, Trace};

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
