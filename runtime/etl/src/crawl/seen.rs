//! What one file has, and what becomes of several.

use steppe_wire::crawl::{Classification, Content, CsvForm};

use super::described;
use super::hive::{Column, Joining, join};

/// Share of columns that similar schemas have in common, at least.
const SIMILAR: f64 = 0.7;
/// Different schemas that may still be one table.
const SCHEMAS_MAX: usize = 5;

/// What one file, or several as one, have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Their format.
    pub classification: Classification,
    /// Whether they are compressed as a whole.
    pub gzip: bool,
    /// Their columns.
    pub columns: Vec<Column>,
    /// How many files.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their records, about.
    pub records: u64,
}

impl Seen {
    /// A file that no classifier recognised.
    pub fn unknown(bytes: u64) -> Self {
        Self {
            classification: Classification::Unknown,
            gzip: false,
            columns: vec![],
            objects: 1,
            bytes,
            records: 0,
        }
    }

    /// As the catalogue is told it.
    pub fn content(&self) -> Content {
        let told = |(name, kind): &Column| (name.to_lowercase(), kind.to_string());
        Content {
            classification: self.classification.clone(),
            gzip: self.gzip,
            columns: self.columns.iter().map(told).collect(),
            objects: self.objects,
            bytes: self.bytes,
            records: self.records,
        }
    }

    /// Both as one, when their data are compatible: format, compression, and types that a reader
    /// can take for one another.
    fn join(&self, other: &Self) -> Option<Self> {
        if self.gzip != other.gzip {
            return None;
        }
        let how = match self.classification {
            Classification::Parquet | Classification::Orc => Joining::Widening,
            Classification::Avro(_) => Joining::Equal,
            _ => Joining::Texts,
        };
        let columns = join(&self.columns, &other.columns, how)?;
        let classification = match (&self.classification, &other.classification) {
            (a, b) if a == b => a.clone(),
            (Classification::Avro(a), Classification::Avro(b)) => {
                Classification::Avro(described::avro_union(a, b)?)
            }
            (Classification::Json(a), Classification::Json(b)) => {
                let new = b.iter().filter(|path| !a.contains(path));
                Classification::Json(a.iter().chain(new).cloned().collect())
            }
            (Classification::Csv(a), Classification::Csv(b))
                if (a.delimiter, a.header) == (b.delimiter, b.header) =>
            {
                Classification::Csv(CsvForm { quoted: a.quoted || b.quoted, ..a.clone() })
            }
            _ => return None,
        };
        Some(Self {
            classification,
            gzip: self.gzip,
            columns,
            objects: self.objects + other.objects,
            bytes: self.bytes + other.bytes,
            records: self.records + other.records,
        })
    }

    /// How much of the larger schema both have.
    fn similarity(&self, other: &Self) -> f64 {
        let most = self.columns.len().max(other.columns.len());
        if most == 0 {
            return 1.0;
        }
        let named = |column: &&Column| other.columns.iter().any(|(name, _)| *name == column.0);
        self.columns.iter().filter(named).count() as f64 / most as f64
    }
}

/// All of them as one. Unless they are to be combined, their schemas must be similar: more than 70
/// per cent, and at most five different ones. How Glue measures is not published; here it is the
/// share of columns that a schema has in common with the first.
/// <https://repost.aws/knowledge-center/glue-crawler-detect-schema>
pub fn together(all: &[&Seen], combine: bool) -> Option<Seen> {
    let (first, others) = all.split_first()?;
    let different = all.iter().map(|seen| &seen.columns).fold(vec![], |mut different, columns| {
        if !different.contains(&columns) {
            different.push(columns);
        }
        different
    });
    let similar = others.iter().all(|other| first.similarity(other) > SIMILAR);
    if !combine && (!similar || different.len() > SCHEMAS_MAX) {
        return None;
    }
    others.iter().try_fold((*first).clone(), |joined, other| joined.join(other))
}
