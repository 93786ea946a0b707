//! Who is told of a bucket's changes: functions, queues, topics and EventBridge.
//!
//! Kept in the form of CloudFormation, in which a configuration has one event; S3's own has a list,
//! which is kept as a list.

pub mod request;

use s3s::{S3Error, S3Result};
use serde_json::{Value, json};

use super::errors::{invalid_argument, malformed_xml, not_implemented};

/// Configurations of one bucket.
const CONFIGURATIONS_MAX: usize = 100;
/// Events that happen here. The others of S3 tell of what no bucket here does, or has.
const EVENTS: &[&str] = &[
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Put",
    "s3:ObjectTagging:Delete",
];
/// Beginnings of the events that S3 has besides.
const OTHER_EVENTS: &[&str] = &[
    "s3:ReducedRedundancyLostObject",
    "s3:ObjectRestore:",
    "s3:Replication:",
    "s3:ObjectAcl:",
    "s3:LifecycleTransition",
    "s3:IntelligentTiering",
];

/// What a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A function.
    Lambda,
    /// A queue.
    Queue,
    /// A topic.
    Topic,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Lambda, Self::Queue, Self::Topic];

    /// The member of the setting, and the member of it that has the ARN.
    fn members(self) -> (&'static str, &'static str) {
        match self {
            Self::Lambda => ("LambdaConfigurations", "Function"),
            Self::Queue => ("QueueConfigurations", "Queue"),
            Self::Topic => ("TopicConfigurations", "Topic"),
        }
    }

    /// What the ARN begins with.
    fn service(self) -> &'static str {
        match self {
            Self::Lambda => "arn:aws:lambda:",
            Self::Queue => "arn:aws:sqs:",
            Self::Topic => "arn:aws:sns:",
        }
    }
}

/// Who is told of which changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// What it is.
    pub kind: Kind,
    /// The ID of the configuration.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// `s3:ObjectCreated:*`.
    pub events: Vec<String>,
    /// What keys begin with.
    pub prefix: Option<String>,
    /// What keys end in.
    pub suffix: Option<String>,
}

/// Who is told of a bucket's changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Whether EventBridge is.
    pub event_bridge: bool,
    /// Who else is.
    pub destinations: Vec<Destination>,
}

impl Notifications {
    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        !self.event_bridge && self.destinations.is_empty()
    }

    /// Those who want to know of an event.
    pub fn for_event<'a>(
        &'a self,
        event: &'a str,
        key: &'a str,
    ) -> impl Iterator<Item = &'a Destination> {
        self.destinations.iter().filter(move |to| {
            to.events.iter().any(|wanted| covers(wanted, event))
                && key.starts_with(to.prefix.as_deref().unwrap_or_default())
                && key.ends_with(to.suffix.as_deref().unwrap_or_default())
        })
    }

    /// Reads the setting, or the property of a template.
    pub fn read(setting: &Value) -> Result<Self, String> {
        let mut read = Self::default();
        let members = setting.as_object().ok_or("NotificationConfiguration is no structure")?;
        for (name, value) in members {
            match Kind::ALL.into_iter().find(|kind| kind.members().0 == name) {
                Some(kind) => {
                    for one in value.as_array().into_iter().flatten() {
                        read.destinations.push(read_destination(kind, one)?);
                    }
                }
                None if name == "EventBridgeConfiguration" => {
                    let enabled = &value["EventBridgeEnabled"];
                    read.event_bridge =
                        !value.is_null() && *enabled != false && *enabled != "false";
                }
                None => {
                    return Err(format!(
                        "the embedded cloud does not implement {name} of NotificationConfiguration"
                    ));
                }
            }
        }
        read.check().map_err(|error| error.message().unwrap_or_default().to_owned())?;
        Ok(read)
    }

    /// The setting as it is kept.
    pub fn write(&self) -> Value {
        let mut setting = json!({});
        if self.event_bridge {
            setting["EventBridgeConfiguration"] = json!({ "EventBridgeEnabled": true });
        }
        for kind in Kind::ALL {
            let (list, arn) = kind.members();
            let of_kind: Vec<Value> = self
                .destinations
                .iter()
                .filter(|to| to.kind == kind)
                .map(|to| write_destination(to, arn))
                .collect();
            if !of_kind.is_empty() {
                setting[list] = of_kind.into();
            }
        }
        setting
    }

    /// What S3 refuses whoever the destinations are.
    fn check(&self) -> S3Result<()> {
        if self.destinations.len() > CONFIGURATIONS_MAX {
            return Err(invalid_argument("Too many configurations (limit: 100)"));
        }
        for (at, one) in self.destinations.iter().enumerate() {
            check_events(&one.events)?;
            if !one.arn.starts_with(one.kind.service()) || one.arn.split(':').count() < 6 {
                return Err(invalid_argument("The ARN could not be parsed"));
            }
            for other in &self.destinations[..at] {
                if one.id == other.id {
                    return Err(invalid_argument(
                        "Same ID used for multiple configurations. IDs must be unique",
                    ));
                }
                if overlap(one, other) {
                    return Err(invalid_argument(
                        "Configuration is ambiguously defined. Cannot have overlapping suffixes in \
                         two rules if the prefixes are overlapping for the same event type.",
                    ));
                }
            }
        }
        Ok(())
    }
}

fn covers(wanted: &str, event: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(family) => event.starts_with(family),
        None => wanted == event,
    }
}

fn overlap(one: &Destination, other: &Destination) -> bool {
    let same = |a: &String| other.events.iter().any(|b| covers(a, b) || covers(b, a));
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let (a, b) = (text(&one.prefix), text(&other.prefix));
    let prefixes = a.starts_with(&b) || b.starts_with(&a);
    let (a, b) = (text(&one.suffix), text(&other.suffix));
    let suffixes = a.ends_with(&b) || b.ends_with(&a);
    one.events.iter().any(same) && prefixes && suffixes
}

