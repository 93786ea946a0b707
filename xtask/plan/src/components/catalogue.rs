//! The database of the pipeline, and the tables of all components in it.

use serde_json::json;

use super::{Component, Fragment, Stack};
use crate::grants::Cfn;
use crate::made::Made;

pub(super) fn component(stack: &Stack<'_>, others: &[Component]) -> Option<Component> {
    let tables: Vec<_> = others.iter().flat_map(|other| &other.tables).collect();
    let context = json!({ "database": stack.spec.names.database(), "tables": tables });
    Some(Component {
        name: "catalogue",
        resources: vec![Fragment::new("catalogue.yaml.tera", context)],
        outputs: vec![("DatabaseName", Cfn::reference("Database"))],
        made: Made { databases: vec![stack.spec.names.database()], ..Made::default() },
        ..Component::default()
    })
}
