//! Operators of expressions, as the engine's planner asks for them.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::arithmetic::Operation;
use crate::query::semantics;

/// Plans arithmetic and `||` with Trino's types.
#[derive(Debug)]
pub struct Operators {
    operations: Vec<(Operation, Arc<ScalarUDF>)>,
    concat: Arc<ScalarUDF>,
}

impl Operators {
    pub fn new(concat: Arc<ScalarUDF>) -> Self {
        let operations = Operation::ALL.map(|operation| (operation, Arc::new(operation.udf())));
        Self { operations: operations.to_vec(), concat }
    }

    fn of(&self, operator: &BinaryOperator) -> Option<&Arc<ScalarUDF>> {
        let wanted = match operator {
            BinaryOperator::Plus => Operation::Add,
            BinaryOperator::Minus => Operation::Subtract,
            BinaryOperator::Multiply => Operation::Multiply,
            BinaryOperator::Divide => Operation::Divide,
            BinaryOperator::Modulo => Operation::Modulus,
            _ => return None,
        };
        let found = self.operations.iter().find(|(operation, _)| *operation == wanted);
        found.map(|(_, function)| function)
    }
}

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let call = |function: &Arc<ScalarUDF>, expr: RawBinaryExpr| {
            let arguments = vec![expr.left, expr.right];
            let call = ScalarFunction::new_udf(function.clone(), arguments);
            Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
        };
        let (left, right) = (expr.left.get_type(schema)?, expr.right.get_type(schema)?);
        if expr.op == BinaryOperator::StringConcat {
            let list = |kind: &DataType| kind.is_nested();
            let binary = |kind: &DataType| *kind == DataType::Binary;
            return match [&left, &right].into_iter().any(|kind| list(kind) || binary(kind)) {
                true => call(&self.concat, expr),
                false => Ok(PlannerResult::Original(expr)),
            };
        }
        use BinaryOperator as Op;
        if matches!(expr.op, Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq) {
            semantics::refuse_mixed(&expr.op.to_string(), Some(&left), Some(&right))?;
        }
        match self.of(&expr.op) {
            Some(function) => call(function, expr),
            _ => Ok(PlannerResult::Original(expr)),
        }
    }
}
