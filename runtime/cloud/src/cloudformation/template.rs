//! Templates: YAML or JSON, intrinsic functions, conditions, parameters.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html>

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

use super::{Resource, resources};

/// What a value has in a change set when it is known only after the change.
pub const UNKNOWN: &str = "{{changeSet:KNOWN_AFTER_APPLY}}";

/// A parsed template in JSON's form, intrinsic functions in their long form.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Value);

/// Parses a template and checks it against what this cloud implements.
pub fn parse(text: &str) -> Result<Template, String> {
    let value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text)
            .map_err(|e| format!("Template format error: JSON not well-formed. {e}"))?
    } else {
        let documents = Yaml::load_from_str(text)
            .map_err(|e| format!("Template format error: YAML not well-formed. {e}"))?;
        documents.first().map_or(Ok(Value::Null), to_json)?
    };
    let template = Template(value);
    template.check()?;
    Ok(template)
}

fn to_json(yaml: &Yaml<'_>) -> Result<Value, String> {
    match yaml {
        Yaml::Value(Scalar::Null) => Ok(Value::Null),
        Yaml::Value(Scalar::Boolean(b)) => Ok((*b).into()),
        Yaml::Value(Scalar::Integer(i)) => Ok((*i).into()),
        Yaml::Value(Scalar::FloatingPoint(f)) => Ok(f.into_inner().into()),
        Yaml::Value(Scalar::String(s)) => Ok(s.as_ref().into()),
        Yaml::Representation(text, ..) => Ok(text.as_ref().into()),
        Yaml::Sequence(items) => items.iter().map(to_json).collect(),
        Yaml::Mapping(fields) => fields
            .iter()
            .map(|(k, v)| match to_json(k)? {
                Value::String(key) => Ok((key, to_json(v)?)),
                other => Ok((other.to_string(), to_json(v)?)),
            })
            .collect(),
        Yaml::Tagged(tag, inner) => long_form(&tag.suffix, to_json(inner)?),
        Yaml::Alias(_) | Yaml::BadValue => {
            Err("Template format error: YAML aliases are not allowed.".to_owned())
        }
    }
}

/// `!GetAtt A.B` is `{"Fn::GetAtt": ["A", "B"]}`, and so on.
fn long_form(tag: &str, value: Value) -> Result<Value, String> {
    Ok(match (tag, &value) {
        ("Ref" | "Condition", _) => json!({ tag: value }),
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path
                .split_once('.')
                .ok_or_else(|| format!("Template error: !GetAtt {path} has no attribute"))?;
            json!({ "Fn::GetAtt": [resource, attribute] })
        }
        (function, _) => json!({ (format!("Fn::{function}")): value }),
    })
}

/// What expressions are resolved against.
#[derive(Debug)]
pub struct Scope<'a> {
    /// Values of the parameters, pseudo parameters among them.
    pub parameters: &'a BTreeMap<String, String>,
    /// Resources as far as they are there.
    pub resources: &'a BTreeMap<String, Resource>,
    /// Logical IDs whose values are not known yet.
    pub unknown: &'a BTreeSet<String>,
    /// Conditions, evaluated.
    pub conditions: &'a BTreeMap<String, bool>,
}

impl Template {
    fn check(&self) -> Result<(), String> {
        let known = [
            "AWSTemplateFormatVersion",
            "Description",
            "Parameters",
            "Conditions",
            "Resources",
            "Outputs",
            "Metadata",
            "Mappings",
        ];
        let sections = self.0.as_object().ok_or("Template format error: it is not an object")?;
        if let Some(other) = sections.keys().find(|k| !known.contains(&k.as_str())) {
            return Err(format!(
                "Template format error: the section `{other}` is not implemented by the embedded cloud"
            ));
        }
        if self.0["Resources"].as_object().is_none_or(Map::is_empty) {
            return Err(
                "Template format error: At least one Resources member must be defined.".to_owned()
            );
        }
        let mut problems = Vec::new();
        for (id, resource) in self.resources() {
            problems.extend(resources::check(id, resource).err());
            problems.extend(
                self.needs(id)
                    .iter()
                    .filter(|n| !self.has(n))
                    .map(|n| format!("Template error: {id} needs {n}, which does not exist")),
            );
        }
        match self.order() {
            Ok(_) if problems.is_empty() => Ok(()),
            Err(cycle) if problems.is_empty() => Err(cycle),
            _ => Err(problems.join("; ")),
        }
    }

