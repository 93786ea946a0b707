//! Aliases: names of versions, and how invocations are divided between two of them.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-aliases.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html>

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::function::{LATEST, check_revision, conflict, invalid, not_found};
use super::versions::{is_number, page, resolve, row};
use super::{Reference, arn, find, named};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// An alias.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Alias {
    /// The version that it stands for.
    pub version: String,
    /// Another version and the share of invocations that it gets.
    pub weights: BTreeMap<String, f64>,
    /// What it is for.
    pub description: String,
    /// Changes with it.
    pub revision: String,
    /// Statements about who else may invoke it.
    #[serde(default)]
    pub permissions: Vec<Value>,
}

impl Alias {
    /// The version that it stands for.
    pub fn main(&self) -> &str {
        &self.version
    }

    /// The version of one invocation.
    pub fn choose(&self) -> &str {
        let mut left = fastrand::f64();
        for (version, weight) in &self.weights {
            if left < *weight {
                return version;
            }
            left -= weight;
        }
        &self.version
    }

    /// Whether it needs a version.
    pub fn uses(&self, version: &str) -> bool {
        self.version == version || self.weights.contains_key(version)
    }

    fn touch(&mut self) {
        self.revision = uuid::Uuid::new_v4().to_string();
    }
}

fn describe(cloud: &Cloud, name: &str, alias_name: &str, alias: &Alias) -> Value {
    let weights =
        (!alias.weights.is_empty()).then(|| json!({ "AdditionalVersionWeights": alias.weights }));
    json!({
        "AliasArn": format!("{}:{alias_name}", arn(cloud, name)), "Name": alias_name,
        "FunctionVersion": alias.version, "Description": alias.description,
        "RoutingConfig": weights, "RevisionId": alias.revision,
    })
}

/// The function of a call, and the alias that it names.
fn of<'a>(call: &Call<'a>) -> ApiResult<(&'a str, &'a str)> {
    let Reference { name, .. } = named(call)?;
    call.authorize(&arn(call.cloud, name))?;
    find(call.cloud, name)?;
    let alias = call.required("Name")?;
    check_alias_name(alias)?;
    Ok((name, alias))
}

/// Refuses what is no name of an alias: a number is a version.
fn check_alias_name(name: &str) -> ApiResult<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.bytes().all(plain) && !is_number(name) {
        return Ok(());
    }
    Err(out_of_bounds(format!(
        "Value '{name}' at 'name' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"
    )))
}

fn out_of_bounds(words: String) -> ApiError {
    ApiError::new("ValidationException", format!("1 validation error detected: {words}"))
}

fn absent(cloud: &Cloud, name: &str, alias: &str) -> ApiError {
    not_found(format!("Cannot find alias arn: {}:{alias}", arn(cloud, name)))
}

/// Refuses a version that is not there.
fn check_version(cloud: &Cloud, name: &str, version: &str) -> ApiResult<()> {
    resolve(cloud, &Reference { name, qualifier: Some(version) }, Alias::main).map(drop)
}

fn weights(
    cloud: &Cloud,
    name: &str,
    main: &str,
    config: &Value,
) -> ApiResult<BTreeMap<String, f64>> {
    let given = config["AdditionalVersionWeights"].as_object().into_iter().flatten();
    let weights: BTreeMap<String, f64> =
        given.filter_map(|(version, weight)| Some((version.clone(), weight.as_f64()?))).collect();
    if weights.len() > 1 {
        let message = "Number of items in AdditionalVersionWeights cannot be greater than 1";
        return Err(invalid(message));
    }
    for version in weights.keys() {
        if version == main {
            return Err(invalid(format!(
                "Invalid function version {main}. Function version {main} is already included in \
                 routing configuration."
            )));
        }
        if main == LATEST || version == LATEST {
            let words = "$LATEST is not supported for an alias pointing to more than 1 version";
            return Err(invalid(words));
        }
        check_version(cloud, name, version)?;
    }
    Ok(weights)
}

