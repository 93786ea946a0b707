//! Where a plan of the engine would mean something else than Trino's.
//!
//! Trino compares texts only with texts, and its aggregates and windows have other types. The
//! engine does otherwise in silence.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{AggregateFunction, BinaryExpr, Cast, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Union, binary_expr, lit,
};
use datafusion::scalar::ScalarValue;

use super::functions::types::{self, is_decimal, is_text, name as name_of};
use super::functions::{self, cast};
use super::subqueries;

/// The plan with Trino's meaning, or an error in its words.
pub fn as_trino(plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|plan| {
        check_columns(&plan)?;
        let schema = merged_schema(&plan)?;
        // Nodes above know an expression by its name.
        let names = NamePreserver::new(&plan);
        let conditions = subqueries::takes_conditions(&plan);
        let translated = plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let mut done = expression.transform_up(|e| translate(e, &schema))?;
            if !conditions {
                done = done.transform_data(|e| subqueries::as_counts(e, &schema))?;
            }
            Ok(done.update_data(|e| name.restore(e)))
        })?;
        let translated = translated.map_data(LogicalPlan::recompute_schema)?;
        translated.transform_data(|plan| with_types(plan, &schema))?.transform_data(equal_parts)
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
            let binary = unpadded(binary, schema);
            Ok(match compared_fractions(&binary, schema) {
                Some(compared) => Transformed::yes(compared),
                None => Transformed::no(Expr::BinaryExpr(binary)),
            })
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
        Expr::Case(mut case) => {
            if case.expr.is_none() {
                for (when, _) in &case.when_then_expr {
                    check_condition(when, schema)?;
                }
            }
            if let Some(operand) = &case.expr {
                for (when, _) in &case.when_then_expr {
                    let (operand, when) = (kind(operand, schema), kind(when, schema));
                    refuse_mixed("=", operand.as_ref(), when.as_ref())?;
                }
            }
            let results = case.when_then_expr.iter_mut().map(|(_, result)| result.as_mut());
            let results = results.chain(case.else_expr.as_deref_mut()).collect();
            let changed = equalize("All CASE results must be the same type", results, schema)?;
            let case = Expr::Case(case);
            Ok(if changed { Transformed::yes(case) } else { Transformed::no(case) })
        }
        Expr::ScalarFunction(mut call) if call.name() == "coalesce" => {
            let operands = call.args.iter_mut().collect();
            let what = "All COALESCE operands must be the same type";
            let changed = equalize(what, operands, schema)?;
            let call = Expr::ScalarFunction(call);
            Ok(if changed { Transformed::yes(call) } else { Transformed::no(call) })
        }
        Expr::ScalarFunction(call) if call.name() == "nullif" => {
            let kinds: Vec<_> = call.args.iter().map(|of| kind(of, schema)).collect();
            if let [Some(left), Some(right)] = kinds.as_slice() {
                refuse_in_one_column("Types are not comparable with NULLIF", left, right)?;
            }
            Ok(Transformed::no(Expr::ScalarFunction(call)))
        }
        // The type of a literal has its length.
        Expr::ScalarFunction(call) if call.name() == "typeof" => {
            Ok(match call.args.first().map(|of| written_type(of, schema)) {
                Some(Ok(name)) => Transformed::yes(lit(name)),
                _ => Transformed::no(Expr::ScalarFunction(call)),
            })
        }
        // The engine does not count fractions in this way, and their texts are as different.
        Expr::AggregateFunction(mut call) if call.func.name() == "approx_distinct" => {
            let mut done = false;
            for argument in &mut call.params.args {
                if kind(argument, schema).is_some_and(|of| of.is_floating()) {
                    (*argument, done) = (converted(argument.clone(), "varchar"), true);
                }
            }
            let call = Expr::AggregateFunction(call);
            Ok(if done { Transformed::yes(call) } else { Transformed::no(call) })
        }
        // The engine's sum starts anew where it does not fit.
        Expr::AggregateFunction(mut call) if call.func.name() == "sum" => {
            let wide = widened(&mut call.params.args, schema);
            let call = Expr::AggregateFunction(call);
            Ok(if wide { Transformed::yes(call) } else { Transformed::no(call) })
        }
        Expr::WindowFunction(mut call) if call.fun.name() == "sum" => {
            let wide = widened(&mut call.params.args, schema);
            let call = Expr::WindowFunction(call);
            Ok(if wide { Transformed::yes(call) } else { Transformed::no(call) })
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Digits that a sum of bigints has for the engine.
const WIDE: DataType = DataType::Decimal128(20, 0);

fn widened(arguments: &mut [Expr], schema: &DFSchema) -> bool {
    let [of] = arguments else { return false };
    if !matches!(kind(of, schema), Some(DataType::Int64 | DataType::UInt64)) {
        return false;
    }
    *of = Expr::Cast(Cast::new(Box::new(of.clone()), WIDE));
    true
}

/// `CAST`, as a statement has it.
fn converted(expression: Expr, kind: &str) -> Expr {
    let [cast, _] = cast::udfs();
    let arguments = vec![expression, lit(kind)];
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(cast), arguments))
}

