//! The functions that statements may call: those that Trino has and that mean the same here.
//!
//! A name that Trino does not know is refused in its words, also when the engine has it, so that
//! what runs here runs on Athena. A name that Trino knows and that is missing here, or that means
//! something else on the engine, is refused by name. Meanings were compared by Trino's
//! documentation, <https://trino.io/docs/current/functions.html>.

use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, DateTimeField, ExactNumberInfo, Expr,
    ExtractSyntax, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName, OrderByExpr, OrderByOptions, TrimWhereField, Value,
};

use super::semantics;
use super::statement::{dotted, position};

/// Names of all of Trino's functions.
const TRINO: &str = include_str!("trino_functions.txt");
/// What Trino takes for white space in `trim`.
const WHITE_SPACE: &str = " \t\n\u{b}\u{c}\r";

/// Characters that a text may be padded to: each row would take as many.
const PADDED_CHARACTERS_MAX: u64 = 1_000_000;

/// The engine's name of `approx_percentile`.
pub const PERCENTILE: &str = "approx_percentile_cont";

/// Where a function may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
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

/// `greatest`, `least`, `split_part`, `date_format`, `from_unixtime`, `to_hex`, `uuid` and others
/// are missing on purpose: the engine has these names with another meaning.
pub const ALLOWED: [Allowed; 96] = {
    use Role::{Aggregate, Scalar, Window};
    [
        ("abs", Scalar, 1, 1),
        ("acos", Scalar, 1, 1),
        ("approx_distinct", Aggregate, 1, 1),
        ("approx_percentile", Aggregate, 2, 2),
        ("array_agg", Aggregate, 1, 1),
        ("asin", Scalar, 1, 1),
        ("atan", Scalar, 1, 1),
        ("atan2", Scalar, 2, 2),
        ("avg", Aggregate, 1, 1),
        ("bool_and", Aggregate, 1, 1),
        ("bool_or", Aggregate, 1, 1),
        ("cbrt", Scalar, 1, 1),
        ("ceil", Scalar, 1, 1),
        ("ceiling", Scalar, 1, 1),
        ("chr", Scalar, 1, 1),
        ("coalesce", Scalar, 2, MANY),
        ("concat", Scalar, 2, MANY),
        ("concat_ws", Scalar, 2, MANY),
        ("corr", Aggregate, 2, 2),
        ("cos", Scalar, 1, 1),
        ("cosh", Scalar, 1, 1),
        ("count", Aggregate, 0, 1),
        ("covar_pop", Aggregate, 2, 2),
        ("covar_samp", Aggregate, 2, 2),
        ("cume_dist", Window, 0, 0),
        ("current_date", Scalar, 0, 0),
        ("current_timestamp", Scalar, 0, 0),
        ("date_trunc", Scalar, 2, 2),
        ("day", Scalar, 1, 1),
        ("day_of_month", Scalar, 1, 1),
        ("degrees", Scalar, 1, 1),
        ("dense_rank", Window, 0, 0),
        ("every", Aggregate, 1, 1),
        ("exp", Scalar, 1, 1),
        ("first_value", Window, 1, 1),
        ("floor", Scalar, 1, 1),
        ("hour", Scalar, 1, 1),
        ("if", Scalar, 2, 3),
        ("is_finite", Scalar, 1, 1),
        ("is_nan", Scalar, 1, 1),
        ("lag", Window, 1, 3),
        ("last_value", Window, 1, 1),
        ("lead", Window, 1, 3),
        ("length", Scalar, 1, 1),
        ("levenshtein_distance", Scalar, 2, 2),
        ("ln", Scalar, 1, 1),
        ("log", Scalar, 2, 2),
        ("log10", Scalar, 1, 1),
        ("log2", Scalar, 1, 1),
        ("lower", Scalar, 1, 1),
        ("lpad", Scalar, 3, 3),
        ("ltrim", Scalar, 1, 2),
        ("max", Aggregate, 1, 1),
        ("min", Aggregate, 1, 1),
        ("minute", Scalar, 1, 1),
        ("mod", Scalar, 2, 2),
        ("month", Scalar, 1, 1),
        ("now", Scalar, 0, 0),
        ("nth_value", Window, 2, 2),
        ("ntile", Window, 1, 1),
        ("nullif", Scalar, 2, 2),
        ("percent_rank", Window, 0, 0),
        ("pi", Scalar, 0, 0),
        ("pow", Scalar, 2, 2),
        ("power", Scalar, 2, 2),
        ("quarter", Scalar, 1, 1),
        ("radians", Scalar, 1, 1),
        ("random", Scalar, 0, 0),
        ("rank", Window, 0, 0),
        ("regexp_count", Scalar, 2, 2),
        ("regexp_like", Scalar, 2, 2),
        ("regexp_replace", Scalar, 2, 3),
        ("replace", Scalar, 3, 3),
        ("reverse", Scalar, 1, 1),
        ("round", Scalar, 1, 2),
        ("row_number", Window, 0, 0),
        ("rpad", Scalar, 3, 3),
        ("rtrim", Scalar, 1, 2),
        ("second", Scalar, 1, 1),
        ("sin", Scalar, 1, 1),
        ("sinh", Scalar, 1, 1),
        ("sqrt", Scalar, 1, 1),
        ("starts_with", Scalar, 2, 2),
        ("stddev", Aggregate, 1, 1),
        ("stddev_pop", Aggregate, 1, 1),
        ("stddev_samp", Aggregate, 1, 1),
        ("strpos", Scalar, 2, 2),
        ("sum", Aggregate, 1, 1),
        ("tan", Scalar, 1, 1),
        ("tanh", Scalar, 1, 1),
        ("translate", Scalar, 3, 3),
        ("upper", Scalar, 1, 1),
        ("var_pop", Aggregate, 1, 1),
        ("var_samp", Aggregate, 1, 1),
        ("week", Scalar, 1, 1),
        ("year", Scalar, 1, 1),
    ]
};

