//! The kinds of questions that models answer. To add one, write its folder with its implementation
//! of [`crate::task::Task`], and its line here; its families have a list of their own in
//! `families.rs`.

pub mod forecast;
pub mod tabular;