/// As `typeof` says it.
fn written_type(of: &Expr, schema: &DFSchema) -> Result<String> {
    match of {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
            Ok(format!("varchar({})", text.chars().count()))
        }
        other => Ok(types::name_of(&other.to_field(schema)?.1)),
    }
}

/// Columns of an aggregate or a window with the types that Trino gives them, under their names.
fn with_types(plan: LogicalPlan, input: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let (grouped, calls) = match &plan {
        LogicalPlan::Aggregate(aggregate) => {
            (aggregate.schema.fields().len() - aggregate.aggr_expr.len(), &aggregate.aggr_expr)
        }
        LogicalPlan::Window(window) => {
            (window.schema.fields().len() - window.window_expr.len(), &window.window_expr)
        }
        _ => return Ok(Transformed::no(plan)),
    };
    let schema = plan.schema().clone();
    let mut changed = false;
    let columns: Vec<Expr> = schema
        .iter()
        .enumerate()
        .map(|(index, (qualifier, field))| {
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            let call = index.checked_sub(grouped).and_then(|at| calls.get(at));
            let wanted = call.and_then(|call| trinos_type(call, field.data_type(), input));
            match wanted {
                Some(wanted) => {
                    changed = true;
                    converted(column, &name_of(&wanted))
                        .alias_qualified(qualifier.cloned(), field.name())
                }
                None => column,
            }
        })
        .collect();
    if !changed {
        return Ok(Transformed::no(plan));
    }
    LogicalPlanBuilder::from(plan).project(columns)?.build().map(Transformed::yes)
}

/// The type of a call in Trino, when the engine has another.
fn trinos_type(call: &Expr, own: &DataType, input: &DFSchema) -> Option<DataType> {
    let (name, of) = match call.clone().unalias() {
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            (func.name().to_owned(), params.args.first().and_then(|of| kind(of, input)))
        }
        Expr::WindowFunction(window) => {
            let of = window.params.args.first().and_then(|of| kind(of, input));
            (window.fun.name().to_owned(), of)
        }
        _ => return None,
    };
    let wanted = match (name.as_str(), of) {
        ("avg", Some(of)) if is_decimal(&of) || of == DataType::Float32 => of,
        ("sum", Some(WIDE)) => DataType::Int64,
        ("sum", Some(DataType::Decimal128(_, scale))) => DataType::Decimal128(38, scale),
        ("sum", Some(DataType::Float32)) => DataType::Float32,
        _ => types::signed(own),
    };
    (wanted != *own && types::is_number(own)).then_some(wanted)
}

/// `None` when the type is not known here, as of columns of an outer query.
fn kind(expression: &Expr, schema: &dyn ExprSchema) -> Option<DataType> {
    expression.get_type(schema).ok()
}

/// Spaces at the end of a `char` do not count.
fn unpadded(binary: BinaryExpr, schema: &DFSchema) -> BinaryExpr {
    let is_char = |side: &Expr| {
        let field = side.to_field(schema).ok().map(|(_, field)| field);
        let length = field.and_then(|field| types::length_of(&field));
        length.is_some_and(|(kind, _)| kind == "char")
    };
    use Operator as Op;
    let compares = matches!(binary.op, Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq);
    if !compares || !is_char(&binary.left) && !is_char(&binary.right) {
        return binary;
    }
    let Some(trim) = functions::scalar("rtrim").map(Arc::new) else { return binary };
    let trimmed = |side: Expr| {
        let call = ScalarFunction::new_udf(trim.clone(), vec![side, lit(" ")]);
        Box::new(Expr::ScalarFunction(call))
    };
    BinaryExpr::new(trimmed(*binary.left), binary.op, trimmed(*binary.right))
}

