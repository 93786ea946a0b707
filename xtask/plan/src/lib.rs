//! Configuration, names, templates, plans and verdicts: everything `cargo xtask` decides.
//!
//! Pure: values in, values out. It never opens a file or a socket, starts no process, knows no SDK
//! and reads neither clock nor environment. The callers gather facts and carry out what is decided
//! here.

pub mod builds;
pub mod catalogue;
mod components;
pub mod deploy;
pub mod destroy;
pub mod elf;
pub mod environment;
pub mod etl;
pub mod events;
pub mod grants;
pub mod made;
pub mod names;
pub mod observed;
pub mod payload;
pub mod profile;
pub mod review;
pub mod runs;
pub mod site;
pub mod smoke_test;
pub mod stack;
pub mod status;
pub mod usage;
mod workflow;
mod yaml;
