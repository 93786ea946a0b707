//! Cloud Control: resources made, read, changed and deleted without a stack, by the same handlers
//! that stacks have.
//!
//! Requests are worked on in the background; the newest 1,000 of the last seven days can be looked
//! at. Differences from AWS: a resource is read at once and never late; types without a `read` or
//! with several primary identifiers are `UnsupportedActionException`; `TypeVersionId` and `RoleArn`
//! are refused by name; a request that the process did not survive has failed, and what it made by
//! then stays; hooks do not exist; nothing can be cancelled, because requests are done in an
//! instant.
//!
//! <https://docs.aws.amazon.com/cloudcontrolapi/latest/APIReference/Welcome.html>

mod requests;

use std::sync::Arc;

use anyhow::Result;
use serde_json::{Value, json};

pub use requests::Request;

use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::resource::{self, Live, ResourceType};
use crate::kernel::schema;
use crate::kernel::service::{Call, Service};
use crate::kernel::store::Table;
use crate::{model, op};

/// What Cloud Control has.
#[derive(Debug)]
pub struct State {
    /// Requests by token.
    pub requests: Table<Request>,
}

impl State {
    /// Opens the records. What an earlier process left in progress has failed.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        let state = Self { requests: opening.table("cloudcontrol_requests") };
        requests::end_orphans(&state.requests)?;
        Ok(state)
    }
}

const PAGES: Pages = Pages::of("MaxResults", "NextToken", 100);

/// API of Cloud Control.
pub static SERVICE: Service = Service {
    prefix: "cloudformation",
    ..Service::new(
        "cloudcontrolapi",
        model!("cloudcontrolapi"),
        &[
            op!(CreateResource(TypeName, DesiredState, ClientToken) => requests::create),
            op!(UpdateResource(TypeName, Identifier, PatchDocument, ClientToken)
                => requests::update),
            op!(DeleteResource(TypeName, Identifier, ClientToken) => requests::delete),
            op!(GetResource(TypeName, Identifier) => get),
            op!(ListResources(TypeName, NextToken, MaxResults) => list),
            op!(GetResourceRequestStatus(RequestToken) => requests::status),
            op!(ListResourceRequests(
                MaxResults, NextToken, ResourceRequestStatusFilter { Operations, OperationStatuses }
            ) => requests::list),
        ],
    )
};

/// The type that a request names.
fn kind_of(call: &Call<'_>) -> ApiResult<&'static ResourceType> {
    let name = call.required("TypeName")?;
    call.authorize("*")?;
    let unknown = |_| {
        let message = format!("The type '{name}' cannot be found.");
        ApiError::new("TypeNotFoundException", message)
    };
    let kind = resource::find(name).map_err(unknown)?;
    match schema::primary_identifier(name).len() {
        1 => Ok(kind),
        _ => Err(unsupported(kind, "any")),
    }
}

fn unsupported(kind: &ResourceType, action: &str) -> ApiError {
    let message = format!("Resource type {} does not support {action} action", kind.name);
    ApiError::new("UnsupportedActionException", message)
}

fn not_found(kind: &ResourceType, identifier: &str) -> ApiError {
    let message = format!(
        "AWS::CloudFormation::Resource of type '{}' with identifier '{identifier}' was not found.",
        kind.name
    );
    ApiError::new("ResourceNotFoundException", message)
}

/// Whether resources of the type are known by their ARN here and by another ID to stacks.
fn is_by_arn(kind: &ResourceType) -> bool {
    schema::primary_identifier(kind.name) == ["Arn"]
}

/// The identifier of the resource that stacks know by `id`.
fn identifier(cloud: &Arc<Cloud>, kind: &ResourceType, id: &str) -> String {
    let arn = kind.handler.arn(cloud, id).filter(|_| is_by_arn(kind));
    arn.unwrap_or_else(|| id.to_owned())
}

/// The ID by which stacks know the resource of that identifier.
fn physical_id(cloud: &Arc<Cloud>, kind: &ResourceType, identifier: &str) -> String {
    let known = kind.handler.list(cloud).unwrap_or_default().into_iter();
    let mut known = known.filter(|_| is_by_arn(kind));
    let found = known.find(|id| kind.handler.arn(cloud, id).as_deref() == Some(identifier));
    found.unwrap_or_else(|| identifier.to_owned())
}

/// The properties of a resource that is there.
fn read(cloud: &Arc<Cloud>, kind: &ResourceType, id: &str, given: &str) -> ApiResult<Value> {
    match kind.handler.read(cloud, id, &json!({})) {
        Live::Unread => Err(unsupported(kind, "READ")),
        Live::Gone => Err(not_found(kind, given)),
        Live::Is(properties) => Ok(without_nulls(properties)),
    }
}

/// What is not set is not shown.
fn without_nulls(properties: Value) -> Value {
    match properties {
        Value::Object(members) => {
            Value::Object(members.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        other => other,
    }
}

fn get(call: &Call<'_>) -> ApiResult {
    let kind = kind_of(call)?;
    let given = call.required("Identifier")?;
    let id = physical_id(call.cloud, kind, given);
    let properties = read(call.cloud, kind, &id, given)?;
    Ok(json!({
        "TypeName": kind.name,
        "ResourceDescription": { "Identifier": given, "Properties": properties.to_string() },
    }))
}

fn list(call: &Call<'_>) -> ApiResult {
    let kind = kind_of(call)?;
    let ids = kind.handler.list(call.cloud).ok_or_else(|| unsupported(kind, "LIST"))?;
    let described = ids.into_iter().filter_map(|id| {
        let properties = read(call.cloud, kind, &id, &id).ok()?;
        let identifier = identifier(call.cloud, kind, &id);
        Some(json!({ "Identifier": identifier, "Properties": properties.to_string() }))
    });
    let (descriptions, next) = PAGES.cut(call.params, described)?;
    let mut out = json!({ "TypeName": kind.name, "ResourceDescriptions": descriptions });
    if let Some(token) = next {
        out["NextToken"] = token.into();
    }
    Ok(out)
}
