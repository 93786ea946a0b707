//! The functions that statements may call: those that Trino has and that mean the same here.
//!
//! A name that Trino does not know is refused in its words, also when the engine has it, so that
//! what runs here runs on Athena. A name that Trino knows and that is missing here is refused by
//! name. Meanings are those of Trino's documentation,
//! <https://trino.io/docs/current/functions.html>, and not the engine's.

mod aggregates;
mod arithmetic;
mod arrays;
mod bytes;
mod calendar;
mod call;
pub mod cast;
mod dates;
mod decimal;
mod formats;
mod json;
mod lambdas;
mod maps;
mod numbers;
mod operators;
mod regexp;
mod rows;
mod texts;
pub mod types;
mod value;

use std::sync::Arc;

use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, DataType, DateTimeField, Expr,
    Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident,
    Interval, LambdaFunction, LambdaSyntax, ObjectName, OneOrManyWithParens, Subscript,
    TrimWhereField, TypedString, UnaryOperator, Value, WindowFrameBound, WindowSpec, WindowType,
};

use super::parser::call;
use super::statement::{dotted, position};
use super::unnest::UnnestPlanner;
pub use calendar::{clock_text, months_text, span_text, timestamp_text};
pub use call::Spec;

/// Names of all of Trino's functions.
const TRINO: &str = include_str!("trino_functions.txt");

/// Where a function may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// One value for one row.
    Scalar,
    /// One value for many rows, also as a window.
    Aggregate,
    /// With `OVER` only.
    Window,
}

/// A function, where it may stand, and how many arguments it takes.
type Allowed = (&'static str, Role, usize, usize);

const MANY: usize = usize::MAX;

/// Functions that are the engine's own, or are rewritten to what is.
const ALLOWED: [Allowed; 49] = {
    use Role::{Aggregate, Scalar, Window};
    [
        ("approx_distinct", Aggregate, 1, 2),
        ("array_agg", Aggregate, 1, 1),
        ("avg", Aggregate, 1, 1),
        ("bool_and", Aggregate, 1, 1),
        ("bool_or", Aggregate, 1, 1),
        ("coalesce", Scalar, 2, MANY),
        ("corr", Aggregate, 2, 2),
        ("count", Aggregate, 0, 1),
        ("count_if", Aggregate, 1, 1),
        ("covar_pop", Aggregate, 2, 2),
        ("covar_samp", Aggregate, 2, 2),
        ("cume_dist", Window, 0, 0),
        ("current_date", Scalar, 0, 0),
        ("current_timestamp", Scalar, 0, 0),
        ("dense_rank", Window, 0, 0),
        ("every", Aggregate, 1, 1),
        ("first_value", Window, 1, 1),
        ("geometric_mean", Aggregate, 1, 1),
        ("grouping", Aggregate, 1, MANY),
        ("if", Scalar, 2, 3),
        ("lag", Window, 1, 3),
        ("last_value", Window, 1, 1),
        ("lead", Window, 1, 3),
        ("listagg", Aggregate, 1, 2),
        ("localtime", Scalar, 0, 0),
        ("localtimestamp", Scalar, 0, 0),
        ("map", Scalar, 0, 2),
        ("max", Aggregate, 1, 2),
        ("min", Aggregate, 1, 2),
        ("now", Scalar, 0, 0),
        ("nth_value", Window, 2, 2),
        ("ntile", Window, 1, 1),
        ("nullif", Scalar, 2, 2),
        ("percent_rank", Window, 0, 0),
        ("rand", Scalar, 0, 2),
        ("random", Scalar, 0, 2),
        ("rank", Window, 0, 0),
        ("regr_intercept", Aggregate, 2, 2),
        ("regr_slope", Aggregate, 2, 2),
        ("row", Scalar, 1, MANY),
        ("row_number", Window, 0, 0),
        ("stddev", Aggregate, 1, 1),
        ("stddev_pop", Aggregate, 1, 1),
        ("stddev_samp", Aggregate, 1, 1),
        ("sum", Aggregate, 1, 1),
        ("try", Scalar, 1, 1),
        ("var_pop", Aggregate, 1, 1),
        ("var_samp", Aggregate, 1, 1),
        ("variance", Aggregate, 1, 1),
    ]
};

/// Functions that are written here, by theme. A name that begins with `$` is what an expression of
/// another form is rewritten to.
const SCALARS: [&[Spec]; 10] = [
    arrays::FUNCTIONS,
    bytes::FUNCTIONS,
    dates::FUNCTIONS,
    formats::FUNCTIONS,
    json::FUNCTIONS,
    maps::FUNCTIONS,
    numbers::FUNCTIONS,
    regexp::FUNCTIONS,
    rows::FUNCTIONS,
    texts::FUNCTIONS,
];

/// Scalar functions of the engine that statements reach, under the same name or through a form.
const ENGINES: [&str; 6] = ["coalesce", "current_date", "get_field", "now", "nullif", "random"];

/// Other names of functions.
const ALIASES: [(&str, &str); 9] = [
    ("ceiling", "ceil"),
    ("day_of_month", "day"),
    ("dow", "day_of_week"),
    ("doy", "day_of_year"),
    ("pow", "power"),
    ("substring", "substr"),
    ("any_value", "arbitrary"),
    ("week_of_year", "week"),
    ("yow", "year_of_week"),
];

fn scalars() -> impl Iterator<Item = &'static Spec> {
    SCALARS.into_iter().flatten()
}