/// Adds what statements are rewritten to.
pub fn register(context: &SessionContext) {
    context.register_udf(semantics::athena_text());
}

/// Whether a call is allowed; the error is in Athena's words.
pub fn check(function: &Function) -> Result<(), String> {
    let name = dotted(&function.name).to_lowercase();
    let at = function.name.0.first().and_then(|part| part.as_ident());
    let at = at.map_or_else(|| "line 1:1".to_owned(), |ident| position(ident.span.start));
    let Some((_, role, least, most)) = ALLOWED.iter().find(|(allowed, ..)| *allowed == name) else {
        return Err(if is_trinos(&name) {
            not_supported(&at, &format!("the function '{name}'"))
        } else {
            format!("FUNCTION_NOT_FOUND: {at}: Function '{name}' not registered")
        });
    };
    let (arguments, clauses) = match &function.args {
        FunctionArguments::None => (&[][..], 0),
        FunctionArguments::List(list) => (list.args.as_slice(), list.clauses.len()),
        FunctionArguments::Subquery(_) => return Err(not_supported(&at, "a query as argument")),
    };
    if !(*least..=*most).contains(&arguments.len()) {
        let what = format!("'{name}' with {} arguments", arguments.len());
        return Err(not_supported(&at, &what));
    }
    let plain = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) => true,
        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => name == "count",
        _ => false,
    };
    let odd = function.uses_odbc_syntax
        || !function.within_group.is_empty()
        || !matches!(function.parameters, FunctionArguments::None)
        || !arguments.iter().all(plain)
        || (clauses > 0 && *role == Role::Scalar);
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
        Role::Aggregate if name == "approx_percentile" && function.over.is_some() => {
            Err(not_supported(&at, "'approx_percentile' as a window"))
        }
        Role::Scalar | Role::Aggregate => check_literals(&name, arguments),
        Role::Window => Ok(()),
    }
}

fn not_supported(at: &str, what: &str) -> String {
    format!("NOT_SUPPORTED: {at}: the embedded cloud does not implement {what} of Athena")
}

/// Whether Trino has a function of this name.
pub fn is_trinos(name: &str) -> bool {
    let names = TRINO.lines().filter(|line| !line.starts_with('#'));
    name.starts_with("st_") || names.flat_map(str::split_whitespace).any(|known| known == name)
}

/// Arguments whose value decides whether both engines agree must be literals.
fn check_literals(name: &str, arguments: &[FunctionArg]) -> Result<(), String> {
    let text = |index: usize| match argument(arguments, index) {
        Some(Expr::Value(value)) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.as_str()),
            _ => None,
        },
        _ => None,
    };
    match name {
        "regexp_replace" if arguments.len() == 3 => match text(2) {
            Some(replacement) if !replacement.contains(['$', '\\']) => Ok(()),
            _ => Err(not_supported("line 1:1", "'regexp_replace' with groups in its replacement")),
        },
        "approx_percentile" => match argument(arguments, 1) {
            Some(share) if is_share(share) => Ok(()),
            _ => Err(not_supported("line 1:1", "'approx_percentile' of anything but one share")),
        },
        "lpad" | "rpad" => match argument(arguments, 1).and_then(whole_number) {
            Some(size) if size <= PADDED_CHARACTERS_MAX => Ok(()),
            _ => Err(not_supported(
                "line 1:1",
                &format!(
                    "'{name}' to anything but a number of at most {PADDED_CHARACTERS_MAX} \
                     characters"
                ),
            )),
        },
        "date_trunc" => {
            let units = ["second", "minute", "hour", "day", "week", "month", "quarter", "year"];
            match text(0) {
                Some(unit) if units.contains(&unit.to_lowercase().as_str()) => Ok(()),
                _ => Err(not_supported("line 1:1", "'date_trunc' to this unit")),
            }
        }
        _ => Ok(()),
    }
}

