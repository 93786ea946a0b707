//! The embedded cloud: AWS's wire protocols on one loopback port, over real local execution.
//!
//! These module docs are its specification. It promises:
//!
//! 1. It never pretends: an operation, resource type, property, state or directive that it does not
//!    implement is an error that names it, and no stub reports success.
//! 2. It enforces IAM: everything that computes gets temporary credentials of its role, every call
//!    is evaluated against that role's policies, and a denial has AWS's words. `audit.ndjson` lists
//!    what roles called and which statements allowed it.
//! 3. Its CloudFormation behaves: order, parallel creation, conditions, change sets, events with
//!    reasons, rollback, wedged states, buckets that are not empty.
//! 4. State survives a crash of the process. It binds loopback only.
//!
//! Each service's module lists where it differs from AWS. Differences of the whole: one account,
//! one region, one user (the administrator); every change is visible at once; nothing is encrypted
//! at rest.

pub mod console;
pub mod coverage;
pub mod inputs;
pub mod kernel;
pub mod protocol;
pub mod services;
