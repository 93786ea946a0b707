//! Parameters: their declarations, and the values that an operation gives them.

use std::collections::BTreeMap;

use regex::RegexBuilder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Template, entries, scalar};

/// Bytes of a value.
const VALUE_BYTES_MAX: usize = 4_096;
/// What `NoEcho` shows.
const MASK: &str = "****";

/// The values of a stack's parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// As they were given, or the defaults.
    pub given: BTreeMap<String, String>,
    /// What SSM parameters had when the operation began.
    pub resolved: BTreeMap<String, String>,
}

/// What an operation says about a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// This value.
    Value(String),
    /// The one it had.
    Previous,
}

/// What the account knows about values.
pub trait Account {
    /// The value of an SSM parameter.
    fn parameter(&self, name: &str) -> Option<String>;
    /// Whether there is a `kind` called `id`; `None` when this cloud has no such things.
    fn has(&self, kind: &str, id: &str) -> Option<bool>;
}

/// A parameter's type, taken apart.
struct Kind<'a> {
    base: &'a str,
    list: bool,
    ssm: bool,
}

fn kind_of(declared: &str) -> Option<Kind<'_>> {
    let inner = |text: &'static str| declared.strip_prefix(text).and_then(|t| t.strip_suffix('>'));
    let (ssm, declared) = match inner("AWS::SSM::Parameter::Value<") {
        Some(inner) => (true, inner),
        None => (false, declared),
    };
    let list = declared.strip_prefix("List<").and_then(|t| t.strip_suffix('>'));
    let (list, base) = match (declared, list) {
        ("CommaDelimitedList", _) => (true, "String"),
        (_, Some(base)) => (true, base),
        (base, None) => (false, base),
    };
    let plain = matches!(base, "String" | "Number");
    let specific = matches!(
        base,
        "AWS::EC2::AvailabilityZone::Name"
            | "AWS::EC2::Image::Id"
            | "AWS::EC2::Instance::Id"
            | "AWS::EC2::KeyPair::KeyName"
            | "AWS::EC2::SecurityGroup::GroupName"
            | "AWS::EC2::SecurityGroup::Id"
            | "AWS::EC2::Subnet::Id"
            | "AWS::EC2::Volume::Id"
            | "AWS::EC2::VPC::Id"
            | "AWS::Route53::HostedZone::Id"
            | "AWS::SSM::Parameter::Name"
    );
    (plain || specific).then_some(Kind { base, list, ssm })
}

/// Checks a parameter's declaration.
pub fn check_declaration(name: &str, declaration: &Value) -> Result<(), String> {
    let known = [
        "Type",
        "Default",
        "NoEcho",
        "AllowedValues",
        "AllowedPattern",
        "MaxLength",
        "MinLength",
        "MaxValue",
        "MinValue",
        "Description",
        "ConstraintDescription",
    ];
    let Some(fields) = declaration.as_object() else {
        return Err(format!("Template format error: [/Parameters/{name}] must be an object."));
    };
    if let Some(other) = fields.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(format!("Invalid template parameter property '{other}'"));
    }
    let declared = declaration["Type"].as_str().ok_or_else(|| {
        "Template format error: Every Parameters object must contain a Type member.".to_owned()
    })?;
    let kind = kind_of(declared)
        .ok_or_else(|| format!("Template format error: Unrecognized parameter type: {declared}"))?;
    if declaration.get("Default").is_some_and(|d| scalar(d).is_none()) {
        let words = "Every Default member must be a string.";
        return Err(format!("Template format error: {words}"));
    }
    for limit in ["MinLength", "MaxLength", "MinValue", "MaxValue"] {
        let Some(value) = declaration.get(limit) else { continue };
        if scalar(value).and_then(|v| v.parse::<f64>().ok()).is_none() {
            return Err(format!("Template format error: {limit} of {name} must be a number."));
        }
        let fits = if limit.ends_with("Value") { "Number" } else { "String" };
        if kind.base != fits {
            return Err(format!(
                "Template format error: {limit} of {name} applies to parameters of the type \
                 {fits} only."
            ));
        }
    }
    match declaration.get("AllowedPattern") {
        None => Ok(()),
        Some(pattern) => whole(pattern.as_str().unwrap_or_default()).map(drop).map_err(|error| {
            format!(
                "Template format error: the embedded cloud does not implement the AllowedPattern \
                 of {name}: {error}"
            )
        }),
    }
}