fn argument(arguments: &[FunctionArg], index: usize) -> Option<&Expr> {
    match arguments.get(index)? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    }
}

fn whole_number(expression: &Expr) -> Option<u64> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// A number from 0 to 1.
fn is_share(expression: &Expr) -> bool {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) => {
                digits.parse().is_ok_and(|share: f64| (0.0..=1.0).contains(&share))
            }
            _ => false,
        },
        _ => false,
    }
}

/// `substr` counts from the end for negative starts in Trino, and from before the text on the
/// engine.
pub fn check_start(start: &Expr) -> Result<(), String> {
    let positive = whole_number(start).is_some_and(|n| n > 0);
    if positive {
        return Ok(());
    }
    Err(not_supported("line 1:1", "'substr' from anything but a positive number"))
}

/// Puts in the place of an expression what means the same on the engine.
pub fn rewrite(expression: &mut Expr) {
    let rewritten = match expression {
        Expr::Function(function) => rewrite_function(function),
        Expr::Trim { expr, trim_where, trim_what, .. } => {
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            };
            let what = trim_what.as_deref().cloned().unwrap_or_else(|| string(WHITE_SPACE));
            Some(call(name, vec![(**expr).clone(), what]))
        }
        Expr::Position { .. } | Expr::Extract { .. } => {
            Some(cast(expression.clone(), DataType::BigInt(None)))
        }
        _ => None,
    };
    if let Some(rewritten) = rewritten {
        *expression = rewritten;
    }
}

fn rewrite_function(function: &mut Function) -> Option<Expr> {
    let name = dotted(&function.name).to_lowercase();
    let renamed = match name.as_str() {
        "every" => Some("bool_and"),
        "is_nan" => Some("isnan"),
        "ceiling" => Some("ceil"),
        _ => None,
    };
    if let Some(renamed) = renamed {
        function.name = ObjectName::from(vec![Ident::new(renamed)]);
        return None;
    }
    if name == "approx_percentile" {
        rewrite_percentile(function);
        return None;
    }
    let FunctionArguments::List(list) = &function.args else { return None };
    let mut arguments: Vec<Expr> =
        (0..list.args.len()).filter_map(|i| argument(&list.args, i).cloned()).collect();
    if function.over.is_some() || arguments.len() != list.args.len() || arguments.is_empty() {
        return None;
    }
    let field = match name.as_str() {
        "year" => Some(DateTimeField::Year),
        "quarter" => Some(DateTimeField::Quarter),
        "month" => Some(DateTimeField::Month),
        "week" => Some(DateTimeField::Week(None)),
        "day" | "day_of_month" => Some(DateTimeField::Day),
        "hour" => Some(DateTimeField::Hour),
        "minute" => Some(DateTimeField::Minute),
        "second" => Some(DateTimeField::Second),
        _ => None,
    };
    if let Some(field) = field {
        let expr = Box::new(arguments.swap_remove(0));
        let extracted = Expr::Extract { field, syntax: ExtractSyntax::From, expr };
        return Some(cast(extracted, DataType::BigInt(None)));
    }
    match name.as_str() {
        // Trino counts in bigint.
        "length" | "strpos" | "levenshtein_distance" | "regexp_count" => {
            let counted = if name == "levenshtein_distance" { "levenshtein" } else { &name };
            Some(cast(call(counted, arguments), DataType::BigInt(None)))
        }
        // A NULL among the arguments makes the result NULL, which only the operator does here.
        "concat" => arguments.into_iter().reduce(|l, r| binary(l, BinaryOperator::StringConcat, r)),
        "mod" => arguments.into_iter().reduce(|l, r| binary(l, BinaryOperator::Modulo, r)),
        // NaN is larger than every number here, and not comparable there.
        "is_finite" => {
            let size = call("abs", arguments.into_iter().map(double).collect());
            let largest = Value::Number(format!("{:E}", f64::MAX), false);
            Some(binary(size, BinaryOperator::LtEq, Expr::Value(largest.into())))
        }
        // Trino's power is of doubles only.
        "pow" | "power" => Some(call("power", arguments.into_iter().map(double).collect())),
        "ltrim" | "rtrim" if arguments.len() == 1 => {
            arguments.push(string(WHITE_SPACE));
            Some(call(&name, arguments))
        }
        // Trino replaces every match.
        "regexp_replace" => {
            arguments.resize(3, string(""));
            arguments.push(string("g"));
            Some(call(&name, arguments))
        }
        "if" => {
            let mut arguments = arguments.into_iter();
            let (condition, result) = (arguments.next()?, arguments.next()?);
            Some(Expr::Case {
                case_token: AttachedToken::empty(),
                end_token: AttachedToken::empty(),
                operand: None,
                conditions: vec![CaseWhen { condition, result }],
                else_result: arguments.next().map(Box::new),
            })
        }
        _ => None,
    }
}

