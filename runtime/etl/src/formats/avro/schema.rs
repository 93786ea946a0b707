//! The schema of an Avro file.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use serde_json::Value;

use crate::formats::FileColumn;

/// Types that a schema may have.
const TYPES_MAX: usize = 100_000;

/// The types of a file; the first of them is that of its records.
#[derive(Debug, Default)]
pub struct Schema {
    types: Vec<Type>,
    /// Types that have a name, by their full names.
    named: HashMap<String, usize>,
}

#[derive(Debug)]
struct Type {
    kind: Kind,
    logical: Option<Logical>,
}

/// How values of a type are written.
#[derive(Debug)]
pub enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Vec<String>),
    Record(Vec<Field>),
    Union(Vec<usize>),
    Array(usize),
    Map(usize),
}

/// A field of a record.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub id: usize,
}

/// What values of a type mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logical {
    Date,
    TimestampMillis,
    TimestampMicros,
    TimestampNanos,
    /// With its precision and scale.
    Decimal(u8, i8),
    /// What has no plain type.
    Other(&'static str),
}

/// Meanings that have no plain type, of values that must not pass for mere numbers.
const OTHER: [&str; 3] = ["time-millis", "time-micros", "duration"];

impl Schema {
    /// Of its text.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(text).context("the schema is no JSON")?;
        let mut schema = Self::default();
        schema.add(&value, "")?;
        Ok(schema)
    }

    /// The fields of the records.
    pub fn fields(&self) -> Result<&[Field]> {
        match self.types.first().map(|root| &root.kind) {
            Some(Kind::Record(fields)) => Ok(fields),
            _ => bail!("the file has values that are no records"),
        }
    }

    /// The fields as columns.
    pub fn columns(&self) -> Result<Vec<FileColumn>> {
        let fields = self.fields()?.iter();
        let column =
            |field: &Field| FileColumn { name: field.name.clone(), kind: self.data_type(field.id) };
        Ok(fields.map(column).collect())
    }

    /// The type of values that are null or of one type.
    fn data_type(&self, id: usize) -> Option<DataType> {
        let id = match self.kind(id) {
            Kind::Union(choices) => {
                let mut values = choices.iter().filter(|id| !matches!(self.kind(**id), Kind::Null));
                let value = *values.next()?;
                values.next().is_none().then_some(value)?
            }
            _ => id,
        };
        Some(match (self.kind(id), self.logical(id)) {
            (Kind::Int, None) => DataType::Int32,
            (Kind::Long, None) => DataType::Int64,
            (Kind::Float, None) => DataType::Float32,
            (Kind::Double, None) => DataType::Float64,
            (Kind::Boolean, None) => DataType::Boolean,
            (Kind::Text | Kind::Enum(_), None) => DataType::Utf8,
            (Kind::Int, Some(Logical::Date)) => DataType::Date32,
            (Kind::Long, Some(Logical::TimestampMillis)) => {
                DataType::Timestamp(TimeUnit::Millisecond, None)
            }
            (Kind::Bytes | Kind::Fixed(_), Some(Logical::Decimal(precision, scale))) => {
                DataType::Decimal128(precision, scale)
            }
            _ => return None,
        })
    }

    /// How values of a type are written.
    pub fn kind(&self, id: usize) -> &Kind {
        &self.types[id].kind
    }

    /// What they mean.
    pub fn logical(&self, id: usize) -> Option<Logical> {
        self.types[id].logical
    }

    /// A type in words.
    pub fn told(&self, id: usize) -> String {
        match (self.logical(id), self.kind(id)) {
            (Some(Logical::Other(name)), _) => name.to_owned(),
            (_, Kind::Union(choices)) => {
                // A type that contains itself would have no end.
                let told = choices.iter().map(|id| match self.kind(*id) {
                    Kind::Union(_) => "union".to_owned(),
                    _ => self.told(*id),
                });
                format!("union of {}", told.collect::<Vec<_>>().join(", "))
            }
            (_, kind) => kind.name().to_owned(),
        }
    }

    /// Adds a type within a namespace; JSON is nested 128 deep at most.
    fn add(&mut self, value: &Value, space: &str) -> Result<usize> {
        match value {
            Value::String(name) => match Kind::primitive(name) {
                Some(kind) => self.push(kind, None),
                None => self.known(name, space),
            },
            Value::Array(choices) => {
                let id = self.push(Kind::Null, None)?;
                let choices: Result<Vec<_>> = choices.iter().map(|c| self.add(c, space)).collect();
                self.types[id].kind = Kind::Union(choices?);
                Ok(id)
            }
            Value::Object(_) => self.add_object(value, space),
            _ => bail!("the schema has `{value}` where a type should be"),
        }
    }

    fn add_object(&mut self, value: &Value, space: &str) -> Result<usize> {
        let Some(kind) = value["type"].as_str() else { return self.add(&value["type"], space) };
        let logical = logical(value);
        if let Some(kind) = Kind::primitive(kind) {
            return self.push(kind, logical);
        }
        match kind {
            "array" | "map" => {
                let id = self.push(Kind::Null, None)?;
                let of =
                    |key: &str| value.get(key).with_context(|| format!("a type lacks `{key}`"));
                self.types[id].kind = if kind == "array" {
                    Kind::Array(self.add(of("items")?, space)?)
                } else {
                    Kind::Map(self.add(of("values")?, space)?)
                };
                Ok(id)
            }
            "record" | "error" | "enum" | "fixed" => self.add_named(kind, value, logical, space),
            name => self.known(name, space),
        }
    }

    fn add_named(
        &mut self,
        kind: &str,
        value: &Value,
        logical: Option<Logical>,
        space: &str,
    ) -> Result<usize> {
        let name = value["name"].as_str().context("a type of the schema has no name")?;
        let space = match name.rsplit_once('.') {
            Some((space, _)) => space,
            None => value["namespace"].as_str().unwrap_or(space),
        };
        let id = self.push(Kind::Null, logical)?;
        ensure!(
            self.named.insert(full(name, space), id).is_none(),
            "the schema has the type `{name}` twice"
        );
        self.types[id].kind = match kind {
            "fixed" => {
                let size = value["size"].as_u64().and_then(|size| usize::try_from(size).ok());
                Kind::Fixed(size.with_context(|| format!("the type `{name}` has no size"))?)
            }
            "enum" => {
                let symbols = value["symbols"].as_array();
                let symbols = symbols.with_context(|| format!("`{name}` has no symbols"))?;
                let text = |symbol: &Value| symbol.as_str().map(str::to_owned);
                let texts: Option<Vec<_>> = symbols.iter().map(text).collect();
                Kind::Enum(texts.with_context(|| format!("`{name}` has odd symbols"))?)
            }
            _ => Kind::Record(self.fields_of(name, value, space)?),
        };
        Ok(id)
    }

    fn fields_of(&mut self, record: &str, value: &Value, space: &str) -> Result<Vec<Field>> {
        let fields = value["fields"].as_array();
        let fields = fields.with_context(|| format!("the record `{record}` has no fields"))?;
        let field = |field: &Value| {
            let name = field["name"].as_str();
            let name = name.with_context(|| format!("a field of `{record}` has no name"))?;
            // A field is no type: what says what its values mean stands within its type.
            let id = self.add(&field["type"], space)?;
            Ok(Field { name: name.to_owned(), id })
        };
        fields.iter().map(field).collect()
    }

    fn push(&mut self, kind: Kind, logical: Option<Logical>) -> Result<usize> {
        ensure!(self.types.len() < TYPES_MAX, "the schema has more than {TYPES_MAX} types");
        self.types.push(Type { kind, logical });
        Ok(self.types.len() - 1)
    }

    fn known(&self, name: &str, space: &str) -> Result<usize> {
        let found = self.named.get(&full(name, space)).or_else(|| self.named.get(name));
        found.copied().with_context(|| format!("the schema has no type `{name}`"))
    }
}

