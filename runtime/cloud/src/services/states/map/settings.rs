//! Fields of Map states: which belong to which mode, and what they may say.
//!
//! Numbers are numbers here: AWS takes expressions that give numbers as well, `cfn-lint` does not.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::definition::check_keys;
use super::super::limits::DATA_BYTES_MAX;

/// Fields of a distributed Map, which an inline one does not have.
const DISTRIBUTED: [&str; 6] = [
    "ItemReader",
    "ItemBatcher",
    "ResultWriter",
    "Label",
    "ToleratedFailureCount",
    "ToleratedFailurePercentage",
];
/// Characters of a label.
const LABEL_MAX: usize = 40;
/// Items that a reader may be limited to.
const ITEMS_MAX: u64 = 100_000_000;
/// Bytes of the header of a file of CSV.
pub const HEADER_BYTES_MAX: usize = 10 * 1024;

/// Whether a Map runs its items as executions of their own.
pub fn is_distributed(map: &Value) -> bool {
    map["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
}

/// What is wrong with a Map, apart from its states.
pub fn check(map: &Value) -> Result<(), String> {
    let processor = &map["ItemProcessor"];
    check_keys("ItemProcessor", processor, &["Comment", "ProcessorConfig", "StartAt", "States"])?;
    if let Some(config) = processor.get("ProcessorConfig") {
        check_keys("ProcessorConfig", config, &["Mode", "ExecutionType"])?;
    }
    let config = &processor["ProcessorConfig"];
    match (config["Mode"].as_str(), config["ExecutionType"].as_str()) {
        (None, None) if config["Mode"].is_null() && config["ExecutionType"].is_null() => {}
        (Some("INLINE"), None) if config["ExecutionType"].is_null() => {}
        (Some("DISTRIBUTED"), Some("STANDARD")) => return check_distributed(map),
        (Some("DISTRIBUTED"), Some("EXPRESS")) => {
            return Err("the embedded cloud runs the items of a distributed Map as executions of \
                        the ExecutionType STANDARD, not EXPRESS"
                .to_owned());
        }
        (Some("DISTRIBUTED"), _) => {
            return Err("ProcessorConfig must have the ExecutionType STANDARD or EXPRESS in the \
                        mode DISTRIBUTED"
                .to_owned());
        }
        _ => {
            return Err("ProcessorConfig must have the Mode INLINE, without an ExecutionType, or \
                        the Mode DISTRIBUTED"
                .to_owned());
        }
    }
    match DISTRIBUTED.iter().find(|field| map.get(**field).is_some()) {
        Some(field) => Err(format!("{field} is a field of Maps of the Mode DISTRIBUTED only")),
        None => Ok(()),
    }
}

fn check_distributed(map: &Value) -> Result<(), String> {
    if map.get("Items").is_some() && map.get("ItemReader").is_some() {
        return Err("a Map has either Items or an ItemReader, not both".to_owned());
    }
    whole(map, "ToleratedFailureCount", 0, u64::MAX)?;
    whole(map, "ToleratedFailurePercentage", 0, 100)?;
    if let Some(label) = map.get("Label") {
        check_label(label.as_str().unwrap_or_default())?;
    }
    if let Some(reader) = map.get("ItemReader") {
        check_reader(reader).map_err(|e| format!("ItemReader: {e}"))?;
    }
    if let Some(batcher) = map.get("ItemBatcher") {
        check_batcher(batcher).map_err(|e| format!("ItemBatcher: {e}"))?;
    }
    match map.get("ResultWriter") {
        Some(writer) => check_writer(writer).map_err(|e| format!("ResultWriter: {e}")),
        None => Ok(()),
    }
}

fn check_label(label: &str) -> Result<(), String> {
    let forbidden =
        |c: char| c.is_whitespace() || c.is_control() || "?*<>{}[]:;,\\|^~$#%&`\"/".contains(c);
    match label.is_empty() || label.chars().count() > LABEL_MAX || label.contains(forbidden) {
        true => Err(format!(
            "Label must have 1 to {LABEL_MAX} characters without spaces and special characters, \
             but is `{label}`"
        )),
        false => Ok(()),
    }
}

fn whole(of: &Value, field: &str, least: u64, most: u64) -> Result<(), String> {
    match of.get(field) {
        None => Ok(()),
        Some(number) if number.as_u64().is_some_and(|n| (least..=most).contains(&n)) => Ok(()),
        Some(other) => {
            Err(format!("{field} must be a whole number from {least} to {most}, but is {other}"))
        }
    }
}

fn check_reader(reader: &Value) -> Result<(), String> {
    check_keys("it", reader, &["Resource", "ReaderConfig", "Arguments"])?;
    let config = reader.get("ReaderConfig").cloned().unwrap_or_else(|| serde_json::json!({}));
    whole(&config, "MaxItems", 1, ITEMS_MAX)?;
    let arguments = reader.get("Arguments").ok_or("it has no Arguments")?;
    match reader["Resource"].as_str() {
        Some("arn:aws:states:::s3:listObjectsV2") => {
            check_keys("ReaderConfig", &config, &["MaxItems"])?;
            check_places(arguments, &["Bucket"], &["Bucket", "Prefix"])
        }
        Some("arn:aws:states:::s3:getObject") => {
            check_places(arguments, &["Bucket", "Key"], &["Bucket", "Key"])?;
            check_input_type(&config)
        }
        _ => Err(format!(
            "its Resource must be arn:aws:states:::s3:getObject or \
             arn:aws:states:::s3:listObjectsV2, but is {}",
            reader["Resource"]
        )),
    }
}

/// Arguments are an object with what is needed, or an expression that gives one.
fn check_places(arguments: &Value, needed: &[&str], known: &[&str]) -> Result<(), String> {
    if arguments.is_string() {
        return Ok(());
    }
    check_keys("Arguments", arguments, known)?;
    match needed.iter().find(|field| arguments[**field].as_str().is_none_or(str::is_empty)) {
        Some(field) => Err(format!("its Arguments have no {field}")),
        None => Ok(()),
    }
}

fn check_input_type(config: &Value) -> Result<(), String> {
    const CSV: [&str; 5] =
        ["InputType", "MaxItems", "CSVHeaderLocation", "CSVHeaders", "CSVDelimiter"];
    match config["InputType"].as_str() {
        Some("JSON") => {
            check_keys("ReaderConfig", config, &["InputType", "MaxItems", "ItemsPointer"])?;
            match &config["ItemsPointer"] {
                Value::Null => Ok(()),
                Value::String(pointer) if pointer.is_empty() || pointer.starts_with('/') => Ok(()),
                other => Err(format!("ItemsPointer must be a JSON pointer, but is {other}")),
            }
        }
        Some("JSONL") => check_keys("ReaderConfig", config, &["InputType", "MaxItems"]),
        Some("CSV") => {
            check_keys("ReaderConfig", config, &CSV)?;
            check_csv(config)
        }
        Some(kind @ ("PARQUET" | "MANIFEST")) => {
            Err(format!("the embedded cloud reads items of JSON, JSONL and CSV, not {kind}"))
        }
        _ => Err(format!(
            "InputType must be CSV, JSON, JSONL, PARQUET or MANIFEST, but is {}",
            config["InputType"]
        )),
    }
}

fn check_csv(config: &Value) -> Result<(), String> {
    if delimiter(config).is_none() {
        return Err(format!(
            "CSVDelimiter must be COMMA, PIPE, SEMICOLON, SPACE or TAB, but is {}",
            config["CSVDelimiter"]
        ));
    }
    let headers = config["CSVHeaders"].as_array();
    let texts = headers.is_some_and(|h| !h.is_empty() && h.iter().all(Value::is_string));
    match config["CSVHeaderLocation"].as_str() {
        Some("FIRST_ROW") if config["CSVHeaders"].is_null() => Ok(()),
        Some("FIRST_ROW") => Err("CSVHeaders need the CSVHeaderLocation GIVEN".to_owned()),
        Some("GIVEN") if !texts => {
            Err("the CSVHeaderLocation GIVEN needs CSVHeaders, a list of texts".to_owned())
        }
        Some("GIVEN") if config["CSVHeaders"].to_string().len() > HEADER_BYTES_MAX => {
            Err("CSVHeaders have more than 10 KiB".to_owned())
        }
        Some("GIVEN") => Ok(()),
        _ => Err(format!(
            "CSVHeaderLocation must be FIRST_ROW or GIVEN, but is {}",
            config["CSVHeaderLocation"]
        )),
    }
}

/// The character between the fields of CSV.
pub fn delimiter(config: &Value) -> Option<char> {
    match config["CSVDelimiter"].as_str() {
        None if config["CSVDelimiter"].is_null() => Some(','),
        Some("COMMA") => Some(','),
        Some("PIPE") => Some('|'),
        Some("SEMICOLON") => Some(';'),
        Some("SPACE") => Some(' '),
        Some("TAB") => Some('\t'),
        _ => None,
    }
}

fn check_batcher(batcher: &Value) -> Result<(), String> {
    check_keys("it", batcher, &["MaxItemsPerBatch", "MaxInputBytesPerBatch", "BatchInput"])?;
    if batcher.get("MaxItemsPerBatch").is_none() && batcher.get("MaxInputBytesPerBatch").is_none() {
        return Err("it needs MaxItemsPerBatch or MaxInputBytesPerBatch".to_owned());
    }
    whole(batcher, "MaxItemsPerBatch", 1, u64::MAX)?;
    whole(batcher, "MaxInputBytesPerBatch", 1, DATA_BYTES_MAX as u64)
}

fn check_writer(writer: &Value) -> Result<(), String> {
    check_keys("it", writer, &["Resource", "Arguments", "WriterConfig"])?;
    match (writer.get("Resource"), writer.get("Arguments")) {
        (None, None) if writer.get("WriterConfig").is_some() => {}
        (Some(resource), Some(arguments)) => {
            if resource != "arn:aws:states:::s3:putObject" {
                return Err(format!(
                    "its Resource must be arn:aws:states:::s3:putObject, but is {resource}"
                ));
            }
            check_places(arguments, &["Bucket"], &["Bucket", "Prefix"])?;
        }
        _ => return Err("it needs Resource and Arguments, WriterConfig, or all three".to_owned()),
    }
    let Some(config) = writer.get("WriterConfig") else { return Ok(()) };
    check_keys("WriterConfig", config, &["Transformation", "OutputType"])?;
    if !matches!(config["Transformation"].as_str(), Some("NONE" | "COMPACT" | "FLATTEN")) {
        return Err(format!(
            "Transformation must be NONE, COMPACT or FLATTEN, but is {}",
            config["Transformation"]
        ));
    }
    match config["OutputType"].as_str() {
        Some("JSON") => Ok(()),
        Some("JSONL") => {
            Err("the embedded cloud writes results of the OutputType JSON, not JSONL".to_owned())
        }
        _ => Err(format!("OutputType must be JSON or JSONL, but is {}", config["OutputType"])),
    }
}

/// Labels must be unique within a definition, and a distributed Map has none in it here.
pub fn check_labels(definition: &Value) -> Result<(), String> {
    fn walk<'d>(machine: &'d Value, inside: bool, seen: &mut Vec<&'d str>) -> Result<(), String> {
        for state in machine["States"].as_object().into_iter().flatten().map(|(_, state)| state) {
            let is_run = state["Type"] == "Map" && is_distributed(state);
            if is_run && inside {
                return Err("the embedded cloud runs no distributed Map inside another".to_owned());
            }
            if let Some(label) = state["Label"].as_str().filter(|_| is_run) {
                if seen.contains(&label) {
                    return Err(format!("the Label `{label}` is there twice"));
                }
                seen.push(label);
            }
            walk(&state["ItemProcessor"], inside || is_run, seen)?;
            let branches = state["Branches"].as_array().into_iter().flatten();
            branches.into_iter().try_for_each(|branch| walk(branch, inside, seen))?;
        }
        Ok(())
    }
    walk(definition, false, &mut vec![])
}

