//! Notifications in S3's form.

use s3s::S3Result;
use s3s::dto::*;

use super::{Destination, Kind, Notifications, add_rule, new_id};
use crate::services::s3::options::take;

/// Out of S3's form.
pub fn of_request(configuration: NotificationConfiguration) -> S3Result<Notifications> {
    take!(configuration => NotificationConfiguration {
            event_bridge_configuration, lambda_function_configurations, queue_configurations,
            topic_configurations,
        }
        elsewhere {} refuse {});
    let mut destinations = Vec::new();
    for c in lambda_function_configurations.into_iter().flatten() {
        destinations.push(of(Kind::Lambda, c.id, c.lambda_function_arn, c.events, c.filter)?);
    }
    for c in queue_configurations.into_iter().flatten() {
        destinations.push(of(Kind::Queue, c.id, c.queue_arn, c.events, c.filter)?);
    }
    for c in topic_configurations.into_iter().flatten() {
        destinations.push(of(Kind::Topic, c.id, c.topic_arn, c.events, c.filter)?);
    }
    let event_bridge = event_bridge_configuration.is_some();
    let notifications = Notifications { event_bridge, destinations };
    notifications.check()?;
    Ok(notifications)
}

fn of(
    kind: Kind,
    id: Option<String>,
    arn: String,
    events: Vec<Event>,
    filter: Option<NotificationConfigurationFilter>,
) -> S3Result<Destination> {
    let events = events.into_iter().map(String::from).collect();
    let id = id.filter(|id| !id.is_empty()).unwrap_or_else(new_id);
    let mut to = Destination { kind, id, arn, events, prefix: None, suffix: None };
    let rules = filter.and_then(|f| f.key).and_then(|key| key.filter_rules);
    for rule in rules.into_iter().flatten() {
        let name = rule.name.as_ref().map(FilterRuleName::as_str).unwrap_or_default();
        add_rule(&mut to, (name, rule.value.unwrap_or_default()))?;
    }
    Ok(to)
}

/// In S3's form.
pub fn answer(notifications: &Notifications) -> GetBucketNotificationConfigurationOutput {
    let events = |to: &Destination| to.events.iter().map(|e| Event::from(e.clone())).collect();
    let of_kind = |kind: Kind| notifications.destinations.iter().filter(move |to| to.kind == kind);
    let some = |empty: bool| (!empty).then_some(());
    let lambda: Vec<_> = of_kind(Kind::Lambda)
        .map(|to| LambdaFunctionConfiguration {
            events: events(to),
            filter: filter(to),
            id: Some(to.id.clone()),
            lambda_function_arn: to.arn.clone(),
        })
        .collect();
    let queues: Vec<_> = of_kind(Kind::Queue)
        .map(|to| QueueConfiguration {
            events: events(to),
            filter: filter(to),
            id: Some(to.id.clone()),
            queue_arn: to.arn.clone(),
        })
        .collect();
    let topics: Vec<_> = of_kind(Kind::Topic)
        .map(|to| TopicConfiguration {
            events: events(to),
            filter: filter(to),
            id: Some(to.id.clone()),
            topic_arn: to.arn.clone(),
        })
        .collect();
    GetBucketNotificationConfigurationOutput {
        event_bridge_configuration: notifications
            .event_bridge
            .then(EventBridgeConfiguration::default),
        lambda_function_configurations: some(lambda.is_empty()).map(|()| lambda),
        queue_configurations: some(queues.is_empty()).map(|()| queues),
        topic_configurations: some(topics.is_empty()).map(|()| topics),
    }
}

fn filter(to: &Destination) -> Option<NotificationConfigurationFilter> {
    let rule = |name: &'static str, part: &Option<String>| {
        let name = Some(FilterRuleName::from_static(name));
        part.clone().map(|value| FilterRule { name, value: Some(value) })
    };
    // S3 writes the names with a capital.
    let rules = [rule("Prefix", &to.prefix), rule("Suffix", &to.suffix)];
    let rules: Vec<FilterRule> = rules.into_iter().flatten().collect();
    let key = Some(S3KeyFilter { filter_rules: Some(rules.clone()) });
    (!rules.is_empty()).then_some(NotificationConfigurationFilter { key })
}
