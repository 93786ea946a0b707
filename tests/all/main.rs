//! All integration tests in one binary: the structure of the workspace, each process at its
//! interface, and whole scenarios through the command line.

mod checkout;
mod cleaning;
mod cloudformation;
mod cloudformation_crash;
mod ec2;
mod embedded_cloud;
mod faults;
mod forecasts;
mod in_process;
mod jobs;
mod lambda;
mod models;
mod process;
mod scenarios;
mod signed;
mod state_machines;
mod structure;
mod tools;
