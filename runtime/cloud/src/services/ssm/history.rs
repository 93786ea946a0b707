//! Versions of parameters, and the labels that they carry.

use serde_json::{Value, json};

use super::names::{self, not_found};
use super::{Parameter, arn, reads};
use crate::kernel::cloud::epoch_secs;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;

/// Labels of a version.
const LABELS_MAX: usize = 10;
const PAGES: Pages =
    Pages { wrong_token: "InvalidNextToken", ..Pages::of("MaxResults", "NextToken", 50) };

/// `GetParameterHistory`.
pub fn read(call: &Call<'_>) -> ApiResult {
    let name = names::short(call.required("Name")?);
    let arn = arn(call.cloud, name);
    call.authorize(&arn)?;
    let parameter = call.cloud.services.ssm.parameters.get(name).ok_or_else(|| not_found(name))?;
    let mut items = Vec::new();
    for version in &parameter.versions {
        items.push(json!({
            "Name": name, "Type": version.kind, "KeyId": version.key,
            "LastModifiedDate": epoch_secs(version.modified), "LastModifiedUser": version.by,
            "Description": version.description, "AllowedPattern": version.pattern,
            "Value": reads::value_of(call, &arn, version)?, "Version": version.number,
            "Labels": version.labels, "Tier": version.tier, "Policies": [], "DataType": "text",
        }));
    }
    PAGES.answer(call.params, "Parameters", items)
}

/// Whether a version may be labelled so; those that may not are told, not refused.
fn is_label(label: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let lower = label.to_ascii_lowercase();
    (1..=100).contains(&label.len())
        && label.chars().all(plain)
        && !label.starts_with(|c: char| c.is_ascii_digit())
        && !lower.starts_with("aws")
        && !lower.starts_with("ssm")
}

fn labels<'a>(call: &Call<'a>) -> Vec<&'a str> {
    call.params["Labels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn no_version() -> ApiError {
    let message = "Systems Manager could not find the version of the parameter. Verify the version \
                   and try again.";
    ApiError::new("ParameterVersionNotFound", message)
}

/// Changes a parameter of a call, of which a version is meant.
fn change<R>(
    call: &Call<'_>,
    work: impl FnOnce(&mut Parameter, usize) -> ApiResult<R>,
) -> ApiResult<(u64, R)> {
    let name = names::short(call.required("Name")?);
    call.authorize(&arn(call.cloud, name))?;
    let number = call.params["ParameterVersion"].as_u64();
    let changed = call.cloud.services.ssm.parameters.update(name, |parameter| {
        let place = match number {
            Some(number) => parameter.versions.iter().position(|v| v.number == number),
            None => parameter.versions.len().checked_sub(1),
        };
        let place = place.ok_or_else(no_version)?;
        let number = parameter.versions[place].number;
        let mut copy = parameter.clone();
        let result = work(&mut copy, place)?;
        *parameter = copy;
        Ok((number, result))
    })?;
    changed.ok_or_else(|| not_found(name))?
}

/// `LabelParameterVersion`: a label that another version has moves.
pub fn label(call: &Call<'_>) -> ApiResult {
    let (good, wrong): (Vec<&str>, Vec<&str>) =
        labels(call).into_iter().partition(|label| is_label(label));
    let (number, ()) = change(call, |parameter, place| {
        for version in &mut parameter.versions {
            version.labels.retain(|label| !good.contains(&label.as_str()));
        }
        let own = &mut parameter.versions[place].labels;
        own.extend(good.iter().map(|label| (*label).to_owned()));
        if own.len() > LABELS_MAX {
            let message = "A parameter version can have maximum 10 labels. Move one or more labels \
                           to another version and try again.";
            return Err(ApiError::new("ParameterVersionLabelLimitExceeded", message));
        }
        Ok(())
    })?;
    Ok(json!({ "InvalidLabels": wrong, "ParameterVersion": number }))
}

/// `UnlabelParameterVersion`.
pub fn unlabel(call: &Call<'_>) -> ApiResult {
    let asked = labels(call);
    let (_, removed) = change(call, |parameter, place| {
        let own = &mut parameter.versions[place].labels;
        let before = own.clone();
        own.retain(|label| !asked.contains(&label.as_str()));
        Ok(before.into_iter().filter(|l| asked.contains(&l.as_str())).collect::<Vec<String>>())
    })?;
    let wrong: Vec<&str> =
        asked.into_iter().filter(|label| !removed.iter().any(|r| r == label)).collect();
    Ok(json!({ "RemovedLabels": removed, "InvalidLabels": wrong }))
}

#[cfg(test)]
mod tests {
    use super::is_label;

    #[test]
    fn labels_are_checked() {
        assert!(is_label("live") && is_label("v1.2-a_b"));
        for label in ["", "1a", "aws-x", "SSM", "a b", &"x".repeat(101)] {
            assert!(!is_label(label), "{label}");
        }
    }
}
