//! The services: one list, one folder each.
//!
//! A service has its records, which are nobody else's business, its API, its resource types, and
//! what other services call.

use std::sync::Arc;

use anyhow::Result;
use serde_json::Value;

use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Service;

// Not by the macro below, behind which nobody would format them.
pub mod athena;
pub mod cloudcontrol;
pub mod cloudformation;
pub mod cloudtrail;
pub mod cloudwatch;
pub mod dynamodb;
pub mod dynamodbstreams;
pub mod ec2;
pub mod events;
pub mod firehose;
pub mod glue;
pub mod iam;
pub mod kinesis;
pub mod kms;
pub mod lambda;
pub mod logs;
pub mod s3;
pub mod scheduler;
pub mod sns;
pub mod sqs;
pub mod ssm;
pub mod states;
pub mod sts;
pub mod tagging;

/// The list of services, and what each has.
macro_rules! services {
    ($($name:ident),* $(,)?) => {
        /// All services that have operations of the common form.
        static SERVICES: &[&Service] = &[$(&$name::SERVICE),*];

        /// What each service has.
        #[derive(Debug)]
        pub struct Services {
            $(#[doc = concat!("What `", stringify!($name), "` has.")] pub $name: $name::State,)*
        }

        impl Services {
            /// Opens the records of all services.
            pub fn open(opening: &Opening<'_>) -> Result<Self> {
                Ok(Self { $($name: $name::State::open(opening)?,)* })
            }
        }
    };
}

services![
    athena,
    cloudcontrol,
    cloudformation,
    cloudtrail,
    cloudwatch,
    dynamodb,
    dynamodbstreams,
    ec2,
    events,
    firehose,
    glue,
    iam,
    kms,
    kinesis,
    lambda,
    logs,
    s3,
    scheduler,
    sns,
    sqs,
    ssm,
    states,
    sts,
    tagging,
];

/// All services.
pub fn all() -> impl Iterator<Item = &'static Service> {
    SERVICES.iter().copied()
}

/// The service that requests are signed for.
pub fn find(id: &str) -> Option<&'static Service> {
    SERVICES.iter().copied().find(|service| service.id == id)
}

/// What a service has that has nothing.
#[derive(Debug)]
pub struct Nothing;

impl Nothing {
    /// There is nothing to open.
    pub fn open(_: &Opening<'_>) -> Result<Self> {
        Ok(Self)
    }
}

/// Goes on with what services have accepted and not yet done, and does what they will accept.
pub fn run_deliveries(cloud: &Arc<Cloud>) {
    sqs::resume(cloud);
    s3::begin(cloud);
    tokio::spawn(ec2::checks::run(cloud.clone()));
    tokio::spawn(sns::run_deliveries(cloud.clone()));
    tokio::spawn(events::run_deliveries(cloud.clone()));
    tokio::spawn(scheduler::run_deliveries(cloud.clone()));
    tokio::spawn(lambda::run_events(cloud.clone()));
    tokio::spawn(lambda::run_deliveries(cloud.clone()));
    lambda::resume_mappings(cloud);
}

/// A required text parameter.
pub fn required<'a>(params: &'a Value, name: &str) -> ApiResult<&'a str> {
    params[name]
        .as_str()
        .filter(|t| !t.is_empty())
        .ok_or_else(|| ApiError::validation(format!("The parameter {name} is required.")))
}

/// Refuses every parameter that `operation` does not use: one check at the beginning of a handler,
/// with the names of what the handler reads.
///
/// A parameter that is `null` was not given. AWS ignores names that it does not know; here they are
/// refused as well, because a name that is left out of `used` may be one that AWS acts on.
///
/// ```
/// # use serde_json::json;
/// # use steppe_cloud::services::known;
/// let params = json!({ "JobName": "clean", "WorkerType": "G.1X" });
/// let error = known(&params, "glue", "StartJobRun", &["JobName", "Arguments"]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "NotImplemented: The embedded cloud does not implement the parameter WorkerType of \
///      glue:StartJobRun."
/// );
/// ```
pub fn known(params: &Value, service: &str, operation: &str, used: &[&str]) -> ApiResult<()> {
    let Some(members) = params.as_object() else {
        let message = format!("The input of {service}:{operation} is not a structure.");
        return Err(ApiError::new("SerializationException", message));
    };
    let given = members.iter().filter(|(_, value)| !value.is_null());
    let mut unused = given.map(|(name, _)| name.as_str()).filter(|name| !used.contains(name));
    unused.next().map_or(Ok(()), |name| {
        Err(ApiError::unknown_parameter(name, &format!("{service}:{operation}")))
    })
}

#[cfg(test)]
mod tests;
