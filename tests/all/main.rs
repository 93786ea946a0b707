//! All integration tests in one binary: the structure of the workspace, each process at its
//! interface, and whole scenarios through the command line.

mod checkout;
mod cleaning;
mod embedded_cloud;
mod forecasts;
mod front_door;
mod iam_roles;
mod jobs;
mod models;
mod scenarios;
mod signed;
mod structure;
mod tools;