/// A comparison of fractions: NaN equals nothing and is not larger than anything in Trino, and both
/// zeros are equal; the engine orders all of them.
fn compared_fractions(binary: &BinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let floating = |side: &Expr| kind(side, schema).is_some_and(|kind| kind.is_floating());
    let (left, right) = (binary.left.as_ref(), binary.right.as_ref());
    if !floating(left) && !floating(right) {
        return None;
    }
    if binary.op == Operator::NotEq {
        let sides = (binary.left.clone(), binary.right.clone());
        let equal = BinaryExpr::new(sides.0, Operator::Eq, sides.1);
        let number = |side: &Expr| plain_number(side).is_some_and(|number| number != 0.0);
        return match number(left) || number(right) {
            true => None,
            false => compared_fractions(&equal, schema).map(|equal| Expr::Not(Box::new(equal))),
        };
    }
    // The side that a NaN would be the larger one of.
    let larger = match binary.op {
        Operator::Gt | Operator::GtEq => left,
        Operator::Lt | Operator::LtEq => right,
        Operator::Eq if plain_number(left).is_some() => right,
        Operator::Eq => left,
        _ => return None,
    };
    let away_from_zero = |side: &Expr| plain_number(side).is_some_and(|number| number != 0.0);
    let plus_zero = |side: &Expr| match away_from_zero(left) || away_from_zero(right) {
        true => side.clone(),
        false => binary_expr(side.clone(), Operator::Plus, lit(0.0)),
    };
    let compared = binary_expr(plus_zero(left), binary.op, plus_zero(right));
    if plain_number(larger).is_some() || !floating(larger) {
        let unchanged = away_from_zero(left) || away_from_zero(right);
        return (!unchanged).then_some(compared);
    }
    let a_number = binary_expr(larger.clone(), Operator::LtEq, lit(f64::INFINITY));
    Some(binary_expr(compared, Operator::And, a_number))
}

/// A literal that is a number.
fn plain_number(expression: &Expr) -> Option<f64> {
    let number = match expression {
        Expr::Literal(ScalarValue::Float64(number), _) => (*number)?,
        Expr::Literal(ScalarValue::Float32(number), _) => f64::from((*number)?),
        Expr::Literal(ScalarValue::Int64(number), _) => (*number)? as f64,
        Expr::Literal(ScalarValue::Decimal128(digits, _, scale), _) => {
            (*digits)? as f64 / 10f64.powi(i32::from(*scale))
        }
        Expr::Cast(cast) => return plain_number(&cast.expr),
        _ => return None,
    };
    Some(number).filter(|number| number.is_finite())
}

fn check_condition(condition: &Expr, schema: &DFSchema) -> Result<()> {
    match kind(condition, schema) {
        Some(kind) if kind != DataType::Boolean && !is_null(&kind) => {
            Err(DataFusionError::Plan(format!(
                "TYPE_MISMATCH: line 1:1: CASE WHEN clause must evaluate to a boolean (actual: {})",
                name_of(&kind)
            )))
        }
        _ => Ok(()),
    }
}

/// Makes values of one type of all operands; whether any was another.
fn equalize(what: &str, operands: Vec<&mut Expr>, schema: &DFSchema) -> Result<bool> {
    let kinds: Option<Vec<DataType>> = operands.iter().map(|of| kind(of, schema)).collect();
    let Some(kinds) = kinds else { return Ok(false) };
    let Some(first) = kinds.iter().find(|kind| !is_null(kind)) else { return Ok(false) };
    for other in &kinds {
        refuse_in_one_column(what, first, other)?;
    }
    let common = kinds.iter().try_fold(DataType::Null, |common, kind| types::common(&common, kind));
    let Some(common) = common else { return Ok(false) };
    let mut changed = false;
    for (operand, kind) in operands.into_iter().zip(&kinds) {
        if *kind != common && !is_null(kind) && is_told(&common) {
            *operand = converted(operand.clone(), &name_of(&common));
            changed = true;
        }
    }
    Ok(changed)
}

/// Types whose names say all of them.
fn is_told(kind: &DataType) -> bool {
    types::is_number(kind) || matches!(kind, DataType::Timestamp(_, None))
}

