//! Names of projects, environments, pipelines and queries.

/// Names are joined by hyphens and become parts of bucket names. Only the project, the first of
/// them, may have hyphens of its own: then no two deployments ever have the same names.
pub fn name_defect(name: &str) -> Option<&'static str> {
    if name.contains('-') {
        return Some("must not have hyphens: they stand between the parts of a name");
    }
    project_defect(name)
}

/// What keeps a text from being the name of a project, or of a query.
pub fn project_defect(name: &str) -> Option<&'static str> {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match name.bytes().next() {
        None => Some("must not be empty"),
        Some(first) if !first.is_ascii_lowercase() => Some("must begin with a lower-case letter"),
        _ if !plain || name.ends_with('-') => {
            Some("must consist of lower-case letters, digits and inner hyphens")
        }
        _ if name.len() > 16 => Some("must have at most 16 characters"),
        _ => None,
    }
}