/// `CreateAlias`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let (name, alias_name) = of(call)?;
    let version = call.required("FunctionVersion")?;
    check_version(cloud, name, version)?;
    let mut alias = Alias {
        version: version.to_owned(),
        weights: weights(cloud, name, version, &call.params["RoutingConfig"])?,
        description: call.text("Description").unwrap_or_default().to_owned(),
        revision: String::new(),
        permissions: Vec::new(),
    };
    alias.touch();
    let described = describe(cloud, name, alias_name, &alias);
    if !cloud.services.lambda.aliases.create(&row(name, alias_name), alias)? {
        let arn = format!("{}:{alias_name}", arn(cloud, name));
        return Err(conflict(format!("Alias already exists: {arn}")));
    }
    Ok(described)
}

/// `UpdateAlias`.
pub fn update(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let (name, alias_name) = of(call)?;
    let aliases = &cloud.services.lambda.aliases;
    let present = aliases.get(&row(name, alias_name));
    let mut alias = (*present.ok_or_else(|| absent(cloud, name, alias_name))?).clone();
    check_revision(call.text("RevisionId"), &alias.revision)?;
    if let Some(version) = call.text("FunctionVersion") {
        check_version(cloud, name, version)?;
        alias.version = version.to_owned();
    }
    if let Some(description) = call.text("Description") {
        alias.description = description.to_owned();
    }
    match &call.params["RoutingConfig"] {
        Value::Null => {
            let config = json!({ "AdditionalVersionWeights": alias.weights });
            weights(cloud, name, &alias.version, &config)?;
        }
        config => alias.weights = weights(cloud, name, &alias.version, config)?,
    }
    let former = std::mem::take(&mut alias.revision);
    alias.touch();
    let described = describe(cloud, name, alias_name, &alias);
    aliases.replace(&row(name, alias_name), |present: Option<&Alias>| {
        let present = present.ok_or_else(|| absent(cloud, name, alias_name))?;
        // Somebody else may have changed it since it was read.
        check_revision(Some(&former), &present.revision)?;
        Ok::<_, ApiError>(Alias { permissions: present.permissions.clone(), ..alias })
    })?;
    Ok(described)
}

/// `GetAlias`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let (name, alias_name) = of(call)?;
    let alias = call.cloud.services.lambda.aliases.get(&row(name, alias_name));
    let alias = alias.ok_or_else(|| absent(call.cloud, name, alias_name))?;
    Ok(describe(call.cloud, name, alias_name, &alias))
}

/// `DeleteAlias`; one that is not there is deleted.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (name, alias_name) = of(call)?;
    call.cloud.services.lambda.aliases.remove(&row(name, alias_name))?;
    call.cloud.services.lambda.event_configs.remove(&row(name, alias_name))?;
    Ok(json!({}))
}

/// `ListAliases`, in pages.
pub fn list(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let Reference { name, .. } = named(call)?;
    call.authorize(&arn(cloud, name))?;
    find(cloud, name)?;
    let prefix = format!("{name}:");
    let version = call.text("FunctionVersion");
    let fits = |alias: &Arc<Alias>| version.is_none_or(|version| alias.version == version);
    let aliases = cloud.services.lambda.aliases.range(&prefix, None).into_iter();
    let aliases = aliases
        .filter(|(_, alias)| fits(alias))
        .map(|(row, alias)| describe(cloud, name, &row[prefix.len()..], &alias));
    page(call, "Aliases", aliases.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_no_name_of_an_alias() {
        assert!(check_alias_name("PROD-1_b").is_ok() && check_alias_name("1a").is_ok());
        for wrong in ["1", "007", "a b", "$LATEST"] {
            let error = check_alias_name(wrong).expect_err("refused");
            assert!(error.message.contains("at 'name'"), "{error}");
        }
    }

    #[test]
    fn invocations_are_divided_as_the_weights_say() {
        let alias = Alias {
            version: "1".to_owned(),
            weights: BTreeMap::from([("2".to_owned(), 0.25)]),
            description: String::new(),
            revision: String::new(),
            permissions: Vec::new(),
        };
        let chosen = (0..10_000).filter(|_| alias.choose() == "2").count();
        assert!((2_200..2_800).contains(&chosen), "{chosen}");
        let whole = Alias { weights: BTreeMap::new(), ..alias };
        assert!((0..100).all(|_| whole.choose() == "1"));
    }
}
