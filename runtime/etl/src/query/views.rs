//! Views: statements that the catalogue keeps under names.
//!
//! A view is read like any statement, with the database that it was made in for names without one,
//! so that it may stand on further views. Its columns have the names that it was made with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;
use steppe_wire::query::{Catalogue, Needs, QueryFailure, Table};

use super::conversation::Conversation;
use super::failure::{Failed, failed};
use super::statement::Select;

/// Views on views.
const DEPTH_MAX: usize = 32;

/// A table by its database and name.
pub type Name = (String, String);

/// What a statement reads: tables, and the statements of views.
#[derive(Default)]
pub struct Sources {
    /// The part of the catalogue, views among it.
    pub catalogue: Catalogue,
    /// The statements of views.
    pub views: BTreeMap<Name, Select>,
}

impl Sources {
    /// Asks for what the views of `catalogue` stand on, until nothing is missing.
    pub async fn gather(
        talk: &mut Conversation,
        catalogue: Catalogue,
    ) -> Result<Self, QueryFailure> {
        let mut sources = Self { catalogue, views: BTreeMap::new() };
        let mut asked = BTreeSet::new();
        for _ in 0..DEPTH_MAX {
            let mut needed = sources.read_views()?;
            needed.retain(|name| asked.insert(name.clone()));
            if needed.is_empty() {
                return Ok(sources);
            }
            let needs = Needs { tables: needed, ..Needs::default() };
            let more = talk.catalogue(needs).await?;
            sources.catalogue.databases.extend(more.databases);
            sources.catalogue.databases.sort_unstable();
            sources.catalogue.databases.dedup();
            sources.catalogue.tables.extend(more.tables);
        }
        Err(failed(format!("INVALID_VIEW: line 1:1: views are nested deeper than {DEPTH_MAX}")))
    }

    /// Reads the views that are new; the tables that they name and nobody asked for.
    fn read_views(&mut self) -> Result<Vec<Name>, QueryFailure> {
        let mut needed = vec![];
        for table in &self.catalogue.tables {
            let name = (table.database.clone(), table.name.clone());
            let Some(view) = &table.view else { continue };
            if self.views.contains_key(&name) {
                continue;
            }
            let database = view.database.as_deref().unwrap_or(&table.database);
            let select = Select::read(&view.sql, database)
                .map_err(|error| invalid(table, &error.message))?;
            needed.extend(select.needs().tables);
            self.views.insert(name, select);
        }
        let known = |name: &Name| {
            let mut tables = self.catalogue.tables.iter();
            tables.any(|table| table.database == name.0 && table.name == name.1)
        };
        needed.retain(|name| !known(name));
        needed.sort_unstable();
        needed.dedup();
        Ok(needed)
    }

    /// The database that names of a view's statement belong to.
    fn database_of(&self, name: &Name) -> String {
        let mut tables = self.catalogue.tables.iter();
        let table = tables.find(|table| table.database == name.0 && table.name == name.1);
        let view = table.and_then(|table| table.view.as_ref());
        view.and_then(|view| view.database.clone()).unwrap_or_else(|| name.0.clone())
    }

    /// All tables that are read, by what names them: the statement itself, and views.
    pub fn tables<'a>(&'a self, select: &'a Select) -> BTreeMap<Name, &'a Select> {
        let mut all = BTreeMap::new();
        for reader in self.views.values().chain([select]) {
            for name in reader.tables() {
                all.insert(name.clone(), reader);
            }
        }
        all
    }

    /// Registers views, each after those that it stands on.
    pub async fn register(
        &self,
        context: &SessionContext,
        databases: &MemoryCatalogProvider,
        wanted: &[Name],
    ) -> Result<(), Failed> {
        // Each view with whether it has been looked into already.
        let mut stack: Vec<(Name, bool)> =
            wanted.iter().rev().map(|name| (name.clone(), false)).collect();
        let mut open: Vec<Name> = vec![];
        while let Some((name, looked_into)) = stack.pop() {
            let Some(select) = self.views.get(&name) else { continue };
            if looked_into {
                open.retain(|known| *known != name);
                self.register_one(context, databases, &name, select).await?;
                continue;
            }
            if databases.schema(&name.0).is_some_and(|schema| schema.table_exist(&name.1)) {
                continue;
            }
            if open.contains(&name) {
                let what = format!("line 1:1: View is recursive: '{}.{}'", name.0, name.1);
                return Err(Failed::named("INVALID_VIEW", what));
            }
            open.push(name.clone());
            stack.push((name, true));
            stack.extend(select.tables().iter().map(|inner| (inner.clone(), false)));
        }
        Ok(())
    }

    async fn register_one(
        &self,
        context: &SessionContext,
        databases: &MemoryCatalogProvider,
        name: &Name,
        select: &Select,
    ) -> Result<(), Failed> {
        let database = self.database_of(name);
        let frame = super::plan(context, select, &database).await.map_err(|error| {
            let what = format!(
                "line 1:1: Failed analyzing stored view 'awsdatacatalog.{}.{}': {}",
                name.0,
                name.1,
                error.into_message()
            );
            Failed::named("INVALID_VIEW", what)
        })?;
        let plan = frame.into_parts().1;
        let planned = plan.schema().fields().iter().map(|field| field.name().clone());
        let names = select.column_names(planned);
        let columns = plan.schema().columns().into_iter().zip(names);
        let columns = columns.map(|(column, name)| Expr::Column(column).alias(name.to_lowercase()));
        let plan = LogicalPlanBuilder::from(plan)
            .project(columns.collect::<Vec<_>>())
            .and_then(LogicalPlanBuilder::build)
            .map_err(Failed::execution)?;
        let Some(schema) = databases.schema(&name.0) else { return Ok(()) };
        let view = Arc::new(ViewTable::new(plan, None));
        schema.register_table(name.1.clone(), view).map(drop).map_err(Failed::execution)
    }
}

fn invalid(table: &Table, what: &str) -> QueryFailure {
    failed(format!(
        "INVALID_VIEW: line 1:1: Failed analyzing stored view 'awsdatacatalog.{}.{}': {what}",
        table.database, table.name
    ))
}
