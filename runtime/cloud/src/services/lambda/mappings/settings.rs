//! Settings of event source mappings: what they may be, and their defaults.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-parameters.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html>

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::filter;
use crate::kernel::error::ApiResult;
use crate::services::lambda::function::invalid;

/// Filters of one mapping.
const FILTERS_MAX: usize = 5;

/// What a mapping reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A queue.
    Queue,
    /// A FIFO queue.
    Fifo,
    /// A Kinesis stream.
    Stream,
    /// A stream of a table.
    Table,
}

impl Kind {
    /// Whether it is read in shards.
    pub fn has_shards(self) -> bool {
        matches!(self, Self::Stream | Self::Table)
    }
}

/// Settings, with AWS's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Records of one batch.
    pub batch: u64,
    /// Seconds in which a batch is gathered.
    pub window_secs: u64,
    /// Whether a batch that failed is divided.
    pub bisects: bool,
    /// Attempts after the first; for ever without.
    pub retries_max: Option<u64>,
    /// Seconds after which a record is given up; never without.
    pub age_secs_max: Option<u64>,
    /// Batches of one shard at a time.
    pub lanes: u32,
    /// Whether the function says which records failed.
    pub reports: bool,
    /// Where goes what is given up.
    pub on_failure: Option<String>,
    /// Patterns of the records that the function gets; all without.
    pub filters: Option<Vec<String>>,
    /// Batches of a queue at a time.
    pub concurrency: Option<u64>,
}

impl Settings {
    /// Without anything being said.
    pub fn of(kind: Kind) -> Self {
        Self {
            batch: if kind.has_shards() { 100 } else { 10 },
            window_secs: 0,
            bisects: false,
            retries_max: None,
            age_secs_max: None,
            lanes: 1,
            reports: false,
            on_failure: None,
            filters: None,
            concurrency: None,
        }
    }

    /// Takes over what a request says.
    pub fn apply(&mut self, kind: Kind, p: &Value) -> ApiResult<()> {
        check_members(kind, p)?;
        let number = |name: &str| p[name].as_u64();
        self.batch = number("BatchSize").unwrap_or(self.batch);
        let window = number("MaximumBatchingWindowInSeconds");
        self.window_secs = window.unwrap_or(self.window_secs);
        self.bisects = p["BisectBatchOnFunctionError"].as_bool().unwrap_or(self.bisects);
        self.lanes = number("ParallelizationFactor").map_or(self.lanes, |lanes| lanes as u32);
        // -1 is for ever.
        let bounded = |name: &str, former| match &p[name] {
            Value::Null => former,
            given => given.as_u64(),
        };
        self.retries_max = bounded("MaximumRetryAttempts", self.retries_max);
        self.age_secs_max = bounded("MaximumRecordAgeInSeconds", self.age_secs_max);
        if let Some(types) = p["FunctionResponseTypes"].as_array() {
            self.reports = !types.is_empty();
        }
        if !p["DestinationConfig"].is_null() {
            let arn = p["DestinationConfig"]["OnFailure"]["Destination"].as_str();
            self.on_failure = arn.filter(|arn| !arn.is_empty()).map(str::to_owned);
        }
        if !p["FilterCriteria"].is_null() {
            self.filters = filters(&p["FilterCriteria"])?;
        }
        if !p["ScalingConfig"].is_null() {
            self.concurrency = p["ScalingConfig"]["MaximumConcurrency"].as_u64();
        }
        self.check(kind)
    }

    fn check(&self, kind: Kind) -> ApiResult<()> {
        if !kind.has_shards() && self.batch > 10 && self.window_secs == 0 {
            return Err(invalid(
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is \
                 greater than 10",
            ));
        }
        if kind == Kind::Fifo && self.window_secs > 0 {
            return Err(invalid("Batching window is not supported for FIFO queues"));
        }
        if self.age_secs_max.is_some_and(|secs| secs < 60) {
            return Err(invalid(
                "MaximumRecordAgeInSeconds must be -1 or at least 60 for stream mappings.",
            ));
        }
        Ok(())
    }

    /// How old a record may be.
    pub fn age_max(&self) -> Option<SignedDuration> {
        self.age_secs_max.map(|secs| SignedDuration::from_secs(secs as i64))
    }

    /// As the API shows them.
    pub fn describe(&self, kind: Kind) -> Value {
        let types: &[&str] = if self.reports { &["ReportBatchItemFailures"] } else { &[] };
        let mut shown = json!({
            "BatchSize": self.batch, "MaximumBatchingWindowInSeconds": self.window_secs,
            "FunctionResponseTypes": types,
        });
        let filter = |pattern: &String| json!({ "Pattern": pattern });
        if let Some(filters) = &self.filters {
            let filters: Vec<Value> = filters.iter().map(filter).collect();
            shown["FilterCriteria"] = json!({ "Filters": filters });
        }
        if let Some(most) = self.concurrency {
            shown["ScalingConfig"] = json!({ "MaximumConcurrency": most });
        }
        if kind.has_shards() {
            let or_ever = |number: Option<u64>| number.map_or(-1, |number| number as i64);
            let to = self.on_failure.as_ref();
            let to = to.map_or_else(Map::new, |arn| {
                Map::from_iter([("Destination".into(), arn.clone().into())])
            });
            shown["BisectBatchOnFunctionError"] = self.bisects.into();
            shown["MaximumRetryAttempts"] = or_ever(self.retries_max).into();
            shown["MaximumRecordAgeInSeconds"] = or_ever(self.age_secs_max).into();
            shown["ParallelizationFactor"] = self.lanes.into();
            shown["TumblingWindowInSeconds"] = 0.into();
            shown["DestinationConfig"] = json!({ "OnFailure": to });
        }
        shown
    }
}

