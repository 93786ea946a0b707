//! What a service tells the kernel: its operations with what they read of their inputs.
//!
//! Dispatch, the refusal of what is not implemented, service integrations of state machines and the
//! coverage tables all read the same registrations.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Value, json};

use super::bus::Takes;
use super::cloud::Cloud;
use super::error::{ApiError, ApiResult};
use super::identity::Caller;
use super::model::Model;
use super::model::check::{self, Refusal};
use super::resource::ResourceType;

/// A service: everything that the kernel needs to know about it.
#[derive(Debug)]
pub struct Service {
    /// Its name in signatures, by which requests find it: `monitoring`.
    pub id: &'static str,
    /// Its name in the actions of policies: `cloudwatch`.
    pub prefix: &'static str,
    /// AWS's model of its API.
    pub model: fn() -> &'static Model,
    /// The operations that it has. All others are refused by name.
    pub operations: &'static [Operation],
    /// Operations that another dispatcher than this one has: S3's are those of `s3s`.
    pub elsewhere: fn() -> Vec<&'static str>,
    /// Code of its errors about values that an input may not have.
    pub invalid: &'static str,
    /// Whether the caller may make the call, where one rule holds for all operations; the others
    /// ask themselves.
    pub admits: fn(&Call<'_>) -> ApiResult<()>,
    /// Whether a member that is given says nothing, so that it needs no implementation.
    pub says_nothing: fn(&Value) -> bool,
    /// What templates can make of it.
    pub types: &'static [ResourceType],
    /// How its resources take messages of other services.
    pub takes: Option<Takes>,
    /// The policy of a resource of it, by ARN, where it has policies.
    pub policy: fn(&Cloud, &str) -> Option<Value>,
    /// Bytes of a request.
    pub request_bytes_max: usize,
    /// Codes of errors and what clients of a protocol that it once spoke call them.
    pub query_codes: &'static [(&'static str, &'static str)],
    /// Operations on what is in its resources rather than on them: data events of CloudTrail.
    pub data: &'static [&'static str],
    /// How its resources carry tags, where there are operations for it.
    pub tagged: Option<Tagged>,
}

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// How the resources of a service carry tags, for the index of all services.
#[derive(Debug, Clone, Copy)]
pub struct Tagged {
    /// ARNs and tags of those that have any.
    pub all: fn(&Cloud) -> Vec<(String, Tags)>,
    /// How these are changed.
    pub change: Tagging,
}

/// The operations that change the tags of a resource.
#[derive(Debug, Clone, Copy)]
pub enum Tagging {
    /// `TagResource` and `UntagResource`, which take the ARN as a member of this name, and tags as
    /// a list of structures whose members are called so.
    ByArn(&'static str, [&'static str; 2]),
    /// Others: operation and input for the ARN of a resource.
    By {
        /// What gives more tags.
        tag: fn(&Cloud, &str, &Tags) -> (&'static str, Value),
        /// What takes tags.
        untag: fn(&Cloud, &str, &[&str]) -> (&'static str, Value),
    },
}

impl Tagging {
    /// The operation that gives the resource of an ARN more tags, and its input.
    pub fn tag(&self, cloud: &Cloud, arn: &str, tags: &Tags) -> (&'static str, Value) {
        match self {
            Self::ByArn(member, [key, value]) => {
                let tags = tag_list(tags, key, value);
                ("TagResource", json!({ (*member): arn, "Tags": tags }))
            }
            Self::By { tag, .. } => tag(cloud, arn, tags),
        }
    }

    /// The operation that takes tags from the resource of an ARN, and its input.
    pub fn untag(&self, cloud: &Cloud, arn: &str, keys: &[&str]) -> (&'static str, Value) {
        match self {
            Self::ByArn(member, _) => ("UntagResource", json!({ (*member): arn, "TagKeys": keys })),
            Self::By { untag, .. } => untag(cloud, arn, keys),
        }
    }
}

/// Tags as a list of structures, whose members are called so.
pub fn tag_list(tags: &Tags, key: &str, value: &str) -> Value {
    tags.iter().map(|(k, v)| json!({ (key): k, (value): v })).collect()
}

impl Service {
    /// A service whose name in policies is the one in signatures.
    pub const fn new(
        id: &'static str,
        model: fn() -> &'static Model,
        operations: &'static [Operation],
    ) -> Self {
        Self {
            id,
            prefix: id,
            model,
            operations,
            elsewhere: Vec::new,
            invalid: "ValidationException",
            admits: |_| Ok(()),
            says_nothing: Value::is_null,
            types: &[],
            takes: None,
            policy: |_, _| None,
            request_bytes_max: 16 * 1024 * 1024,
            query_codes: &[],
            data: &[],
            tagged: None,
        }
    }

    /// The operation of that name.
    pub fn operation(&self, name: &str) -> Option<&'static Operation> {
        self.operations.iter().find(|operation| operation.name == name)
    }
}

/// The answer of an operation that waits for something.
pub type Pending<'a> = Pin<Box<dyn Future<Output = ApiResult> + Send + 'a>>;

/// How an operation is run.
#[derive(Clone, Copy)]
pub enum Run {
    /// At once.
    Now(fn(&Call<'_>) -> ApiResult),
    /// Waiting for something.
    Later(for<'a> fn(&'a Call<'a>) -> Pending<'a>),
}

/// An operation, as [`op!`](crate::op) writes it.
#[derive(Clone, Copy)]
pub struct Operation {
    /// AWS's name.
    pub name: &'static str,
    /// The members of its input that it reads. Any other one that is given is refused by name.
    pub members: &'static [Reads],
    /// What it does.
    pub run: Run,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:?})", self.name, self.members)
    }
}

