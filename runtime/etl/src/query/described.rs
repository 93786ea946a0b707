//! Files that say which columns they have, ORC and Avro, as Athena's readers take them.
//!
//! ORC: columns by their places, unless the table says by names; one that a file has not is NULL; a
//! file's type must be the table's, except for whole numbers of 16 to 64 bits. Avro: the table's
//! schema resolves the file's by names, wider numbers included. Where Athena would show a value
//! that the file does not mean, as days for a number, it is refused here. All of a file counts as
//! scanned, while Athena reads of large ORC files only what it needs.
//!
//! <https://docs.aws.amazon.com/athena/latest/ug/handling-schema-updates-chapter.html>,
//! <https://docs.aws.amazon.com/athena/latest/ug/avro-serde.html>, and the readers of Trino.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Field, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::StreamingTableExec;
use object_store::ObjectStore;
use object_store::path::Path;
use serde_json::Value;
use steppe_wire::etl::ColumnName;
use steppe_wire::query::{OrcAccess, TableColumn};

use super::files::{Batches, FileReader, Files, OneFile};
use super::form;
use super::tables::arrow_type;
use crate::formats::{FileColumn, avro, orc};

/// Microseconds of a millisecond, which Athena's times are counted in.
const MICROS: i64 = 1_000;

/// A table of such files.
#[derive(Debug)]
pub struct DescribedFiles {
    /// Where its files are.
    pub store: Arc<dyn ObjectStore>,
    /// Their folder.
    pub folder: Path,
    /// Their bucket.
    pub bucket: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// How columns are found in files.
    pub layout: Layout,
}

/// How columns are found in files.
#[derive(Debug, Clone)]
pub enum Layout {
    /// Of ORC.
    Orc(OrcAccess),
    /// Of Avro: what the schema of the table says of each column.
    Avro(Arc<[AvroColumn]>),
}

/// What the schema of a table of Avro says of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AvroColumn {
    /// Nothing, so that it is NULL.
    Unknown,
    /// A file must have it.
    Needed,
    /// It is NULL in files without it.
    Optional,
}

impl Layout {
    /// Of Avro, by the schema of the table; without one it is made of the columns.
    pub fn avro(schema: Option<&str>, columns: &[TableColumn]) -> Result<Self, String> {
        let Some(literal) = schema else {
            return Ok(Self::Avro(vec![AvroColumn::Optional; columns.len()].into()));
        };
        let odd = |what: String| format!("`avro.schema.literal`: {what}");
        let parsed = avro::Schema::parse(literal.as_bytes()).and_then(|schema| schema.columns());
        let known = parsed.map_err(|error| odd(format!("{error:#}")))?;
        let text: Value = serde_json::from_str(literal).map_err(|error| odd(error.to_string()))?;
        let fields = text["fields"].as_array().map_or(&[][..], Vec::as_slice);
        let mut found = Vec::new();
        for column in columns {
            let is_named = |known: &&FileColumn| known.name.eq_ignore_ascii_case(&column.name);
            let at = known.iter().position(|known| is_named(&known));
            let Some(at) = at else {
                found.push(AvroColumn::Unknown);
                continue;
            };
            let (field, text) = (&known[at], &fields[at]);
            if field.name != column.name {
                return Err(odd(format!("Athena finds no field with capitals: `{}`", field.name)));
            }
            if field.kind != Some(arrow_type(&column.hive_type)?) {
                let (name, kind) = (&column.name, &column.hive_type);
                return Err(odd(format!(
                    "`{name}` is a {kind} in the table and not in the schema"
                )));
            }
            found.push(match text.get("default") {
                None => AvroColumn::Needed,
                Some(Value::Null) => AvroColumn::Optional,
                Some(_) => {
                    let what = "the embedded cloud takes no default but null";
                    return Err(odd(format!("`{}`: {what}", field.name)));
                }
            });
            if text.get("aliases").is_some() {
                return Err(odd("the embedded cloud takes no aliases".to_owned()));
            }
        }
        Ok(Self::Avro(found.into()))
    }
}

