//! Tables with an index in memory: what a list chooses its rows by, and in which order.
//!
//! A page of a long list is chosen from the index, and only its rows are read. The index is made
//! when it is first asked for, so that a start with much in the table is a soon one, and follows
//! every write from then on; who writes must write through it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::store::{NotStored, Table};

/// What is known of a row without reading it.
pub trait Entry<T>: PartialEq {
    /// What a list is ordered by before the names.
    type Order: Debug + Ord;

    /// The entry of a row.
    fn of(row: &T) -> Self;

    /// Where it is in a list.
    fn order(&self) -> Self::Order;
}

/// Of every row what is known of it, by name and in the order of the list.
#[derive(Debug)]
struct Entries<E, O> {
    by_name: BTreeMap<String, E>,
    in_order: BTreeSet<(O, String)>,
}

impl<E, O: Ord> Entries<E, O> {
    fn insert<T>(&mut self, name: &str, entry: E)
    where
        E: Entry<T, Order = O>,
    {
        self.remove(name);
        self.in_order.insert((entry.order(), name.to_owned()));
        self.by_name.insert(name.to_owned(), entry);
    }

    fn remove<T>(&mut self, name: &str)
    where
        E: Entry<T, Order = O>,
    {
        if let Some(former) = self.by_name.remove(name) {
            self.in_order.remove(&(former.order(), name.to_owned()));
        }
    }
}

/// A table of `T` with an entry `E` for every row.
#[derive(Debug)]
pub struct Indexed<T, E: Entry<T>> {
    table: Table<T>,
    /// Nothing until the first question.
    entries: Mutex<Option<Entries<E, E::Order>>>,
}

impl<T: Serialize + DeserializeOwned + Clone, E: Entry<T>> Indexed<T, E> {
    /// The table with an index.
    pub fn new(table: Table<T>) -> Self {
        Self { table, entries: Mutex::default() }
    }

    /// What `ask` makes of the entries. Of a table that cannot be read there are none, and the
    /// store has noted that what is told of it may be wrong.
    fn ask<X: Default>(&self, ask: impl FnOnce(&Entries<E, E::Order>) -> X) -> X {
        let mut entries = self.entries.lock();
        if entries.is_none() {
            *entries = self.read();
        }
        entries.as_ref().map(ask).unwrap_or_default()
    }

    fn read(&self) -> Option<Entries<E, E::Order>> {
        let mut entries = Entries { by_name: BTreeMap::new(), in_order: BTreeSet::new() };
        let read = self.table.scan("", None, |name, row| {
            entries.insert(name, E::of(&row));
            ControlFlow::Continue(())
        });
        read.then_some(entries)
    }

    /// Names of those of which `pick` makes something, with that, in the order of the names.
    pub fn picked<X>(&self, pick: impl Fn(&E) -> Option<X>) -> Vec<(String, X)> {
        self.ask(|entries| {
            let all = entries.by_name.iter();
            let picked = all.filter_map(|(name, entry)| Some((name, pick(entry)?)));
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
            let mut fitting = entries.by_name.iter().filter(|(_, entry)| fits(entry));
            fitting.next().map(|(name, _)| name.clone())
        })
    }

    /// What `list` makes of the names and entries from `begin` on, in the order of the list: it
    /// looks at no more of them than it takes.
    pub fn listed<X: Default>(
        &self,
        begin: E::Order,
        list: impl FnOnce(&mut dyn Iterator<Item = (&str, &E)>) -> X,
    ) -> X {
        self.ask(|entries| {
            let from = entries.in_order.range((begin, String::new())..);
            let entry = |name: &String| entries.by_name.get(name);
            list(&mut from.filter_map(|(_, name)| Some((name.as_str(), entry(name)?))))
        })
    }

    /// How many fit.
    pub fn count(&self, fits: impl Fn(&E) -> bool) -> usize {
        self.ask(|entries| entries.by_name.values().filter(|entry| fits(entry)).count())
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
            Some(row) => entries.insert(name, E::of(&row)),
            None => entries.remove(name),
        }
    }

    fn note_if(&self, name: &str, after: Option<&E>) {
        let differs = |entries: &Entries<E, E::Order>| entries.by_name.get(name) != after;
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
impl<T, E: Entry<T>> Deref for Indexed<T, E> {
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
        /// The odd ones first.
        type Order = bool;

        fn of(row: &u32) -> Self {
            Self(row.is_multiple_of(2))
        }

        fn order(&self) -> bool {
            self.0
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
        let listed = |begin| {
            let names = |list: &mut dyn Iterator<Item = (&str, &Even)>| {
                list.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
            };
            numbers.listed(begin, names)
        };
        assert_eq!(
            (listed(false), listed(true)),
            (vec!["b".to_owned(), "a".to_owned()], vec!["a".to_owned()])
        );
    }
}
