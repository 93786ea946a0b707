//! Where a job reads and writes, and what it may delete there.

use anyhow::{Context, Result, bail};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use steppe_store::key;
use steppe_store::table::{below, is_hidden};
use steppe_wire::etl::{EtlPlan, EtlReport, Output, TableFormat};
use steppe_wire::hint::Hinted;
use steppe_wire::text::shown;

use crate::storage::{Place, Realm};

/// The places of a plan, all below its root.
pub(super) struct Places {
    realm: Realm,
    /// Those of each input.
    pub inputs: Vec<InputPlaces>,
    /// The prefix of each table.
    pub tables: Vec<Place>,
    /// The report.
    pub report: Place,
    /// What the job writes: what it is, where, and in which format.
    written: Vec<(String, Place, TableFormat)>,
}

/// The places of an input.
pub(super) struct InputPlaces {
    /// The prefix of its files.
    pub files: Place,
    /// The prefix of the clean table.
    pub output: Place,
    /// The prefix of rejected records.
    pub rejects: Place,
}

impl Places {
    pub fn of(realm: Realm, plan: &EtlPlan) -> Result<Self> {
        let root = plan.root.trim_end_matches('/');
        let prefix = |below: &str| realm.prefix(&format!("{root}/{below}"));
        let mut written = Vec::new();
        let (mut inputs, mut tables) = (Vec::new(), Vec::new());
        let mut output = |name: &str, output: &Output| -> Result<Place> {
            let place = prefix(&output.prefix)?;
            written.push((format!("table {name}"), place.clone(), output.format));
            Ok(place)
        };
        for input in &plan.inputs {
            inputs.push(InputPlaces {
                files: prefix(&input.prefix)?,
                output: output(&input.name, &input.output)?,
                rejects: prefix(&input.rejects)?,
            });
        }
        for table in &plan.tables {
            tables.push(output(&table.name, &table.output)?);
        }
        for (input, own) in plan.inputs.iter().zip(&inputs) {
            let what = format!("rejects of {}", input.name);
            written.push((what, own.rejects.clone(), TableFormat::Csv));
        }
        let report = realm.file(&format!("{root}/{}", plan.report))?;
        let places = Self { realm, inputs, tables, report, written };
        places.refuse_overlaps()?;
        Ok(places)
    }

    /// What is written must not lie in anything else that the job reads or writes.
    fn refuse_overlaps(&self) -> Result<()> {
        let written = self.written.iter().map(|(what, place, _)| (what.as_str(), place));
        let written: Vec<_> = written.chain([("report", &self.report)]).collect();
        let read = self.inputs.iter().map(|input| ("input", &input.files));
        let all: Vec<_> = written.iter().copied().chain(read).collect();
        for (index, (one, place)) in written.iter().enumerate() {
            if let Some((other, second)) =
                all[index + 1..].iter().find(|(_, other)| place.overlaps(other))
            {
                let (place, second) = (&place.name, &second.name);
                bail!(Hinted::new(
                    format!("the {one} {place} and the {other} {second} overlap"),
                    "give each a prefix of its own"
                ));
            }
        }
        Ok(())
    }

    /// Lets SQL read and write.
    pub fn register(&self, context: &SessionContext) {
        self.written.iter().for_each(|(_, place, _)| place.register(context));
    }

    /// What the report of the run before names: all that this run may delete.
    pub async fn former(&self, pipeline: &str) -> Result<Vec<String>> {
        let place = &self.report;
        let bytes = match place.store.get(&place.path).await {
            Ok(object) => object.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(vec![]),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot read the report {}", place.name));
            }
        };
        let report: EtlReport = serde_json::from_slice(&bytes).with_context(|| {
            format!("{} is there and is no report of a cleaning job", place.name)
        })?;
        if report.pipeline != pipeline {
            let (place, other) = (&place.name, report.pipeline);
            bail!(Hinted::new(
                format!("{place} is the report of the pipeline `{other}`, not of `{pipeline}`"),
                "two pipelines need two places"
            ));
        }
        Ok(report.objects)
    }

    /// Readers take every file below a prefix, so one that no run wrote would be read with them,
    /// and deleting it is nobody's right.
    pub async fn refuse_foreign(&self, former: &[String]) -> Result<()> {
        for (what, place, format) in &self.written {
            let mut objects = place.store.list(Some(&place.path));
            while let Some(entry) = objects.next().await {
                let key = key(entry).with_context(|| format!("listing {} failed", place.name))?;
                let below = below(&key, &place.path);
                let name = format!("{}{below}", place.name);
                // The place itself is a mark of a folder, which the console makes.
                let is_own = below.is_empty() || is_part(below, *format) || former.contains(&name);
                if !is_own && !is_hidden(below) {
                    let name = shown(&name);
                    bail!(Hinted::new(
                        format!(
                            "{name} was not written by this job, and would be read as part of \
                             the {what}"
                        ),
                        "choose an empty prefix, or move that object away"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Removes what the run before wrote and this one did not, and only below the job's own
    /// prefixes.
    pub async fn delete_former(&self, former: &[String], written: &[String]) -> Result<()> {
        for address in former.iter().filter(|a| !written.contains(a)) {
            let file = self.realm.file(address)?;
            let own = self.written.iter().map(|(_, place, _)| place).find(|p| p.contains(&file));
            let Some(prefix) = own else { continue };
            match prefix.store.delete(&file.path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("deleting {address} failed"));
                }
            }
        }
        Ok(())
    }
}

/// The name of the n-th file of a table: `part-00000.parquet`.
pub(super) fn part(number: usize, format: TableFormat) -> String {
    format!("part-{number:05}.{}", format.name())
}

/// Whether a file has the name of a table's.
fn is_part(name: &str, format: TableFormat) -> bool {
    let inner = name.strip_prefix("part-").and_then(|n| n.strip_suffix(format.name()));
    inner.and_then(|n| n.strip_suffix('.')).is_some_and(|number| {
        number.len() == 5 && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_table_are_known_by_their_names() {
        assert!(is_part(&part(0, TableFormat::Parquet), TableFormat::Parquet));
        assert!(is_part("part-00017.orc", TableFormat::Orc));
        for other in
            ["part-00000.csv", "part-0.parquet", "part-0000x.parquet", "a/part-00000.parquet"]
        {
            assert!(!is_part(other, TableFormat::Parquet), "{other}");
        }
    }
}
