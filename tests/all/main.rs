//! All integration tests in one binary: the structure of the workspace, each process at its
//! interface, and whole scenarios through the command line.

mod athena;
mod catalogued;
mod checkout;
mod cleaning;
mod cloudformation;
mod cloudformation_crash;
mod deployer;
mod deployer_aws;
mod ec2;
mod embedded_cloud;
mod engines;
mod faults;
mod forecasts;
mod front_door;
mod glue;
mod hostile_clients;
mod hostile_models;
mod hostile_records;
mod hostile_requests;
mod iam_roles;
mod in_process;
mod jobs;
mod lambda;
mod middleman;
mod models;
mod process;
mod s3;
mod scenarios;
mod serving;
mod signed;
mod signed_client;
mod state_machines;
mod strange_store;
mod structure;
mod tools;
