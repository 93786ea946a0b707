//! Trino's dialect on the engine: what only the engine's parser knows is refused, and what means
//! something else there is rewritten. Statements are bounded in depth and width, because planning
//! takes stack for each level.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Distinct, Expr, GroupByExpr, Ident,
    LimitClause, OrderBy, OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr,
    TableFactor, UnaryOperator, Value, Visit, VisitMut, Visitor, VisitorMut,
    WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use steppe_wire::query::QueryFailure;

use super::failure::failed;
use super::functions;
use super::statement::own_name;
use crate::distinct;

/// Expressions and queries in each other.
const DEPTH_MAX: usize = 500;
/// Tables, set operations and named queries of one statement.
const STEPS_MAX: usize = 150;
/// Statements that Athena has and the engine does not run.
const ATHENAS_STATEMENTS: [&str; 17] = [
    "alter",
    "analyze",
    "call",
    "create",
    "deallocate",
    "delete",
    "drop",
    "execute",
    "explain",
    "insert",
    "merge",
    "msck",
    "optimize",
    "prepare",
    "show",
    "unload",
    "update",
];

/// Whether Athena has statements that begin with this word.
pub fn is_athenas_statement(word: &str) -> bool {
    ATHENAS_STATEMENTS.contains(&word.to_lowercase().as_str())
        || word.eq_ignore_ascii_case("vacuum")
}

/// The tokens of a parameter. What is not an expression is a string, as in Athena.
pub fn parameter(value: &str) -> Result<Vec<Token>, QueryFailure> {
    let text = || vec![Token::SingleQuotedString(value.to_owned())];
    let dialect = GenericDialect {};
    let Ok(tokens) = Tokenizer::new(&dialect, value).tokenize() else { return Ok(text()) };
    let mut parser = Parser::new(&dialect).with_tokens(tokens.clone());
    let Ok(expression) = parser.parse_expr() else { return Ok(text()) };
    if parser.peek_token().token != Token::EOF {
        return Ok(text());
    }
    match expression {
        Expr::Value(_) | Expr::TypedString(_) => {}
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, ref expr }
            if matches!(**expr, Expr::Value(_)) => {}
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => return Ok(text()),
        _ => {
            return Err(failed(format!(
                "NOT_SUPPORTED: the embedded cloud takes literals as execution parameters, not \
                 `{value}`"
            )));
        }
    }
    let mut tokens = tokens;
    tokens.retain(|t| !matches!(t, Token::EOF));
    tokens.insert(0, Token::LParen);
    tokens.push(Token::RParen);
    Ok(tokens)
}

/// Checks a statement and rewrites it for the engine; an error in Athena's words.
pub fn to_engine(query: &mut Query) -> Result<(), String> {
    // First, because everything else about a statement recurses as deeply as it is nested.
    if let ControlFlow::Break(message) = Visit::visit(&*query, &mut Depth(0)) {
        return Err(*message);
    }
    distinct::check(&*query)?;
    match VisitMut::visit(query, &mut Translator { steps: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(message) => Err(*message),
    }
}

struct Translator {
    steps: usize,
}

/// How deep expressions and queries are in each other.
struct Depth(usize);

impl Depth {
    fn deeper(&mut self) -> Flow {
        self.0 += 1;
        if self.0 <= DEPTH_MAX {
            return Flow::Continue(());
        }
        let message = "SYNTAX_ERROR: line 1:1: statement is too large (stack overflow during \
                       analysis)";
        ControlFlow::Break(Box::new(message.to_owned()))
    }

    fn back(&mut self) -> Flow {
        self.0 -= 1;
        Flow::Continue(())
    }
}

impl Visitor for Depth {
    type Break = Box<String>;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        // Set operations stand in each other on the left, and visiting them recurses.
        let (mut body, mut operations) = (&*query.body, 0);
        while let SetExpr::SetOperation { left, .. } = body {
            operations += 1;
            body = left;
        }
        if operations > STEPS_MAX { too_many_stages() } else { self.deeper() }
    }

    fn post_visit_query(&mut self, _query: &Query) -> Flow {
        self.back()
    }

    fn pre_visit_expr(&mut self, _expression: &Expr) -> Flow {
        self.deeper()
    }

    fn post_visit_expr(&mut self, _expression: &Expr) -> Flow {
        self.back()
    }
}

