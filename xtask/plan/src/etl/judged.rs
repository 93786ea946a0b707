//! Which records of an input are turned away, and by which rule.

use steppe_spec::{Action, ForecastEntry, Format, PartialPeriod, Spacing};
use steppe_wire::etl::REJECTED_NEWEST_SHOWN;

use super::Judged;
use super::text::{is_missing, literal};
use super::typed;

/// Name of the rule about records that have what no two may have in common.
const UNIQUE: &str = "unique";

/// One condition with everything that is said about it.
pub(super) struct Judgement {
    pub name: String,
    pub column: String,
    pub when: String,
    pub reason: String,
    pub action: Action,
}

/// The rules of an input, in the order in which they are tried.
pub(super) fn judgements(judged: Judged<'_>) -> Vec<Judgement> {
    let Judged { input, task } = judged;
    let own = input.rules.iter().map(|r| Judgement {
        name: r.name.clone(),
        column: r.column.clone().unwrap_or_default(),
        when: r.when.clone(),
        reason: r.reason.clone(),
        action: r.action,
    });
    let left_out = task.filter(|entry| !entry.leave_out.is_empty()).map(|entry| {
        let names: Vec<String> = entry.leave_out.iter().map(|name| literal(name)).collect();
        Judgement {
            name: "leave_out".to_owned(),
            column: entry.task.series.clone(),
            when: format!("{} IN ({})", entry.task.series, names.join(", ")),
            reason: "the manifest leaves this series out".to_owned(),
            action: Action::Reject,
        }
    });
    let missing = missing_sql(judged).zip(task).map(|(_, entry)| Judgement {
        name: "missing".to_owned(),
        column: entry.task.target.clone(),
        when: "_missing_row IS NOT NULL".to_owned(),
        reason: "the manifest's `missing` says that this is no value".to_owned(),
        action: Action::Reject,
    });
    let unique = input.unique.last().map(|last| Judgement {
        name: UNIQUE.to_owned(),
        column: last.clone(),
        when: "_repeated".to_owned(),
        reason: format!("there is more than one record of the same {}", input.unique.join(" and ")),
        action: input.duplicates,
    });
    let partial = task.and_then(|entry| partial_judgement(entry, entry.partial_period?));
    left_out
        .into_iter()
        .chain(missing)
        .chain(own)
        .chain(typed::judgements(input))
        .chain(unique)
        .chain(partial)
        .collect()
}

fn partial_judgement(entry: &ForecastEntry, partial: PartialPeriod) -> Option<Judgement> {
    let time = &entry.task.time;
    let before =
        if entry.task.frequency().season() > 1 { "one season before" } else { "the one before" };
    Some(Judgement {
        name: "partial_period".to_owned(),
        column: time.clone(),
        when: "_partial_period IS NOT NULL".to_owned(),
        reason: format!(
            "the newest {time} is incomplete: its total is below {:.0} % of that of {before}",
            partial.below * 100.0,
        ),
        action: partial.action,
    })
}

/// Whether a record of the view `file` says that it has no value; none when that says nothing
/// about the record: cells without a value make none, and with features it may be of a period to
/// come.
fn missing_sql(judged: Judged<'_>) -> Option<String> {
    let (input, task) = (judged.input, &judged.task?.task);
    let text = matches!(input.format, Format::Csv | Format::Json);
    let plain = text && input.wide.is_none() && !task.knows_ahead();
    is_missing(&task.target, &input.missing).filter(|_| plain)
}

/// The rows of `typed` with the first rule that each breaks, in the order of the clean table, which
/// is that of the windows: so rows are sorted once.
///
/// The small table stands first in each join: engines without statistics hold that side in memory.
pub(super) fn judged_sql(judged: Judged<'_>, judgements: &[Judgement]) -> String {
    let Judged { input, task } = judged;
    let cases: String =
        judgements.iter().map(|j| format!("    WHEN {} THEN '{}'\n", j.when, j.name)).collect();
    let rule = if judgements.is_empty() {
        "CAST(NULL AS STRING)".to_owned()
    } else {
        format!("CASE\n{cases}  END")
    };
    let mut tables = Vec::new();
    let mut from = "typed".to_owned();
    if let Some(sql) = missing_sql(judged) {
        tables.push(format!(
            "marked AS (\n\
             \x20 SELECT typed.*, marks._missing_row\n\
             \x20 FROM (SELECT _row AS _missing_row FROM file WHERE {sql}) marks\n\
             \x20 RIGHT JOIN typed ON typed._row = marks._missing_row\n\
             )"
        ));
        from = "marked AS typed".to_owned();
    }
    let mut columns = String::new();
    if let Some((entry, partial)) = task.and_then(|entry| Some((entry, entry.partial_period?))) {
        tables.push(partial_tables(entry, partial.below));
        let time = &entry.task.time;
        from = format!("partial RIGHT JOIN {from} ON typed.{time} = partial._partial_period");
        columns += ", partial._partial_period";
    }
    let keys = input.unique.join(", ");
    match &input.unique[..] {
        [] => {}
        [key] => {
            tables.push(format!(
                "repeated AS (\n\
                 \x20 SELECT {key} AS _repeated_key FROM typed GROUP BY {key} HAVING COUNT(*) > 1\n\
                 )"
            ));
            from = format!("repeated RIGHT JOIN {from} ON typed.{key} = repeated._repeated_key");
            columns += ",\n    repeated._repeated_key IS NOT NULL AS _repeated";
        }
        [first, rest @ ..] => columns += &format!(",\n    {} AS _repeated", repeated(first, rest)),
    }
    tables.push(format!("neighbours AS (\n  SELECT typed.*{columns}\n  FROM {from}\n)"));
    let order = if keys.is_empty() { String::new() } else { format!("\nORDER BY {keys}, _row") };
    format!(
        "WITH {}\nSELECT neighbours.*, {rule} AS _rule FROM neighbours{order}",
        tables.join(",\n")
    )
}

