//! Event source mappings: functions that are invoked with what is in queues and streams.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html>
//!
//! A mapping has a worker ([`worker`]) that waits for records and never polls. Its function's
//! execution role must be allowed to read the source, when the mapping is made and always after.
//!
//! Differences from AWS: sources are SQS queues, Kinesis streams and streams of tables; Kafka, MQ
//! and DocumentDB are refused, as are tumbling windows, consumers with enhanced fan-out, buckets as
//! destinations, provisioned pollers and metrics of mappings. A mapping is being made or changed
//! for a fifth of a second; it begins to read at once, and `LATEST` is what comes after its
//! creation was answered. A queue has five batches at a time, or as many as `MaximumConcurrency`
//! says, 32 at most.

mod filter;
mod gathered;
mod lane;
mod outcome;
mod queue;
mod settings;
mod source;
mod stream;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::settings::{Kind, Settings};
use self::source::Source;
use super::function::{Function, conflict, invalid, not_found};
use super::versions::{page, resolve};
use super::{Alias, Reference, destinations, qualified_arn, tags};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::kinesis::Position;
use crate::services::sqs;

pub use self::stream::Checkpoint;
pub use self::worker::{Signals, resume};

/// How long a mapping is being made or changed.
const CHANGE: SignedDuration = SignedDuration::from_millis(200);

/// An event source mapping.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mapping {
    /// The function's name.
    pub function: String,
    /// Its version or alias, if one was named.
    pub qualifier: Option<String>,
    /// ARN of the queue or stream.
    pub source: String,
    /// What the source is.
    pub kind: Kind,
    /// How records are handed over.
    pub settings: Settings,
    /// Whether they are.
    pub enabled: bool,
    /// Where reading a stream begins, and as it was said.
    pub start: Option<(Position, String)>,
    /// The ID of the stream that is read, since reading has begun.
    pub begun: Option<String>,
    /// Last change.
    pub modified: Timestamp,
    /// What is being done to it, and until when.
    change: Option<(String, Timestamp)>,
    /// How reading went last.
    pub result: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Counts changes; a worker of an older one ends.
    pub version: u64,
}

/// The ARN of a mapping.
pub fn arn(cloud: &Cloud, id: &str) -> String {
    cloud.config.arn("lambda", &format!("event-source-mapping:{id}"))
}

impl Mapping {
    /// Its function, as it was named.
    pub fn reference(&self) -> Reference<'_> {
        Reference { name: &self.function, qualifier: self.qualifier.as_deref() }
    }

    /// The ARN of its function, as it was named.
    pub fn function_arn(&self, cloud: &Cloud) -> String {
        qualified_arn(cloud, &self.reference())
    }

    fn begin_change(&mut self, what: &str, now: Timestamp) {
        (self.change, self.modified) = (Some((what.to_owned(), now + CHANGE)), now);
        self.version += 1;
    }

    /// Until when it is being made or changed.
    pub fn changing_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.change.as_ref().map(|(_, until)| *until).filter(|until| now < *until)
    }

    fn state(&self, now: Timestamp) -> &str {
        match &self.change {
            Some((what, until)) if now < *until => what,
            _ if self.enabled => "Enabled",
            _ => "Disabled",
        }
    }

    /// Refuses what cannot be done while it is being made or changed.
    fn check_is_settled(&self, verb: &str, now: Timestamp) -> ApiResult<()> {
        if matches!(self.state(now), "Enabled" | "Disabled") {
            return Ok(());
        }
        Err(in_use(verb))
    }
}

fn in_use(verb: &str) -> ApiError {
    let message = format!("Cannot {verb} the event source mapping because it is in use.");
    ApiError::new("ResourceInUseException", message).with("Type", "User".into())
}

/// As the API describes a mapping.
pub fn describe(cloud: &Cloud, id: &str, mapping: &Mapping) -> Value {
    let is_stream = mapping.kind.has_shards();
    let mut shown = mapping.settings.describe(mapping.kind);
    shown["UUID"] = id.into();
    shown["EventSourceMappingArn"] = arn(cloud, id).into();
    shown["EventSourceArn"] = mapping.source.clone().into();
    shown["FunctionArn"] = mapping.function_arn(cloud).into();
    shown["LastModified"] = epoch_secs(mapping.modified).into();
    shown["State"] = mapping.state(cloud.clock.now()).into();
    let reason = if is_stream { "User action" } else { "USER_INITIATED" };
    shown["StateTransitionReason"] = reason.into();
    if is_stream {
        shown["LastProcessingResult"] = mapping.result.clone().into();
    }
    if let Some((position, named)) = &mapping.start {
        shown["StartingPosition"] = named.clone().into();
        if let Position::At(time) = position {
            shown["StartingPositionTimestamp"] = epoch_secs(*time).into();
        }
    }
    shown
}