/// Adds Trino's functions and operators to what the engine has.
pub fn register(context: &SessionContext) -> datafusion::error::Result<()> {
    // Their other names would come back whenever a session's state is made from another.
    let own: Vec<String> = context.state().scalar_functions().keys().cloned().collect();
    for name in own.iter().filter(|name| !ENGINES.contains(&name.as_str())) {
        context.deregister_udf(name);
    }
    for spec in scalars() {
        context.register_udf(call::Function::udf(*spec));
    }
    for conversion in cast::udfs() {
        context.register_udf(conversion);
    }
    for aggregate in aggregates::udafs() {
        context.register_udaf(aggregate);
    }
    for function in lambdas::udfs() {
        context.register_higher_order_function(Arc::new(function));
    }
    let state = context.state();
    let of = |name: &str| -> datafusion::error::Result<Arc<ScalarUDF>> { state.udf(name) };
    let registry = context.state_ref();
    let planner = UnnestPlanner {
        ordinals: of("$ordinals")?,
        field_items: of("$field_items")?,
        map_keys: of("map_keys")?,
        map_values: of("map_values")?,
    };
    let operators = operators::Operators::new(of("concat")?);
    let mut state = registry.write();
    state.register_relation_planner(Arc::new(planner))?;
    state.register_expr_planner(Arc::new(operators))
}

/// One of the functions that are written here.
pub fn scalar(name: &str) -> Option<ScalarUDF> {
    scalars().find(|spec| spec.name == name).map(|spec| call::Function::udf(*spec))
}

/// The name under which a function is registered.
fn canonical(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name)
}

/// Whether a call is allowed; the error is in Athena's words.
pub fn check(function: &Function) -> Result<(), String> {
    let name = dotted(&function.name).to_lowercase();
    if [cast::CAST, cast::TRY_CAST].contains(&name.as_str()) {
        return Ok(());
    }
    let at = function.name.0.first().and_then(|part| part.as_ident());
    let at = at.map_or_else(|| "line 1:1".to_owned(), |ident| position(ident.span.start));
    let Some((role, least, most)) = role(canonical(&name)) else {
        return Err(if is_trinos(&name) {
            not_supported(&at, &format!("the function '{name}'"))
        } else {
            format!("FUNCTION_NOT_FOUND: {at}: Function '{name}' not registered")
        });
    };
    let (arguments, clauses) = match &function.args {
        FunctionArguments::None => (&[][..], &[][..]),
        FunctionArguments::List(list) => (list.args.as_slice(), list.clauses.as_slice()),
        FunctionArguments::Subquery(_) => return Err(not_supported(&at, "a query as argument")),
    };
    if !(least..=most).contains(&arguments.len()) {
        let what = format!("'{name}' with {} arguments", arguments.len());
        return Err(not_supported(&at, &what));
    }
    let plain = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) => true,
        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => name == "count",
        _ => false,
    };
    let odd = function.uses_odbc_syntax
        || !(function.within_group.is_empty() || name == "listagg")
        || !matches!(function.parameters, FunctionArguments::None)
        || !arguments.iter().all(plain)
        || (!clauses.is_empty() && (role == Role::Scalar || aggregates::is_one(canonical(&name))));
    if odd {
        return Err(not_supported(&at, &format!("this form of '{name}'")));
    }
    match role {
        Role::Window if function.over.is_none() => {
            Err(format!("MISSING_OVER: {at}: Window function {name} requires an OVER clause"))
        }
        Role::Scalar if function.over.is_some() || function.filter.is_some() => {
            Err(format!("FUNCTION_NOT_WINDOW: {at}: '{name}' is not a window function"))
        }
        _ => Ok(()),
    }
}

