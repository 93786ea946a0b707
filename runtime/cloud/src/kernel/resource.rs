//! Resource types: what a service tells CloudFormation about what it can make.
//!
//! A type is registered beside its service's operations, which its [`Handler`] calls with
//! [`Place::call`], so that an API and a template are one body of code with the rights of who
//! ordered the stack's operation. Which properties there are, which make a resource anew and what
//! `Fn::GetAtt` knows is in AWS's published schemas.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::cloud::Cloud;
use super::error::ApiError;
use super::identity::Caller;
use super::model::sdk;
use super::service;
use super::store::NotStored;

/// Bytes of a name before its random end: together they fit all services.
const NAME_BYTES_MAX: usize = 50;

/// A resource type.
#[derive(Debug, Clone, Copy)]
pub struct ResourceType {
    /// AWS's name: `AWS::SQS::Queue`.
    pub name: &'static str,
    /// The properties that are used or kept and shown; of those with members of their own, the
    /// members: `Code/S3Key`. A member stands for all that is in it; `=` gives the values, between
    /// `|`, that it may have. Lists are looked through. Any other is refused by name.
    pub uses: &'static [&'static str],
    /// Where a template writes the name of the resource, if it may have one.
    pub named_by: Option<&'static str>,
    /// What makes a resource anew here although AWS changes it in place or refuses the change.
    pub also_replacing: &'static [&'static str],
    /// What makes, changes, deletes and reads one.
    pub handler: &'static dyn Handler,
}

impl ResourceType {
    /// A type whose resources have no names of their own.
    pub const fn new(
        name: &'static str,
        uses: &'static [&'static str],
        handler: &'static dyn Handler,
    ) -> Self {
        Self { name, uses, named_by: None, also_replacing: &[], handler }
    }

    /// The same type, whose resources may be named by that property.
    pub const fn named_by(self, property: &'static str) -> Self {
        Self { named_by: Some(property), ..self }
    }

    /// The same type, with more that makes a resource anew.
    pub const fn also_replacing(self, properties: &'static [&'static str]) -> Self {
        Self { also_replacing: properties, ..self }
    }

    /// The properties of which anything is used.
    pub fn properties(&self) -> impl Iterator<Item = &'static str> {
        let mut last = "";
        let names = self.uses.iter().map(|path| path.split(['/', '=']).next().unwrap_or(path));
        names.filter(move |name| std::mem::replace(&mut last, name) != *name)
    }

    /// Whether somebody has a resource of that ID.
    pub fn is_taken(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> bool {
        self.handler.exists(cloud, id, properties) == Some(true)
    }

    /// Whether the change from `old` to `new` in a property makes the resource anew.
    pub fn replaces(&self, property: &str, old: &Value, new: &Value) -> bool {
        let is_changed =
            |path: &str| path.split('/').next() == Some(property) && at(old, path) != at(new, path);
        let published = super::schema::create_only(self.name);
        published.chain(self.also_replacing.iter().copied()).any(is_changed)
    }

    /// The ID that a new resource will have.
    pub fn id(&self, place: &Place<'_>, properties: &Value) -> String {
        self.handler.id(place, self.given_name(properties), properties)
    }

    /// The name that a template gives a resource.
    pub fn given_name<'a>(&self, properties: &'a Value) -> Option<&'a str> {
        at(properties, self.named_by?).as_str().filter(|name| !name.is_empty())
    }
}

/// What is at a path of members: `DatabaseInput/Name`.
pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('/').fold(value, |value, name| &value[name])
}

/// The type of that name, or that there is none.
pub fn find(name: &str) -> Result<&'static ResourceType, String> {
    let unknown = || format!("the embedded cloud does not implement the resource type {name}");
    all().find(|kind| kind.name == name).ok_or_else(unknown)
}

/// All types of all services.
pub fn all() -> impl Iterator<Item = &'static ResourceType> {
    crate::services::all().flat_map(|service| service.types)
}