/// What an ARN names that can be read.
fn kind_of(arn: &str) -> ApiResult<Kind> {
    match arn.split(':').nth(2) {
        Some("sqs") if arn.ends_with(".fifo") => Ok(Kind::Fifo),
        Some("sqs") => Ok(Kind::Queue),
        Some("kinesis") if arn.contains(":stream/") && !arn.contains("/consumer/") => {
            Ok(Kind::Stream)
        }
        Some("dynamodb") if arn.contains("/stream/") => Ok(Kind::Table),
        Some(known @ ("kinesis" | "dynamodb" | "kafka" | "mq" | "rds")) => {
            let message = format!(
                "The embedded cloud does not implement event source mappings of {known}: {arn}."
            );
            Err(ApiError::new("NotImplemented", message).with_status(501))
        }
        _ => Err(invalid("Unrecognized event source.")),
    }
}

fn start(cloud: &Cloud, kind: Kind, p: &Value) -> ApiResult<(Position, String)> {
    let named = p["StartingPosition"].as_str().ok_or_else(|| {
        invalid(
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy \
             constraint: Member must not be null.",
        )
    })?;
    if kind == Kind::Table && named == "AT_TIMESTAMP" {
        let source = p["EventSourceArn"].as_str().unwrap_or_default();
        return Err(invalid(format!("Unsupported starting position for arn type: {source}")));
    }
    let at = p["StartingPositionTimestamp"].as_f64();
    let position = match (named, at) {
        ("AT_TIMESTAMP", Some(secs)) => {
            let time = Timestamp::from_millisecond((secs * 1e3) as i64).ok();
            let time = time.filter(|time| *time <= cloud.clock.now());
            Position::At(time.ok_or_else(|| {
                invalid("The timestamp for the starting position must not be in the future.")
            })?)
        }
        ("AT_TIMESTAMP", None) => {
            return Err(invalid("Timestamp must be specified for AT_TIMESTAMP starting position."));
        }
        (_, Some(_)) => {
            return Err(invalid("Timestamp is only supported for AT_TIMESTAMP starting position."));
        }
        ("LATEST", None) => Position::Latest,
        _ => Position::TrimHorizon,
    };
    Ok((position, named.to_owned()))
}

/// Looks at what a mapping needs: its function, and that the function's role may read the source
/// and send to the destination.
fn check_surroundings(cloud: &Arc<Cloud>, mapping: &Mapping) -> ApiResult<()> {
    let target = resolve(cloud, &mapping.reference(), Alias::main)
        .map_err(|_| invalid("Function does not exist"))?;
    let function = &target.function;
    match mapping.kind {
        Kind::Stream | Kind::Table => {
            Source::check_access(cloud, mapping.kind, &function.role, &mapping.source)?;
            Source::find(cloud, mapping.kind, &mapping.source)?;
        }
        Kind::Queue | Kind::Fifo => check_queue(cloud, function, mapping)?,
    }
    match &mapping.settings.on_failure {
        Some(destination) => destinations::check_batch(cloud, &function.role, destination),
        None => Ok(()),
    }
}

fn check_queue(cloud: &Arc<Cloud>, function: &Function, mapping: &Mapping) -> ApiResult<()> {
    queue::check_access(cloud, &function.role, &mapping.source)?;
    let absent = || {
        invalid(
            "Error occurred while ReceiveMessage. SQS Error Code: \
             AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does \
             not exist.",
        )
    };
    let name = sqs::name_in(cloud, &mapping.source).ok_or_else(absent)?;
    let visibility = sqs::visibility_secs(cloud, name).ok_or_else(absent)?;
    if visibility < function.timeout_secs {
        return Err(invalid(format!(
            "Queue visibility timeout: {visibility} seconds is less than Function timeout: {} \
             seconds",
            function.timeout_secs
        )));
    }
    Ok(())
}

/// `CreateEventSourceMapping`.
pub async fn create(call: &Call<'_>) -> ApiResult {
    create_as(call, &uuid::Uuid::new_v4().to_string()).await
}

/// The same with that ID.
pub async fn create_as(call: &Call<'_>, id: &str) -> ApiResult {
    let (cloud, p) = (call.cloud, call.params);
    let reference = Reference::parse(call.required("FunctionName")?, None);
    call.authorize("*")?;
    let source = call.text("EventSourceArn").filter(|arn| !arn.is_empty());
    let source = source.ok_or_else(|| invalid("Unrecognized event source."))?;
    let kind = kind_of(source)?;
    let start = if kind.has_shards() { Some(start(cloud, kind, p)?) } else { None };
    let mut settings = Settings::of(kind);
    settings.apply(kind, p)?;
    let mut mapping = Mapping {
        function: reference.name.to_owned(),
        qualifier: reference.qualifier.map(str::to_owned),
        source: source.to_owned(),
        kind,
        settings,
        enabled: p["Enabled"].as_bool().unwrap_or(true),
        start,
        begun: None,
        modified: cloud.clock.now(),
        change: None,
        result: "No records processed".to_owned(),
        tags: tags::given(&p["Tags"]),
        version: 0,
    };
    check_surroundings(cloud, &mapping)?;
    check_is_new(cloud, &mapping)?;
    mapping.begin_change("Creating", cloud.clock.now());
    if mapping.enabled {
        stream::begin(cloud, id, &mut mapping).await?;
    }
    let described = describe(cloud, id, &mapping);
    cloud.services.lambda.mappings.put(id, mapping)?;
    worker::spawn(cloud, id);
    Ok(described)
}

