//! The kinds of questions that models answer.

pub mod forecast;
