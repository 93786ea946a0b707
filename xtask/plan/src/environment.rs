//! `steppe.toml`: the project and the places it can be deployed to.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::{Problem, Problems, nearest, parse};

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
    },
}

impl Project {
    /// Parses and checks `text`, the content of `file`.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let project: Self = parse(file, text)?;
        let mut problems = Vec::new();
        let mut names = vec![("project", &project.project), ("pipeline", &project.pipeline)];
        names.extend(project.environments.keys().map(|name| ("environment", name)));
        for (what, name) in names {
            if let Some(message) = name_defect(name) {
                problems.push(Problem {
                    place: file.to_owned(),
                    message: format!("the {what} name `{name}` {message}"),
                    hint: None,
                });
            }
        }
        if problems.is_empty() { Ok(project) } else { Err(Problems(problems)) }
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

/// Names become parts of bucket names and logical names, so they are short, lower case and plain.
pub fn name_defect(name: &str) -> Option<&'static str> {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match name.bytes().next() {
        None => Some("must not be empty"),
        Some(first) if !first.is_ascii_lowercase() => Some("must begin with a lower-case letter"),
        _ if !plain || name.ends_with('-') => {
            Some("must consist of lower-case letters, digits and inner hyphens")
        }
        _ if name.len() > 16 => {
            Some("must have at most 16 characters, because bucket names have at most 63")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "project = \"steppe\"\npipeline = \"marriages\"\n[environments.local]\nkind = \"embedded\"\nport = 4580\n";

    #[test]
    fn environments_are_found_by_name_or_suggested() {
        let project = Project::parse("steppe.toml", FILE).expect("valid");
        assert!(project.environment("steppe.toml", "local").is_ok());
        let error = project.environment("steppe.toml", "locla").expect_err("unknown").to_string();
        assert_eq!(
            error,
            "steppe.toml: there is no environment `locla`\nhint: did you mean `local`?"
        );
    }

    #[test]
    fn all_bad_names_are_reported_at_once() {
        let text = FILE.replace("\"steppe\"", "\"Steppe\"").replace("\"marriages\"", "\"a_b\"");
        let Problems(problems) = Project::parse("steppe.toml", &text).expect_err("bad names");
        assert_eq!(problems.len(), 2);
    }
}
