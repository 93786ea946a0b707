//! Values in, statistics out.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::points::{Point, Statistic};
use super::series::{self, Metric, Sample, dimensions};
use super::watch;
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;

/// Values in one `PutMetricData`.
const DATA_MAX: usize = 1_000;
/// Different values in one of them.
const VALUES_MAX: usize = 150;
/// Largest value, either way.
const VALUE_MAX: f64 = 2.348_542_582_773_833e108;
/// How old a value may be, and how far ahead.
const TIMES: (SignedDuration, SignedDuration) =
    (SignedDuration::from_hours(14 * 24), SignedDuration::from_hours(2));
/// Datapoints in one `GetMetricStatistics`.
const STATISTICS_MAX: i64 = 1_440;
/// Datapoints in one `GetMetricData`.
const MAX_DATAPOINTS: i64 = 100_800;
/// How long a metric without new values is listed.
const LISTED: SignedDuration = SignedDuration::from_hours(14 * 24);

fn invalid(words: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValue", words)
}

/// `PutMetricData`.
pub async fn put(call: &Call<'_>) -> ApiResult {
    let namespace = call.required("Namespace")?;
    let condition = [("cloudwatch:namespace", namespace.to_owned())];
    call.cloud.authorize(call.caller, &call.action(), "*", &condition)?;
    if namespace.starts_with("AWS/") || namespace.starts_with(':') {
        return Err(invalid(format!("The value {namespace} for parameter Namespace is invalid.")));
    }
    let data = call.params["MetricData"].as_array().map(Vec::as_slice).unwrap_or_default();
    if data.len() > DATA_MAX {
        let words =
            format!("The collection MetricData must not have a size greater than {DATA_MAX}.");
        return Err(ApiError::validation(words));
    }
    let now = call.cloud.clock.now();
    let mut metrics: BTreeMap<Metric, Vec<Sample>> = BTreeMap::new();
    for datum in data {
        let (metric, samples) = datum_of(namespace, datum, now)?;
        metrics.entry(metric).or_default().extend(samples);
    }
    let cloud = call.cloud.clone();
    let work = tokio::task::spawn_blocking(move || {
        for (metric, samples) in &metrics {
            series::put(&cloud, metric, samples)?;
            watch::told(&cloud, metric);
        }
        Ok::<_, ApiError>(())
    });
    work.await.map_err(ApiError::internal)??;
    Ok(json!({}))
}

/// A datum as samples of its metric.
fn datum_of(namespace: &str, datum: &Value, now: Timestamp) -> ApiResult<(Metric, Vec<Sample>)> {
    let name = datum["MetricName"].as_str().unwrap_or_default().to_owned();
    let dimensions = dimensions(&datum["Dimensions"]).map_err(invalid)?;
    let metric = Metric { namespace: namespace.to_owned(), name, dimensions };
    let time = match datum["Timestamp"].as_f64() {
        None => now,
        Some(secs) => Timestamp::from_millisecond((secs * 1_000.0) as i64)
            .map_err(|_| invalid("Timestamp is no time."))?,
    };
    let (old, ahead) = (now.checked_sub(TIMES.0), now.checked_add(TIMES.1));
    if old.is_ok_and(|old| time < old) || ahead.is_ok_and(|ahead| time > ahead) {
        return Err(invalid(format!(
            "The parameter MetricData.member.1.Timestamp must specify a time within the past two \
             weeks and not more than two hours in the future; it is {time}."
        )));
    }
    let resolution = match datum["StorageResolution"].as_u64() {
        Some(1) => 1,
        None | Some(60) => 60,
        Some(_) => return Err(invalid("StorageResolution must be 1 or 60.")),
    };
    let at_secs = time.as_second() - time.as_second().rem_euclid(resolution);
    let unit = datum["Unit"].as_str().unwrap_or("None").to_owned();
    let sample = |point| Sample { at_secs, point, unit: unit.clone() };
    Ok((metric, points_of(datum)?.into_iter().map(sample).collect()))
}