/// Where a function may stand, and with how many arguments; its types are checked later.
fn role(name: &str) -> Option<(Role, usize, usize)> {
    if let Some((_, role, least, most)) = ALLOWED.iter().find(|(allowed, ..)| *allowed == name) {
        return Some((*role, *least, *most));
    }
    if name.starts_with('$') {
        return None;
    }
    let scalar = scalars().any(|spec| spec.name == name) || lambdas::is_one(name);
    if scalar {
        return Some((Role::Scalar, 0, MANY));
    }
    aggregates::is_one(name).then_some((Role::Aggregate, 1, MANY))
}

fn not_supported(at: &str, what: &str) -> String {
    format!("NOT_SUPPORTED: {at}: the embedded cloud does not implement {what} of Athena")
}

/// Whether Trino has a function of this name.
pub fn is_trinos(name: &str) -> bool {
    let names = TRINO.lines().filter(|line| !line.starts_with('#'));
    name.starts_with("st_") || names.flat_map(str::split_whitespace).any(|known| known == name)
}

fn argument(arguments: &[FunctionArg], index: usize) -> Option<&Expr> {
    match arguments.get(index)? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    }
}

/// Puts in the place of an expression what means the same on the engine; an error in Athena's
/// words. `variables` are the parameters of lambdas around it.
pub fn rewrite(expression: &mut Expr, variables: &[String]) -> Result<(), String> {
    let rewritten = match expression {
        Expr::Function(function) => rewrite_function(function),
        Expr::CompoundIdentifier(names) if is_variable(&names[0], variables) => {
            let root = Expr::Identifier(names[0].clone());
            Some(names[1..].iter().fold(root, field))
        }
        Expr::Value(value) => rewrite_literal(&value.value),
        Expr::TypedString(typed) => Some(typed_literal(typed)?),
        Expr::Interval(interval) => Some(interval_literal(interval)?),
        Expr::Array(array) => Some(of("$array", std::mem::take(&mut array.elem))),
        Expr::Tuple(values) => Some(of("$row", std::mem::take(values))),
        Expr::CompoundFieldAccess { root, access_chain } => {
            Some(accessed(root, access_chain, variables)?)
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            Some(of("at_timezone", vec![(**timestamp).clone(), (**time_zone).clone()]))
        }
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
            in_subquery(left, right, false)
        }
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
            in_subquery(left, right, true)
        }
        Expr::Trim { expr, trim_where, trim_what, .. } => {
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                _ => "trim",
            };
            let what = trim_what.as_deref().cloned();
            Some(of(name, std::iter::once((**expr).clone()).chain(what).collect()))
        }
        Expr::Position { expr, r#in } => {
            Some(of("strpos", vec![(**r#in).clone(), (**expr).clone()]))
        }
        Expr::Extract { field, expr, .. } => {
            Some(of(field_function(field)?, vec![(**expr).clone()]))
        }
        Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(_) } => {
            Some(of("ceil", vec![(**expr).clone()]))
        }
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(_) } => {
            Some(of("floor", vec![(**expr).clone()]))
        }
        Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
            let length = substring_for.as_deref().cloned();
            let arguments = [(**expr).clone(), (**from).clone()].into_iter().chain(length);
            Some(of("substr", arguments.collect()))
        }
        Expr::Like { negated, expr, pattern, escape_char, any: false } => {
            let pattern = (**pattern).clone();
            match escape_char {
                None if is_plain_pattern(&pattern) => None,
                escape => {
                    let escape = escape.as_ref().map(|v| Expr::Value(v.clone()));
                    let arguments = [(**expr).clone(), pattern].into_iter().chain(escape);
                    let like = of("$like", arguments.collect());
                    Some(match negated {
                        true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(like) },
                        false => like,
                    })
                }
            }
        }
        _ => None,
    };
    if let Some(rewritten) = rewritten {
        *expression = rewritten;
    }
    Ok(())
}