fn check_is_new(cloud: &Cloud, mapping: &Mapping) -> ApiResult<()> {
    let arn = mapping.function_arn(cloud);
    let all = cloud.services.lambda.mappings.all().into_iter();
    let mut same = all.filter(|(_, m)| m.source == mapping.source && m.function_arn(cloud) == arn);
    let Some((id, _)) = same.next() else { return Ok(()) };
    let (source, name) = (&mapping.source, &mapping.function);
    let end = format!("Please update or delete the existing mapping with UUID {id}");
    Err(conflict(match mapping.kind {
        Kind::Stream | Kind::Table => format!(
            "The event source arn (\" {source} \") and function (\" {name} \") provided mapping \
             already exists. {end}"
        ),
        Kind::Queue | Kind::Fifo => format!(
            "An event source mapping with SQS arn (\" {source} \") and function (\" {name} \") \
             already exists. {end}"
        ),
    }))
}

/// The mapping that a call names, when the caller may make the call.
fn of_call<'a>(call: &Call<'a>) -> ApiResult<(&'a str, Arc<Mapping>)> {
    let id = call.required("UUID")?;
    call.authorize(&arn(call.cloud, id))?;
    let mapping = call.cloud.services.lambda.mappings.get(id);
    Ok((id, mapping.ok_or_else(absent)?))
}

fn absent() -> ApiError {
    not_found("The resource you requested does not exist.")
}

/// `UpdateEventSourceMapping`.
pub async fn update(call: &Call<'_>) -> ApiResult {
    let (cloud, p) = (call.cloud, call.params);
    let (id, former) = of_call(call)?;
    former.check_is_settled("update", cloud.clock.now())?;
    let mut mapping = (*former).clone();
    if let Some(name) = call.text("FunctionName") {
        let reference = Reference::parse(name, None);
        mapping.function = reference.name.to_owned();
        mapping.qualifier = reference.qualifier.map(str::to_owned);
    }
    mapping.settings.apply(mapping.kind, p)?;
    mapping.enabled = p["Enabled"].as_bool().unwrap_or(mapping.enabled);
    check_surroundings(cloud, &mapping)?;
    let what = match (former.enabled, mapping.enabled) {
        (false, true) => "Enabling",
        (true, false) => "Disabling",
        _ => "Updating",
    };
    mapping.begin_change(what, cloud.clock.now());
    if mapping.enabled {
        stream::begin(cloud, id, &mut mapping).await?;
    }
    let described = describe(cloud, id, &mapping);
    let mappings = &cloud.services.lambda.mappings;
    mappings.replace(id, |present: Option<&Mapping>| {
        let present = present.ok_or_else(absent)?;
        if present.version != former.version {
            return Err(in_use("update"));
        }
        let (tags, result) = (present.tags.clone(), present.result.clone());
        Ok::<_, ApiError>(Mapping { tags, result, ..mapping })
    })?;
    cloud.services.lambda.signals.tell(id);
    Ok(described)
}

/// `GetEventSourceMapping`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let (id, mapping) = of_call(call)?;
    Ok(describe(call.cloud, id, &mapping))
}

/// `DeleteEventSourceMapping`: what is at work is finished.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (cloud, state) = (call.cloud, &call.cloud.services.lambda);
    let (id, mapping) = of_call(call)?;
    mapping.check_is_settled("delete", cloud.clock.now())?;
    let mut described = describe(cloud, id, &mapping);
    described["State"] = "Deleting".into();
    state.mappings.remove(id)?;
    stream::forget(cloud, id)?;
    state.signals.tell(id);
    Ok(described)
}

/// `ListEventSourceMappings`, in pages.
pub fn list(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    call.authorize("*")?;
    let source = call.text("EventSourceArn");
    let function = call.text("FunctionName").map(|name| Reference::parse(name, None));
    let fits = |mapping: &Mapping| {
        source.is_none_or(|source| mapping.source == source)
            && function.is_none_or(|wanted| mapping.reference() == wanted)
    };
    let all = cloud.services.lambda.mappings.all().into_iter();
    let shown = all.filter(|(_, m)| fits(m)).map(|(id, mapping)| describe(cloud, &id, &mapping));
    page(call, "EventSourceMappings", shown.collect())
}

/// Tells how reading went; it is shown, and nothing depends on it.
fn tell_result(cloud: &Cloud, id: &str, result: &str) {
    let mappings = &cloud.services.lambda.mappings;
    if mappings.get(id).is_some_and(|mapping| mapping.result != result) {
        mappings.settle(id, |mapping| mapping.result = result.to_owned());
    }
}

/// A payload that a function may be given: `{"Records": […]}`.
fn payload(records: &[Value]) -> bytes::Bytes {
    json!({ "Records": records }).to_string().into()
}