#[async_trait]
impl TableProvider for DescribedFiles {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let columns: Vec<usize> = projection.cloned().unwrap_or_else(all);
        let schema: SchemaRef = Arc::new(self.schema.project(&columns)?);
        let (bucket, layout) = (self.bucket.clone(), self.layout.clone());
        let files = Files {
            store: self.store.clone(),
            folder: self.folder.clone(),
            schema: schema.clone(),
            reader: Arc::new(Columns { bucket, layout, columns }),
        };
        let plan =
            StreamingTableExec::try_new(schema, vec![Arc::new(files)], None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// Reads some columns of a table.
#[derive(Debug)]
struct Columns {
    bucket: String,
    layout: Layout,
    /// Their places in the table.
    columns: Vec<usize>,
}

impl FileReader for Columns {
    fn read(&self, file: OneFile, schema: &SchemaRef) -> Result<Batches> {
        let split = format!("s3://{}/{}", self.bucket, file.key);
        let (opened, size) = (split.clone(), file.size);
        let choose = |found: &[FileColumn]| Ok(self.choose(found, schema, &split, size)?);
        let reader = match &self.layout {
            Layout::Orc(_) => orc::read(file.bytes, &choose),
            Layout::Avro(_) => avro::read(file.bytes, &choose),
        };
        let reader = reader.map_err(|error| match error.downcast::<DataFusionError>() {
            Ok(own) => own,
            Err(error) => cannot_open(&opened, size, &format!("{error:#}")),
        })?;
        let schema = schema.clone();
        let rows = reader.batches.map(move |batch| {
            let bad = |what: String| {
                let what = what.lines().next().unwrap_or_default().to_owned();
                DataFusionError::Execution(format!("HIVE_BAD_DATA: {opened}: {what}"))
            };
            let batch = batch.map_err(|error| bad(format!("{error:#}")))?;
            conformed(&batch, &schema).map_err(bad)
        });
        Ok(Box::new(rows))
    }
}

impl Columns {
    /// The places in a file of the columns that it has.
    fn choose(
        &self,
        found: &[FileColumn],
        schema: &SchemaRef,
        split: &str,
        size: u64,
    ) -> Result<Vec<(usize, ColumnName)>> {
        if matches!(self.layout, Layout::Orc(OrcAccess::Name)) {
            check_names(found, split, size)?;
        }
        let mut chosen = Vec::new();
        for (column, field) in self.columns.iter().zip(schema.fields()) {
            let at = match &self.layout {
                Layout::Orc(access) => {
                    let named = |found: &FileColumn| found.name.to_lowercase() == *field.name();
                    let at = match access {
                        OrcAccess::Index => (*column < found.len()).then_some(*column),
                        OrcAccess::Name => found.iter().position(named),
                    };
                    at.map(|at| check_orc(&found[at], field, split, size).map(|()| at))
                        .transpose()?
                }
                Layout::Avro(known) => resolved(known[*column], found, field, split)?,
            };
            let name = ColumnName {
                source: field.name().clone(),
                name: field.name().clone(),
                kind: String::new(),
                zone: None,
            };
            chosen.extend(at.map(|at| (at, name)));
        }
        Ok(chosen)
    }
}

/// Athena's words for a file that it cannot begin to read.
pub(super) fn cannot_open(split: &str, size: u64, what: &str) -> DataFusionError {
    let what = what.lines().next().unwrap_or_default();
    DataFusionError::Execution(format!(
        "HIVE_CANNOT_OPEN_SPLIT: Error opening Hive split {split} (offset=0, length={size}): {what}"
    ))
}

/// Columns can be found by names only where they have names of their own.
fn check_names(found: &[FileColumn], split: &str, size: u64) -> Result<()> {
    let nameless = |column: &FileColumn| {
        column.name.strip_prefix("_col").is_some_and(|n| n.parse::<u32>().is_ok())
    };
    if !found.is_empty() && found.iter().all(nameless) {
        return Err(DataFusionError::Execution(format!(
            "HIVE_FILE_MISSING_COLUMN_NAMES: ORC file does not contain column names in the \
             footer: {split}"
        )));
    }
    let mut seen = HashSet::new();
    match found.iter().map(|column| column.name.to_lowercase()).find(|n| !seen.insert(n.clone())) {
        Some(twice) => {
            Err(cannot_open(split, size, &format!("Multiple entries with same key: {twice}")))
        }
        None => Ok(()),
    }
}

/// Refuses a column of ORC that is not of the table's type.
fn check_orc(found: &FileColumn, field: &Field, split: &str, size: u64) -> Result<()> {
    let Some(kind) = &found.kind else {
        return Err(cannot_open(split, size, &format!("the type of `{}` is unknown", found.name)));
    };
    let whole =
        |kind: &DataType| matches!(kind, DataType::Int16 | DataType::Int32 | DataType::Int64);
    let fits = match (kind, field.data_type()) {
        (DataType::Timestamp(_, None), DataType::Timestamp(..)) => true,
        (DataType::Decimal128(digits, scale), DataType::Decimal128(most, same)) => {
            if scale != same || digits > most {
                return Err(DataFusionError::Execution(format!(
                    "NOT_SUPPORTED: column `{}`: the embedded cloud reads no decimal({digits},\
                     {scale}) as decimal({most},{same})",
                    field.name()
                )));
            }
            true
        }
        (found, wanted) => found == wanted || (whole(found) && whole(wanted)),
    };
    if fits {
        return Ok(());
    }
    let what = format!(
        "Malformed ORC file. Cannot read SQL type '{}' from ORC stream '.{}' of type {} with \
         attributes {{}} [{split}]",
        trino_type(field.data_type()),
        found.name,
        orc_kind(kind)
    );
    Err(cannot_open(split, size, &what))
}

/// A type in Trino's words.
fn trino_type(kind: &DataType) -> String {
    match kind {
        DataType::Float32 => "real".to_owned(),
        DataType::Timestamp(..) => "timestamp(3)".to_owned(),
        DataType::Decimal128(digits, scale) => format!("decimal({digits},{scale})"),
        kind => {
            form::column(String::new(), kind).map_or_else(|_| kind.to_string(), |c| c.type_name)
        }
    }
}

/// A type in ORC's words.
fn orc_kind(kind: &DataType) -> &'static str {
    match kind {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "BYTE",
        DataType::Int16 => "SHORT",
        DataType::Int32 => "INT",
        DataType::Int64 => "LONG",
        DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 => "STRING",
        DataType::Binary => "BINARY",
        DataType::Date32 => "DATE",
        DataType::Timestamp(_, None) => "TIMESTAMP",
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP_INSTANT",
        DataType::Decimal128(..) => "DECIMAL",
        DataType::List(_) => "LIST",
        DataType::Map(..) => "MAP",
        DataType::Struct(_) => "STRUCT",
        _ => "UNION",
    }
}

/// Where in a file a column stands, by Avro's rules of resolution.
fn resolved(
    known: AvroColumn,
    found: &[FileColumn],
    field: &Field,
    split: &str,
) -> Result<Option<usize>> {
    let unresolved = |what: String| {
        DataFusionError::Execution(format!(
            "HIVE_CANNOT_OPEN_SPLIT: Avro type resolution error when initializing split from \
             {split}: {what}"
        ))
    };
    let at = found.iter().position(|found| found.name == *field.name());
    match (known, at) {
        (AvroColumn::Unknown, _) | (AvroColumn::Optional, None) => Ok(None),
        (AvroColumn::Needed, None) => {
            Err(unresolved(format!("missing required field {}", field.name())))
        }
        (_, Some(at)) => {
            let (from, to) = (found[at].kind.as_ref(), field.data_type());
            let wider = match to {
                DataType::Int64 => &[DataType::Int32][..],
                DataType::Float64 => &[DataType::Int32, DataType::Int64, DataType::Float32],
                _ => &[],
            };
            if from == Some(to) || from.is_some_and(|from| wider.contains(from)) {
                return Ok(Some(at));
            }
            let (name, to) = (field.name(), trino_type(to));
            Err(unresolved(format!("the type of {name} in the file does not become {to}")))
        }
    }
}

/// Rows with the table's types; what a file has not is NULL.
fn conformed(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, String> {
    let count = rows.num_rows();
    let arrays = schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        Some(array) => {
            converted(array, field.data_type()).map_err(|e| format!("{}: {e}", field.name()))
        }
        None => Ok(new_null_array(field.data_type(), count)),
    });
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options);
    batch.map_err(|error| error.to_string())
}

fn converted(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    if let DataType::Timestamp(TimeUnit::Millisecond, None) = to {
        let times = array.as_primitive::<TimestampMicrosecondType>();
        // Trino rounds to the nearest.
        let rounded = |micros: i64| micros.saturating_add(MICROS / 2).div_euclid(MICROS);
        return Ok(Arc::new(times.unary::<_, TimestampMillisecondType>(rounded)));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options).map_err(|error| error.to_string())
}
