//! Status checks of instances. All pass, and at once, unless a script of faults has it otherwise:
//! an instance is a directory and processes of this machine.
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html>

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::filter::{Candidate, Filter, page};
use super::{Instance, InstanceState, listed, unknown};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::ApiResult;
use crate::kernel::service::Call;
use crate::services::cloudwatch::{self, Metric};

const MINUTE_SECS: i64 = 60;
/// Metrics that are 1 when the check of an instance fails.
const FAILED: [&str; 2] = ["StatusCheckFailed", "StatusCheckFailed_Instance"];

/// `DescribeInstanceStatus`.
pub fn describe(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let names = [
        "availability-zone",
        "instance-state-name",
        "instance-status.status",
        "system-status.status",
    ];
    let filter = Filter::new(call.params, "InstanceIds", &names)?;
    let all = listed(call.cloud);
    if let Some(id) = filter.missing(|id| all.iter().any(|(other, ..)| other == id)) {
        return Err(unknown(id));
    }
    let also_others = call.params["IncludeAllInstances"] == true;
    let chosen = all.iter().filter(|(id, instance, state)| {
        let fields = [
            ("availability-zone", instance.zone.as_str()),
            ("instance-state-name", state.word()),
            ("instance-status.status", of_instance(instance, *state)),
            ("system-status.status", of_system(*state)),
        ];
        let is_shown = also_others || matches!(state, InstanceState::Running);
        is_shown && filter.admits(&Candidate { id, tags: &instance.tags, fields: &fields })
    });
    let shown = chosen.map(|(id, instance, state)| shown(id, instance, *state)).collect();
    let (statuses, next) = page(shown, call.params)?;
    Ok(json!({ "InstanceStatuses": statuses, "NextToken": next }))
}

fn of_system(state: InstanceState) -> &'static str {
    if matches!(state, InstanceState::Running) { "ok" } else { "not-applicable" }
}

fn of_instance(instance: &Instance, state: InstanceState) -> &'static str {
    match of_system(state) {
        "ok" if instance.impaired.is_some() => "impaired",
        word => word,
    }
}

fn shown(id: &str, instance: &Instance, state: InstanceState) -> Value {
    let summary = |word: &str| match word {
        "not-applicable" => json!({ "Status": word }),
        "ok" => {
            json!({ "Status": word, "Details": [{ "Name": "reachability", "Status": "passed" }] })
        }
        _ => json!({ "Status": word, "Details": [{
            "Name": "reachability", "Status": "failed", "ImpairedSince": instance.impaired.map(iso),
        }] }),
    };
    json!({
        "InstanceId": id, "AvailabilityZone": instance.zone,
        "InstanceState": { "Code": state.code(), "Name": state.word() },
        "InstanceStatus": summary(of_instance(instance, state)),
        "SystemStatus": summary(of_system(state)),
    })
}

/// Sends the metrics of checks that fail, at every full minute; AWS sends those that pass as well.
pub async fn run(cloud: Arc<Cloud>) {
    loop {
        let now = cloud.clock.now().as_second();
        let next = now - now.rem_euclid(MINUTE_SECS) + MINUTE_SECS;
        cloud.clock.sleep_until(Timestamp::from_second(next).unwrap_or(Timestamp::MAX)).await;
        let all = cloud.clone();
        let sent = tokio::task::spawn_blocking(move || send(&all)).await;
        sent.unwrap_or_else(|error| tracing::error!("checks are not told: {error}"));
    }
}

fn send(cloud: &Arc<Cloud>) {
    let all = cloud.services.ec2.instances.all();
    for (id, _) in all.iter().filter(|(_, instance)| instance.impaired.is_some()) {
        for name in FAILED {
            let dimensions = BTreeMap::from([("InstanceId".to_owned(), id.clone())]);
            let (namespace, name) = ("AWS/EC2".to_owned(), name.to_owned());
            cloudwatch::record(cloud, &Metric { namespace, name, dimensions }, 1.0, "Count");
        }
    }
}