fn in_subquery(of: &Expr, query: &Expr, negated: bool) -> Option<Expr> {
    let Expr::Subquery(subquery) = query else { return None };
    Some(Expr::InSubquery { expr: Box::new(of.clone()), subquery: subquery.clone(), negated })
}

/// A call under a name of the engine's.
fn of(name: &str, arguments: Vec<Expr>) -> Expr {
    call(Ident::new(name), arguments)
}

/// The engine takes a backslash of a pattern for its escape; Trino has none unless it is told.
fn is_plain_pattern(pattern: &Expr) -> bool {
    match pattern {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => !text.contains('\\'),
            _ => false,
        },
        _ => false,
    }
}

/// Numbers without a point are integers when they fit; ones with an exponent are doubles.
fn rewrite_literal(value: &Value) -> Option<Expr> {
    match value {
        Value::Number(digits, _) if digits.contains(['e', 'E']) => {
            Some(converted(string(digits), "double"))
        }
        Value::Number(digits, _) => {
            digits.parse::<i32>().ok()?;
            let number = Expr::Value(value.clone().into());
            Some(Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(number),
                data_type: DataType::Int(None),
                array: false,
                format: None,
            })
        }
        Value::HexStringLiteral(digits) => {
            let digits: String = digits.split_whitespace().collect();
            Some(of("from_hex", vec![string(&digits)]))
        }
        Value::UnicodeStringLiteral(text) => Some(string(text)),
        _ => None,
    }
}

/// A number that stands for a place or a count, as it was before [`rewrite`].
pub fn as_number(expression: &mut Expr) {
    if let Expr::Cast { expr, data_type: DataType::Int(None), .. } = expression
        && matches!(&**expr, Expr::Value(value) if matches!(value.value, Value::Number(..)))
    {
        *expression = (**expr).clone();
    }
}

/// `DATE '2001-08-22'` and other literals with the name of a type.
fn typed_literal(typed: &TypedString) -> Result<Expr, String> {
    let text = match &typed.value.value {
        Value::SingleQuotedString(text) => text,
        other => return Err(format!("SYNTAX_ERROR: line 1:1: {other} is no literal of a type")),
    };
    let name = typed.data_type.to_string().to_lowercase();
    let wrong = || {
        let at = position(typed.value.span.start);
        format!("INVALID_LITERAL: {at}: '{text}' is not a valid {} literal", name.to_uppercase())
    };
    let kind = match &typed.data_type {
        DataType::Timestamp(..) => {
            let read = calendar::read_timestamp(text).ok_or_else(wrong)?;
            let zone = if read.zone.is_some() { " with time zone" } else { "" };
            format!("timestamp({}){zone}", read.digits)
        }
        DataType::Date => {
            calendar::read_date(text.trim()).ok_or_else(wrong)?;
            name
        }
        DataType::Time(..) => {
            calendar::read_clock(text.trim()).ok_or_else(wrong)?;
            name
        }
        DataType::Decimal(_) | DataType::Dec(_) | DataType::Numeric(_) => {
            let (digits, scale) = decimal::parse(text).ok_or_else(wrong)?;
            let count = digits.unsigned_abs().to_string().len();
            let scale = usize::from(scale.unsigned_abs());
            format!("decimal({}, {scale})", count.max(scale))
        }
        DataType::JSON => return Ok(of("json_parse", vec![string(text)])),
        DataType::Char(_) | DataType::Character(_) => format!("char({})", text.chars().count()),
        _ => name,
    };
    Ok(converted(string(text), &kind))
}

