//! What the beginning of a file says: whether it is of the declared format, and its columns.
//!
//! It says only what a job that reads the whole file would say, too.

use std::io::Read;

use csv::ByteRecord;
use flate2::read::MultiGzDecoder;
use serde::de::IgnoredAny;
use steppe_wire::etl::header::{complete_names, position, trimmed};
use steppe_wire::etl::records::Records;
use steppe_wire::etl::{CsvOptions, InputPlan, TableFormat};
use steppe_wire::format::{BEGINNING_BYTES, Format};
use steppe_wire::hint::Hinted;

/// The beginning of a file.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Its first bytes.
    pub bytes: Vec<u8>,
    /// Whether they are all.
    pub whole: bool,
}

impl Beginning {
    /// The columns of the file called `name`, when they can be told and must be those of the
    /// input's other files; or what is wrong with it.
    pub fn columns(self, plan: &InputPlan, name: &str) -> Result<Option<Vec<String>>, Hinted> {
        let plain = match Format::packed(plan, name, &self.bytes)? {
            true => self.unpacked()?,
            false => self,
        };
        if plain.bytes.is_empty() && !plain.whole {
            return Ok(None);
        }
        if let Some(defect) = Format::defect(plan, &plain.bytes) {
            return Err(defect);
        }
        if !plan.container.is_lines() {
            return Ok(None);
        }
        match (&plan.csv, plan.format) {
            (Some(csv), _) => plain.of_csv(plan, csv),
            (None, TableFormat::Json) => plain.of_json(plan).map(|()| None),
            // Their schemas are beyond their beginnings.
            (None, _) => Ok(None),
        }
    }

    fn unpacked(self) -> Result<Self, Hinted> {
        let mut bytes = Vec::new();
        let mut decoder = MultiGzDecoder::new(&self.bytes[..]).take(BEGINNING_BYTES as u64);
        match decoder.read_to_end(&mut bytes) {
            Err(error) if self.whole => Err(format!("the file is damaged: {error}").into()),
            ended => {
                let whole = self.whole && ended.is_ok() && bytes.len() < BEGINNING_BYTES;
                Ok(Self { bytes, whole })
            }
        }
    }

    /// Up to the last end of a line that is there.
    fn lines(&self) -> &[u8] {
        let end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let last = self.bytes.iter().rposition(end).map_or(0, |at| at + 1);
        if self.whole { &self.bytes } else { &self.bytes[..last] }
    }

    fn of_csv(&self, plan: &InputPlan, csv: &CsvOptions) -> Result<Option<Vec<String>>, Hinted> {
        let Ok(delimiter) = u8::try_from(csv.delimiter) else { return Ok(None) };
        let mut records = Records::new(self.lines(), delimiter, csv.skip_lines);
        let header = records.header();
        // Of a header that may go on, nothing is known.
        let followed = matches!(records.read(&mut ByteRecord::new()), Ok(Some(_)));
        if !self.whole && !followed {
            return Ok(None);
        }
        let header = header.map_err(|error| Hinted::of(&error))?;
        let names = complete_names(&header, &plan.columns, csv)
            .map_err(|error| Hinted::of(&error).at(format_args!("line {}", csv.skip_lines + 1)))?;
        // The columns that a wide table keeps are needed, and its periods may differ.
        Ok(csv.wide.is_none().then_some(names))
    }

    /// A column may be missing in any object, but not in all of them.
    fn of_json(&self, plan: &InputPlan) -> Result<(), Hinted> {
        let text = String::from_utf8_lossy(self.lines());
        let mut keys: Vec<String> = Vec::new();
        let mut objects = 0;
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
            let object: std::collections::BTreeMap<String, IgnoredAny> =
                serde_json::from_str(trimmed(line)).map_err(|error| {
                    Hinted::new(
                        format!("line {number}: this is no JSON object: {error}"),
                        "each line must be one whole object; `jq -c .` writes objects so",
                    )
                })?;
            objects += 1;
            let new = |key: &String| !keys.contains(key);
            let new: Vec<String> =
                object.into_keys().map(|key| trimmed(&key).to_owned()).filter(new).collect();
            keys.extend(new);
            if !self.whole {
                return Ok(());
            }
        }
        let mut missing = Vec::new();
        for column in &plan.columns {
            if position(&keys, column).map_err(|error| Hinted::of(&error))?.is_none() {
                missing.push(format!("`{}`", column.source));
            }
        }
        if missing.is_empty() || objects == 0 {
            return Ok(());
        }
        let (missing, found) = (missing.join(", "), keys.join(", "));
        Err(Hinted::new(
            format!("column {missing} is missing; the objects have {found}"),
            "name the file's keys in `columns` of the manifest, as `from`",
        ))
    }
}
