//! The tables, from CSV.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::StringRecord;
use steppe_model::rows::table::{Column, Table};
use steppe_model::tabular::data::{Rows, Target};
use steppe_spec::ColumnType;
use steppe_spec::tabular::{TabularKind, TabularSpec};

use super::Result;

/// What `tests/peers/rows.py` has written.
pub fn peers_folder() -> PathBuf {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    Path::new(&target).join("accuracy/rows")
}

fn records(path: &Path) -> Result<(Vec<String>, Vec<StringRecord>)> {
    let mut reader = csv::Reader::from_path(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let names = reader.headers()?.iter().map(str::to_owned).collect();
    Ok((names, reader.records().collect::<std::result::Result<_, _>>()?))
}

/// A configuration for a table as it is.
pub fn spec_of(name: &str, kind: TabularKind, table: &Table) -> TabularSpec {
    let kind_of = |column: &Column| match column {
        Column::Number(_) => ColumnType::Double,
        Column::Boolean(_) => ColumnType::Boolean,
        Column::Category { .. } => ColumnType::String,
    };
    let columns: Vec<(&str, ColumnType)> =
        table.columns().map(|(name, column)| (name, kind_of(column))).collect();
    TabularSpec::new(name, kind, name, &columns)
}

/// 4,088 patients.
pub fn stroke() -> Result<(Rows, TabularSpec)> {
    let folder = std::env::var("STEPPE_SHARED_DATA").unwrap_or_else(|_| "../shared/data".into());
    let (names, records) = records(&Path::new(&folder).join("stroke/stroke.csv"))?;
    let mut table = Table::new(records.len());
    let mut codes = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let texts = records.iter().map(|record| &record[at]);
        match name.as_str() {
            "id" => {}
            "stroke" => codes = texts.map(|text| usize::from(text == "1")).collect(),
            "age" | "avg_glucose_level" | "bmi" => {
                let number = |text: &str| if text == "N/A" { Ok(f64::NAN) } else { text.parse() };
                let numbers = texts.map(number).collect::<std::result::Result<_, _>>()?;
                table.push(name, Column::Number(numbers))?;
            }
            "hypertension" | "heart_disease" => {
                table.push(name, Column::Boolean(texts.map(|text| Some(text == "1")).collect()))?;
            }
            _ => table.push(name, Column::category(texts.map(Some)))?,
        }
    }
    let spec = spec_of("stroke", TabularKind::Auto, &table);
    let labels = Arc::new(vec!["0".to_owned(), "1".to_owned()]);
    Ok((Rows::plain(table, Some(Target::Classes { labels, codes })), spec))
}

/// Numbers with a target and the fold of each row in each drawing.
pub struct Folded {
    pub table: Table,
    pub target: Vec<f64>,
    pub folds: Vec<Vec<usize>>,
}

/// A table of `tests/peers/rows.py`: an empty value is missing, `target` is what is predicted, and
/// `fold0`, `fold1` and so on are folds.
pub fn folded(name: &str) -> Result<Folded> {
    let (names, records) = records(&peers_folder().join(name))?;
    let mut folded = Folded { table: Table::new(records.len()), target: vec![], folds: vec![] };
    for (at, name) in names.iter().enumerate() {
        let texts = records.iter().map(|record| &record[at]);
        if name.starts_with("fold") {
            let fold = texts.map(str::parse).collect::<std::result::Result<_, _>>()?;
            folded.folds.push(fold);
            continue;
        }
        let number = |text: &str| if text.is_empty() { Ok(f64::NAN) } else { text.parse() };
        let numbers: Vec<f64> = texts.map(number).collect::<std::result::Result<_, _>>()?;
        match name.as_str() {
            "target" => folded.target = numbers,
            _ => folded.table.push(name, Column::Number(numbers))?,
        }
    }
    Ok(folded)
}
