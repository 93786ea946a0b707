//! Who may do what: statements of policies as values, and the references in them.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// A value of a template: a text, or what CloudFormation makes of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Cfn {
    /// The physical ID of a resource, or a parameter such as `AWS::AccountId`.
    Ref(String),
    /// An attribute of a resource: its logical ID and the attribute's name.
    #[serde(rename = "Fn::GetAtt")]
    GetAtt(String, &'static str),
    /// A text in which `${…}` is replaced.
    #[serde(rename = "Fn::Sub")]
    Sub(String),
    /// A text as it is.
    #[serde(untagged)]
    Text(String),
}

impl Cfn {
    /// The ID of a resource.
    pub fn reference(id: impl Into<String>) -> Self {
        Self::Ref(id.into())
    }

    /// The ARN of a resource.
    pub fn arn(id: impl Into<String>) -> Self {
        Self::GetAtt(id.into(), "Arn")
    }

    /// A text with `${…}`.
    pub fn sub(text: impl Into<String>) -> Self {
        Self::Sub(text.into())
    }
}

/// A statement of a role's policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    sid: String,
    effect: &'static str,
    action: Vec<&'static str>,
    resource: Vec<Cfn>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    condition: Map<String, Value>,
}

impl Statement {
    /// Allows `actions` on `resources`.
    pub fn allow(sid: impl Into<String>, actions: &[&'static str], resources: &[Cfn]) -> Self {
        Self {
            sid: sid.into(),
            effect: "Allow",
            action: actions.to_vec(),
            resource: resources.to_vec(),
            condition: Map::new(),
        }
    }

    /// Denies them.
    pub fn deny(sid: impl Into<String>, actions: &[&'static str], resources: &[Cfn]) -> Self {
        Self { effect: "Deny", ..Self::allow(sid, actions, resources) }
    }

    /// Allows `actions` on buckets of the own account and what is in them: a bucket that was
    /// deleted may since belong to somebody else.
    pub fn on_buckets(sid: &str, actions: &[&'static str], resources: &[Cfn]) -> Self {
        let own = json!({ "aws:ResourceAccount": Cfn::reference("AWS::AccountId") });
        Self::allow(sid, actions, resources).when("StringEquals", own)
    }

    /// Under a further condition: an operator, and values by key.
    #[must_use]
    pub fn when(mut self, operator: &str, values: Value) -> Self {
        self.condition.insert(operator.to_owned(), values);
        self
    }

    /// Lists only keys that are like one of `patterns`.
    #[must_use]
    pub fn of_prefixes(self, patterns: &[String]) -> Self {
        self.when("StringLike", json!({ "s3:prefix": patterns }))
    }
}

/// A statement for a role that another component may own.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// Logical ID of the role.
    pub role: &'static str,
    /// What it may do.
    pub statement: Statement,
}

/// A role, without what it may do: that is what components grant to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Role {
    /// Its logical ID.
    pub logical_id: &'static str,
    /// The end of its name, and its policy's name.
    pub name: &'static str,
    /// Who takes it on.
    pub service: &'static str,
    /// Under which condition.
    pub trust: Map<String, Value>,
}

impl Role {
    /// A role that a service takes on for this account only.
    pub fn new(logical_id: &'static str, name: &'static str, service: &'static str) -> Self {
        let account = json!({ "aws:SourceAccount": Cfn::reference("AWS::AccountId") });
        let condition = json!({ "StringEquals": account });
        let trust = Map::from_iter([("Condition".to_owned(), condition)]);
        Self { logical_id, name, service, trust }
    }

    /// A role of an instance. EC2 takes a role on without saying for which account.
    pub fn of_ec2(logical_id: &'static str, name: &'static str) -> Self {
        Self { logical_id, name, service: "ec2.amazonaws.com", trust: Map::new() }
    }
}
