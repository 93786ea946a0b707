//! `steppe.toml`: the project and the places it can be deployed to.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::names::{Names, partition};
use crate::site::is_zone;
use steppe_spec::{
    Defects, Manifest, Problem, Problems, name_defect, nearest, parse, project_defect,
};

/// The account of the embedded cloud.
pub const EMBEDDED_ACCOUNT: &str = "000000000000";
/// The region of the embedded cloud.
pub const EMBEDDED_REGION: &str = "us-east-1";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// First part of every name.
    pub project: String,
    /// The pipeline that verbs mean when none is given.
    pub pipeline: String,
    /// Environments by name.
    pub environments: BTreeMap<String, Environment>,
}

/// A place to deploy to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Environment {
    /// The embedded cloud on this machine.
    Embedded {
        /// Its port on 127.0.0.1; 0 takes any free one.
        port: u16,
    },
    /// An AWS account.
    Aws {
        /// The account's number; any other is refused.
        account: String,
        /// The region.
        region: String,
        /// Profile of the shared configuration files.
        profile: Option<String>,
        /// IDs of the two availability zones to use, such as `euc1-az2`; chosen when absent.
        zones: Option<[String; 2]>,
    },
}

impl Environment {
    /// Whether it is an embedded cloud.
    pub fn is_embedded(&self) -> bool {
        matches!(self, Self::Embedded { .. })
    }
}

impl Project {
    /// Parses and checks `text`, the content of `file`.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let project: Self = parse(file, text)?;
        let mut defects = Defects::default();
        project.defects(&mut defects);
        defects.located(file, text)?;
        Ok(project)
    }

    fn defects(&self, out: &mut Defects) {
        let said =
            |what: &str, name: &str, defect: &str| format!("the {what} name `{name}` {defect}");
        if let Some(defect) = project_defect(&self.project) {
            out.add("project", said("project", &self.project, defect));
        }
        if let Some(defect) = name_defect(&self.pipeline) {
            out.add("pipeline", said("pipeline", &self.pipeline, defect));
        }
        for (name, environment) in &self.environments {
            let (key, found) = (format!("environments.{name}"), environment.defects());
            let own = name_defect(name).map(|defect| said("environment", name, defect));
            // Names that are wrong by themselves need not be put together.
            let together = match (&own, found.is_empty()) {
                (None, true) => self.names(name, environment, &self.pipeline).defect(),
                _ => None,
            };
            for message in own.into_iter().chain(together) {
                out.add(&key, message);
            }
            for (member, message) in found {
                let message = format!("the environment `{name}`: {message}");
                out.add(format!("{key}.{member}"), message);
            }
        }
    }

    /// Names of everything in an environment.
    pub fn names(&self, name: &str, environment: &Environment, pipeline: &str) -> Names {
        let (account, region) = match environment {
            Environment::Embedded { .. } => (EMBEDDED_ACCOUNT, EMBEDDED_REGION),
            Environment::Aws { account, region, .. } => (account.as_str(), region.as_str()),
        };
        Names {
            project: self.project.clone(),
            pipeline: pipeline.to_owned(),
            environment: name.to_owned(),
            account: account.to_owned(),
            region: region.to_owned(),
        }
    }

    /// The environment called `name`.
    pub fn environment(&self, file: &str, name: &str) -> Result<&Environment, Problems> {
        self.environments.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.environments.keys().map(String::as_str).collect();
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", known.join(", ")),
            };
            Problems(vec![Problem {
                place: file.to_owned(),
                message: format!("there is no environment `{name}`"),
                hint: Some(hint),
            }])
        })
    }
}

impl Environment {
    /// The keys that are wrong, and why.
    fn defects(&self) -> Vec<(&'static str, String)> {
        let Self::Aws { account, region, zones, .. } = self else { return Vec::new() };
        let mut out = Vec::new();
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            out.push(("account", format!("the account `{account}` must have 12 digits")));
        }
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if region.split('-').count() < 3 || !region.bytes().all(plain) {
            let message = format!("`{region}` is not the name of a region, such as `eu-central-1`");
            out.push(("region", message));
        }
        match partition(region) {
            "aws" => {}
            other => {
                let message = format!(
                    "the region `{region}` is in the partition {other}, whose services this \
                     program was not made for; it deploys to the partition aws"
                );
                out.push(("region", message));
            }
        }
        let zones = zones.as_ref().map(<[String; 2]>::as_slice).unwrap_or_default();
        for zone in zones.iter().filter(|zone| !is_zone(zone)) {
            let message = format!(
                "`zones` has `{zone}`, which is not the ID of an availability zone, such as \
                 `euc1-az2`"
            );
            out.push(("zones", message));
        }
        if let [first, second] = zones
            && first == second
        {
            let message = format!("`zones` has {first} twice; two different ones are needed");
            out.push(("zones", message));
        }
        out
    }
}

