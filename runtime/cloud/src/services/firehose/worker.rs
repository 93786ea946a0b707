//! The worker of a delivery stream: it watches what comes, decides when a buffer is full or old
//! enough, and sees to its delivery.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::live::Live;
use super::{Pending, Stream, delivery};
use crate::kernel::cloud::Cloud;
use crate::services::kinesis;
use crate::services::kinesis::log::{Log, Placed};

/// The first wait after a delivery that failed, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// How long delivery is tried.
const GIVE_UP: SignedDuration = SignedDuration::from_hours(24);

/// Begins the work of all delivery streams.
pub fn resume(cloud: &Arc<Cloud>) {
    for (name, stream) in cloud.services.firehose.streams.all() {
        begin(cloud, &name, &stream.id);
    }
}

/// Begins the work of a delivery stream.
pub fn begin(cloud: &Arc<Cloud>, name: &str, id: &str) {
    let (cloud, name, id) = (cloud.clone(), name.to_owned(), id.to_owned());
    tokio::spawn(Worker { cloud, name, id }.run());
}

/// What a buffer has so far.
#[derive(Debug, Clone, Default)]
struct Buffer {
    ranges: BTreeMap<u32, (u64, u64)>,
    bytes: u64,
    oldest_millis: Option<i64>,
}

struct Worker {
    cloud: Arc<Cloud>,
    name: String,
    id: String,
}

impl Worker {
    /// The delivery stream, unless it was deleted.
    fn stream(&self) -> Option<Arc<Stream>> {
        let stream = self.cloud.services.firehose.streams.get(&self.name);
        stream.filter(|stream| stream.id == self.id)
    }

    /// Works until the delivery stream is deleted. What fails is tried again, after longer and
    /// longer waits.
    async fn run(self) {
        let (mut buffer, mut wait) = (Buffer::default(), RETRY.0);
        while let Some(stream) = self.stream() {
            let done = match &stream.pending {
                Some(pending) => {
                    buffer = Buffer::default();
                    self.deliver(&stream, pending).await
                }
                None => match self.watch(&stream, &mut buffer).await {
                    Ok(()) => true,
                    Err(words) => {
                        tracing::error!(
                            "the delivery stream `{}` cannot go on: {words}",
                            self.name
                        );
                        buffer = Buffer::default();
                        false
                    }
                },
            };
            if done {
                wait = RETRY.0;
            } else {
                self.pause(stream.version, wait).await;
                wait = (wait * 2).min(RETRY.1);
            }
        }
    }

    /// Looks at what came, closes the buffer when it is full or old enough, else waits for more.
    async fn watch(&self, stream: &Arc<Stream>, buffer: &mut Buffer) -> Result<(), String> {
        let live = self.cloud.services.firehose.lives.of(&self.id).map_err(|e| e.message)?;
        let (mut changes, mut source) = (live.changes(), self.source_changes(stream));
        // What comes from here on wakes; what came before is looked at.
        changes.borrow_and_update();
        source.borrow_and_update();
        *buffer = self.look(stream, &live, std::mem::take(buffer)).await?;
        let due = buffer.oldest_millis.map(|millis| due(stream, millis));
        let full = buffer.bytes >= stream.destination.buffer_bytes.max(1);
        if full || due.is_some_and(|due| due <= self.cloud.clock.now()) {
            return self.close(stream, buffer);
        }
        // The configuration may have changed since it was read.
        if self.stream().is_none_or(|now| now.version != stream.version) {
            return Ok(());
        }
        tokio::select! {
            _ = changes.changed() => {}
            _ = source.changed() => {}
            () = self.cloud.clock.sleep_until(due.unwrap_or(Timestamp::MAX)) => {}
        }
        Ok(())
    }

    /// Waits before the next try, or until the configuration is another one.
    async fn pause(&self, version: u64, wait: Duration) {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        let until = self.cloud.clock.now().saturating_add(wait).unwrap_or(Timestamp::MAX);
        let Ok(live) = self.cloud.services.firehose.lives.of(&self.id) else {
            return self.cloud.clock.sleep_until(until).await;
        };
        let mut changes = live.changes();
        while self.stream().is_some_and(|stream| stream.version == version) {
            tokio::select! {
                () = self.cloud.clock.sleep_until(until) => return,
                _ = changes.changed() => {}
            }
        }
    }

    /// Changes of the Kinesis stream that is read. Without one, and when it was deleted, there are
    /// none.
    fn source_changes(&self, stream: &Stream) -> watch::Receiver<u64> {
        let name = stream.source.as_ref().and_then(|s| kinesis::name_of(&self.cloud, &s.arn));
        let changes = name.and_then(|name| kinesis::changes(&self.cloud, name).ok());
        changes.unwrap_or_else(never)
    }

    /// Counts what came since the last look.
    async fn look(
        &self,
        stream: &Arc<Stream>,
        live: &Arc<Live>,
        buffer: Buffer,
    ) -> Result<Buffer, String> {
        let (cloud, stream, live) = (self.cloud.clone(), stream.clone(), live.clone());
        let work = tokio::task::spawn_blocking(move || {
            let mut buffer = buffer;
            let shards = sources(&cloud, &stream, &live)?;
            for (shard, log) in shards {
                let begin = stream.cursors.get(&shard).copied().unwrap_or_default();
                buffer.count(shard, begin, &log, stream.destination.buffer_bytes)?;
            }
            Ok::<_, String>(buffer)
        });
        work.await.map_err(|error| error.to_string())?
    }

