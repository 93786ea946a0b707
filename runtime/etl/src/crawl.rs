//! What a crawler of AWS Glue finds below folders in S3: formats, schemas, tables and partitions.
//!
//! Nothing is taken from the catalogue: footers of Parquet and ORC and headers of Avro are read,
//! JSON and CSV are sampled as Glue's built-in classifiers sample them ([`json`], [`csv`]), and
//! files become tables by [`tree`]. What is known of AWS's rules is cited there; the rest is a
//! decision of this project's and says so.
//!
//! A file that cannot be read is left out with a note, as Glue leaves it out with a line in its log
//! ("Tables created did not infer schemas from this file"); one that may not be read fails the
//! crawl. Empty files and those that readers of tables hide, by `_` or `.`, are no data. The
//! classifiers for XML, Ion, BSON and logs are not implemented, nor is any compression but gzip:
//! what can be told to be of these fails the crawl by name, anything else is `UNKNOWN`.
//!
//! <https://docs.aws.amazon.com/glue/latest/dg/add-classifier.html>

mod classify;
mod csv;
mod described;
mod exclusions;
mod hive;
mod json;
mod sample;
mod seen;
mod tree;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use steppe_wire::crawl::{Crawl, Crawled, Target};
use tokio::sync::mpsc::Receiver;

use self::classify::{Sight, classify};
use self::exclusions::Exclusions;
use self::tree::Folder;
use crate::objects::Objects;
use crate::storage::Realm;

/// Files looked at at once.
const LOOKS: usize = 8;

/// Looks at what the first line asks for.
pub async fn answer(mut lines: Receiver<String>) -> Result<Crawled> {
    let line = lines.recv().await.context("nobody said what to crawl")?;
    let crawl = serde_json::from_str(&line).context("what to crawl cannot be read")?;
    find(Realm::S3, &crawl).await
}

/// Looks at all targets.
pub async fn find(realm: Realm, crawl: &Crawl) -> Result<Crawled> {
    let mut crawled = Crawled::default();
    for target in &crawl.targets {
        let folder = folder(realm, target, &mut crawled.notes).await?;
        crawled.tables.extend(folder.tables(crawl.combine));
    }
    Ok(crawled)
}

/// A target with what its files have.
async fn folder(realm: Realm, target: &Target, notes: &mut Vec<String>) -> Result<Folder> {
    let place = realm.prefix(&target.path)?;
    let exclusions = Exclusions::new(&target.exclusions)?;
    let found = Objects::below(&place, &BTreeMap::new()).await?;
    let wanted = found.all.into_iter().filter(|o| o.size > 0 && !exclusions.cover(&o.name));
    let looks = wanted.map(|object| async move {
        let sight = classify(&object).await;
        sight.map(|sight| (sight, object))
    });
    let mut looks = stream::iter(looks).buffered(LOOKS);
    let mut folder = Folder::new(place.name.clone());
    while let Some((sight, object)) = looks.try_next().await? {
        match sight {
            Sight::Of(seen) => folder.add(&object.name, seen),
            Sight::Unreadable(error) => notes.push(format!(
                "{error:#} retrieving file at {}. Tables created did not infer schemas from this \
                 file.",
                object.place.name
            )),
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests;
