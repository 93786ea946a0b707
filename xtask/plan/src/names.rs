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

    /// The longest names of each kind that has a bound: what it is, the name, the bound.
    ///
    /// S3: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>; roles:
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>; functions and
    /// rules have 64 characters, state machines 80.
    fn bounded(&self) -> [(&'static str, String, usize); 5] {
        let stack = self.stack();
        [
            ("bucket", self.artifacts_bucket(), 63),
            ("role", format!("{stack}-drift-workflow"), 64),
            ("function", format!("{stack}-predictor"), 64),
            ("rule", format!("{stack}-train-on-schedule"), 64),
            ("state machine", format!("{stack}-failures"), 80),
        ]
    }

    /// What keeps project, pipeline and environment from going together: they are too long.
    pub fn defect(&self) -> Option<String> {
        let excess = |(_, name, bound): &(&str, String, usize)| name.len().saturating_sub(*bound);
        let worst = self.bounded().into_iter().max_by_key(excess)?;
        let over = excess(&worst);
        let (what, name, bound) = worst;
        (over > 0).then(|| {
            format!(
                "project `{}`, pipeline `{}` and environment `{}` have together {over} characters \
                 too many: the {what} `{name}` would have {} and may have {bound}",
                self.project,
                self.pipeline,
                self.environment,
                name.len()
            )
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(project: &str, pipeline: &str, environment: &str) -> Names {
        Names {
            project: project.into(),
            pipeline: pipeline.into(),
            environment: environment.into(),
            account: "123456789012".into(),
            region: "eu-central-1".into(),
        }
    }

    #[test]
    fn names_that_are_too_long_together_are_told_with_the_excess() {
        assert_eq!(names("steppe", "marriages", "local").defect(), None);
        let longest = names("sixteen-letters-", "elevenchars", "elevenchars");
        assert_eq!(longest.artifacts_bucket().len(), 63);
        assert_eq!(longest.defect(), None, "38 characters fit");
        let error = names("sixteen-letters-", "marriages", "sixteenletters16").defect();
        assert_eq!(
            error.as_deref(),
            Some(
                "project `sixteen-letters-`, pipeline `marriages` and environment \
                 `sixteenletters16` have together 3 characters too many: the bucket \
                 `sixteen-letters--marriages-sixteenletters16-artifacts-123456789012` would have \
                 66 and may have 63"
            )
        );
    }

    #[test]
    fn no_other_name_is_longer_than_the_buckets_allow() {
        let longest = names("sixteen-letters-", "elevenchars", "elevenchars");
        for (what, name, bound) in longest.bounded() {
            assert!(name.len() <= bound, "{what} {name}");
        }
    }

    #[test]
    fn what_a_pipeline_writes_is_apart_from_what_it_reads() {
        use steppe_wire::keys;
        for pipeline in ["marriages", "raw", "processed", "rejects", "reports", "a"] {
            let places = [
                keys::raw_prefix(pipeline, "x"),
                keys::table_prefix(pipeline, "x"),
                keys::rejects_prefix(pipeline, "x"),
                keys::reports_prefix(pipeline),
                keys::PREDICTIONS_PREFIX.to_owned(),
                keys::BATCHES_PREFIX.to_owned(),
                keys::runs_prefix(pipeline),
                keys::ATHENA_PREFIX.to_owned(),
            ];
            for (i, place) in places.iter().enumerate() {
                assert!(place.len() > 1 && !place.starts_with('/'), "{place}");
                let others = places.iter().enumerate().filter(|(j, _)| i != *j);
                for (_, other) in others {
                    assert!(!other.starts_with(place.as_str()), "{other} is in {place}");
                }
            }
        }
    }

    #[test]
    fn regions_have_their_partition() {
        assert_eq!(partition("eu-central-1"), "aws");
        assert_eq!(partition("cn-north-1"), "aws-cn");
        assert_eq!(partition("us-gov-west-1"), "aws-us-gov");
        assert_eq!(partition("us-isob-east-1"), "aws-iso-b");
    }
}
