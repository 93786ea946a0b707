//! A file of scores, in Parquet.

use jiff::Timestamp;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::Result;
use serde_json::Value;
use steppe_wire::score::ScoredRow;

use crate::columnar::{self, Group, list, optional, required};

/// As the catalogue's table has it.
const SCHEMA: &str = "
    message scores {
        required binary execution (STRING);
        optional binary entity (STRING);
        optional binary label (STRING);
        optional double probability;
        optional double value;
        optional double threshold;
        optional group probabilities (LIST) {
            repeated group list {
                optional group element {
                    optional binary label (STRING);
                    optional double probability;
                }
            }
        }
        optional double base;
        optional group reasons (LIST) {
            repeated group list {
                optional group element {
                    optional binary column (STRING);
                    optional binary value (STRING);
                    optional double effect;
                }
            }
        }
        required binary model_id (STRING);
        required binary model_version (STRING);
        required int64 scored_at (TIMESTAMP(MILLIS,true));
    }";

/// Scores of one part of a table.
pub struct Scores<'a> {
    /// The execution that asked.
    pub execution: &'a str,
    /// Pipeline and family of the model.
    pub model_id: &'a str,
    /// Its version.
    pub model_version: &'a str,
    /// When the run began: the same again when a part is scored again.
    pub scored_at: Timestamp,
    /// Its answers.
    pub rows: &'a [ScoredRow],
}

impl Scores<'_> {
    /// The file.
    pub fn to_parquet(&self) -> Result<Vec<u8>> {
        columnar::file(SCHEMA, |group| self.write(group))
    }

    fn write(&self, group: &mut Group<'_>) -> Result<()> {
        let text = |text: &str| ByteArray::from(text);
        let some = |text: &Option<String>| text.as_deref().map(ByteArray::from);
        required::<ByteArrayType>(group, self.rows.iter().map(|_| text(self.execution)))?;
        optional::<ByteArrayType>(group, self.rows.iter().map(|row| some(&row.entity)))?;
        optional::<ByteArrayType>(group, self.rows.iter().map(|row| some(&row.label)))?;
        let probability = |row: &ScoredRow| {
            let of_label = || row.probabilities.get(row.label.as_ref()?).copied();
            row.probability.or_else(of_label)
        };
        optional::<DoubleType>(group, self.rows.iter().map(probability))?;
        optional::<DoubleType>(group, self.rows.iter().map(|row| row.value))?;
        optional::<DoubleType>(group, self.rows.iter().map(|row| row.threshold))?;
        let probabilities = |row: &ScoredRow| row.probabilities.clone().into_iter();
        list::<ByteArrayType, _>(group, self.rows, |row| {
            probabilities(row).map(|(label, _)| Some(text(&label))).collect()
        })?;
        list::<DoubleType, _>(group, self.rows, |row| {
            probabilities(row).map(|(_, probability)| Some(probability)).collect()
        })?;
        optional::<DoubleType>(group, self.rows.iter().map(|row| row.base))?;
        list::<ByteArrayType, _>(group, self.rows, |row| {
            row.reasons.iter().flatten().map(|reason| Some(text(&reason.column))).collect()
        })?;
        list::<ByteArrayType, _>(group, self.rows, |row| {
            row.reasons.iter().flatten().map(|reason| shown(&reason.value)).collect()
        })?;
        list::<DoubleType, _>(group, self.rows, |row| {
            row.reasons.iter().flatten().map(|reason| Some(reason.effect)).collect()
        })?;
        required::<ByteArrayType>(group, self.rows.iter().map(|_| text(self.model_id)))?;
        required::<ByteArrayType>(group, self.rows.iter().map(|_| text(self.model_version)))?;
        let at = self.scored_at.as_millisecond();
        required::<Int64Type>(group, self.rows.iter().map(|_| at))?;
        Ok(())
    }
}

/// A value as a text; none where it is missing.
fn shown(value: &Value) -> Option<ByteArray> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.as_str().into()),
        other => Some(other.to_string().as_str().into()),
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Row;
    use serde_json::json;
    use steppe_wire::score::Reason;

    use super::*;

    #[test]
    fn scores_are_read_as_they_were_written() {
        let reason =
            |column: &str, value, effect| Reason { column: column.to_owned(), value, effect };
        let rows = [
            ScoredRow {
                entity: Some("7".to_owned()),
                probability: Some(0.25),
                label: Some("true".to_owned()),
                threshold: Some(0.2),
                base: Some(-3.0),
                reasons: Some(vec![
                    reason("age", json!(67), 1.5),
                    reason("bmi", Value::Null, -0.5),
                ]),
                ..ScoredRow::default()
            },
            ScoredRow { value: Some(3.5), ..ScoredRow::default() },
            ScoredRow {
                label: Some("b".to_owned()),
                probabilities: [("a".to_owned(), 0.25), ("b".to_owned(), 0.75)].into(),
                ..ScoredRow::default()
            },
        ];
        let scores = Scores {
            execution: "arn",
            model_id: "stroke-logistic",
            model_version: "v",
            scored_at: "2026-01-02T03:04:05Z".parse().expect("a time"),
            rows: &rows,
        };
        let file = bytes::Bytes::from(scores.to_parquet().expect("written"));
        let reader = SerializedFileReader::new(file).expect("Parquet");
        let read = reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row"));
        let shown = |row: &Row, name: &str| {
            let field = row.get_column_iter().find(|(found, _)| *found == name);
            field.map(|(_, field)| field.to_string()).unwrap_or_default()
        };
        let read: Vec<Row> = read.collect();
        let reasons = "[{column: \"age\", value: \"67\", effect: 1.5}, {column: \"bmi\", value: \
                       null, effect: -5E-1}]";
        assert_eq!(shown(&read[0], "reasons"), reasons);
        assert_eq!([shown(&read[0], "probability"), shown(&read[0], "entity")], ["0.25", "\"7\""]);
        assert_eq!([shown(&read[1], "value"), shown(&read[1], "label")], ["3.5", "null"]);
        assert_eq!([shown(&read[1], "reasons"), shown(&read[2], "probability")], ["[]", "0.75"]);
        let first = "[{label: \"a\", probability: 0.25}, {label: \"b\", probability: 0.75}]";
        assert_eq!(shown(&read[2], "probabilities"), first);
        assert_eq!(shown(&read[2], "scored_at"), "2026-01-02 03:04:05.000 +00:00");
    }
}
