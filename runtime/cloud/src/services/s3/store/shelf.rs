//! A bucket: its tables, and its settings as they are used.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::RwLock;

use super::versions::{self, Which};
use super::{Bucket, Object, StoreError};
use crate::kernel::store::{Moment, NotStored, Store, Table, Together};
use crate::services::s3::lifecycle::{self, Rule};
use crate::services::s3::notifications::Notifications;

/// Kinds of records.
pub const OBJECTS: &str = "objects";
pub const VERSIONS: &str = "versions";
/// Rows that are read at once where two tables are gone through together.
const AHEAD: usize = 256;

/// Whether a bucket keeps versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versioning {
    /// It never did.
    Never,
    /// It does.
    Enabled,
    /// It did, and has those that were written then.
    Suspended,
}

/// What is known of a bucket.
#[derive(Debug)]
pub struct About {
    /// Its record.
    pub bucket: Arc<Bucket>,
    /// Whether it keeps versions.
    pub versioning: Versioning,
    /// What expires in it.
    pub rules: Vec<Rule>,
    /// Who is told of changes.
    pub notifications: Notifications,
}

impl About {
    /// Reads the settings. Those that an older cloud kept and this one does not know are told in
    /// the log and have no effect.
    pub fn new(name: &str, bucket: Arc<Bucket>) -> Self {
        let setting = |name: &str| bucket.settings.get(name).filter(|v| !v.is_null());
        let status = setting("VersioningConfiguration").and_then(|v| v["Status"].as_str());
        let versioning = match status {
            Some("Enabled") => Versioning::Enabled,
            Some("Suspended") => Versioning::Suspended,
            _ => Versioning::Never,
        };
        let unknown = |what: &str, why: String| {
            tracing::error!("{what} of the bucket {name} has no effect: {why}");
        };
        let rules = setting("LifecycleConfiguration").map(lifecycle::setting::read);
        let rules = rules.unwrap_or_else(|| Ok(vec![])).unwrap_or_else(|why| {
            unknown("LifecycleConfiguration", why);
            vec![]
        });
        let notifications = setting("NotificationConfiguration").map(Notifications::read);
        let notifications =
            notifications.unwrap_or_else(|| Ok(Notifications::default())).unwrap_or_else(|why| {
                unknown("NotificationConfiguration", why);
                Notifications::default()
            });
        Self { bucket, versioning, rules, notifications }
    }
}

/// A bucket with its objects.
#[derive(Debug)]
pub struct Shelf {
    /// The current versions, by key.
    pub objects: Arc<Table<Object>>,
    /// All others.
    pub versions: Table<Object>,
    about: RwLock<Arc<About>>,
}

impl Shelf {
    /// The bucket of that name. Names of buckets cannot contain the slash.
    pub fn new(store: &Arc<Store>, name: &str, bucket: Arc<Bucket>) -> Self {
        let scope = format!("{name}/");
        Self {
            objects: Arc::new(Table::scoped(store, OBJECTS, &scope)),
            versions: Table::scoped(store, VERSIONS, &scope),
            about: RwLock::new(Arc::new(About::new(name, bucket))),
        }
    }

    /// What is known of it.
    pub fn about(&self) -> Arc<About> {
        self.about.read().clone()
    }

    /// Its settings have been changed.
    pub fn learn(&self, name: &str, bucket: Bucket) {
        *self.about.write() = Arc::new(About::new(name, Arc::new(bucket)));
    }

    /// The newest of a key's versions that are not the current one.
    fn newest(&self, moment: &Moment<'_>, key: &str) -> Result<Option<Arc<Object>>, NotStored> {
        let mut newest = None;
        self.versions.scan_in(moment, &versions::of_key(key), None, |_, version| {
            newest = Some(version);
            ControlFlow::Break(())
        })?;
        Ok(newest)
    }