fn too_many_stages() -> Flow {
    let message = format!(
        "QUERY_HAS_TOO_MANY_STAGES: Number of stages in the query exceeds the allowed maximum \
         ({STEPS_MAX})."
    );
    ControlFlow::Break(Box::new(message))
}

type Flow = ControlFlow<Box<String>>;

fn refuse(what: &str) -> Flow {
    ControlFlow::Break(Box::new(format!("SYNTAX_ERROR: line 1:1: {what} is not Trino's SQL")))
}

fn not_supported(what: &str) -> Flow {
    let message = format!("NOT_SUPPORTED: the embedded cloud does not implement {what}");
    ControlFlow::Break(Box::new(message))
}

fn check(refused: &[(bool, &str)]) -> Flow {
    refused.iter().find(|(is_there, _)| *is_there).map_or(Flow::Continue(()), |(_, w)| refuse(w))
}

impl Translator {
    fn step(&mut self) -> Flow {
        self.steps += 1;
        if self.steps <= STEPS_MAX {
            return Flow::Continue(());
        }
        too_many_stages()
    }
}

impl VisitorMut for Translator {
    type Break = Box<String>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        let mut body = &*query.body;
        while let SetExpr::SetOperation { left, .. } = body {
            self.step()?;
            body = left;
        }
        if let SetExpr::Select(select) = &mut *query.body {
            name_columns(&mut select.projection);
            order_by_names(query.order_by.as_mut(), &select.projection);
        }
        for _named in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.step()?;
        }
        let limit_by = match &query.limit_clause {
            Some(LimitClause::OffsetCommaLimit { .. }) => true,
            Some(LimitClause::LimitOffset { limit_by, .. }) => !limit_by.is_empty(),
            None => false,
        };
        let order_by_all =
            query.order_by.as_ref().is_some_and(|o| matches!(o.kind, OrderByKind::All(_)));
        check(&[
            (!query.locks.is_empty(), "FOR UPDATE"),
            (query.for_clause.is_some(), "FOR"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
            (!query.pipe_operators.is_empty(), "|>"),
            (limit_by, "LIMIT with two numbers or BY"),
            (order_by_all, "ORDER BY ALL"),
        ])
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        name_columns(&mut select.projection);
        let group_by = match &select.group_by {
            GroupByExpr::All(_) => true,
            GroupByExpr::Expressions(_, modifiers) => !modifiers.is_empty(),
        };
        check(&[
            (select.top.is_some(), "TOP"),
            (select.exclude.is_some(), "EXCLUDE"),
            (select.into.is_some(), "INTO"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.qualify.is_some(), "QUALIFY"),
            (select.value_table_mode.is_some(), "SELECT AS"),
            (select.select_modifiers.is_some(), "a modifier of SELECT"),
            (matches!(select.distinct, Some(Distinct::On(_))), "DISTINCT ON"),
            (select.flavor != SelectFlavor::Standard, "FROM before SELECT"),
            (select.projection.is_empty(), "SELECT without columns"),
            (group_by, "GROUP BY ALL or WITH"),
            (select.projection.iter().any(is_altered_star), "an option of *"),
        ])
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        self.step()?;
        match factor {
            TableFactor::Table { args: Some(_), name, .. } | TableFactor::Function { name, .. } => {
                not_supported(&format!("the table function {name}"))
            }
            TableFactor::Table { with_hints, version, partitions, json_path, sample, .. } => {
                if sample.is_some() {
                    return not_supported("TABLESAMPLE");
                }
                if version.is_some() {
                    return not_supported("time travel");
                }
                check(&[
                    (!with_hints.is_empty(), "WITH behind a table"),
                    (!partitions.is_empty(), "PARTITION"),
                    (json_path.is_some(), "a path behind a table"),
                ])
            }
            TableFactor::Derived { sample: None, .. } | TableFactor::NestedJoin { .. } => {
                Flow::Continue(())
            }
            TableFactor::UNNEST { .. } => not_supported("UNNEST"),
            other => {
                let text = other.to_string();
                not_supported(text.split('(').next().unwrap_or("this relation").trim())
            }
        }
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> Flow {
        if let Expr::Function(function) = expression {
            return match functions::check(function) {
                Ok(()) => Flow::Continue(()),
                Err(message) => ControlFlow::Break(Box::new(message)),
            };
        }
        check_expression(expression)
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> Flow {
        functions::rewrite(expression);
        Flow::Continue(())
    }
}

/// The engine wants a name of its own for every column, and makes equal ones for expressions that
/// differ in casts only. Trino takes any number of columns without a name, and of equal names.
fn name_columns(items: &mut [SelectItem]) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter_mut().enumerate() {
        let SelectItem::UnnamedExpr(expression) = item else { continue };
        let name = match own_name(expression) {
            None => format!("_col{index}"),
            Some(own) if !seen.insert(own.value.clone()) => format!("_again{index}"),
            Some(_) => continue,
        };
        let (expr, alias) = (expression.clone(), Ident::new(name));
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
}

/// An expression behind `ORDER BY` that is also a column is that column, which now has a name.
fn order_by_names(order_by: Option<&mut OrderBy>, items: &[SelectItem]) {
    let Some(OrderBy { kind: OrderByKind::Expressions(expressions), .. }) = order_by else {
        return;
    };
    for ordered in expressions {
        let same = items.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if *expr == ordered.expr => Some(alias),
            _ => None,
        });
        if let Some(alias) = same {
            ordered.expr = Expr::Identifier(alias.clone());
        }
    }
}

