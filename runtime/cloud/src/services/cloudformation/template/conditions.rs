//! Conditions.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Template, entries, scalar};

impl Template {
    /// All conditions, evaluated.
    pub fn conditions(
        &self,
        parameters: &BTreeMap<String, Value>,
    ) -> Result<BTreeMap<String, bool>, String> {
        let mut open: Vec<(&String, &Value)> = entries(&self.value, "Conditions").collect();
        let mut values = BTreeMap::new();
        // A condition may use others; each pass settles those whose parts are settled.
        while !open.is_empty() {
            let mut left = Vec::new();
            for (name, expression) in &open {
                match self.condition(expression, parameters, &values)? {
                    Some(value) => drop(values.insert((*name).clone(), value)),
                    None => left.push((*name, *expression)),
                }
            }
            if left.len() == open.len() {
                let names: Vec<&str> = left.iter().map(|(n, _)| n.as_str()).collect();
                return Err(format!(
                    "Template format error: Circular dependency between conditions: [{}]",
                    names.join(", ")
                ));
            }
            open = left;
        }
        Ok(values)
    }

    /// A condition's value; `None` while another that it uses is open.
    fn condition(
        &self,
        expression: &Value,
        parameters: &BTreeMap<String, Value>,
        known: &BTreeMap<String, bool>,
    ) -> Result<Option<bool>, String> {
        let Some((function, arguments)) = expression.as_object().and_then(|o| o.iter().next())
        else {
            return Err(format!("Template error: {expression} is not a condition"));
        };
        let all = |values: &Value| -> Result<Option<Vec<bool>>, String> {
            let values = values.as_array().into_iter().flatten();
            let values = values.map(|v| self.condition(v, parameters, known));
            Ok(values.collect::<Result<Vec<_>, _>>()?.into_iter().collect())
        };
        Ok(match function.as_str() {
            "Condition" => {
                let name = arguments.as_str().unwrap_or_default();
                if self.value["Conditions"].get(name).is_none() {
                    return Err(format!(
                        "Template format error: Unresolved dependencies [{name}]. \
                         Cannot reference resources in the Conditions block of the template"
                    ));
                }
                known.get(name).copied()
            }
            "Fn::Equals" => {
                let text = |v: &Value| self.operand(v, parameters);
                Some(text(&arguments[0])? == text(&arguments[1])?)
            }
            "Fn::Not" => all(arguments)?.and_then(|v| v.first().map(|b| !b)),
            "Fn::And" => all(arguments)?.map(|v| v.into_iter().all(|b| b)),
            "Fn::Or" => all(arguments)?.map(|v| v.into_iter().any(|b| b)),
            other => {
                return Err(format!(
                    "Template error: the embedded cloud does not implement the condition \
                     function {other}"
                ));
            }
        })
    }

    /// What `Fn::Equals` compares: a text, a parameter, or a value of a mapping.
    fn operand(
        &self,
        value: &Value,
        parameters: &BTreeMap<String, Value>,
    ) -> Result<Value, String> {
        if let Some(name) = value.get("Ref").and_then(Value::as_str) {
            return parameters.get(name).cloned().ok_or_else(|| {
                format!(
                    "Template format error: Unresolved dependencies [{name}]. \
                     Cannot reference resources in the Conditions block of the template"
                )
            });
        }
        if let Some(path) = value.get("Fn::FindInMap") {
            let part = |v: &Value| -> Result<String, String> {
                let found = match v.get("Ref") {
                    Some(_) => self.operand(v, parameters)?,
                    None => v.clone(),
                };
                scalar(&found).ok_or_else(|| format!("Template error: {v} is not text"))
            };
            return self.mapped(&part(&path[0])?, &part(&path[1])?, &part(&path[2])?).cloned();
        }
        scalar(value).map(Value::from).ok_or_else(|| {
            format!("Template error: the embedded cloud does not implement {value} in Fn::Equals")
        })
    }

    /// A value of a mapping.
    pub(super) fn mapped(&self, map: &str, top: &str, second: &str) -> Result<&Value, String> {
        let found = self.value["Mappings"].get(map).and_then(|m| m.get(top)?.get(second));
        found.ok_or_else(|| {
            format!("Template error: Unable to get mapping for {map}::{top}::{second}")
        })
    }
}
