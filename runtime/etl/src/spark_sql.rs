//! SQL of tables: what of Spark's dialect runs here with Spark's meaning, and what is refused.
//!
//! The same text runs on AWS Glue. So a function may be called only when both engines have it with
//! one meaning, which `make parity` compares, and where operators differ, the plan is changed. Both
//! run in ANSI mode: what cannot be computed is an error, never a silent NULL.


use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Result, bail};
use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{BinaryExpr, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, cast,
};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::sqlparser::ast::{self, Statement, visit_expressions};
use datafusion::sql::sqlparser::dialect::DatabricksDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// Functions that mean the same on both engines.
pub const FUNCTIONS: [&str; 52] = [
    "abs",
    "add_months",
    "avg",
    "ceil",
    "coalesce",
    "concat",
    "corr",
    "count",
    "date_add",
    "date_diff",
    "date_sub",
    "date_trunc",
    "datediff",
    "dense_rank",
    "exp",
    "first_value",
    "floor",
    "from_utc_timestamp",
    "greatest",
    "if",
    "lag",
    "last_day",
    "last_value",
    "lead",
    "least",
    "length",
    "ln",
    "lower",
    "max",
    "min",
    "next_day",
    "nullif",
    "nvl",
    "pow",
    "power",
    "rank",
    "replace",
    "round",
    "row_number",
    "sqrt",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "to_utc_timestamp",
    "trunc",
    "upper",
    "var_pop",
    "var_samp",
    "variance",
    "weekday",
    "width_bucket",
];

/// Refuses a statement that does not only ask, or calls what the two engines read differently.
pub fn check(statement: &str) -> Result<()> {
    let statements = Parser::parse_sql(&DatabricksDialect {}, statement)?;
    let [Statement::Query(query)] = &statements[..] else {
        bail!("expected one SELECT statement");
    };
    let unknown = visit_expressions(query, |expression| match expression {
        ast::Expr::Function(function) => {
            let name = function.name.to_string().to_lowercase();
            if FUNCTIONS.contains(&name.as_str()) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(name)
            }
        }
        _ => ControlFlow::Continue(()),
    });
    match unknown {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => bail!(
            "the function `{name}` is not known to mean the same on Spark and on the embedded \
             engine\nhint: there are {}",
            FUNCTIONS.join(", ")
        ),
    }
}

/// The statement with Spark's operators.
pub fn as_spark(context: &SessionContext, frame: DataFrame) -> Result<DataFrame> {
    let done = frame.logical_plan().clone().transform_up_with_subqueries(|plan| {
        let mut schema = DFSchema::empty();
        plan.inputs().iter().for_each(|input| schema.merge(input.schema()));
        if let LogicalPlan::TableScan(scan) = &plan {
            schema.merge(&scan.projected_schema);
        }
        // Nodes above know an expression by its name.
        let names = NamePreserver::new(&plan);
        let translated = plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let done = expression.transform_up(|e| divided(e, &schema))?;
            Ok(done.update_data(|e| name.restore(e)))
        })?;
        translated.map_data(LogicalPlan::recompute_schema)
    });
    let plan = done.map_err(|error| anyhow::anyhow!("{error}"))?.data;
    Ok(DataFrame::new(context.state(), plan))
}

/// `7 / 2` is 3.5, also of whole numbers.
fn divided(
    expression: Expr,
    schema: &DFSchema,
) -> Result<Transformed<Expr>, DataFusionError> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) = expression else {
        return Ok(Transformed::no(expression));
    };
    for side in [&left, &right] {
        let kind = side.get_type(schema)?;
        if matches!(kind, DataType::Decimal128(..) | DataType::Decimal256(..)) {
            return plan_err!(
                "the engines divide decimal numbers to different scales; divide \
                 CAST({side} AS DOUBLE)"
            );
        }
    }
    let sides = [left, right].map(|side| cast(*side, DataType::Float64)).to_vec();
    let division = Arc::new(ScalarUDF::from(Division::new()));
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(division, sides))))
}

/// Division as Spark's ANSI mode has it: by zero it is an error.
#[derive(Debug)]
struct Division {
    signature: Signature,
}

impl Division {
    fn new() -> Self {
        let kinds = vec![DataType::Float64, DataType::Float64];
        Self { signature: Signature::exact(kinds, Volatility::Immutable) }
    }
}

impl PartialEq for Division {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Division {}

impl Hash for Division {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for Division {
    fn name(&self) -> &'static str {
        "divide"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _kinds: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(
        &self,
        arguments: ScalarFunctionArgs,
    ) -> Result<ColumnarValue, DataFusionError> {
        let sides = ColumnarValue::values_to_arrays(&arguments.args)?;
        let side = |array: &ArrayRef| array.as_primitive::<Float64Type>().clone();
        let (dividend, divisor) = (side(&sides[0]), side(&sides[1]));
        let mut quotients = Vec::with_capacity(dividend.len());
        for (dividend, divisor) in dividend.iter().zip(&divisor) {
            quotients.push(match (dividend, divisor) {
                (Some(_), Some(0.0)) => {
                    return exec_err!("division by zero; NULLIF(x, 0) makes it NULL");
                }
                (Some(dividend), Some(divisor)) => Some(dividend / divisor),
                _ => None,
            });
        }
        Ok(ColumnarValue::Array(Arc::new(Float64Array::from(quotients))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(statement: &str) -> Result<String> {
        check(statement)?;
        let context = SessionContext::new();
        let frame = as_spark(&context, context.sql(statement).await?)?;
        let batches = frame.collect().await?;
        let column = batches[0].column(0);
        Ok(datafusion::arrow::util::display::array_value_to_string(column, 0)?)
    }

    #[tokio::test]
    async fn whole_numbers_are_divided_to_fractions_and_never_by_zero() {
        assert_eq!(asked("SELECT 7 / 2").await.expect("a number"), "3.5");
        assert_eq!(asked("SELECT sum(x) / count(*) FROM (VALUES (1), (2)) t(x)").await.expect("a"), "1.5");
        let error = asked("SELECT 1 / (x - x) FROM (VALUES (1.5)) t(x)").await;
        assert!(error.is_err());
        let zero = asked("SELECT x / 0.0e0 FROM (VALUES (1)) t(x)").await.expect_err("refused");
        assert!(zero.to_string().contains("division by zero"), "{zero}");
        assert_eq!(asked("SELECT 7 / NULLIF(0, 0)").await.expect("null"), "");
    }

    #[test]
    fn only_what_both_engines_know_is_called() {
        assert!(check("SELECT max(day), round(avg(kwh), 2) FROM a GROUP BY b").is_ok());
        let error = check("SELECT a FROM b WHERE array_agg(c) > 1").expect_err("refused");
        assert!(error.to_string().contains("`array_agg` is not known"), "{error}");
        for other in ["DROP TABLE a", "SELECT 1; SELECT 2", "INSERT INTO a VALUES (1)"] {
            assert!(check(other).is_err(), "{other}");
        }
        assert!(FUNCTIONS.is_sorted());
    }
}
