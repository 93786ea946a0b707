//! State machines as targets: a message starts an execution.

use std::sync::Arc;

use serde_json::json;

use crate::kernel::bus;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::ApiResult;
use crate::kernel::service;

/// A message of another service, which is the input of an execution.
pub async fn take(cloud: &Arc<Cloud>, message: &bus::Message) -> ApiResult {
    let params = json!({ "stateMachineArn": message.target, "input": message.body });
    service::call(cloud, &message.caller, "states", "StartExecution", &params).await
}