impl Kind {
    fn primitive(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "int" => Self::Int,
            "long" => Self::Long,
            "float" => Self::Float,
            "double" => Self::Double,
            "bytes" => Self::Bytes,
            "string" => Self::Text,
            _ => return None,
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::Text => "string",
            Self::Fixed(_) => "fixed",
            Self::Enum(_) => "enum",
            Self::Record(_) => "record",
            Self::Union(_) => "union",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
        }
    }
}

/// A name with its namespace.
fn full(name: &str, space: &str) -> String {
    if space.is_empty() || name.contains('.') { name.to_owned() } else { format!("{space}.{name}") }
}

/// A meaning that is not known is to be ignored, as the specification has it.
fn logical(value: &Value) -> Option<Logical> {
    let number = |key: &str| value[key].as_i64();
    match value["logicalType"].as_str()? {
        "date" => Some(Logical::Date),
        "timestamp-millis" | "local-timestamp-millis" => Some(Logical::TimestampMillis),
        "timestamp-micros" | "local-timestamp-micros" => Some(Logical::TimestampMicros),
        "timestamp-nanos" | "local-timestamp-nanos" => Some(Logical::TimestampNanos),
        "decimal" => {
            let precision = u8::try_from(number("precision")?).ok()?;
            let scale = i8::try_from(number("scale").unwrap_or(0)).ok()?;
            let is_valid = precision > 0 && (0..=precision.cast_signed()).contains(&scale);
            is_valid.then_some(Logical::Decimal(precision, scale))
        }
        name => OTHER.iter().find(|other| **other == name).map(|other| Logical::Other(other)),
    }
}
