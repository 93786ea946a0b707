//! All integration tests in one binary: the structure of the workspace, each process at its
//! interface, and whole scenarios through the command line.

mod athena;
mod catalogued;
mod checkout;
mod cleaning;
mod embedded_cloud;
mod forecasts;
mod glue;
mod jobs;
mod models;
mod scenarios;
mod structure;
mod tools;
