//! Streams as sources: which shards are read by whom, and how far.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>
//!
//! Each shard has as many lanes as `ParallelizationFactor` says; a lane has the records of some
//! partition keys, in their order. How far a lane is, is in the store: it is written after records
//! were handed over or given up, so a record is handed over at least once and none is passed over.
//! The children of a shard are read when all of it is done. When the number of lanes changes, all
//! lanes of a shard go on where the one is that is least far.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::lane::Lane;
use super::source::{Shard, Source};
use super::{Mapping, tell_result};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::store::NotStored;
use crate::services::kinesis::Position;
use crate::services::lambda::Alias;
use crate::services::lambda::function::invalid;
use crate::services::lambda::versions::resolve;

/// How long a worker waits that cannot read its stream.
pub const PROBLEM_PAUSE: Duration = Duration::from_secs(60);

/// How far a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Checkpoint {
    /// The position of the next record.
    At(u64),
    /// The shard is done.
    Ended,
}

/// The row of a lane.
pub fn row(id: &str, shard: u32, lane: u32) -> String {
    format!("{id}/{shard:010}/{lane}")
}

/// Decides where a mapping begins to read, unless it has begun.
pub async fn begin(cloud: &Arc<Cloud>, id: &str, mapping: &mut Mapping) -> ApiResult<()> {
    let (None, Some((position, _))) = (&mapping.begun, &mapping.start) else { return Ok(()) };
    let (position, lanes) = (*position, mapping.settings.lanes);
    let source = Source::find(cloud, mapping.kind, &mapping.source)?;
    let begun = source.id().to_owned();
    let (cloud, id) = (cloud.clone(), id.to_owned());
    let work = tokio::task::spawn_blocking(move || {
        let mut rows = Vec::new();
        for shard in source.shards() {
            let checkpoint = match position {
                Position::Latest if !shard.is_open => Checkpoint::Ended,
                position => Checkpoint::At(source.open_position(&cloud, shard.number, position)?),
            };
            rows.extend((0..lanes).map(|lane| (row(&id, shard.number, lane), checkpoint)));
        }
        cloud.services.lambda.checkpoints.put_all(rows, [])?;
        Ok::<_, ApiError>(())
    });
    work.await.map_err(ApiError::internal)??;
    mapping.begun = Some(begun);
    Ok(())
}

/// Forgets how far a mapping has read.
pub fn forget(cloud: &Cloud, id: &str) -> Result<(), NotStored> {
    let checkpoints = &cloud.services.lambda.checkpoints;
    remove(cloud, checkpoints.names(&format!("{id}/")))
}

/// Forgets how far mappings have read that are not there any more.
pub fn forget_lost(cloud: &Cloud) -> Result<(), NotStored> {
    if cloud.services.lambda.mappings.lacks_some() {
        return Ok(());
    }
    let mappings: HashSet<String> = cloud.services.lambda.mappings.names("").into_iter().collect();
    let names = cloud.services.lambda.checkpoints.names("").into_iter();
    let is_lost = |row: &String| row.split('/').next().is_none_or(|id| !mappings.contains(id));
    remove(cloud, names.filter(is_lost).collect())
}

fn remove(cloud: &Cloud, rows: Vec<String>) -> Result<(), NotStored> {
    if rows.is_empty() {
        return Ok(());
    }
    cloud.services.lambda.checkpoints.put_all([], rows.iter().map(String::as_str))
}

/// How far the lanes of each shard are.
fn checkpoints(cloud: &Cloud, id: &str) -> BTreeMap<u32, BTreeMap<u32, Checkpoint>> {
    let mut found: BTreeMap<u32, BTreeMap<u32, Checkpoint>> = BTreeMap::new();
    let prefix = format!("{id}/");
    cloud.services.lambda.checkpoints.scan(&prefix, None, |row, checkpoint| {
        let Some(rest) = row.strip_prefix(&prefix) else { return ControlFlow::Break(()) };
        let parsed = rest.split_once('/');
        if let Some((shard, lane)) =
            parsed.and_then(|(shard, lane)| Some((shard.parse().ok()?, lane.parse().ok()?)))
        {
            found.entry(shard).or_default().insert(lane, *checkpoint);
        }
        ControlFlow::Continue(())
    });
    found
}

