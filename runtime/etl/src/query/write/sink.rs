//! Files that rows are written into: one, or one for each partition.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use object_store::buffered::BufWriter;
use steppe_wire::etl::TableFormat;
use steppe_wire::query::{Query, QueryFailure};
use tokio::io::AsyncWriteExt;

use super::layout::{Compression, Format, Layout};
use super::{parquet, text};
use crate::formats::{self, Writer};
use crate::query::failure::{Failed, failed};
use crate::query::form;
use crate::query::hive::partitions::escaped;
use crate::query::partitioned::NULL;
use crate::storage::Realm;

/// Partitions of one statement, as in Athena.
/// <https://docs.aws.amazon.com/athena/latest/ug/ctas-insert-into.html>
const PARTITIONS_MAX: usize = 100;
/// Bytes of a file that are in memory while it goes to its place.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Where rows go.
pub struct Sink {
    layout: Layout,
    root: String,
    name: String,
    /// Columns of files, and the keys behind them.
    data: SchemaRef,
    keys: Vec<String>,
    /// Where partitions are that lie elsewhere than their values say.
    places: BTreeMap<Vec<String>, String>,
    open: BTreeMap<Vec<String>, OpenFile>,
    rows: u64,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// Rows.
    pub rows: u64,
    /// `s3://…` of each file.
    pub files: Vec<String>,
    /// Values of each partition and where it is.
    pub partitions: Vec<(Vec<String>, String)>,
}

struct OpenFile {
    writer: Box<dyn Writer>,
    file: std::fs::File,
}

impl Sink {
    /// Below `root`, with the first `data` columns of `schema` in files and the others as keys.
    pub fn new(
        query: &Query,
        root: &str,
        schema: SchemaRef,
        data: usize,
        layout: Layout,
    ) -> Result<Self, QueryFailure> {
        let fields = schema.fields();
        let odd = match layout.format {
            Format::Parquet | Format::Json => None,
            Format::Orc => fields[..data].iter().find(|field| {
                let kind = field.data_type();
                kind.is_nested() || matches!(kind, DataType::Binary | DataType::Decimal128(..))
            }),
            Format::Avro | Format::Text => fields[..data].iter().find(|field| {
                field.data_type().is_nested() || *field.data_type() == DataType::Binary
            }),
        };
        if let Some(field) = odd {
            let kind = super::hive_type(field.data_type()).unwrap_or_default();
            return Err(failed(format!(
                "NOT_SUPPORTED: the embedded cloud writes no {kind} into {}, as of the column '{}'",
                layout.format.name(),
                field.name()
            )));
        }
        Ok(Self {
            layout,
            root: root.to_owned(),
            name: query.id.replace('-', "_"),
            data: Arc::new(Schema::new(fields[..data].to_vec())),
            keys: fields[data..].iter().map(|field| field.name().clone()).collect(),
            places: BTreeMap::new(),
            open: BTreeMap::new(),
            rows: 0,
        })
    }

    /// The same beside partitions that there are: by their values, where each is.
    pub fn beside(self, places: BTreeMap<Vec<String>, String>) -> Self {
        Self { places, ..self }
    }

    /// `s3://bucket/prefix/year=2019/` of a partition.
    fn folder(&self, values: &[String]) -> String {
        if let Some(place) = self.places.get(values) {
            return format!("{}/", place.trim_end_matches('/'));
        }
        let pairs = self.keys.iter().zip(values);
        let folders = pairs.map(|(key, value)| format!("{key}={}/", escaped(value)));
        format!("{}{}", self.root, folders.collect::<String>())
    }

