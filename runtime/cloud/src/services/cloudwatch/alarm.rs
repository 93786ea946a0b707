//! Alarms on single metrics: their settings and their state.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::data::{check_period, described_dimensions, moment, statistic};
use super::evaluation::{Comparison, MORE_PERIODS, Missing, Rule, State};
use super::points::Statistic;
use super::series::{self, Metric};
use crate::kernel::bus;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};

/// Actions for one state.
const ACTIONS_MAX: usize = 5;
/// Seconds that an alarm looks back: a day, a week when a period has an hour.
const LOOKS_BACK: (i64, i64) = (86_400, 7 * 86_400);

/// An alarm.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Alarm {
    /// What it means.
    pub description: Option<String>,
    /// The metric.
    pub metric: Metric,
    /// Statistic, also an extended one: `Sum`, `p99`.
    pub statistic: String,
    /// Length of a period.
    pub period_secs: i64,
    /// The only unit that counts.
    pub unit: Option<String>,
    /// Periods that are evaluated.
    pub periods: usize,
    /// Of which so many have to breach; all, when it was not said.
    pub to_alarm: Option<usize>,
    /// How datapoints are compared.
    pub comparison: Comparison,
    /// With what.
    pub threshold: f64,
    /// What missing datapoints are treated as, if it was said.
    pub missing: Option<Missing>,
    /// Whether actions are taken.
    pub actions_enabled: bool,
    /// Actions by the state that begins.
    pub actions: BTreeMap<String, Vec<String>>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When its settings changed.
    pub configured: Timestamp,
    /// Its state, since when, and why.
    pub state: Stated,
}

/// A state of an alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stated {
    /// The state.
    pub value: State,
    /// When it was told last.
    pub updated: Timestamp,
    /// Since when it is this one.
    pub since: Timestamp,
    /// Why.
    pub reason: String,
    /// Why, in JSON.
    pub data: Option<String>,
}

impl Stated {
    fn first(now: Timestamp) -> Self {
        let reason = "Unchecked: Initial alarm creation".to_owned();
        Self { value: State::InsufficientData, updated: now, since: now, reason, data: None }
    }
}

/// The member with the actions of a state.
fn actions_member(state: State) -> &'static str {
    match state {
        State::Ok => "OKActions",
        State::Alarm => "AlarmActions",
        State::InsufficientData => "InsufficientDataActions",
    }
}

const STATES: [State; 3] = [State::Ok, State::Alarm, State::InsufficientData];

fn wrong(words: impl Into<String>) -> ApiError {
    ApiError::validation(words)
}

/// An alarm out of the parameters of `PutMetricAlarm`, which are the properties of
/// `AWS::CloudWatch::Alarm`, too. What is not said is AWS's default.
pub fn from_properties(cloud: &Cloud, properties: &Value) -> ApiResult<Alarm> {
    let text = |name: &str| properties[name].as_str().filter(|text| !text.is_empty());
    let number = |name: &str| {
        let value = &properties[name];
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    };
    let needed = |name: &str| text(name).ok_or_else(|| wrong(format!("{name} is required.")));
    let needed_number =
        |name: &str| number(name).ok_or_else(|| wrong(format!("{name} is required.")));
    let named = match (text("Statistic"), text("ExtendedStatistic")) {
        (Some(one), None) | (None, Some(one)) => one,
        _ => {
            return Err(wrong("Exactly one of Statistic and ExtendedStatistic must be specified."));
        }
    };
    let is_percentile = matches!(statistic(named)?, Statistic::Percentile(_));
    if is_percentile != text("Statistic").is_none() {
        return Err(wrong(format!("{named} is not a value of this member.")));
    }
    let period_secs = needed_number("Period")? as i64;
    check_period(period_secs)?;
    if period_secs < 10 {
        return Err(wrong("Period must be 10, 20, 30 or a multiple of 60."));
    }
    let periods = needed_number("EvaluationPeriods")? as i64;
    let longest = if period_secs >= 3_600 { LOOKS_BACK.1 } else { LOOKS_BACK.0 };
    if periods < 1 || periods.saturating_mul(period_secs) > longest {
        return Err(wrong(format!(
            "Metrics cannot be checked across more than {longest} seconds (EvaluationPeriods * \
             Period must be <= {longest})."
        )));
    }
    let to_alarm = number("DatapointsToAlarm").map(|count| count as i64);
    if to_alarm.is_some_and(|count| !(1..=periods).contains(&count)) {
        return Err(wrong("DatapointsToAlarm must be from 1 to EvaluationPeriods."));
    }
    if text("EvaluateLowSampleCountPercentile").is_some_and(|how| how != "evaluate") {
        let member = "EvaluateLowSampleCountPercentile";
        return Err(ApiError::unknown_parameter(member, "cloudwatch:PutMetricAlarm"));
    }
    let now = cloud.clock.now();
    Ok(Alarm {
        description: text("AlarmDescription").map(str::to_owned),
        metric: Metric {
            namespace: needed("Namespace")?.to_owned(),
            name: needed("MetricName")?.to_owned(),
            dimensions: series::dimensions(&properties["Dimensions"]).map_err(wrong)?,
        },
        statistic: named.to_owned(),
        period_secs,
        unit: text("Unit").map(str::to_owned),
        periods: periods as usize,
        to_alarm: to_alarm.map(|count| count as usize),
        comparison: comparison(needed("ComparisonOperator")?)?,
        threshold: needed_number("Threshold")?,
        missing: text("TreatMissingData").map(missing).transpose()?,
        actions_enabled: properties["ActionsEnabled"] != false
            && properties["ActionsEnabled"] != "false",
        actions: actions(properties)?,
        tags: tags(&properties["Tags"])?,
        configured: now,
        state: Stated::first(now),
    })
}

