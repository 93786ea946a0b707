//! Splitting and merging shards. Nobody puts records meanwhile, so a shard ends with what it has.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::live::Live;
use super::shards::{self, Key, Shard, Shards, id};
use super::streams::check_limits;
use super::{Mode, Stream, arn, find, invalid, named};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Times that the shards of a stream may be counted anew in a day.
const SCALINGS_MAX: usize = 10;

/// `SplitShard`.
pub fn split(call: &Call<'_>) -> ApiResult {
    let (shard_id, digits) = (call.required("ShardToSplit")?, call.required("NewStartingHashKey")?);
    change(call, |stream, live, now| {
        check_limits(call.cloud, Mode::Provisioned, 1)?;
        let shard = open_shard(call, stream, shard_id)?;
        let key = Key::try_from(digits.to_owned()).ok();
        let key = key.filter(|key| shard.takes(*key) && *key > shard.range.0).ok_or_else(|| {
            invalid(format!(
                "NewStartingHashKey {digits} used in SplitShard() on shard {shard_id} is not both \
                 greater than one plus the shard's StartingHashKey {} and less than the shard's \
                 EndingHashKey {}.",
                shard.range.0.0, shard.range.1.0
            ))
        })?;
        let (number, end) = (shard.number, live.log(shard.number)?.readable_end());
        stream.shards.split(number, key, now, end);
        Ok(())
    })?;
    Ok(json!({}))
}

/// `MergeShards`.
pub fn merge(call: &Call<'_>) -> ApiResult {
    let (one, other) = (call.required("ShardToMerge")?, call.required("AdjacentShardToMerge")?);
    change(call, |stream, live, now| {
        let (a, b) = (open_shard(call, stream, one)?, open_shard(call, stream, other)?);
        let beside = |a: &Shard, b: &Shard| a.range.1.0.checked_add(1) == Some(b.range.0.0);
        if !beside(a, b) && !beside(b, a) {
            return Err(invalid(format!("Shards {one} and {other} are not adjacent.")));
        }
        let (a, b) = (a.number, b.number);
        let ends = (live.log(a)?.readable_end(), live.log(b)?.readable_end());
        stream.shards.merge((a, b), now, ends);
        Ok(())
    })?;
    Ok(json!({}))
}

/// `UpdateShardCount`.
pub fn scale(call: &Call<'_>) -> ApiResult {
    let target = call.params["TargetShardCount"].as_u64().unwrap_or_default();
    let target = u32::try_from(target).unwrap_or(u32::MAX);
    let (name, stream) = named(call)?;
    let current = stream.shards.open().len();
    change(call, |stream, live, now| {
        if stream.mode == Mode::OnDemand {
            return Err(ApiError::new(
                "ValidationException",
                "The shard count of a stream in the ON_DEMAND capacity mode cannot be updated.",
            ));
        }
        let wanted = target as usize;
        if wanted > current * 2 || wanted * 2 < current {
            return Err(invalid(format!(
                "UpdateShardCount cannot scale up over double or down below half your current \
                 shard count. Current shard count: {current}, target: {wanted}."
            )));
        }
        check_limits(call.cloud, Mode::Provisioned, wanted.saturating_sub(current))?;
        let day = now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
        stream.scaled.retain(|time| *time > day);
        if stream.scaled.len() >= SCALINGS_MAX {
            let words = format!(
                "The shard count of the stream was updated {SCALINGS_MAX} times in the last 24 \
                 hours, which is the limit."
            );
            return Err(ApiError::new("LimitExceededException", words));
        }
        let ends = ends(&stream.shards, live)?;
        let end = |number: u32| ends.iter().find(|(n, _)| *n == number).map_or(0, |(_, end)| *end);
        stream.shards.scale(target, now, end);
        stream.scaled.push(now);
        Ok(())
    })?;
    Ok(json!({
        "StreamName": name, "CurrentShardCount": current, "TargetShardCount": target,
        "StreamARN": arn(call.cloud, name),
    }))
}

fn ends(shards: &Shards, live: &Live) -> ApiResult<Vec<(u32, u64)>> {
    let open = shards.open().into_iter().map(|shard| shard.number);
    open.map(|number| Ok((number, live.log(number)?.readable_end()))).collect()
}

fn open_shard<'s>(call: &Call<'_>, stream: &'s Stream, shard_id: &str) -> ApiResult<&'s Shard> {
    let shard = shards::number(shard_id).and_then(|number| stream.shards.get(number));
    let shard = shard.ok_or_else(|| {
        let name = call.text("StreamName").or(call.text("StreamARN")).unwrap_or_default();
        let account = &call.cloud.config.account;
        let words =
            format!("Could not find shard {shard_id} in stream {name} under account {account}.");
        ApiError::new("ResourceNotFoundException", words)
    })?;
    if !shard.is_open() {
        let words = format!(
            "Shard {} has already been merged or split, and thus is not eligible \
             for merging or splitting.",
            id(shard.number)
        );
        return Err(ApiError::new("ResourceInUseException", words));
    }
    Ok(shard)
}

/// Changes the shards of the stream that a call names.
fn change(
    call: &Call<'_>,
    decide: impl FnOnce(&mut Stream, &Live, Timestamp) -> ApiResult<()>,
) -> ApiResult<()> {
    let (name, stream) = named(call)?;
    let kinesis = &call.cloud.services.kinesis;
    let live = kinesis.lives.of(&stream.id);
    let _alone = live.gate.write();
    // As it is now that nobody else changes it.
    let mut stream = (*find(call.cloud, name)?).clone();
    decide(&mut stream, &live, call.cloud.clock.now())?;
    kinesis.streams.update(name, |stored| {
        stored.shards = stream.shards;
        stored.scaled = stream.scaled;
    })?;
    live.tell();
    Ok(())
}
