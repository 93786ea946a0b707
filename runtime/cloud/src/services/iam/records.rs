//! What IAM keeps: roles, users, groups and instance profiles.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Role {
    /// Its ID: `AROA…`.
    pub id: String,
    /// Who may take it on.
    pub trust: Value,
    /// Inline policies by name.
    pub policies: Vec<(String, Value)>,
    /// Tags.
    pub tags: Value,
    /// When it was made.
    pub created: Timestamp,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Seconds that a session of STS may last.
    #[serde(default = "session_secs_default")]
    pub session_secs_max: u32,
    /// ARNs of managed policies.
    #[serde(default)]
    pub attached: Vec<String>,
    /// ARN of the permissions boundary.
    #[serde(default)]
    pub boundary: Option<String>,
}

/// AWS's default for [`Role::session_secs_max`].
pub fn session_secs_default() -> u32 {
    3_600
}

impl Role {
    /// A new role without permissions.
    pub fn new(trust: Value) -> Self {
        Self {
            id: unique_id("AROA"),
            trust,
            policies: vec![],
            tags: Value::Null,
            created: Timestamp::now(),
            description: None,
            session_secs_max: session_secs_default(),
            attached: vec![],
            boundary: None,
        }
    }
}

/// A user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// Its ID: `AIDA…`.
    pub id: String,
    /// Inline policies by name.
    pub policies: Vec<(String, Value)>,
    /// ARNs of managed policies.
    pub attached: Vec<String>,
    /// ARN of the permissions boundary.
    pub boundary: Option<String>,
    /// IDs of the groups that it is in, by their names.
    pub groups: BTreeMap<String, String>,
    /// Tags.
    pub tags: Value,
    /// When it was made.
    pub created: Timestamp,
}

impl User {
    /// A new user without permissions.
    pub fn new(created: Timestamp) -> Self {
        Self {
            id: unique_id("AIDA"),
            policies: vec![],
            attached: vec![],
            boundary: None,
            groups: BTreeMap::new(),
            tags: Value::Null,
            created,
        }
    }
}

/// A group of users.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// Its ID: `AGPA…`.
    pub id: String,
    /// Inline policies by name.
    pub policies: Vec<(String, Value)>,
    /// ARNs of managed policies.
    pub attached: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
}

impl Group {
    /// A new group without permissions.
    pub fn new(created: Timestamp) -> Self {
        Self { id: unique_id("AGPA"), policies: vec![], attached: vec![], created }
    }
}

/// An instance profile.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "StoredProfile")]
pub struct Profile {
    /// Its unique ID.
    pub id: String,
    /// Name of its role.
    pub role: String,
    /// When it was made.
    pub created: Timestamp,
}

/// A profile's record; older ones are the name of the role alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredProfile {
    Role(String),
    Whole { id: String, role: String, created: Timestamp },
}

impl From<StoredProfile> for Profile {
    fn from(stored: StoredProfile) -> Self {
        match stored {
            StoredProfile::Role(role) => Self::new(&role),
            StoredProfile::Whole { id, role, created } => Self { id, role, created },
        }
    }
}

impl Profile {
    /// A new profile of a role.
    pub fn new(role: &str) -> Self {
        Self { id: unique_id("AIPA"), role: role.to_owned(), created: Timestamp::now() }
    }
}

/// A new ID that begins so.
pub fn unique_id(prefix: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}{}", random[..17].to_uppercase())
}
