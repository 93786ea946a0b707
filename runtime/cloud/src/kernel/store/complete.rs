//! What is certainly no record's.
//!
//! Whoever deletes what no record names, such as folders that a crash left, must know all records.
//! One that was set aside may be put back by hand, and then what belongs to it must still be there.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Table;

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// All records in the order of their names; `None` when some are missing.
    pub fn complete(&self) -> Option<Vec<(String, Arc<T>)>> {
        let mut all = Vec::new();
        let read = self.scan("", None, |name, row| {
            all.push((name.to_owned(), row));
            ControlFlow::Continue(())
        });
        (read && !self.lacks_some()).then_some(all)
    }

    /// Whether records of this kind were set aside, or nobody can tell.
    pub fn lacks_some(&self) -> bool {
        let kind = &self.kind;
        let lacks = self.store.has_damaged(kind).unwrap_or_else(|error| {
            tracing::error!("{error:#}");
            true
        });
        if lacks {
            tracing::warn!("records {kind} are missing, so what belongs to none of them is kept");
        }
        lacks
    }
}