/// Whether a record has all keys in common with the one before or after it.
///
/// Neighbours instead of a count, because their windows stream; parted by the first key alone,
/// because each part costs as much as some hundred rows.
fn repeated(first: &str, rest: &[String]) -> String {
    let window = format!("OVER (PARTITION BY {first} ORDER BY {}, _row)", rest.join(", "));
    let like = |neighbour: &str| {
        let same = rest
            .iter()
            .map(|key| format!("({neighbour}({key}) {window} IS NOT DISTINCT FROM {key})"));
        let there = format!("{neighbour}(_row) {window} IS NOT NULL");
        [there].into_iter().chain(same).collect::<Vec<_>>().join(" AND ")
    };
    format!("(({}) OR ({}))", like("LAG"), like("LEAD"))
}

/// The table `partial`: the newest period, if its total is below a share of that one season before.
fn partial_tables(entry: &ForecastEntry, below: f64) -> String {
    let (time, target) = (&entry.task.time, &entry.task.target);
    // Years are numbers; other periods sort as they follow each other. November is compared with
    // the November before, not with October.
    let before = match (entry.task.frequency, entry.task.frequency().season()) {
        (Spacing::Yearly, _) => "newest._period - 1".to_owned(),
        (_, season) => format!("(SELECT MAX(_period) FROM ranked WHERE _rank = {})", season + 1),
    };
    format!(
        "totals AS (\n\
         \x20 SELECT {time} AS _period, SUM({target}) AS _total\n\
         \x20 FROM typed WHERE {time} IS NOT NULL GROUP BY {time}\n\
         ),\n\
         ranked AS (\n\
         \x20 SELECT _period, ROW_NUMBER() OVER (ORDER BY _period DESC) AS _rank FROM totals\n\
         ),\n\
         partial AS (\n\
         \x20 SELECT newest._period AS _partial_period\n\
         \x20 FROM totals newest CROSS JOIN totals earlier\n\
         \x20 WHERE earlier._period = {before}\n\
         \x20   AND newest._period = (SELECT MAX(_period) FROM totals)\n\
         \x20   AND newest._total < {below} * earlier._total\n\
         )"
    )
}

/// A rule that rejects may turn away the newest values of a series and leave old ones to be
/// forecast from.
pub(super) fn newest_sql(judged: Judged<'_>) -> Option<String> {
    let (input, task) = (judged.input, &judged.task?.task);
    let (series, time, target) = (&task.series, &task.time, &task.target);
    let own = input.rules.iter().filter(|r| r.action == Action::Reject).map(|r| &*r.name);
    let unique = (input.duplicates == Action::Reject).then_some(UNIQUE);
    let rules: Vec<String> = own.chain(unique).map(literal).collect();
    let rules = (!rules.is_empty()).then(|| rules.join(", "))?;
    Some(format!(
        "SELECT late.*, COUNT(*) OVER () AS _all FROM (\n\
         \x20 SELECT judged.{series} AS _series, CAST(MAX(judged.{time}) AS STRING) AS _period,\n\
         \x20   COUNT(*) AS _records, MIN(judged._rule) AS _rule\n\
         \x20 FROM (\n\
         \x20   SELECT {series} AS _name,\n\
         \x20     MAX(CASE WHEN _rule IS NULL AND {target} IS NOT NULL THEN {time} END) AS _clean\n\
         \x20   FROM judged WHERE {series} IS NOT NULL GROUP BY {series}\n\
         \x20 ) newest JOIN judged ON judged.{series} = newest._name\n\
         \x20 WHERE judged._rule IN ({rules}) AND judged.{time} IS NOT NULL\n\
         \x20   AND (newest._clean IS NULL OR judged.{time} > newest._clean)\n\
         \x20 GROUP BY judged.{series}\n\
         ) late ORDER BY _series LIMIT {REJECTED_NEWEST_SHOWN}"
    ))
}
