//! Names of everything a deployment makes. They derive from project, pipeline and environment,
//! never from randomness, so that any later run finds what an earlier one made.

/// Where a deployment goes, as far as names are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Project of `steppe.toml`.
    pub project: String,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Name of the environment.
    pub environment: String,
    /// Account number.
    pub account: String,
    /// Region.
    pub region: String,
}

impl Names {
    /// The stack, and the prefix of names in it: `steppe-marriages-local`.
    pub fn stack(&self) -> String {
        format!("{}-{}-{}", self.project, self.pipeline, self.environment)
    }

    /// The bucket made before the stack: `steppe-marriages-local-artifacts-000000000000`.
    pub fn artifacts_bucket(&self) -> String {
        format!("{}-artifacts-{}", self.stack(), self.account)
    }

    /// The pipeline's bucket: `steppe-marriages-local-data-000000000000`.
    pub fn data_bucket(&self) -> String {
        format!("{}-data-{}", self.stack(), self.account)
    }

    /// The Glue database; Athena names cannot hold hyphens: `steppe_marriages_local`.
    pub fn database(&self) -> String {
        self.stack().replace('-', "_")
    }

    /// Prefix of log groups: `/steppe/marriages/local`.
    pub fn log_prefix(&self) -> String {
        format!("/{}/{}/{}", self.project, self.pipeline, self.environment)
    }

    /// The partition of the region, the second part of every ARN.
    pub fn partition(&self) -> &'static str {
        partition(&self.region)
    }

    /// Tags on everything that takes tags; `destroy` looks for them.
    pub fn tags(&self) -> Vec<(String, String)> {
        let tag = |name: &str, value: &str| (format!("{}:{name}", self.project), value.to_owned());
        vec![tag("pipeline", &self.pipeline), tag("environment", &self.environment)]
    }
}

/// The partition that a region is in.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
pub fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ if region.starts_with("us-isof-") => "aws-iso-f",
        _ if region.starts_with("eu-isoe-") => "aws-iso-e",
        _ if region.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    }
}
