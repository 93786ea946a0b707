//! Jobs of the stack that need the models: training against the model in service, and looking for
//! drift.
//!
//! One package, two Lambda functions: the function's handler says which job it runs. A job can be
//! repeated after any failure; what it has done already it does not do again.

pub mod drift;
pub mod inputs;
pub mod realised;
pub mod train;
