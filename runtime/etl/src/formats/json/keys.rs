//! The keys of JSON objects: which of them are wanted columns.
//!
//! A line whose keys are known is read once, without copying a key. What is not known is learned,
//! and the line is read again.

use std::collections::HashMap;
use std::fmt;

use anyhow::{Result, bail};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use steppe_wire::etl::ColumnName;
use steppe_wire::etl::header::{position, trimmed};
use steppe_wire::hint::Hinted;

use crate::formats::columns::find;

/// Keys that the objects of a file may have altogether.
pub const KEYS_MAX: usize = 4_096;

/// The keys of a file, as far as it is read.
pub struct Keys {
    wanted: Vec<ColumnName>,
    /// Which of the keys each wanted column is.
    positions: Vec<Option<usize>>,
    /// The keys as they are written.
    names: Vec<String>,
    numbers: HashMap<String, usize>,
    /// The wanted columns that a key is.
    columns: Vec<Vec<usize>>,
    /// The reading in which a key was seen last.
    seen: Vec<u64>,
    /// The keys of the object before: most have the same ones in the same order.
    order: Vec<usize>,
    readings: u64,
    objects: u64,
    /// Keys that are not known yet.
    new: Vec<String>,
}

impl Keys {
    /// Of a file of which nothing is read.
    pub fn new(wanted: &[ColumnName]) -> Self {
        Self {
            wanted: wanted.to_vec(),
            positions: vec![None; wanted.len()],
            names: vec![],
            numbers: HashMap::new(),
            columns: vec![],
            seen: vec![],
            order: vec![],
            readings: 0,
            objects: 0,
            new: vec![],
        }
    }

    /// Learns the keys of an object that were new, for which it must be read again.
    pub fn learn(&mut self) -> Result<bool> {
        let earlier = self.objects;
        self.objects += 1;
        if self.new.is_empty() {
            return Ok(false);
        }
        for name in std::mem::take(&mut self.new) {
            if self.numbers.contains_key(&name) {
                continue;
            }
            if self.names.len() == KEYS_MAX {
                bail!(Hinted::new(
                    format!("the objects have more than {KEYS_MAX} different keys"),
                    "keys are columns; make values of keys that name things"
                ));
            }
            self.numbers.insert(name.clone(), self.names.len());
            self.names.push(name);
            self.columns.push(vec![]);
            self.seen.push(0);
        }
        self.find(earlier)?;
        Ok(true)
    }

    /// Finds the wanted columns; `earlier` objects were read before.
    fn find(&mut self, earlier: u64) -> Result<()> {
        let header: Vec<String> = self.names.iter().map(|name| trimmed(name).to_owned()).collect();
        self.columns.iter_mut().for_each(Vec::clear);
        for (index, wanted) in self.wanted.iter().enumerate() {
            let found = position(&header, wanted)?;
            if let (Some(before), Some(now)) = (self.positions[index], found)
                && before != now
                && earlier > 0
            {
                bail!(Hinted::new(
                    format!(
                        "the key `{}` is the manifest's column `{}`, as the key `{}` was before",
                        self.names[now], wanted.name, self.names[before]
                    ),
                    "rename one of them in the file"
                ));
            }
            self.positions[index] = found;
            if let Some(key) = found {
                self.columns[key].push(index);
            }
        }
        Ok(())
    }

    /// Every wanted column must be a key of some object; a file without objects has none to lack.
    pub fn refuse_missing(&self) -> Result<()> {
        if self.objects == 0 {
            return Ok(());
        }
        find(&self.names, &self.wanted).map(|_| ())
    }

    /// The number of a key that is the object's `ordinal`-th.
    fn number(&mut self, ordinal: usize, name: &str) -> Option<usize> {
        let expected = self.order.get(ordinal).copied();
        if let Some(number) = expected
            && self.names[number] == name
        {
            return expected;
        }
        let Some(number) = self.numbers.get(name).copied() else {
            self.new.push(name.to_owned());
            return None;
        };
        match self.order.get_mut(ordinal) {
            Some(expected) => *expected = number,
            None => self.order.push(number),
        }
        Some(number)
    }
}

/// Reads an object; gives the values of the wanted columns.
pub struct Object<'k>(pub &'k mut Keys);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let keys = self.0;
        keys.readings += 1;
        let mut values = vec![None; keys.wanted.len()];
        let mut ordinal = 0;
        while let Some(number) = map.next_key_seed(Key { keys, ordinal })? {
            ordinal += 1;
            let Some(number) = number else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut keys.seen[number], keys.readings) == keys.readings {
                let name = &keys.names[number];
                return Err(A::Error::custom(format_args!("the key `{name}` is there twice")));
            }
            if keys.columns[number].is_empty() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: &RawValue = map.next_value()?;
            for column in &keys.columns[number] {
                values[*column] = Some(value);
            }
        }
        Ok(values)
    }
}

/// Reads a key; gives its number when it is known.
struct Key<'k> {
    keys: &'k mut Keys,
    ordinal: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.keys.number(self.ordinal, name))
    }
}