/// A pattern that must match the whole value.
fn whole(pattern: &str) -> Result<regex::Regex, regex::Error> {
    RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).size_limit(1 << 20).build()
}

impl Template {
    fn declaration(&self, name: &str) -> &Value {
        &self.value["Parameters"][name]
    }

    /// Whether a parameter's value must not be shown.
    fn is_secret(&self, name: &str) -> bool {
        matches!(&self.declaration(name)["NoEcho"], Value::Bool(true))
            || self.declaration(name)["NoEcho"] == "true"
    }

    /// Gives every parameter its value. SSM parameters are looked up anew in each operation.
    pub fn parameters(
        &self,
        given: &BTreeMap<String, Given>,
        previous: Option<&Parameters>,
        account: &dyn Account,
    ) -> Result<Parameters, String> {
        let unknown: Vec<&str> = given
            .keys()
            .filter(|k| self.value["Parameters"].get(*k).is_none())
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() {
            return Err(format!(
                "Parameters: [{}] do not exist in the template",
                unknown.join(", ")
            ));
        }
        let mut values = Parameters::default();
        let mut missing = Vec::new();
        for (name, declaration) in entries(&self.value, "Parameters") {
            let text = match given.get(name) {
                Some(Given::Value(value)) => Some(value.clone()),
                Some(Given::Previous) => {
                    let previous = previous.and_then(|p| p.given.get(name));
                    Some(previous.cloned().ok_or_else(|| {
                        format!(
                            "Invalid input for parameter key {name}. Cannot specify \
                             usePreviousValue as true for a parameter key not in the previous \
                             template"
                        )
                    })?)
                }
                None => scalar(&declaration["Default"]),
            };
            let Some(text) = text else {
                missing.push(name.as_str());
                continue;
            };
            if let Some(resolved) = value_of(name, declaration, &text, account)? {
                values.resolved.insert(name.clone(), resolved);
            }
            values.given.insert(name.clone(), text);
        }
        if missing.is_empty() {
            return Ok(values);
        }
        Err(format!("Parameters: [{}] must have values", missing.join(", ")))
    }

    /// The values as expressions see them: lists as arrays, SSM parameters by their value.
    pub fn values(&self, parameters: &Parameters) -> BTreeMap<String, Value> {
        let mut values = BTreeMap::new();
        for (name, given) in &parameters.given {
            let text = parameters.resolved.get(name).unwrap_or(given);
            let declared = self.declaration(name)["Type"].as_str().unwrap_or_default();
            let is_list = kind_of(declared).is_some_and(|k| k.list);
            let value = match is_list {
                true => items(text).map(str::to_owned).collect::<Vec<_>>().into(),
                false => text.as_str().into(),
            };
            values.insert(name.clone(), value);
        }
        values
    }

    /// The values in the API's form, with masks where nobody may see them.
    pub fn described_values(&self, parameters: &Parameters) -> Vec<Value> {
        let shown = |name: &String, text: &String| match self.is_secret(name) {
            true => MASK.to_owned(),
            false => text.clone(),
        };
        let describe = |(name, text): (&String, &String)| {
            json!({
                "ParameterKey": name, "ParameterValue": shown(name, text),
                "ResolvedValue": parameters.resolved.get(name).map(|r| shown(name, r)),
            })
        };
        parameters.given.iter().map(describe).collect()
    }

    /// Values that must not be shown.
    pub fn secrets(&self, parameters: &Parameters) -> Vec<String> {
        let secret = parameters.given.iter().filter(|(name, _)| self.is_secret(name));
        let resolved = |name: &String| parameters.resolved.get(name).cloned();
        secret
            .flat_map(|(name, given)| [Some(given.clone()), resolved(name)])
            .flatten()
            .filter(|value| !value.is_empty())
            .collect()
    }

    /// The declared parameters in the API's form; `constraints` as `GetTemplateSummary` has them.
    pub fn declared_parameters(&self, constraints: bool) -> Vec<Value> {
        let describe = |(name, d): (&String, &Value)| {
            let secret = self.is_secret(name);
            let mut described = json!({
                "ParameterKey": name, "NoEcho": secret, "Description": d.get("Description"),
                "DefaultValue":
                    scalar(&d["Default"]).map(|v| if secret { MASK.to_owned() } else { v }),
            });
            if constraints {
                described["ParameterType"] = d["Type"].clone();
                let allowed = d["AllowedValues"].as_array().into_iter().flatten();
                let allowed: Vec<String> = allowed.filter_map(scalar).collect();
                described["ParameterConstraints"] = json!({ "AllowedValues": allowed });
            }
            described
        };
        entries(&self.value, "Parameters").map(describe).collect()
    }
}

