//! Records of several tables that are written together or not at all, and that are read as they
//! were at one moment.
//!
//! For tables that nothing settles in the background ([`Table::settle`]).

use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::Connection;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::table::row_of;
use super::{DELETE, NotStored, Store, Table};

/// All records as they are at one moment.
pub struct Moment<'c>(&'c Connection);

/// Writes that are under way, between which and the end nobody else writes.
pub struct Together<'c>(Moment<'c>);

impl<'c> std::ops::Deref for Together<'c> {
    type Target = Moment<'c>;

    fn deref(&self) -> &Moment<'c> {
        &self.0
    }
}

impl Store {
    /// Reads several tables as they are at one moment, whatever is written meanwhile.
    pub fn moment<R>(
        &self,
        work: impl FnOnce(&Moment<'_>) -> Result<R, NotStored>,
    ) -> Result<R, NotStored> {
        let read = self.read(|connection| {
            let moment = connection.unchecked_transaction()?;
            let result = work(&Moment(&moment));
            moment.finish().map(|()| result)
        });
        read.map_err(|error| NotStored::new("", &error))?
    }

    /// Does `work` whole, or nothing of it when it fails; when it returns, everything survives a
    /// crash of the machine. `name` is what an error names.
    pub fn together<R, E: From<NotStored>>(
        &self,
        name: &str,
        work: impl FnOnce(&Together<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        self.write(name, |connection| work(&Together(Moment(connection))))
    }
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The record called `name`.
    pub fn get_in(&self, writes: &Together<'_>, name: &str) -> Result<Option<Arc<T>>, NotStored> {
        self.former(writes.0.0, name, &self.full(name))
    }

    /// Writes a record.
    pub fn put_in(&self, writes: &Together<'_>, name: &str, value: &T) -> Result<(), NotStored> {
        self.store_row(writes.0.0, name, &self.full(name), value)
    }

    /// Deletes a record, if it is there.
    pub fn remove_in(&self, writes: &Together<'_>, name: &str) -> Result<(), NotStored> {
        let delete = writes.0.0.prepare_cached(DELETE);
        delete
            .and_then(|mut delete| delete.execute((&self.kind, self.full(name))))
            .map(|_| ())
            .map_err(|error| NotStored::new(name, &error))
    }

    /// Shows records whose names begin with `prefix` and come after `after`, in order, until `each`
    /// breaks off. Damaged ones are passed over; who reads them alone sets them aside.
    pub fn scan_in(
        &self,
        moment: &Moment<'_>,
        prefix: &str,
        after: Option<&str>,
        mut each: impl FnMut(&str, Arc<T>) -> ControlFlow<()>,
    ) -> Result<(), NotStored> {
        let read = self.rows_of(moment.0, prefix, after, |name, row| {
            let row = row_of(row.get_ref(1)?.as_str()?, row.get(2)?);
            Ok(row.map_or(ControlFlow::Continue(()), |row| each(name, Arc::new(row))))
        });
        read.map_err(|error| NotStored::new(prefix, &error))
    }
}
