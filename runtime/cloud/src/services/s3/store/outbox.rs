//! Notices of changes on their way to who wants to know of them. A notice is written together with
//! the change that it tells of, and goes when it was delivered, so it is delivered at least once.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shelf::About;
use super::{Buckets, StoreError};
use crate::kernel::store::{NotStored, Together};
use crate::services::s3::messages::{self, Cause, Change};

/// Kind of records.
pub const NOTICES: &str = "s3_notices";

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum To {
    /// The rules of EventBridge.
    EventBridge,
    /// A function, a queue or a topic.
    Arn(String),
}

/// A notice that was not delivered yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Notice {
    /// Who is told.
    pub to: To,
    /// What.
    pub body: Value,
    /// The bucket that it is about.
    pub bucket: String,
    /// When it was written.
    pub written: Timestamp,
    /// When it is tried (again).
    pub due: Timestamp,
    /// How often it was tried.
    pub tries: u32,
}

impl Buckets {
    /// Writes the notices of a change, if anybody wants to know of it.
    pub(super) fn tell(
        &self,
        writes: &Together<'_>,
        bucket: &str,
        about: &About,
        change: &Change<'_>,
        cause: &Cause,
    ) -> Result<(), NotStored> {
        let now = self.clock.now();
        let place = messages::Place { account: &self.account, region: &self.region, bucket, now };
        for (to, body) in messages::of(&place, &about.notifications, change, cause) {
            let notice =
                Notice { to, body, bucket: bucket.to_owned(), written: now, due: now, tries: 0 };
            let name = format!("{:020}-{}", now.as_nanosecond(), uuid::Uuid::new_v4().simple());
            self.notices.put_in(writes, &name, &notice)?;
        }
        Ok(())
    }

    /// Wakes who delivers, when the change that was written has readers.
    pub(super) fn wake(&self, about: &About) {
        if !about.notifications.is_empty() {
            self.told.notify_one();
        }
    }

    /// At most `count` notices that are due, the oldest first, and when the next one will be.
    pub fn due(&self, count: usize) -> (BTreeMap<String, Arc<Notice>>, Option<Timestamp>) {
        let now = self.clock.now();
        let (mut due, mut next) = (BTreeMap::new(), None::<Timestamp>);
        self.notices.scan("", None, |name, notice| {
            if notice.due <= now {
                due.insert(name.to_owned(), notice);
            } else {
                next = Some(next.map_or(notice.due, |next| next.min(notice.due)));
            }
            if due.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        (due, next)
    }

    /// Ends a round of deliveries: of each notice what becomes of it, nothing when it is done.
    pub fn settle(&self, round: &BTreeMap<String, Option<Notice>>) -> Result<(), StoreError> {
        Ok(self.store.together("notices", |writes| {
            for (name, notice) in round {
                match notice {
                    Some(notice) => self.notices.put_in(writes, name, notice)?,
                    None => self.notices.remove_in(writes, name)?,
                }
            }
            Ok::<_, NotStored>(())
        })?)
    }
}
