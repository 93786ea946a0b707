//! Jobs of the stack: checks of a run's inputs and answers, training against the model in service,
//! scores of rows, what was predicted beside what came, what is unusual, and looking for drift.
//!
//! One package, several Lambda functions: the function's handler says which job it runs. A job can
//! be repeated after any failure; what it has done already it does not do again.

pub mod check;
mod columnar;
pub mod drift;
pub mod inputs;
pub mod look;
pub mod realised;
pub mod score;
pub mod train;
