//! Which classifier recognises a file, asked in the order of Glue's.
//!
//! <https://docs.aws.amazon.com/glue/latest/dg/add-classifier.html#classifier-built-in>

use anyhow::{Error, Result, bail};
use object_store::Error as StoreError;
use steppe_wire::etl::TableFormat;
use steppe_wire::format::Format;

use super::sample::Sample;
use super::seen::Seen;
use super::{csv, described, json};
use crate::objects::{Bytes, Object, begun, unpacked};
use crate::scan::on_own_thread;

/// Compressions that Glue unpacks and this does not.
const COMPRESSED: [(&[u8], &str); 5] = [
    (b"BZh", "compressed by bzip2"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x04\x22\x4d\x18", "compressed by LZ4"),
    (b"\xff\x06\0\0sNaPpY", "compressed by Snappy"),
    (b"\xe0\x01\0\xea", "binary Ion"),
];

/// What came of looking at a file.
#[derive(Debug)]
pub enum Sight {
    /// What it has.
    Of(Seen),
    /// It is damaged, or gone.
    Unreadable(Error),
}

/// Looks at a file. What may not be read, and what Glue has a classifier for and this has not, is
/// an error.
pub async fn classify(object: &Object) -> Result<Sight> {
    match look(object).await {
        Ok(seen) => Ok(Sight::Of(seen)),
        Err(error) if is_fatal(&error) => Err(error),
        Err(error) => Ok(Sight::Unreadable(error)),
    }
}

/// What Glue does and this does not.
#[derive(Debug)]
struct Unimplemented(String);

impl std::fmt::Display for Unimplemented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unimplemented {}

/// Whether the crawl ends with it.
fn is_fatal(error: &Error) -> bool {
    let denied = |store: &StoreError| {
        !matches!(store, StoreError::NotFound { .. } | StoreError::Precondition { .. })
    };
    error.chain().any(|cause| {
        cause.is::<Unimplemented>() || cause.downcast_ref::<StoreError>().is_some_and(denied)
    })
}

async fn look(object: &Object) -> Result<Seen> {
    let (beginning, bytes) = object.open().await?;
    match Format::of(&beginning) {
        Format::Table(TableFormat::Avro) => {
            let size = object.size;
            on_own_thread(move || described::avro(bytes, size)).await
        }
        Format::Table(TableFormat::Orc) => described::orc(object).await,
        Format::Table(TableFormat::Parquet) => described::parquet(object).await,
        Format::Gzip => {
            let file = File { name: object.place.name.clone(), size: object.size, gzip: true };
            on_own_thread(move || {
                let (beginning, bytes) = begun(unpacked(bytes))?;
                file.text(&beginning, bytes)
            })
            .await
        }
        _ => {
            let file = File { name: object.place.name.clone(), size: object.size, gzip: false };
            on_own_thread(move || file.text(&beginning, bytes)).await
        }
    }
}

/// A file that may be text.
struct File {
    name: String,
    size: u64,
    gzip: bool,
}

impl File {
    fn text(&self, beginning: &[u8], bytes: Bytes) -> Result<Seen> {
        let unknown = || Ok(Seen { gzip: self.gzip, ..Seen::unknown(self.size) });
        if let Some((_, what)) = COMPRESSED.iter().find(|(mark, _)| beginning.starts_with(mark)) {
            return Err(self.unimplemented(what));
        }
        // Ctrl-A, which no other text has, may stand between values.
        let shown: Vec<u8> = beginning.iter().map(|b| if *b == 1 { b',' } else { *b }).collect();
        match Format::of(&shown) {
            Format::Text | Format::Table(TableFormat::Json) => {}
            _ if begins(beginning, b"<") => return Err(self.unimplemented("XML")),
            _ if begins(beginning, b"[") => return Err(self.unimplemented("a JSON array")),
            Format::Table(_) => bail!("a table within a file of gzip"),
            _ => return unknown(),
        }
        let mut sampled = Sample::new(bytes);
        let found = match json::see(&mut sampled)? {
            Some(found) => Some(found),
            None => csv::see(&mut sampled),
        };
        match found {
            Some(seen) => {
                let records = sampled.estimated(seen.records, self.size, self.gzip);
                Ok(Seen { records, bytes: self.size, gzip: self.gzip, ..seen })
            }
            None => unknown(),
        }
    }

    fn unimplemented(&self, what: &str) -> Error {
        let told = format!("{} is {what}, which the embedded cloud does not classify", self.name);
        Unimplemented(told).into()
    }
}

fn begins(beginning: &[u8], with: &[u8]) -> bool {
    let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
    text.trim_ascii_start().starts_with(with)
}
