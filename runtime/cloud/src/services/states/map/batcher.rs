//! Batches: several items in the input of one child.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itembatcher.html>

use serde_json::{Value, json};

use super::super::interpreter::{Failure, Scope};
use super::super::limits::{DATA_BYTES_MAX, check_bytes, json_bytes};
use super::supervisor::Input;

/// Puts items together, as many as fit, in their order.
pub async fn batches(
    state: &str,
    batcher: &Value,
    scope: &Scope<'_>,
    items: Vec<Value>,
) -> Result<Vec<Input>, Failure> {
    let fixed = match batcher.get("BatchInput") {
        Some(template) => Some(scope.fill(template).await?),
        None => None,
    };
    batched(state, batcher, fixed.as_ref(), items)
}

fn batched(
    state: &str,
    batcher: &Value,
    fixed: Option<&Value>,
    items: Vec<Value>,
) -> Result<Vec<Input>, Failure> {
    let number = |field: &str, otherwise: usize| {
        batcher[field].as_u64().map_or(otherwise, |n| usize::try_from(n).unwrap_or(usize::MAX))
    };
    let items_max = number("MaxItemsPerBatch", usize::MAX);
    let bytes_max = number("MaxInputBytesPerBatch", DATA_BYTES_MAX);
    let input = |items: Vec<Value>| {
        let count = items.len() as u64;
        let mut input = json!({ "Items": items });
        if let Some(fixed) = fixed {
            input["BatchInput"] = fixed.clone();
        }
        Input::of(input, count)
    };
    let around = json_bytes(&input(vec![]).input);
    let (mut inputs, mut batch, mut bytes) = (vec![], vec![], around);
    for item in items {
        let own = json_bytes(&item);
        // A comma stands between two items.
        let with_comma = own + usize::from(!batch.is_empty());
        if !batch.is_empty() && (batch.len() == items_max || bytes + with_comma > bytes_max) {
            inputs.push(input(std::mem::take(&mut batch)));
            bytes = around;
        }
        if around + own > bytes_max {
            // No batch can have it.
            check_bytes(state, DATA_BYTES_MAX + 1)?;
        }
        bytes += own + usize::from(!batch.is_empty());
        batch.push(item);
    }
    if !batch.is_empty() {
        inputs.push(input(batch));
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(batcher: Value, fixed: Option<Value>, items: Vec<Value>) -> Vec<Value> {
        let inputs = batched("A", &batcher, fixed.as_ref(), items).expect("batches");
        inputs.into_iter().map(|input| input.input).collect()
    }

    #[test]
    fn batches_have_as_many_items_as_they_may() {
        let items: Vec<Value> = (0..1_130).map(Value::from).collect();
        let batches = inputs(json!({ "MaxItemsPerBatch": 100 }), None, items);
        assert_eq!(batches.len(), 12);
        assert_eq!(batches[11]["Items"].as_array().map(Vec::len), Some(30));
        assert_eq!(batches[0].as_object().map(serde_json::Map::len), Some(1));
    }

    #[test]
    fn bytes_of_a_batch_are_those_of_the_whole_input() {
        let fixed = json!({ "day": 1 });
        let whole = json!({ "BatchInput": fixed, "Items": ["ab", "cd"] });
        let limit = json_bytes(&whole);
        let items = || vec![json!("ab"), json!("cd"), json!("ef")];
        let batcher = |limit: usize| json!({ "MaxInputBytesPerBatch": limit });
        let sizes = |limit: usize| -> Vec<usize> {
            let batches = inputs(batcher(limit), Some(fixed.clone()), items());
            batches.iter().map(|b| b["Items"].as_array().map_or(0, Vec::len)).collect()
        };
        assert_eq!(sizes(limit), [2, 1]);
        assert_eq!(sizes(limit - 1), [1, 1, 1]);
        let tight = json_bytes(&json!({ "Items": [] })) + 3;
        let failure = batched("A", &batcher(tight), None, items()).expect_err("too large");
        assert_eq!(failure.error, "States.DataLimitExceeded");
    }
}
