//! `columns`: names and types of a table.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::defects::Defects;
use crate::problems::nearest;

/// Most digits of a decimal number, as in Hive, Spark and Athena.
const DIGITS_MAX: u8 = 38;

/// The columns of a table, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns(Vec<Column>);

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name of the column: lower-case letters, digits and inner underscores.
    pub name: String,
    /// Its name in the file, when that differs.
    pub from: Option<String>,
    /// Its type.
    pub kind: ColumnType,
    /// The time zone in which the file says its times.
    pub zone: Option<String>,
    /// The time zone in which the table has them, when that differs.
    pub local: Option<String>,
}

/// What the manifest says of a column beside its name.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Said {
    /// Its name in the file, when that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    kind: ColumnType,
    /// The time zone in which the file says its times, such as `UTC` or `Europe/London`.
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    /// The time zone in which the table has them, when that differs from `zone`: what is a day
    /// depends on it.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    local: Option<String>,
}

/// A type alone, or all that there is to say.
#[derive(Deserialize)]
#[serde(untagged)]
enum Short {
    Type(ColumnType),
    Said(Said),
}

impl Column {
    /// A column that the file calls so, too.
    pub fn new(name: &str, kind: ColumnType) -> Self {
        Self { name: name.to_owned(), from: None, kind, zone: None, local: None }
    }

    /// Its name in the file.
    pub fn source(&self) -> &str {
        self.from.as_deref().unwrap_or(&self.name)
    }

    /// The time zone of what the table has, when it is known.
    pub fn table_zone(&self) -> Option<&str> {
        self.local.as_deref().or(self.zone.as_deref())
    }
}

impl Columns {
    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Column> {
        self.0.iter()
    }

    /// The column called `name`.
    pub fn get(&self, name: &str) -> Option<&Column> {
        self.0.iter().find(|column| column.name == name)
    }

    /// The column that `key` names, of the table `table`; notes a defect when there is none.
    pub(crate) fn known(
        &self,
        table: &str,
        key: &str,
        name: &str,
        out: &mut Defects,
    ) -> Option<&Column> {
        let found = self.get(name);
        if found.is_none() {
            let near = nearest(name, self.iter().map(|column| column.name.as_str()));
            out.add_with(
                key,
                format!("`{key}` is `{name}`, but the table `{table}` has no such column"),
                near.map(|near| format!("did you mean `{near}`?")),
            );
        }
        found
    }

    /// Notes what is wrong with names, and where there are none.
    pub(crate) fn defects(&self, key: &str, out: &mut Defects) {
        out.need(key, !self.0.is_empty(), || format!("`{key}` is empty; a table has columns"));
        for name in self.iter().map(|column| &column.name) {
            let plain =
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            out.need(format!("{key}.{name}"), plain && !name.starts_with('_'), || {
                format!(
                    "the column name `{name}` must consist of lower-case letters, digits and \
                     inner underscores; give the file's own name as `from`"
                )
            });
        }
    }
}

impl<'a> IntoIterator for &'a Columns {
    type Item = &'a Column;
    type IntoIter = std::slice::Iter<'a, Column>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Column> for Columns {
    fn from_iter<I: IntoIterator<Item = Column>>(columns: I) -> Self {
        Self(columns.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Columns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of columns")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
                let mut columns = Vec::new();
                while let Some((name, said)) = map.next_entry::<String, Short>()? {
                    columns.push(match said {
                        Short::Type(kind) => Column::new(&name, kind),
                        Short::Said(Said { from, kind, zone, local }) => {
                            Column { name, from, kind, zone, local }
                        }
                    });
                }
                Ok(Columns(columns))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for Column { name, from, kind, zone, local } in &self.0 {
            let said = Said {
                from: from.clone(),
                kind: *kind,
                zone: zone.clone(),
                local: local.clone(),
            };
            map.serialize_entry(name, &said)?;
        }
        map.end()
    }
}

impl JsonSchema for Columns {
    fn schema_name() -> Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (kind, said) = (ColumnType::json_schema(generator), Said::json_schema(generator));
        json_schema!({ "type": "object", "additionalProperties": { "anyOf": [kind, said] } })
    }
}