    /// Writes rows.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), QueryFailure> {
        self.rows += rows.num_rows() as u64;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let data = self.data.fields().len();
        if self.keys.is_empty() {
            return self.file(vec![])?.writer.write(rows).map_err(unwritten);
        }
        let of = |error: datafusion::error::DataFusionError| Failed::execution(error);
        let mut groups: BTreeMap<Vec<String>, Vec<u32>> = BTreeMap::new();
        for row in 0..rows.num_rows() {
            let values = rows.columns()[data..].iter().map(|array| key_value(array, row));
            let values = values.collect::<Result<Vec<_>, _>>().map_err(of)?;
            groups.entry(values).or_default().push(row as u32);
        }
        let columns: Vec<usize> = (0..data).collect();
        let files = rows.project(&columns).map_err(|error| unwritten(error.into()))?;
        for (values, places) in groups {
            let part = take_record_batch(&files, &UInt32Array::from(places));
            let part = part.map_err(|error| unwritten(error.into()))?;
            self.file(values)?.writer.write(&part).map_err(unwritten)?;
        }
        Ok(())
    }

    /// The file of a partition.
    fn file(&mut self, values: Vec<String>) -> Result<&mut OpenFile, QueryFailure> {
        if !self.open.contains_key(&values) {
            if self.open.len() == PARTITIONS_MAX {
                return Err(failed(format!(
                    "HIVE_TOO_MANY_OPEN_PARTITIONS: Exceeded limit of {PARTITIONS_MAX} open \
                     writers for partitions/buckets."
                )));
            }
            let opened = self.open_file().map_err(unwritten)?;
            self.open.insert(values.clone(), opened);
        }
        self.open.get_mut(&values).ok_or_else(|| failed("GENERIC_INTERNAL_ERROR: a file is lost"))
    }

    fn open_file(&self) -> anyhow::Result<OpenFile> {
        let file = tempfile::tempfile()?;
        let (schema, out) = (self.data.clone(), file.try_clone()?);
        let writer = match self.layout.format {
            Format::Parquet => parquet::writer(schema, out, self.layout.compression)?,
            Format::Orc => formats::writer(TableFormat::Orc, schema, out)?,
            Format::Avro => formats::writer(TableFormat::Avro, schema, out)?,
            Format::Json => text::json(out, self.layout.compression)?,
            Format::Text => text::fields(out, self.layout.clone())?,
        };
        Ok(OpenFile { writer, file })
    }

    /// Ends all files and puts them into their places.
    pub async fn finish(mut self) -> Result<Written, QueryFailure> {
        let mut written = Written { rows: self.rows, ..Written::default() };
        let ending = match self.layout.format {
            Format::Json | Format::Text => self.layout.compression.ending(),
            _ => "",
        };
        for (number, (values, open)) in std::mem::take(&mut self.open).into_iter().enumerate() {
            let folder = self.folder(&values);
            let place = format!("{folder}{}_{number:05}{ending}", self.name);
            let OpenFile { writer, file } = open;
            writer.finish().map_err(unwritten)?;
            upload(file, &place).await?;
            written.files.push(place);
            if !values.is_empty() {
                written.partitions.push((values, folder));
            }
        }
        Ok(written)
    }
}

/// The value of a key in the name of a folder.
fn key_value(array: &ArrayRef, row: usize) -> Result<String, datafusion::error::DataFusionError> {
    if array.is_null(row) {
        return Ok(NULL.to_owned());
    }
    let text = form::value(array, row)?.unwrap_or_default();
    // A time has no fraction there unless it has one.
    Ok(match array.data_type() {
        DataType::Timestamp(..) => text.strip_suffix(".000").unwrap_or(&text).to_owned(),
        _ if text.is_empty() => NULL.to_owned(),
        _ => text,
    })
}

async fn upload(mut file: std::fs::File, place: &str) -> Result<(), QueryFailure> {
    let target = Realm::S3.file(place).map_err(Failed::other)?;
    let mut writer = BufWriter::new(target.store.clone(), target.path.clone());
    file.rewind().map_err(Failed::writing)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk).map_err(Failed::writing)?;
        if read == 0 {
            break;
        }
        writer.write_all(&chunk[..read]).await.map_err(Failed::writing)?;
    }
    writer.shutdown().await.map_err(|error| Failed::writing(error).into())
}

fn unwritten(error: anyhow::Error) -> QueryFailure {
    failed(format!("HIVE_WRITER_DATA_ERROR: {error:#}"))
}

/// Bytes that go into a file, made fewer on the way.
pub enum Packed {
    /// As they are.
    Plain(std::io::BufWriter<std::fs::File>),
    /// With GZIP.
    Gzip(flate2::write::GzEncoder<std::io::BufWriter<std::fs::File>>),
    /// With Zstandard.
    Zstd(zstd::Encoder<'static, std::io::BufWriter<std::fs::File>>),
}

impl Packed {
    /// Into `out`.
    pub fn new(out: std::fs::File, compression: Compression) -> std::io::Result<Self> {
        let out = std::io::BufWriter::new(out);
        Ok(match compression {
            Compression::Gzip => {
                let level = flate2::Compression::default();
                Self::Gzip(flate2::write::GzEncoder::new(out, level))
            }
            Compression::Zstd(level) => Self::Zstd(zstd::Encoder::new(out, level)?),
            _ => Self::Plain(out),
        })
    }

    /// What is written next.
    pub fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        use std::io::Write;
        match self {
            Self::Plain(out) => out.write_all(bytes),
            Self::Gzip(out) => out.write_all(bytes),
            Self::Zstd(out) => out.write_all(bytes),
        }
    }

    /// Writes what is left.
    pub fn finish(self) -> std::io::Result<()> {
        use std::io::Write;
        match self {
            Self::Plain(mut out) => out.flush(),
            Self::Gzip(out) => out.finish()?.flush(),
            Self::Zstd(out) => out.finish()?.flush(),
        }
    }
}
