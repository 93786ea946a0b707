//! Questions in SQL: the work group, and the manifest's queries by name.

use serde_json::json;
use steppe_spec::TableCheck;
use steppe_wire::keys;

use super::{Component, Fragment, Stack};
use crate::grants::Cfn;
use crate::made::Made;
use crate::smoke_test::{Check, CheckKind};

/// Bytes that one query may read.
const QUERY_BYTES_MAX: u64 = 10 * 1024 * 1024 * 1024;

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let spec = stack.spec;
    let queries = spec.manifest.queries.iter().zip(&spec.query_sql).map(|(query, sql)| {
        json!({
            "logical_id": query.name.split('-').map(capitalised).collect::<String>(),
            "name": query.name,
            "description": query.description,
            "sql": sql.trim_end(),
        })
    });
    let context = json!({
        "athena_prefix": keys::ATHENA_PREFIX,
        "query_bytes_max": QUERY_BYTES_MAX,
        "queries": queries.collect::<Vec<_>>(),
    });
    Some(Component {
        name: "query",
        resources: vec![Fragment::new("query.yaml.tera", context)],
        outputs: vec![("WorkGroupName", Cfn::reference("WorkGroup"))],
        checks: Some(|tested| {
            let own = tested.manifest.checks.iter().zip(tested.check_sql);
            Ok(own.map(|(own, sql)| value_of(own, sql)).collect())
        }),
        made: Made { work_groups: vec![spec.names.stack()], ..Made::default() },
        ..Component::default()
    })
}

fn value_of(own: &TableCheck, sql: &str) -> Check {
    let kind = CheckKind::Value {
        description: own.description.clone(),
        sql: sql.to_owned(),
        at_least: own.at_least,
        at_most: own.at_most,
    };
    Check::new(&own.name, kind)
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
