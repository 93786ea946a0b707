//! `UNNEST` as Trino has it: arrays side by side, maps as two columns, arrays of rows as a column
//! for each field, `WITH ORDINALITY`, and beside the table whose columns it reads.
//!
//! <https://trino.io/docs/current/sql/select.html#unnest>

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType, NullHandling, TableReference, UnnestOptions};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Projection, ScalarUDF, Subquery,
    SubqueryAlias, Unnest, lit,
};
use datafusion::sql::sqlparser::ast::TableFactor;

use super::functions::types;

/// Plans the relation `UNNEST(…)`.
#[derive(Debug)]
pub struct UnnestPlanner {
    /// Positions of the items of the longest of several arrays.
    pub ordinals: Arc<ScalarUDF>,
    /// A field of each row of an array.
    pub field_items: Arc<ScalarUDF>,
    pub map_keys: Arc<ScalarUDF>,
    pub map_values: Arc<ScalarUDF>,
}

impl RelationPlanner for UnnestPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::UNNEST { array_exprs, with_ordinality, alias, .. } = relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let nothing = DFSchema::empty();
        let mut columns = Vec::new();
        for expression in array_exprs {
            let planned = context.sql_to_expr(expression, &nothing)?;
            self.add_columns(planned, &nothing, &mut columns)?;
        }
        if with_ordinality {
            columns.push(call(&self.ordinals, columns.clone()));
        }
        let names: Vec<String> =
            (0..columns.len()).map(|index| format!("_unnest{index}")).collect();
        let lists = columns.into_iter().zip(&names).map(|(list, name)| list.alias(name));
        let plan = LogicalPlanBuilder::empty(true)
            .project(lists.collect::<Vec<_>>())?
            .unnest_columns_with_options(
                names.into_iter().map(Column::from_name).collect(),
                options(NullHandling::Drop),
            )?
            .build()?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

fn options(null_handling: NullHandling) -> UnnestOptions {
    UnnestOptions { null_handling, recursions: vec![] }
}

fn call(function: &Arc<ScalarUDF>, arguments: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function.clone(), arguments))
}

impl UnnestPlanner {
    /// The lists that an array or a map becomes.
    fn add_columns(&self, of: Expr, schema: &DFSchema, columns: &mut Vec<Expr>) -> Result<()> {
        match of.get_type(schema)? {
            DataType::List(item) => match item.data_type() {
                DataType::Struct(fields) => {
                    for index in 0..fields.len() {
                        let index = lit(index as i64);
                        columns.push(call(&self.field_items, vec![of.clone(), index]));
                    }
                }
                _ => columns.push(of),
            },
            DataType::Map(..) => {
                columns.push(call(&self.map_keys, vec![of.clone()]));
                columns.push(call(&self.map_values, vec![of]));
            }
            other => {
                return Err(DataFusionError::Plan(format!(
                    "TYPE_MISMATCH: line 1:1: Cannot unnest type: {}",
                    types::name(&other)
                )));
            }
        }
        Ok(())
    }
}

/// Puts an `UNNEST` that reads columns of the table beside it into the plan of that table.
pub fn beside_their_tables(plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Join(join) => match lifted(&join)? {
            Some(plan) => Ok(Transformed::yes(plan)),
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        other => Ok(Transformed::no(other)),
    });
    Ok(done?.data)
}