/// A member of an input that an operation reads.
#[derive(Debug, Clone, Copy)]
pub struct Reads {
    /// Its name.
    pub name: &'static str,
    /// What of it is read, where that is not all of it: members of it, or of its items.
    pub inner: &'static [&'static str],
}

impl Reads {
    /// The first member that is given and not read.
    fn surplus<'v>(&self, value: &'v Value) -> Option<&'v str> {
        match value {
            _ if self.inner.is_empty() => None,
            Value::Array(items) => items.iter().find_map(|item| self.surplus(item)),
            Value::Object(members) => members
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, _)| name.as_str())
                .find(|name| !self.inner.contains(name)),
            _ => None,
        }
    }
}

/// `op!(GetTable(DatabaseName, Name) => tables::get)`: an [`Operation`], the members of its input
/// that it reads, and the function of a [`Call`] that answers it; with `async` before a function
/// that waits. `Context { Database }` reads of the member `Context` nothing but `Database`.
#[macro_export]
macro_rules! op {
    ($name:ident($($member:ident $({ $($inner:ident),* $(,)? })?),* $(,)?) => async $run:expr) => {
        $crate::kernel::service::Operation {
            name: stringify!($name),
            members: &[$($crate::kernel::service::Reads {
                name: stringify!($member),
                inner: &[$($(stringify!($inner)),*)?],
            }),*],
            run: $crate::kernel::service::Run::Later(|call| Box::pin($run(call))),
        }
    };
    ($name:ident($($member:ident $({ $($inner:ident),* $(,)? })?),* $(,)?) => $run:expr) => {
        $crate::kernel::service::Operation {
            name: stringify!($name),
            members: &[$($crate::kernel::service::Reads {
                name: stringify!($member),
                inner: &[$($(stringify!($inner)),*)?],
            }),*],
            run: $crate::kernel::service::Run::Now($run),
        }
    };
}

/// One call of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The cloud.
    pub cloud: &'a Arc<Cloud>,
    /// Who calls.
    pub caller: &'a Caller,
    /// The service.
    pub service: &'static Service,
    /// AWS's name of the operation.
    pub operation: &'static str,
    /// The input.
    pub params: &'a Value,
}

impl<'a> Call<'a> {
    /// The operation's name in policies: `glue:GetTable`.
    pub fn action(&self) -> String {
        format!("{}:{}", self.service.prefix, self.operation)
    }

    /// Whether the caller may do this on `resource`: an ARN, or `*` when the action knows none.
    pub fn authorize(&self, resource: &str) -> ApiResult<()> {
        self.cloud.authorize(self.caller, &self.action(), resource, &[])
    }

    /// A text of the input.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.params[name].as_str()
    }

    /// A text that the input must have.
    pub fn required(&self, name: &str) -> ApiResult<&'a str> {
        crate::services::required(self.params, name)
    }
}

/// What is said instead of an answer that lacks records.
pub const UNREAD: &str = "records cannot be read; whether the call had an effect is not known";

/// Calls an operation of a service, and writes it into the trail.
pub async fn call(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    service: &str,
    operation: &str,
    params: &Value,
) -> ApiResult {
    let caller = caller.anew();
    let answer = unseen(cloud, &caller, service, operation, params).await;
    cloud.note(&caller, service, operation, answer.as_ref().err());
    answer
}

/// Finds the operation of a service, checks that it reads all that is given, and runs it; the trail
/// has nothing of it.
pub async fn unseen(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    service: &str,
    operation: &str,
    params: &Value,
) -> ApiResult {
    let unknown = || ApiError::unknown_operation(service, operation);
    let service = crate::services::find(service).ok_or_else(unknown)?;
    let operation = service.operation(operation).ok_or_else(unknown)?;
    let call = Call { cloud, caller, service, operation: operation.name, params };
    (service.admits)(&call)?;
    check(service, operation, params)?;
    let unread = cloud.store.unread();
    let answer = match operation.run {
        Run::Now(run) => run(&call),
        Run::Later(run) => run(&call).await,
    };
    if cloud.store.unread() == unread { answer } else { Err(ApiError::internal(UNREAD)) }
}

/// Refuses what the operation does not read, and what AWS's model refuses.
fn check(service: &Service, operation: &Operation, params: &Value) -> ApiResult<()> {
    let name = format!("{}:{}", service.prefix, operation.name);
    let Some(members) = params.as_object() else {
        let message = format!("The input of {name} is not a structure.");
        return Err(ApiError::new("SerializationException", message));
    };
    for (member, value) in members.iter().filter(|(_, value)| !(service.says_nothing)(value)) {
        let reads = operation.members.iter().find(|reads| reads.name == member);
        let reads = reads.ok_or_else(|| ApiError::unknown_parameter(member, &name))?;
        if let Some(other) = reads.surplus(value) {
            return Err(ApiError::unknown_parameter(&format!("{member}.{other}"), &name));
        }
    }
    let Some(input) = (service.model)().input(operation.name) else { return Ok(()) };
    check::check((service.model)(), input, params).map_err(|refusal| match refusal {
        Refusal::Unknown(member) => ApiError::unknown_parameter(&member, &name),
        Refusal::Type(words) => ApiError::new("SerializationException", words),
        Refusal::Constraints(words) => ApiError::new(service.invalid, words),
    })
}