fn is_altered_star(item: &SelectItem) -> bool {
    let altered = |o: &WildcardAdditionalOptions| {
        o.opt_ilike.is_some()
            || o.opt_exclude.is_some()
            || o.opt_except.is_some()
            || o.opt_replace.is_some()
            || o.opt_rename.is_some()
            || o.opt_alias.is_some()
    };
    match item {
        SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => {
            altered(options)
        }
        SelectItem::ExprWithAliases { .. } => true,
        _ => false,
    }
}

fn check_expression(expression: &Expr) -> Flow {
    match expression {
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::Between { .. }
        | Expr::Like { any: false, .. }
        | Expr::Position { .. }
        | Expr::Nested(_)
        | Expr::TypedString(_)
        | Expr::Case { .. }
        | Expr::Exists { .. }
        | Expr::Subquery(_)
        | Expr::GroupingSets(_)
        | Expr::Cube(_)
        | Expr::Rollup(_)
        | Expr::Interval(_)
        | Expr::Wildcard(_) => Flow::Continue(()),
        Expr::BinaryOp { op, .. } => check_operator(op),
        Expr::UnaryOp {
            op: UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not,
            ..
        } => Flow::Continue(()),
        Expr::Cast { kind: CastKind::DoubleColon, .. } => refuse("the operator ::"),
        Expr::Cast { kind: CastKind::Cast | CastKind::TryCast, format: None, .. } => {
            Flow::Continue(())
        }
        Expr::Value(value) => match value.value {
            Value::Number(_, false)
            | Value::SingleQuotedString(_)
            | Value::Boolean(_)
            | Value::Null => Flow::Continue(()),
            _ => refuse(&format!("the literal {value}")),
        },
        Expr::Extract { field, .. } => check_field(field),
        Expr::Ceil { field, .. } | Expr::Floor { field, .. } => match field {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => Flow::Continue(()),
            _ => refuse("a second argument of ceil or floor"),
        },
        Expr::Substring { substring_from: Some(from), .. } => match functions::check_start(from) {
            Ok(()) => Flow::Continue(()),
            Err(message) => ControlFlow::Break(Box::new(message)),
        },
        Expr::Trim { trim_characters: None, .. } => Flow::Continue(()),
        other => {
            let text: String = other.to_string().chars().take(60).collect();
            not_supported(&format!("the expression `{text}`"))
        }
    }
}

fn check_operator(operator: &BinaryOperator) -> Flow {
    use BinaryOperator as Op;
    match operator {
        Op::Plus | Op::Minus | Op::Multiply | Op::Divide | Op::Modulo | Op::StringConcat => {}
        Op::Gt | Op::Lt | Op::GtEq | Op::LtEq | Op::Eq | Op::NotEq | Op::And | Op::Or => {}
        other => return refuse(&format!("the operator {other}")),
    }
    Flow::Continue(())
}

/// Fields of `EXTRACT` that both count in the same way.
fn check_field(field: &DateTimeField) -> Flow {
    use DateTimeField as Field;
    match field {
        Field::Year | Field::Quarter | Field::Month | Field::Day | Field::Hour | Field::Minute => {}
        Field::Second => {}
        Field::Week(None) => {}
        other => return not_supported(&format!("EXTRACT({other} FROM …)")),
    }
    Flow::Continue(())
}
