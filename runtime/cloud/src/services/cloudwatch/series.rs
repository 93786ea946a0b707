//! Metrics and their datapoints on record: an hour of a metric is a row.
//!
//! Datapoints are kept by the second for three hours (those of high resolution), by the minute for
//! 15 days, by five minutes for 63 days and by the hour for 455 days, as in AWS; older ones go. So
//! what a metric takes is bounded, and [`METRICS_MAX`] bounds the metrics.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::points::Point;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::store::NotStored;

/// Metrics of an account, which AWS does not bound.
pub const METRICS_MAX: usize = 20_000;
/// Dimensions of a metric.
pub const DIMENSIONS_MAX: usize = 30;
/// Seconds of a row.
const HOUR: i64 = 3_600;
/// How often it is written down that a metric got a value.
const SEEN_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// How often datapoints are made coarser.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// From which age on, in seconds, datapoints are kept by how many seconds.
const COARSER: [(i64, u32); 3] = [(3 * HOUR, 60), (15 * 86_400, 300), (63 * 86_400, 3_600)];
/// Age at which datapoints go.
const OLDEST_SECS: i64 = 455 * 86_400;

/// A metric.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Metric {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its dimensions, in order of their names.
    pub dimensions: BTreeMap<String, String>,
}

impl Metric {
    /// Names its rows.
    pub fn id(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        hex::encode(&Sha256::digest(text)[..16])
    }
}

/// A metric on record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Known {
    /// The metric.
    pub metric: Metric,
    /// When it last got a value.
    pub last: Timestamp,
}

/// An hour of a metric.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Hour {
    /// Seconds that a datapoint stands for at least.
    pub resolution: u32,
    /// Datapoints by unit and second within the hour.
    pub units: BTreeMap<String, BTreeMap<u32, Point>>,
}

/// A value on its way into a metric.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The second of its time, already rounded to its resolution.
    pub at_secs: i64,
    /// What it is.
    pub point: Point,
    /// Its unit.
    pub unit: String,
}

/// Dimensions of a request; the error says what is wrong.
pub fn dimensions(given: &Value) -> Result<BTreeMap<String, String>, String> {
    let mut dimensions = BTreeMap::new();
    for dimension in given.as_array().into_iter().flatten() {
        let text = |name: &str| dimension[name].as_str().unwrap_or_default().to_owned();
        if dimensions.insert(text("Name"), text("Value")).is_some() {
            return Err("No Metric may specify the same dimension twice.".to_owned());
        }
    }
    if dimensions.len() > DIMENSIONS_MAX {
        return Err(format!("A metric has at most {DIMENSIONS_MAX} dimensions."));
    }
    Ok(dimensions)
}

fn row(id: &str, hour: i64) -> String {
    format!("{id}/{hour:010}")
}

/// Writes values of a metric.
pub fn put(cloud: &Cloud, metric: &Metric, values: &[Sample]) -> ApiResult<()> {
    let state = &cloud.services.cloudwatch;
    let (id, now) = (metric.id(), cloud.clock.now());
    let known = state.metrics.get(&id);
    if known.is_none() && state.metrics.len() >= METRICS_MAX {
        let words = format!("The embedded cloud keeps at most {METRICS_MAX} metrics.");
        return Err(ApiError::new("LimitExceeded", words));
    }
    let mut hours: BTreeMap<i64, Vec<&Sample>> = BTreeMap::new();
    for value in values {
        hours.entry(value.at_secs.div_euclid(HOUR)).or_default().push(value);
    }
    for (hour, values) in hours {
        let needed = resolution(now, hour);
        state.hours.replace(&row(&id, hour), |former| {
            let mut hour = former.cloned().unwrap_or_default();
            hour.resolution = hour.resolution.max(needed);
            for value in values {
                let second = value.at_secs.rem_euclid(HOUR) as u32;
                let second = second - second % hour.resolution.max(1);
                let points = hour.units.entry(value.unit.clone()).or_default();
                points.entry(second).or_default().add(&value.point);
            }
            Ok::<_, NotStored>(hour)
        })?;
    }
    // When a metric got a value is told by days; a minute more or less is not worth a write.
    let fresh = |known: &Known| now.duration_since(known.last) < SEEN_EVERY;
    if !known.as_deref().is_some_and(fresh) {
        state.metrics.put(&id, Known { metric: metric.clone(), last: now })?;
    }
    Ok(())
}

