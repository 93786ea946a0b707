//! Sizes of items, as DynamoDB counts them. Pure.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::stream_log::Change;
use super::streams::shows;

/// Bytes of a change as a stream shows it.
pub fn of_change(change: &Change, view: &str) -> usize {
    let image = |member: &str, image: &Option<Value>| {
        image.as_ref().filter(|_| shows(view, member)).map_or(0, of_item)
    };
    of_item(&change.keys) + image("NewImage", &change.new) + image("OldImage", &change.old)
}

/// Bytes of an item: names and values of its attributes.
fn of_item(item: &Value) -> usize {
    let attributes = item.as_object().into_iter().flatten();
    attributes.map(|(name, value)| name.len() + of_value(value)).sum()
}

fn of_value(value: &Value) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|members| members.iter().next()) else {
        return 0;
    };
    let text = value.as_str().unwrap_or_default();
    let items = || value.as_array().into_iter().flatten();
    let texts = || items().filter_map(Value::as_str);
    match kind.as_str() {
        "S" => text.len(),
        "N" => of_number(text),
        "B" => of_binary(text),
        "SS" => texts().map(str::len).sum(),
        "NS" => texts().map(of_number).sum(),
        "BS" => texts().map(of_binary).sum(),
        "L" => 3 + items().map(|item| 1 + of_value(item)).sum::<usize>(),
        "M" => {
            let members = value.as_object().into_iter().flatten();
            3 + members.map(|(name, value)| 1 + name.len() + of_value(value)).sum::<usize>()
        }
        // NULL and BOOL.
        _ => 1,
    }
}

/// One byte for each two significant digits, and one more.
fn of_number(text: &str) -> usize {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    significant.len().div_ceil(2) + 1
}

fn of_binary(text: &str) -> usize {
    STANDARD.decode(text).map_or(0, |bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn attributes_are_counted_with_their_names() {
        let item = json!({
            "pk": { "S": "abc" }, "n": { "N": "-1200" }, "b": { "B": "AAEC" },
            "ok": { "BOOL": true }, "l": { "L": [{ "S": "x" }, { "NULL": true }] },
            "m": { "M": { "k": { "N": "5" } } },
        });
        assert_eq!(of_item(&item), (2 + 3) + (1 + 2) + (1 + 3) + (2 + 1) + (1 + 7) + (1 + 7));
    }
}
