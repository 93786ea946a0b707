//! The functions that Step Functions adds to JSONata, and the one that it takes away.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html>

use jsonata_core::evaluator::{Evaluator, EvaluatorError};
use jsonata_core::value::JValue;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Items of a `$range`.
const RANGE_MAX: usize = 1_000;
/// Characters that `$hash` takes.
const HASHED_CHARS_MAX: usize = 10_000;

type Answer = Result<JValue, EvaluatorError>;

/// Adds them to an evaluator.
pub fn register(evaluator: &mut Evaluator) -> Result<(), EvaluatorError> {
    evaluator.register_fn("partition", partition)?;
    evaluator.register_fn("range", range)?;
    evaluator.register_fn("hash", hash)?;
    evaluator.register_fn("parse", parse)?;
    evaluator
        .register_fn("uuid", |_: &[JValue]| Ok(JValue::from(uuid::Uuid::new_v4().to_string())))?;
    evaluator.register_fn_override("random", random)?;
    evaluator.register_fn_override("eval", |_: &[JValue]| {
        refused("$eval is not supported by Step Functions; $parse makes a value of JSON")
    })
}

fn refused(words: impl Into<String>) -> Answer {
    Err(EvaluatorError::EvaluationError(words.into()))
}

fn whole(value: Option<&JValue>) -> Option<i64> {
    value?.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64)
}

/// `$partition([1..7], 3)` is `[[1,2,3],[4,5,6],[7]]`.
fn partition(arguments: &[JValue]) -> Answer {
    let (items, size) = (arguments.first().and_then(JValue::as_array), whole(arguments.get(1)));
    let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    match (items, size) {
        (Some(items), Some(size)) => {
            let parts = items.chunks(size).map(|part| JValue::from(part.to_vec()));
            Ok(JValue::from(parts.collect::<Vec<_>>()))
        }
        _ => refused("$partition takes an array and a whole number above 0"),
    }
}

/// `$range(1, 9, 2)` is `[1,3,5,7,9]`.
fn range(arguments: &[JValue]) -> Answer {
    let at = |index| whole(arguments.get(index));
    let (Some(first), Some(last), Some(step)) = (at(0), at(1), at(2)) else {
        return refused("$range takes three whole numbers: first, last, step");
    };
    if step == 0 {
        return refused("the step of $range cannot be 0");
    }
    let mut items = Vec::new();
    let mut next = first;
    while (step > 0 && next <= last) || (step < 0 && next >= last) {
        if items.len() == RANGE_MAX {
            return refused(format!("$range gives at most {RANGE_MAX} items"));
        }
        items.push(JValue::from(next));
        next += step;
    }
    Ok(JValue::from(items))
}

/// `$hash("text", "SHA-256")`, in hexadecimal digits.
fn hash(arguments: &[JValue]) -> Answer {
    let (Some(data), Some(algorithm)) =
        (arguments.first(), arguments.get(1).and_then(JValue::as_str))
    else {
        return refused("$hash takes data and the name of an algorithm");
    };
    let text = match data.as_str() {
        Some(text) => text.to_owned(),
        None => {
            data.to_json_string().map_err(|e| EvaluatorError::EvaluationError(e.to_string()))?
        }
    };
    if text.chars().count() > HASHED_CHARS_MAX {
        return refused(format!("$hash takes at most {HASHED_CHARS_MAX} characters"));
    }
    let digest = match algorithm {
        "MD5" => hex::encode(md5::Md5::digest(&text)),
        "SHA-1" => hex::encode(sha1::Sha1::digest(&text)),
        "SHA-256" => hex::encode(Sha256::digest(&text)),
        "SHA-384" => hex::encode(Sha384::digest(&text)),
        "SHA-512" => hex::encode(Sha512::digest(&text)),
        other => {
            let known = "MD5, SHA-1, SHA-256, SHA-384, SHA-512";
            return refused(format!("$hash knows {known}, and not {other}"));
        }
    };
    Ok(JValue::from(digest))
}

/// `$parse("{\"a\": 1}")` is the value that the JSON means.
fn parse(arguments: &[JValue]) -> Answer {
    let Some(text) = arguments.first().and_then(JValue::as_str) else {
        return refused("$parse takes a text");
    };
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => Ok(JValue::from(value)),
        Err(error) => refused(format!("the text that $parse was given is not JSON: {error}")),
    }
}

/// `$random()`, or `$random(SEED)`, which always gives the same number.
fn random(arguments: &[JValue]) -> Answer {
    match (arguments.is_empty(), whole(arguments.first())) {
        (true, _) => Ok(JValue::from(fastrand::f64())),
        (false, Some(seed)) => Ok(JValue::from(fastrand::Rng::with_seed(seed as u64).f64())),
        (false, None) => refused("the seed of $random is a whole number"),
    }
}
