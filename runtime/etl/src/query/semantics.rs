//! Where a plan of the engine would mean something else than Trino's.
//!
//! Trino compares texts only with texts, rounds when a fraction becomes a whole number, and writes
//! fractions and times in its own form when they become text. The engine does otherwise in silence.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::math::round;
use datafusion::logical_expr::expr::{BinaryExpr, Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use super::form;
use super::functions::PERCENTILE;

/// The plan with Trino's meaning, or an error in its words.
pub fn as_trino(plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|plan| {
        let schema = merged_schema(&plan)?;
        // Nodes above know an expression by its name.
        let names = NamePreserver::new(&plan);
        let translated = plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let done = expression.transform_up(|e| translate(e, &schema))?;
            Ok(done.update_data(|e| name.restore(e)))
        })?;
        translated.map_data(LogicalPlan::recompute_schema)
    });
    Ok(done?.data)
}

/// What the expressions of a node may name: the columns of its inputs.
fn merged_schema(plan: &LogicalPlan) -> Result<DFSchema> {
    let mut schema = DFSchema::empty();
    for input in plan.inputs() {
        schema.merge(input.schema());
    }
    if let LogicalPlan::TableScan(scan) = plan {
        schema.merge(&scan.projected_schema);
    }
    Ok(schema)
}