fn check_events(events: &[String]) -> S3Result<()> {
    if events.is_empty() {
        return Err(malformed_xml());
    }
    for event in events {
        if OTHER_EVENTS.iter().any(|other| event.starts_with(other)) {
            return Err(not_implemented(&format!("the event {event}")));
        }
        if !EVENTS.contains(&event.as_str()) {
            return Err(invalid_argument(format!(
                "The event '{event}' is not supported for notifications"
            )));
        }
    }
    Ok(())
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn read_destination(kind: Kind, value: &Value) -> Result<Destination, String> {
    let (list, arn) = kind.members();
    let known = ["Id", "Event", "Events", "Filter", arn];
    let members = value.as_object().into_iter().flatten();
    if let Some((other, _)) = members.into_iter().find(|(n, _)| !known.contains(&n.as_str())) {
        return Err(format!("the embedded cloud does not implement {other} of {list}"));
    }
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let events = match &value["Events"] {
        Value::Array(events) => events.iter().filter_map(text).collect(),
        _ => text(&value["Event"]).into_iter().collect(),
    };
    let mut to = Destination {
        kind,
        id: text(&value["Id"]).unwrap_or_else(new_id),
        arn: text(&value[arn]).ok_or_else(|| format!("{list} need {arn}"))?,
        events,
        prefix: None,
        suffix: None,
    };
    for rule in value["Filter"]["S3Key"]["Rules"].as_array().into_iter().flatten() {
        let name = text(&rule["Name"]).unwrap_or_default();
        let rule = (name.as_str(), text(&rule["Value"]).unwrap_or_default());
        add_rule(&mut to, rule).map_err(|e| e.message().unwrap_or_default().to_owned())?;
    }
    Ok(to)
}

fn add_rule(to: &mut Destination, (name, value): (&str, String)) -> S3Result<()> {
    let name = name.to_ascii_lowercase();
    let part = match name.as_str() {
        "prefix" => &mut to.prefix,
        "suffix" => &mut to.suffix,
        _ => {
            return Err(invalid_argument("filter rule name must be either prefix or suffix"));
        }
    };
    if value.len() > 1_024 {
        return Err(invalid_argument(
            "Size of filter rule value cannot exceed 1024 bytes in UTF-8",
        ));
    }
    match part.replace(value) {
        None => Ok(()),
        Some(_) => {
            Err(invalid_argument(format!("Cannot specify more than one {name} rule in a filter.")))
        }
    }
}

fn write_destination(to: &Destination, arn: &str) -> Value {
    let mut written = json!({ "Id": to.id, "Events": to.events });
    written[arn] = to.arn.clone().into();
    let rule = |name: &str, part: &Option<String>| {
        part.as_ref().map(|value| json!({ "Name": name, "Value": value }))
    };
    let rules = [rule("prefix", &to.prefix), rule("suffix", &to.suffix)];
    let rules: Vec<Value> = rules.into_iter().flatten().collect();
    if !rules.is_empty() {
        written["Filter"] = json!({ "S3Key": { "Rules": rules } });
    }
    written
}

/// S3 could not reach a destination, or may not send to it.
pub fn invalid_destination() -> S3Error {
    invalid_argument("Unable to validate the following destination configurations")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(id: &str, event: &str, prefix: &str) -> Value {
        json!({
            "Id": id, "Queue": "arn:aws:sqs:us-east-1:000000000000:q", "Event": event,
            "Filter": { "S3Key": { "Rules": [{ "Name": "Prefix", "Value": prefix }] } },
        })
    }

    fn read(queues: &[Value]) -> Result<Notifications, String> {
        Notifications::read(&json!({ "QueueConfigurations": queues }))
    }

    #[test]
    fn configurations_are_kept_as_they_were_read() {
        let all = read(&[
            queue("a", "s3:ObjectCreated:*", "x/"),
            queue("b", "s3:ObjectCreated:Put", "y/"),
        ]);
        let all = all.expect("valid");
        assert_eq!(Notifications::read(&all.write()).as_ref(), Ok(&all));
        let ids = |event: &str, key: &str| {
            all.for_event(event, key).map(|to| to.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids("s3:ObjectCreated:Copy", "x/1"), ["a"]);
        assert_eq!(ids("s3:ObjectCreated:Put", "y/1"), ["b"]);
        assert!(ids("s3:ObjectCreated:Copy", "y/1").is_empty());
        assert!(ids("s3:ObjectRemoved:Delete", "x/1").is_empty());
    }

    #[test]
    fn what_s3_refuses_is_refused() {
        let overlapping =
            [queue("a", "s3:ObjectCreated:*", "x/"), queue("b", "s3:ObjectCreated:Put", "x/y")];
        let refused = |queues: &[Value]| read(queues).expect_err("refused");
        assert!(refused(&overlapping).contains("ambiguously"));
        let same = [queue("a", "s3:ObjectCreated:*", "x"), queue("a", "s3:ObjectCreated:*", "y")];
        assert!(refused(&same).contains("Same ID"));
        assert!(refused(&[queue("a", "s3:Replication:*", "x")]).contains("does not implement"));
        assert!(refused(&[queue("a", "s3:Nothing", "x")]).contains("not supported"));
        let topic = json!({ "Id": "t", "Queue": "arn:aws:sns:us-east-1:0:t", "Event": "s3:ObjectCreated:*" });
        assert!(refused(&[topic]).contains("ARN"));
    }
}
