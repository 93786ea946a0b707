//! Trino's grammar where the parser of the engine's library has none: lambdas, types in `CAST`, and
//! `VALUES` without parentheses.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Value,
};
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::functions::cast::{CAST, TRY_CAST};

/// The keyword `VALUES` in one statement; with more it is left as it is.
const VALUES_MAX: usize = 150;

/// The dialect of statements.
#[derive(Debug)]
pub struct Trino;

macro_rules! as_generic {
    ($($name:ident),* $(,)?) => {
        $(fn $name(&self) -> bool {
            GenericDialect.$name()
        })*
    };
}

impl Dialect for Trino {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        GenericDialect.is_delimited_identifier_start(character)
    }

    fn is_identifier_start(&self, character: char) -> bool {
        GenericDialect.is_identifier_start(character)
    }

    fn is_identifier_part(&self, character: char) -> bool {
        GenericDialect.is_identifier_part(character)
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    as_generic!(
        supports_unicode_string_literal,
        supports_group_by_expr,
        supports_group_by_with_modifier,
        supports_left_associative_joins_without_parens,
        supports_connect_by,
        supports_match_recognize,
        supports_pipe_operator,
        supports_window_function_null_treatment_arg,
        supports_window_clause_named_window_reference,
        supports_select_wildcard_except,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_parens_around_table_factor,
        supports_values_as_table_factor,
        supports_limit_comma,
        supports_from_first_select,
        supports_projection_trailing_commas,
        supports_filter_during_aggregation,
        supports_select_wildcard_exclude,
        supports_select_wildcard_replace,
        supports_select_wildcard_ilike,
        supports_select_wildcard_rename,
        supports_nested_comments,
        supports_empty_projections,
        supports_prewhere,
        supports_limit_by,
        supports_settings,
        supports_select_format,
        supports_select_item_multi_column_alias,
    );

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let name = match &parser.peek_token_ref().token {
            Token::Word(word) if word.quote_style.is_none() => match word.keyword {
                Keyword::CAST => CAST,
                Keyword::TRY_CAST => TRY_CAST,
                _ => return None,
            },
            _ => return None,
        };
        (parser.peek_nth_token_ref(1).token == Token::LParen).then(|| parse_cast(parser, name))
    }
}

/// `CAST(x AS row(a integer))` as `"$cast"(x, 'row ( a integer )')`.
fn parse_cast(parser: &mut Parser, name: &str) -> Result<Expr, ParserError> {
    let word = parser.next_token();
    parser.expect_token(&Token::LParen)?;
    let inner = parser.parse_expr()?;
    parser.expect_keyword(Keyword::AS)?;
    let (mut depth, mut words) = (0usize, Vec::new());
    loop {
        let next = parser.peek_token_ref();
        match &next.token {
            Token::RParen if depth == 0 => break,
            Token::RParen => depth -= 1,
            Token::LParen => depth += 1,
            Token::EOF => return parser.expected("a type", next.clone()),
            _ => {}
        }
        words.push(parser.next_token().token.to_string());
    }
    if words.is_empty() {
        return parser.expected("a type", parser.peek_token());
    }
    parser.expect_token(&Token::RParen)?;
    let kind = Expr::Value(Value::SingleQuotedString(words.join(" ")).with_span(word.span));
    Ok(call(Ident::with_span(word.span, name), vec![inner, kind]))
}

/// A call of a function.
pub fn call(name: Ident, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e)));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident { quote_style: Some('"'), ..name }]),
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

/// Puts the parentheses around the rows of `VALUES 1, 2`, which the library's parser wants.
pub fn with_rows_in_parentheses(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let places: Vec<usize> =
        (0..tokens.len()).filter(|at| is_keyword(&tokens[*at], &[Keyword::VALUES])).collect();
    if places.is_empty() || places.len() > VALUES_MAX {
        return tokens;
    }
    let (mut before, mut after) = (vec![0usize; tokens.len()], vec![0usize; tokens.len()]);
    for place in places {
        for (first, last) in bare_rows(&tokens, place + 1) {
            before[first] += 1;
            after[last] += 1;
        }
    }
    let mut all = Vec::with_capacity(tokens.len());
    for (index, token) in tokens.into_iter().enumerate() {
        let span = token.span;
        all.extend((0..before[index]).map(|_| TokenWithSpan::new(Token::LParen, span)));
        all.push(token);
        all.extend((0..after[index]).map(|_| TokenWithSpan::new(Token::RParen, span)));
    }
    all
}

