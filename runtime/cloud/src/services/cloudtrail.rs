//! CloudTrail: who called what within the last 90 days.
//!
//! It has the event history that every account has, of management events: what changes or
//! describes resources. What is done with what is in them, such as `GetObject` or `Invoke`, are
//! data events, which the history of AWS does not have either. Trails, event data stores and
//! Insights are refused by name. An event is there at once (AWS: within minutes), and older ones
//! than the last 128 MiB of the trail are gone before their time. [`crate::kernel::trail`] says
//! what an event has. No limit of two lookups in a second is kept.
//!
//! The words of refusals are not AWS's own where AWS documents the code only.
//!
//! <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html>

mod names;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::{Call, Service};
use crate::{model, op};

/// No records: the trail is the kernel's.
pub type State = super::Nothing;

/// How long events can be looked up.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Events of a page, at most and when nobody says how many.
const PAGE: usize = 50;

/// API of CloudTrail.
pub static SERVICE: Service = Service {
    invalid: "InvalidLookupAttributesException",
    ..Service::new(
        "cloudtrail",
        model!("cloudtrail"),
        &[op!(LookupEvents(LookupAttributes, StartTime, EndTime, MaxResults, NextToken)
            => async lookup)],
    )
};

/// What events are looked for.
struct Wanted {
    attribute: Option<(String, String)>,
    begin: Timestamp,
    end: Timestamp,
    count: usize,
    /// The event after which the page begins.
    after: Option<String>,
}

async fn lookup(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let wanted = Wanted::of(call.params, call.cloud.clock.now())?;
    let cloud = call.cloud.clone();
    let found = tokio::task::spawn_blocking(move || find(&cloud, &wanted)).await;
    let (mut events, more) = found.map_err(ApiError::internal)??;
    let mut answer = json!({});
    if more && let Some(last) = events.last() {
        let last = last["EventId"].as_str().unwrap_or_default();
        answer["NextToken"] = format!("{}.{last}", fingerprint(call.params)).into();
    }
    answer["Events"] = std::mem::take(&mut events).into();
    Ok(answer)
}

impl Wanted {
    fn of(params: &Value, now: Timestamp) -> ApiResult<Self> {
        let attributes = params["LookupAttributes"].as_array().map_or(&[][..], Vec::as_slice);
        let attribute = match attributes {
            [] => None,
            [one] => {
                let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
                Some((text("AttributeKey"), text("AttributeValue")))
            }
            _ => {
                let words = "LookupAttributes can contain only one item.";
                return Err(ApiError::new("InvalidLookupAttributesException", words));
            }
        };
        let count = count(&params["MaxResults"])?;
        let (oldest, moment) = (now - KEPT, |name: &str| moment(&params[name]));
        let (begin, end) = (moment("StartTime")?.unwrap_or(oldest), moment("EndTime")?);
        let end = end.unwrap_or(now);
        if begin > end {
            let words = "The start time occurs after the end time.";
            return Err(ApiError::new("InvalidTimeRangeException", words));
        }
        let after = match params["NextToken"].as_str() {
            None => None,
            Some(token) => {
                let (of, after) = token.split_once('.').unwrap_or_default();
                if of != fingerprint(params) {
                    return Err(wrong_token());
                }
                Some(after.to_owned())
            }
        };
        Ok(Self { attribute, begin: begin.max(oldest), end, count, after })
    }

    fn admits(&self, line: &Value) -> bool {
        let (event, time) = (&line["event"], time_of(&line["event"]));
        if !(self.begin..=self.end).contains(&time) {
            return false;
        }
        let Some((key, value)) = &self.attribute else { return true };
        let is = |text: &Value| text == value.as_str();
        match key.as_str() {
            "EventId" => is(&event["eventID"]),
            "EventName" => is(&event["eventName"]),
            "EventSource" => is(&event["eventSource"]),
            "AccessKeyId" => is(&event["userIdentity"]["accessKeyId"]),
            "ReadOnly" => event["readOnly"].as_bool().is_some_and(|reads| word(reads) == value),
            "Username" => names::user(event).is_some_and(|name| name == value),
            "ResourceType" => names::resources(line).any(|(kind, _)| kind == value),
            "ResourceName" => names::resources(line).any(|(_, name)| name == value),
            _ => false,
        }
    }
}

fn count(given: &Value) -> ApiResult<usize> {
    let Some(given) = given.as_i64() else { return Ok(PAGE) };
    let count = usize::try_from(given).ok().filter(|count| (1..=PAGE).contains(count));
    count.ok_or_else(|| {
        let words = format!(
            "A maximum results value of {given} is invalid. Specify max results between 1 and \
             {PAGE}."
        );
        ApiError::new("InvalidMaxResultsException", words)
    })
}

fn wrong_token() -> ApiError {
    let words = "The token is not valid, or was previously used with different parameters.";
    ApiError::new("InvalidNextTokenException", words)
}

/// What a token must not be used with anything else than.
fn fingerprint(params: &Value) -> String {
    let asked = ["LookupAttributes", "StartTime", "EndTime"].map(|name| params[name].to_string());
    hex::encode(&Sha256::digest(asked.join("\n"))[..8])
}

fn moment(given: &Value) -> ApiResult<Option<Timestamp>> {
    let Some(seconds) = given.as_f64() else { return Ok(None) };
    let time = Timestamp::from_millisecond((seconds * 1_000.0) as i64);
    let words = "The time range is outside the range of possible values.";
    time.map(Some).map_err(|_| ApiError::new("InvalidTimeRangeException", words))
}

fn time_of(event: &Value) -> Timestamp {
    let time = event["eventTime"].as_str().and_then(|time| time.parse().ok());
    time.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A page of events, the newest first, and whether there are more.
fn find(cloud: &Arc<Cloud>, wanted: &Wanted) -> ApiResult<(Vec<Value>, bool)> {
    let (mut events, mut more, mut waiting) = (Vec::new(), false, wanted.after.as_deref());
    let read = cloud.trail.newest_first(|line| {
        // Lines are in the order of their times, but for moments.
        if time_of(&line["event"]) + SignedDuration::from_mins(1) < wanted.begin {
            return true;
        }
        if let Some(after) = waiting {
            if line["event"]["eventID"] == after {
                waiting = None;
            }
        } else if wanted.admits(&line) {
            more = events.len() == wanted.count;
            if !more {
                events.push(shown(&line));
            }
        }
        more
    });
    read.map_err(ApiError::internal)?;
    if waiting.is_some() { Err(wrong_token()) } else { Ok((events, more)) }
}

fn word(reads: bool) -> &'static str {
    if reads { "true" } else { "false" }
}

fn shown(line: &Value) -> Value {
    let event = &line["event"];
    let resources = names::resources(line)
        .map(|(kind, name)| json!({ "ResourceType": kind, "ResourceName": name }));
    json!({
        "EventId": event["eventID"], "EventName": event["eventName"],
        "ReadOnly": event["readOnly"].as_bool().map(word),
        "AccessKeyId": event["userIdentity"]["accessKeyId"],
        "EventTime": epoch_secs(time_of(event)), "EventSource": event["eventSource"],
        "Username": names::user(event), "Resources": resources.collect::<Vec<_>>(),
        "CloudTrailEvent": event.to_string(),
    })
}