fn points_of(datum: &Value) -> ApiResult<Vec<Point>> {
    let number = |value: &Value| {
        let number = value.as_f64().filter(|number| number.abs() <= VALUE_MAX);
        number.ok_or_else(|| invalid("A value must be a number from -2^360 to 2^360."))
    };
    let (one, many, set) = (&datum["Value"], &datum["Values"], &datum["StatisticValues"]);
    if [one, many, set].iter().filter(|given| !given.is_null()).count() != 1 {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            "A datum has exactly one of Value, Values and StatisticValues.",
        ));
    }
    if !one.is_null() {
        return Ok(vec![Point::of(number(one)?, 1.0)]);
    }
    if !set.is_null() {
        let member = |name: &str| number(&set[name]);
        let (count, sum) = (member("SampleCount")?, member("Sum")?);
        let (least, most) = (member("Minimum")?, member("Maximum")?);
        if count <= 0.0 || least > most {
            return Err(invalid("StatisticValues has no values, or a minimum above its maximum."));
        }
        return Ok(vec![Point::of_set(count, sum, least, most)]);
    }
    let values = many.as_array().map(Vec::as_slice).unwrap_or_default();
    let counts = datum["Counts"].as_array();
    if values.is_empty() || values.len() > VALUES_MAX {
        return Err(invalid(format!("Values has 1 to {VALUES_MAX} values.")));
    }
    if counts.is_some_and(|counts| counts.len() != values.len()) {
        return Err(invalid("Counts has as many members as Values."));
    }
    let count = |index: usize| counts.map_or(Ok(1.0), |counts| number(&counts[index]));
    let point = |(index, value)| Ok(Point::of(number(value)?, count(index)?));
    values.iter().enumerate().map(point).collect()
}

/// Whether something may be a period.
pub fn check_period(secs: i64) -> ApiResult<()> {
    if matches!(secs, 1 | 5 | 10 | 20 | 30) || (secs > 0 && secs % 60 == 0) {
        return Ok(());
    }
    let words = format!("Period must be 1, 5, 10, 20, 30 or a multiple of 60, and not {secs}.");
    Err(invalid(words))
}

/// The statistics of periods that begin at multiples of the period.
fn periods(
    cloud: &Cloud,
    metric: &Metric,
    unit: Option<&str>,
    (begin, end): (i64, i64),
    period: i64,
) -> BTreeMap<i64, Point> {
    let begin = begin - begin.rem_euclid(period);
    let mut found: BTreeMap<i64, Point> = BTreeMap::new();
    series::read(cloud, metric, unit, (begin, end), |at, point| {
        found.entry(at - at.rem_euclid(period)).or_default().add(point);
    });
    found
}

/// Begin and end of a question, in seconds.
fn range(params: &Value) -> ApiResult<(i64, i64)> {
    let secs = |name: &str| params[name].as_f64().unwrap_or_default();
    let (begin, end) = (secs("StartTime").floor() as i64, secs("EndTime").ceil() as i64);
    if begin >= end {
        return Err(invalid("The parameter StartTime must be less than the parameter EndTime."));
    }
    Ok((begin, end))
}

/// `GetMetricStatistics`.
pub fn statistics(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    call.authorize("*")?;
    let (begin, end) = range(params)?;
    let period = params["Period"].as_i64().unwrap_or_default();
    check_period(period)?;
    let wanted = (end - begin) / period;
    if wanted > STATISTICS_MAX {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            format!(
                "You have requested up to {wanted} datapoints, which exceeds the limit of \
             {STATISTICS_MAX}. You may reduce the datapoints requested by increasing Period, or \
             decreasing the time range."
            ),
        ));
    }
    let texts = |name: &str| {
        params[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>()
    };
    let (plain, extended) = (texts("Statistics"), texts("ExtendedStatistics"));
    if plain.is_empty() && extended.is_empty() {
        let words = "At least one of the parameters Statistics and ExtendedStatistics must be \
                     specified.";
        return Err(ApiError::new("MissingParameter", words));
    }
    let extended = extended
        .into_iter()
        .map(|name| Ok((name, statistic(name)?)))
        .collect::<ApiResult<Vec<_>>>()?;
    let metric = Metric {
        namespace: call.required("Namespace")?.to_owned(),
        name: call.required("MetricName")?.to_owned(),
        dimensions: dimensions(&params["Dimensions"]).map_err(invalid)?,
    };
    let unit = call.text("Unit");
    let found = periods(cloud, &metric, unit, (begin, end), period);
    let describe = |(at, point): (i64, Point)| {
        let mut out = json!({ "Timestamp": at, "Unit": unit.unwrap_or("None") });
        for name in &plain {
            out[*name] = json!(Statistic::named(name).and_then(|s| point.statistic(s)));
        }
        let known = extended.iter().filter_map(|(name, statistic)| {
            Some(((*name).to_owned(), json!(point.statistic(*statistic)?)))
        });
        let known: serde_json::Map<String, Value> = known.collect();
        if !known.is_empty() {
            out["ExtendedStatistics"] = known.into();
        }
        out
    };
    let points: Vec<Value> = found.into_iter().map(describe).collect();
    Ok(json!({ "Label": metric.name, "Datapoints": points }))
}

