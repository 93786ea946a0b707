//! A message of a topic, and the forms in which subscribers get it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::invalid;
use crate::kernel::cloud::iso;
use crate::kernel::error::{ApiError, ApiResult};

/// Bytes of a message with its attributes.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// A message of a topic.
#[derive(Debug, Clone)]
pub struct Notice<'a> {
    pub id: String,
    pub topic: &'a str,
    pub subject: Option<&'a str>,
    /// The text, or one for each protocol.
    pub message: Message<'a>,
    pub attributes: Map<String, Value>,
    pub time: Timestamp,
}

/// What a message says.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    /// The same to all.
    Text(&'a str),
    /// By protocol.
    Structured(Map<String, Value>),
}

impl<'a> Notice<'a> {
    /// Reads what is to be published.
    pub fn read(topic: &'a str, params: &'a Value, time: Timestamp) -> ApiResult<Self> {
        let text = params["Message"].as_str().filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| invalid("Empty message"))?;
        let subject = params["Subject"].as_str();
        subject.map_or(Ok(()), check_subject)?;
        let attributes = params["MessageAttributes"].as_object().cloned().unwrap_or_default();
        attributes.iter().try_for_each(|(name, value)| check_attribute(name, value))?;
        let of_attributes: usize =
            attributes.iter().map(|(name, value)| name.len() + bytes_of(value)).sum();
        if text.len() + of_attributes > MESSAGE_BYTES_MAX {
            return Err(invalid("Message too long"));
        }
        let message = match params["MessageStructure"].as_str() {
            None => Message::Text(text),
            Some("json") => Message::Structured(structured(text)?),
            Some(_) => return Err(invalid("MessageStructure")),
        };
        let id = uuid::Uuid::new_v4().to_string();
        Ok(Self { id, topic, subject, message, attributes, time })
    }

    /// What it says to subscribers by that protocol.
    pub fn text(&self, protocol: &str) -> &str {
        match &self.message {
            Message::Text(text) => text,
            Message::Structured(all) => {
                let own = all.get(protocol).or_else(|| all.get("default"));
                own.and_then(Value::as_str).unwrap_or_default()
            }
        }
    }

    fn attributes(&self) -> Option<Map<String, Value>> {
        let show = |(name, attribute): (&String, &Value)| {
            let value = attribute.get("StringValue").or_else(|| attribute.get("BinaryValue"));
            (name.clone(), json!({ "Type": attribute["DataType"], "Value": value }))
        };
        let shown: Map<String, Value> = self.attributes.iter().map(show).collect();
        (!shown.is_empty()).then_some(shown)
    }

    fn envelope(&self, protocol: &str) -> Map<String, Value> {
        let mut all = Map::new();
        let mut add = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
        add("Type", "Notification".into());
        add("MessageId", self.id.clone().into());
        add("TopicArn", self.topic.into());
        if let Some(subject) = self.subject {
            add("Subject", subject.into());
        }
        add("Message", self.text(protocol).into());
        add("Timestamp", iso(self.time).into());
        all
    }

    /// What a queue gets.
    pub fn for_queue(&self) -> String {
        let mut all = self.envelope("sqs");
        if let Some(attributes) = self.attributes() {
            all.insert("MessageAttributes".to_owned(), attributes.into());
        }
        Value::Object(all).to_string()
    }

    /// What a function gets.
    pub fn for_function(&self, subscription: &str) -> String {
        let mut all = self.envelope("lambda");
        let subject = all.get("Subject").cloned().unwrap_or(Value::Null);
        all.insert("Subject".to_owned(), subject);
        let attributes = self.attributes().unwrap_or_default();
        all.insert("MessageAttributes".to_owned(), attributes.into());
        json!({ "Records": [{
            "EventSource": "aws:sns", "EventVersion": "1.0",
            "EventSubscriptionArn": subscription, "Sns": all,
        }] })
        .to_string()
    }
}