    /// Writes down that this buffer is delivered next.
    fn close(&self, stream: &Stream, buffer: &Buffer) -> Result<(), String> {
        let pending = Pending {
            ranges: buffer
                .ranges
                .iter()
                .filter(|(_, r)| r.0 < r.1)
                .map(|(s, r)| (*s, *r))
                .collect(),
            oldest_millis: buffer.oldest_millis.unwrap_or_default(),
            destination: stream.destination.clone(),
            version: stream.version,
            unique: uuid::Uuid::new_v4().to_string(),
        };
        self.change(|stream| stream.pending = Some(pending))
    }

    fn change(&self, change: impl FnOnce(&mut Stream)) -> Result<(), String> {
        let streams = &self.cloud.services.firehose.streams;
        let changed = streams.update(&self.name, |stream| {
            if stream.id == self.id {
                change(stream);
            }
        });
        changed.map(drop).map_err(|error| error.to_string())
    }

    /// Delivers a buffer; whether it is over, because it was delivered or given up.
    async fn deliver(&self, stream: &Arc<Stream>, pending: &Pending) -> bool {
        let done = delivery::deliver(&self.cloud, &self.name, stream, pending).await;
        if let Err(words) = done {
            let age = self.cloud.clock.now().as_millisecond() - pending.oldest_millis;
            let gives_up = i128::from(age) >= GIVE_UP.as_millis();
            let end = if gives_up { "; its records are given up after 24 hours" } else { "" };
            tracing::error!("a buffer of `{}` cannot be delivered: {words}{end}", self.name);
            delivery::log(&self.cloud, &self.name, stream, pending, &words);
            if !gives_up {
                return false;
            }
        }
        match self.over(pending) {
            Ok(()) => true,
            Err(words) => {
                // It is delivered again, under the same keys.
                tracing::error!(
                    "the delivery of a buffer of `{}` is not on record: {words}",
                    self.name
                );
                false
            }
        }
    }

    fn over(&self, pending: &Pending) -> Result<(), String> {
        self.change(|stream| {
            stream.pending = None;
            for (shard, (_, end)) in &pending.ranges {
                stream.cursors.insert(*shard, *end);
            }
        })?;
        if let Some(stream) = self.stream().filter(|stream| stream.source.is_none()) {
            let live = self.cloud.services.firehose.lives.of(&self.id).map_err(|e| e.message)?;
            let end = stream.cursors.get(&0).copied().unwrap_or_default();
            live.log.forget_up_to(end).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// A receiver that never wakes.
fn never() -> watch::Receiver<u64> {
    static NEVER: std::sync::LazyLock<watch::Sender<u64>> =
        std::sync::LazyLock::new(|| watch::Sender::new(0));
    NEVER.subscribe()
}

/// When a buffer is old enough.
fn due(stream: &Stream, oldest_millis: i64) -> Timestamp {
    let millis = stream.destination.buffer_secs as i64 * 1_000;
    Timestamp::from_millisecond(oldest_millis + millis).unwrap_or(Timestamp::MAX)
}

/// The logs that a delivery stream reads, by shard.
pub fn sources(
    cloud: &Cloud,
    stream: &Stream,
    live: &Arc<Live>,
) -> Result<Vec<(u32, Source)>, String> {
    let Some(source) = &stream.source else { return Ok(vec![(0, Source::Own(live.clone()))]) };
    let name = kinesis::name_of(cloud, &source.arn).unwrap_or_default();
    // A stream that was deleted has nothing more to read.
    let Ok(read) = kinesis::find(cloud, name) else { return Ok(vec![]) };
    let lives = cloud.services.kinesis.lives.of(&read.id);
    let begun = |shard: &kinesis::shards::Shard| {
        stream.cursors.contains_key(&shard.number) || shard.made >= stream.created
    };
    let shards = read.shards.all.iter().filter(|shard| begun(shard));
    shards
        .map(|shard| {
            let log = lives.log(shard.number).map_err(|error| error.message)?;
            Ok((shard.number, Source::Shard(shard.clone(), log)))
        })
        .collect()
}

/// A log that is read.
pub enum Source {
    /// What was put.
    Own(Arc<Live>),
    /// A shard of a Kinesis stream.
    Shard(kinesis::shards::Shard, Arc<Log>),
}

impl Source {
    /// The sequence number of a record, when it has one.
    pub fn sequence(&self, placed: &Placed) -> Option<String> {
        match self {
            Self::Own(_) => None,
            Self::Shard(shard, _) => {
                Some(shard.sequence(placed.at, placed.record.arrived).digits())
            }
        }
    }
}

impl std::ops::Deref for Source {
    type Target = Log;

    fn deref(&self) -> &Log {
        match self {
            Self::Own(live) => &live.log,
            Self::Shard(_, log) => log,
        }
    }
}

impl Buffer {
    /// Counts what is in a log after what was counted, until the buffer is full.
    fn count(&mut self, shard: u32, begin: u64, log: &Log, bytes: u64) -> Result<(), String> {
        let (_, mut end) = *self.ranges.entry(shard).or_insert((begin, begin));
        if self.bytes >= bytes.max(1) {
            return Ok(());
        }
        let read = log.read(end, |Placed { next, record, .. }| {
            self.bytes += record.data.len() as u64;
            let oldest = self.oldest_millis.unwrap_or(i64::MAX);
            self.oldest_millis = Some(oldest.min(record.arrived));
            end = next;
            match self.bytes >= bytes.max(1) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        read.map_err(|error| error.to_string())?;
        self.ranges.insert(shard, (begin, end));
        Ok(())
    }
}