/// A statistic by its name; those that are not here are refused by it.
pub fn statistic(name: &str) -> ApiResult<Statistic> {
    Statistic::named(name).ok_or_else(|| {
        let words = format!("The embedded cloud does not implement the statistic {name}.");
        ApiError::new("NotImplemented", words).with_status(501)
    })
}

/// `GetMetricData`: metrics, without mathematics.
pub fn get(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    call.authorize("*")?;
    let (begin, end) = range(params)?;
    let queries = params["MetricDataQueries"].as_array().into_iter().flatten();
    let ascending = call.text("ScanBy") == Some("TimestampAscending");
    let (mut results, mut ids, mut total) = (Vec::new(), Vec::new(), 0);
    for query in queries {
        let id = query["Id"].as_str().unwrap_or_default();
        if ids.contains(&id) {
            return Err(ApiError::validation(format!("The value {id} of Id is not unique.")));
        }
        ids.push(id);
        let about = &query["MetricStat"];
        if about.is_null() {
            let member = "MetricDataQueries.Expression";
            return Err(ApiError::unknown_parameter(member, "cloudwatch:GetMetricData"));
        }
        let period = about["Period"].as_i64().unwrap_or_default();
        check_period(period)?;
        total += (end - begin) / period;
        if total > MAX_DATAPOINTS {
            let words = format!("The request asks for more than {MAX_DATAPOINTS} datapoints.");
            return Err(ApiError::validation(words));
        }
        if query["ReturnData"] == false {
            continue;
        }
        let stat = statistic(about["Stat"].as_str().unwrap_or_default())?;
        let text = |name: &str| about["Metric"][name].as_str().unwrap_or_default().to_owned();
        let metric = Metric {
            namespace: text("Namespace"),
            name: text("MetricName"),
            dimensions: dimensions(&about["Metric"]["Dimensions"]).map_err(invalid)?,
        };
        let found = periods(cloud, &metric, about["Unit"].as_str(), (begin, end), period);
        let known = found.iter().filter_map(|(at, point)| Some((*at, point.statistic(stat)?)));
        let mut known: Vec<(i64, f64)> = known.collect();
        if !ascending {
            known.reverse();
        }
        let (times, values): (Vec<i64>, Vec<f64>) = known.into_iter().unzip();
        let label = query["Label"].as_str().unwrap_or(&metric.name);
        results.push(json!({
            "Id": id, "Label": label, "Timestamps": times, "Values": values,
            "StatusCode": "Complete",
        }));
    }
    Ok(json!({ "MetricDataResults": results, "Messages": [] }))
}

/// `ListMetrics`.
pub fn list(call: &Call<'_>) -> ApiResult {
    const PAGES: Pages = Pages::of("", "NextToken", 500).refusing("InvalidParameterValue");
    let Call { cloud, params, .. } = *call;
    call.authorize("*")?;
    let recent = match call.text("RecentlyActive") {
        Some(_) => SignedDuration::from_hours(3),
        None => LISTED,
    };
    let since = cloud.clock.now().checked_sub(recent).unwrap_or(Timestamp::MIN);
    let filters = params["Dimensions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let admitted = |metric: &Metric| {
        let text = |name: &str, own: &str| call.text(name).is_none_or(|given| given == own);
        let dimension = |filter: &Value| {
            let own = metric.dimensions.get(filter["Name"].as_str().unwrap_or_default());
            own.is_some_and(|own| filter["Value"].as_str().is_none_or(|value| value == own))
        };
        text("Namespace", &metric.namespace)
            && text("MetricName", &metric.name)
            && filters.iter().all(dimension)
    };
    let all = cloud.services.cloudwatch.metrics.all();
    let mut found: Vec<&Metric> = all
        .iter()
        .filter(|(_, known)| known.last >= since && admitted(&known.metric))
        .map(|(_, known)| &known.metric)
        .collect();
    found.sort();
    PAGES.answer(params, "Metrics", found.into_iter().map(describe).collect())
}

/// A metric in AWS's form.
fn describe(metric: &Metric) -> Value {
    json!({
        "Namespace": metric.namespace, "MetricName": metric.name,
        "Dimensions": described_dimensions(&metric.dimensions),
    })
}

/// Dimensions in AWS's form.
pub fn described_dimensions(dimensions: &BTreeMap<String, String>) -> Vec<Value> {
    dimensions.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect()
}

/// A moment in AWS's form.
pub fn moment(time: Timestamp) -> Value {
    epoch_secs(time).into()
}
