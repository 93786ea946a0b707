//! What was found, in Parquet.

use jiff::Timestamp;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result;
use steppe_model::unsupervised::Entities;
use steppe_model::unsupervised::clustering::Groups;
use steppe_model::unsupervised::rows::{Judged, Reason};
use steppe_model::unsupervised::series::Alarm;

use crate::columnar::{self, Group, list, optional, required};

/// As the catalogue's table of unusual rows has it.
const ROWS: &str = "
    message rows {
        required binary execution (STRING);
        required binary entity (STRING);
        optional binary within (STRING);
        required double score;
        required int64 rank;
        required boolean flagged;
        required binary families (STRING);
        optional binary reason (STRING);
        optional double reason_value;
        optional double reason_usual;
        optional group reasons (LIST) {
            repeated group list {
                optional group element {
                    optional binary column (STRING);
                    optional double value;
                    optional double usual;
                    optional double share;
                }
            }
        }
        required int64 looked_at (TIMESTAMP(MILLIS,true));
    }";

/// As the catalogue's table of unusual values has it.
const ALARMS: &str = "
    message alarms {
        required binary execution (STRING);
        required binary series (STRING);
        required binary time (STRING);
        required double value;
        required double score;
        required int64 looked_at (TIMESTAMP(MILLIS,true));
    }";

/// As the catalogue's table of groups has it.
const GROUPS: &str = "
    message groups {
        required binary execution (STRING);
        required binary entity (STRING);
        optional int32 cluster;
        required double distance;
        optional binary words (STRING);
        required int64 looked_at (TIMESTAMP(MILLIS,true));
    }";

/// Who looked, and when.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The execution.
    pub execution: &'a str,
    /// When it looked.
    pub looked_at: Timestamp,
}

impl Run<'_> {
    /// Unusual rows, and those that are not.
    pub fn rows(&self, rows: &[Judged]) -> Result<Vec<u8>> {
        columnar::file(ROWS, |group| {
            self.begin(group, rows.len())?;
            required::<ByteArrayType>(group, rows.iter().map(|row| text(&row.entity)))?;
            optional::<ByteArrayType>(
                group,
                rows.iter().map(|row| Some(text(row.within.as_ref()?))),
            )?;
            required::<DoubleType>(group, rows.iter().map(|row| row.score))?;
            required::<Int64Type>(group, rows.iter().map(|row| row.rank as i64))?;
            required::<BoolType>(group, rows.iter().map(|row| row.flagged))?;
            required::<ByteArrayType>(group, rows.iter().map(families))?;
            let first = rows.iter().map(|row| row.reasons.first());
            let column = |reason: Option<&Reason>| Some(text(&reason?.column));
            optional::<ByteArrayType>(group, first.clone().map(column))?;
            optional::<DoubleType>(group, first.clone().map(|reason| reason?.value))?;
            optional::<DoubleType>(group, first.map(|reason| Some(reason?.usual)))?;
            list::<ByteArrayType, _>(group, rows, |row| {
                row.reasons.iter().map(|reason| Some(text(&reason.column))).collect()
            })?;
            list::<DoubleType, _>(group, rows, |row| {
                row.reasons.iter().map(|reason| reason.value).collect()
            })?;
            list::<DoubleType, _>(group, rows, |row| {
                row.reasons.iter().map(|reason| Some(reason.usual)).collect()
            })?;
            list::<DoubleType, _>(group, rows, |row| {
                row.reasons.iter().map(|reason| Some(reason.share)).collect()
            })?;
            self.end(group, rows.len())
        })
    }

    /// Unusual values.
    pub fn alarms(&self, alarms: &[Alarm]) -> Result<Vec<u8>> {
        columnar::file(ALARMS, |group| {
            self.begin(group, alarms.len())?;
            required::<ByteArrayType>(group, alarms.iter().map(|alarm| text(&alarm.series)))?;
            required::<ByteArrayType>(group, alarms.iter().map(|alarm| text(&alarm.time)))?;
            required::<DoubleType>(group, alarms.iter().map(|alarm| alarm.value))?;
            required::<DoubleType>(group, alarms.iter().map(|alarm| alarm.score))?;
            self.end(group, alarms.len())
        })
    }

    /// The group of each row, numbered from 1, the largest first; none where it is in none.
    pub fn groups(&self, table: &Entities, groups: &Groups) -> Result<Vec<u8>> {
        let count = table.names.len();
        columnar::file(GROUPS, |group| {
            self.begin(group, count)?;
            required::<ByteArrayType>(group, table.names.iter().map(|name| text(name)))?;
            let labels = groups.labels.iter();
            optional::<Int32Type>(
                group,
                labels.clone().map(|label| Some(label.as_ref()? + 1).map(|n| n as i32)),
            )?;
            required::<DoubleType>(group, groups.distances.iter().copied())?;
            let words = |label: &Option<usize>| Some(text(&groups.profiles[(*label)?].words));
            optional::<ByteArrayType>(group, labels.map(words))?;
            self.end(group, count)
        })
    }

    fn begin(&self, group: &mut Group<'_>, rows: usize) -> Result<()> {
        required::<ByteArrayType>(group, (0..rows).map(|_| text(self.execution)))
    }

    fn end(&self, group: &mut Group<'_>, rows: usize) -> Result<()> {
        required::<Int64Type>(group, (0..rows).map(|_| self.looked_at.as_millisecond()))
    }
}

fn text(text: &str) -> ByteArray {
    ByteArray::from(text)
}

fn families(row: &Judged) -> ByteArray {
    let names: Vec<&str> = row.families.iter().map(|family| family.name()).collect();
    text(&names.join(", "))
}