/// What makes, changes, deletes and reads the resources of a type.
#[async_trait]
pub trait Handler: fmt::Debug + Send + Sync {
    /// The ID that a new resource will have. It is fixed before the work begins, so that what a
    /// crash interrupts can still be found and deleted.
    fn id(&self, place: &Place<'_>, name: Option<&str>, properties: &Value) -> String {
        let _ = properties;
        name.map_or_else(|| place.name(), str::to_owned)
    }

    /// Whether there is a resource with that ID; `None` for random IDs, which nobody can have taken.
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Option<bool> {
        let _ = (cloud, id, properties);
        None
    }

    /// What is said when the name is taken.
    fn taken(&self, kind: &ResourceType, id: &str, properties: &Value) -> String {
        let _ = properties;
        format!("Resource of type '{}' with identifier '{id}' already exists.", kind.name)
    }

    /// Makes a resource; its attributes. What has to become ready is awaited in `settle`.
    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made;

    /// Waits until a resource that was made is ready; its attributes.
    async fn settle(
        &self,
        place: &Place<'_>,
        id: &str,
        properties: &Value,
        made: Map<String, Value>,
    ) -> Made {
        let _ = (place, id, properties);
        Ok(made)
    }

    /// Changes a resource in place from the properties `old`; its attributes, or nothing when they
    /// stay as they are. Left out by types all of whose properties make them anew.
    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, old: &Value) -> Made {
        let _ = (place, properties, old);
        Err(format!("the embedded cloud cannot change {id} in place").into())
    }

    /// Deletes a resource; one that is not there any more is deleted.
    async fn delete(&self, place: &Place<'_>, id: &str, properties: &Value) -> Result<(), String>;

    /// The resource as it is now.
    fn read(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Live {
        let _ = (cloud, id, properties);
        Live::Unread
    }

    /// IDs of all resources of the type, where AWS lists them.
    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        let _ = cloud;
        None
    }

    /// The ARN of a resource that can carry tags.
    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        let _ = (cloud, id);
        None
    }
}

/// A resource as it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Live {
    /// Nobody can tell: AWS has no drift of the type either.
    Unread,
    /// It is not there any more.
    Gone,
    /// Its properties, with AWS's defaults.
    Is(Value),
}

impl Live {
    /// What is there, or gone.
    pub fn of(properties: Option<Value>) -> Self {
        properties.map_or(Self::Gone, Self::Is)
    }
}

/// Where a resource belongs, and with whose rights it is made.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The cloud.
    pub cloud: &'a Arc<Cloud>,
    /// Who ordered the work; the cloud itself when that is not on record.
    pub caller: Option<Caller>,
    /// The stack's ID; nothing for what is made without one.
    pub stack_id: &'a str,
    /// The stack's name.
    pub stack_name: &'a str,
    /// Name in the template.
    pub logical_id: &'a str,
}

#[cfg(test)]
impl<'a> Place<'a> {
    /// A place in no stack, with all rights.
    pub fn for_tests(cloud: &'a Arc<Cloud>) -> Self {
        Self { cloud, caller: None, stack_id: "", stack_name: "stack", logical_id: "Resource" }
    }
}

impl Place<'_> {
    /// A name for a resource that was given none, in AWS's form: it is free, also when it replaces
    /// another.
    pub fn name(&self) -> String {
        let mut name = match self.stack_name {
            "" => self.logical_id.to_owned(),
            stack => format!("{stack}-{}", self.logical_id),
        };
        name.truncate(NAME_BYTES_MAX);
        let random = uuid::Uuid::new_v4().simple().to_string();
        format!("{name}-{}", random[..12].to_uppercase())
    }

    /// Whether who ordered the work may give a role to a service; roles are named by ARN or, where
    /// AWS allows it, by name.
    pub fn may_pass(&self, role: &str, service: &str) -> Result<(), Failure> {
        let Some(caller) = &self.caller else { return Ok(()) };
        let arn = match role.starts_with("arn:") {
            true => role.to_owned(),
            false => self.cloud.config.global_arn("iam", &format!("role/{role}")),
        };
        let allowed = self.cloud.pass_role(caller, &arn, service);
        allowed.map_err(|error| Failure::Other(may_not_pass(service, &error.message)))
    }

    /// Calls an operation of a service (by the name that its requests are signed for) as who
    /// ordered the work.
    pub async fn call(
        &self,
        service: &str,
        operation: &str,
        params: &Value,
    ) -> Result<Value, Failure> {
        let administrator = self.cloud.identities.administrator();
        let caller = self.caller.as_ref().unwrap_or(&administrator);
        let answer = service::call(self.cloud, caller, service, operation, params).await;
        answer.map_err(|error| Failure::told(service, &error))
    }

    /// The same for a deletion: what is not there any more is deleted.
    pub async fn call_unless_gone(
        &self,
        service: &str,
        operation: &str,
        params: &Value,
    ) -> Result<(), String> {
        match self.call(service, operation, params).await {
            Ok(_) | Err(Failure::Gone(_)) => Ok(()),
            Err(failure) => Err(failure.to_string()),
        }
    }
}

