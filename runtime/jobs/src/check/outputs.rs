//! The forecasts of an execution as they lie in S3: one per series, whole, and by the right model.
//!
//! There is no bound by the history: what is far from it may be right, and the intervals are
//! bounded where they are made.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use jiff::SignedDuration;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStoreExt};
use steppe_store::{Bucket, BucketError, unnameable};
use steppe_wire::failure::Failure;
use steppe_wire::hint::Hinted;
use steppe_wire::keys;
use steppe_wire::predict::StoredPrediction;

use super::Asked;

/// Objects that were written so long before the execution began are looked at, too: the clocks of
/// two services differ.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(15);
/// Largest object that is read; the predictor's are a quarter of it.
const OBJECT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Objects read at once.
const READS: usize = 8;

/// The forecasts that were seen.
#[derive(Debug, Default)]
struct Seen {
    series: BTreeSet<String>,
    defects: Vec<Hinted>,
}

/// What is wrong with the forecasts of an execution.
pub async fn check(data: &Bucket, asked: &Asked) -> Result<Vec<Hinted>, Failure> {
    let failed = |e: Error| Failure::from(BucketError::of(keys::PREDICTIONS_PREFIX, e));
    let since = (asked.started - CLOCKS_DIFFER).as_second();
    let recent = move |object: &ObjectMeta| {
        let (key, size) = (object.location.as_ref(), object.size);
        let is_new = object.last_modified.timestamp() >= since;
        is_new && key.ends_with(".json") && (1..=OBJECT_BYTES_MAX).contains(&size)
    };
    let listed = data.list(Some(&Path::from(keys::PREDICTIONS_PREFIX)));
    // The predictor writes no key that cannot be named.
    let named = listed.filter(|entry| {
        let odd = entry.as_ref().is_err_and(|error| unnameable(error).is_some());
        std::future::ready(!odd)
    });
    let read = |path: Path| async move {
        let bytes = data.get(&path).await?.bytes().await?;
        Ok((path, bytes))
    };
    let paths = named.try_filter_map(|object| {
        std::future::ready(Ok(recent(&object).then_some(object.location)))
    });
    let mut objects = paths.map_ok(read).try_buffer_unordered(READS);
    let mut seen = Seen::default();
    while let Some((path, bytes)) = objects.try_next().await.map_err(failed)? {
        for line in bytes.split(|byte| *byte == b'\n') {
            seen.add(path.as_ref(), &String::from_utf8_lossy(line), asked);
        }
    }
    let (forecast, Asked { all, absent, .. }) = (seen.series.len(), asked);
    if forecast + absent != *all {
        seen.defects.push(Hinted::new(
            format!("{forecast} series have a forecast in S3 and {absent} are left out, of {all}"),
            "`cargo xtask logs server` tells what the model server was asked",
        ));
    }
    Ok(seen.defects)
}

impl Seen {
    /// Looks at a line of an object, if it is of the execution.
    fn add(&mut self, key: &str, line: &str, asked: &Asked) {
        if !line.contains(&asked.execution) {
            return;
        }
        let parsed = serde_json::from_str::<StoredPrediction>(line);
        let forecast = match parsed {
            Ok(forecast) => forecast,
            Err(error) => {
                self.defects.push(format!("{key}: a line is no forecast: {error}").into());
                return;
            }
        };
        if forecast.execution != asked.execution {
            return;
        }
        let (series, version) = (forecast.series.clone(), &forecast.model_version);
        if let Some(defect) = forecast.defect() {
            self.defects.push(format!("{key}: the forecast of `{series}`: {defect}").into());
        }
        if let Some(wanted) = asked.model_version.as_ref().filter(|wanted| *wanted != version) {
            let of_another =
                format!("{key}: the forecast of `{series}` is of model {version}, not of {wanted}");
            self.defects.push(of_another.into());
        }
        if !self.series.insert(series.clone()) {
            self.defects.push(format!("{key}: there is another forecast of `{series}`").into());
        }
    }
}
