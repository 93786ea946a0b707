//! All integration tests in one binary: the structure of the workspace, each process at its
//! interface, and whole scenarios through the command line.

mod checkout;
mod cleaning;
mod cloudformation;
mod cloudformation_crash;
mod embedded_cloud;
mod faults;
mod forecasts;
mod jobs;
mod models;
mod scenarios;
mod state_machines;
mod structure;
mod tools;
