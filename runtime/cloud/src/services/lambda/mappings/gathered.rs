//! What a lane has read and not yet handed over.

use super::Mapping;
use super::filter::Filters;
use super::source::{Record, Source};
use crate::kernel::cloud::Cloud;
use crate::services::lambda::PAYLOAD_BYTES_MAX;

/// Records on their way to a function.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The records.
    pub records: Vec<Record>,
    /// Bytes that they have in an event.
    bytes: usize,
    /// The position after them and what is left out.
    pub next: u64,
    /// Whether nothing comes after them any more.
    pub ended: bool,
}

impl Gathered {
    /// Nothing yet, from a position on.
    pub fn from(position: u64) -> Self {
        Self { next: position, ..Self::default() }
    }

    /// The position after so many of its records.
    pub fn position(&self, count: usize) -> u64 {
        match count == self.records.len() {
            true => self.next,
            false => self.records[count - 1].next,
        }
    }
}

/// Which records are a lane's own.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// The shard's number.
    pub shard: u32,
    /// The lane's.
    pub lane: u32,
}

impl Own {
    /// Adds what has come to a batch; whether that is full. Blocks.
    pub fn read(
        self,
        cloud: &Cloud,
        mapping: &Mapping,
        filters: &Filters,
        gathered: &mut Gathered,
    ) -> Result<bool, String> {
        let source = source(cloud, mapping)?;
        loop {
            let batch = source.read(cloud, self.shard, gathered.next);
            let (records, next) = batch.map_err(|error| error.message)?;
            let nothing = records.is_empty();
            for record in records {
                let after = record.next;
                if record.is_of(self.lane, mapping.settings.lanes) && record.passes(filters) {
                    let bytes = record.bytes();
                    let none = gathered.records.is_empty();
                    if gathered.bytes + bytes > PAYLOAD_BYTES_MAX && !none {
                        return Ok(true);
                    }
                    gathered.bytes += bytes;
                    gathered.records.push(record);
                }
                gathered.next = after;
                if gathered.records.len() >= mapping.settings.batch as usize {
                    return Ok(true);
                }
            }
            match next {
                None => {
                    gathered.ended = true;
                    return Ok(false);
                }
                Some(next) => gathered.next = gathered.next.max(next),
            }
            if nothing {
                return Ok(false);
            }
        }
    }
}

/// The source of a mapping, if it is the one that it began to read.
pub fn source(cloud: &Cloud, mapping: &Mapping) -> Result<Source, String> {
    let source = Source::find(cloud, mapping.kind, &mapping.source);
    let source = source.map_err(|error| error.message)?;
    match mapping.begun.as_deref() == Some(source.id()) {
        true => Ok(source),
        false => Err(format!("Stream not found: {}", mapping.source)),
    }
}
