//! Rows in JSON: a list of objects, or an object per line. Values go straight into columns.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use steppe_wire::score::ScoreRequest;

use super::form::{Building, Given, Named};
use super::{Form, Questions, ROWS_MAX};
use crate::problems::RequestError;

/// A request whose rows are not read yet: by what, its model says.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Everything else.
    pub request: ScoreRequest,
    /// The rows, if it has any.
    pub rows: Option<&'a RawValue>,
}

/// [`ScoreRequest`], with rows as they were sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent<'a> {
    #[serde(borrow, default)]
    rows: Option<&'a RawValue>,
    #[serde(default)]
    entities: Vec<String>,
    dataset_key: Option<String>,
    bucket_name: Option<String>,
    #[serde(default)]
    explain: bool,
    threshold: Option<f64>,
    model_version: Option<String>,
}

/// A request without its rows, and these.
pub fn asked(body: &Bytes) -> Result<Asked<'_>, RequestError> {
    let sent: Sent<'_> = serde_json::from_slice(body).map_err(|e| {
        let hint = not_a_number(&e, body);
        RequestError::Invalid(format!("the body is not a request: {e}{hint}"))
    })?;
    let request = ScoreRequest {
        rows: vec![],
        entities: sent.entities,
        dataset_key: sent.dataset_key,
        bucket_name: sent.bucket_name,
        explain: sent.explain,
        threshold: sent.threshold,
        model_version: sent.model_version,
    };
    Ok(Asked { request, rows: sent.rows })
}

/// What to send instead of what Python and JavaScript write for a missing number.
fn not_a_number(error: &serde_json::Error, body: &[u8]) -> &'static str {
    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1));
    let at = error.column().saturating_sub(2);
    let from = line.and_then(|line| line.get(at..)).unwrap_or_default();
    let found = [&b"NaN"[..], b"Inf", b"-Inf"].into_iter().any(|word| {
        from.starts_with(word) || from.get(1..).is_some_and(|from| from.starts_with(word))
    });
    match found {
        true => "; JSON has no NaN and no Infinity: send null where a value is missing",
        false => "",
    }
}

/// The rows of a request.
pub fn rows(form: &Form, rows: &RawValue) -> Result<Questions, RequestError> {
    let mut refused = None;
    let mut building = form.building(1);
    let mut reader = serde_json::Deserializer::from_str(rows.get());
    let read = List { building: &mut building, refused: &mut refused }.deserialize(&mut reader);
    if let Err(error) = read {
        let row = building.rows();
        return Err(refused.unwrap_or_else(|| bad(row, format!("cannot be read: {error}"))));
    }
    let (table, entities) = building.table()?;
    Ok(Questions { table, entities })
}

/// The rows of a body with an object per line.
pub fn lines(form: &Form, body: &Bytes) -> Result<Questions, RequestError> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let mut building = form.building(1);
    for (row, line) in lines.enumerate() {
        check_count(row + 1)?;
        let mut refused = None;
        let mut reader = serde_json::Deserializer::from_slice(line);
        let seed = Row { building: &mut building, refused: &mut refused };
        let read = seed.deserialize(&mut reader).and_then(|()| reader.end());
        if let Err(error) = read {
            let reason =
                || format!("the line is no JSON object: {error}{}", { not_a_number(&error, line) });
            return Err(refused.unwrap_or_else(|| bad(row, reason())));
        }
    }
    if building.rows() == 0 {
        return Err(RequestError::Invalid("the body has no rows; send one per line".to_owned()));
    }
    let (table, entities) = building.table()?;
    Ok(Questions { table, entities })
}

fn bad(row: usize, reason: String) -> RequestError {
    RequestError::BadRow { row, reason }
}

/// Refuses a row beyond those that one request may have.
pub fn check_count(rows: usize) -> Result<(), RequestError> {
    match rows > ROWS_MAX {
        true => Err(RequestError::Invalid(format!(
            "more than {ROWS_MAX} rows in one request; send several"
        ))),
        false => Ok(()),
    }
}

/// A list of rows. What is wrong with one is kept beside the parser's own errors, which only know
/// places in a text.
struct List<'s, 'f> {
    building: &'s mut Building<'f>,
    refused: &'s mut Option<RequestError>,
}

/// A row.
struct Row<'s, 'f> {
    building: &'s mut Building<'f>,
    refused: &'s mut Option<RequestError>,
}

/// A name in a row.
struct Name<'f> {
    form: &'f Form,
    likely: usize,
}

/// A value in a row.
struct Value<'s, 'f> {
    building: &'s mut Building<'f>,
    place: usize,
}

/// What a row is about.
struct Entity;

impl<'de> DeserializeSeed<'de> for List<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        let Self { building, refused } = self;
        while rows.next_element_seed(Row { building, refused })?.is_some() {
            if let Err(error) = check_count(building.rows()) {
                *refused = Some(error);
                return Err(A::Error::custom("too many rows"));
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Row<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a value per column")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        let Self { building, refused } = self;
        let (number, form) = (building.rows(), building.form());
        let mut refuse = |reason: String| {
            let error = A::Error::custom(&reason);
            *refused = Some(bad(number, reason));
            error
        };
        let (mut entity, mut likely) = (None, 0);
        while let Some(named) = row.next_key_seed(Name { form, likely })? {
            match named.map_err(&mut refuse)? {
                Named::Column(place) => {
                    let name = &form.columns()[place].0;
                    if building.has(place) {
                        return Err(refuse(format!("has `{name}` twice")));
                    }
                    let added = row.next_value_seed(Value { building, place });
                    // Such as a number beyond all numbers. Its place is one in the rows alone.
                    let unread = |e: A::Error| {
                        let e = e.to_string();
                        let why = e.split(" at line ").next().unwrap_or_default();
                        refuse(format!(
                            "`{name}` cannot be read: {why}; send a value of its type, or null \
                             where it is missing"
                        ))
                    };
                    added.map_err(unread)?.map_err(&mut refuse)?;
                    likely = place + 1;
                }
                Named::Entity if entity.is_some() => {
                    return Err(refuse("says twice what it is about".to_owned()));
                }
                Named::Entity => {
                    entity = Some(row.next_value_seed(Entity)?.map_err(&mut refuse)?);
                }
                Named::Aside => {
                    row.next_value::<IgnoredAny>()?;
                }
            }
        }
        building.end_row(entity.flatten()).map_err(refuse)
    }
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Result<Named, String>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Result<Named, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.form.named(name, self.likely))
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = Result<(), String>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = Result<(), String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(self.building.add(self.place, Given::Missing))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.building.add(self.place, Given::Truth(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(self.building.add(self.place, Given::Number(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(self.building.add(self.place, Given::Text(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.building.add(self.place, Given::Other("a list")))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.building.add(self.place, Given::Other("an object")))
    }
}

impl<'de> DeserializeSeed<'de> for Entity {
    type Value = Result<Option<String>, String>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        let value = serde_json::Value::deserialize(reader)?;
        Ok(match value {
            serde_json::Value::Null => Ok(None),
            serde_json::Value::String(text) => Ok(Some(text)),
            serde_json::Value::Number(number) => Ok(Some(number.to_string())),
            _ => Err("what it is about is neither a text nor a number".to_owned()),
        })
    }
}