    fn has(&self, id: &str) -> bool {
        self.0["Resources"].get(id).is_some()
    }

    /// All resources, whatever their conditions.
    fn resources(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0["Resources"].as_object().into_iter().flatten()
    }

    /// One resource's declaration.
    pub fn resource(&self, id: &str) -> &Value {
        &self.0["Resources"][id]
    }

    /// Resources whose conditions hold.
    pub fn active(&self, conditions: &BTreeMap<String, bool>) -> Vec<String> {
        let holds = |r: &Value| {
            r["Condition"].as_str().is_none_or(|c| conditions.get(c).copied().unwrap_or(false))
        };
        self.resources().filter(|(_, r)| holds(r)).map(|(id, _)| id.clone()).collect()
    }

    /// What a resource refers to or names in DependsOn.
    pub fn needs(&self, id: &str) -> Vec<String> {
        let resource = self.resource(id);
        let mut found = BTreeSet::new();
        self.references(&resource["Properties"], &mut found);
        match &resource["DependsOn"] {
            Value::String(name) => drop(found.insert(name.clone())),
            Value::Array(names) => {
                found.extend(names.iter().filter_map(Value::as_str).map(str::to_owned))
            }
            _ => {}
        }
        found.into_iter().collect()
    }

    fn references(&self, value: &Value, found: &mut BTreeSet<String>) {
        let mut add = |name: &str| {
            if !name.starts_with("AWS::") && self.0["Parameters"].get(name).is_none() {
                found.insert(name.to_owned());
            }
        };
        match value {
            Value::Array(items) => items.iter().for_each(|i| self.references(i, found)),
            Value::Object(fields) => {
                if let Some(name) = fields.get("Ref").and_then(Value::as_str) {
                    add(name);
                } else if let Some(name) = fields.get("Fn::GetAtt").and_then(|a| a[0].as_str()) {
                    add(name);
                } else if let Some(sub) = fields.get("Fn::Sub") {
                    let text = sub.as_str().or_else(|| sub[0].as_str()).unwrap_or_default();
                    let own = sub[1].as_object();
                    for name in placeholders(text).iter().map(|n| n.split('.').next().unwrap_or(n))
                    {
                        if own.is_none_or(|o| !o.contains_key(name)) {
                            add(name);
                        }
                    }
                    self.references(&sub[1], found);
                } else {
                    fields.values().for_each(|v| self.references(v, found));
                }
            }
            _ => {}
        }
    }

