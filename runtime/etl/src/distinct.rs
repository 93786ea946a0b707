//! `a IS DISTINCT FROM b AND c`, which the parser reads as `a IS DISTINCT FROM (b AND c)`: another
//! question than Spark's and Trino's, and for booleans one that has an answer. So it is refused.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Visit, visit_expressions};

/// What to do about it, when a statement has it.
pub fn check(statement: &impl Visit) -> Result<(), String> {
    let found = visit_expressions(statement, |expression| match swallowed(expression) {
        Some(text) => ControlFlow::Break(text),
        None => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Break(text) => Err(text),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn swallowed(expression: &Expr) -> Option<String> {
    let (words, right) = match expression {
        Expr::IsDistinctFrom(_, right) => ("IS DISTINCT FROM", right),
        Expr::IsNotDistinctFrom(_, right) => ("IS NOT DISTINCT FROM", right),
        _ => return None,
    };
    let Expr::BinaryOp { op, .. } = &**right else { return None };
    let binds_less = matches!(op, BinaryOperator::And | BinaryOperator::Or | BinaryOperator::Xor);
    binds_less.then(|| {
        format!("put `… {words} …` in parentheses: what follows it, `{op}`, would be a part of it")
    })
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::DatabricksDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn what_would_be_read_otherwise_is_refused() {
        let told = |condition: &str| {
            let sql = format!("SELECT 1 FROM t WHERE {condition}");
            check(&Parser::parse_sql(&DatabricksDialect {}, &sql).expect("SQL"))
        };
        for refused in [
            "a IS DISTINCT FROM b AND c",
            "c OR a IS NOT DISTINCT FROM b OR d",
            "x IN (SELECT 1 FROM u WHERE (a IS DISTINCT FROM b + 1 AND c))",
        ] {
            assert!(told(refused).is_err_and(|e| e.contains("in parentheses")), "{refused}");
        }
        for right in ["(a IS DISTINCT FROM b) AND c", "c AND a IS NOT DISTINCT FROM (b AND d)"] {
            assert_eq!(told(right), Ok(()), "{right}");
        }
    }
}
