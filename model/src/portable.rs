//! One function of the C library that newer systems version anew.
//!
//! `hypot` carries the symbol version `GLIBC_2.35` where this is built on a newer distribution, and
//! Amazon Linux 2023 has 2.34. Intervals call it; this definition, from the `libm` crate, takes the
//! place of the system's.

/// Length of the hypotenuse, as C names and calls it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[unsafe(no_mangle)]
pub extern "C" fn hypot(x: f64, y: f64) -> f64 {
    libm::hypot(x, y)
}
