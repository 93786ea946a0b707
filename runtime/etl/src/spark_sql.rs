//! SQL of tables: what of Spark's dialect runs here with Spark's meaning, and what is refused.
//!
//! The same text runs on AWS Glue. So a function may be called only when both engines have it with
//! one meaning, which `make parity` compares, and where operators differ, the plan is changed. Both
//! run in ANSI mode: what cannot be computed is an error, never a silent NULL.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Result, bail};
use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array};
use datafusion::arrow::compute::kernels::numeric::{add, mul, sub};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{BinaryExpr, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, cast,
};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem, Statement, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::DatabricksDialect;
use datafusion::sql::sqlparser::parser::Parser;
use steppe_wire::hint::Hinted;

/// Functions that mean the same on both engines.
pub const FUNCTIONS: [&str; 48] = [
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
    "nullif",
    "nvl",
    "pow",
    "power",
    "rank",
    "replace",
    "row_number",
    "sqrt",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "trunc",
    "upper",
    "var_pop",
    "var_samp",
    "weekday",
    "width_bucket",
];

/// Functions that take a bare number as an option and not as a value.
const OPTIONS: [&str; 2] = ["lag", "lead"];

/// The statement as the engine is to read it. One that does not only ask, or calls what the two
/// engines read differently, is refused.
pub fn read(statement: &str) -> Result<String> {
    let mut statements = Parser::parse_sql(&DatabricksDialect {}, statement)?;
    let [Statement::Query(query)] = &mut statements[..] else {
        bail!("expected one SELECT statement");
    };
    match VisitMut::visit(&mut **query, &mut Literals) {
        ControlFlow::Continue(()) => Ok(query.to_string()),
        ControlFlow::Break(name) => bail!(Hinted::new(
            format!(
                "the function `{name}` is not known to mean the same on Spark and on the embedded \
                 engine"
            ),
            format!("there are {}", FUNCTIONS.join(", "))
        )),
    }
}

/// Gives whole numbers in a statement Spark's type, which is 32 bits where they fit, and looks at
/// the functions that it calls.
struct Literals;

impl VisitorMut for Literals {
    type Break = String;

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<String> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                narrow(expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<String> {
        match expression {
            ast::Expr::BinaryOp { left, right, .. } => {
                narrow(left);
                narrow(right);
            }
            ast::Expr::Between { low, high, .. } => {
                narrow(low);
                narrow(high);
            }
            ast::Expr::InList { list, .. } => list.iter_mut().for_each(narrow),
            ast::Expr::UnaryOp { expr, .. } => narrow(expr),
            ast::Expr::Case { conditions, else_result, .. } => {
                conditions.iter_mut().for_each(|when| narrow(&mut when.result));
                else_result.iter_mut().for_each(|result| narrow(result));
            }
            ast::Expr::Function(function) => {
                let name = function.name.to_string().to_lowercase();
                if !FUNCTIONS.contains(&name.as_str()) {
                    return ControlFlow::Break(name);
                }
                if name == "ln" {
                    return match logarithm(function) {
                        Some(rewritten) => {
                            *expression = rewritten;
                            ControlFlow::Continue(())
                        }
                        None => ControlFlow::Break(name),
                    };
                }
                if let FunctionArguments::List(list) = &mut function.args
                    && !OPTIONS.contains(&name.as_str())
                {
                    list.args.iter_mut().for_each(|argument| {
                        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument {
                            narrow(expr);
                        }
                    });
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Spark's logarithm, which is NULL where there is none; the engine's own is then not a number.
/// <https://spark.apache.org/docs/3.5.3/api/sql/#ln>
fn logarithm(function: &ast::Function) -> Option<ast::Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [argument] = &list.args[..] else { return None };
    let text = format!(
        "ln(nullif(greatest(CAST({argument} AS DOUBLE), CAST(0 AS DOUBLE)), CAST(0 AS DOUBLE)))"
    );
    Parser::new(&DatabricksDialect {}).try_with_sql(&text).ok()?.parse_expr().ok()
}

/// A whole number that fits is one of 32 bits.
fn narrow(expression: &mut ast::Expr) {
    let ast::Expr::Value(value) = expression else { return };
    let ast::Value::Number(digits, false) = &value.value else { return };
    if digits.parse::<i32>().is_err() {
        return;
    }
    let literal = std::mem::replace(expression, ast::Expr::Value(ast::Value::Null.into()));
    *expression = ast::Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(literal),
        data_type: ast::DataType::Int(None),
        array: false,
        format: None,
    };
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
            let done = expression.transform_up(|e| translated(e, &schema))?;
            Ok(done.update_data(|e| name.restore(e)))
        })?;
        translated.map_data(LogicalPlan::recompute_schema)
    });
    let plan = done.map_err(|error| anyhow::anyhow!("{error}"))?.data;
    Ok(DataFrame::new(context.state(), plan))
}

