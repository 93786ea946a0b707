//! Pages of lists: a size and a token in, items and the next token out.

use serde_json::{Value, json};

use crate::kernel::error::{ApiError, ApiResult};

/// How an operation speaks of its pages.
#[derive(Debug, Clone, Copy)]
pub struct Pages {
    /// Name of the member that has the wanted size: `MaxResults`.
    pub size: &'static str,
    /// Name of the member that has the token, in and out: `NextToken`.
    pub token: &'static str,
    /// Items of a page when the caller names no size.
    pub items: usize,
    /// Largest size.
    pub items_max: usize,
    /// Code of the error about a wrong size.
    pub wrong_size: &'static str,
    /// Code of the error about a wrong token.
    pub wrong_token: &'static str,
}

impl Pages {
    /// Pages of at most `items_max`, which are also what a caller gets who names no size.
    pub const fn of(size: &'static str, token: &'static str, items_max: usize) -> Self {
        let refusal = "ValidationException";
        let (wrong_size, wrong_token) = (refusal, refusal);
        Self { size, token, items: items_max, items_max, wrong_size, wrong_token }
    }

    /// The same with another code of both errors.
    pub const fn refusing(self, code: &'static str) -> Self {
        Self { wrong_size: code, wrong_token: code, ..self }
    }

    /// One page of `items`, and the token of the next one.
    pub fn cut<T>(
        &self,
        params: &Value,
        items: impl IntoIterator<Item = T>,
    ) -> ApiResult<(Vec<T>, Option<String>)> {
        let (wanted, mut items) = (self.wanted(&params[self.size])?, items.into_iter());
        let mut start = 0;
        if let Some(token) = params[self.token].as_str() {
            let number = number_of(token).and_then(|number| usize::try_from(number).ok());
            let there = number.filter(|n| items.by_ref().take(*n).count() == *n);
            start = there.ok_or_else(|| {
                ApiError::new(self.wrong_token, format!("Invalid Token: '{token}'"))
            })?;
        }
        let page: Vec<T> = items.by_ref().take(wanted).collect();
        let next = items.next().is_some().then(|| token_of((start + page.len()) as u64));
        Ok((page, next))
    }

    /// An answer with one page of `items` as its member `member`.
    pub fn answer(&self, params: &Value, member: &str, items: Vec<Value>) -> ApiResult {
        let (items, next) = self.cut(params, items)?;
        let mut answer = json!({ (member): items });
        if let Some(next) = next {
            answer[self.token] = next.into();
        }
        Ok(answer)
    }

    /// Forms have numbers as texts.
    fn wanted(&self, given: &Value) -> ApiResult<usize> {
        if given.is_null() {
            return Ok(self.items);
        }
        let number = given.as_u64().or_else(|| given.as_str()?.parse().ok());
        let number = number.and_then(|number| usize::try_from(number).ok());
        number.filter(|count| (1..=self.items_max).contains(count)).ok_or_else(|| {
            let message = format!("{} must be 1 to {}.", self.size, self.items_max);
            ApiError::new(self.wrong_size, message)
        })
    }
}

/// A number as a token: a text that nobody is meant to read.
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

    const PAGES: Pages = Pages::of("MaxResults", "NextToken", 10);

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let items: Vec<Value> = (0..5).map(Value::from).collect();
        for size in [json!(2), json!("2")] {
            let mut params = json!({ "MaxResults": size });
            let mut seen = Vec::new();
            loop {
                let answer = PAGES.answer(&params, "Items", items.clone()).expect("a page");
                seen.extend(answer["Items"].as_array().expect("items").clone());
                match answer.get("NextToken") {
                    Some(token) => params["NextToken"] = token.clone(),
                    None => break,
                }
            }
            assert_eq!(seen, items);
        }
    }

    #[test]
    fn wrong_sizes_and_tokens_have_the_services_codes() {
        let pages = Pages { wrong_token: "InvalidToken", ..PAGES.refusing("Refused") };
        let code = |params: Value| {
            pages.cut(&params, vec![Value::Null; 5]).map(|_| ()).map_err(|e| e.code)
        };
        for wrong in [json!(0), json!(11), json!("x"), json!(-1)] {
            assert_eq!(code(json!({ "MaxResults": wrong })), Err("Refused".to_owned()));
        }
        for wrong in ["", "x", &token_of(6), &token_of(u64::MAX)] {
            assert_eq!(code(json!({ "NextToken": wrong })), Err("InvalidToken".to_owned()));
        }
        assert_eq!(code(json!({ "NextToken": token_of(5) })), Ok(()));
    }
}
