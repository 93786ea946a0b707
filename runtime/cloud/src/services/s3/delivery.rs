//! Notices are delivered: at least once, and again while a destination fails.
//!
//! What a destination refuses (it is gone, or S3 may not send any more) is not tried again, as in
//! AWS; what fails inside of the destination is, for a day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::SignedDuration;
use s3s::S3Result;
use serde_json::{Value, json};

use super::messages;
use super::notifications::{Destination, Kind, Notifications, invalid_destination};
use super::store::{Notice, To};
use crate::kernel::bus::{self, Right, Sender};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::services::events;

const SERVICE: &str = "s3.amazonaws.com";
/// Notices of one round, which is one commit.
const ROUND: usize = 64;
/// Notices that are delivered at a time.
const AT_A_TIME: usize = 8;
/// How long a notice is tried.
const TRIED_FOR: SignedDuration = SignedDuration::from_hours(24);
/// Longest pause between two tries, and between two looks.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Delivers for as long as the process runs.
pub async fn run(cloud: Arc<Cloud>) {
    loop {
        let next = round(&cloud).await;
        let s3 = &cloud.services.s3;
        tokio::select! {
            () = s3.told.notified(), if next > Duration::ZERO => {}
            () = s3.clock.sleep(next) => {}
        }
    }
}

/// Delivers what is due; how long until there is more.
async fn round(cloud: &Arc<Cloud>) -> Duration {
    let s3 = &cloud.services.s3;
    let (due, next) = s3.due(ROUND);
    let more = due.len() == ROUND;
    let tried = futures::stream::iter(due)
        .map(|(name, notice)| async move {
            let left = attempt(cloud, &notice).await;
            (name, left)
        })
        .buffer_unordered(AT_A_TIME);
    let round: BTreeMap<String, Option<Notice>> = tried.collect().await;
    if !round.is_empty() {
        let all = cloud.clone();
        let settled = tokio::task::spawn_blocking(move || all.services.s3.settle(&round)).await;
        match settled {
            Ok(Ok(())) => {}
            // They are delivered again, which is allowed.
            Ok(Err(error)) => {
                tracing::error!("delivered notices stay: {error}");
                return PAUSE_MAX;
            }
            Err(error) => tracing::error!("delivered notices stay: {error}"),
        }
    }
    if more {
        return Duration::ZERO;
    }
    let left = next.map(|next| next.duration_since(s3.clock.now()));
    let left = left.map(|left| Duration::try_from(left).unwrap_or_default());
    left.map_or(PAUSE_MAX, |left| left.clamp(Duration::from_millis(1), PAUSE_MAX))
}

/// Tries to deliver a notice; what is left to do.
async fn attempt(cloud: &Arc<Cloud>, notice: &Notice) -> Option<Notice> {
    let error = deliver(cloud, notice).await.err()?;
    let now = cloud.services.s3.clock.now();
    let expired = now.duration_since(notice.written) > TRIED_FOR;
    let bucket = &notice.bucket;
    if error.status < 500 || error.code == "NotImplemented" || expired {
        tracing::error!("a notice of the bucket {bucket} to {:?} is given up: {error}", notice.to);
        return None;
    }
    let tries = notice.tries + 1;
    let pause = Duration::from_secs(1).saturating_mul(1 << tries.min(16)).min(PAUSE_MAX);
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    let due = now.saturating_add(pause).unwrap_or(now);
    Some(Notice { due, tries, ..notice.clone() })
}

async fn deliver(cloud: &Arc<Cloud>, notice: &Notice) -> ApiResult<()> {
    match &notice.to {
        To::EventBridge => Ok(events::take(cloud, &notice.body)?),
        To::Arn(arn) => send(cloud, &notice.bucket, arn, &notice.body).await,
    }
}

async fn send(cloud: &Arc<Cloud>, bucket: &str, to: &str, body: &Value) -> ApiResult<()> {
    let source = format!("arn:aws:s3:::{bucket}");
    let sender = Sender { service: SERVICE, source_arn: &source, session: bucket };
    let topic = to.starts_with("arn:aws:sns:");
    let parameters = if topic { json!({ "Subject": "Amazon S3 Notification" }) } else { json!({}) };
    bus::deliver(cloud, sender, Right::Own, to, body.to_string(), parameters).await.map(drop)
}

/// Whether S3 may send to all destinations; queues and topics get a test message.
pub async fn validate(
    cloud: &Arc<Cloud>,
    bucket: &str,
    notifications: &Notifications,
    request_id: &str,
) -> S3Result<()> {
    for to in &notifications.destinations {
        // What nobody here takes is refused by name, not as a mistake of the configuration.
        bus::check(&to.arn).map_err(|_| super::errors::not_implemented(&kind_name(to.kind)))?;
        if let Err(error) = try_out(cloud, bucket, to, request_id).await {
            tracing::warn!("the bucket {bucket} cannot tell {}: {error}", to.arn);
            return Err(invalid_destination());
        }
    }
    Ok(())
}

fn kind_name(kind: Kind) -> String {
    let name = match kind {
        Kind::Lambda => "functions",
        Kind::Queue => "queues",
        Kind::Topic => "topics",
    };
    format!("notifications to {name}")
}

async fn try_out(
    cloud: &Arc<Cloud>,
    bucket: &str,
    to: &Destination,
    request_id: &str,
) -> ApiResult<()> {
    let refused = |words: &str| Err(ApiError::new("InvalidArgument", words));
    let mut parts = to.arn.split(':').skip(3);
    if parts.next() != Some(&cloud.config.region) || parts.next() != Some(&cloud.config.account) {
        return refused("it is in another region or account");
    }
    if to.arn.ends_with(".fifo") {
        return refused("S3 does not send to FIFO queues and topics");
    }
    if to.kind == Kind::Lambda {
        let source = format!("arn:aws:s3:::{bucket}");
        let caller = cloud.identities.service(SERVICE, &source);
        return match cloud.allows(&caller, "lambda:InvokeFunction", &to.arn, &[])? {
            true => Ok(()),
            false => refused("its policy does not let S3 invoke it"),
        };
    }
    let now = cloud.services.s3.clock.now();
    let message = messages::test_message(bucket, now, request_id);
    send(cloud, bucket, &to.arn, &message).await
}
