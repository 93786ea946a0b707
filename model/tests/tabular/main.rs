//! Tasks about rows, from a table to the answers of an artifact that was read.

mod answers;
mod artifacts;
mod contests;
mod drift;
mod leaks;
mod made;
mod reading;
mod splits;
mod stroke;
mod tuning;