/// Puts masks in the place of secrets.
pub fn masked(value: &Value, secrets: &[String]) -> Value {
    match value {
        Value::String(text) => {
            secrets.iter().fold(text.clone(), |text, secret| text.replace(secret, MASK)).into()
        }
        Value::Array(items) => items.iter().map(|i| masked(i, secrets)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), masked(field, secrets))).collect()
        }
        other => other.clone(),
    }
}

/// The parts of a list, without the spaces around them.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

/// Checks a value against its declaration; SSM parameters give what they resolve to.
fn value_of(
    name: &str,
    declaration: &Value,
    text: &str,
    account: &dyn Account,
) -> Result<Option<String>, String> {
    if text.len() > VALUE_BYTES_MAX {
        return Err(format!(
            "Parameter '{name}' must contain at most {VALUE_BYTES_MAX} characters"
        ));
    }
    let declared = declaration["Type"].as_str().unwrap_or_default();
    let kind = kind_of(declared)
        .ok_or_else(|| format!("Template format error: Unrecognized parameter type: {declared}"))?;
    constraints(name, declaration, &kind, text)?;
    let resolved = kind.ssm.then(|| {
        account.parameter(text).ok_or_else(|| {
            format!("Unable to fetch parameters [{text}] from parameter store for this account.")
        })
    });
    let resolved = resolved.transpose()?;
    let value = resolved.as_deref().unwrap_or(text);
    let parts: Vec<&str> = if kind.list { items(value).collect() } else { vec![value] };
    for part in parts {
        match kind.base {
            "String" => {}
            "Number" if part.parse::<f64>().is_ok_and(f64::is_finite) => {}
            "Number" => return Err(format!("Parameter '{name}' must be a number")),
            base => match account.has(base, part) {
                Some(true) => {}
                Some(false) => {
                    return Err(format!(
                        "Parameter validation failed: parameter value {part} for parameter name \
                         {name} does not exist"
                    ));
                }
                None => {
                    return Err(format!(
                        "the embedded cloud does not implement the parameter type {base}"
                    ));
                }
            },
        }
    }
    Ok(resolved)
}

/// Allowed values and patterns, lengths, bounds.
fn constraints(name: &str, declared: &Value, kind: &Kind<'_>, text: &str) -> Result<(), String> {
    let refused = |words: String| match declared["ConstraintDescription"].as_str() {
        Some(why) => format!("Parameter '{name}' failed to satisfy constraint: {why}"),
        None => format!("Parameter '{name}' {words}"),
    };
    let parts: Vec<&str> = match kind.list {
        true => items(text).collect(),
        false => vec![text],
    };
    if let Some(allowed) = declared["AllowedValues"].as_array() {
        let allowed: Vec<String> = allowed.iter().filter_map(scalar).collect();
        if parts.iter().any(|p| !allowed.iter().any(|a| a == p)) {
            return Err(refused("must be one of AllowedValues".to_owned()));
        }
    }
    if let Some(pattern) = declared["AllowedPattern"].as_str() {
        let matches = |p: &&str| whole(pattern).is_ok_and(|w| w.is_match(p));
        if !parts.iter().all(matches) {
            return Err(refused(format!("must match pattern {pattern}")));
        }
    }
    let limit = |name: &str| scalar(&declared[name]).and_then(|v| v.parse::<f64>().ok());
    let shown = |limit: f64| Value::from(limit).to_string().trim_end_matches(".0").to_owned();
    let length = text.chars().count() as f64;
    if let Some(least) = limit("MinLength").filter(|l| length < *l) {
        return Err(refused(format!("must contain at least {} characters", shown(least))));
    }
    if let Some(most) = limit("MaxLength").filter(|l| length > *l) {
        return Err(refused(format!("must contain at most {} characters", shown(most))));
    }
    if kind.base != "Number" {
        return Ok(());
    }
    for part in parts {
        let number: f64 = part.parse().map_err(|_| refused("must be a number".to_owned()))?;
        if let Some(least) = limit("MinValue").filter(|l| number < *l) {
            return Err(refused(format!("must be a number not less than {}", shown(least))));
        }
        if let Some(most) = limit("MaxValue").filter(|l| number > *l) {
            return Err(refused(format!("must be a number not greater than {}", shown(most))));
        }
    }
    Ok(())
}
