//! All integration tests in one binary: the structure of the workspace, each process at its
//! interface, and whole scenarios through the command line.

mod checkout;
mod cleaning;
mod embedded_cloud;
mod forecasts;
mod hostile_clients;
mod hostile_models;
mod hostile_records;
mod hostile_requests;
mod jobs;
mod models;
mod scenarios;
mod strange_store;
mod structure;
mod tools;
