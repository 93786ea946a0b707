//! Systems Manager's Parameter Store: parameters of one's own, with versions and labels, and the
//! public ones that name the newest images of Amazon Linux 2023.
//!
//! A `SecureString` is encrypted by a key of KMS for real, and lies in the store so; its callers
//! need the key's permissions as well.
//!
//! Differences from AWS: `Intelligent-Tiering` is the standard tier until a value is too long for
//! it; parameters send no events. Parameter policies, the data types `aws:ec2:image` and
//! `aws:ssm:integration`, and shared parameters are refused by name.

mod history;
mod names;
mod reads;
mod resources;
mod tags;
mod writes;

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::service::{Service, Tagged, Tagging, tag_list};
use crate::kernel::store::Table;
use crate::{model, op};

/// What Parameter Store has.
#[derive(Debug)]
pub struct State {
    /// Parameters by name.
    parameters: Table<Parameter>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self { parameters: opening.table("ssm_parameters") })
    }
}

/// A parameter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parameter {
    /// The oldest first.
    versions: Vec<Version>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// A version of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    number: u64,
    kind: Kind,
    /// The text, or, of a `SecureString`, the ciphertext in base64.
    value: String,
    modified: Timestamp,
    /// ARN of who wrote it.
    by: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    pattern: Option<String>,
    /// The name by which the key was given.
    #[serde(default)]
    key: Option<String>,
    tier: Tier,
    #[serde(default)]
    labels: Vec<String>,
}

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A text.
    String,
    /// Texts between commas.
    StringList,
    /// An encrypted text.
    SecureString,
}

/// What a parameter costs on AWS, and how long it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Serialize, Deserialize)]
pub enum Tier {
    /// Up to 4 KiB.
    Standard,
    /// Up to 8 KiB.
    Advanced,
}

impl Parameter {
    /// The newest version.
    fn newest(&self) -> Option<&Version> {
        self.versions.last()
    }
}

/// The name of the parameter of an ARN, which has a slash before it that the name may not have.
fn id_in<'a>(cloud: &Cloud, arn: &'a str) -> &'a str {
    let name = arn.strip_prefix(&*cloud.config.arn("ssm", "parameter")).unwrap_or_default();
    let bare = name.strip_prefix('/').unwrap_or(name);
    if cloud.services.ssm.parameters.contains(bare) { bare } else { name }
}

/// How parameters carry tags.
const TAGGED: Tagged = Tagged {
    all: |cloud| {
        let all = cloud.services.ssm.parameters.all().into_iter();
        all.map(|(name, one)| (arn(cloud, &name), one.tags.clone())).collect()
    },
    change: Tagging::By {
        tag: |cloud, arn, tags| {
            let (id, tags) = (id_in(cloud, arn), tag_list(tags, "Key", "Value"));
            (
                "AddTagsToResource",
                json!({ "ResourceType": "Parameter", "ResourceId": id, "Tags": tags }),
            )
        },
        untag: |cloud, arn, keys| {
            let id = id_in(cloud, arn);
            let input = json!({ "ResourceType": "Parameter", "ResourceId": id, "TagKeys": keys });
            ("RemoveTagsFromResource", input)
        },
    },
};

/// API of Parameter Store.
pub static SERVICE: Service = Service {
    types: resources::TYPES,
    tagged: Some(TAGGED),
    ..Service::new(
        "ssm",
        model!("ssm"),
        &[
            op!(PutParameter(Name, Description, Value, Type, KeyId, Overwrite, AllowedPattern, Tags,
                Tier, DataType) => writes::put),
            op!(GetParameter(Name, WithDecryption) => reads::get),
            op!(GetParameters(Names, WithDecryption) => reads::get_several),
            op!(GetParametersByPath(Path, Recursive, ParameterFilters, WithDecryption, MaxResults,
                NextToken) => reads::by_path),
            op!(DescribeParameters(ParameterFilters, MaxResults, NextToken) => reads::describe),
            op!(GetParameterHistory(Name, WithDecryption, MaxResults, NextToken)
                => history::read),
            op!(LabelParameterVersion(Name, ParameterVersion, Labels) => history::label),
            op!(UnlabelParameterVersion(Name, ParameterVersion, Labels) => history::unlabel),
            op!(DeleteParameter(Name) => writes::delete),
            op!(DeleteParameters(Names) => writes::delete_several),
            op!(AddTagsToResource(ResourceType, ResourceId, Tags) => tags::add),
            op!(RemoveTagsFromResource(ResourceType, ResourceId, TagKeys) => tags::remove),
            op!(ListTagsForResource(ResourceType, ResourceId) => tags::list),
        ],
    )
};

/// The ARN of a parameter; public ones belong to no account.
pub fn arn(cloud: &Cloud, name: &str) -> String {
    if name.starts_with("/aws/") {
        return format!("arn:aws:ssm:{}::parameter{name}", cloud.config.region);
    }
    let slash = if name.starts_with('/') { "" } else { "/" };
    cloud.config.arn("ssm", &format!("parameter{slash}{name}"))
}