    /// A version of a key that is not the current one, with the name of its row.
    fn other(
        &self,
        moment: &Moment<'_>,
        key: &str,
        which: &Which,
    ) -> Result<Option<(String, Arc<Object>)>, NotStored> {
        let prefix = match which {
            Which::Id(id) => match versions::sequence_of(id) {
                Some(sequence) => versions::row(key, sequence),
                None => return Ok(None),
            },
            Which::Null | Which::Current => versions::of_key(key),
        };
        let mut found = None;
        self.versions.scan_in(moment, &prefix, None, |row, version| {
            if which.means(version.version.as_deref()) {
                found = Some((row.to_owned(), version));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// The version that is meant.
    pub fn find(&self, store: &Store, key: &str, which: &Which) -> Result<Arc<Object>, StoreError> {
        if self.about().versioning == Versioning::Never {
            let missing = match which {
                Which::Id(_) => StoreError::NoSuchVersion,
                Which::Current | Which::Null => StoreError::NoSuchKey,
            };
            let found = self.objects.get(key).filter(|object| which.means(object.version()));
            return found.ok_or(missing);
        }
        if *which == Which::Current
            && let Some(current) = self.objects.get(key)
        {
            return Ok(current);
        }
        let found = store.moment(|moment| {
            let mut current = None;
            self.objects.scan_in(moment, key, None, |name, object| {
                current = Some(object).filter(|_| name == key);
                ControlFlow::Break(())
            })?;
            match (current, which) {
                (Some(current), which) if which.means(current.version()) => Ok(Some(current)),
                (None, Which::Current) => self.newest(moment, key),
                _ => Ok(self.other(moment, key, which)?.map(|(_, version)| version)),
            }
        })?;
        match found {
            Some(marker) if marker.marker => Err(StoreError::Marker(marker)),
            Some(object) => Ok(object),
            None if *which == Which::Current => Err(StoreError::NoSuchKey),
            None => Err(StoreError::NoSuchVersion),
        }
    }

    /// Makes place for a new version of a key: what was current goes among the others, or away when
    /// the new one takes its place. Numbers the new one, and answers what went away.
    pub fn displace(
        &self,
        writes: &Together<'_>,
        key: &str,
        current: Option<Arc<Object>>,
        new: &mut Object,
    ) -> Result<Option<Arc<Object>>, NotStored> {
        let versioning = self.about().versioning;
        if versioning == Versioning::Never {
            return Ok(current);
        }
        let newest = match &current {
            Some(current) => Some(current.clone()),
            None => self.newest(writes, key)?,
        };
        let last = newest.map_or(0, |newest| newest.sequence());
        let now = u64::try_from(new.modified.as_nanosecond()).unwrap_or_default();
        new.sequence = now.max(last + 1);
        if versioning == Versioning::Enabled {
            new.version = Some(versions::new_id(new.sequence));
            current.map_or(Ok(()), |current| self.lay_aside(writes, key, current))?;
            return Ok(None);
        }
        // There is one null version at most.
        if current.as_ref().is_some_and(|current| current.version.is_none()) {
            return Ok(current);
        }
        let null = self.other(writes, key, &Which::Null)?;
        if let Some((row, _)) = &null {
            self.versions.remove_in(writes, row)?;
        }
        current.map_or(Ok(()), |current| self.lay_aside(writes, key, current))?;
        Ok(null.map(|(_, version)| version))
    }

    /// Takes a version among those that are not current.
    pub fn lay_aside(
        &self,
        writes: &Together<'_>,
        key: &str,
        version: Arc<Object>,
    ) -> Result<(), NotStored> {
        let sequence = version.sequence();
        let version = Object { sequence, ..Arc::unwrap_or_clone(version) };
        self.versions.put_in(writes, &versions::row(key, sequence), &version)
    }

    /// Removes the version that is meant, and answers it when `judge` agrees. The next one is the
    /// current one then.
    pub fn take(
        &self,
        writes: &Together<'_>,
        key: &str,
        which: &Which,
        judge: impl FnOnce(Option<&Object>) -> Result<(), StoreError>,
    ) -> Result<Option<Arc<Object>>, StoreError> {
        let current = self.objects.get_in(writes, key)?;
        let was_there = current.is_some();
        if let Some(current) = current.filter(|current| which.means(current.version())) {
            judge(Some(&current))?;
            self.objects.remove_in(writes, key)?;
            if self.about().versioning != Versioning::Never {
                self.promote(writes, key)?;
            }
            return Ok(Some(current));
        }
        if *which == Which::Current || self.about().versioning == Versioning::Never {
            return judge(None).map(|()| None);
        }
        let found = self.other(writes, key, which)?;
        judge(found.as_ref().map(|(_, version)| version.as_ref()).filter(|v| !v.marker))?;
        let Some((row, version)) = found else { return Ok(None) };
        self.versions.remove_in(writes, &row)?;
        if !was_there {
            self.promote(writes, key)?;
        }
        Ok(Some(version))
    }

    /// Changes the version with that ID, and answers it; `None` when there is none, or a marker.
    pub fn change(
        &self,
        writes: &Together<'_>,
        key: &str,
        version: Option<&str>,
        change: impl FnOnce(&mut Object),
    ) -> Result<Option<Object>, NotStored> {
        let current = self.objects.get_in(writes, key)?;
        if let Some(current) = current.filter(|current| current.version() == version) {
            let mut object = Arc::unwrap_or_clone(current);
            change(&mut object);
            return self.objects.put_in(writes, key, &object).map(|()| Some(object));
        }
        let which = version.map_or(Which::Null, |id| Which::Id(id.to_owned()));
        let found = self.other(writes, key, &which)?.filter(|(_, version)| !version.marker);
        let Some((row, version)) = found else { return Ok(None) };
        let mut object = Arc::unwrap_or_clone(version);
        change(&mut object);
        self.versions.put_in(writes, &row, &object).map(|()| Some(object))
    }

    /// The newest version is the current one, unless it is a delete marker.
    fn promote(&self, writes: &Together<'_>, key: &str) -> Result<(), NotStored> {
        let Some(newest) = self.newest(writes, key)?.filter(|newest| !newest.marker) else {
            return Ok(());
        };
        self.versions.remove_in(writes, &versions::row(key, newest.sequence()))?;
        self.objects.put_in(writes, key, &newest)
    }

    /// Shows all versions whose keys begin with `prefix`, by key and the newest first, from behind
    /// `from` on, with whether they are the latest of their key, until `each` breaks off.
    pub fn scan(
        &self,
        store: &Store,
        prefix: &str,
        from: Option<&Place>,
        mut each: impl FnMut(&str, Arc<Object>, bool) -> ControlFlow<()>,
    ) -> Result<(), NotStored> {
        let after_key = from.map(|place| place.key.clone());
        let after_row = match from {
            None => None,
            Some(Place { key, version: None }) => {
                Some(format!("{}\u{ffff}", versions::of_key(key)))
            }
            Some(place) => self.row_of(store, place)?,
        };
        store.moment(|moment| {
            let written = versions::written(prefix);
            let mut objects = Cursor::new(&self.objects, moment, prefix.to_owned(), after_key);
            let mut others = Cursor::new(&self.versions, moment, written, after_row);
            // Of a key in the middle of which the page begins, the latest was in the last one.
            let mut last = from.filter(|place| place.version.is_some()).map(|p| p.key.clone());
            loop {
                let object_first = match (objects.peek()?, others.peek()?) {
                    (None, None) => return Ok(()),
                    (Some(_), None) => true,
                    (None, Some(_)) => false,
                    (Some(key), Some(row)) => *key <= versions::key_of(row),
                };
                let cursor = if object_first { &mut objects } else { &mut others };
                let Some((name, version)) = cursor.rows.pop_front() else { return Ok(()) };
                let key = if object_first { name } else { versions::key_of(&name) };
                let latest = last.as_ref() != Some(&key);
                if each(&key, version, latest).is_break() {
                    return Ok(());
                }
                last = Some(key);
            }
        })
    }

    /// The row behind which a listing goes on; where the current version was the last one, that is
    /// before the first row of its key.
    fn row_of(&self, store: &Store, place: &Place) -> Result<Option<String>, NotStored> {
        let before = versions::of_key(&place.key);
        let current = self.objects.get(&place.key);
        let which = place.version.clone().unwrap_or(Which::Null);
        if current.is_some_and(|current| which.means(current.version())) {
            return Ok(Some(before));
        }
        if let Which::Id(id) = &which {
            let sequence = versions::sequence_of(id).unwrap_or(u64::MAX);
            return Ok(Some(versions::row(&place.key, sequence)));
        }
        let null = store.moment(|moment| self.other(moment, &place.key, &which))?;
        Ok(Some(null.map_or(before, |(row, _)| row)))
    }
}

/// Where a listing of versions goes on.
#[derive(Debug, Clone)]
pub struct Place {
    /// The key that was last.
    pub key: String,
    /// Its version that was last; all of them when absent.
    pub version: Option<Which>,
}

/// Goes through a table.
struct Cursor<'a> {
    table: &'a Table<Object>,
    moment: &'a Moment<'a>,
    prefix: String,
    after: Option<String>,
    rows: VecDeque<(String, Arc<Object>)>,
    ended: bool,
}

impl<'a> Cursor<'a> {
    fn new(
        table: &'a Table<Object>,
        moment: &'a Moment<'a>,
        prefix: String,
        after: Option<String>,
    ) -> Self {
        Self { table, moment, prefix, after, rows: VecDeque::new(), ended: false }
    }

    /// The name of the next row.
    fn peek(&mut self) -> Result<Option<&String>, NotStored> {
        if self.rows.is_empty() && !self.ended {
            let rows = &mut self.rows;
            self.table.scan_in(self.moment, &self.prefix, self.after.as_deref(), |name, row| {
                rows.push_back((name.to_owned(), row));
                if rows.len() < AHEAD { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            self.ended = rows.len() < AHEAD;
            self.after = rows.back().map(|(name, _)| name.clone()).or(self.after.take());
        }
        Ok(self.rows.front().map(|(name, _)| name))
    }
}
