//! Types of written columns, and how rows of a query become those of a table.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::json;
use steppe_wire::query::QueryFailure;

use crate::query::failure::failed;
use crate::query::form;
use crate::query::hive::statement::NewColumn;
use crate::query::tables::arrow_type;

/// The Hive type of the engine's type: `array<struct<a:int>>`.
pub fn hive_type(kind: &DataType) -> Result<String, String> {
    Ok(match kind {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 | DataType::UInt8 => "smallint".to_owned(),
        DataType::Int32 | DataType::UInt16 => "int".to_owned(),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Utf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::List(item) | DataType::LargeList(item) => {
            format!("array<{}>", hive_type(item.data_type())?)
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => format!(
                "map<{},{}>",
                hive_type(pair[0].data_type())?,
                hive_type(pair[1].data_type())?
            ),
            other => return Err(format!("Unsupported Hive type: {other}")),
        },
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| {
                Ok(format!("{}:{}", field.name().to_lowercase(), hive_type(field.data_type())?))
            });
            format!("struct<{}>", fields.collect::<Result<Vec<_>, String>>()?.join(","))
        }
        DataType::Dictionary(_, values) => hive_type(values)?,
        other => {
            let name = form::column(String::new(), other);
            let name = name.map_or_else(|_| other.to_string(), |column| column.type_name);
            return Err(format!("Unsupported Hive type: {name}"));
        }
    })
}

/// The schema of Avro that rows of these columns are written with.
pub fn avro_schema(columns: &[NewColumn]) -> String {
    let kind = |kind: &str| match arrow_type(kind) {
        Ok(DataType::Boolean) => json!("boolean"),
        Ok(DataType::Int8 | DataType::Int16 | DataType::Int32) => json!("int"),
        Ok(DataType::Int64) => json!("long"),
        Ok(DataType::Float32) => json!("float"),
        Ok(DataType::Float64) => json!("double"),
        Ok(DataType::Date32) => json!({ "type": "int", "logicalType": "date" }),
        Ok(DataType::Timestamp(..)) => json!({ "type": "long", "logicalType": "timestamp-millis" }),
        Ok(DataType::Decimal128(precision, scale)) => json!({
            "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale,
        }),
        _ => json!("string"),
    };
    let field = |column: &NewColumn| {
        let kind = kind(&column.kind);
        json!({ "name": column.name, "type": ["null", kind], "default": null })
    };
    let fields: Vec<_> = columns.iter().map(field).collect();
    json!({ "type": "record", "name": "row", "fields": fields }).to_string()
}

/// The columns of a query as those of a table: each with a name of its own and a type.
pub fn named(columns: &[(String, DataType)]) -> Result<Vec<(String, String)>, QueryFailure> {
    let mut seen = BTreeSet::new();
    let named = columns.iter().enumerate().map(|(at, (name, kind))| {
        let place = at + 1;
        if name.is_empty() || name.starts_with("_col") {
            return Err(failed(format!(
                "MISSING_COLUMN_NAME: line 1:1: Column name not specified at position {place}"
            )));
        }
        if !seen.insert(name) {
            return Err(failed(format!(
                "DUPLICATE_COLUMN_NAME: line 1:1: Column name '{name}' specified more than once"
            )));
        }
        if *kind == DataType::Null {
            return Err(failed(format!(
                "COLUMN_TYPE_UNKNOWN: line 1:1: Column type is unknown at position {place}"
            )));
        }
        let kind = hive_type(kind).map_err(|what| failed(format!("NOT_SUPPORTED: {what}")))?;
        Ok((name.clone(), kind))
    });
    named.collect()
}

/// The schema of columns with Hive types.
pub fn schema(columns: &[(String, String)]) -> Result<SchemaRef, QueryFailure> {
    let fields = columns.iter().map(|(name, kind)| {
        let kind = arrow_type(kind).map_err(|what| failed(format!("NOT_SUPPORTED: {what}")))?;
        Ok(Field::new(name, kind, true))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>, QueryFailure>>()?)))
}

/// Which column of a query becomes which of a table.
#[derive(Debug)]
pub struct Assignment {
    schema: SchemaRef,
    /// For each column of the table that of the query, or none where it is NULL.
    from: Vec<Option<usize>>,
}

impl Assignment {
    /// Of columns that are the table's.
    pub fn same(columns: &[(String, DataType)], schema: &SchemaRef) -> Result<Self, QueryFailure> {
        Self::into(columns, schema, None)
    }

