//! Which sets of columns identify records.
//!
//! A set is given up once it plainly identifies nothing, and all of them together remember a
//! bounded number of keys; how many records were compared is told.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use anyhow::{Context, Result};
use steppe_wire::look::{KEYS_MAX, KeyLook};

/// Records that may be repeated before a set is given up, whatever there are.
const REPEATED_MIN: u64 = 1_000;
/// The share of the records that may be repeated.
const REPEATED_SHARE: u64 = 4;

/// Sets of columns.
#[derive(Debug, Default)]
pub struct Keys {
    sets: Vec<Set>,
    /// Names of the first file's columns.
    names: Vec<String>,
    /// Where these stand in the present file.
    order: Vec<usize>,
    remembered: usize,
}

#[derive(Debug)]
struct Set {
    look: KeyLook,
    seen: HashSet<u64>,
    is_full: bool,
}

impl Keys {
    /// Of these places of columns.
    pub fn new(sets: &[Vec<usize>]) -> Self {
        let set = |columns: &Vec<usize>| Set {
            look: KeyLook {
                columns: columns.clone(),
                compared: 0,
                repeated: 0,
                is_given_up: false,
                example: None,
            },
            seen: HashSet::new(),
            is_full: false,
        };
        Self { sets: sets.iter().map(set).collect(), ..Self::default() }
    }

    /// Whether anything is asked.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Begins a file with these columns.
    pub fn begin(&mut self, names: &[&str]) -> Result<()> {
        if self.names.is_empty() {
            self.names = names.iter().map(|name| (*name).to_owned()).collect();
        }
        let place = |name: &String| {
            names.iter().position(|other| other == name).context("the files have other columns")
        };
        // Equal names stand where they stand; those of one input have the same order then.
        self.order = match self.names.iter().eq(names.iter()) {
            true => (0..names.len()).collect(),
            false => self.names.iter().map(place).collect::<Result<_>>()?,
        };
        let known = |set: &Set| set.look.columns.iter().all(|at| *at < self.order.len());
        self.sets.iter().all(known).then_some(()).context("a set names a column that is not there")
    }

    /// Sees the next record.
    pub fn see(&mut self, record: &[&str]) {
        for set in &mut self.sets {
            if set.look.is_given_up || set.is_full {
                continue;
            }
            let mut hasher = DefaultHasher::new();
            let value = |at: &usize| record[self.order[*at]];
            set.look.columns.iter().for_each(|at| value(at).hash(&mut hasher));
            set.look.compared += 1;
            if set.seen.insert(hasher.finish()) {
                self.remembered += 1;
                set.is_full = self.remembered >= KEYS_MAX;
                continue;
            }
            set.look.repeated += 1;
            if set.look.example.is_none() {
                let values = set.look.columns.iter().map(|at| value(at).to_owned());
                set.look.example = Some(values.collect());
            }
            let (repeated, compared) = (set.look.repeated, set.look.compared);
            if repeated > REPEATED_MIN && repeated > compared / REPEATED_SHARE {
                set.look.is_given_up = true;
                self.remembered -= set.seen.len();
                set.seen = HashSet::new();
            }
        }
    }

    /// What was found.
    pub fn told(self) -> Vec<KeyLook> {
        self.sets.into_iter().map(|set| set.look).collect()
    }
}
