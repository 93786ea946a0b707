//! Versions of functions, and what a name with a qualifier stands for.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-versions.html>

use std::sync::Arc;

use serde_json::{Value, json};

use super::aliases::Alias;
use super::function::{self, LATEST, Shown, check_revision, describe, invalid, not_found};
use super::{Function, Reference, State, arn, find, named, qualified_arn};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;

/// How lists are cut.
const PAGES: Pages =
    Pages::of("MaxItems", "Marker", PAGE_MAX).refusing("InvalidParameterValueException");
/// Items of a page; who asks for more gets so many.
const PAGE_MAX: usize = 50;

/// One page of a list, as the member `member` of an answer.
pub fn page(call: &Call<'_>, member: &str, items: Vec<Value>) -> ApiResult {
    let size = call.params["MaxItems"].as_u64().map(|size| size.min(PAGE_MAX as u64));
    let marker = call.text("Marker").filter(|marker| !marker.is_empty());
    let asked = json!({ "MaxItems": size, "Marker": marker });
    let (items, next) = PAGES.cut(&asked, items)?;
    Ok(json!({ member: items, "NextMarker": next }))
}

/// What is invoked or shown: a function in one of its versions.
#[derive(Debug, Clone)]
pub struct Target {
    /// The function's name.
    pub name: String,
    /// The version.
    pub version: String,
    /// Version or alias, if one was asked for.
    pub qualifier: Option<String>,
    /// The function as it is in that version.
    pub function: Arc<Function>,
}

impl Target {
    /// Its ARN, as it was asked for.
    pub fn arn(&self, cloud: &Cloud) -> String {
        let (name, qualifier) = (self.name.as_str(), self.qualifier.as_deref());
        qualified_arn(cloud, &Reference { name, qualifier })
    }
}

/// The row of a version or an alias.
pub fn row(name: &str, qualifier: &str) -> String {
    match qualifier.parse::<u64>() {
        // In the order of numbers.
        Ok(number) => format!("{name}:{number:020}"),
        Err(_) => format!("{name}:{qualifier}"),
    }
}

/// What a row of a version or an alias says behind the name of its function.
pub fn qualifier_of(rest: &str) -> String {
    rest.parse::<u64>().map_or_else(|_| rest.to_owned(), |number| number.to_string())
}

/// Whether a qualifier names a version.
pub fn is_number(qualifier: &str) -> bool {
    qualifier.bytes().all(|byte| byte.is_ascii_digit())
}

impl State {
    /// A function in one of its versions.
    pub fn version(&self, name: &str, version: &str) -> Option<Arc<Function>> {
        match version {
            LATEST => self.functions.get(name),
            number => self.versions.get(&row(name, number)),
        }
    }
}

/// What a reference stands for. Of the versions of an alias `choose` takes one.
pub fn resolve(
    cloud: &Cloud,
    reference: &Reference<'_>,
    choose: fn(&Alias) -> &str,
) -> ApiResult<Target> {
    let state = &cloud.services.lambda;
    let alias = match reference.qualifier {
        None | Some(LATEST) => None,
        Some(number) if is_number(number) => None,
        Some(name) => Some(
            state
                .aliases
                .get(&row(reference.name, name))
                .ok_or_else(|| missing(cloud, reference))?,
        ),
    };
    let version = match &alias {
        Some(alias) => choose(alias),
        None => reference.qualifier.unwrap_or(LATEST),
    };
    let function = state.version(reference.name, version);
    Ok(Target {
        name: reference.name.to_owned(),
        version: version.to_owned(),
        qualifier: reference.qualifier.map(str::to_owned),
        function: function.ok_or_else(|| missing(cloud, reference))?,
    })
}

fn missing(cloud: &Cloud, reference: &Reference<'_>) -> ApiError {
    not_found(format!("Function not found: {}", qualified_arn(cloud, reference)))
}

/// What a publisher expects.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected<'a> {
    /// The hash of the code.
    pub sha256: Option<&'a str>,
    /// The revision of the function.
    pub revision: Option<&'a str>,
    /// What the version is said to do.
    pub description: Option<&'a str>,
    /// Whether the function may be as it was published last, which is no new version then.
    pub unchanged: bool,
}

