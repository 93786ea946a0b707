//! Names and values as Step Functions' integration with AWS's SDK has them: every member begins
//! with a capital, whatever the service calls it, and moments are texts.
//!
//! <https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html>

use jiff::Timestamp;
use serde_json::Value;

use super::{Member, Model, Shape, Structure};
use crate::kernel::cloud::{epoch_secs, iso};

/// `StartJobRun` of `startJobRun`.
pub fn capital(name: &str) -> String {
    let mut characters = name.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// The service in an integration: `sfn`, `cloudwatchlogs`.
pub fn service_name(model: &Model) -> String {
    model.name.to_lowercase().replace(' ', "")
}

/// The service in names of errors, which are those of AWS's SDK for Java: `Sfn`, `CloudWatchLogs`,
/// `DynamoDb`.
pub fn class_name(model: &Model) -> String {
    let mut name = String::new();
    let mut after_capital = false;
    for c in model.name.chars().filter(|c| *c != ' ') {
        let small = after_capital && c.is_uppercase();
        name.push(if small { c.to_ascii_lowercase() } else { c });
        after_capital = c.is_uppercase();
    }
    name
}

/// Arguments in the service's own names; the error is the first member that it has not.
pub fn arguments(model: &Model, input: &Structure, given: &Value) -> Result<Value, String> {
    let Value::Object(members) = given else { return Ok(given.clone()) };
    let mut renamed = serde_json::Map::new();
    for (name, value) in members {
        let own = input.members.iter().find(|(own, _)| capital(own) == *name);
        let (own, member) = own.ok_or_else(|| name.clone())?;
        renamed.insert(own.clone(), argument(model, member, value)?);
    }
    Ok(Value::Object(renamed))
}

fn argument(model: &Model, member: &Member, value: &Value) -> Result<Value, String> {
    match (model.of(member), value) {
        (Some(Shape::Structure(structure)), _) => arguments(model, structure, value),
        (Some(Shape::List(list)), Value::Array(items)) => {
            items.iter().map(|item| argument(model, &list.member, item)).collect()
        }
        (Some(Shape::Map(map)), Value::Object(entries)) => {
            let entry = |(key, value): (&String, &Value)| {
                Ok((key.clone(), argument(model, &map.value, value)?))
            };
            entries.iter().map(entry).collect()
        }
        (Some(Shape::Timestamp(_)), Value::String(text)) => {
            Ok(text.parse().map_or_else(|_| value.clone(), |time| epoch_secs(time).into()))
        }
        _ => Ok(value.clone()),
    }
}

/// An answer as a state machine has it.
pub fn result(model: &Model, output: &Structure, answer: &Value) -> Value {
    let Value::Object(members) = answer else { return answer.clone() };
    let given = members.iter().filter(|(_, value)| !value.is_null());
    let renamed = given.map(|(name, value)| {
        let member = output.members.get(name);
        (capital(name), member.map_or_else(|| value.clone(), |m| part(model, m, value)))
    });
    renamed.collect()
}

fn part(model: &Model, member: &Member, value: &Value) -> Value {
    match (model.of(member), value) {
        (Some(Shape::Structure(structure)), _) => result(model, structure, value),
        (Some(Shape::List(list)), Value::Array(items)) => {
            items.iter().map(|item| part(model, &list.member, item)).collect()
        }
        (Some(Shape::Map(map)), Value::Object(entries)) => {
            entries.iter().map(|(k, value)| (k.clone(), part(model, &map.value, value))).collect()
        }
        (Some(Shape::Timestamp(_)), Value::Number(seconds)) => {
            let millis = seconds.as_f64().map(|seconds| (seconds * 1000.0).round() as i64);
            let time = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
            time.map_or_else(|| value.clone(), |time| iso(time).into())
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model(name: &str) -> Model {
        let about = json!({
            "origin": "", "name": name, "others": [], "errors": {},
            "operations": { "Get": {
                "http": { "method": "POST", "requestUri": "/" }, "input": "In", "output": "In",
            } },
            "shapes": {
                "In": { "type": "structure", "members": {
                    "startDate": { "shape": "Time" }, "items": { "shape": "Items" },
                } },
                "Items": { "type": "list", "member": { "shape": "Item" } },
                "Item": { "type": "structure", "members": { "name": { "shape": "Text" } } },
                "Text": { "type": "string" }, "Time": { "type": "timestamp" },
            },
        });
        Model::read(&about.to_string())
    }

    #[test]
    fn members_have_capitals_and_moments_are_texts() {
        let model = model("SFN");
        let (here, there) = (
            json!({ "startDate": 1.5, "items": [{ "name": "a" }] }),
            json!({ "StartDate": "1970-01-01T00:00:01.500Z", "Items": [{ "Name": "a" }] }),
        );
        let shape = model.input("Get").expect("a structure");
        assert_eq!(arguments(&model, shape, &there), Ok(here.clone()));
        assert_eq!(result(&model, shape, &here), there);
        assert_eq!(arguments(&model, shape, &here), Err("startDate".to_owned()));
    }

    #[test]
    fn services_have_the_names_of_the_sdk_for_java() {
        for (id, service, class) in [
            ("SFN", "sfn", "Sfn"),
            ("DynamoDB", "dynamodb", "DynamoDb"),
            ("CloudWatch Logs", "cloudwatchlogs", "CloudWatchLogs"),
            ("S3", "s3", "S3"),
            ("EC2", "ec2", "Ec2"),
        ] {
            let model = model(id);
            assert_eq!((service_name(&model), class_name(&model)), (service.into(), class.into()));
        }
    }
}