    /// Of columns for those of `names`, or for all in their order; what cannot become a column is
    /// refused in Trino's words.
    pub fn into(
        columns: &[(String, DataType)],
        schema: &SchemaRef,
        names: Option<&[String]>,
    ) -> Result<Self, QueryFailure> {
        let fields = schema.fields();
        let targets: Vec<usize> = match names {
            None => (0..fields.len()).collect(),
            Some(names) => {
                names.iter().map(|name| place_of(schema, name)).collect::<Result<_, _>>()?
            }
        };
        let fits = |(_, kind): &(String, DataType), target: &usize| {
            can_become(kind, fields[*target].data_type())
        };
        let all_fit = columns.iter().zip(&targets).all(|(column, target)| fits(column, target));
        if columns.len() != targets.len() || !all_fit {
            let name = |kind: &DataType| {
                let column = form::column(String::new(), kind);
                column.map_or_else(|_| kind.to_string(), |column| column.type_name)
            };
            let table: Vec<String> =
                targets.iter().map(|target| name(fields[*target].data_type())).collect();
            let query: Vec<String> = columns.iter().map(|(_, kind)| name(kind)).collect();
            return Err(failed(format!(
                "TYPE_MISMATCH: line 1:1: Insert query has mismatched column types: Table: [{}], \
                 Query: [{}]",
                table.join(", "),
                query.join(", ")
            )));
        }
        let mut from = vec![None; fields.len()];
        for (column, target) in targets.into_iter().enumerate() {
            if from[target].replace(column).is_some() {
                let name = fields[target].name();
                return Err(failed(format!(
                    "DUPLICATE_COLUMN_NAME: line 1:1: Insert column name is specified more than \
                     once: {name}"
                )));
            }
        }
        Ok(Self { schema: schema.clone(), from })
    }

    /// Rows with the table's columns.
    pub fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch, QueryFailure> {
        let arrays = self.from.iter().zip(self.schema.fields()).map(|(from, field)| match from {
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
            Some(column) => converted(rows.column(*column), field),
        });
        let arrays = arrays.collect::<Result<Vec<_>, QueryFailure>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options);
        batch.map_err(|error| failed(format!("GENERIC_INTERNAL_ERROR: {error}")))
    }
}

fn place_of(schema: &SchemaRef, name: &str) -> Result<usize, QueryFailure> {
    schema.index_of(name).map_err(|_| {
        failed(format!(
            "COLUMN_NOT_FOUND: line 1:1: Insert column name does not exist in target table: {name}"
        ))
    })
}

fn converted(array: &ArrayRef, field: &Field) -> Result<ArrayRef, QueryFailure> {
    if array.data_type() == field.data_type() {
        return Ok(array.clone());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, field.data_type(), &options).map_err(|error| {
        let what = error.to_string();
        let what = what.lines().next().unwrap_or_default();
        failed(format!("INVALID_CAST_ARGUMENT: column '{}': {what}", field.name()))
    })
}

/// Whether values of one type are taken for another. A whole number is taken for any width that it
/// fits into.
fn can_become(from: &DataType, to: &DataType) -> bool {
    let text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::Utf8View);
    let decimal = |kind: &DataType| matches!(kind, DataType::Decimal128(..));
    let time = |kind: &DataType| matches!(kind, DataType::Timestamp(_, None) | DataType::Date32);
    match (from, to) {
        (DataType::Null, _) => true,
        (from, to) if from == to || (text(from) && text(to)) => true,
        (from, to) if from.is_integer() => to.is_numeric(),
        (from, to) if decimal(from) => decimal(to) || to.is_floating(),
        (from, to) if from.is_floating() => to.is_floating(),
        (from, DataType::Timestamp(_, None)) => time(from),
        (DataType::List(from) | DataType::LargeList(from), DataType::List(to)) => {
            can_become(from.data_type(), to.data_type())
        }
        (DataType::Struct(from), DataType::Struct(to)) => {
            let pairs = || from.iter().zip(to.iter());
            from.len() == to.len() && pairs().all(|(a, b)| can_become(a.data_type(), b.data_type()))
        }
        (DataType::Map(from, _), DataType::Map(to, _)) => {
            can_become(from.data_type(), to.data_type())
        }
        (DataType::Binary | DataType::LargeBinary | DataType::BinaryView, DataType::Binary) => true,
        (DataType::Dictionary(_, values), to) => can_become(values, to),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn types_are_told_in_hives_words_and_read_back() {
        for kind in
            ["int", "array<struct<a:int,b:map<string,double>>>", "decimal(10,2)", "timestamp"]
        {
            assert_eq!(hive_type(&arrow_type(kind).expect("a type")), Ok(kind.to_owned()));
        }
        assert!(
            hive_type(&DataType::Time64(datafusion::arrow::datatypes::TimeUnit::Nanosecond))
                .is_err()
        );
    }

    #[test]
    fn rows_take_the_places_of_the_named_columns() {
        let columns = [("a".to_owned(), "int".to_owned()), ("b".to_owned(), "string".to_owned())];
        let schema = schema(&columns).expect("a schema");
        let given = [("x".to_owned(), DataType::Utf8)];
        let names = ["b".to_owned()];
        let assignment = Assignment::into(&given, &schema, Some(&names)).expect("assigned");
        let text: ArrayRef = Arc::new(StringArray::from(vec!["v"]));
        let rows = RecordBatch::try_from_iter([("x", text.clone())]).expect("rows");
        let rows = assignment.apply(&rows).expect("applied");
        assert!(rows.column(0).is_null(0) && rows.column(1) == &text);
        let refused = Assignment::into(&given, &schema, None).expect_err("another number");
        assert!(refused.message.contains("Table: [integer, varchar], Query: [varchar]"));
        let number = [("x".to_owned(), DataType::Int64)];
        let names = ["a".to_owned()];
        let assignment = Assignment::into(&number, &schema, Some(&names)).expect("assigned");
        let large: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX]));
        let rows = RecordBatch::try_from_iter([("x", large)]).expect("rows");
        assert!(assignment.apply(&rows).is_err(), "it does not fit");
    }
}
