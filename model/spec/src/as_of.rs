//! As-of joins: to each row of a table, the newest row of another one that was there by then.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::column::{Column, ColumnType};
use crate::defects::Defects;
use crate::manifest::Source;
use crate::tables::Table;

/// What is joined, and by what. The columns of the result are those of `columns`, each from `left`
/// when that has it, else from `right`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AsOf {
    /// The input or table each of whose rows is a row of the result.
    pub left: String,
    /// The input or table whose newest row at that time, or before it, is added: whole, with what
    /// it does not know. Nothing is added where there is none.
    pub right: String,
    /// The column that says when, in both: a `date`, a `timestamp` or a whole number.
    pub on: String,
    /// Columns that must be equal, in both.
    #[serde(default)]
    pub by: Vec<String>,
    /// Whether a row of `right` of the same time counts; otherwise it must be older.
    #[serde(default = "yes")]
    pub exact: bool,
}

fn yes() -> bool {
    true
}

/// The tables before one: by name, and what no two of their rows share.
pub(crate) type Earlier<'a> = Vec<(Source<'a>, &'a [String])>;

impl AsOf {
    /// Columns by which rows meet.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.by.iter().chain([&self.on])
    }

    /// Notes what is wrong with it in `table`, which is at `place`.
    pub(crate) fn defects(
        &self,
        place: &str,
        table: &Table,
        earlier: &Earlier<'_>,
        out: &mut Defects,
    ) {
        let key = &format!("{place}.as_of");
        let find = |side: &str, named: &str, out: &mut Defects| {
            let found = earlier.iter().find(|(source, _)| source.name == named);
            out.need(format!("{key}.{side}"), found.is_some(), || {
                let name = &table.name;
                format!("`{side}` is `{named}`; expected an input, or a table before `{name}`")
            });
            found
        };
        let left = find("left", &self.left, out);
        let Some(((left, _), (right, unique))) = left.zip(find("right", &self.right, out)) else {
            return;
        };
        for (place, column) in self.places(key) {
            let both = left.columns.known(left.name, &place, column, out);
            let both = both.zip(right.columns.known(right.name, &place, column, out));
            if let Some((of_left, of_right)) = both {
                self.meet(&place, (left, of_left), (right, of_right), out);
            }
        }
        // Otherwise one of several rows of the same time would be taken by chance.
        let one = !unique.is_empty() && unique.iter().all(|own| self.keys().any(|key| key == own));
        out.need(format!("{key}.right"), one, || {
            format!(
                "`{}` may have several rows of the same {}: its `unique` or `keys` must say that \
                 it has one",
                right.name,
                self.keys().cloned().collect::<Vec<_>>().join(" and ")
            )
        });
        for column in &table.columns {
            let place = format!("{place}.columns.{}", column.name);
            let Some(of) = left.column(&column.name).or_else(|| right.column(&column.name)) else {
                out.add(
                    &place,
                    format!(
                        "neither `{}` nor `{}` has a column `{}`",
                        left.name, right.name, column.name
                    ),
                );
                continue;
            };
            out.need(place, of.kind == column.kind, || {
                format!(
                    "`{}` is `{}` where it comes from, and `{}` here",
                    column.name,
                    of.kind.hive(),
                    column.kind.hive()
                )
            });
        }
    }

    fn places<'a>(&'a self, key: &str) -> Vec<(String, &'a String)> {
        let by = self.by.iter().enumerate();
        let by = by.map(|(at, column)| (format!("{key}.by[{at}]"), column));
        by.chain([(format!("{key}.on"), &self.on)]).collect()
    }

    /// Two columns by which rows meet are of one type, and times of one zone.
    fn meet(
        &self,
        place: &str,
        (left, of_left): (&Source<'_>, &Column),
        (right, of_right): (&Source<'_>, &Column),
        out: &mut Defects,
    ) {
        let (name, kind) = (&of_left.name, of_left.kind);
        out.need(place, kind == of_right.kind, || {
            format!(
                "`{name}` is `{}` in `{}` and `{}` in `{}`",
                kind.hive(),
                left.name,
                of_right.kind.hive(),
                right.name
            )
        });
        let whole = matches!(kind, ColumnType::Int | ColumnType::Bigint);
        out.need(place, *name != self.on || kind.is_time() || whole, || {
            format!(
                "`on` is `{name}`, which is `{}`; expected a time or a whole number",
                kind.hive()
            )
        });
        if let (Some(zone), Some(other)) = (of_left.table_zone(), of_right.table_zone()) {
            out.need(place, zone == other, || {
                format!(
                    "`{name}` is a time of {zone} in `{}` and of {other} in `{}`; bring both to \
                     one zone by `as`",
                    left.name, right.name
                )
            });
        }
    }
}