/// Shows the datapoints of a metric, by the seconds of their times, from `begin` up to `end`.
pub fn read(
    cloud: &Cloud,
    metric: &Metric,
    unit: Option<&str>,
    (begin, end): (i64, i64),
    mut each: impl FnMut(i64, &Point),
) {
    let id = metric.id();
    let before = row(&id, begin.div_euclid(HOUR) - 1);
    let prefix = format!("{id}/");
    cloud.services.cloudwatch.hours.scan(&prefix, Some(&before), |name, hour| {
        let number = name.rsplit('/').next().and_then(|hour| hour.parse::<i64>().ok());
        let start = number.unwrap_or_default() * HOUR;
        if start >= end {
            return ControlFlow::Break(());
        }
        for (_, points) in hour.units.iter().filter(|(u, _)| unit.is_none_or(|wanted| wanted == *u))
        {
            for (second, point) in points {
                let at = start + i64::from(*second);
                if (begin..end).contains(&at) {
                    each(at, point);
                }
            }
        }
        ControlFlow::Continue(())
    });
}

/// By how many seconds datapoints of an hour are kept.
fn resolution(now: Timestamp, hour: i64) -> u32 {
    let age = now.as_second() - (hour + 1) * HOUR;
    COARSER.iter().rev().find(|(from, _)| age >= *from).map_or(1, |(_, by)| *by)
}

/// Makes old datapoints coarser, and deletes the oldest, now and every hour.
pub async fn keep(cloud: Arc<Cloud>) {
    let mut last = None;
    loop {
        let (all, now) = (cloud.clone(), cloud.clock.now());
        let swept = tokio::task::spawn_blocking(move || sweep(&all, last, now)).await;
        let words =
            swept.map_err(|e| e.to_string()).and_then(|swept| swept.map_err(|e| e.to_string()));
        words.unwrap_or_else(|e| tracing::error!("old datapoints stay as they are: {e}"));
        last = Some(now);
        cloud.clock.sleep(SWEEP_EVERY).await;
    }
}

/// Looks at the rows whose resolution has changed since `last`, or at all.
fn sweep(cloud: &Cloud, last: Option<Timestamp>, now: Timestamp) -> Result<(), NotStored> {
    let state = &cloud.services.cloudwatch;
    for name in state.hours.names("") {
        let Some(hour) = name.rsplit('/').next().and_then(|hour| hour.parse::<i64>().ok()) else {
            continue;
        };
        let needed = resolution(now, hour);
        if now.as_second() - hour * HOUR > OLDEST_SECS {
            state.hours.remove(&name)?;
        } else if last.is_none_or(|last| resolution(last, hour) != needed)
            && state.hours.get(&name).is_some_and(|row| row.resolution < needed)
        {
            state.hours.update(&name, |row| row.coarsen(needed))?;
        }
    }
    for (id, known) in state.metrics.all() {
        if now.as_second() - known.last.as_second() > OLDEST_SECS {
            state.metrics.remove(&id)?;
        }
    }
    Ok(())
}

impl Hour {
    fn coarsen(&mut self, resolution: u32) {
        self.resolution = resolution;
        for points in self.units.values_mut() {
            for (second, point) in std::mem::take(points) {
                points.entry(second - second % resolution).or_default().add(&point);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datapoints_become_coarser_with_their_age() {
        let now = Timestamp::from_second(100_000 * HOUR).expect("a time");
        let by = |age_hours: i64| resolution(now, 100_000 - 1 - age_hours);
        assert_eq!([0, 2, 3, 15 * 24 - 1, 15 * 24, 63 * 24].map(by), [1, 1, 60, 60, 300, 3_600]);
        let mut hour = Hour::default();
        let points = hour.units.entry("None".to_owned()).or_default();
        for second in [0, 59, 60, 299, 300] {
            points.insert(second, Point::of(1.0, 1.0));
        }
        hour.coarsen(60);
        let counts =
            |hour: &Hour| hour.units["None"].iter().map(|(s, p)| (*s, p.count)).collect::<Vec<_>>();
        assert_eq!(counts(&hour), [(0, 2.0), (60, 1.0), (240, 1.0), (300, 1.0)]);
        hour.coarsen(300);
        assert_eq!(counts(&hour), [(0, 4.0), (300, 1.0)]);
    }
}