fn translate(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expression {
        Expr::BinaryExpr(binary) => {
            check_operands(&binary, schema)?;
            Ok(Transformed::no(Expr::BinaryExpr(binary)))
        }
        Expr::Between(between) => {
            let subject = kind(&between.expr, schema);
            for bound in [&between.low, &between.high] {
                refuse_mixed("BETWEEN", subject.as_ref(), kind(bound, schema).as_ref())?;
            }
            Ok(Transformed::no(Expr::Between(between)))
        }
        Expr::InList(list) => {
            let subject = kind(&list.expr, schema);
            for item in &list.list {
                refuse_mixed("IN", subject.as_ref(), kind(item, schema).as_ref())?;
            }
            Ok(Transformed::no(Expr::InList(list)))
        }
        Expr::Cast(cast) => {
            let (from, to) = (kind(&cast.expr, schema), cast.field.data_type().clone());
            Ok(match converted(&cast.expr, from.as_ref(), &to) {
                Some(Conversion::Whole(inner)) => {
                    Transformed::yes(Expr::Cast(Cast::new(Box::new(inner), to)))
                }
                Some(Conversion::Text(call)) => Transformed::yes(call),
                None => Transformed::no(Expr::Cast(cast)),
            })
        }
        Expr::TryCast(cast) => {
            let (from, to) = (kind(&cast.expr, schema), cast.field.data_type().clone());
            Ok(match converted(&cast.expr, from.as_ref(), &to) {
                Some(Conversion::Whole(inner)) => {
                    Transformed::yes(Expr::TryCast(TryCast::new(Box::new(inner), to)))
                }
                Some(Conversion::Text(call)) => Transformed::yes(call),
                None => Transformed::no(Expr::TryCast(cast)),
            })
        }
        // Of whole numbers it is a whole number in Trino, and a fraction on the engine.
        Expr::AggregateFunction(call) if call.func.name() == PERCENTILE => {
            match call.params.args.first().and_then(|argument| kind(argument, schema)) {
                Some(of) if !of.is_floating() => Err(DataFusionError::Plan(format!(
                    "NOT_SUPPORTED: line 1:1: the embedded cloud implements 'approx_percentile' of \
                     doubles, not of {}; cast the argument",
                    name_of(&of)
                ))),
                _ => Ok(Transformed::no(Expr::AggregateFunction(call))),
            }
        }
        // The engine does not count fractions in this way, and their texts are as different.
        Expr::AggregateFunction(mut call) if call.func.name() == "approx_distinct" => {
            let mut done = false;
            for argument in &mut call.params.args {
                if kind(argument, schema).is_some_and(|of| of.is_floating()) {
                    let text =
                        ScalarFunction::new_udf(Arc::new(athena_text()), vec![argument.clone()]);
                    (*argument, done) = (Expr::ScalarFunction(text), true);
                }
            }
            let call = Expr::AggregateFunction(call);
            Ok(if done { Transformed::yes(call) } else { Transformed::no(call) })
        }
        // Of whole numbers these are whole numbers in Trino, and fractions on the engine.
        Expr::ScalarFunction(call) if ROUNDING.contains(&call.name()) => {
            let first = call.args.first().and_then(|argument| kind(argument, schema));
            Ok(cast_to(Expr::ScalarFunction(call), first.filter(DataType::is_integer)))
        }
        // Of a date it is a date in Trino, and a timestamp on the engine.
        Expr::ScalarFunction(call) if call.name() == "date_trunc" => {
            let of = call.args.get(1).and_then(|argument| kind(argument, schema));
            let date = of.filter(|kind| *kind == DataType::Date32);
            Ok(cast_to(Expr::ScalarFunction(call), date))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn cast_to(expression: Expr, kind: Option<DataType>) -> Transformed<Expr> {
    match kind {
        Some(kind) => Transformed::yes(Expr::Cast(Cast::new(Box::new(expression), kind))),
        None => Transformed::no(expression),
    }
}

const ROUNDING: [&str; 3] = ["ceil", "floor", "round"];

/// `None` when the type is not known here, as of columns of an outer query.
fn kind(expression: &Expr, schema: &dyn ExprSchema) -> Option<DataType> {
    expression.get_type(schema).ok()
}

enum Conversion {
    Whole(Expr),
    Text(Expr),
}

fn converted(inner: &Expr, from: Option<&DataType>, to: &DataType) -> Option<Conversion> {
    let from = from?;
    if (from.is_floating() || is_decimal(from)) && to.is_integer() {
        let rounded = Expr::ScalarFunction(ScalarFunction::new_udf(
            Arc::new(ScalarUDF::from(round::RoundFunc::new())),
            vec![inner.clone()],
        ));
        return Some(Conversion::Whole(rounded));
    }
    if (from.is_floating() || matches!(from, DataType::Timestamp(..))) && is_text(to) {
        let call = ScalarFunction::new_udf(Arc::new(athena_text()), vec![inner.clone()]);
        return Some(Conversion::Text(Expr::ScalarFunction(call)));
    }
    None
}

fn check_operands(binary: &BinaryExpr, schema: &DFSchema) -> Result<()> {
    let (left, right) = (kind(&binary.left, schema), kind(&binary.right, schema));
    match binary.op {
        Operator::And | Operator::Or => Ok(()),
        Operator::StringConcat => {
            let odd = [left, right].into_iter().flatten().find(|k| !is_text(k) && !is_null(k));
            odd.map_or(Ok(()), |kind| {
                let message = format!(
                    "TYPE_MISMATCH: line 1:1: Unexpected parameters ({}) for function concat",
                    name_of(&kind)
                );
                Err(DataFusionError::Plan(message))
            })
        }
        operator => refuse_mixed(&operator.to_string(), left.as_ref(), right.as_ref()),
    }
}

/// A text beside a number or a time.
fn refuse_mixed(operator: &str, left: Option<&DataType>, right: Option<&DataType>) -> Result<()> {
    let (Some(left), Some(right)) = (left, right) else { return Ok(()) };
    if is_null(left) || is_null(right) || is_text(left) == is_text(right) {
        return Ok(());
    }
    let (left, right) = (name_of(left), name_of(right));
    let message =
        format!("TYPE_MISMATCH: line 1:1: Cannot apply operator: {left} {operator} {right}");
    Err(DataFusionError::Plan(message))
}

fn name_of(kind: &DataType) -> String {
    form::column(String::new(), kind).map_or_else(|_| kind.to_string(), |c| c.type_name)
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_null(kind: &DataType) -> bool {
    *kind == DataType::Null
}

fn is_decimal(kind: &DataType) -> bool {
    matches!(kind, DataType::Decimal128(..) | DataType::Decimal256(..))
}

/// A value as text in Athena's form.
pub fn athena_text() -> ScalarUDF {
    ScalarUDF::from(AthenaText { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug)]
struct AthenaText {
    signature: Signature,
}

impl PartialEq for AthenaText {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for AthenaText {}

impl Hash for AthenaText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for AthenaText {
    // No statement can name it: the name is none of Trino's.
    fn name(&self) -> &str {
        "athena_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let texts: Vec<Option<String>> =
            (0..arrays[0].len()).map(|row| form::value(&arrays[0], row)).collect::<Result<_>>()?;
        let texts: ArrayRef = Arc::new(StringArray::from(texts));
        Ok(ColumnarValue::Array(texts))
    }
}