/// Leaves out the word that means nothing in `GROUP BY ALL a, b`.
pub fn without_group_by_all(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let words: Vec<usize> =
        (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    let is = |at: usize, keyword: Keyword| is_keyword(&tokens[at], &[keyword]);
    let ends = |token: &TokenWithSpan| {
        const ENDS: [Keyword; 7] = [
            Keyword::HAVING,
            Keyword::WINDOW,
            Keyword::ORDER,
            Keyword::LIMIT,
            Keyword::UNION,
            Keyword::INTERSECT,
            Keyword::EXCEPT,
        ];
        matches!(token.token, Token::EOF | Token::RParen) || is_keyword(token, &ENDS)
    };
    let dropped: Vec<usize> = words
        .windows(4)
        .filter(|four| {
            is(four[0], Keyword::GROUP) && is(four[1], Keyword::BY) && is(four[2], Keyword::ALL)
        })
        .filter(|four| !ends(&tokens[four[3]]))
        .map(|four| four[2])
        .collect();
    for at in dropped.into_iter().rev() {
        tokens.remove(at);
    }
    tokens
}

fn is_keyword(token: &TokenWithSpan, keywords: &[Keyword]) -> bool {
    match &token.token {
        Token::Word(word) => word.quote_style.is_none() && keywords.contains(&word.keyword),
        _ => false,
    }
}

/// First and last tokens of the rows behind `VALUES` that are one expression without parentheses.
fn bare_rows(tokens: &[TokenWithSpan], start: usize) -> Vec<(usize, usize)> {
    const ENDS: [Keyword; 7] = [
        Keyword::UNION,
        Keyword::INTERSECT,
        Keyword::EXCEPT,
        Keyword::ORDER,
        Keyword::LIMIT,
        Keyword::OFFSET,
        Keyword::FETCH,
    ];
    let (mut rows, mut row, mut depth) = (Vec::new(), Vec::new(), 0usize);
    // Where the parenthesis that the row begins with is closed.
    let mut closed = None;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        let ends = match &token.token {
            Token::Whitespace(_) => continue,
            Token::EOF => true,
            Token::RParen | Token::RBracket => depth == 0,
            _ => depth == 0 && is_keyword(token, &ENDS),
        };
        let comma = depth == 0 && token.token == Token::Comma;
        if ends || comma {
            if let (Some(first), Some(last)) = (row.first().copied(), row.last().copied())
                && !(opens(tokens, &row) && closed == Some(last))
            {
                rows.push((first, last));
            }
            (row, closed) = (Vec::new(), None);
            if ends {
                return rows;
            }
            continue;
        }
        row.push(at);
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => {
                depth -= 1;
                if depth == 0 && closed.is_none() {
                    closed = Some(at);
                }
            }
            _ => {}
        }
    }
    if let (Some(first), Some(last)) = (row.first().copied(), row.last().copied())
        && !(opens(tokens, &row) && closed == Some(last))
    {
        rows.push((first, last));
    }
    rows
}

/// Whether a row begins with `(` or `ROW(`.
fn opens(tokens: &[TokenWithSpan], row: &[usize]) -> bool {
    let token = |index: usize| row.get(index).map(|at| &tokens[*at]);
    let parenthesis = |index| token(index).is_some_and(|t| t.token == Token::LParen);
    parenthesis(0) || token(0).is_some_and(|t| is_keyword(t, &[Keyword::ROW])) && parenthesis(1)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn rows(sql: &str) -> String {
        let tokens = Tokenizer::new(&Trino, sql).tokenize_with_location().expect("tokens");
        let all = with_rows_in_parentheses(tokens);
        all.iter().map(|token| token.token.to_string()).collect()
    }

    #[test]
    fn rows_of_one_expression_get_parentheses() {
        assert_eq!(rows("VALUES 1, 2"), "VALUES (1), (2)");
        assert_eq!(rows("VALUES (1, 2), ROW(3, 4)"), "VALUES (1, 2), ROW(3, 4)");
        assert_eq!(rows("VALUES (1) + 2, f(3)"), "VALUES ((1) + 2), (f(3))");
        assert_eq!(
            rows("SELECT * FROM (VALUES ARRAY[1, 2], NULL) AS t(x)"),
            "SELECT * FROM (VALUES (ARRAY[1, 2]), (NULL)) AS t(x)"
        );
        assert_eq!(rows("VALUES 1 ORDER BY 1"), "VALUES (1) ORDER BY 1");
    }
}