fn converted(expression: Expr, kind: &str) -> Expr {
    of(cast::CAST, vec![expression, string(kind)])
}

/// `INTERVAL '2' DAY`, `INTERVAL '1-3' YEAR TO MONTH`, `INTERVAL -'1 02:03' DAY TO MINUTE`.
fn interval_literal(interval: &Interval) -> Result<Expr, String> {
    let (negative, value) = match &*interval.value {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => (true, &**expr),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => (false, &**expr),
        other => (false, other),
    };
    let text = match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.trim(),
            _ => "",
        },
        _ => "",
    };
    let wrong = || format!("INVALID_LITERAL: line 1:1: '{text}' is not a valid INTERVAL literal");
    let (text, negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, !negative),
        None => (text, negative),
    };
    let sign = if negative { -1 } else { 1 };
    let from = interval.leading_field.as_ref().ok_or_else(wrong)?;
    let to = interval.last_field.as_ref().unwrap_or(from);
    let (name, amount) = match dates::months_of_literal(text, from, to) {
        Some(months) => ("$months", months),
        None => ("$millis", dates::millis_of_literal(text, from, to).ok_or_else(wrong)?),
    };
    let digits = Expr::Value(Value::Number(amount.to_string(), false).into());
    let digits = match sign < 0 {
        true => Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(digits) },
        false => digits,
    };
    Ok(of(name, vec![digits]))
}

fn field_function(field: &DateTimeField) -> Result<&'static str, String> {
    use DateTimeField as Field;
    let custom;
    let name = match field {
        Field::Custom(ident) => {
            custom = ident.value.to_lowercase();
            custom.as_str()
        }
        Field::Year => "year",
        Field::Quarter => "quarter",
        Field::Month => "month",
        Field::Week(None) => "week",
        Field::Day => "day",
        Field::DayOfWeek | Field::Dow => "dow",
        Field::DayOfYear | Field::Doy => "doy",
        Field::Hour => "hour",
        Field::Minute => "minute",
        Field::Second => "second",
        Field::TimezoneHour => "timezone_hour",
        Field::TimezoneMinute => "timezone_minute",
        _ => "",
    };
    Ok(match name {
        "year" => "year",
        "quarter" => "quarter",
        "month" => "month",
        "week" => "week",
        "day" | "day_of_month" => "day",
        "dow" | "day_of_week" => "day_of_week",
        "doy" | "day_of_year" => "day_of_year",
        "yow" | "year_of_week" => "year_of_week",
        "hour" => "hour",
        "minute" => "minute",
        "second" => "second",
        "timezone_hour" => "timezone_hour",
        "timezone_minute" => "timezone_minute",
        _ => {
            return Err(format!(
                "SYNTAX_ERROR: line 1:1: Invalid EXTRACT field: {}",
                field.to_string().to_lowercase()
            ));
        }
    })
}

fn is_variable(name: &Ident, variables: &[String]) -> bool {
    variables.contains(&name.value.to_lowercase())
}

/// A field of a row.
fn field(row: Expr, name: &Ident) -> Expr {
    of("$field", vec![row, string(&name.value.to_lowercase())])
}

/// `a[1]`, `r.x` and mixtures of them.
fn accessed(root: &Expr, chain: &[AccessExpr], variables: &[String]) -> Result<Expr, String> {
    let mut chain = chain.iter().peekable();
    let mut whole = root.clone();
    // A table's name, a column's, and those of fields are for the engine to tell apart.
    if let Expr::Identifier(first) = root
        && !is_variable(first, variables)
    {
        let mut names = vec![first.clone()];
        while let Some(AccessExpr::Dot(Expr::Identifier(name))) = chain.peek() {
            names.push(name.clone());
            chain.next();
        }
        if names.len() > 1 {
            whole = Expr::CompoundIdentifier(names);
        }
    }
    for access in chain {
        whole = match access {
            AccessExpr::Subscript(Subscript::Index { index }) => {
                let mut index = index.clone();
                as_number(&mut index);
                of("$subscript", vec![whole, index])
            }
            AccessExpr::Dot(Expr::Identifier(name)) => field(whole, name),
            other => return Err(format!("SYNTAX_ERROR: line 1:1: mismatched input '{other}'")),
        };
    }
    Ok(whole)
}

