//! Names of parameters, with and without the version or the label that is meant.

use super::{Parameter, Version};
use crate::kernel::error::{ApiError, ApiResult};

/// Levels of a name.
const LEVELS_MAX: usize = 15;
/// Characters of a name.
const LENGTH_MAX: usize = 1_011;

pub fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", message)
}

pub fn not_found(name: &str) -> ApiError {
    ApiError::new("ParameterNotFound", format!("Parameter {name} not found."))
}

/// The name in a parameter's ARN, or the name itself.
pub fn short(name: &str) -> &str {
    match name.strip_prefix("arn:") {
        Some(arn) => arn.split_once(":parameter").map_or(name, |(_, name)| name),
        None => name,
    }
}

/// A name and its selector: `/a/b:3` is the third version, `/a/b:live` the one so labelled.
pub fn split(name: &str) -> (&str, Option<&str>) {
    match short(name).split_once(':') {
        Some((name, selector)) => (name, Some(selector)),
        None => (short(name), None),
    }
}

/// The version that a selector means.
pub fn select<'p>(parameter: &'p Parameter, selector: Option<&str>) -> Option<&'p Version> {
    match selector {
        None => parameter.newest(),
        Some(text) => match text.parse::<u64>() {
            Ok(number) => parameter.versions.iter().find(|version| version.number == number),
            Err(_) => {
                parameter.versions.iter().find(|version| version.labels.iter().any(|l| l == text))
            }
        },
    }
}

/// Whether a parameter may be called so.
pub fn check(name: &str) -> ApiResult<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    let bare = name.trim_start_matches('/').to_ascii_lowercase();
    if ["aws", "ssm"].iter().any(|word| bare.starts_with(word)) {
        let message =
            "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).";
        return Err(invalid(message));
    }
    if name.is_empty() || !name.chars().all(plain) || name.ends_with('/') || name.contains("//") {
        let message = "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If \
                       formed as a path, it can consist of sub-paths divided by slash symbol; each \
                       sub-path can be formed as a mix of letters, numbers and the following 3 \
                       symbols .-_";
        return Err(invalid(message));
    }
    if name.contains('/') && !name.starts_with('/') {
        let message = "Parameter name must be a fully qualified name.";
        return Err(invalid(message));
    }
    if name.len() > LENGTH_MAX {
        return Err(invalid(format!("Parameter name: must have at most {LENGTH_MAX} characters.")));
    }
    if name.matches('/').count() > LEVELS_MAX {
        let message = format!("A parameter name has at most {LEVELS_MAX} levels.");
        return Err(ApiError::new("HierarchyLevelLimitExceededException", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for name in ["a", "/a", "/a/b.c-d_e", "A1", &"/a".repeat(15)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        let deep = "/a".repeat(16);
        for name in ["", "/", "/a/", "/a//b", "a b", "a/b", "aws", "/aws/x", "SSMx", "ü", &deep] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn selectors_come_behind_names() {
        assert_eq!(split("/a/b"), ("/a/b", None));
        assert_eq!(split("/a/b:3"), ("/a/b", Some("3")));
        assert_eq!(split("arn:aws:ssm:us-east-1:000000000000:parameter/a:x"), ("/a", Some("x")));
    }
}