fn is_decimal(kind: &DataType) -> bool {
    matches!(kind, DataType::Decimal128(..) | DataType::Decimal256(..))
}

/// An expression with Spark's meaning; one that cannot have it is refused.
fn translated(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    match expression {
        Expr::BinaryExpr(binary) => arithmetic(binary, schema),
        Expr::Cast(cast) => {
            let from = cast.expr.get_type(schema)?;
            let to = cast.field.data_type();
            let written = matches!(from, DataType::Timestamp(..)) || from.is_floating();
            if written && to.is_string() {
                return plan_err!("the engines write {from} as text differently");
            }
            Ok(Transformed::no(Expr::Cast(cast)))
        }
        Expr::Like(like) => {
            let escaped = matches!(&*like.pattern, Expr::Literal(pattern, _)
                if pattern.to_string().contains('\\'));
            if escaped {
                return plan_err!("the engines read a backslash in a pattern differently");
            }
            Ok(Transformed::no(Expr::Like(like)))
        }
        Expr::AggregateFunction(call) => {
            let first = call.params.args.first().map(|argument| argument.get_type(schema));
            if call.func.name() == "avg" && first.transpose()?.is_some_and(|kind| is_decimal(&kind))
            {
                return plan_err!(
                    "the engines average decimal numbers to different types; cast to DOUBLE"
                );
            }
            Ok(Transformed::no(Expr::AggregateFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// `7 / 2` is 3.5, also of whole numbers; what is too large for its type is an error.
fn arithmetic(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    use Operator::{Divide, Minus, Multiply, Plus};
    let BinaryExpr { left, op, right } = binary;
    if !matches!(op, Divide | Minus | Multiply | Plus) {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
    }
    let kinds = [left.get_type(schema)?, right.get_type(schema)?];
    let fraction = |side: &Expr| matches!(side, Expr::Literal(ScalarValue::Float64(_), _));
    let whole = kinds.iter().any(DataType::is_integer);
    if whole && (fraction(&left) || fraction(&right)) {
        return plan_err!(
            "a number with a point is a decimal on Spark: in {left} {op} {right} write \
             CAST(1.5 AS DOUBLE) instead of 1.5"
        );
    }
    if op == Divide && kinds.iter().any(is_decimal) {
        return plan_err!("the engines divide decimal numbers to different scales; cast to DOUBLE");
    }
    let kind = match op {
        Divide => DataType::Float64,
        _ if kinds.iter().all(DataType::is_integer) => {
            if kinds.contains(&DataType::Int64) {
                DataType::Int64
            } else {
                DataType::Int32
            }
        }
        _ => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
    };
    let sides = [left, right].map(|side| cast(*side, kind.clone())).to_vec();
    let function = Arc::new(ScalarUDF::from(Arithmetic::new(op, kind)));
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, sides))))
}

/// Arithmetic as Spark's ANSI mode has it: by zero, or beyond the type, is an error.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    operator: Operator,
    kind: DataType,
    signature: Signature,
}

impl Arithmetic {
    fn new(operator: Operator, kind: DataType) -> Self {
        let signature = Signature::exact(vec![kind.clone(); 2], Volatility::Immutable);
        Self { operator, kind, signature }
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        match self.operator {
            Operator::Plus => "add",
            Operator::Minus => "subtract",
            Operator::Multiply => "multiply",
            _ => "divide",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _kinds: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.kind.clone())
    }

    fn invoke_with_args(
        &self,
        arguments: ScalarFunctionArgs,
    ) -> Result<ColumnarValue, DataFusionError> {
        let sides = ColumnarValue::values_to_arrays(&arguments.args)?;
        let (left, right) = (&sides[0], &sides[1]);
        let result = match self.operator {
            Operator::Plus => add(left, right)?,
            Operator::Minus => sub(left, right)?,
            Operator::Multiply => mul(left, right)?,
            _ => quotients(left, right)?,
        };
        Ok(ColumnarValue::Array(result))
    }
}

