//! Lifecycle rules as they are kept: in CloudFormation's form.

use serde_json::{Map, Value, json};

use super::forms::{check, empty, new_id, parse_midnight};
use super::{Expiration, Noncurrent, Rule};

/// Marks a rule in the setting whose prefix is told as it was given, before there were filters.
const OLD: &str = "IsOld";

/// The setting: CloudFormation's form.
pub fn write(rules: &[Rule]) -> Value {
    json!({ "Rules": rules.iter().map(write_rule).collect::<Vec<_>>() })
}

fn write_rule(rule: &Rule) -> Value {
    let status = if rule.enabled { "Enabled" } else { "Disabled" };
    let mut kept = json!({ "Id": rule.id, "Status": status });
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            kept[name] = value;
        }
    };
    set("Prefix", rule.prefix.clone().map(Value::from));
    set(OLD, rule.is_old.then_some(Value::Bool(true)));
    let tag = |(key, value): (&String, &String)| json!({ "Key": key, "Value": value });
    let tags: Vec<Value> = rule.tags.iter().map(tag).collect();
    set("TagFilters", (!tags.is_empty()).then(|| tags.into()));
    // Templates have these as texts.
    set("ObjectSizeGreaterThan", rule.larger_than.map(|n| n.to_string().into()));
    set("ObjectSizeLessThan", rule.smaller_than.map(|n| n.to_string().into()));
    match rule.expiration {
        Some(Expiration::Days(days)) => set("ExpirationInDays", Some(days.into())),
        Some(Expiration::Date(date)) => set("ExpirationDate", Some(date.to_string().into())),
        Some(Expiration::Marker) => set("ExpiredObjectDeleteMarker", Some(true.into())),
        None => {}
    }
    set(
        "NoncurrentVersionExpiration",
        rule.noncurrent.map(|noncurrent| {
            let mut written = json!({ "NoncurrentDays": noncurrent.days });
            if let Some(kept) = noncurrent.kept {
                written["NewerNoncurrentVersions"] = kept.into();
            }
            written
        }),
    );
    let abort = |days: i32| json!({ "DaysAfterInitiation": days });
    set("AbortIncompleteMultipartUpload", rule.abort_after.map(abort));
    kept
}

/// The setting as a template has it, without what only S3 has.
pub fn as_property(setting: &Value) -> Value {
    let mut property = setting.clone();
    for rule in property["Rules"].as_array_mut().into_iter().flatten() {
        rule.as_object_mut().map(|rule| rule.remove(OLD));
    }
    property
}

/// Out of the setting, or a template.
pub fn read(setting: &Value) -> Result<Vec<Rule>, String> {
    let members = setting.as_object().into_iter().flat_map(Map::keys);
    if let Some(other) = members.into_iter().find(|name| *name != "Rules") {
        return Err(format!(
            "the embedded cloud does not implement {other} of LifecycleConfiguration"
        ));
    }
    let rules = setting["Rules"].as_array().ok_or("LifecycleConfiguration needs Rules")?;
    let rules: Vec<Rule> = rules.iter().map(read_rule).collect::<Result<_, _>>()?;
    check(&rules).map_err(|error| error.message().unwrap_or_default().to_owned())?;
    Ok(rules)
}