fn comparison(name: &str) -> ApiResult<Comparison> {
    serde_json::from_value(json!(name)).map_err(|_| {
        let member = format!("ComparisonOperator={name}");
        ApiError::unknown_parameter(&member, "cloudwatch:PutMetricAlarm")
    })
}

fn missing(name: &str) -> ApiResult<Missing> {
    let words = "TreatMissingData must be breaching, notBreaching, ignore or missing.";
    serde_json::from_value(json!(name)).map_err(|_| wrong(words))
}

fn actions(properties: &Value) -> ApiResult<BTreeMap<String, Vec<String>>> {
    let mut all = BTreeMap::new();
    for state in STATES {
        let member = actions_member(state);
        let given = properties[member].as_array().into_iter().flatten();
        let arns: Vec<String> = given.filter_map(Value::as_str).map(str::to_owned).collect();
        if arns.len() > ACTIONS_MAX {
            return Err(wrong(format!("{member} has at most {ACTIONS_MAX} actions.")));
        }
        for arn in &arns {
            if !arn.starts_with("arn:aws:sns:") && bus::check(arn).is_err() {
                let words = format!("The embedded cloud does not implement the action {arn}.");
                return Err(ApiError::new("NotImplemented", words).with_status(501));
            }
        }
        all.insert(state.word().to_owned(), arns);
    }
    Ok(all)
}

/// Tags of a request.
pub fn tags(given: &Value) -> ApiResult<BTreeMap<String, String>> {
    const TAGS_MAX: usize = 50;
    let given = given.as_array().into_iter().flatten();
    let tag =
        |tag: &Value| Some((tag["Key"].as_str()?.to_owned(), tag["Value"].as_str()?.to_owned()));
    let tags: BTreeMap<String, String> = given.filter_map(tag).collect();
    match tags.len() > TAGS_MAX {
        true => Err(wrong(format!("An alarm has at most {TAGS_MAX} tags."))),
        false => Ok(tags),
    }
}

impl Alarm {
    /// How it judges.
    pub fn rule(&self) -> Rule {
        Rule {
            periods: self.periods,
            to_alarm: self.to_alarm.unwrap_or(self.periods),
            comparison: self.comparison,
            threshold: self.threshold,
            missing: self.missing.unwrap_or_default(),
        }
    }

    /// The datapoints of its last periods, the newest first, when the last one ends at `end`.
    pub fn datapoints(&self, cloud: &Cloud, end: i64) -> Vec<Option<f64>> {
        let count = self.periods + MORE_PERIODS;
        let mut points = vec![super::points::Point::default(); count];
        let begin = end - self.period_secs * count as i64;
        series::read(cloud, &self.metric, self.unit.as_deref(), (begin, end), |at, point| {
            let index = (end - 1 - at) / self.period_secs;
            points[index as usize].add(point);
        });
        let statistic = Statistic::named(&self.statistic);
        let value = |point: &super::points::Point| {
            statistic.filter(|_| point.count > 0.0).and_then(|s| point.statistic(s))
        };
        points.iter().map(value).collect()
    }

    /// The actions of a state.
    pub fn actions_for(&self, state: State) -> &[String] {
        self.actions.get(state.word()).map(Vec::as_slice).unwrap_or_default()
    }

    /// It in AWS's form.
    pub fn describe(&self, cloud: &Cloud, name: &str) -> Value {
        let mut out = json!({
            "AlarmName": name, "AlarmArn": super::alarm_arn(cloud, name),
            "AlarmDescription": self.description, "ActionsEnabled": self.actions_enabled,
            "StateValue": self.state.value.word(), "StateReason": self.state.reason,
            "StateReasonData": self.state.data,
            "StateUpdatedTimestamp": moment(self.state.updated),
            "StateTransitionedTimestamp": moment(self.state.since),
            "AlarmConfigurationUpdatedTimestamp": moment(self.configured),
            "MetricName": self.metric.name, "Namespace": self.metric.namespace,
            "Dimensions": described_dimensions(&self.metric.dimensions),
            "Period": self.period_secs, "Unit": self.unit, "EvaluationPeriods": self.periods,
            "DatapointsToAlarm": self.to_alarm, "Threshold": self.threshold,
            "ComparisonOperator": self.comparison, "TreatMissingData": self.missing,
        });
        let kind = if self.is_extended() { "ExtendedStatistic" } else { "Statistic" };
        out[kind] = self.statistic.clone().into();
        for state in STATES {
            out[actions_member(state)] = self.actions_for(state).into();
        }
        out
    }

    fn is_extended(&self) -> bool {
        matches!(Statistic::named(&self.statistic), Some(Statistic::Percentile(_)))
    }

    /// The properties that it has as a resource of CloudFormation.
    pub fn properties(&self, name: &str) -> Value {
        let kind = if self.is_extended() { "ExtendedStatistic" } else { "Statistic" };
        let mut out = json!({
            "AlarmName": name, "ActionsEnabled": self.actions_enabled,
            "Namespace": self.metric.namespace, "MetricName": self.metric.name,
            "Dimensions": described_dimensions(&self.metric.dimensions),
            (kind): self.statistic, "Period": self.period_secs,
            "EvaluationPeriods": self.periods, "Threshold": self.threshold,
            "ComparisonOperator": self.comparison,
            "TreatMissingData": self.missing.unwrap_or_default(),
        });
        if let Some(description) = &self.description {
            out["AlarmDescription"] = description.clone().into();
        }
        if let Some(count) = self.to_alarm {
            out["DatapointsToAlarm"] = count.into();
        }
        if let Some(unit) = &self.unit {
            out["Unit"] = unit.clone().into();
        }
        for state in STATES {
            out[actions_member(state)] = self.actions_for(state).into();
        }
        out
    }
}
