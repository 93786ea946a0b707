//! The only crate that knows the AWS SDK: calls, and conversion to the planner's types.
//!
//! It decides nothing. No SDK type leaves it, and every error says which call failed and why.

mod buckets;
mod error;
mod network;
mod objects;
mod places;
mod queries;
mod runs;
mod search;
mod single;
mod stacks;

use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::ConnectorBuilder;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

pub use buckets::Owner;
pub use error::{AwsError, Kind};
pub use objects::{Listed, ObjectView};
pub use queries::Answer;
pub use runs::{ExecutionView, HistoryEvent, Invocation, Passed};
pub use search::Found;
pub use stacks::{ChangeSetView, EventView, Purpose, ResourceView, StackView, TemplateSource};

/// Result of a call.
pub type Result<T> = std::result::Result<T, AwsError>;

/// Where calls go and as whom.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Endpoint of all services; AWS's own when absent.
    pub endpoint: Option<String>,
    /// Region.
    pub region: String,
    /// The account that owns every bucket; S3 refuses calls on anybody else's.
    pub account: String,
    /// Profile of the shared configuration files.
    pub profile: Option<String>,
    /// Access key and secret, instead of the usual chain.
    pub keys: Option<(String, String)>,
}

/// Clients of all services.
#[derive(Debug, Clone)]
pub struct Aws {
    config: SdkConfig,
    region: String,
    account: String,
    partition: Partition,
    s3: aws_sdk_s3::Client,
    iam: aws_sdk_iam::Client,
    lambda: aws_sdk_lambda::Client,
    stacks: aws_sdk_cloudformation::Client,
    #[cfg(feature = "ec2")]
    ec2: aws_sdk_ec2::Client,
}

/// A part of AWS with its own accounts: `aws`, `aws-cn`, `aws-us-gov`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Partition(String);

impl Partition {
    /// The one in an ARN.
    fn of(arn: &str) -> Self {
        Self(arn.split(':').nth(1).filter(|p| !p.is_empty()).unwrap_or("aws").to_owned())
    }

    /// What its host names end in.
    fn dns_suffix(&self) -> &'static str {
        match self.0.as_str() {
            "aws-cn" => "amazonaws.com.cn",
            "aws-iso" => "c2s.ic.gov",
            "aws-iso-b" => "sc2s.sgov.gov",
            _ => "amazonaws.com",
        }
    }
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
    /// Prepares the clients and asks who we are; the cheapest proof that endpoint and credentials
    /// work. Whether the account is the right one is for the caller to judge.
    pub async fn connect(target: &Target) -> Result<(Self, Identity)> {
        let config = config(target).await;
        let answer = aws_sdk_sts::Client::new(&config)
            .get_caller_identity()
            .send()
            .await
            .map_err(|e| AwsError::new("sts:GetCallerIdentity", e))?;
        let identity = Identity {
            account: answer.account.unwrap_or_default(),
            arn: answer.arn.unwrap_or_default(),
        };
        // Buckets in the path work everywhere; buckets in the host name need DNS that a local
        // endpoint has not.
        let s3 = aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(config.endpoint_url().is_some())
            .build();
        let aws = Self {
            region: target.region.clone(),
            account: target.account.clone(),
            partition: Partition::of(&identity.arn),
            s3: aws_sdk_s3::Client::from_conf(s3),
            iam: aws_sdk_iam::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            stacks: aws_sdk_cloudformation::Client::new(&config),
            #[cfg(feature = "ec2")]
            ec2: aws_sdk_ec2::Client::new(&config),
            config,
        };
        Ok((aws, identity))
    }

    /// Whether calls stay on this machine, where nobody throttles them.
    pub fn is_near(&self) -> bool {
        self.config.endpoint_url().is_some_and(is_loopback)
    }

    /// The partition of the caller: `aws`, `aws-cn`, `aws-us-gov`.
    pub fn partition(&self) -> &str {
        &self.partition.0
    }

    /// ARN of a thing in this account and region.
    fn arn(&self, service: &str, rest: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{rest}", self.partition.0, self.region, self.account)
    }
}

/// How to speak to the target.
async fn config(target: &Target) -> SdkConfig {
    let region = Region::new(target.region.clone());
    if let Some((id, secret)) = &target.keys {
        // Made by hand, so that no variable and no file of the user's changes where calls go.
        let keys = Credentials::new(id, secret, None, None, "steppe");
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region)
            .credentials_provider(SharedCredentialsProvider::new(keys));
        config.set_endpoint_url(target.endpoint.clone());
        config.set_http_client(Some(http_client(target)));
        return config.build();
    }
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(region)
        .http_client(http_client(target));
    if let Some(endpoint) = &target.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(profile) = &target.profile {
        // The profile itself, and not the chain that begins with whatever keys are in the
        // environment: `profile` in steppe.toml means what `--profile` means to `aws`.
        let provider = aws_config::profile::ProfileFileCredentialsProvider::builder()
            .configure(&ProviderConfig::default().with_http_client(http_client(target)))
            .profile_name(profile)
            .build();
        loader = loader.profile_name(profile).credentials_provider(provider);
    }
    loader.load().await
}

/// Whether an endpoint is plain HTTP on this machine. A proxy elsewhere cannot reach it.
fn is_loopback(endpoint: &str) -> bool {
    endpoint.strip_prefix("http://").is_some_and(|rest| {
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let is_number = |a: std::net::Ipv4Addr| a.is_loopback();
        host == "localhost" || host == "[::1]" || host.parse().is_ok_and(is_number)
    })
}

/// What requests are sent by: through the proxy of the environment, but not to this machine.
fn http_client(target: &Target) -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new();
    if target.endpoint.as_deref().is_some_and(is_loopback) {
        return builder.build_http();
    }
    // As the SDK's own client, whose library of cryptography would be the second one here.
    builder.build_with_connector_fn(|settings, components| {
        let mut connector =
            ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::Ring));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    })
}

#[cfg(test)]
mod tests {
    use super::{Partition, is_loopback};

    #[test]
    fn partitions_have_hosts_of_their_own() {
        let suffix = |arn| Partition::of(arn).dns_suffix();
        assert_eq!(suffix("arn:aws:iam::1:user/x"), "amazonaws.com");
        assert_eq!(suffix("arn:aws-cn:iam::1:user/x"), "amazonaws.com.cn");
        assert_eq!(suffix("arn:aws-us-gov:iam::1:user/x"), "amazonaws.com");
        assert_eq!(Partition::of("nonsense").0, "aws");
    }

    #[test]
    fn only_this_machine_is_spoken_to_without_a_proxy() {
        assert!(is_loopback("http://127.0.0.1:4580") && is_loopback("http://localhost/x"));
        assert!(is_loopback("http://[::1]:1") && is_loopback("http://127.8.0.1"));
        assert!(!is_loopback("https://127.0.0.1") && !is_loopback("http://127.evil.example:1"));
        assert!(!is_loopback("http://localhost.example") && !is_loopback("http://10.0.0.1:1"));
    }
}