/// The engine has the values behind `WITHIN GROUP`.
fn rewrite_percentile(function: &mut Function) {
    function.name = ObjectName::from(vec![Ident::new(PERCENTILE)]);
    let FunctionArguments::List(list) = &mut function.args else { return };
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(values)) = list.args.remove(0) else { return };
    let options = OrderByOptions { asc: None, nulls_first: None };
    function.within_group = vec![OrderByExpr { expr: values, options, with_fill: None }];
}

fn string(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

fn double(expression: Expr) -> Expr {
    cast(expression, DataType::Double(ExactNumberInfo::None))
}

fn cast(expression: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expression),
        data_type,
        array: false,
        format: None,
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    let operand = |e| Box::new(Expr::Nested(Box::new(e)));
    Expr::BinaryOp { left: operand(left), op, right: operand(right) }
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e)));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    /// What a statement with this expression says.
    fn said(expression: &str) -> Result<(), String> {
        let sql = format!("SELECT {expression}");
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(&sql).expect("tokens");
        super::super::dialect::to_engine(&mut parser.parse_query().expect("a query"))
    }

    fn registered() -> BTreeSet<String> {
        let context = SessionContext::new();
        let state = context.state();
        let scalars = state.scalar_functions().keys().cloned();
        let aggregates = state.aggregate_functions().keys().cloned();
        scalars.chain(aggregates).chain(state.window_functions().keys().cloned()).collect()
    }

    /// Allowed functions that are something else on the engine after rewriting.
    const REWRITTEN: [&str; 17] = [
        "approx_percentile",
        "ceiling",
        "day",
        "day_of_month",
        "every",
        "hour",
        "if",
        "is_finite",
        "is_nan",
        "levenshtein_distance",
        "minute",
        "mod",
        "month",
        "quarter",
        "second",
        "week",
        "year",
    ];

    #[test]
    fn every_allowed_function_is_trinos_and_the_engines() {
        let registered = registered();
        for (name, ..) in ALLOWED {
            assert!(is_trinos(name), "{name}");
            assert!(registered.contains(name) != REWRITTEN.contains(&name), "{name}");
        }
        let sorted = ALLOWED.is_sorted_by_key(|(name, ..)| *name);
        assert!(sorted, "in the order of their names");
    }

    #[test]
    fn what_only_the_engine_has_is_not_registered() {
        let mut refused = 0;
        for name in registered().iter().filter(|name| !is_trinos(name)) {
            if let Err(message) = said(&format!("\"{name}\"(1)")) {
                assert!(
                    message.contains(&format!("Function '{name}' not registered")),
                    "{message}"
                );
                refused += 1;
            } else {
                panic!("{name} is no function of Trino and is taken");
            }
        }
        assert!(refused > 50, "only {refused} functions were tried");
    }

    #[test]
    fn what_means_something_else_is_refused_by_name() {
        for expression in [
            "greatest(1, 2)",
            "date_format(x, '%Y')",
            "split_part('a', 'b', 1)",
            "log(2)",
            "lpad('a', 2000000000, 'b')",
            "regexp_replace('a', '(b)', '$1')",
            "substr('a', x)",
            "sum(x, 1)",
            "approx_percentile(x, y)",
            "approx_percentile(x, 1.5)",
            "approx_percentile(x, 0.5) OVER ()",
            "lower('a') OVER ()",
        ] {
            let message = said(expression).expect_err(expression);
            assert!(
                message.starts_with("NOT_SUPPORTED") || message.starts_with("FUNCTION_NOT_WINDOW"),
                "{message}"
            );
        }
        for expression in [
            "sum(x)",
            "approx_percentile(x, 0.5)",
            "count(*)",
            "count(DISTINCT x)",
            "current_date",
            "lag(x) OVER ()",
        ] {
            assert_eq!(said(expression), Ok(()), "{expression}");
        }
    }
}
