//! Batches: up to ten entries, each with a result of its own.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::attributes::MESSAGE_BYTES_MAX;
use super::messages::{self, Draft};
use super::{Named, named};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

const ENTRIES_MAX: usize = 10;

/// The entries of a batch, whose IDs tell them apart.
fn entries<'a>(call: &Call<'a>, kind: &str) -> ApiResult<&'a [Value]> {
    let entries = call.params["Entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        let message = format!("There should be at least one {kind} in the request.");
        return Err(ApiError::new("EmptyBatchRequest", message));
    }
    if entries.len() > ENTRIES_MAX {
        let sent = entries.len();
        let message = format!(
            "Maximum number of entries per request are {ENTRIES_MAX}. You have sent {sent}."
        );
        return Err(ApiError::new("TooManyEntriesInBatchRequest", message));
    }
    let mut seen = BTreeSet::new();
    for entry in entries {
        let id = id_of(entry);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if id.is_empty() || id.len() > 80 || !id.chars().all(plain) {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and \
                           underscores. It can be at most 80 letters long.";
            return Err(ApiError::new("InvalidBatchEntryId", message));
        }
        if !seen.insert(id) {
            return Err(ApiError::new("BatchEntryIdsNotDistinct", format!("Id {id} repeated.")));
        }
    }
    Ok(entries)
}

fn id_of(entry: &Value) -> &str {
    entry["Id"].as_str().unwrap_or_default()
}

fn failed(entry: &Value, error: &ApiError) -> Value {
    json!({
        "Id": id_of(entry), "Code": error.code, "Message": error.message,
        "SenderFault": error.status < 500,
    })
}

fn with_id(entry: &Value, mut result: Value) -> Value {
    result["Id"] = id_of(entry).into();
    result
}

fn answer(successful: Vec<Value>, failed: Vec<Value>) -> Value {
    json!({ "Successful": successful, "Failed": failed })
}

/// `SendMessageBatch`.
pub fn send(call: &Call<'_>) -> ApiResult {
    let Named { queue, .. } = named(call, "SendMessage")?;
    let entries = entries(call, "SendMessageBatchRequestEntry")?;
    let bytes: usize = entries.iter().map(messages::bytes).sum();
    if bytes > MESSAGE_BYTES_MAX {
        let message = format!(
            "Batch requests cannot be longer than {MESSAGE_BYTES_MAX} bytes. You have sent \
             {bytes} bytes."
        );
        return Err(ApiError::new("BatchRequestTooLong", message));
    }
    let (state, now) = (&call.cloud.services.sqs, call.cloud.clock.now());
    let (settings, shelf) = (queue.settings(), state.shelf(&queue));
    let (mut done, mut wrong, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        match messages::draft(&settings, call.caller, entry, now) {
            Ok(Draft { message, key: None }) => {
                done.push(with_id(entry, messages::sent(&message, &message.id, None)));
                plain.push(message);
            }
            Ok(draft) => match messages::put(state, &queue, draft, now) {
                Ok(sent) => done.push(with_id(entry, sent)),
                Err(error) => wrong.push(failed(entry, &error)),
            },
            Err(error) => wrong.push(failed(entry, &error)),
        }
    }
    if !plain.is_empty() {
        shelf.add(&state.rows, plain, now)?;
    }
    Ok(answer(done, wrong))
}

/// `DeleteMessageBatch`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let Named { queue, .. } = named(call, "DeleteMessage")?;
    let entries = entries(call, "DeleteMessageBatchRequestEntry")?;
    let (mut done, mut wrong, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        let text = entry["ReceiptHandle"].as_str().unwrap_or_default();
        match messages::deletable(call.cloud, &queue, text) {
            Ok(number) => {
                numbers.extend(number);
                done.push(json!({ "Id": id_of(entry) }));
            }
            Err(error) => wrong.push(failed(entry, &error)),
        }
    }
    let state = &call.cloud.services.sqs;
    state.shelf(&queue).delete(&state.rows, &numbers)?;
    Ok(answer(done, wrong))
}

/// `ChangeMessageVisibilityBatch`.
pub fn change_visibility(call: &Call<'_>) -> ApiResult {
    let Named { queue, .. } = named(call, "ChangeMessageVisibility")?;
    let entries = entries(call, "ChangeMessageVisibilityBatchRequestEntry")?;
    let (mut done, mut wrong, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        match messages::visibility_change(call.cloud, &queue, entry) {
            Ok(change) => {
                changes.push(change);
                done.push(json!({ "Id": id_of(entry) }));
            }
            Err(error) => wrong.push(failed(entry, &error)),
        }
    }
    let state = &call.cloud.services.sqs;
    state.shelf(&queue).set_visible(&state.rows, &changes)?;
    Ok(answer(done, wrong))
}