fn quotients(dividends: &ArrayRef, divisors: &ArrayRef) -> Result<ArrayRef, DataFusionError> {
    let dividends = dividends.as_primitive::<Float64Type>();
    let mut quotients = Vec::with_capacity(dividends.len());
    for (dividend, divisor) in dividends.iter().zip(divisors.as_primitive::<Float64Type>()) {
        quotients.push(match (dividend, divisor) {
            (Some(_), Some(0.0)) => {
                return exec_err!("division by zero; NULLIF(x, 0) makes it NULL");
            }
            (Some(dividend), Some(divisor)) => Some(dividend / divisor),
            _ => None,
        });
    }
    Ok(Arc::new(Float64Array::from(quotients)))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(statement: &str) -> Result<String> {
        let statement = read(statement)?;
        let context = SessionContext::new();
        let frame = as_spark(&context, context.sql(&statement).await?)?;
        let batches = frame.collect().await?;
        let column = batches[0].column(0);
        Ok(datafusion::arrow::util::display::array_value_to_string(column, 0)?)
    }

    #[tokio::test]
    async fn whole_numbers_are_divided_to_fractions_and_never_by_zero() {
        assert_eq!(asked("SELECT 7 / 2").await.expect("a number"), "3.5");
        assert_eq!(
            asked("SELECT sum(x) / count(*) FROM (VALUES (1), (2)) t(x)").await.expect("a"),
            "1.5"
        );
        let error = asked("SELECT 1 / (x - x) FROM (VALUES (1.5)) t(x)").await;
        assert!(error.is_err());
        let zero =
            asked("SELECT x / (x - x) FROM (VALUES (1.5e0)) t(x)").await.expect_err("refused");
        assert!(zero.to_string().contains("division by zero"), "{zero}");
        assert_eq!(asked("SELECT 7 / NULLIF(0, 0)").await.expect("null"), "");
    }

    #[tokio::test]
    async fn what_is_too_large_for_its_type_is_an_error() {
        let one =
            |kind: &str| format!("SELECT x + 1 FROM (SELECT CAST(2147483647 AS {kind}) AS x) t");
        assert_eq!(asked(&one("BIGINT")).await.expect("it fits"), "2147483648");
        for sql in [one("INT"), one("BIGINT").replace("x + 1", "x * x * x")] {
            let error = asked(&sql).await.expect_err("too large").to_string();
            assert!(error.to_lowercase().contains("overflow"), "{sql}: {error}");
        }
    }

    #[tokio::test]
    async fn what_the_engines_give_different_types_is_refused() {
        for (sql, told) in [
            ("SELECT x * 1.5 FROM (SELECT 2 AS x) t", "write CAST(1.5 AS DOUBLE)"),
            ("SELECT CAST(CAST('2020-01-01' AS TIMESTAMP) AS STRING)", "as text differently"),
            ("SELECT avg(CAST(x AS DECIMAL(4, 1))) FROM (SELECT 2 AS x) t", "cast to DOUBLE"),
            ("SELECT CAST(2 AS DECIMAL(4, 1)) / 2", "cast to DOUBLE"),
        ] {
            let error = asked(sql).await.expect_err(sql).to_string();
            assert!(error.contains(told), "{sql}: {error}");
        }
    }

    #[tokio::test]
    async fn what_has_no_logarithm_has_none() {
        let of = |x: &str| asked_of(format!("SELECT ln(x) FROM (SELECT {x} AS x) t"));
        assert_eq!(of("CAST(1 AS DOUBLE)").await, "0.0");
        assert_eq!(of("1").await, "0.0");
        for none in ["0", "-1", "CAST(-2.5 AS DOUBLE)", "CAST(NULL AS DOUBLE)"] {
            assert_eq!(of(none).await, "", "{none}");
        }
        assert!(asked("SELECT ln(1, 2)").await.is_err());
        assert_eq!(
            asked("SELECT ln(2 * exp(0)) * 2").await.expect("a number"),
            "1.3862943611198906"
        );
    }

    async fn asked_of(statement: String) -> String {
        asked(&statement).await.expect("a number")
    }

    #[test]
    fn only_what_both_engines_know_is_called() {
        assert!(read("SELECT max(day), floor(avg(kwh)) FROM a GROUP BY 1 ORDER BY 2").is_ok());
        let error = read("SELECT a FROM b WHERE array_agg(c) > 1").expect_err("refused");
        assert!(error.to_string().contains("`array_agg` is not known"), "{error}");
        for other in ["DROP TABLE a", "SELECT 1; SELECT 2", "INSERT INTO a VALUES (1)"] {
            assert!(read(other).is_err(), "{other}");
        }
        assert!(FUNCTIONS.is_sorted());
    }
}