/// Why work on a resource failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is one of that name, and it is somebody else's.
    Exists(String),
    /// It is not there.
    Gone(String),
    /// Anything else.
    Other(String),
}

impl Failure {
    /// A refusal of a service in the words of resource events.
    pub fn told(service: &str, error: &ApiError) -> Self {
        let (code, status) = (error.code.as_str(), error.status);
        let has = |parts: &[&str]| parts.iter().any(|part| code.contains(part));
        let message = format!("{} {}", error.message, ending_of(service, status));
        let told = |handler_code: &str| handler(&message, handler_code);
        if has(&["NotFound", "NonExist", "NotExist", "NoSuch"]) {
            Self::Gone(told("NotFound"))
        } else if has(&["AlreadyExist", "InUse", "NameExists"]) {
            Self::Exists(told("AlreadyExists"))
        } else if has(&["AccessDenied", "Unauthorized"]) {
            Self::Other(told("AccessDenied"))
        } else if has(&["Throttl", "TooManyRequests"]) {
            Self::Other(told("Throttling"))
        } else if has(&["LimitExceeded"]) {
            Self::Other(told("ServiceLimitExceeded"))
        } else if status >= 500 {
            Self::Other(told("ServiceInternalError"))
        } else {
            Self::Other(told("InvalidRequest"))
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(reason) | Self::Gone(reason) | Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Other(reason)
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Self {
        Self::Other(reason.to_owned())
    }
}

impl From<NotStored> for Failure {
    fn from(error: NotStored) -> Self {
        Self::Other(error.to_string())
    }
}

/// Attributes of a resource, or why it failed.
pub type Made = Result<Map<String, Value>, Failure>;

/// Attributes out of a `json!` object.
pub fn attributes(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The text of a property.
pub fn text<'a>(properties: &'a Value, name: &str) -> &'a str {
    properties[name].as_str().unwrap_or_default()
}

/// A number, which templates may also write as text.
pub fn number(value: &Value, default: u64) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(default)
}

/// What a handler says that could not do its work.
pub fn handler(message: &str, code: &str) -> String {
    let token = uuid::Uuid::new_v4();
    format!(
        "Resource handler returned message: \"{message}\" (RequestToken: {token}, \
         HandlerErrorCode: {code})"
    )
}

/// A role that may not be given to a service (`lambda.amazonaws.com`).
fn may_not_pass(service: &str, words: &str) -> String {
    let service = match service.split('.').next() {
        // It is IAM that puts a role into an instance profile.
        None | Some("ec2") => "iam",
        Some(service) => service,
    };
    handler(&format!("{words} {}", ending(service)), "AccessDenied")
}

/// The end of a denial by a service.
pub fn ending(service: &str) -> String {
    let by_json = matches!(service, "logs" | "glue" | "athena" | "states" | "events");
    ending_of(service, if by_json { 400 } else { 403 })
}

/// `(Service: Iam, Status Code: 403, Request ID: …)`, as AWS's SDK for Java ends its errors.
fn ending_of(service: &str, status: u16) -> String {
    let known = crate::services::all().find(|s| s.prefix == service || s.id == service);
    let name = known.map_or_else(|| service.to_owned(), |s| sdk::class_name((s.model)()));
    let request = uuid::Uuid::new_v4();
    format!(
        "(Service: {name}, Status Code: {status}, Request ID: {request}) (SDK Attempt Count: 1)"
    )
}