/// Parts of a `UNION` with columns of the same types, which are those of the whole.
fn equal_parts(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Union(mut union) = plan else { return Ok(Transformed::no(plan)) };
    let width = union.schema.fields().len();
    let of = |part: &LogicalPlan, at: usize| part.schema().field(at).data_type().clone();
    let common = |at: usize| {
        let mut kinds = union.inputs.iter().map(|part| of(part, at));
        kinds.try_fold(DataType::Null, |common, kind| types::common(&common, &kind))
    };
    let commons: Vec<Option<DataType>> = (0..width).map(common).collect();
    let mut changed = false;
    for part in &mut union.inputs {
        let columns: Vec<(Expr, bool)> = part
            .schema()
            .iter()
            .zip(&commons)
            .map(|((qualifier, field), common)| {
                let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
                match common {
                    Some(common) if is_told(common) && common != field.data_type() => {
                        let column = converted(column, &name_of(common));
                        (column.alias_qualified(qualifier.cloned(), field.name()), true)
                    }
                    _ => (column, false),
                }
            })
            .collect();
        if columns.iter().any(|(_, converted)| *converted) {
            let columns = columns.into_iter().map(|(column, _)| column);
            let part_plan = LogicalPlanBuilder::from(part.as_ref().clone()).project(columns)?;
            *part = Arc::new(part_plan.build()?);
            changed = true;
        }
    }
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(union.inputs)?)))
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

/// An error for a text beside a number or a time, and other pairs of which Trino takes neither for
/// the other.
pub fn refuse_mixed(
    operator: &str,
    left: Option<&DataType>,
    right: Option<&DataType>,
) -> Result<()> {
    let (Some(left), Some(right)) = (left, right) else { return Ok(()) };
    if is_null(left) || is_null(right) || class(left) == class(right) {
        return Ok(());
    }
    let (left, right) = (name_of(left), name_of(right));
    let message =
        format!("TYPE_MISMATCH: line 1:1: Cannot apply operator: {left} {operator} {right}");
    Err(DataFusionError::Plan(message))
}

/// Types of different classes never stand for each other.
fn class(kind: &DataType) -> u8 {
    match kind {
        kind if is_text(kind) => 0,
        kind if types::is_number(kind) => 1,
        DataType::Boolean => 2,
        DataType::Date32 | DataType::Timestamp(..) => 3,
        DataType::Time64(_) => 4,
        DataType::LargeUtf8 => 5,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => 6,
        DataType::List(_) => 7,
        DataType::Map(..) => 8,
        DataType::Struct(_) => 9,
        DataType::Duration(_) => 10,
        DataType::Interval(_) => 11,
        _ => 12,
    }
}

/// Whether values of both may stand in one column, which has one time zone here.
fn refuse_in_one_column(what: &str, first: &DataType, other: &DataType) -> Result<()> {
    if is_null(first) || is_null(other) {
        return Ok(());
    }
    if let (DataType::Timestamp(_, Some(zone)), DataType::Timestamp(_, Some(own))) = (first, other)
        && zone != own
    {
        return Err(DataFusionError::Plan(cast::other_zone(own, zone)));
    }
    if class(first) == class(other) {
        return Ok(());
    }
    let (first, other) = (name_of(first), name_of(other));
    Err(DataFusionError::Plan(format!("TYPE_MISMATCH: line 1:1: {what}: {first}, {other}")))
}

/// Rows of `VALUES` and parts of `UNION`, which the engine makes texts of when they differ.
fn check_columns(plan: &LogicalPlan) -> Result<()> {
    match plan {
        LogicalPlan::Union(union) => {
            let Some((first, others)) = union.inputs.split_first() else { return Ok(()) };
            for other in others {
                let columns = first.schema().fields().iter().zip(other.schema().fields());
                for (at, (first, other)) in columns.enumerate() {
                    let what = format!("column {} in UNION query has incompatible types", at + 1);
                    refuse_in_one_column(&what, first.data_type(), other.data_type())?;
                }
            }
            Ok(())
        }
        LogicalPlan::Values(values) => {
            let schema = DFSchema::empty();
            for expression in values.values.iter().flatten() {
                if let Expr::Cast(cast) = expression
                    && let Some(own) = kind(&cast.expr, &schema)
                {
                    let what = "Values rows have mismatched types";
                    refuse_in_one_column(what, cast.field.data_type(), &own)?;
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_null(kind: &DataType) -> bool {
    *kind == DataType::Null
}