fn rewrite_function(function: &mut Function) -> Option<Expr> {
    let name = dotted(&function.name).to_lowercase();
    let renamed = match name.as_str() {
        "every" => "bool_and",
        "variance" => "var_samp",
        "row" => "$row",
        // The engine has a form of its own for this name.
        "map" => "$map",
        "rand" => "random",
        other => canonical(other),
    };
    if renamed != name {
        function.name = ObjectName::from(vec![Ident::with_quote('"', renamed)]);
    }
    let name = renamed;
    if let Some(WindowType::WindowSpec(window)) = &mut function.over {
        frame_numbers(window);
    }
    let FunctionArguments::List(list) = &mut function.args else {
        return match name {
            "current_timestamp" | "now" => Some(now("timestamp(3) with time zone")),
            "localtimestamp" => Some(now("timestamp(3)")),
            "localtime" => Some(now("time")),
            _ => None,
        };
    };
    let arguments: Vec<Expr> =
        (0..list.args.len()).filter_map(|i| argument(&list.args, i).cloned()).collect();
    match (name, arguments.as_slice()) {
        ("now", []) => return Some(now("timestamp(3) with time zone")),
        // Its type depends on the numbers.
        ("from_unixtime", [_, _, _]) => list.args.iter_mut().for_each(|argument| {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) = argument {
                as_number(expression);
            }
        }),
        ("normalize", [text, Expr::Identifier(form)]) => {
            list.args = vec![unnamed(text.clone()), unnamed(string(&form.value))];
        }
        ("random", [_, ..]) => return Some(of("$random", arguments)),
        ("approx_distinct", [values, _]) => {
            list.args = vec![unnamed(values.clone())];
        }
        ("max" | "min", [_, _]) => {
            let several = format!("${name}_several");
            function.name = ObjectName::from(vec![Ident::with_quote('"', several)]);
        }
        ("max_by" | "min_by", [_, _, _]) => {
            let several = format!("${name}_several");
            function.name = ObjectName::from(vec![Ident::with_quote('"', several)]);
        }
        ("approx_percentile", [_, _, _]) => {
            function.name = ObjectName::from(vec![Ident::with_quote('"', "$weighted_percentile")]);
        }
        ("regexp_replace" | "array_sort", [.., Expr::Lambda(_)]) => {
            let with_lambda = format!("${name}");
            function.name = ObjectName::from(vec![Ident::with_quote('"', with_lambda)]);
        }
        ("count_if", [condition]) => {
            let counted = case(condition.clone(), string("x"), None);
            list.args = vec![unnamed(counted)];
            function.name = ObjectName::from(vec![Ident::new("count")]);
        }
        ("geometric_mean", [values]) => {
            list.args = vec![unnamed(of("ln", vec![values.clone()]))];
            function.name = ObjectName::from(vec![Ident::new("avg")]);
            return Some(of("exp", vec![Expr::Function(function.clone())]));
        }
        ("grouping", _) => {
            return Some(converted(Expr::Function(function.clone()), "bigint"));
        }
        ("listagg", [values, ..]) => {
            let separator = arguments.get(1).cloned().unwrap_or_else(|| string(""));
            list.args = vec![unnamed(values.clone())];
            // What is too long is an error in any case.
            list.clauses.retain(|c| !matches!(c, FunctionArgumentClause::OnOverflow(_)));
            let order = std::mem::take(&mut function.within_group);
            if !order.is_empty() {
                list.clauses.push(FunctionArgumentClause::OrderBy(order));
            }
            function.name = ObjectName::from(vec![Ident::new("array_agg")]);
            let listed = converted(Expr::Function(function.clone()), "array(varchar)");
            return Some(of("$listagg", vec![listed, separator]));
        }
        ("try", [inner]) => return Some(of("try", vec![lambda(inner.clone())])),
        ("if", [condition, result, ..]) => {
            return Some(case(condition.clone(), result.clone(), arguments.get(2).cloned()));
        }
        _ => {}
    }
    None
}

