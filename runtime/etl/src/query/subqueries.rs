//! `EXISTS` and `IN` with a query where the engine has only values: in the columns of a `SELECT`.
//! They become counts of the query's rows.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Subquery, lit, when,
};
use datafusion::scalar::ScalarValue;

/// The expression of such a node, as the engine can compute it.
pub fn as_counts(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expression.transform_up(|expression| {
        Ok(match expression {
            Expr::Exists(Exists { subquery, negated }) => {
                let there = some(rows(subquery, Ok)?);
                Transformed::yes(if negated { !there } else { there })
            }
            Expr::InSubquery(within) => Transformed::yes(member(within, schema)?),
            other => Transformed::no(other),
        })
    })
}

/// Whether the nodes of a plan take queries as conditions.
pub fn takes_conditions(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_))
}

fn some(count: Expr) -> Expr {
    count.gt(lit(0i64))
}

/// How many rows a query has, after what is made of it.
fn rows(
    query: Subquery,
    of: impl FnOnce(LogicalPlanBuilder) -> Result<LogicalPlanBuilder>,
) -> Result<Expr> {
    let plan = of(LogicalPlanBuilder::from(query.subquery.as_ref().clone()))?;
    let counted = plan.aggregate(Vec::<Expr>::new(), vec![count(lit(1i64))])?.build()?;
    let outer_ref_columns = counted.all_out_ref_exprs();
    Ok(Expr::ScalarSubquery(Subquery {
        subquery: Arc::new(counted),
        outer_ref_columns,
        spans: query.spans,
    }))
}

/// True with an equal row, NULL when a NULL leaves it open, else false.
fn member(within: InSubquery, schema: &DFSchema) -> Result<Expr> {
    let InSubquery { expr, subquery, negated } = within;
    let outer = expr.as_ref().clone().transform_up(|inner| {
        Ok(match inner {
            Expr::Column(column) => {
                let field = Expr::Column(column.clone()).to_field(schema)?.1;
                Transformed::yes(Expr::OuterReferenceColumn(field, column))
            }
            other => Transformed::no(other),
        })
    })?;
    let item = |plan: &LogicalPlanBuilder| -> Expr {
        let (qualifier, field) = plan.schema().qualified_field(0);
        Expr::Column(Column::new(qualifier.cloned(), field.name()))
    };
    let equal = rows(subquery.clone(), |plan| {
        let equal = item(&plan).eq(outer.data);
        plan.filter(equal)
    })?;
    let nulls = rows(subquery.clone(), |plan| {
        let null = item(&plan).is_null();
        plan.filter(null)
    })?;
    let all = rows(subquery, Ok)?;
    let unknown = || lit(ScalarValue::Boolean(None));
    let found = when(some(equal), lit(true))
        .when(some(nulls), unknown())
        .when(expr.is_null().and(some(all)), unknown())
        .otherwise(lit(false))?;
    Ok(if negated { !found } else { found })
}
