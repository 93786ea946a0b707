//! The inputs before a run: what is missing, empty, stale, torn or of another form is told before
//! anything is cleaned or overwritten.
//!
//! Of files only the beginnings are read, and of many files those of the first and the newest.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStoreExt};
use steppe_spec::TimeSpan;
use steppe_store::table::{below, is_hidden};
use steppe_store::{Bucket, BucketError, Objects, read_json, unnameable};
use steppe_wire::etl::{EtlPlan, EtlReport, InputPlan, Uploaded};
use steppe_wire::failure::Failure;
use steppe_wire::format::BEGINNING_BYTES;
use steppe_wire::hint::Hinted;
use steppe_wire::keys;

use super::beginning::Beginning;
use super::{Checker, Limits};

/// Most files of an input; the cleaning job takes no more.
const FILES_MAX: usize = 100_000;
/// Files of an input whose beginnings are read.
const READ_MAX: usize = 1_000;
/// Files read at once.
const READS: usize = 16;
/// Inputs looked at at once.
const INPUTS: usize = 4;
/// Largest report that is read.
const REPORT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the run before and the deployment left.
struct Before {
    report: Option<EtlReport>,
    uploaded: Option<Uploaded>,
}

/// What is wrong with the inputs.
pub async fn check(
    checker: &Checker,
    limits: &BTreeMap<String, Limits>,
    now: Timestamp,
) -> Result<Vec<Hinted>, Failure> {
    let data = &checker.data;
    let key = &checker.plan_key;
    let plan: Option<EtlPlan> =
        read_json(&checker.artifacts, key, "a plan of a cleaning job").await?;
    let plan =
        plan.ok_or_else(|| Failure::permanent(format!("`{key}` does not exist; deploy again")))?;
    let before = Before {
        report: known(data, &keys::etl_report(&checker.pipeline)).await?,
        uploaded: known(data, &keys::uploaded(&checker.pipeline)).await?,
    };
    let before = &before;
    let one = |input| async move {
        let defects = of_input(data, input, limits.get(&input.name), before, now).await?;
        let place = format!("input `{}`", input.name);
        let named = defects.into_iter().map(|defect| defect.at(&place));
        Ok::<_, Failure>(named.collect::<Vec<_>>())
    };
    let found = futures::stream::iter(&plan.inputs).map(one).buffered(INPUTS);
    Ok(found.try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
}

/// What a note says; one that cannot be read says nothing.
async fn known<T: serde::de::DeserializeOwned>(
    data: &Bucket,
    key: &str,
) -> Result<Option<T>, Failure> {
    let found = data.read(key, REPORT_BYTES_MAX).await?;
    Ok(found.and_then(|object| serde_json::from_slice(&object.bytes).ok()))
}

async fn of_input(
    data: &Bucket,
    input: &InputPlan,
    limits: Option<&Limits>,
    before: &Before,
    now: Timestamp,
) -> Result<Vec<Hinted>, Failure> {
    let (files, mut defects) = files(data, input).await?;
    let Some(newest) = files.iter().max_by_key(|file| file.last_modified) else {
        defects.push(Hinted::new(
            format!("there are no files at {}", input.prefix),
            "`cargo xtask deploy --data FILE` uploads them",
        ));
        return Ok(defects);
    };
    let empty = files.iter().filter(|file| file.size == 0);
    defects.extend(empty.map(|file| {
        let is_empty = format!("{}: the file is empty", file.location);
        Hinted::new(is_empty, "upload it again, or delete it")
    }));
    if let Some(limits) = limits {
        let old = limits.fresh_within.and_then(|within| stale(newest, within, now));
        defects.extend(old);
        defects.extend(shrunk(&input.name, &files, limits.least_of_last, before));
    }
    defects.extend(of_beginnings(data, input, &files).await?);
    Ok(defects)
}

/// The files of an input in the order of their names, and what is wrong with their names.
async fn files(
    data: &Bucket,
    input: &InputPlan,
) -> Result<(Vec<ObjectMeta>, Vec<Hinted>), Failure> {
    let folder = Path::from(input.prefix.as_str());
    let is_read = |key: &str| {
        let name = below(key, &folder);
        !name.is_empty() && !is_hidden(name)
    };
    let (mut files, mut defects) = (Vec::new(), Vec::new());
    let mut listed = data.list(Some(&folder));
    while let Some(entry) = listed.next().await {
        match entry {
            Ok(file) if is_read(file.location.as_ref()) => files.push(file),
            Ok(_) => {}
            Err(error) => match unnameable(&error) {
                Some(key) if is_read(key) => defects.push(Hinted::new(
                    format!("`{key}` is not a usable key"),
                    "give the object another name",
                )),
                Some(_) => {}
                None => return Err(BucketError::of(&input.prefix, error).into()),
            },
        }
        if files.len() > FILES_MAX {
            defects.push(format!("{} has more than {FILES_MAX} files", input.prefix).into());
            break;
        }
    }
    files.sort_by(|a, b| a.location.cmp(&b.location));
    Ok((files, defects))
}

fn stale(newest: &ObjectMeta, within: TimeSpan, now: Timestamp) -> Option<Hinted> {
    let written = Timestamp::from_second(newest.last_modified.timestamp()).ok()?;
    let age = now.duration_since(written);
    let most = i64::try_from(within.secs()).ok().map(SignedDuration::from_secs)?;
    (age > most).then(|| {
        let hours = age.as_hours();
        let (count, unit) = if hours < 48 { (hours, "hours") } else { (hours / 24, "days") };
        Hinted::new(
            format!(
                "the newest file, {}, is {count} {unit} old, of {written}; it must be fresh \
                 within {within}",
                newest.location
            ),
            "upload newer files, or let `fresh_within` of the input in the manifest be longer",
        )
    })
}

/// A file that was cut, or most files that are gone, are no smaller version of the data. Data that
/// somebody deployed were cleaned and looked at there.
fn shrunk(name: &str, files: &[ObjectMeta], least: f64, before: &Before) -> Option<Hinted> {
    let report = before.report.as_ref()?.inputs.iter().find(|input| input.name == name)?;
    let (last, bytes) = (report.read.bytes, files.iter().map(|file| file.size).sum::<u64>());
    let is_small = (bytes as f64) < last as f64 * least;
    (is_small && !before.has_uploaded(files)).then(|| {
        Hinted::new(
            format!(
                "its files have {bytes} bytes, and the run before read {last}: less than \
                 `least_of_last = {least}` of that"
            ),
            "upload what is missing; if these are all, `cargo xtask deploy --data FILE` with \
             them, or another `least_of_last` of the input in the manifest",
        )
    })
}

impl Before {
    /// Whether `deploy` uploaded these very files.
    fn has_uploaded(&self, files: &[ObjectMeta]) -> bool {
        let Some(uploaded) = &self.uploaded else { return false };
        let plain = |tag: &str| tag.trim_matches('"').to_owned();
        files.iter().all(|file| {
            let noted = uploaded.objects.get(file.location.as_ref());
            let (noted, tag) = (noted.map(|tag| plain(tag)), file.e_tag.as_deref().map(plain));
            noted.is_some() && noted == tag
        })
    }
}

/// What the beginnings of files say: of the first, whose columns the others must have, and of the
/// newest.
async fn of_beginnings(
    data: &Bucket,
    input: &InputPlan,
    files: &[ObjectMeta],
) -> Result<Vec<Hinted>, Failure> {
    let (first, others) = files.split_at(1);
    let mut others: Vec<&ObjectMeta> = others.iter().collect();
    others.sort_by_key(|file| Reverse(file.last_modified));
    others.truncate(READ_MAX - 1);
    others.sort_by(|a, b| a.location.cmp(&b.location));
    let filled = first.iter().chain(others).filter(|file| file.size > 0);
    let read = |file: &ObjectMeta| {
        let (file, data) = (file.clone(), data.clone());
        async move {
            let beginning = beginning(&data, &file).await?;
            let name = below(file.location.as_ref(), &Path::from(input.prefix.as_str())).to_owned();
            Ok::<_, Failure>((file.location, beginning.columns(input, &name)))
        }
    };
    let read: Vec<_> =
        futures::stream::iter(filled).map(read).buffered(READS).try_collect().await?;
    let mut defects = Vec::new();
    let mut wanted: Option<(Path, Vec<String>)> = None;
    for (key, columns) in read {
        match (columns, &wanted) {
            (Err(defect), _) => defects.push(defect.at(&key)),
            (Ok(Some(found)), Some((first, wanted))) => {
                let drift = drift(wanted, &found, first);
                defects.extend(drift.map(|drift| drift.at(&key)));
            }
            (Ok(Some(found)), None) => wanted = Some((key, found)),
            (Ok(None), _) => {}
        }
    }
    Ok(defects)
}

async fn beginning(data: &Bucket, file: &ObjectMeta) -> Result<Beginning, Failure> {
    let bytes = file.size.min(BEGINNING_BYTES as u64);
    let read = data.get_range(&file.location, 0..bytes).await;
    let read = read.map_err(|error| match error {
        Error::NotFound { .. } => {
            Failure::retryable(format!("`{}` is being replaced", file.location))
        }
        other => BucketError::of(file.location.as_ref(), other).into(),
    })?;
    Ok(Beginning { bytes: read.to_vec(), whole: bytes == file.size })
}

/// How the columns of a file differ from those of the first.
fn drift(wanted: &[String], found: &[String], first: &Path) -> Option<Hinted> {
    let more = found.iter().find(|name| !wanted.contains(name));
    let less = wanted.iter().find(|name| !found.contains(name));
    let what = match (more, less) {
        (Some(name), _) => format!("a column `{name}`, and {first} has none of that name"),
        (None, Some(name)) => format!("no column `{name}`, and {first} has one"),
        (None, None) => return None,
    };
    let hint = "the files of an input have the same columns";
    Some(Hinted::new(format!("the file has {what}"), hint))
}
