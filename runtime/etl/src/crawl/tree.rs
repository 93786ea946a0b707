//! How files become tables.
//!
//! The files of a folder are one table when their data are compatible and their schemas similar, or
//! each is a table of its own. Folders in a folder are partitions of one table when each of them is
//! one table, of the same depth, and all of these are compatible and similar; otherwise each folder
//! is for itself. Files that lie beside folders are joined with nothing. A level of folders whose
//! names are `key=value`, all with one key, is a key of that name, any other `partition_0` and so
//! on.
//!
//! <https://docs.aws.amazon.com/glue/latest/dg/crawler-s3-folder-table-partition.html>,
//! <https://docs.aws.amazon.com/glue/latest/dg/crawler-grouping-policy.html>,
//! <https://docs.aws.amazon.com/glue/latest/dg/crawler-maximum-number-of-tables.html>

use std::collections::BTreeMap;

use steppe_wire::crawl::{Found, Partition};

use super::seen::{Seen, together};

/// A folder with what its files have.
#[derive(Debug)]
pub struct Folder {
    /// `s3://bucket/prefix/`.
    location: String,
    files: BTreeMap<String, Seen>,
    folders: BTreeMap<String, Folder>,
}

/// A table in the making.
struct Group {
    location: String,
    seen: Seen,
    /// Levels of folders below its own.
    levels: usize,
    leaves: Vec<Leaf>,
}

/// The folder of files.
struct Leaf {
    /// Names of the folders that lead to it, the last one first.
    path: Vec<String>,
    location: String,
    seen: Seen,
}

impl Folder {
    /// An empty folder, whose location ends in `/`.
    pub fn new(location: String) -> Self {
        Self { location, files: BTreeMap::new(), folders: BTreeMap::new() }
    }

    /// Adds a file by its name below this folder.
    pub fn add(&mut self, name: &str, seen: Seen) {
        match name.split_once('/') {
            None => drop(self.files.insert(name.to_owned(), seen)),
            Some((folder, rest)) => {
                let location = format!("{}{folder}/", self.location);
                let folders = self.folders.entry(folder.to_owned());
                folders.or_insert_with(|| Self::new(location)).add(rest, seen);
            }
        }
    }

    /// Its tables.
    pub fn tables(&self, combine: bool) -> Vec<Found> {
        self.groups(combine).into_iter().map(Group::found).collect()
    }

    fn groups(&self, combine: bool) -> Vec<Group> {
        if self.folders.is_empty() {
            let all: Vec<&Seen> = self.files.values().collect();
            return match together(&all, combine) {
                Some(seen) => vec![Group::of(self.location.clone(), seen)],
                None => self.each_file(),
            };
        }
        let children = self.folders.iter().map(|(name, folder)| (name, folder.groups(combine)));
        let children: Vec<(&String, Vec<Group>)> = children.collect();
        if self.files.is_empty()
            && let Some(seen) = self.partitioned(&children, combine)
        {
            return vec![self.joined(seen, children)];
        }
        let mut groups = self.each_file();
        groups.extend(children.into_iter().flat_map(|(_, groups)| groups));
        groups
    }

    fn each_file(&self) -> Vec<Group> {
        let group = |(name, seen): (&String, &Seen)| {
            Group::of(format!("{}{name}", self.location), seen.clone())
        };
        self.files.iter().map(group).collect()
    }

    /// What folders have that are partitions of one table.
    fn partitioned(&self, children: &[(&String, Vec<Group>)], combine: bool) -> Option<Seen> {
        let whole = |(name, groups): &(&String, Vec<Group>)| match &groups[..] {
            [one] => one.location == format!("{}{name}/", self.location),
            _ => false,
        };
        if !children.iter().all(whole) {
            return None;
        }
        let groups: Vec<&Group> = children.iter().flat_map(|(_, groups)| groups).collect();
        if groups.iter().any(|group| group.levels != groups[0].levels) {
            return None;
        }
        let seen: Vec<&Seen> = groups.iter().map(|group| &group.seen).collect();
        together(&seen, combine)
    }

    fn joined(&self, seen: Seen, children: Vec<(&String, Vec<Group>)>) -> Group {
        let (mut levels, mut leaves) = (0, vec![]);
        for (name, groups) in children {
            for group in groups {
                levels = group.levels + 1;
                leaves.extend(group.leaves.into_iter().map(|mut leaf| {
                    leaf.path.push(name.clone());
                    leaf
                }));
            }
        }
        Group { location: self.location.clone(), seen, levels, leaves }
    }
}

impl Group {
    fn of(location: String, seen: Seen) -> Self {
        let leaf = Leaf { path: vec![], location: location.clone(), seen: seen.clone() };
        Self { location, seen, levels: 0, leaves: vec![leaf] }
    }

    fn found(self) -> Found {
        let name = self.location.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let mut keys: Vec<Option<String>> = vec![];
        for level in 0..self.levels {
            let key = self.key(level).filter(|key| !keys.contains(&Some(key.clone())));
            keys.push(key);
        }
        let value = |(key, name): (&Option<String>, &String)| match (key, name.split_once('=')) {
            (Some(_), Some((_, value))) => value.to_owned(),
            _ => name.clone(),
        };
        let partitions = self.leaves.iter().filter(|_| self.levels > 0);
        let partitions = partitions.map(|leaf| Partition {
            values: keys.iter().zip(leaf.path.iter().rev()).map(value).collect(),
            location: leaf.location.clone(),
            content: leaf.seen.content(),
        });
        let named = |(level, key): (usize, &Option<String>)| {
            key.clone().unwrap_or_else(|| format!("partition_{level}"))
        };
        Found {
            name: name.to_owned(),
            content: self.seen.content(),
            keys: keys.iter().enumerate().map(named).collect(),
            partitions: partitions.collect(),
            location: self.location,
        }
    }

    /// The key that all names of folders of a level have.
    fn key(&self, level: usize) -> Option<String> {
        let mut keys = self.leaves.iter().map(|leaf| {
            let (key, _) = leaf.path.get(self.levels - 1 - level)?.split_once('=')?;
            (!key.is_empty()).then(|| key.to_lowercase())
        });
        let first = keys.next()??;
        keys.all(|key| key.as_ref() == Some(&first)).then_some(first)
    }
}
