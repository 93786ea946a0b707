//! Requests that change something, and what became of them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{identifier, kind_of, not_found, physical_id, read, unsupported};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::pages::Pages;
use crate::kernel::resource::{Failure, Place, ResourceType};
use crate::kernel::schema;
use crate::kernel::service::Call;
use crate::kernel::store::{NotStored, Table};
use crate::services::cloudformation::{Rights, check_rights, check_used, note_work};

/// How long requests can be looked at.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How many of them.
const REQUESTS_MAX: usize = 1_000;

const PAGES: Pages = Pages::of("MaxResults", "NextToken", 100);

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// `CREATE`, `UPDATE`, `DELETE`.
    pub operation: String,
    /// The resource type.
    pub kind: String,
    /// The resource, when it is known.
    pub identifier: Option<String>,
    /// `IN_PROGRESS`, `SUCCESS`, `FAILED`.
    pub status: String,
    /// Why it failed: code and words.
    pub failure: Option<(String, String)>,
    /// The client's token.
    pub token: Option<String>,
    /// What was asked, by which a repeated request is known.
    pub asked: Value,
    /// Properties of the resource after the request.
    pub model: Option<Value>,
    /// When its status last changed.
    pub time: Timestamp,
}

impl Request {
    fn event(&self, token: &str) -> Value {
        let mut event = json!({
            "TypeName": self.kind, "RequestToken": token, "Operation": self.operation,
            "OperationStatus": self.status, "EventTime": epoch_secs(self.time),
        });
        if let Some(identifier) = &self.identifier {
            event["Identifier"] = identifier.clone().into();
        }
        if let Some(model) = &self.model {
            event["ResourceModel"] = model.to_string().into();
        }
        if let Some((code, words)) = &self.failure {
            event["ErrorCode"] = code.clone().into();
            event["StatusMessage"] = words.clone().into();
        }
        event
    }
}

/// What an earlier process left in progress has failed.
pub fn end_orphans(requests: &Table<Request>) -> Result<(), NotStored> {
    for (token, request) in requests.all() {
        if request.status == "IN_PROGRESS" {
            requests.update(&token, |request| {
                let words = "the embedded cloud stopped while the request was worked on";
                request.status = "FAILED".to_owned();
                request.failure = Some(("ServiceInternalError".to_owned(), words.to_owned()));
            })?;
        }
    }
    Ok(())
}

/// What is to be done.
enum Task {
    Create(Value),
    Update { id: String, properties: Value, old: Value },
    Delete { id: String, old: Value },
}

/// Records a request and works on it in the background.
fn begin(
    call: &Call<'_>,
    kind: &'static ResourceType,
    given: Option<&str>,
    task: Task,
) -> ApiResult {
    let requests = &call.cloud.services.cloudcontrol.requests;
    let client_token = call.text("ClientToken");
    let operation = match task {
        Task::Create(_) => "CREATE",
        Task::Update { .. } => "UPDATE",
        Task::Delete { .. } => "DELETE",
    };
    if let Some(event) = repeated(requests, client_token, call.params)? {
        return Ok(json!({ "ProgressEvent": event }));
    }
    forget_old(call.cloud)?;
    let request = Request {
        operation: operation.to_owned(),
        kind: kind.name.to_owned(),
        identifier: given.map(str::to_owned),
        status: "IN_PROGRESS".to_owned(),
        failure: None,
        token: client_token.map(str::to_owned),
        asked: call.params.clone(),
        model: None,
        time: call.cloud.clock.now(),
    };
    let token = uuid::Uuid::new_v4().to_string();
    requests.put(&token, request.clone())?;
    let event = request.event(&token);
    let (cloud, caller) = (call.cloud.clone(), call.caller.via("cloudformation.amazonaws.com"));
    tokio::spawn(async move {
        let done = work(&cloud, caller, kind, task).await;
        finish(&cloud, &token, kind, done);
    });
    Ok(json!({ "ProgressEvent": event }))
}

/// The event of the request that a client's token had before.
fn repeated(
    requests: &Table<Request>,
    token: Option<&str>,
    asked: &Value,
) -> ApiResult<Option<Value>> {
    let Some(token) = token else { return Ok(None) };
    let all = requests.all();
    match all.iter().find(|(_, request)| request.token.as_deref() == Some(token)) {
        None => Ok(None),
        Some((id, request)) if request.asked == *asked => Ok(Some(request.event(id))),
        Some(_) => {
            let words = format!("The client token {token} was used for another request.");
            Err(ApiError::new("ClientTokenConflictException", words))
        }
    }
}

fn forget_old(cloud: &Cloud) -> ApiResult<()> {
    let requests = &cloud.services.cloudcontrol.requests;
    let mut all: Vec<(Timestamp, String)> =
        requests.all().into_iter().map(|(token, request)| (request.time, token)).collect();
    all.sort();
    let surplus = (all.len() + 1).saturating_sub(REQUESTS_MAX);
    let now = cloud.clock.now();
    for (n, (time, token)) in all.into_iter().enumerate() {
        if n < surplus || now.duration_since(time) > KEPT {
            requests.remove(&token)?;
        }
    }
    Ok(())
}