fn bounds(window: &mut WindowSpec) -> impl Iterator<Item = &mut Expr> {
    let frame = window.window_frame.iter_mut();
    let bounds = frame.flat_map(|frame| [Some(&mut frame.start_bound), frame.end_bound.as_mut()]);
    bounds.flatten().filter_map(|bound| match bound {
        WindowFrameBound::Preceding(Some(by)) | WindowFrameBound::Following(Some(by)) => {
            Some(by.as_mut())
        }
        _ => None,
    })
}

/// Makes texts of the intervals of a frame, so that [`rewrite`] leaves them alone.
pub fn frame_intervals(window: &mut WindowSpec) {
    for bound in bounds(window) {
        if let Expr::Interval(Interval { value, leading_field: Some(unit), .. }) = bound
            && let Expr::Value(amount) = value.as_ref()
            && let Value::SingleQuotedString(amount) = &amount.value
        {
            *bound = string(&format!("{amount} {unit}"));
        }
    }
}

/// Numbers and intervals of a frame as the engine takes them.
pub fn frame_numbers(window: &mut WindowSpec) {
    for bound in bounds(window) {
        as_number(bound);
        if matches!(bound, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
        {
            *bound = Expr::Interval(Interval {
                value: Box::new(bound.clone()),
                leading_field: None,
                leading_precision: None,
                last_field: None,
                fractional_seconds_precision: None,
            });
        }
    }
}

fn unnamed(expression: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expression))
}

fn now(kind: &str) -> Expr {
    converted(of("now", vec![]), kind)
}

/// What is computed apart, so that its errors can be caught.
fn lambda(body: Expr) -> Expr {
    Expr::Lambda(LambdaFunction {
        params: OneOrManyWithParens::Many(vec![]),
        body: Box::new(body),
        syntax: LambdaSyntax::Arrow,
    })
}

fn case(condition: Expr, result: Expr, otherwise: Option<Expr>) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: otherwise.map(Box::new),
    }
}

fn string(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::query::dialect;
    use crate::query::parser::Trino;

    /// Forms of SQL that are written as functions, and in no list of these.
    const FORMS: [&str; 2] = ["grouping", "row"];

    /// What a statement with this expression says.
    fn said(expression: &str) -> Result<(), String> {
        let sql = format!("SELECT {expression}");
        let mut parser = Parser::new(&Trino).try_with_sql(&sql).expect("tokens");
        dialect::to_engine(&mut parser.parse_query().expect("a query"))
    }

    #[test]
    fn every_function_is_trinos() {
        let allowed = ALLOWED.iter().map(|(name, ..)| *name);
        let names = allowed.chain(scalars().map(|spec| spec.name)).chain(lambdas::names());
        let names = names.chain(aggregates::names()).chain(ALIASES.iter().map(|(name, _)| *name));
        for name in names.filter(|name| !name.starts_with('$') && !FORMS.contains(name)) {
            assert!(is_trinos(name), "{name}");
        }
        assert!(ALLOWED.is_sorted_by_key(|(name, ..)| *name), "in the order of their names");
        let mut seen = BTreeSet::new();
        assert!(scalars().all(|spec| seen.insert(spec.name)), "each name once");
    }

    #[test]
    fn every_signature_is_read() {
        for spec in scalars() {
            for text in spec.signatures {
                assert!(text.starts_with('(') && text.contains("->"), "{}: {text}", spec.name);
            }
        }
    }

    #[test]
    fn what_only_the_engine_has_is_not_registered() {
        let state = SessionContext::new().state();
        let scalars = state.scalar_functions().keys().cloned();
        let aggregates = state.aggregate_functions().keys().cloned();
        let windows = state.window_functions().keys().cloned();
        let names: BTreeSet<String> = scalars.chain(aggregates).chain(windows).collect();
        let mut refused = 0;
        for name in names.iter().filter(|name| !is_trinos(name) && !FORMS.contains(&name.as_str()))
        {
            let message = said(&format!("\"{name}\"(1)")).expect_err(name);
            assert!(message.contains(&format!("Function '{name}' not registered")), "{message}");
            refused += 1;
        }
        assert!(refused > 50, "only {refused} functions were tried");
    }
}
