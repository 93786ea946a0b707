//! `[[tables]]`: tables made of clean tables by SQL.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::as_of::{AsOf, Earlier};
use crate::column::Columns;
use crate::defects::Defects;
use crate::input::Format;

/// A table made of clean tables, and of tables before it, by SQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Name of the table: lower-case letters, digits and inner underscores.
    pub name: String,
    /// What it holds, for people and the catalogue.
    #[serde(default)]
    pub description: String,
    /// File of its SQL, beside the manifest: one statement in Spark's dialect over the names of
    /// inputs and of tables before it.
    pub sql: Option<String>,
    /// Instead of SQL: to each row of a table, the newest row of another one by then.
    pub as_of: Option<AsOf>,
    /// Its columns, in the order of the statement: `name = "type"`.
    pub columns: Columns,
    /// Columns that no two rows have in common: a join that multiplies rows is refused.
    #[schemars(length(min = 1))]
    pub keys: Vec<String>,
    /// Format in which it is stored; a task reads Parquet.
    #[serde(default = "parquet")]
    pub output: Format,
}

fn parquet() -> Format {
    Format::Parquet
}

impl Table {
    /// Notes what is wrong with it, as the `at`-th of all.
    pub(crate) fn defects(&self, at: usize, earlier: &Earlier<'_>, out: &mut Defects) {
        match (&self.sql, &self.as_of) {
            (None, Some(as_of)) => as_of.defects(&format!("tables[{at}]"), self, earlier, out),
            (Some(_), None) => {}
            (Some(_), Some(_)) | (None, None) => out.add(
                format!("tables[{at}]"),
                format!("the table `{}` is made by either `sql` or `as_of`; give one", self.name),
            ),
        }
        self.columns.defects(&format!("tables[{at}].columns"), out);
        for column in &self.columns {
            let plain = column.from.is_none() && column.zone.is_none() && column.local.is_none();
            out.need(format!("tables[{at}].columns.{}", column.name), plain, || {
                format!(
                    "`{}` is a column that the table's SQL makes: it has a type and nothing else",
                    column.name
                )
            });
        }
        out.need(format!("tables[{at}].keys"), !self.keys.is_empty(), || {
            format!("`keys` of the table `{}` is empty; name what no two rows share", self.name)
        });
        for (place, name) in self.keys.iter().enumerate() {
            self.columns.known(&self.name, &format!("tables[{at}].keys[{place}]"), name, out);
        }
    }
}
