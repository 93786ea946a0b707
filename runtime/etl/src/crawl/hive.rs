//! Hive's types, and what becomes of two that are found for one column.

use std::fmt;

use datafusion::arrow::datatypes::{DataType, Field};

/// A name and its type.
pub type Column = (String, Hive);

/// A type of Hive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hive {
    /// No value was seen; Hive has no type for that, so it is written as text.
    Unseen,
    Boolean,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Float,
    Double,
    Decimal(u32, u32),
    String,
    /// `char` or `varchar` with its length.
    Letters(&'static str, u32),
    Date,
    Timestamp,
    Binary,
    Array(Box<Self>),
    Map(Box<Self>, Box<Self>),
    Struct(Vec<Column>),
    Union(Vec<Self>),
}

/// Which types become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// Equal ones only, as of columns whose readers convert nothing.
    Equal,
    /// Whole numbers of different widths, which readers of Parquet and ORC convert.
    Widening,
    /// Any, because a text can always be read as one.
    Texts,
}

impl Hive {
    /// The type that values of both have, if there is one.
    pub fn join(&self, other: &Self, how: Joining) -> Option<Self> {
        match (self, other) {
            (a, b) if a == b => Some(a.clone()),
            (Self::Unseen, known) | (known, Self::Unseen) => Some(known.clone()),
            (Self::Array(a), Self::Array(b)) => Some(Self::Array(Box::new(a.join(b, how)?))),
            (Self::Map(k, a), Self::Map(l, b)) => {
                Some(Self::Map(Box::new(k.join(l, how)?), Box::new(a.join(b, how)?)))
            }
            (Self::Struct(a), Self::Struct(b)) => Some(Self::Struct(join(a, b, how)?)),
            (a, b) if how != Joining::Equal && a.width().is_some() && b.width().is_some() => {
                Some(if a.width() > b.width() { a.clone() } else { b.clone() })
            }
            (a, b) if how == Joining::Texts => {
                let numbers = a.is_number() && b.is_number();
                Some(if numbers { Self::Double } else { Self::String })
            }
            _ => None,
        }
    }

    /// Of whole numbers: bytes.
    fn width(&self) -> Option<u8> {
        Some(match self {
            Self::TinyInt => 1,
            Self::SmallInt => 2,
            Self::Int => 4,
            Self::BigInt => 8,
            _ => return None,
        })
    }

    fn is_number(&self) -> bool {
        self.width().is_some() || matches!(self, Self::Float | Self::Double)
    }

    /// Of a type of Arrow, as files of Parquet have it.
    pub fn of(kind: &DataType) -> Self {
        let boxed = |field: &Field| Box::new(Self::of(field.data_type()));
        match kind {
            DataType::Boolean => Self::Boolean,
            DataType::Int8 => Self::TinyInt,
            DataType::Int16 | DataType::UInt8 => Self::SmallInt,
            DataType::Int32 | DataType::UInt16 | DataType::Time32(_) => Self::Int,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 | DataType::Time64(_) => {
                Self::BigInt
            }
            DataType::Float16 | DataType::Float32 => Self::Float,
            DataType::Float64 => Self::Double,
            DataType::Decimal128(digits, scale) | DataType::Decimal256(digits, scale) => {
                Self::Decimal(u32::from(*digits), u32::from(scale.unsigned_abs()))
            }
            DataType::Date32 => Self::Date,
            DataType::Timestamp(..) => Self::Timestamp,
            DataType::Binary | DataType::FixedSizeBinary(_) => Self::Binary,
            DataType::List(item) => Self::Array(boxed(item)),
            DataType::Struct(fields) => {
                let field = |f: &std::sync::Arc<Field>| (f.name().clone(), Self::of(f.data_type()));
                Self::Struct(fields.iter().map(field).collect())
            }
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => {
                    Self::Map(boxed(&fields[0]), boxed(&fields[1]))
                }
                _ => Self::String,
            },
            _ => Self::String,
        }
    }
}

/// The columns of both, those of `a` first.
pub fn join(a: &[Column], b: &[Column], how: Joining) -> Option<Vec<Column>> {
    let mut joined = a.to_vec();
    for (name, kind) in b {
        match joined.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = known.join(kind, how)?,
            None => joined.push((name.clone(), kind.clone())),
        }
    }
    Some(joined)
}

impl fmt::Display for Hive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Boolean => "boolean",
            Self::TinyInt => "tinyint",
            Self::SmallInt => "smallint",
            Self::Int => "int",
            Self::BigInt => "bigint",
            Self::Float => "float",
            Self::Double => "double",
            Self::Unseen | Self::String => "string",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Binary => "binary",
            Self::Decimal(digits, scale) => return write!(f, "decimal({digits},{scale})"),
            Self::Letters(name, length) => return write!(f, "{name}({length})"),
            Self::Array(item) => return write!(f, "array<{item}>"),
            Self::Map(key, value) => return write!(f, "map<{key},{value}>"),
            Self::Struct(fields) => {
                let fields: Vec<String> = fields.iter().map(|(n, t)| format!("{n}:{t}")).collect();
                return write!(f, "struct<{}>", fields.join(","));
            }
            Self::Union(kinds) => {
                let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
                return write!(f, "uniontype<{}>", kinds.join(","));
            }
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_become_one_where_readers_can_convert() {
        let joined = |a: Hive, b: Hive, how| a.join(&b, how).map(|kind| kind.to_string());
        let told = |text: &str| Some(text.to_owned());
        assert_eq!(joined(Hive::Int, Hive::BigInt, Joining::Widening), told("bigint"));
        assert_eq!(joined(Hive::Int, Hive::BigInt, Joining::Equal), None);
        assert_eq!(joined(Hive::Int, Hive::Double, Joining::Widening), None);
        assert_eq!(joined(Hive::Int, Hive::Double, Joining::Texts), told("double"));
        assert_eq!(joined(Hive::Boolean, Hive::Double, Joining::Texts), told("string"));
        assert_eq!(joined(Hive::Unseen, Hive::Date, Joining::Equal), told("date"));
        let of = |name: &str, kind| Hive::Struct(vec![(name.to_owned(), kind)]);
        let list = |kind| Hive::Array(Box::new(kind));
        assert_eq!(
            joined(list(of("a", Hive::Int)), list(of("b", Hive::Boolean)), Joining::Texts),
            told("array<struct<a:int,b:boolean>>")
        );
        assert_eq!(joined(of("a", Hive::Int), Hive::Int, Joining::Texts), told("string"));
    }
}
