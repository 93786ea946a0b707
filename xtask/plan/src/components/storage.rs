//! The bucket of everything that the pipeline reads and writes.

use serde_json::{Map, Value, json};
use steppe_wire::keys;

use super::{Component, Fragment, Stack};
use crate::grants::Cfn;
use crate::made::Made;
use crate::smoke_test::{Check, CheckKind};

/// Days after which an upload that was never completed is removed.
pub const UNFINISHED_UPLOAD_DAYS: u32 = 7;

pub(super) fn component(stack: &Stack<'_>, others: &[Component]) -> Option<Component> {
    let sends_events =
        others.iter().flat_map(|other| &other.rules).any(|rule| rule.on_bucket_events);
    let mut notifications = Map::new();
    if sends_events {
        let configuration = json!({ "EventBridgeConfiguration": { "EventBridgeEnabled": true } });
        notifications.insert("NotificationConfiguration".to_owned(), configuration);
    }
    let context = json!({
        "data_bucket": stack.spec.names.data_bucket(),
        "athena_prefix": keys::ATHENA_PREFIX,
        "unfinished_upload_days": UNFINISHED_UPLOAD_DAYS,
        "notifications": Value::Object(notifications),
    });
    Some(Component {
        name: "storage",
        resources: vec![Fragment::new("storage.yaml.tera", context)],
        outputs: vec![("DataBucket", Cfn::reference("DataBucket"))],
        checks: Some(|tested| {
            Ok(vec![Check::new("permissions", CheckKind::Permissions { place: tested.place })])
        }),
        made: Made { buckets: vec![stack.spec.names.data_bucket()], ..Made::default() },
        ..Component::default()
    })
}