/// The label of a Map; one that has none gets one that stays the same.
pub fn label(machine: &str, state: &str, map: &Value) -> String {
    match map["Label"].as_str() {
        Some(label) => label.to_owned(),
        None => hex::encode(&Sha256::digest(format!("{machine}/{state}"))[..16]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(more: Value) -> Value {
        let mut map = json!({ "ItemProcessor": {
            "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
        } });
        for (name, value) in more.as_object().expect("fields") {
            map[name] = value.clone();
        }
        map
    }

    fn reader(config: Value) -> Value {
        map(json!({ "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": config,
            "Arguments": { "Bucket": "b", "Key": "{% $states.input.key %}" },
        } }))
    }

    fn writer(writer: Value) -> Value {
        map(json!({ "ResultWriter": writer }))
    }

    #[test]
    fn what_aws_takes_is_taken() {
        for good in [
            map(json!({})),
            map(json!({
                "Label": "predict_1-a", "MaxConcurrency": 0, "ToleratedFailurePercentage": 100,
                "ToleratedFailureCount": 0,
                "ItemBatcher": { "MaxItemsPerBatch": 1, "BatchInput": "{% $x %}" },
            })),
            reader(json!({ "InputType": "JSONL", "MaxItems": 1 })),
            reader(json!({ "InputType": "JSON", "ItemsPointer": "/a/b" })),
            reader(json!({ "InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW" })),
            reader(json!({
                "InputType": "CSV", "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["a"],
                "CSVDelimiter": "TAB",
            })),
            map(json!({ "ItemReader": {
                "Resource": "arn:aws:states:::s3:listObjectsV2",
                "Arguments": { "Bucket": "b", "Prefix": "p/" },
            } })),
            writer(
                json!({ "WriterConfig": { "Transformation": "FLATTEN", "OutputType": "JSON" } }),
            ),
            writer(json!({
                "Resource": "arn:aws:states:::s3:putObject", "Arguments": { "Bucket": "b" },
            })),
            json!({ "ItemProcessor": { "ProcessorConfig": { "Mode": "INLINE" } } }),
            json!({ "ItemProcessor": {} }),
        ] {
            assert_eq!(check(&good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_aws_or_this_cloud_does_not_do_is_refused() {
        let processor = |config: Value| json!({ "ItemProcessor": { "ProcessorConfig": config } });
        let inline = |field: &str| {
            let mut map = json!({ "ItemProcessor": {} });
            map[field] = json!(1);
            map
        };
        let put = "arn:aws:states:::s3:putObject";
        for bad in [
            processor(json!({ "Mode": "DISTRIBUTED" })),
            processor(json!({ "Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS" })),
            processor(json!({ "Mode": "INLINE", "ExecutionType": "STANDARD" })),
            processor(json!({ "ExecutionType": "STANDARD" })),
            processor(json!({ "Mode": "OTHER" })),
            processor(json!({ "Mode": 1 })),
            inline("ItemReader"),
            inline("ItemBatcher"),
            inline("ResultWriter"),
            inline("Label"),
            inline("ToleratedFailureCount"),
            inline("ToleratedFailurePercentage"),
            map(json!({ "Label": "a b" })),
            map(json!({ "Label": "a/b" })),
            map(json!({ "Label": "" })),
            map(json!({ "Label": "x".repeat(41) })),
            map(json!({ "ToleratedFailurePercentage": 101 })),
            map(json!({ "ToleratedFailurePercentage": "{% 1 %}" })),
            map(json!({ "ToleratedFailureCount": -1 })),
            map(json!({ "ItemBatcher": {} })),
            map(json!({ "ItemBatcher": { "MaxItemsPerBatch": 0 } })),
            map(json!({ "ItemBatcher": { "MaxInputBytesPerBatch": 262_145 } })),
            map(json!({ "ItemBatcher": { "MaxItemsPerBatch": 1, "MaxItemsPerBatchPath": "$" } })),
            reader(json!({})),
            reader(json!({ "InputType": "PARQUET" })),
            reader(json!({ "InputType": "MANIFEST" })),
            reader(json!({ "InputType": "XML" })),
            reader(json!({ "InputType": "CSV" })),
            reader(json!({ "InputType": "CSV", "CSVHeaderLocation": "GIVEN" })),
            reader(json!({
                "InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW", "CSVHeaders": ["a"],
            })),
            reader(json!({
                "InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW", "CSVDelimiter": "DOT",
            })),
            reader(json!({ "InputType": "JSONL", "MaxItems": 0 })),
            reader(json!({ "InputType": "JSONL", "ItemsPointer": "/a" })),
            reader(json!({ "InputType": "JSON", "ItemsPointer": "a" })),
            map(json!({ "Items": [], "ItemReader": {} })),
            map(json!({ "ItemReader": { "Resource": "arn:aws:states:::s3:getObject" } })),
            map(json!({ "ItemReader": {
                "Resource": "arn:aws:states:::s3:listObjectsV2",
                "ReaderConfig": { "InputType": "CSV", "Transformation": "LOAD_AND_FLATTEN" },
                "Arguments": { "Bucket": "b" },
            } })),
            writer(json!({})),
            writer(json!({ "Resource": put })),
            writer(json!({ "Resource": put, "Parameters": { "Bucket": "b" } })),
            writer(json!({ "Resource": put, "Arguments": { "Prefix": "p" } })),
            writer(json!({ "WriterConfig": { "Transformation": "NONE", "OutputType": "JSONL" } })),
            writer(json!({ "WriterConfig": { "OutputType": "JSON" } })),
        ] {
            assert!(check(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_are_unique_and_distributed_maps_not_nested() {
        let labelled = |label: &str| {
            let mut map = map(json!({ "Type": "Map" }));
            map["Label"] = label.into();
            map
        };
        let two = |one: &str, other: &str| {
            json!({ "States": {
                "A": labelled(one),
                "B": { "Type": "Parallel", "Branches": [{ "States": { "C": labelled(other) } }] },
            } })
        };
        assert_eq!(check_labels(&two("a", "b")), Ok(()));
        assert!(check_labels(&two("a", "a")).is_err());
        let mut nested = labelled("a");
        nested["ItemProcessor"]["States"] = json!({ "B": labelled("b") });
        assert!(check_labels(&json!({ "States": { "A": nested } })).is_err());
        assert_eq!(label("m", "s", &json!({})).len(), 32);
        assert_ne!(label("m", "s", &json!({})), label("m", "t", &json!({})));
    }
}