impl Environment {
    /// What keeps a pipeline, whose manifest is `text` in `file`, from being deployed here: emails
    /// that reach nobody. The embedded cloud delivers into a folder, so there every address is
    /// good.
    pub fn check(&self, file: &str, text: &str, manifest: &Manifest) -> Result<(), Problems> {
        let mut defects = Defects::default();
        let checked = matches!(self, Self::Aws { .. }) && manifest.stack.notify;
        let emails = manifest.stack.emails.iter().enumerate();
        for (at, email) in emails.filter(|(_, email)| checked && is_reserved(email)) {
            let message = format!(
                "`{email}` is an example: its domain is reserved, so nobody gets the emails"
            );
            let hint = "name your own in `stack.emails`, or nobody: `emails = []`".to_owned();
            defects.add_with(format!("stack.emails[{at}]"), message, Some(hint));
        }
        defects.located(file, text)
    }
}

/// Whether an email's domain is reserved for examples (RFC 2606, RFC 6761).
fn is_reserved(email: &str) -> bool {
    let domain = email.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let mut labels = domain.rsplit('.');
    matches!(
        (labels.next(), labels.next()),
        (Some("example" | "test" | "invalid" | "localhost"), _)
            | (Some("com" | "net" | "org"), Some("example"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "project = \"steppe\"\npipeline = \"marriages\"\n\
                        [environments.local]\nkind = \"embedded\"\nport = 4580\n";

    #[test]
    fn environments_are_found_by_name_or_suggested() {
        let project = Project::parse("steppe.toml", FILE).expect("valid");
        assert!(project.environment("steppe.toml", "local").is_ok());
        let error = project.environment("steppe.toml", "locla").expect_err("unknown");
        assert_eq!(error.to_string(), "steppe.toml: there is no environment `locla`");
        assert_eq!(error.hints(), ["did you mean `local`?"]);
    }

    #[test]
    fn all_bad_names_are_reported_at_once() {
        let text = FILE.replace("\"steppe\"", "\"Steppe\"").replace("\"marriages\"", "\"a_b\"");
        let Problems(problems) = Project::parse("steppe.toml", &text).expect_err("bad names");
        let places: Vec<&str> = problems.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(places, ["steppe.toml:1:1", "steppe.toml:2:1"]);
    }

    #[test]
    fn two_deployments_never_have_one_name() {
        let clash = FILE.replace("\"marriages\"", "\"marriages-dev\"");
        let error = Project::parse("steppe.toml", &clash).expect_err("ambiguous").to_string();
        assert!(error.contains("pipeline name `marriages-dev` must not have hyphens"), "{error}");
        let clash = FILE.replace("environments.local", "environments.dev-eu");
        let error = Project::parse("steppe.toml", &clash).expect_err("ambiguous").to_string();
        assert!(error.contains("environment name `dev-eu` must not have hyphens"), "{error}");
        let hyphens = FILE.replace("\"steppe\"", "\"our-steppe\"");
        assert!(Project::parse("steppe.toml", &hyphens).is_ok(), "the first part may have them");
    }

    fn aws(account: &str, region: &str, more: &str) -> Result<Project, Problems> {
        let environment = format!(
            "[environments.dev]\nkind = \"aws\"\naccount = \"{account}\"\nregion = \"{region}\"\n{more}"
        );
        Project::parse("steppe.toml", &format!("{FILE}{environment}"))
    }

    #[test]
    fn environments_of_aws_are_checked_when_they_are_read() {
        let zones = "zones = [\"euc1-az1\", \"euc1-az3\"]";
        assert!(aws("123456789012", "eu-central-1", zones).is_ok());
        let error =
            |account, region, more| aws(account, region, more).expect_err("refused").to_string();
        assert!(error("12345", "eu-central-1", "").contains("`12345` must have 12 digits"));
        assert!(error("123456789012", "frankfurt", "").contains("is not the name of a region"));
        for (region, partition) in [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")] {
            let text = error("123456789012", region, "");
            assert!(text.contains(&format!("is in the partition {partition}")), "{text}");
        }
        let letters = "zones = [\"eu-central-1a\", \"euc1-az1\"]";
        assert!(error("123456789012", "eu-central-1", letters).contains("`eu-central-1a`, which"));
        let twice = "zones = [\"euc1-az1\", \"euc1-az1\"]";
        assert!(error("123456789012", "eu-central-1", twice).contains("euc1-az1 twice"));
    }

    #[test]
    fn names_that_do_not_go_together_are_told_for_every_environment() {
        let long = FILE
            .replace("\"steppe\"", "\"sixteen-letters1\"")
            .replace("environments.local", "environments.sixteenletters16");
        let error = Project::parse("steppe.toml", &long).expect_err("too long").to_string();
        assert!(error.contains("together 3 characters too many"), "{error}");
    }
}