/// `None` when the right side is no such `UNNEST`.
fn lifted(join: &Join) -> Result<Option<LogicalPlan>> {
    let (alias, inner) = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => (Some(alias), input),
        LogicalPlan::Subquery(_) => (None, &join.right),
        _ => return Ok(None),
    };
    let LogicalPlan::Subquery(Subquery { subquery, .. }) = inner.as_ref() else { return Ok(None) };
    let Some(layers) = Layers::of(subquery) else { return computed(join, subquery, alias) };
    let always = join.on.is_empty() && join.filter.as_ref().is_none_or(|on| *on == lit(true));
    let nulls = match join.join_type {
        JoinType::Inner if always => NullHandling::Drop,
        JoinType::Left if always => NullHandling::PreserveAndExpandEmpty,
        JoinType::Inner => NullHandling::Drop,
        _ => {
            return Err(DataFusionError::Plan(
                "NOT_SUPPORTED: line 1:1: the embedded cloud implements joins with UNNEST that are \
                 CROSS JOIN, INNER JOIN and LEFT JOIN … ON TRUE"
                    .to_owned(),
            ));
        }
    };
    let plan = layers.over(&join.left, alias, nulls)?;
    match (&join.filter, always) {
        (Some(filter), false) => {
            Ok(Some(LogicalPlanBuilder::from(plan).filter(filter.clone())?.build()?))
        }
        _ => Ok(Some(plan)),
    }
}

/// `LATERAL (SELECT …)` without a relation of its own: expressions of the table beside it.
fn computed(
    join: &Join,
    subquery: &LogicalPlan,
    alias: Option<&TableReference>,
) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = subquery else { return Ok(None) };
    let always = join.on.is_empty() && join.filter.as_ref().is_none_or(|on| *on == lit(true));
    if !matches!(projection.input.as_ref(), LogicalPlan::EmptyRelation(_)) || !always {
        return Ok(None);
    }
    let own = join.left.schema().columns().into_iter().map(Expr::Column);
    let mut columns: Vec<Expr> = own.collect();
    for (expression, field) in projection.expr.iter().zip(projection.schema.fields()) {
        let inner = within(expression.clone().unalias())?;
        columns.push(match alias {
            Some(alias) => inner.alias_qualified(Some(alias.clone()), field.name()),
            None => inner.alias(field.name()),
        });
    }
    let plan = LogicalPlanBuilder::from(join.left.as_ref().clone()).project(columns)?;
    plan.build().map(Some)
}

/// The plan of [`UnnestPlanner`], apart.
struct Layers<'a> {
    /// Names that an alias gives.
    names: Option<&'a [Expr]>,
    unnest: &'a Unnest,
    lists: &'a Projection,
}

impl<'a> Layers<'a> {
    fn of(plan: &'a LogicalPlan) -> Option<Self> {
        let (names, below) = match plan {
            LogicalPlan::Projection(projection) => {
                (Some(projection.expr.as_slice()), projection.input.as_ref())
            }
            other => (None, other),
        };
        let LogicalPlan::Unnest(unnest) = below else { return None };
        let LogicalPlan::Projection(lists) = unnest.input.as_ref() else { return None };
        matches!(lists.input.as_ref(), LogicalPlan::EmptyRelation(_)).then_some(Self {
            names,
            unnest,
            lists,
        })
    }

    fn over(
        &self,
        left: &LogicalPlan,
        alias: Option<&TableReference>,
        nulls: NullHandling,
    ) -> Result<LogicalPlan> {
        let own = || left.schema().columns().into_iter().map(Expr::Column);
        let lists = self.lists.expr.iter().cloned().map(within).collect::<Result<Vec<_>>>()?;
        let columns: Vec<Column> = self.unnest.exec_columns.clone();
        let plan = LogicalPlanBuilder::from(left.clone())
            .project(own().chain(lists))?
            .unnest_columns_with_options(columns.clone(), options(nulls))?;
        let named = columns.iter().enumerate().map(|(index, column)| {
            let name = match self.names.and_then(|names| names.get(index)) {
                Some(Expr::Alias(alias)) => alias.name.clone(),
                _ => column.name.clone(),
            };
            let item = Expr::Column(column.clone());
            match alias {
                Some(alias) => item.alias_qualified(Some(alias.clone()), name),
                None => item.alias(name),
            }
        });
        plan.project(own().chain(named))?.build()
    }
}

/// Columns of the outer query, which is the table beside it now.
fn within(expression: Expr) -> Result<Expr> {
    let done = expression.transform(|e| {
        Ok(match e {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            other => Transformed::no(other),
        })
    });
    Ok(done?.data)
}
