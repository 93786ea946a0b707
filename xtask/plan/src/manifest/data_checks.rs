//! What `[data]` can get wrong beyond its syntax.

use std::collections::BTreeSet;

use steppe_wire::etl::header::trimmed;

use super::checks::need;
use super::{Footnotes, Manifest};

/// What may separate thousands.
const THOUSANDS: [char; 6] = [' ', ',', '.', '\'', '’', '_'];
/// Most lines before a header, and most marks of missing values.
const SKIP_LINES_MAX: u64 = 1_000;
const MISSING_MAX: usize = 100;

/// Everything that is wrong with it.
pub(super) fn defects(manifest: &Manifest, out: &mut Vec<String>) {
    let data = &manifest.data;
    let delimiter = data.delimiter;
    let usable = delimiter == '\t' || (delimiter.is_ascii_punctuation() && delimiter != '"');
    need(out, usable || delimiter == ' ', || {
        format!("`data.delimiter` is {delimiter:?}; expected one ASCII character such as `;`")
    });
    need(out, data.skip_lines <= SKIP_LINES_MAX, || {
        format!("`data.skip_lines` is {}; expected 0 to {SKIP_LINES_MAX}", data.skip_lines)
    });
    numbers(manifest, out);
    columns(manifest, out);
    wide(manifest, out);
    let shaped = data.wide.is_some() || data.skip_lines > 0 || data.footnotes != Footnotes::Refuse;
    need(out, data.sample.is_none() || !shaped, || {
        "`data.sample` is a plain table, so it cannot be with `wide`, `skip_lines` or `footnotes`"
            .to_owned()
    });
}

/// A comma or point has one meaning in a number.
fn numbers(manifest: &Manifest, out: &mut Vec<String>) {
    let data = &manifest.data;
    need(out, matches!(data.decimal, '.' | ','), || {
        format!("`data.decimal` is `{}`; expected `.` or `,`", data.decimal)
    });
    if let Some(thousands) = data.thousands {
        need(out, THOUSANDS.contains(&thousands), || {
            format!(
                "`data.thousands` is `{thousands}`; expected one of {}; a space stands for every \
                 kind of space",
                THOUSANDS.map(|c| format!("`{c}`")).join(", ")
            )
        });
        need(out, thousands != data.decimal, || {
            format!(
                "`data.thousands` and `data.decimal` are both `{thousands}`, so `1{thousands}234` \
                 could be either; set the other of `.` and `,` for one of them"
            )
        });
    }
    need(out, data.missing.len() <= MISSING_MAX, || {
        format!("`data.missing` has {} marks; at most {MISSING_MAX}", data.missing.len())
    });
    for mark in &data.missing {
        let plain = !mark.is_empty() && trimmed(mark) == mark && !mark.contains(['\n', '\r']);
        need(out, plain, || {
            format!("`data.missing` has `{mark}`; expected text without spaces around it")
        });
        let number = mark.bytes().all(|b| b.is_ascii_digit());
        need(out, !number || mark.is_empty(), || {
            format!(
                "`data.missing` has `{mark}`, which is a number; let the cleaning SQL leave it out"
            )
        });
    }
}

fn columns(manifest: &Manifest, out: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    let mut sources = BTreeSet::new();
    for column in &manifest.data.columns {
        let name = &column.name;
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        need(out, plain && !name.is_empty() && !name.starts_with('_'), || {
            format!(
                "the column name `{name}` must consist of lower-case letters, digits and inner \
                 underscores; give the file's own name as `source`"
            )
        });
        need(out, seen.insert(name), || format!("the column `{name}` is declared twice"));
        let source = column.source();
        need(out, sources.insert(trimmed(source)) || column.source.is_none(), || {
            format!("two columns have the source `{source}`")
        });
    }
}

fn wide(manifest: &Manifest, out: &mut Vec<String>) {
    let Some(wide) = &manifest.data.wide else { return };
    need(out, wide.names != wide.values, || {
        format!("`data.wide.names` and `data.wide.values` are both `{}`", wide.names)
    });
    for (key, name) in [("names", &wide.names), ("values", &wide.values)] {
        need(out, manifest.column(name).is_some_and(|c| c.source.is_none()), || {
            format!(
                "`data.wide.{key}` is `{name}`; expected a column of `data.columns` without \
                 `source`, because the file does not have it"
            )
        });
    }
    let folded = |name: &str| trimmed(name).to_lowercase();
    let kept: BTreeSet<String> = wide.keep.iter().map(|name| folded(name)).collect();
    for column in &manifest.data.columns {
        let made = [&wide.names, &wide.values].contains(&&column.name);
        need(out, made || kept.contains(&folded(column.source())), || {
            format!(
                "`data.wide.keep` lacks `{}`, the column `{}` in the file",
                column.source(),
                column.name
            )
        });
    }
}