    /// Logical IDs, each after what it needs; an error names a cycle.
    pub fn order(&self) -> Result<Vec<String>, String> {
        let mut done: Vec<String> = Vec::new();
        let mut left: Vec<String> = self.resources().map(|(id, _)| id.clone()).collect();
        while !left.is_empty() {
            let (ready, blocked): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|id| self.needs(id).iter().all(|n| done.contains(n)));
            if ready.is_empty() {
                return Err(format!(
                    "Circular dependency between resources: [{}]",
                    blocked.join(", ")
                ));
            }
            done.extend(ready);
            left = blocked;
        }
        Ok(done)
    }

    /// Values of the parameters: given ones, then defaults; SSM parameters by their value.
    pub fn parameters(
        &self,
        given: &BTreeMap<String, String>,
        ssm: impl Fn(&str) -> Option<String>,
    ) -> Result<BTreeMap<String, String>, String> {
        let declared = self.0["Parameters"].as_object().cloned().unwrap_or_default();
        if let Some(unknown) = given.keys().find(|k| !declared.contains_key(*k)) {
            return Err(format!("Parameters: [{unknown}] do not exist in the template"));
        }
        let mut values = BTreeMap::new();
        for (name, declaration) in &declared {
            let text = given
                .get(name)
                .cloned()
                .or_else(|| scalar(&declaration["Default"]))
                .ok_or_else(|| format!("Parameters: [{name}] must have values"))?;
            let kind = declaration["Type"].as_str().unwrap_or("String");
            let value = match kind {
                "String" | "Number" => text,
                ssm_type if ssm_type.starts_with("AWS::SSM::Parameter::Value<") => {
                    ssm(&text).ok_or_else(|| format!("Unable to fetch parameters [{text}] from parameter store for this account."))?
                }
                other => {
                    return Err(format!("Template format error: the parameter type `{other}` is not implemented by the embedded cloud"));
                }
            };
            let allowed = declaration["AllowedValues"].as_array();
            if allowed
                .is_some_and(|a| !a.iter().any(|v| scalar(v).as_deref() == Some(value.as_str())))
            {
                return Err(format!("Parameter '{name}' must be one of AllowedValues"));
            }
            values.insert(name.clone(), value);
        }
        Ok(values)
    }

    /// All conditions, evaluated.
    pub fn conditions(
        &self,
        parameters: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, bool>, String> {
        let declared = self.0["Conditions"].as_object().cloned().unwrap_or_default();
        let mut values = BTreeMap::new();
        // A condition may use others; each pass settles those whose parts are settled.
        for _ in 0..=declared.len() {
            for (name, expression) in &declared {
                if let Some(value) = condition(expression, parameters, &values)? {
                    values.insert(name.clone(), value);
                }
            }
        }
        match declared.keys().find(|n| !values.contains_key(*n)) {
            Some(open) => Err(format!("Template error: the condition {open} cannot be evaluated")),
            None => Ok(values),
        }
    }

    /// Outputs with their values.
    pub fn outputs(&self, scope: &Scope<'_>) -> Result<BTreeMap<String, Value>, String> {
        let declared = self.0["Outputs"].as_object().into_iter().flatten();
        let active = declared.filter(|(_, o)| {
            o["Condition"].as_str().is_none_or(|c| scope.conditions.get(c) == Some(&true))
        });
        active
            .map(|(name, output)| {
                let value = scope.resolve(&output["Value"])?.ok_or_else(|| format!("Template error: the output {name} has no value"))?;
                Ok((name.clone(), json!({ "OutputKey": name, "OutputValue": scalar(&value), "Description": output.get("Description") })))
            })
            .collect()
    }

    /// The declared parameters in the API's form.
    pub fn declared_parameters(&self) -> Vec<Value> {
        let declared = self.0["Parameters"].as_object().into_iter().flatten();
        let describe = |(name, d): (&String, &Value)| json!({ "ParameterKey": name, "DefaultValue": scalar(&d["Default"]), "NoEcho": false, "Description": d.get("Description") });
        declared.map(describe).collect()
    }

    /// The template's description.
    pub fn description(&self) -> Option<&str> {
        self.0["Description"].as_str()
    }

    /// Whether it makes roles, and whether with names of their own.
    pub fn capabilities(&self) -> Vec<&'static str> {
        let iam: Vec<&Value> = self
            .resources()
            .map(|(_, r)| r)
            .filter(|r| r["Type"].as_str().is_some_and(|t| t.starts_with("AWS::IAM::")))
            .collect();
        let named = iam.iter().any(|r| {
            r["Properties"].get("RoleName").is_some()
                || r["Properties"].get("InstanceProfileName").is_some()
        });
        match (iam.is_empty(), named) {
            (true, _) => vec![],
            (false, true) => vec!["CAPABILITY_NAMED_IAM"],
            (false, false) => vec!["CAPABILITY_IAM"],
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

/// The names in `${…}`; `${!…}` is a literal.
fn placeholders(text: &str) -> Vec<&str> {
    text.split("${")
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .filter(|n| !n.starts_with('!'))
        .collect()
}

/// A condition's value; `None` while another that it uses is open.
fn condition(
    expression: &Value,
    parameters: &BTreeMap<String, String>,
    known: &BTreeMap<String, bool>,
) -> Result<Option<bool>, String> {
    let Some((function, arguments)) = expression.as_object().and_then(|o| o.iter().next()) else {
        return Err(format!("Template error: {expression} is not a condition"));
    };
    let all = |values: &Value| -> Result<Option<Vec<bool>>, String> {
        let values =
            values.as_array().into_iter().flatten().map(|v| condition(v, parameters, known));
        Ok(values.collect::<Result<Vec<_>, _>>()?.into_iter().collect())
    };
    let text = |v: &Value| match v.get("Ref").and_then(Value::as_str) {
        Some(name) => parameters.get(name).cloned(),
        None => scalar(v),
    };
    Ok(match function.as_str() {
        "Condition" => arguments.as_str().and_then(|n| known.get(n)).copied(),
        "Fn::Equals" => Some(text(&arguments[0]) == text(&arguments[1])),
        "Fn::Not" => all(arguments)?.and_then(|v| v.first().map(|b| !b)),
        "Fn::And" => all(arguments)?.map(|v| v.into_iter().all(|b| b)),
        "Fn::Or" => all(arguments)?.map(|v| v.into_iter().any(|b| b)),
        other => {
            return Err(format!(
                "Template error: the condition function `{other}` is not implemented by the embedded cloud"
            ));
        }
    })
}

impl Scope<'_> {
    /// Resolves all intrinsic functions; `None` for `AWS::NoValue`.
    pub fn resolve(&self, value: &Value) -> Result<Option<Value>, String> {
        match value {
            Value::Array(items) => Ok(Some(
                items
                    .iter()
                    .filter_map(|i| self.resolve(i).transpose())
                    .collect::<Result<_, _>>()?,
            )),
            Value::Object(fields) => match fields.iter().next() {
                Some((name, argument))
                    if fields.len() == 1 && (name == "Ref" || name.starts_with("Fn::")) =>
                {
                    self.function(name, argument)
                }
                _ => {
                    let resolved = fields.iter().filter_map(|(k, v)| {
                        self.resolve(v).transpose().map(|r| r.map(|v| (k.clone(), v)))
                    });
                    Ok(Some(Value::Object(resolved.collect::<Result<_, String>>()?)))
                }
            },
            other => Ok(Some(other.clone())),
        }
    }

    fn function(&self, name: &str, argument: &Value) -> Result<Option<Value>, String> {
        let text = |v: &Value| -> Result<String, String> {
            self.resolve(v)?
                .as_ref()
                .and_then(scalar)
                .ok_or_else(|| format!("Template error: {v} in {name} is not text"))
        };
        let list = |v: &Value| -> Result<Vec<Value>, String> {
            self.resolve(v)?
                .as_ref()
                .and_then(Value::as_array)
                .cloned()
                .ok_or_else(|| format!("Template error: {v} in {name} is not a list"))
        };
        Ok(Some(match name {
            "Ref" if argument == "AWS::NoValue" => return Ok(None),
            "Ref" => self.reference(argument.as_str().unwrap_or_default())?,
            "Fn::GetAtt" => self.attribute(
                argument[0].as_str().unwrap_or_default(),
                argument[1].as_str().unwrap_or_default(),
            )?,
            "Fn::Join" => {
                let parts = list(&argument[1])?
                    .iter()
                    .map(|p| {
                        scalar(p)
                            .ok_or_else(|| format!("Template error: {p} in Fn::Join is not text"))
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                parts.join(argument[0].as_str().unwrap_or_default()).into()
            }
            "Fn::Sub" => self.substitute(argument)?.into(),
            "Fn::Base64" => {
                base64::engine::general_purpose::STANDARD.encode(text(argument)?).into()
            }
            "Fn::Select" => {
                let index: usize = text(&argument[0])?.parse().map_err(|_| {
                    "Template error: the index of Fn::Select is not a number".to_owned()
                })?;
                let items = list(&argument[1])?;
                items
                    .get(index)
                    .cloned()
                    .ok_or_else(|| format!("Template error: Fn::Select cannot select nonexistent value at index {index}"))?
            }
            "Fn::GetAZs" => ["a", "b", "c"]
                .map(|zone| format!("{}{zone}", self.parameters["AWS::Region"]))
                .to_vec()
                .into(),
            "Fn::Split" => text(&argument[1])?
                .split(argument[0].as_str().unwrap_or_default())
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .into(),
            "Fn::If" => {
                let holds =
                    argument[0].as_str().and_then(|c| self.conditions.get(c)).ok_or_else(|| {
                        format!("Template error: unresolved condition {}", argument[0])
                    })?;
                return self.resolve(&argument[if *holds { 1 } else { 2 }]);
            }
            other => {
                return Err(format!(
                    "Template error: the function `{other}` is not implemented by the embedded cloud"
                ));
            }
        }))
    }

    fn reference(&self, name: &str) -> Result<Value, String> {
        if let Some(value) = self.parameters.get(name) {
            return Ok(value.clone().into());
        }
        if self.unknown.contains(name) {
            return Ok(UNKNOWN.into());
        }
        let resource = self
            .resources
            .get(name)
            .ok_or_else(|| format!("Template error: unresolved resource dependency [{name}]"))?;
        Ok(resource.physical_id.clone().into())
    }

    fn attribute(&self, name: &str, attribute: &str) -> Result<Value, String> {
        if self.unknown.contains(name) {
            return Ok(UNKNOWN.into());
        }
        let resource = self
            .resources
            .get(name)
            .ok_or_else(|| format!("Template error: unresolved resource dependency [{name}]"))?;
        let missing = || {
            format!(
                "Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt"
            )
        };
        resource.attributes.get(attribute).cloned().ok_or_else(missing)
    }

    fn substitute(&self, argument: &Value) -> Result<String, String> {
        let text = argument.as_str().or_else(|| argument[0].as_str()).unwrap_or_default();
        let mut out = String::new();
        let mut parts = text.split("${");
        out += parts.next().unwrap_or_default();
        for part in parts {
            let (name, rest) = part.split_once('}').ok_or_else(|| {
                format!("Template error: Fn::Sub has an open placeholder in {text}")
            })?;
            if let Some(literal) = name.strip_prefix('!') {
                out += &format!("${{{literal}}}");
            } else if let Some(own) = argument[1].get(name) {
                out += &self.resolve(own)?.as_ref().and_then(scalar).unwrap_or_default();
            } else {
                let value = match name.split_once('.') {
                    Some((resource, attribute)) => self.attribute(resource, attribute)?,
                    None => self.reference(name)?,
                };
                out += &scalar(&value)
                    .ok_or_else(|| format!("Template error: ${{{name}}} is not text"))?;
            }
            out += rest;
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"
Parameters:
  Stage: { Type: String, Default: dev }
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  IsNotProd: !Not [!Condition IsProd]
Resources:
  Group:
    Type: AWS::Logs::LogGroup
    Properties:
      LogGroupName: !Sub "/x/${Stage}/${!literal}"
      RetentionInDays: !If [IsProd, 30, !Ref "AWS::NoValue"]
  Topic:
    Type: AWS::SNS::Topic
    Condition: IsNotProd
    Properties:
      TopicName: !Join ["-", [a, !Ref Group]]
"#;

    fn scope_test(check: impl Fn(&Template, &Scope<'_>)) {
        let template = parse(TEMPLATE).expect("valid");
        let parameters = template.parameters(&BTreeMap::new(), |_| None).expect("defaults");
        let conditions = template.conditions(&parameters).expect("conditions");
        let (resources, unknown) = (BTreeMap::new(), BTreeSet::from(["Group".to_owned()]));
        check(
            &template,
            &Scope {
                parameters: &parameters,
                resources: &resources,
                unknown: &unknown,
                conditions: &conditions,
            },
        );
    }

    #[test]
    fn short_forms_conditions_and_references_resolve() {
        scope_test(|template, scope| {
            let group = scope
                .resolve(&template.resource("Group")["Properties"])
                .expect("resolves")
                .expect("a value");
            assert_eq!(group, json!({ "LogGroupName": "/x/dev/${literal}" }));
            let topic = scope
                .resolve(&template.resource("Topic")["Properties"])
                .expect("resolves")
                .expect("a value");
            assert_eq!(topic, json!({ "TopicName": format!("a-{UNKNOWN}") }));
            assert_eq!(template.order(), Ok(vec!["Group".to_owned(), "Topic".to_owned()]));
            assert_eq!(template.active(scope.conditions).len(), 2);
        });
    }

    #[test]
    fn what_is_not_implemented_is_named() {
        let error = |text: &str, by: &str| parse(&TEMPLATE.replace(text, by)).expect_err("refused");
        assert!(error("AWS::SNS::Topic", "AWS::SQS::Queue").contains("AWS::SQS::Queue"));
        assert!(error("TopicName", "FifoTopic").contains("FifoTopic"));
        assert!(
            error("!Ref Group", "!Ref Nothing")
                .contains("Topic needs Nothing, which does not exist")
        );
        assert!(error("\nParameters", "\nTransform: x\nParameters").contains("Transform"));
    }
}