fn bytes_of(attribute: &Value) -> usize {
    let members = attribute.as_object().into_iter().flatten();
    members.filter_map(|(_, value)| Some(value.as_str()?.len())).sum()
}

/// One text for each protocol, as JSON.
fn structured(text: &str) -> ApiResult<Map<String, Value>> {
    let why = "Message Structure - No default entry in JSON message body";
    let parsed: Value = serde_json::from_str(text)
        .map_err(|_| invalid("Message Structure - JSON message body failed to parse"))?;
    match parsed {
        Value::Object(all) if all.get("default").is_some_and(Value::is_string) => Ok(all),
        _ => Err(invalid(why)),
    }
}

/// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>: ASCII that begins with a letter,
/// a number or a punctuation mark, without line breaks and control characters, below 100
/// characters.
fn check_subject(subject: &str) -> ApiResult<()> {
    let begins = subject.starts_with(|c: char| c.is_ascii_graphic());
    let plain = subject.chars().all(|c| c.is_ascii() && !c.is_ascii_control());
    if begins && plain && subject.len() <= 100 {
        return Ok(());
    }
    Err(invalid("Subject"))
}

fn check_attribute(name: &str, attribute: &Value) -> ApiResult<()> {
    let wrong = |words: &str| {
        ApiError::new("ParameterValueInvalid", format!("The message attribute '{name}' {words}"))
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let dots = name.starts_with('.') || name.ends_with('.') || name.contains("..");
    if name.is_empty() || name.len() > 256 || dots || !name.chars().all(plain) {
        return Err(wrong("has an invalid name"));
    }
    let kind = attribute["DataType"].as_str().unwrap_or_default();
    let text = attribute["StringValue"].as_str().filter(|text| !text.is_empty());
    let bytes = attribute["BinaryValue"].as_str().filter(|bytes| !bytes.is_empty());
    let holds = match kind.split('.').next().unwrap_or_default() {
        "Binary" => bytes.is_some(),
        "Number" => text.is_some_and(|text| text.parse::<f64>().is_ok_and(f64::is_finite)),
        "String" if kind == "String.Array" => text.is_some_and(|text| {
            serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_array())
        }),
        "String" => text.is_some(),
        _ => {
            let words = "has an invalid message attribute type, the set of supported type \
                         prefixes is Binary, Number, and String.";
            return Err(wrong(words));
        }
    };
    let words = "must contain a non-empty message attribute value of its type.";
    if holds { Ok(()) } else { Err(wrong(words)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(params: &Value) -> ApiResult<Notice<'_>> {
        Notice::read("t", params, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn subjects_are_checked() {
        assert!(check_subject("Forecasts are ready").is_ok());
        for subject in ["", " a", "a\nb", "прогноз", &"s".repeat(101)] {
            assert!(check_subject(subject).is_err(), "{subject}");
        }
    }

    #[test]
    fn a_message_may_say_something_else_to_each_protocol() {
        let params = json!({
            "Message": r#"{"default":"d","sqs":"q"}"#, "MessageStructure": "json"
        });
        let notice = read(&params).expect("a notice");
        assert_eq!((notice.text("sqs"), notice.text("lambda")), ("q", "d"));
        for wrong in ["x", "{}", r#"{"sqs":"q"}"#] {
            assert!(read(&json!({ "Message": wrong, "MessageStructure": "json" })).is_err());
        }
    }

    #[test]
    fn queues_get_an_envelope() {
        let params = json!({
            "Message": "m", "Subject": "s",
            "MessageAttributes": { "a": { "DataType": "String", "StringValue": "b" } }
        });
        let sent: Value =
            serde_json::from_str(&read(&params).expect("a notice").for_queue()).expect("JSON");
        assert_eq!(sent["Message"], "m");
        assert_eq!(sent["Timestamp"], "1970-01-01T00:00:00.000Z");
        assert_eq!(sent["MessageAttributes"]["a"], json!({ "Type": "String", "Value": "b" }));
    }
}
