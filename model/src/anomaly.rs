//! What is unusual in one series, value by value or all at once.
//!
//! Plain values in, plain values out. Nothing here knows a task, a card or a file; nothing reads a
//! clock; equal values and seeds give equal scores.

pub mod nab;
