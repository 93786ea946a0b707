//! Lifecycle rules are executed: once a day, at midnight UTC, as in AWS. What was due while the
//! process did not run is done when it starts.

use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::Rule;
use crate::kernel::cloud::Cloud;
use crate::services::s3::messages::Cause;
use crate::services::s3::store::{Always, Buckets, Condition, Object, Place, StoreError, Which};

/// Versions that are looked at before what has expired of them is deleted.
const PAGE: usize = 1_000;

/// Executes rules for as long as the process runs.
pub async fn run(cloud: Arc<Cloud>) {
    loop {
        let s3 = &cloud.services.s3;
        let today = midnight(s3.clock.now());
        if s3.last_sweep().is_none_or(|last| last < today) {
            let all = cloud.clone();
            let swept = tokio::task::spawn_blocking(move || sweep(&all.services.s3, today));
            match swept.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!("lifecycle rules are not executed: {error}"),
                Err(error) => tracing::error!("lifecycle rules are not executed: {error}"),
            }
        }
        s3.clock.sleep_until(tomorrow(s3.clock.now())).await;
    }
}

fn midnight(now: Timestamp) -> Timestamp {
    let begun = now.to_zoned(TimeZone::UTC).with().time(Time::midnight()).build();
    begun.map_or(now, |begun| begun.timestamp())
}

fn tomorrow(now: Timestamp) -> Timestamp {
    let next = midnight(now).to_zoned(TimeZone::UTC).tomorrow();
    next.map_or(Timestamp::MAX, |next| next.timestamp())
}

/// Does what the rules of all buckets say at `now`.
pub fn sweep(s3: &Buckets, now: Timestamp) -> Result<(), StoreError> {
    for (name, _) in s3.all() {
        match sweep_bucket(s3, &name, now) {
            // It was deleted meanwhile.
            Err(StoreError::NoSuchBucket) | Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    s3.swept(now)
}

fn sweep_bucket(s3: &Buckets, bucket: &str, now: Timestamp) -> Result<(), StoreError> {
    let about = s3.about(bucket)?;
    let rules: Vec<Rule> = about.rules.iter().filter(|rule| rule.enabled).cloned().collect();
    if rules.is_empty() {
        return Ok(());
    }
    for (id, upload) in s3.uploads_to(bucket) {
        let aborted = super::abort(&rules, &upload.key, upload.initiated);
        if aborted.is_some_and(|(date, _)| date <= now) {
            match s3.end_upload(&id) {
                // It was finished meanwhile.
                Ok(()) | Err(StoreError::NoSuchUpload) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let mut from = None;
    let mut place = Counting::default();
    loop {
        let (expired, next) = page(s3, bucket, &rules, (from.as_ref(), now), &mut place)?;
        for (key, expired) in expired {
            remove(s3, bucket, &key, &expired)?;
        }
        match next {
            Some(next) => from = Some(next),
            None => return Ok(()),
        }
    }
}

/// What of a key has been seen.
#[derive(Debug, Default)]
struct Counting {
    key: String,
    /// When the version before was written, which is when this one was replaced.
    replaced: Option<Timestamp>,
    /// Versions before that are not current.
    noncurrent: usize,
    /// The marker that is the latest, until another version follows it.
    marker: Option<Arc<Object>>,
}

/// What is to be deleted of a key.
#[derive(Debug)]
struct Expired {
    which: Which,
    object: Arc<Object>,
}

type Page = (Vec<(String, Expired)>, Option<Place>);

fn page(
    s3: &Buckets,
    bucket: &str,
    rules: &[Rule],
    (from, now): (Option<&Place>, Timestamp),
    counting: &mut Counting,
) -> Result<Page, StoreError> {
    let (mut expired, mut next, mut seen) = (Vec::new(), None, 0);
    s3.scan_versions(bucket, "", from, |key, version, latest| {
        if let Some(marker) = counting.alone(key) {
            expired.extend(expired_marker(rules, marker, now));
        }
        let verdict = counting.judge(rules, key, &version, (latest, now));
        expired.extend(
            verdict.map(|which| (key.to_owned(), Expired { which, object: version.clone() })),
        );
        seen += 1;
        // A null version could not be found again when it is deleted now.
        if seen < PAGE || (!latest && version.version.is_none()) {
            return ControlFlow::Continue(());
        }
        next = Some(Place { key: key.to_owned(), version: Some(which(&version)) });
        ControlFlow::Break(())
    })?;
    if next.is_none()
        && let Some(marker) = counting.take_marker()
    {
        expired.extend(expired_marker(rules, marker, now));
    }
    Ok((expired, next))
}

fn expired_marker(
    rules: &[Rule],
    (key, marker): (String, Arc<Object>),
    now: Timestamp,
) -> Option<(String, Expired)> {
    let goes = rules.iter().any(|rule| rule.removes_marker(&key, &marker, now));
    goes.then(|| (key, Expired { which: which(&marker), object: marker }))
}

fn which(version: &Object) -> Which {
    version.version.clone().map_or(Which::Null, Which::Id)
}

impl Counting {
    /// The latest marker of the key before, when the next version is of another one.
    fn alone(&mut self, key: &str) -> Option<(String, Arc<Object>)> {
        if self.key == key {
            return None;
        }
        self.take_marker()
    }

    fn take_marker(&mut self) -> Option<(String, Arc<Object>)> {
        self.marker.take().map(|marker| (self.key.clone(), marker))
    }

    /// Which version is to be deleted, if this one has expired.
    fn judge(
        &mut self,
        rules: &[Rule],
        key: &str,
        version: &Arc<Object>,
        (latest, now): (bool, Timestamp),
    ) -> Option<Which> {
        if latest {
            *self = Self { key: key.to_owned(), ..Self::default() };
        }
        let replaced = self.replaced.replace(version.modified);
        // What follows it keeps the marker.
        self.marker = None;
        if latest && version.marker {
            self.marker = Some(version.clone());
            return None;
        }
        if latest {
            let dates = rules.iter().filter_map(|rule| rule.expires(key, version));
            return dates.min().filter(|date| *date <= now).map(|_| Which::Current);
        }
        let since = replaced.unwrap_or(now);
        let newer = self.noncurrent;
        self.noncurrent += 1;
        let goes = |rule: &Rule| rule.removes_noncurrent(key, version, (since, newer, now));
        rules.iter().any(goes).then(|| which(version))
    }
}

/// Holds as long as the version is there that had expired.
struct Same(Arc<Object>);

impl Condition for Same {
    fn judge(&self, existing: Option<&Object>) -> Result<(), StoreError> {
        match existing {
            Some(object) if object.file == self.0.file => Ok(()),
            _ => Err(StoreError::ConditionFailed),
        }
    }
}

fn remove(s3: &Buckets, bucket: &str, key: &str, expired: &Expired) -> Result<(), StoreError> {
    let cause = Cause::lifecycle();
    let removed = match &expired.which {
        Which::Current => {
            let same = Same(expired.object.clone());
            s3.remove(bucket, key, &Which::Current, &same, &cause)
        }
        which => s3.remove(bucket, key, which, &Always, &cause),
    };
    match removed {
        // It was replaced or deleted meanwhile.
        Ok(_) | Err(StoreError::ConditionFailed) => Ok(()),
        Err(error) => Err(error),
    }
}
