//! What a service tells the kernel: its operations with what they read of their inputs.
//!
//! Dispatch, the refusal of what is not implemented, service integrations of state machines and the
//! coverage tables all read the same registrations.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;

use super::cloud::Cloud;
use super::error::{ApiError, ApiResult};
use super::identity::Caller;

/// A service: everything that the kernel needs to know about it.
#[derive(Debug)]
pub struct Service {
    /// Its name in signatures, by which requests find it: `monitoring`.
    pub id: &'static str,
    /// Its name in the actions of policies: `cloudwatch`.
    pub prefix: &'static str,
    /// The operations that it has. All others are refused by name.
    pub operations: &'static [Operation],
    /// Whether the caller may make the call, where one rule holds for all operations; the others ask
    /// themselves.
    pub admits: fn(&Call<'_>) -> ApiResult<()>,
    /// Whether a member that is given says nothing, so that it needs no implementation.
    pub says_nothing: fn(&Value) -> bool,
}

impl Service {
    /// A service whose name in policies is the one in signatures.
    pub const fn new(id: &'static str, operations: &'static [Operation]) -> Self {
        Self { id, prefix: id, operations, admits: |_| Ok(()), says_nothing: Value::is_null }
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
    pub members: &'static [&'static str],
    /// What it does.
    pub run: Run,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.members.join(", "))
    }
}

/// `op!(GetTable(DatabaseName, Name) => tables::get)`: an [`Operation`], the members of its input
/// that it reads, and the function of a [`Call`] that answers it; with `async` before a function
/// that waits.
#[macro_export]
macro_rules! op {
    ($name:ident($($member:ident),* $(,)?) => async $run:expr) => {
        $crate::kernel::service::Operation {
            name: stringify!($name),
            members: &[$(stringify!($member)),*],
            run: $crate::kernel::service::Run::Later(|call| Box::pin($run(call))),
        }
    };
    ($name:ident($($member:ident),* $(,)?) => $run:expr) => {
        $crate::kernel::service::Operation {
            name: stringify!($name),
            members: &[$(stringify!($member)),*],
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

/// Finds the operation of a service, checks that it reads all that is given, and runs it.
pub async fn call(
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
    check_members(service, operation, params)?;
    match operation.run {
        Run::Now(run) => run(&call),
        Run::Later(run) => run(&call).await,
    }
}

fn check_members(service: &Service, operation: &Operation, params: &Value) -> ApiResult<()> {
    let name = format!("{}:{}", service.prefix, operation.name);
    let Some(members) = params.as_object() else {
        let message = format!("The input of {name} is not a structure.");
        return Err(ApiError::new("SerializationException", message));
    };
    let mut given = members.iter().filter(|(_, value)| !(service.says_nothing)(value));
    match given.find(|(member, _)| !operation.members.contains(&member.as_str())) {
        Some((member, _)) => Err(ApiError::unknown_parameter(member, &name)),
        None => Ok(()),
    }
}
