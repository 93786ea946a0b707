//! All integration tests in one binary: the structure of the workspace, each process at its
//! interface, and whole scenarios through the command line.

mod checkout;
mod cleaning;
mod deployer;
mod deployer_aws;
mod embedded_cloud;
mod forecasts;
mod jobs;
mod middleman;
mod models;
mod scenarios;
mod state_machines;
mod structure;
mod tools;
