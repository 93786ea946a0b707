//! Types of the engine and Hive's words for them.

use anyhow::{Result, bail};
use datafusion::arrow::array::{Array, AsArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, Int64Type, Schema, TimeUnit};
use datafusion::logical_expr::{cast, col};
use datafusion::prelude::DataFrame;
use steppe_wire::etl::ColumnName;
use steppe_wire::hint::Hinted;

/// Hive's word for a type; none when a table cannot have it.
pub fn hive(kind: &DataType) -> Option<String> {
    Some(match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Decimal128(digits, scale) => format!("decimal({digits},{scale})"),
        _ => return None,
    })
}

/// A type, for people.
pub fn told(kind: &DataType) -> String {
    hive(kind).unwrap_or_else(|| kind.to_string())
}

/// The type in which a table is stored.
fn stored(kind: &DataType) -> Option<DataType> {
    Some(match kind {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Nanosecond, _) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        _ => return None,
    })
}

/// Refuses files whose columns are not of the manifest's types: what would have to be converted is
/// for a pipeline's own SQL to say how.
pub fn check_file(schema: &Schema, columns: &[ColumnName]) -> Result<()> {
    for (field, column) in schema.fields().iter().zip(columns) {
        let (found, wanted) = (told(field.data_type()), column.kind.as_str());
        let fits = match (field.data_type(), wanted) {
            (DataType::Int64, "int" | "bigint" | "double")
            | (DataType::Float64, "double")
            | (DataType::Timestamp(..), "date" | "timestamp") => true,
            (DataType::Decimal128(..), kind) => kind.starts_with("decimal(") || kind == "double",
            _ => found == wanted,
        };
        if !fits {
            let name = &column.source;
            bail!(Hinted::new(
                format!("column `{name}` is {found} in the file; the manifest says `{wanted}`"),
                "say the file's type in `columns`, and convert it by SQL of your own (`sql`)"
            ));
        }
    }
    Ok(())
}

/// A table with the declared columns: other representations of a type become the stored one, and
/// another type is an error.
pub fn conformed(frame: DataFrame, what: &str, declared: &[(String, String)]) -> Result<DataFrame> {
    let fields = frame.schema().fields();
    let found: Vec<(String, String)> =
        fields.iter().map(|f| (f.name().clone(), told(f.data_type()))).collect();
    if found != declared {
        let list = |columns: &[(String, String)]| {
            let texts: Vec<String> =
                columns.iter().map(|(name, kind)| format!("{name} = \"{kind}\"")).collect();
            texts.join(", ")
        };
        let (found, declared) = (list(&found), list(declared));
        bail!(Hinted::new(
            format!(
                "{what} gives other columns than the manifest declares: it gives {{ {found} }}, \
                 declared are {{ {declared} }}"
            ),
            "correct `columns`, or cast in the SQL"
        ));
    }
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let column = col(format!("\"{}\"", field.name()));
        columns.push(match stored(field.data_type()) {
            Some(kind) => cast(column, kind).alias(field.name()),
            None => column,
        });
    }
    Ok(frame.select(columns)?)
}

/// A column of whole numbers.
pub fn whole(column: &dyn Array) -> Option<&Int64Array> {
    column.as_primitive_opt::<Int64Type>()
}
