//! Rules: what values of parameters must be together.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/rules-section-structure.html>.
//! `Fn::RefAll`, `Fn::ValueOf` and `Fn::ValueOfAll` know the attributes of parameters of AWS's
//! types, which nothing here has: they are refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Template, entries};

/// Checks the form of the section.
pub fn form(template: &Value) -> Result<(), String> {
    for (name, rule) in entries(template, "Rules") {
        let malformed = |words: &str| format!("Template format error: [/Rules/{name}] {words}");
        let members = rule.as_object().ok_or_else(|| malformed("must be an object."))?;
        if let Some(other) =
            members.keys().find(|k| !["RuleCondition", "Assertions"].contains(&k.as_str()))
        {
            return Err(malformed(&format!("Invalid rule property '{other}'")));
        }
        let assertions = rule["Assertions"].as_array().filter(|all| !all.is_empty());
        let assertions = assertions.ok_or_else(|| malformed("must have Assertions."))?;
        for assertion in assertions {
            let known = ["Assert", "AssertDescription"];
            let members = assertion.as_object().into_iter().flat_map(Map::keys);
            if assertion.get("Assert").is_none()
                || members.into_iter().any(|k| !known.contains(&k.as_str()))
            {
                return Err(malformed("an assertion has Assert and AssertDescription."));
            }
        }
    }
    Ok(())
}

impl Template {
    /// Refuses values of parameters that a rule does not allow.
    pub fn check_rules(&self, parameters: &BTreeMap<String, Value>) -> Result<(), String> {
        for (name, rule) in entries(&self.value, "Rules") {
            if let Some(condition) = rule.get("RuleCondition")
                && !holds(condition, parameters)?
            {
                continue;
            }
            for assertion in rule["Assertions"].as_array().into_iter().flatten() {
                if holds(&assertion["Assert"], parameters)? {
                    continue;
                }
                let why = assertion["AssertDescription"].as_str().map_or_else(
                    || format!("Assertion failed: {}", assertion["Assert"]),
                    |words| words.trim().to_owned(),
                );
                return Err(format!(
                    "Template error: Rule [{name}] failed. Parameters do not satisfy: {why}"
                ));
            }
        }
        Ok(())
    }
}

fn holds(expression: &Value, parameters: &BTreeMap<String, Value>) -> Result<bool, String> {
    let only = expression.as_object().filter(|o| o.len() == 1).and_then(|o| o.iter().next());
    let Some((function, arguments)) = only else {
        return Err(format!("Template error: {expression} is not a rule-specific function"));
    };
    let each = || arguments.as_array().into_iter().flatten().map(|a| holds(a, parameters));
    let texts = |n: usize| texts(&arguments[n], parameters);
    Ok(match function.as_str() {
        "Fn::And" => each().collect::<Result<Vec<_>, _>>()?.into_iter().all(|b| b),
        "Fn::Or" => each().collect::<Result<Vec<_>, _>>()?.into_iter().any(|b| b),
        "Fn::Not" => !holds(arguments.get(0).unwrap_or(arguments), parameters)?,
        "Fn::Equals" => texts(0)? == texts(1)?,
        "Fn::Contains" => {
            let (list, wanted) = (texts(0)?, texts(1)?);
            wanted.iter().all(|value| list.contains(value))
        }
        "Fn::EachMemberIn" => {
            let (members, list) = (texts(0)?, texts(1)?);
            members.iter().all(|value| list.contains(value))
        }
        "Fn::EachMemberEquals" => {
            let (members, wanted) = (texts(0)?, texts(1)?);
            members.iter().all(|value| wanted.first() == Some(value))
        }
        other => {
            return Err(format!(
                "Template error: the embedded cloud does not implement the function {other} in \
                 Rules"
            ));
        }
    })
}

/// The texts that a value stands for: one, or those of a list.
fn texts(value: &Value, parameters: &BTreeMap<String, Value>) -> Result<Vec<String>, String> {
    match value {
        Value::Array(items) => {
            let each = items.iter().map(|item| texts(item, parameters));
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Value::Object(_) => {
            let name = value["Ref"].as_str().unwrap_or_default();
            let known = parameters.get(name).ok_or_else(|| {
                format!("Template error: {value} cannot be used in Rules, only parameters can")
            })?;
            texts(known, &BTreeMap::new())
        }
        scalar => Ok(super::scalar(scalar).into_iter().collect()),
    }
}
