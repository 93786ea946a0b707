//! The SQL of an as-of join: one pass over both tables in the order of time, and a join by equal
//! keys. A join by `<=` would compare every row with every other.

use steppe_spec::{AsOf, Manifest, Table};

/// The statement that makes `table`. What the manifest does not have was told when it was read.
pub(super) fn as_of_sql(manifest: &Manifest, table: &Table, join: &AsOf) -> String {
    let left = manifest.stored().find(|source| source.name == join.left);
    let of_left = |name: &str| left.is_some_and(|left| left.column(name).is_some());
    let keys: Vec<&str> = join.keys().map(String::as_str).collect();
    let names = || table.columns.iter().map(|column| column.name.as_str());
    // The columns of `left` that are needed, and the same places for rows of `right`.
    let own: Vec<&str> = keys
        .iter()
        .copied()
        .chain(names().filter(|name| of_left(name) && !keys.contains(name)))
        .collect();
    let absent = |name: &&str| match keys.contains(name) {
        true => (*name).to_owned(),
        false => format!("NULL AS {name}"),
    };
    let absent: Vec<String> = own.iter().map(absent).collect();
    let known: Vec<String> = keys.iter().map(|key| format!("{key} IS NOT NULL")).collect();
    let parts = match &join.by[..] {
        [] => String::new(),
        by => format!("PARTITION BY {} ", by.join(", ")),
    };
    let meets: Vec<String> =
        join.by.iter().map(|by| format!("newest.{by} = met.{by} AND ")).collect();
    let columns: Vec<String> = names()
        .map(|name| if of_left(name) { format!("met.{name}") } else { format!("newest.{name}") })
        .collect();
    let AsOf { left, right, on, exact, .. } = join;
    // At one time, what counts comes before whom it counts for.
    let (first, second) = if *exact { (1, 0) } else { (0, 1) };
    format!(
        "WITH both AS (\n\
         \x20 SELECT {}, {first} AS _side, NULL AS _known, TRUE AS _left FROM {left}\n\
         \x20 UNION ALL\n\
         \x20 SELECT {}, {second} AS _side, {on} AS _known, FALSE AS _left FROM {right}\n\
         \x20 WHERE {}\n\
         ),\n\
         met AS (\n\
         \x20 SELECT both.*, MAX(_known) OVER ({parts}ORDER BY {on}, _side\n\
         \x20   ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS _met\n\
         \x20 FROM both\n\
         )\n\
         SELECT {}\n\
         FROM {right} newest\n\
         RIGHT JOIN (SELECT * FROM met WHERE _left) met ON {}newest.{on} = met._met",
        own.join(", "),
        absent.join(", "),
        known.join(" AND "),
        columns.join(", "),
        meets.concat(),
    )
}
