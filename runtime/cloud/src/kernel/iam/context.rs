//! What a request is judged by: condition keys and their values.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>
//!
//! - `aws:PrincipalArn`: the user's ARN; for a session the ARN of its *role*.
//! - `aws:PrincipalAccount`, `aws:PrincipalType` (`User` or `AssumedRole`), `aws:PrincipalTag/KEY`
//!   (the tags of the role or user), `aws:userid` (`AIDA…` or `AROA…:SESSION`), `aws:username` (users
//!   only).
//! - `aws:PrincipalIsAWSService`, `aws:PrincipalServiceName`: `true` and the name when a service
//!   takes on a role, else `false` and nothing.
//! - `aws:SourceAccount`, `aws:SourceArn`: only when a service takes on a role: the account, and
//!   the resource that it does so for, where the service names it.
//! - `aws:SourceIp`, `aws:UserAgent`: of the HTTP request; nothing for calls that a service makes.
//! - `aws:SecureTransport`: `true`: the transport never leaves this machine, which is what is
//!   meant.
//! - `aws:CurrentTime`, `aws:EpochTime`, `aws:TokenIssueTime`: now, and the begin of a session.
//! - `aws:RequestedRegion`: the cloud's region, `us-east-1` for IAM.
//! - `aws:ResourceAccount`: the account in the resource's ARN or that a bucket belongs to, else
//!   this one.
//! - `aws:ViaAWSService`, `aws:CalledVia`, `aws:CalledViaFirst`, `aws:CalledViaLast`: `true` and
//!   the service for what CloudFormation does on behalf of its caller.
//! - `aws:MultiFactorAuthPresent`: `false` for sessions, nothing for keys of users.
//! - `aws:PrincipalOrgID` and the other keys of organisations and federation: never there, because
//!   the account is in no organisation and nobody is federated.
//! - `iam:PassedToService` when a role is passed; `lambda:SourceFunctionArn` in calls of a
//!   function; `sts:ExternalId` and `sts:RoleSessionName` of `AssumeRole`.
//! - `kms:CallerAccount`; `kms:ViaService` of what a service does with a key for its caller.
//! - `sns:Protocol`, `sns:Endpoint` of subscriptions; `events:source`, `events:detail-type` of what
//!   is put on a bus.
//! - `s3:prefix`, `s3:delimiter`, `s3:max-keys` of the request, `s3:ResourceAccount`,
//!   `s3:signatureversion`.
//!
//! A key that is not in this list is an error that names it, when a statement that would otherwise
//! apply asks for it: AWS might have a value for it, so guessing could open or close the wrong
//! door.

use std::collections::{HashMap, HashSet};

/// Keys that are filled whenever AWS has them, in lower case; a last `/` stands for any tag.
const FILLED: &[&str] = &[
    "aws:principalarn",
    "aws:principalaccount",
    "aws:principaltype",
    "aws:principaltag/",
    "aws:userid",
    "aws:username",
    "aws:principalisawsservice",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:useragent",
    "aws:securetransport",
    "aws:currenttime",
    "aws:epochtime",
    "aws:tokenissuetime",
    "aws:requestedregion",
    "aws:resourceaccount",
    "aws:viaawsservice",
    "aws:calledvia",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:multifactorauthpresent",
    "aws:multifactorauthage",
    "iam:passedtoservice",
    "lambda:sourcefunctionarn",
    "s3:prefix",
    "s3:delimiter",
    "s3:max-keys",
    "s3:resourceaccount",
    "s3:signatureversion",
    "kms:calleraccount",
    "kms:viaservice",
    "events:detail-type",
    "events:source",
    "sns:endpoint",
    "sns:protocol",
    "sts:externalid",
    "sts:rolesessionname",
];

/// Keys that no request here can have: no organisation, no federation, no session tags of others.
const NEVER: &[&str] = &[
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:resourceorgid",
    "aws:resourceorgpaths",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:federatedprovider",
    "aws:sourceidentity",
    "aws:chatbotsourcearn",
    "ec2:rolesdelivery",
    "sts:sourceidentity",
];

/// What is known of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// The request has it.
    Present(&'a [String]),
    /// The request does not have it, on AWS neither.
    Absent,
    /// AWS might have it; this cloud does not know.
    Unknown,
}

/// The condition keys of one request. Names of keys are compared without regard to case.
#[derive(Debug, Default, Clone)]
pub struct Context {
    values: HashMap<String, Vec<String>>,
    absent: HashSet<String>,
}

impl Context {
    /// Adds a value to a key.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.values.entry(key.to_ascii_lowercase()).or_default().push(value.into());
    }

    /// Adds a value if there is one.
    pub fn add_some(&mut self, key: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.add(key, value);
        }
    }

    /// Says that the request does not have a key.
    pub fn add_absent(&mut self, key: &str) {
        self.absent.insert(key.to_ascii_lowercase());
    }

    /// What is known of `key`.
    pub fn get(&self, key: &str) -> Lookup<'_> {
        let key = key.to_ascii_lowercase();
        if let Some(values) = self.values.get(&key) {
            return Lookup::Present(values);
        }
        let listed = |name: &&str| {
            **name == key || (name.ends_with('/') && key.starts_with(*name) && key != **name)
        };
        if self.absent.contains(&key) || FILLED.iter().chain(NEVER).any(listed) {
            Lookup::Absent
        } else {
            Lookup::Unknown
        }
    }
}
