//! What all services share, and that knows none of them: the cloud as a value, records, a clock, a
//! bus, resource types, faults, processes, identity, permissions.

pub mod bus;
pub mod clock;
pub mod cloud;
pub mod delivery;
pub mod durable;
pub mod engine;
pub mod error;
pub mod eviction;
pub mod faults;
pub mod folder;
mod former;
pub mod iam;
pub mod identity;
pub mod indexed;
pub mod log;
pub mod model;
pub mod outbox;
pub mod pages;
pub mod processes;
pub mod resource;
pub mod rotated;
pub mod schema;
pub mod service;
pub mod store;
pub mod tags;
pub mod trail;
