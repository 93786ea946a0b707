//! What an answer of a function says about a batch. Pure.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use serde_json::Value;

use crate::services::lambda::Invoked;

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is done.
    Done,
    /// None of it is done.
    Failed,
    /// All but these records is done: indexes into the batch, in order.
    Partly(Vec<usize>),
}

/// What an answer says about a batch whose records have these identifiers; `reports` says whether
/// the function tells which records failed.
pub fn of(invoked: &Invoked, identifiers: &[&str], reports: bool) -> Outcome {
    if invoked.function_error.is_some() {
        return Outcome::Failed;
    }
    if !reports {
        return Outcome::Done;
    }
    let Ok(answer) = serde_json::from_slice::<Value>(&invoked.payload) else {
        return Outcome::Failed;
    };
    let failures = match &answer {
        Value::Null => return Outcome::Done,
        Value::Object(members) => match members.get("batchItemFailures") {
            None | Some(Value::Null) => return Outcome::Done,
            Some(Value::Array(failures)) => failures,
            Some(_) => return Outcome::Failed,
        },
        // An empty text is an empty answer.
        Value::String(text) if text.is_empty() => return Outcome::Done,
        _ => return Outcome::Failed,
    };
    let mut indexes = Vec::new();
    for failure in failures {
        // What is empty, missing or not in the batch is a failure of all.
        let named = failure["itemIdentifier"].as_str();
        let index = named.and_then(|name| identifiers.iter().position(|known| *known == name));
        match index {
            Some(index) => indexes.push(index),
            None => return Outcome::Failed,
        }
    }
    indexes.sort_unstable();
    indexes.dedup();
    if indexes.is_empty() { Outcome::Done } else { Outcome::Partly(indexes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(answer: &str, reports: bool) -> Outcome {
        let invoked = Invoked {
            payload: answer.to_owned().into(),
            function_error: None,
            log_tail: Vec::new(),
            version: String::new(),
        };
        of(&invoked, &["a", "b", "c"], reports)
    }

    #[test]
    fn answers_are_read_as_the_documentation_says() {
        for done in
            ["null", "{}", "\"\"", "{\"batchItemFailures\":null}", "{\"batchItemFailures\":[]}"]
        {
            assert_eq!(outcome(done, true), Outcome::Done, "{done}");
        }
        for failed in [
            "{\"batchItemFailures\":[{\"itemIdentifier\":\"\"}]}",
            "{\"batchItemFailures\":[{\"itemIdentifier\":null}]}",
            "{\"batchItemFailures\":[{\"identifier\":\"a\"}]}",
            "{\"batchItemFailures\":[{\"itemIdentifier\":\"a\"},{\"itemIdentifier\":\"x\"}]}",
            "{\"batchItemFailures\":1}",
            "{",
        ] {
            assert_eq!(outcome(failed, true), Outcome::Failed, "{failed}");
            assert_eq!(outcome(failed, false), Outcome::Done, "nothing is read of it");
        }
        let some =
            "{\"batchItemFailures\":[{\"itemIdentifier\":\"c\"},{\"itemIdentifier\":\"b\"}]}";
        assert_eq!(outcome(some, true), Outcome::Partly(vec![1, 2]));
    }
}