/// Types of columns; the names are Hive's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text.
    String,
    /// 32-bit whole number.
    Int,
    /// 64-bit whole number.
    Bigint,
    /// 64-bit floating-point number.
    Double,
    /// Exact number with so many digits, and so many of them after the point.
    Decimal(u8, u8),
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// A day and a time of day, to the microsecond.
    Timestamp,
}

impl ColumnType {
    const WORDS: [(Self, &str, &str); 7] = [
        (Self::String, "string", "Text."),
        (Self::Int, "int", "32-bit whole number."),
        (Self::Bigint, "bigint", "64-bit whole number."),
        (Self::Double, "double", "64-bit floating-point number."),
        (Self::Boolean, "boolean", "True or false."),
        (Self::Date, "date", "A day."),
        (Self::Timestamp, "timestamp", "A day and a time of day, to the microsecond."),
    ];

    /// The type of this name.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some((kind, ..)) = Self::WORDS.iter().find(|(_, word, _)| *word == name) {
            return Some(*kind);
        }
        let inner = name.strip_prefix("decimal(")?.strip_suffix(')')?;
        let (digits, scale) = inner.split_once(',')?;
        let (digits, scale) = (digits.trim().parse().ok()?, scale.trim().parse().ok()?);
        let fits = (1..=DIGITS_MAX).contains(&digits) && scale <= digits;
        fits.then_some(Self::Decimal(digits, scale))
    }

    /// Hive's word, which is Spark's, too.
    pub fn hive(self) -> Cow<'static, str> {
        if let Self::Decimal(digits, scale) = self {
            return format!("decimal({digits},{scale})").into();
        }
        let word = Self::WORDS.iter().find(|(kind, ..)| *kind == self);
        word.map_or("string", |(_, word, _)| word).into()
    }

    /// Whether it can be counted with.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Bigint | Self::Double | Self::Decimal(..))
    }

    /// Whether it says when something was.
    pub fn is_time(self) -> bool {
        matches!(self, Self::Date | Self::Timestamp)
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| D::Error::custom(format!("unknown type `{name}`")))
    }
}

impl Serialize for ColumnType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hive())
    }
}

impl JsonSchema for ColumnType {
    fn schema_name() -> Cow<'static, str> {
        "ColumnType".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        let mut words: Vec<_> = Self::WORDS
            .iter()
            .map(|(_, word, told)| json_schema!({ "const": word, "description": told }))
            .collect();
        words.push(json_schema!({
            "type": "string",
            "pattern": "^decimal\\(\\d+, *\\d+\\)$",
            "description": "Exact number with at most 38 digits, and how many after the point.",
        }));
        json_schema!({ "oneOf": words, "format": "column-type" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_what_it_is_called() {
        for (kind, word, _) in ColumnType::WORDS {
            assert_eq!((ColumnType::parse(word), &*kind.hive()), (Some(kind), word));
        }
        assert_eq!(ColumnType::parse("decimal(10, 2)"), Some(ColumnType::Decimal(10, 2)));
        assert_eq!(ColumnType::Decimal(10, 2).hive(), "decimal(10,2)");
        for bad in ["decimal", "decimal(0,0)", "decimal(39,1)", "decimal(3,4)", "text", ""] {
            assert_eq!(ColumnType::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn columns_keep_their_order() {
        let text = "z = \"int\"\na = { from = \"A\", type = \"timestamp\", zone = \"UTC\" }\n";
        let columns: Columns = toml::from_str(text).expect("columns");
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["z", "a"]);
        let same: Columns =
            serde_json::from_value(serde_json::to_value(&columns).expect("JSON")).expect("columns");
        assert_eq!(same, columns);
    }
}
