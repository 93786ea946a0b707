//! JSON, as far as a sample shows it: objects one after another.
//!
//! The first megabyte is read, and one more while it has no whole object, up to ten. Whole numbers
//! are `int`, or `bigint` when they do not fit, others `double`; a member whose values are of two
//! kinds is `string`, as is one of which only nulls were seen. Columns have the names of members in
//! small letters.
//!
//! <https://repost.aws/knowledge-center/glue-crawler-detect-schema>

use anyhow::Result;
use serde_json::{Deserializer, Map, Value};
use steppe_wire::crawl::Classification;

use super::hive::{Hive, Joining};
use super::sample::Sample;
use super::seen::Seen;

/// What the objects of a sample have; nothing when it has none, or has anything else.
pub fn see(sample: &mut Sample) -> Result<Option<Seen>> {
    loop {
        sample.grow()?;
        let found = objects(sample.text(), sample.is_all);
        let Some((objects, end)) = found else { return Ok(None) };
        if objects.is_empty() && !sample.is_enough() {
            continue;
        }
        sample.counted_bytes = end;
        return Ok((!objects.is_empty()).then(|| seen(&objects)));
    }
}

/// The whole objects, and where they end; nothing when there is anything else.
fn objects(text: &[u8], is_all: bool) -> Option<(Vec<Map<String, Value>>, usize)> {
    let mut values = Deserializer::from_slice(text).into_iter::<Value>();
    let mut objects = vec![];
    loop {
        match values.next() {
            Some(Ok(Value::Object(members))) => objects.push(members),
            None => break,
            Some(Err(error)) if error.is_eof() && !is_all => break,
            Some(_) => return None,
        }
    }
    let end = values.byte_offset();
    Some((objects, end))
}

fn seen(objects: &[Map<String, Value>]) -> Seen {
    let mut paths: Vec<String> = vec![];
    for member in objects.iter().flat_map(Map::keys) {
        if !paths.contains(member) {
            paths.push(member.clone());
        }
    }
    let mut columns = vec![];
    for object in objects {
        let members = object.iter().map(|(name, value)| (name.to_lowercase(), kind(value)));
        let members: Vec<_> = members.collect();
        columns = super::hive::join(&columns, &members, Joining::Texts).unwrap_or(columns);
    }
    Seen {
        classification: Classification::Json(paths),
        gzip: false,
        columns,
        objects: 1,
        bytes: 0,
        records: objects.len() as u64,
    }
}

fn kind(value: &Value) -> Hive {
    match value {
        Value::Null => Hive::Unseen,
        Value::Bool(_) => Hive::Boolean,
        Value::String(_) => Hive::String,
        Value::Number(number) => match number.as_i64() {
            Some(whole) if i32::try_from(whole).is_ok() => Hive::Int,
            Some(_) => Hive::BigInt,
            None => Hive::Double,
        },
        Value::Array(items) => {
            let join = |joined: Hive, item: &Value| {
                joined.join(&kind(item), Joining::Texts).unwrap_or(Hive::String)
            };
            Hive::Array(Box::new(items.iter().fold(Hive::Unseen, join)))
        }
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), kind(value)));
            Hive::Struct(members.collect())
        }
    }
}
