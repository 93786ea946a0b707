//! Trino's dialect on the engine: what only the engine's parser knows is refused, and what means
//! something else there is rewritten. Statements are bounded in depth and width, because planning
//! takes stack for each level.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Distinct, Expr, GroupByExpr,
    Ident, LimitClause, NamedWindowDefinition, NamedWindowExpr, OrderBy, OrderByKind, Query,
    Select, SelectFlavor, SelectItem, SetExpr, Table, TableFactor, UnaryOperator, Value, Visit,
    VisitMut, Visitor, VisitorMut, WildcardAdditionalOptions, WindowType,
};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use steppe_wire::query::QueryFailure;

use super::failure::failed;
use super::functions;
use super::parser::Trino;
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
    let dialect = Trino;
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
    match VisitMut::visit(query, &mut Translator::new()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(message) => Err(*message),
    }
}

struct Translator {
    steps: usize,
    /// Parameters of the lambdas around an expression.
    variables: Vec<String>,
    /// Queries around a query.
    queries: usize,
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
    fn new() -> Self {
        Self { steps: 0, variables: vec![], queries: 0 }
    }

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
        if let SetExpr::Table(table) = &*query.body
            && let Some(all) = all_of(table)
        {
            query.body = all;
        }
        if let SetExpr::Select(select) = &mut *query.body {
            name_columns(&mut select.projection);
            order_by_names(query.order_by.as_mut(), &select.projection);
            if self.queries == 0 {
                hide_aliases(query.order_by.as_mut(), &mut select.projection);
            }
        }
        self.queries += 1;
        fetch_as_limit(query)?;
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
        for NamedWindowDefinition(_, window) in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(window) = window {
                functions::frame_intervals(window);
            }
        }
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
            TableFactor::UNNEST { with_offset: false, .. } => Flow::Continue(()),
            other => {
                let text = other.to_string();
                not_supported(text.split('(').next().unwrap_or("this relation").trim())
            }
        }
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> Flow {
        if let Expr::Lambda(lambda) = expression {
            let names = lambda.params.iter().map(|parameter| parameter.name.value.to_lowercase());
            self.variables.extend(names);
        }
        if let Expr::Function(function) = expression {
            if let Some(WindowType::WindowSpec(window)) = &mut function.over {
                functions::frame_intervals(window);
            }
            return match functions::check(function) {
                Ok(()) => Flow::Continue(()),
                Err(message) => ControlFlow::Break(Box::new(message)),
            };
        }
        check_expression(expression)
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> Flow {
        if let Expr::Lambda(lambda) = expression {
            let count = lambda.params.iter().count();
            self.variables.truncate(self.variables.len() - count);
        }
        match functions::rewrite(expression, &self.variables) {
            Ok(()) => Flow::Continue(()),
            Err(message) => ControlFlow::Break(Box::new(message)),
        }
    }

    fn post_visit_query(&mut self, query: &mut Query) -> Flow {
        self.queries -= 1;
        places(query);
        Flow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> Flow {
        if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
            expressions.iter_mut().for_each(functions::as_number);
        }
        for NamedWindowDefinition(_, window) in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(window) = window {
                functions::frame_numbers(window);
            }
        }
        Flow::Continue(())
    }
}

/// `TABLE t` is `SELECT * FROM t`.
fn all_of(table: &Table) -> Option<Box<SetExpr>> {
    let names = table.schema_name.iter().chain(&table.table_name);
    let name = names.map(|name| Ident::with_quote('"', name.to_lowercase()).to_string());
    let sql = format!("SELECT * FROM {}", name.collect::<Vec<_>>().join("."));
    let query = Parser::new(&Trino).try_with_sql(&sql).and_then(|mut p| p.parse_query()).ok()?;
    Some(query.body)
}

/// The engine takes `ORDER BY t.x` beside a column `… AS x` for both of them. The names of a
/// statement's columns are known otherwise, so that the alias may have another one here.
fn hide_aliases(order_by: Option<&mut OrderBy>, items: &mut [SelectItem]) {
    let Some(OrderBy { kind: OrderByKind::Expressions(ordered), .. }) = order_by else { return };
    for (index, item) in items.iter_mut().enumerate() {
        let SelectItem::ExprWithAlias { alias, expr } = item else { continue };
        let same = |name: &Ident| name.value.eq_ignore_ascii_case(&alias.value);
        let qualified = |expression: &Expr| match expression {
            Expr::CompoundIdentifier(names) => names.last().is_some_and(same),
            _ => false,
        };
        if qualified(expr) || !ordered.iter().any(|ordered| qualified(&ordered.expr)) {
            continue;
        }
        let hidden = Ident::new(format!("_alias{index}"));
        for ordered in ordered.iter_mut() {
            if matches!(&ordered.expr, Expr::Identifier(name) if same(name)) {
                ordered.expr = Expr::Identifier(hidden.clone());
            }
        }
        *alias = hidden;
    }
}

/// Numbers that are places of columns, or counts of rows.
fn places(query: &mut Query) {
    if let Some(OrderBy { kind: OrderByKind::Expressions(expressions), .. }) = &mut query.order_by {
        expressions.iter_mut().for_each(|ordered| functions::as_number(&mut ordered.expr));
    }
    if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
        limit.iter_mut().for_each(functions::as_number);
        offset.iter_mut().for_each(|offset| functions::as_number(&mut offset.value));
    }
}

/// `FETCH FIRST 5 ROWS ONLY` is `LIMIT 5`.
fn fetch_as_limit(query: &mut Query) -> Flow {
    let Some(fetch) = query.fetch.take() else { return Flow::Continue(()) };
    if fetch.with_ties || fetch.percent {
        return not_supported("FETCH FIRST … WITH TIES");
    }
    let count = fetch.quantity.or_else(|| Some(Expr::value(Value::Number("1".to_owned(), false))));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = count,
        none @ None => {
            *none = Some(LimitClause::LimitOffset { limit: count, offset: None, limit_by: vec![] });
        }
        Some(_) => return refuse("FETCH FIRST beside LIMIT"),
    }
    Flow::Continue(())
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

/// Columns that Athena has of every file, and that `*` does not show.
const HIDDEN: [&str; 5] = ["$path", "$file_size", "$file_modified_time", "$bucket", "$partition"];

fn check_expression(expression: &Expr) -> Flow {
    let name = match expression {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(names) => names.last(),
        _ => None,
    };
    if let Some(name) = name.filter(|name| HIDDEN.contains(&name.value.as_str())) {
        return not_supported(&format!("the hidden column {name}"));
    }
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
        | Expr::Array(Array { named: true, .. })
        | Expr::Tuple(_)
        | Expr::AtTimeZone { .. }
        | Expr::CompoundFieldAccess { .. }
        | Expr::Lambda(_)
        | Expr::AnyOp { .. }
        | Expr::AllOp { .. }
        | Expr::Extract { .. }
        | Expr::Substring { substring_from: Some(_), .. }
        | Expr::Wildcard(_) => Flow::Continue(()),
        Expr::Array(array) => refuse(&array.to_string()),
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
            | Value::HexStringLiteral(_)
            | Value::UnicodeStringLiteral(_)
            | Value::SingleQuotedString(_)
            | Value::Boolean(_)
            | Value::Null => Flow::Continue(()),
            _ => refuse(&format!("the literal {value}")),
        },
        Expr::Ceil { field, .. } | Expr::Floor { field, .. } => match field {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => Flow::Continue(()),
            _ => refuse("a second argument of ceil or floor"),
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
