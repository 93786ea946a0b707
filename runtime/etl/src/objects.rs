//! The files below a prefix, as of an input: every object, in the order of their names.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt};
use steppe_store::key;
use steppe_store::table::{below, is_hidden};
use steppe_wire::etl::InputObjects;
use steppe_wire::format::BEGINNING_BYTES;
use steppe_wire::hint::Hinted;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::scan::on_own_thread;
use crate::storage::Place;

/// Most files of an input.
pub const OBJECTS_MAX: usize = 100_000;
/// Longest text that a compressed file may become.
const DECOMPRESSED_BYTES_MAX: u64 = 1 << 40;

/// A file from its beginning.
pub type Bytes = Box<dyn Read + Send>;

/// One file.
#[derive(Debug, Clone)]
pub struct Object {
    /// Where it is; the name is what messages call it.
    pub place: Place,
    /// Its name below the prefix.
    pub name: String,
    /// How many bytes it has.
    pub size: u64,
}

/// The files of an input.
#[derive(Debug)]
pub struct Objects {
    /// Each of them.
    pub all: Vec<Object>,
    /// What they were when they were listed.
    pub read: InputObjects,
}

impl Objects {
    /// Lists them, as `called` has it instead of their places; none is an error.
    pub async fn list(prefix: &Place, called: &BTreeMap<String, String>) -> Result<Self> {
        let found = Self::below(prefix, called).await?;
        if found.all.is_empty() {
            bail!(Hinted::new(
                format!("there are no files at {}", prefix.name),
                "`cargo xtask deploy --data FILE` uploads them"
            ));
        }
        Ok(found)
    }

    /// Lists those there are. A mark of a folder is none, nor is what readers hide.
    pub async fn below(prefix: &Place, called: &BTreeMap<String, String>) -> Result<Self> {
        let (mut all, mut read) = (Vec::new(), InputObjects::default());
        let mut listing = prefix.store.list(Some(&prefix.path));
        while let Some(entry) = listing.next().await {
            let (size, modified) =
                entry.as_ref().map_or((0, 0), |meta| (meta.size, meta.last_modified.timestamp()));
            let location = entry.as_ref().ok().map(|meta| meta.location.clone());
            let key = key(entry).with_context(|| format!("listing {} failed", prefix.name))?;
            let name = below(&key, &prefix.path);
            if name.is_empty() || is_hidden(name) {
                continue;
            }
            if all.len() == OBJECTS_MAX {
                bail!("{} has more than {OBJECTS_MAX} files", prefix.name);
            }
            read.objects += 1;
            read.bytes += size;
            read.modified = read.modified.max(modified);
            let full = format!("{}{name}", prefix.name);
            let path = location.ok_or_else(|| {
                Hinted::new(format!("`{full}` is not a usable key"), "give the object another name")
            })?;
            let called = called.get(&full).cloned();
            let place = Place { name: called.unwrap_or(full), path, ..prefix.clone() };
            all.push(Object { place, name: name.to_owned(), size });
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { all, read })
    }
}

impl Object {
    /// Its first bytes, and all of them.
    pub async fn open(&self) -> Result<(Vec<u8>, Bytes)> {
        let context = || format!("cannot read {}", self.place.name);
        let object = self.place.store.get(&self.place.path).await.with_context(context)?;
        let bytes: Bytes = match object.payload {
            // Read as it is: as a stream, each few kilobytes of it would wait for another thread.
            GetResultPayload::File(file, _) => Box::new(file),
            GetResultPayload::Stream(stream) => {
                let stream = stream.map_err(std::io::Error::other);
                Box::new(SyncIoBridge::new(StreamReader::new(stream)))
            }
        };
        on_own_thread(move || begun(bytes)).await.with_context(context)
    }

    /// Its last bytes, or all of them where there are fewer.
    pub async fn tail(&self, length: u64) -> Result<tokio_util::bytes::Bytes> {
        let context = || format!("cannot read {}", self.place.name);
        let options = GetOptions::new().with_range(Some(GetRange::Suffix(length)));
        let object = self.place.store.get_opts(&self.place.path, options);
        object.await.with_context(context)?.bytes().await.with_context(context)
    }
}

/// The first bytes, and all of them.
pub fn begun(mut bytes: Bytes) -> Result<(Vec<u8>, Bytes)> {
    let mut begin = Vec::new();
    bytes.by_ref().take(BEGINNING_BYTES as u64).read_to_end(&mut begin)?;
    let all = std::io::Cursor::new(begin.clone()).chain(bytes);
    Ok((begin, Box::new(all)))
}

/// What is in a file of gzip.
pub fn unpacked(bytes: Bytes) -> Bytes {
    Box::new(flate2::read::MultiGzDecoder::new(bytes).take(DECOMPRESSED_BYTES_MAX))
}