/// Gives each shard of a stream its lanes, and forgets those of shards that are gone.
fn arrange(cloud: &Cloud, id: &str, mapping: &Mapping, shards: &[Shard]) -> ApiResult<()> {
    let lanes = mapping.settings.lanes;
    let known = checkpoints(cloud, id);
    let (mut puts, mut deletes) = (Vec::new(), Vec::new());
    for shard in shards {
        let own = known.get(&shard.number);
        if own.is_some_and(|own| own.keys().copied().eq(0..lanes)) {
            continue;
        }
        // A shard that is new is read from its begin.
        let least = own.and_then(|own| own.values().min().copied());
        let least = least.unwrap_or(Checkpoint::At(0));
        puts.extend((0..lanes).map(|lane| (row(id, shard.number, lane), least)));
        let surplus = own.into_iter().flat_map(|own| own.keys()).filter(|lane| **lane >= lanes);
        deletes.extend(surplus.map(|lane| row(id, shard.number, *lane)));
    }
    let is_gone = |number: &u32| shards.iter().all(|shard| shard.number != *number);
    for (number, own) in known.iter().filter(|(number, _)| is_gone(number)) {
        deletes.extend(own.keys().map(|lane| row(id, *number, *lane)));
    }
    if !puts.is_empty() || !deletes.is_empty() {
        let checkpoints = &cloud.services.lambda.checkpoints;
        checkpoints.put_all(puts, deletes.iter().map(String::as_str))?;
    }
    Ok(())
}

/// The lanes that may be read now and are not at their end, with where they go on.
fn ready(cloud: &Cloud, id: &str, shards: &[Shard]) -> Vec<(u32, u32, u64)> {
    let known = checkpoints(cloud, id);
    let is_over = |number: &u32| {
        let own = known.get(number);
        own.is_none_or(|own| own.values().all(|checkpoint| *checkpoint == Checkpoint::Ended))
    };
    let begins = |shard: &&Shard| shard.parents.iter().all(is_over);
    let mut found = Vec::new();
    for shard in shards.iter().filter(begins) {
        for (lane, checkpoint) in known.get(&shard.number).into_iter().flatten() {
            if let Checkpoint::At(position) = checkpoint {
                found.push((shard.number, *lane, *position));
            }
        }
    }
    found
}

/// The shards of a mapping's source, if it is the one that it began to read, and may be read.
fn readable(cloud: &Arc<Cloud>, mapping: &Mapping) -> ApiResult<Vec<Shard>> {
    let target = resolve(cloud, &mapping.reference(), Alias::main)?;
    let (kind, arn) = (mapping.kind, &mapping.source);
    Source::check_access(cloud, kind, &target.function.role, arn)?;
    let source = Source::find(cloud, kind, arn)?;
    match mapping.begun.as_deref() == Some(source.id()) {
        true => Ok(source.shards()),
        false => Err(invalid(format!("Stream not found: {arn}"))),
    }
}

/// Reads until the mapping changes.
pub async fn run(
    cloud: &Arc<Cloud>,
    id: &str,
    mapping: &Arc<Mapping>,
    mut changes: watch::Receiver<u64>,
) {
    let (mut lanes, mut running) = (JoinSet::new(), HashSet::new());
    loop {
        let found = readable(cloud, mapping);
        let found = found.and_then(|shards| {
            arrange(cloud, id, mapping, &shards)?;
            Ok(ready(cloud, id, &shards))
        });
        match found {
            Ok(ready) => {
                for (shard, lane, position) in ready {
                    if running.insert((shard, lane)) {
                        let lane = Lane::new(cloud, id, mapping, (shard, lane), changes.clone());
                        lanes.spawn(lane.run(position));
                    }
                }
            }
            Err(error) => tell_result(cloud, id, &format!("PROBLEM: {}", error.message)),
        }
        tokio::select! {
            _ = changes.changed() => break,
            Some(ended) = lanes.join_next() => match ended {
                Ok(key) => drop(running.remove(&key)),
                Err(error) => {
                    tracing::error!("a lane of the mapping {id} broke off: {error}");
                    cloud.clock.sleep(PROBLEM_PAUSE).await;
                    break;
                }
            },
            // Without lanes there is nothing to wait for but a stream that is there again.
            () = cloud.clock.sleep(PROBLEM_PAUSE), if lanes.is_empty() => {}
        }
    }
    // What is at work is finished, so that nothing is handed over twice at a time.
    while lanes.join_next().await.is_some() {}
}
