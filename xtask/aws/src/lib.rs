//! The only crate that knows the AWS SDK: calls, and conversion to the planner's types.
//!
//! It decides nothing. No SDK type leaves it, and every error says which call failed and why.

mod buckets;
mod error;
mod queries;
mod runs;
mod search;
mod stacks;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;

pub use error::{AwsError, Kind};
pub use queries::Answer;
pub use runs::{ExecutionView, HistoryEvent, Invocation};
pub use stacks::{ChangeSetView, EventView, StackView, TemplateSource};

/// Result of a call.
pub type Result<T> = std::result::Result<T, AwsError>;

/// Where calls go and as whom.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Endpoint of all services; AWS's own when absent.
    pub endpoint: Option<String>,
    /// Region.
    pub region: String,
    /// Profile of the shared configuration files.
    pub profile: Option<String>,
    /// Access key and secret, instead of the usual chain.
    pub keys: Option<(String, String)>,
}

/// Clients of all services.
#[derive(Debug, Clone)]
pub struct Aws {
    s3: aws_sdk_s3::Client,
    sts: aws_sdk_sts::Client,
    iam: aws_sdk_iam::Client,
    sns: aws_sdk_sns::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    glue: aws_sdk_glue::Client,
    athena: aws_sdk_athena::Client,
    states: aws_sdk_sfn::Client,
    lambda: aws_sdk_lambda::Client,
    stacks: aws_sdk_cloudformation::Client,
    #[cfg(feature = "ec2")]
    ec2: aws_sdk_ec2::Client,
}

/// Who the credentials belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Account number.
    pub account: String,
    /// ARN of the caller.
    pub arn: String,
}

impl Aws {
    /// Prepares the clients; nothing is sent.
    pub async fn connect(target: &Target) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(target.region.clone()));
        if let Some(endpoint) = &target.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(profile) = &target.profile {
            loader = loader.profile_name(profile);
        }
        if let Some((id, secret)) = &target.keys {
            loader =
                loader.credentials_provider(Credentials::new(id, secret, None, None, "steppe"));
        }
        let config = loader.load().await;
        // Buckets in the path work everywhere; buckets in the host name need DNS that a local endpoint has not.
        let s3 = aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(target.endpoint.is_some() || config.endpoint_url().is_some())
            .build();
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            sts: aws_sdk_sts::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            sns: aws_sdk_sns::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            glue: aws_sdk_glue::Client::new(&config),
            athena: aws_sdk_athena::Client::new(&config),
            states: aws_sdk_sfn::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            stacks: aws_sdk_cloudformation::Client::new(&config),
            #[cfg(feature = "ec2")]
            ec2: aws_sdk_ec2::Client::new(&config),
        }
    }

    /// Asks who we are; the cheapest proof that endpoint and credentials work.
    pub async fn identity(&self) -> Result<Identity> {
        let answer = self
            .sts
            .get_caller_identity()
            .send()
            .await
            .map_err(|e| AwsError::new("sts:GetCallerIdentity", e))?;
        Ok(Identity {
            account: answer.account.unwrap_or_default(),
            arn: answer.arn.unwrap_or_default(),
        })
    }
}