/// Publishes a function as it is; the number of the version.
pub fn publish_now(cloud: &Cloud, name: &str, expected: Expected<'_>) -> ApiResult<u64> {
    let state = &cloud.services.lambda;
    let function = find(cloud, name)?;
    if let Some(given) = expected.sha256.filter(|given| **given != *function.code_sha256) {
        let present = &function.code_sha256;
        return Err(invalid(format!(
            "CodeSHA256 ({given}) is different from current CodeSHA256 in $LATEST ({present}). \
             Please try again with the CodeSHA256 in $LATEST."
        )));
    }
    check_revision(expected.revision, &function.revision())?;
    let last = state.version(name, &function.published.to_string());
    if last.is_some_and(|last| last.modified == function.modified) {
        return match expected.unchanged {
            true => Ok(function.published),
            false => Err(invalid(format!(
                "A version for this Lambda function exists ( {} ). Modify the function to create a \
                 new version.",
                function.published
            ))),
        };
    }
    let number = function.published + 1;
    let mut version = (*function).clone();
    version.permissions.clear();
    version.touch();
    if let Some(description) = expected.description {
        version.description = description.to_owned();
    }
    // A number is used once, whatever becomes of the version.
    state.functions.update(name, |function| {
        function.published = function.published.max(number);
        function.touch();
    })?;
    state.versions.put(&row(name, &number.to_string()), version)?;
    Ok(number)
}

/// As the API describes a version that was published.
pub fn shown(cloud: &Cloud, name: &str, number: u64) -> ApiResult {
    let version = number.to_string();
    let reference = Reference { name, qualifier: Some(&version) };
    let target = resolve(cloud, &reference, Alias::main)?;
    let shown = Shown { name, version: &version, qualifier: Some(&version) };
    Ok(describe(cloud, &shown, &target.function))
}

/// `PublishVersion`.
pub fn publish(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let Reference { name, .. } = named(call)?;
    call.authorize(&arn(cloud, name))?;
    let function = find(cloud, name)?;
    function.check_is_settled(&arn(cloud, name), cloud.clock.now())?;
    let expected = Expected {
        sha256: call.text("CodeSha256"),
        revision: call.text("RevisionId"),
        description: call.text("Description"),
        unchanged: true,
    };
    let number = publish_now(cloud, name, expected)?;
    shown(cloud, name, number)
}

/// `$LATEST` and all versions of a function.
pub fn all(cloud: &Cloud, name: &str) -> Vec<(String, Arc<Function>)> {
    let state = &cloud.services.lambda;
    let prefix = format!("{name}:");
    let published = state
        .versions
        .range(&prefix, None)
        .into_iter()
        .map(|(row, version)| (qualifier_of(&row[prefix.len()..]), version));
    let latest = state.functions.get(name).map(|function| (LATEST.to_owned(), function));
    latest.into_iter().chain(published).collect()
}

/// `ListVersionsByFunction`, in pages.
pub fn list(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let Reference { name, .. } = named(call)?;
    call.authorize(&arn(cloud, name))?;
    find(cloud, name)?;
    let describe = |(version, function): (String, Arc<Function>)| {
        let shown = Shown { name, version: &version, qualifier: Some(&version) };
        function::listed(cloud, &shown, &function)
    };
    page(call, "Versions", all(cloud, name).into_iter().map(describe).collect())
}

/// Deletes a version.
pub fn delete(cloud: &Cloud, name: &str, qualifier: &str) -> ApiResult<()> {
    if qualifier == LATEST {
        return Err(invalid("$LATEST version cannot be deleted without deleting the function."));
    }
    if !is_number(qualifier) {
        return Err(invalid("Deletion of aliases is not supported."));
    }
    let state = &cloud.services.lambda;
    let prefix = format!("{name}:");
    let aliases = state.aliases.range(&prefix, None).into_iter();
    let using: Vec<String> = aliases
        .filter(|(_, alias)| alias.uses(qualifier))
        .map(|(row, _)| row[prefix.len()..].to_owned())
        .collect();
    if !using.is_empty() {
        return Err(function::conflict(format!(
            "Unable to delete version because the following aliases reference it: [{}]",
            using.join(", ")
        )));
    }
    state.versions.remove(&row(name, qualifier))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_versions_are_in_their_order_and_names_stay() {
        let row_of = |qualifier: &str| row("f", qualifier);
        assert!(row_of("2") < row_of("10"));
        for qualifier in ["1", "10", "0abc", "PROD", LATEST] {
            assert_eq!(qualifier_of(&row_of(qualifier)["f:".len()..]), qualifier);
        }
    }
}