/// Refuses what a kind of source has not.
fn check_members(kind: Kind, p: &Value) -> ApiResult<()> {
    if !p["DestinationConfig"]["OnSuccess"].is_null() {
        let words = "Unsupported DestinationConfig parameter for given event source mapping type.";
        return Err(invalid(words));
    }
    let of_streams = [
        "StartingPosition",
        "StartingPositionTimestamp",
        "DestinationConfig",
        "BisectBatchOnFunctionError",
        "MaximumRecordAgeInSeconds",
        "MaximumRetryAttempts",
        "ParallelizationFactor",
    ];
    let (of_others, source) = match kind {
        Kind::Stream => (&["ScalingConfig"][..], "Kinesis"),
        Kind::Table => (&["ScalingConfig"][..], "DynamoDB"),
        Kind::Queue | Kind::Fifo => (&of_streams[..], "SQS"),
    };
    match of_others.iter().find(|name| !p[**name].is_null()) {
        Some(name) => Err(invalid(format!("{name} is not valid for {source} event sources."))),
        None => Ok(()),
    }
}

fn filters(criteria: &Value) -> ApiResult<Option<Vec<String>>> {
    let given = criteria["Filters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if given.len() > FILTERS_MAX {
        return Err(invalid(format!("Filter criteria can have at most {FILTERS_MAX} filters.")));
    }
    let mut patterns = Vec::new();
    for filter in given {
        let pattern = filter["Pattern"].as_str().unwrap_or_default();
        filter::check(pattern).map_err(|why| {
            tracing::debug!("a filter is refused: {why}");
            invalid("Invalid filter pattern definition.")
        })?;
        patterns.push(pattern.to_owned());
    }
    Ok((!patterns.is_empty()).then_some(patterns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(kind: Kind, p: Value) -> String {
        let applied = Settings::of(kind).apply(kind, &p);
        applied.map_or_else(|error| error.message, |()| "taken".to_owned())
    }

    #[test]
    fn what_a_source_has_not_is_refused() {
        let five: Vec<Value> = vec![json!({ "Pattern": "{\"a\":[1]}" }); 5];
        let six: Vec<Value> = [&five[..], &five[..1]].concat();
        for (kind, p, expected) in [
            (Kind::Queue, json!({ "BatchSize": 11 }), "must be greater than 0"),
            (Kind::Queue, json!({ "BatchSize": 11, "MaximumBatchingWindowInSeconds": 1 }), "taken"),
            (Kind::Fifo, json!({ "MaximumBatchingWindowInSeconds": 1 }), "FIFO"),
            (Kind::Queue, json!({ "StartingPosition": "LATEST" }), "not valid for SQS"),
            (Kind::Queue, json!({ "BisectBatchOnFunctionError": true }), "not valid for SQS"),
            (Kind::Stream, json!({ "ScalingConfig": { "MaximumConcurrency": 2 } }), "Kinesis"),
            (Kind::Stream, json!({ "MaximumRecordAgeInSeconds": 59 }), "at least 60"),
            (Kind::Stream, json!({ "MaximumRecordAgeInSeconds": -1 }), "taken"),
            (Kind::Stream, json!({ "DestinationConfig": { "OnSuccess": {} } }), "Unsupported"),
            (Kind::Stream, json!({ "FilterCriteria": { "Filters": five } }), "taken"),
            (Kind::Stream, json!({ "FilterCriteria": { "Filters": six } }), "at most 5"),
            (
                Kind::Stream,
                json!({ "FilterCriteria": { "Filters": [{ "Pattern": "{" }] } }),
                "Invalid filter pattern definition.",
            ),
        ] {
            let refusal = refusal(kind, p);
            assert!(refusal.contains(expected), "{refusal} is not {expected}");
        }
    }

    #[test]
    fn minus_one_is_for_ever_and_is_shown() {
        let mut settings = Settings::of(Kind::Stream);
        let p = json!({ "MaximumRetryAttempts": 3, "MaximumRecordAgeInSeconds": 60 });
        settings.apply(Kind::Stream, &p).expect("taken");
        assert_eq!((settings.retries_max, settings.age_secs_max), (Some(3), Some(60)));
        settings.apply(Kind::Stream, &json!({ "MaximumRetryAttempts": -1 })).expect("taken");
        let shown = settings.describe(Kind::Stream);
        assert_eq!(
            (&shown["MaximumRetryAttempts"], &shown["MaximumRecordAgeInSeconds"]),
            (&json!(-1), &json!(60))
        );
    }
}
