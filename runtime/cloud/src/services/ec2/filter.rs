//! What EC2's Describe operations choose by: IDs, filters by field and by tag, pages.

use serde_json::Value;

use crate::kernel::error::{ApiError, ApiResult};

/// Items in one answer, as in AWS.
const PAGE_MAX: usize = 1_000;
/// The fewest that may be asked for.
const PAGE_MIN: usize = 5;

/// IDs and filters; a filter that is not among those the operation has is an error.
#[derive(Debug)]
pub struct Filter {
    ids: Vec<String>,
    conditions: Vec<(String, Vec<String>)>,
}

/// Something that is chosen or not.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Its ID.
    pub id: &'a str,
    /// Its tags as `[{"Key", "Value"}]`.
    pub tags: &'a Value,
    /// Its fields by the names of filters; a field may have several values.
    pub fields: &'a [(&'a str, &'a str)],
}

impl Filter {
    /// Reads the parameters; `names` are the filters besides tags.
    pub fn new(params: &Value, id_parameter: &str, names: &[&str]) -> ApiResult<Self> {
        let mut conditions = Vec::new();
        for filter in params["Filters"].as_array().into_iter().flatten() {
            let name = filter["Name"].as_str().unwrap_or_default();
            let tag = name.starts_with("tag:") || name == "tag-key";
            if !tag && !names.contains(&name) {
                let message = format!("The embedded cloud does not filter by `{name}`.");
                return Err(ApiError::new("InvalidParameterValue", message));
            }
            conditions.push((name.to_owned(), texts(&filter["Values"])));
        }
        Ok(Self { ids: texts(&params[id_parameter]), conditions })
    }

    /// The first ID that is asked for and not there.
    pub fn missing(&self, there: impl Fn(&str) -> bool) -> Option<&str> {
        self.ids.iter().map(String::as_str).find(|id| !there(id))
    }

    /// Whether something is chosen.
    pub fn admits(&self, candidate: &Candidate<'_>) -> bool {
        (self.ids.is_empty() || self.ids.iter().any(|i| i == candidate.id))
            && self.conditions.iter().all(|(name, wanted)| holds(candidate, name, wanted))
    }
}

fn holds(candidate: &Candidate<'_>, name: &str, wanted: &[String]) -> bool {
    let is_wanted = |value: &str| wanted.iter().any(|pattern| matches(pattern, value));
    let mut tags = candidate.tags.as_array().into_iter().flatten();
    if let Some(key) = name.strip_prefix("tag:") {
        return tags.any(|t| t["Key"] == *key && t["Value"].as_str().is_some_and(is_wanted));
    }
    if name == "tag-key" {
        return tags.any(|t| t["Key"].as_str().is_some_and(is_wanted));
    }
    candidate.fields.iter().any(|(field, value)| *field == name && is_wanted(value))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether `text` matches a filter's value: `*` is any text, `?` any character.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // Where the last `*` stands, and how much of the text it has taken so far.
    let (mut p, mut t, mut star) = (0, 0, None::<(usize, usize)>);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The part of `items` that `MaxResults` and `NextToken` ask for, and the token of the next part.
pub fn page(items: Vec<Value>, params: &Value) -> ApiResult<(Vec<Value>, Value)> {
    let invalid = |name: &str| {
        ApiError::new("InvalidParameterValue", format!("The value of {name} is not valid."))
    };
    let size = match params["MaxResults"].as_u64().map(|size| size as usize) {
        Some(size) if size < PAGE_MIN => return Err(invalid("MaxResults")),
        size => size.unwrap_or(PAGE_MAX),
    };
    let skip = match params["NextToken"].as_str() {
        Some(text) => text.parse().map_err(|_| invalid("NextToken"))?,
        None => 0,
    };
    let end = skip + size.min(PAGE_MAX);
    let next = if end < items.len() { end.to_string().into() } else { Value::Null };
    Ok((items.into_iter().skip(skip).take(size.min(PAGE_MAX)).collect(), next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_have_stars_and_question_marks() {
        assert!(matches("AWS Lambda VPC ENI-x-*", "AWS Lambda VPC ENI-x-1"));
        assert!(matches("*a?c*", "xxabcxx") && matches("*", "") && matches("a", "a"));
        assert!(!matches("a*b", "ac") && !matches("a", "ab") && !matches("?", ""));
    }

    #[test]
    fn pages_follow_each_other() {
        let items: Vec<Value> = (0..7).map(Value::from).collect();
        let (first, next) = page(items.clone(), &json!({ "MaxResults": 5 })).expect("a page");
        assert_eq!((first.len(), next.as_str()), (5, Some("5")));
        let (rest, next) = page(items, &json!({ "NextToken": "5" })).expect("a page");
        assert_eq!((rest, next), (vec![json!(5), json!(6)], Value::Null));
        assert!(page(vec![], &json!({ "MaxResults": 1 })).is_err());
    }
}
