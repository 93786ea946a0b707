//! Tables with an index in memory: what a list chooses its rows by, and in which order.
//!
//! A page of a long list is chosen from the index, and only its rows are read. The index is made
//! when it is first asked for, so that a start with much in the table is a soon one, and follows
//! every write from then on; who writes must write through it.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::store::{NotStored, Table};

/// What is known of a row without reading it.
pub trait Entry<T>: PartialEq {
    /// The entry of a row.
    fn of(row: &T) -> Self;
}

/// Of every row what is known of it.
type Entries<E> = BTreeMap<String, E>;

/// A table of `T` with an entry `E` for every row.
#[derive(Debug)]
pub struct Indexed<T, E> {
    table: Table<T>,
    /// Nothing until the first question.
    entries: Mutex<Option<Entries<E>>>,
}

impl<T: Serialize + DeserializeOwned + Clone, E: Entry<T>> Indexed<T, E> {
    /// The table with an index.
    pub fn new(table: Table<T>) -> Self {
        Self { table, entries: Mutex::default() }
    }

    /// What `ask` makes of the entries. Of a table that cannot be read there are none, and the
    /// store has noted that what is told of it may be wrong.
    fn ask<X: Default>(&self, ask: impl FnOnce(&Entries<E>) -> X) -> X {
        let mut entries = self.entries.lock();
        if entries.is_none() {
            *entries = self.read();
        }
        entries.as_ref().map(ask).unwrap_or_default()
    }

    fn read(&self) -> Option<Entries<E>> {
        let mut entries = BTreeMap::new();
        let read = self.table.scan("", None, |name, row| {
            entries.insert(name.to_owned(), E::of(&row));
            ControlFlow::Continue(())
        });
        read.then_some(entries)
    }

    /// Names of those of which `pick` makes something, with that, in the order of the names.
    pub fn picked<X>(&self, pick: impl Fn(&E) -> Option<X>) -> Vec<(String, X)> {
        self.ask(|entries| {
            let picked = entries.iter().filter_map(|(name, entry)| Some((name, pick(entry)?)));
            picked.map(|(name, picked)| (name.clone(), picked)).collect()
        })
    }

    /// Names of those that fit, in their order, to be read with [`Indexed::rows`].
    pub fn chosen(&self, fits: impl Fn(&E) -> bool) -> Vec<(String, ())> {
        self.picked(|entry| fits(entry).then_some(()))
    }

    /// The first name whose entry fits.
    pub fn first(&self, fits: impl Fn(&E) -> bool) -> Option<String> {
        self.ask(|entries| {
            let mut fitting = entries.iter().filter(|(_, entry)| fits(entry));
            fitting.next().map(|(name, _)| name.clone())
        })
    }

    /// How many fit.
    pub fn count(&self, fits: impl Fn(&E) -> bool) -> usize {
        self.ask(|entries| entries.values().filter(|entry| fits(entry)).count())
    }

    /// The rows of what was chosen; what has gone since is left out.
    pub fn rows<X>(&self, chosen: Vec<(String, X)>) -> impl Iterator<Item = (String, Arc<T>)> {
        chosen.into_iter().filter_map(|(name, _)| self.table.get(&name).map(|row| (name, row)))
    }

    /// Notes what the row says now: whoever notes last has read last.
    fn note(&self, name: &str) {
        let mut entries = self.entries.lock();
        let Some(entries) = entries.as_mut() else { return };
        match self.table.get(name) {
            Some(row) => drop(entries.insert(name.to_owned(), E::of(&row))),
            None => drop(entries.remove(name)),
        }
    }

    fn note_if(&self, name: &str, after: Option<&E>) {
        let differs = |entries: &Entries<E>| entries.get(name) != after;
        if after.is_some() && self.entries.lock().as_ref().is_some_and(differs) {
            self.note(name);
        }
    }

    /// See [`Table::put`].
    pub fn put(&self, name: &str, row: T) -> Result<(), NotStored> {
        self.table.put(name, row)?;
        self.note(name);
        Ok(())
    }

    /// See [`Table::create`].
    pub fn create(&self, name: &str, row: T) -> Result<bool, NotStored> {
        let made = self.table.create(name, row)?;
        self.note(name);
        Ok(made)
    }

    /// See [`Table::update`].
    pub fn update<R>(
        &self,
        name: &str,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<R>, NotStored> {
        let mut after = None;
        let result = self.table.update(name, watched(change, &mut after))?;
        self.note_if(name, after.as_ref());
        Ok(result)
    }

    /// See [`Table::settle`].
    pub fn settle<R>(&self, name: &str, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut after = None;
        let result = self.table.settle(name, watched(change, &mut after));
        self.note_if(name, after.as_ref());
        result
    }

    /// See [`Table::replace`].
    pub fn replace<F: From<NotStored>>(
        &self,
        name: &str,
        decide: impl FnOnce(Option<&T>) -> Result<T, F>,
    ) -> Result<Option<Arc<T>>, F> {
        let former = self.table.replace(name, decide)?;
        self.note(name);
        Ok(former)
    }

    /// See [`Table::remove`].
    pub fn remove(&self, name: &str) -> Result<Option<Arc<T>>, NotStored> {
        let removed = self.table.remove(name)?;
        self.note(name);
        Ok(removed)
    }
}

/// A change that tells the entry of what it made.
fn watched<T, E: Entry<T>, R>(
    change: impl FnOnce(&mut T) -> R,
    after: &mut Option<E>,
) -> impl FnOnce(&mut T) -> R {
    move |row| {
        let result = change(row);
        *after = Some(E::of(row));
        result
    }
}

/// Everything that only reads.
impl<T, E> Deref for Indexed<T, E> {
    type Target = Table<T>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::store::Store;

    /// Whether a number is even.
    #[derive(Debug, Clone, PartialEq)]
    struct Even(bool);

    impl Entry<u32> for Even {
        fn of(row: &u32) -> Self {
            Self(row.is_multiple_of(2))
        }
    }

    #[test]
    fn the_index_follows_every_write_and_a_restart() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        let open = || Indexed::<u32, Even>::new(Table::new(&store, "numbers"));
        let even = |numbers: &Indexed<u32, Even>| -> Vec<String> {
            numbers.chosen(|entry| entry.0).into_iter().map(|(name, _)| name).collect()
        };
        let numbers = open();
        numbers.put("a", 1).expect("stored");
        assert!(numbers.create("b", 2).expect("stored"));
        assert!(!numbers.create("b", 3).expect("stored"));
        numbers.put("c", 4).expect("stored");
        assert_eq!(even(&numbers), ["b", "c"]);
        numbers.update("a", |n| *n = 6).expect("stored");
        numbers.settle("b", |n| *n = 7);
        assert_eq!(even(&numbers), ["a", "c"]);
        assert_eq!(even(&open()), ["a", "c"]);
        numbers.remove("c").expect("removed");
        assert_eq!((even(&numbers), numbers.count(|_| true)), (vec!["a".to_owned()], 2));
        assert_eq!(numbers.first(|entry| !entry.0).as_deref(), Some("b"));
        let rows: Vec<u32> = numbers.rows(numbers.chosen(|_| true)).map(|(_, n)| *n).collect();
        assert_eq!(rows, [6, 7]);
    }
}