fn read_rule(value: &Value) -> Result<Rule, String> {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let number = |name: &str| whole(&value[name]).and_then(|n| i32::try_from(n).ok());
    let mut rule = empty(text("Id").unwrap_or_else(new_id), value["Status"] == "Enabled");
    for (name, given) in value.as_object().into_iter().flatten() {
        let wrong = || format!("{name} of a lifecycle rule is not what it should be: {given}");
        match name.as_str() {
            "Id" => {}
            "Status" if *given == "Enabled" || *given == "Disabled" => {}
            "Prefix" => rule.prefix = Some(text("Prefix").ok_or_else(wrong)?),
            OLD => rule.is_old = *given == true,
            "TagFilters" => {
                for tag in given.as_array().ok_or_else(wrong)? {
                    let part = |name: &str| tag[name].as_str().map(str::to_owned);
                    let (key, value) = part("Key").zip(part("Value")).ok_or_else(wrong)?;
                    rule.tags.insert(key, value);
                }
            }
            "ObjectSizeGreaterThan" => rule.larger_than = Some(whole(given).ok_or_else(wrong)?),
            "ObjectSizeLessThan" => rule.smaller_than = Some(whole(given).ok_or_else(wrong)?),
            "ExpirationInDays" => {
                rule.expiration = Some(Expiration::Days(number(name).ok_or_else(wrong)?));
            }
            "ExpirationDate" => {
                let date = given.as_str().and_then(parse_midnight).ok_or_else(wrong)?;
                rule.expiration = Some(Expiration::Date(date));
            }
            "ExpiredObjectDeleteMarker" => {
                if *given == true || *given == "true" {
                    rule.expiration = rule.expiration.or(Some(Expiration::Marker));
                }
            }
            "NoncurrentVersionExpirationInDays" => {
                let days = number(name).ok_or_else(wrong)?;
                rule.noncurrent = Some(Noncurrent { days, kept: None });
            }
            "NoncurrentVersionExpiration" => {
                rule.noncurrent = Some(read_noncurrent(given).ok_or_else(wrong)?);
            }
            "AbortIncompleteMultipartUpload" => {
                let days = whole(&given["DaysAfterInitiation"]).ok_or_else(wrong)?;
                rule.abort_after = Some(i32::try_from(days).map_err(|_| wrong())?);
            }
            "Status" => return Err(wrong()),
            other => {
                return Err(format!(
                    "the embedded cloud does not implement {other} of lifecycle rules"
                ));
            }
        }
    }
    Ok(rule)
}

fn read_noncurrent(value: &Value) -> Option<Noncurrent> {
    let days = i32::try_from(whole(&value["NoncurrentDays"])?).ok()?;
    let kept = match &value["NewerNoncurrentVersions"] {
        Value::Null => None,
        kept => Some(i32::try_from(whole(kept)?).ok()?),
    };
    Some(Noncurrent { days, kept })
}

/// Templates write numbers as numbers or as texts.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::forms::{answer, of_request};
    use super::*;

    #[test]
    fn rules_survive_both_forms() {
        let setting = json!({ "Rules": [
            { "Id": "a", "Status": "Enabled", "Prefix": "x/", "ExpirationInDays": 3,
              "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 1 } },
            { "Id": "b", "Status": "Disabled", "ObjectSizeGreaterThan": "10",
              "TagFilters": [{ "Key": "k", "Value": "v" }],
              "ExpirationDate": "2030-01-01T00:00:00Z",
              "NoncurrentVersionExpiration":
                  { "NoncurrentDays": 2, "NewerNoncurrentVersions": 5 } },
            { "Id": "c", "Status": "Enabled", "Prefix": "", "IsOld": true,
              "ExpiredObjectDeleteMarker": true },
        ] });
        let rules = read(&setting).expect("valid");
        assert_eq!(write(&rules), setting);
        assert_eq!(of_request(answer(&rules)).expect("valid"), rules);
        assert!(as_property(&setting)["Rules"][2].get("IsOld").is_none());
    }

    #[test]
    fn what_s3_refuses_is_refused() {
        let refused = |rule: Value| {
            let mut with = json!({ "Id": "a", "Status": "Enabled" });
            for (name, value) in rule.as_object().expect("members") {
                with[name] = value.clone();
            }
            read(&json!({ "Rules": [with] })).expect_err("refused")
        };
        assert!(refused(json!({})).contains("At least one action"));
        assert!(refused(json!({ "ExpirationInDays": 0 })).contains("positive"));
        assert!(refused(json!({ "ExpirationDate": "2030-01-01T10:00:00Z" })).contains("should be"));
        assert!(refused(json!({ "Transitions": [] })).contains("does not implement Transitions"));
        let tags = json!([{ "Key": "k", "Value": "v" }]);
        let abort = json!({ "DaysAfterInitiation": 1 });
        let both = json!({ "TagFilters": tags, "AbortIncompleteMultipartUpload": abort });
        assert!(refused(both).contains("cannot be specified with Tags"));
        let sizes = json!({ "ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5,
                            "ExpirationInDays": 1 });
        assert!(refused(sizes).contains("greater than"));
    }
}
