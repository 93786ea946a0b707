//! All integration tests in one binary: the structure of the workspace, each process at its
//! interface, and whole scenarios through the command line.

mod athena;
mod catalogued;
mod checkout;
mod cleaning;
mod cloudformation;
mod cloudformation_crash;
mod embedded_cloud;
mod faults;
mod forecasts;
mod front_door;
mod glue;
mod iam_roles;
mod jobs;
mod models;
mod s3;
mod scenarios;
mod signed;
mod state_machines;
mod structure;
mod tools;
