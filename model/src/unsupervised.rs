//! Tables without a target: what is unusual in them, and which groups there are.
//!
//! Each look is at a whole table at once; nothing is kept between two. The numbers are those of
//! [`crate::rows`] and [`crate::anomaly`]; here is what reads a table, holds rows against those of
//! their own group, lets families vote, and says why.

pub mod clustering;
mod data;
pub mod faults;
mod prepared;
pub mod rows;
pub mod series;

pub use data::{Entities, Readings, read_entities, read_series};

#[cfg(test)]
mod tests;