async fn work(
    cloud: &Arc<Cloud>,
    caller: Caller,
    kind: &ResourceType,
    task: Task,
) -> Result<Option<String>, Failure> {
    let logical_id = kind.name.rsplit(':').next().unwrap_or_default();
    let place = Place { cloud, caller: Some(caller), stack_id: "", stack_name: "", logical_id };
    match task {
        Task::Create(properties) => {
            let id = kind.id(&place, &properties);
            check_rights(&place, kind, &id, &properties, Rights::Create)?;
            if kind.is_taken(cloud, &id, &properties) {
                return Err(Failure::Exists(kind.handler.taken(kind, &id, &properties)));
            }
            let made = kind.handler.create(&place, &id, &properties).await?;
            note_work(&place, kind, &id, &properties, Rights::Create);
            kind.handler.settle(&place, &id, &properties, made).await?;
            Ok(Some(id))
        }
        Task::Update { id, properties, old } => {
            check_rights(&place, kind, &id, &properties, Rights::Update(&old))?;
            kind.handler.update(&place, &id, &properties, &old).await?;
            note_work(&place, kind, &id, &properties, Rights::Update(&old));
            Ok(Some(id))
        }
        Task::Delete { id, old } => {
            check_rights(&place, kind, &id, &old, Rights::Delete)?;
            kind.handler.delete(&place, &id, &old).await?;
            note_work(&place, kind, &id, &old, Rights::Delete);
            Ok(None)
        }
    }
}

/// Notes what became of a request.
fn finish(
    cloud: &Arc<Cloud>,
    token: &str,
    kind: &ResourceType,
    done: Result<Option<String>, Failure>,
) {
    let time = cloud.clock.now();
    cloud.services.cloudcontrol.requests.settle(token, |request| {
        request.time = time;
        match done {
            Ok(id) => {
                request.status = "SUCCESS".to_owned();
                if let Some(id) = id {
                    request.identifier = Some(identifier(cloud, kind, &id));
                    request.model = read(cloud, kind, &id, &id).ok();
                }
            }
            Err(failure) => {
                request.status = "FAILED".to_owned();
                let code = match failure {
                    Failure::Exists(_) => "AlreadyExists",
                    Failure::Gone(_) => "NotFound",
                    Failure::Other(_) => "GeneralServiceException",
                };
                request.failure = Some((code.to_owned(), failure.to_string()));
            }
        }
    });
}

/// Properties as AWS and this cloud have them, or why not.
fn checked(kind: &'static ResourceType, properties: Value) -> ApiResult<Value> {
    let problems = schema::problems(kind.name, &properties);
    if !problems.is_empty() {
        let words: Vec<String> =
            problems.iter().map(|p| format!("#{}: {}", p.path, p.words)).collect();
        let message = format!("Model validation failed ({})", words.join(", "));
        return Err(ApiError::new("ValidationException", message));
    }
    check_used(kind, &properties)
        .map_err(|words| ApiError::new("NotImplemented", words).with_status(501))?;
    Ok(properties)
}

fn json_of(call: &Call<'_>, member: &str) -> ApiResult<Value> {
    let text = call.required(member)?;
    serde_json::from_str(text).map_err(|error| {
        let message = format!("Invalid request provided: {member} is not valid JSON: {error}");
        ApiError::new("InvalidRequestException", message)
    })
}

pub fn create(call: &Call<'_>) -> ApiResult {
    let kind = kind_of(call)?;
    let properties = checked(kind, json_of(call, "DesiredState")?)?;
    begin(call, kind, None, Task::Create(properties))
}

pub fn update(call: &Call<'_>) -> ApiResult {
    let kind = kind_of(call)?;
    let given = call.required("Identifier")?;
    let id = physical_id(call.cloud, kind, given);
    let old = read(call.cloud, kind, &id, given)?;
    let invalid = |error: String| ApiError::new("InvalidRequestException", error);
    let patch: json_patch::Patch = serde_json::from_value(json_of(call, "PatchDocument")?)
        .map_err(|error| invalid(format!("PatchDocument is not a JSON patch: {error}")))?;
    let mut properties = old.clone();
    json_patch::patch(&mut properties, &patch).map_err(|error| invalid(error.to_string()))?;
    let properties = checked(kind, properties)?;
    let names = old.as_object().into_iter().flatten().map(|(name, _)| name);
    let mut names = names.chain(properties.as_object().into_iter().flatten().map(|(n, _)| n));
    if let Some(fixed) = names.find(|name| kind.replaces(name, &old, &properties)) {
        let message = format!(
            "Invalid patch update: createOnlyProperties [/properties/{fixed}] cannot be updated"
        );
        return Err(ApiError::new("NotUpdatableException", message));
    }
    begin(call, kind, Some(given), Task::Update { id, properties, old })
}

pub fn delete(call: &Call<'_>) -> ApiResult {
    let kind = kind_of(call)?;
    let given = call.required("Identifier")?;
    let id = physical_id(call.cloud, kind, given);
    let old = match read(call.cloud, kind, &id, given) {
        Err(error) if error.code == "UnsupportedActionException" => {
            return Err(unsupported(kind, "DELETE"));
        }
        Err(_) => return Err(not_found(kind, given)),
        Ok(old) => old,
    };
    begin(call, kind, Some(given), Task::Delete { id, old })
}

pub fn status(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let token = call.required("RequestToken")?;
    let request = call.cloud.services.cloudcontrol.requests.get(token).ok_or_else(|| {
        let message = format!("Request with token {token} was not found");
        ApiError::new("RequestTokenNotFoundException", message)
    })?;
    Ok(json!({ "ProgressEvent": request.event(token) }))
}

pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let filter = &call.params["ResourceRequestStatusFilter"];
    let admits = |member: &str, value: &str| {
        let wanted = filter[member].as_array();
        wanted.is_none_or(|wanted| wanted.is_empty() || wanted.iter().any(|w| w == value))
    };
    let mut all = call.cloud.services.cloudcontrol.requests.all();
    all.retain(|(_, request)| {
        admits("Operations", &request.operation) && admits("OperationStatuses", &request.status)
    });
    all.sort_by_key(|(_, request)| std::cmp::Reverse(request.time));
    let events = all.iter().map(|(token, request)| request.event(token)).collect();
    PAGES.answer(call.params, "ResourceRequestStatusSummaries", events)
}
