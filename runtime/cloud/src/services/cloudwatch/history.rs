//! What happened to alarms: the last hundred entries of each, for 30 days.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::alarm_arn;
use super::data::moment;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::ApiResult;
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;
use crate::kernel::store::NotStored;

/// Entries of an alarm.
const ENTRIES_MAX: usize = 100;
/// How long entries are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
const PAGES: Pages = Pages {
    items: 100,
    wrong_token: "InvalidNextToken",
    ..Pages::of("MaxRecords", "NextToken", 100)
};

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Settings.
    ConfigurationUpdate,
    /// The state.
    StateUpdate,
    /// An action.
    Action,
}

/// An entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    at: Timestamp,
    kind: Kind,
    summary: String,
    data: Value,
}

/// The entries of an alarm, the oldest first; they outlive it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History(Vec<Entry>);

/// Adds an entry.
pub fn add(
    cloud: &Cloud,
    name: &str,
    kind: Kind,
    summary: &str,
    data: &Value,
) -> Result<(), NotStored> {
    let now = cloud.clock.now();
    let entry = Entry { at: now, kind, summary: summary.to_owned(), data: data.clone() };
    let oldest = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    cloud.services.cloudwatch.history.replace(name, |former| {
        let mut entries = former.cloned().unwrap_or_default().0;
        entries.push(entry);
        entries.retain(|entry| entry.at > oldest);
        let surplus = entries.len().saturating_sub(ENTRIES_MAX);
        entries.drain(..surplus);
        Ok::<_, NotStored>(History(entries))
    })?;
    Ok(())
}

/// `DescribeAlarmHistory`.
pub fn describe(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let name = call.text("AlarmName");
    call.authorize(&alarm_arn(cloud, name.unwrap_or("*")))?;
    let kind = call.text("HistoryItemType");
    let time = |name: &str| params[name].as_f64().map(|secs| (secs * 1_000.0) as i64);
    let (begin, end) = (time("StartDate"), time("EndDate"));
    let metric_alarms = params["AlarmTypes"]
        .as_array()
        .is_none_or(|types| types.iter().any(|kind| kind == "MetricAlarm"));
    let mut found: Vec<(Timestamp, Value)> = Vec::new();
    for (alarm, history) in cloud.services.cloudwatch.history.all() {
        if name.is_some_and(|name| name != alarm) || !metric_alarms {
            continue;
        }
        for entry in &history.0 {
            let millis = entry.at.as_millisecond();
            let admitted = kind.is_none_or(|kind| json!(entry.kind) == kind)
                && begin.is_none_or(|begin| millis >= begin)
                && end.is_none_or(|end| millis <= end);
            if admitted {
                found.push((entry.at, shown(&alarm, entry)));
            }
        }
    }
    found.sort_by_key(|(at, _)| *at);
    if call.text("ScanBy") != Some("TimestampAscending") {
        found.reverse();
    }
    PAGES.answer(params, "AlarmHistoryItems", found.into_iter().map(|(_, entry)| entry).collect())
}

fn shown(alarm: &str, entry: &Entry) -> Value {
    json!({
        "AlarmName": alarm, "AlarmType": "MetricAlarm", "Timestamp": moment(entry.at),
        "HistoryItemType": entry.kind, "HistorySummary": entry.summary,
        "HistoryData": entry.data.to_string(),
    })
}
