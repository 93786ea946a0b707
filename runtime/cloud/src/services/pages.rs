//! Pages of lists: `MaxResults` in, `NextToken` in and out.

use serde_json::{Value, json};

use crate::error::{ApiError, ApiResult};

/// One page of `items` under the name `member`. A token is the number of the next item, as text
/// that nobody is meant to read.
pub fn page(params: &Value, member: &str, items: Vec<Value>, items_max: usize) -> ApiResult {
    let wrong = |message: String| ApiError::new("InvalidInputException", message);
    let wanted = match &params["MaxResults"] {
        Value::Null => items_max,
        given => match given.as_u64() {
            Some(count) if (1..=items_max as u64).contains(&count) => count as usize,
            _ => return Err(wrong(format!("MaxResults must be 1 to {items_max}."))),
        },
    };
    let start = match params["NextToken"].as_str() {
        None => 0,
        Some(token) => number_of(token)
            .and_then(|number| usize::try_from(number).ok())
            .filter(|start| *start <= items.len())
            .ok_or_else(|| wrong(format!("Malformed nextPageToken {token}")))?,
    };
    let end = (start + wanted).min(items.len());
    let mut answer = json!({});
    if end < items.len() {
        answer["NextToken"] = token_of(end as u64).into();
    }
    answer[member] = items.into_iter().skip(start).take(wanted).collect();
    Ok(answer)
}

/// A number as a token.
pub fn token_of(number: u64) -> String {
    hex::encode(number.to_be_bytes())
}

/// The number of a token.
pub fn number_of(token: &str) -> Option<u64> {
    let bytes: [u8; 8] = hex::decode(token).ok()?.try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let items: Vec<Value> = (0..5).map(Value::from).collect();
        let mut params = json!({ "MaxResults": 2 });
        let mut seen = Vec::new();
        loop {
            let answer = page(&params, "Items", items.clone(), 10).expect("a page");
            seen.extend(answer["Items"].as_array().expect("items").clone());
            match answer.get("NextToken") {
                Some(token) => params["NextToken"] = token.clone(),
                None => break,
            }
        }
        assert_eq!(seen, items);
        for wrong in [json!({ "MaxResults": 0 }), json!({ "MaxResults": 11 })] {
            assert!(page(&wrong, "Items", items.clone(), 10).is_err());
        }
        for wrong in ["", "x", &token_of(6), &token_of(u64::MAX)] {
            assert!(page(&json!({ "NextToken": wrong }), "Items", items.clone(), 10).is_err());
        }
    }
}
