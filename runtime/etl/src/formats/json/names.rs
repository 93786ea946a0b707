//! The keys that the objects of a file have, in the order in which they come first.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::keys::KEYS_MAX;

/// The keys of a file, as far as it is read, and whether the value of one was nested.
#[derive(Default)]
pub struct Names {
    all: Vec<(String, bool)>,
    places: HashMap<String, usize>,
}

impl Names {
    /// Reads a line, which must be one whole object.
    pub fn see(&mut self, line: &str) -> serde_json::Result<()> {
        let mut deserializer = serde_json::Deserializer::from_str(line);
        self.deserialize(&mut deserializer)?;
        deserializer.end()
    }

    /// All of them.
    pub fn into_all(self) -> Vec<(String, bool)> {
        self.all
    }
}

impl<'de> DeserializeSeed<'de> for &mut Names {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Names {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let value: &RawValue = map.next_value()?;
            let is_nested = value.get().starts_with(['{', '[']);
            if let Some(place) = self.places.get(&name) {
                self.all[*place].1 |= is_nested;
                continue;
            }
            if self.all.len() == KEYS_MAX {
                return Err(A::Error::custom(format_args!("more than {KEYS_MAX} different keys")));
            }
            self.places.insert(name.clone(), self.all.len());
            self.all.push((name, is_nested));
        }
        Ok(())
    }
}
