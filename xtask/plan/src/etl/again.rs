//! The same tables of other clean data: what SQL makes of readings in which something was changed.

use std::collections::BTreeSet;

use steppe_spec::{Column, Columns, Container, Footnotes, Format, Input, Manifest};
use steppe_wire::etl::EtlPlan;

use super::{SqlFiles, etl_plan};

/// A plan that makes the table `wanted` of clean tables: their files are those of its inputs, in
/// the format in which they are stored, and those of `changed` are CSV. Tables that `wanted` does
/// not need are not made.
pub fn again(manifest: &Manifest, plan: &EtlPlan, changed: &str, wanted: &str) -> EtlPlan {
    let mut clean = manifest.clone();
    for input in &mut clean.inputs {
        let format = if input.name == changed { Format::Csv } else { input.output };
        *input = as_stored(input, format);
    }
    let mut needed = BTreeSet::from([wanted]);
    let tables = plan.tables.iter().rev().filter(|table| {
        let is_needed = needed.contains(&*table.name);
        if is_needed {
            let words = table.sql.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            needed.extend(words);
        }
        is_needed
    });
    let mut tables: Vec<_> = tables.cloned().collect();
    tables.reverse();
    let inputs = etl_plan(&clean, &SqlFiles::new(), &plan.root).inputs;
    EtlPlan { inputs, tables, ..plan.clone() }
}

/// An input whose files are a clean table.
fn as_stored(input: &Input, format: Format) -> Input {
    let plain = |column: &Column| Column::new(&column.name, column.kind);
    Input {
        format,
        container: Container::Lines,
        delimiter: ',',
        sheet: None,
        skip_lines: 0,
        footnotes: Footnotes::default(),
        thousands: None,
        decimal: '.',
        missing: vec![],
        wide: None,
        sql: None,
        columns: input.columns.iter().map(plain).collect::<Columns>(),
        drop: vec![],
        rules: vec![],
        unique: vec![],
        ..input.clone()
    }
}
