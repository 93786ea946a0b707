//! One statement, read: what it needs of the catalogue, and what runs.

use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, SelectItem, SetExpr};
use datafusion::sql::sqlparser::ast::{Query as AstQuery, Statement as Ast};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{
    Location, Token, TokenWithSpan, Tokenizer, TokenizerError,
};
use steppe_wire::query::{Listing, Needs, Query, QueryFailure, Statement};

use super::catalogue::CatalogueListing;
use super::dialect;
use super::failure::{failed, malformed};
use super::{CATALOG, DEFAULT_DATABASE};

/// Parentheses in parentheses; the parser refuses more before its stack is at an end.
const NESTING_MAX: usize = 50;

/// A statement that can be run.
pub enum Parsed {
    /// Rows out of tables.
    Select(Box<Select>),
    /// What the catalogue has.
    Listing(CatalogueListing),
}

/// A `SELECT`, `WITH`, `VALUES` or `TABLE`.
pub struct Select {
    /// As it was written, for names and positions.
    tokens: Vec<TokenWithSpan>,
    written: Box<AstQuery>,
    statement: PlannerStatement,
    tables: Vec<(String, String)>,
}

impl Parsed {
    /// Reads the statement of a query.
    pub fn read(query: &Query) -> Result<Self, QueryFailure> {
        let sql = query.sql.trim_end().trim_end_matches(';');
        let tokens = tokenize(sql)?;
        refuse_several(&tokens, sql)?;
        let database = query.database.as_deref().unwrap_or(DEFAULT_DATABASE).to_lowercase();
        match Statement::of(sql) {
            Statement::Select => {
                let tokens = fill_in(tokens, &query.parameters)?;
                Ok(Self::Select(Box::new(Select::parse(tokens, &database)?)))
            }
            Statement::Other => {
                let first = tokens.iter().find(|t| !is_space(t));
                match first.map(|t| &t.token) {
                    Some(Token::Word(word)) if dialect::is_athenas_statement(&word.value) => {
                        Err(malformed(format!(
                            "The embedded cloud does not implement {} statements; it reads with \
                             SELECT, SHOW DATABASES, SHOW TABLES, SHOW COLUMNS and DESCRIBE.",
                            word.value.to_uppercase()
                        )))
                    }
                    _ => Err(malformed("Queries of this type are not supported")),
                }
            }
            listing => CatalogueListing::parse(listing, &tokens, database).map(Self::Listing),
        }
    }

    /// What of the catalogue it reads.
    pub fn needs(&self) -> Needs {
        match self {
            Self::Select(select) => select.needs(),
            Self::Listing(listing) => listing.needs(),
        }
    }
}

impl Select {
    fn parse(tokens: Vec<TokenWithSpan>, database: &str) -> Result<Self, QueryFailure> {
        refuse_backquotes(&tokens)?;
        let written = parse_query(tokens.clone())?;
        // Trino finds names whether quoted or not in any case; the engine in lower case only.
        let lowered = tokens.iter().cloned().map(lower).collect();
        let mut parsed = parse_query(lowered)?;
        if let Err(message) = dialect::to_engine(&mut parsed) {
            // Dropping a statement that is nested too deeply would recurse as deeply.
            std::mem::forget((parsed, written));
            return Err(failed(message));
        }
        let statement = PlannerStatement::Statement(Box::new(Ast::Query(parsed)));
        let (references, _ctes) = resolve_table_references(&statement, true)
            .map_err(|e| malformed(e.strip_backtrace()))?;
        let mut tables = Vec::new();
        for reference in references {
            let reference = reference.resolve(CATALOG, database);
            if &*reference.catalog != CATALOG {
                let what = format!("Catalog '{}' not found", reference.catalog);
                return Err(failed(format!("CATALOG_NOT_FOUND: line 1:1: {what}")));
            }
            tables.push((reference.schema.to_string(), reference.table.to_string()));
        }
        Ok(Self { tokens, written, statement, tables })
    }

    fn needs(&self) -> Needs {
        let listed = |(database, _): &&(String, String)| database == "information_schema";
        let listing =
            if self.tables.iter().any(|t| listed(&t)) { Listing::All } else { Listing::Nothing };
        let tables = self.tables.iter().filter(|t| !listed(t)).cloned().collect();
        Needs { tables, listing }
    }

    /// What the engine plans.
    pub fn statement(&self) -> PlannerStatement {
        self.statement.clone()
    }

    /// Tables by database and name.
    pub fn tables(&self) -> &[(String, String)] {
        &self.tables
    }

    /// `line 1:8`, where a name stands in the statement for the first time.
    pub fn position_of(&self, name: &str) -> String {
        let found = self.tokens.iter().find(|t| match &t.token {
            Token::Word(word) => word.value.eq_ignore_ascii_case(name),
            _ => false,
        });
        position(found.map_or(Location::new(1, 1), |t| t.span.start))
    }

    /// Names of the columns as Trino gives them: as written, and `_col0` for an expression.
    /// `planned` are the engine's names, which hold for what `*` stands for.
    pub fn column_names(&self, planned: impl Iterator<Item = String>) -> Vec<String> {
        let mut names: Vec<String> = planned.collect();
        let items = match leftmost(&self.written.body) {
            SetExpr::Select(select) => &select.projection,
            SetExpr::Values(_) => {
                return (0..names.len()).map(|index| format!("_col{index}")).collect();
            }
            _ => return names,
        };
        let is_star = |item: &&SelectItem| {
            matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
        };
        let stars = items.iter().filter(is_star).count();
        let count = names.len();
        for (index, item) in items.iter().enumerate() {
            // With two stars nobody knows where what is between them stands.
            let behind = items[..index].iter().filter(is_star).count();
            let column = match (stars, behind) {
                (_, 0) => Some(index),
                (_, behind) if behind == stars => (count + index).checked_sub(items.len()),
                _ => None,
            };
            let Some(name) = column.and_then(|c| names.get_mut(c)) else { continue };
            match item {
                SelectItem::ExprWithAlias { alias, .. } => *name = alias.value.clone(),
                SelectItem::UnnamedExpr(expression) => {
                    let own = own_name(expression).map(|ident| ident.value.clone());
                    *name = own.unwrap_or_else(|| format!("_col{}", column.unwrap_or(index)));
                }
                _ => {}
            }
        }
        names
    }
}

fn leftmost(mut body: &SetExpr) -> &SetExpr {
    loop {
        body = match body {
            SetExpr::SetOperation { left, .. } => left,
            SetExpr::Query(query) => &query.body,
            other => return other,
        };
    }
}

/// The name of a column that is only named.
pub fn own_name(expression: &Expr) -> Option<&Ident> {
    match expression {
        Expr::Identifier(ident) => Some(ident),
        Expr::CompoundIdentifier(parts) => parts.last(),
        Expr::Nested(inner) => own_name(inner),
        _ => None,
    }
}

/// `line 1:8`.
pub fn position(at: Location) -> String {
    format!("line {}:{}", at.line.max(1), at.column.max(1))
}

/// The name of a table or function as one text.
pub fn dotted(name: &ObjectName) -> String {
    let parts = name
        .0
        .iter()
        .map(|part| part.as_ident().map_or_else(|| part.to_string(), |ident| ident.value.clone()));
    parts.collect::<Vec<_>>().join(".")
}

/// White space and comments.
pub fn is_space(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_) | Token::EOF)
}

fn tokenize(sql: &str) -> Result<Vec<TokenWithSpan>, QueryFailure> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
    tokens.map_err(|TokenizerError { message, location }| {
        malformed(format!("{}: {message}", position(location)))
    })
}

fn refuse_several(tokens: &[TokenWithSpan], sql: &str) -> Result<(), QueryFailure> {
    if tokens.iter().any(|t| t.token == Token::SemiColon) {
        return Err(malformed(format!("Only one sql statement is allowed. Got: {sql}")));
    }
    Ok(())
}

/// Trino's grammar knows backquotes only to refuse them.
fn refuse_backquotes(tokens: &[TokenWithSpan]) -> Result<(), QueryFailure> {
    let backquoted = |t: &&TokenWithSpan| match &t.token {
        Token::Word(word) => word.quote_style == Some('`'),
        _ => false,
    };
    let Some(token) = tokens.iter().find(backquoted) else { return Ok(()) };
    Err(malformed(format!(
        "{}: backquoted identifiers are not supported; use double quotes to quote identifiers",
        position(token.span.start)
    )))
}

fn lower(mut token: TokenWithSpan) -> TokenWithSpan {
    if let Token::Word(word) = &mut token.token
        && word.quote_style.is_some()
    {
        word.value = word.value.to_lowercase();
    }
    token
}

/// Puts the values in the place of `?`. Values without any `?` are ignored, as Athena does.
fn fill_in(
    tokens: Vec<TokenWithSpan>,
    parameters: &[String],
) -> Result<Vec<TokenWithSpan>, QueryFailure> {
    let places = tokens.iter().filter(|t| is_placeholder(t)).count();
    if places != parameters.len() && places > 0 {
        return Err(failed(format!(
            "INVALID_PARAMETER_USAGE: line 1:1: Incorrect number of parameters: expected {places} \
             but found {}",
            parameters.len()
        )));
    }
    let mut values = parameters.iter();
    let mut filled = Vec::with_capacity(tokens.len());
    for token in tokens {
        match values.as_slice().first().filter(|_| is_placeholder(&token)) {
            Some(value) => {
                values.next();
                // In parentheses, as one value whatever stands around it.
                let literal = dialect::parameter(value)?;
                filled.extend(literal.into_iter().map(|t| TokenWithSpan::new(t, token.span)));
            }
            None => filled.push(token),
        }
    }
    Ok(filled)
}

fn is_placeholder(token: &TokenWithSpan) -> bool {
    matches!(&token.token, Token::Placeholder(text) if text == "?")
}

fn parse_query(tokens: Vec<TokenWithSpan>) -> Result<Box<AstQuery>, QueryFailure> {
    let mut parser = Parser::new(&GenericDialect {})
        .with_recursion_limit(NESTING_MAX)
        .with_tokens_with_locations(tokens);
    let parsed = parser.parse_query().and_then(|query| {
        let next = parser.peek_token();
        if next.token == Token::EOF { Ok(query) } else { parser.expected("end of statement", next) }
    });
    parsed.map_err(|error| match error {
        ParserError::RecursionLimitExceeded => {
            malformed("line 1:1: statement is too large (stack overflow while parsing)")
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
            malformed(syntax_error(&text))
        }
    })
}

/// `Expected: …, found: … at Line: 1, Column: 8` in Trino's order.
fn syntax_error(text: &str) -> String {
    let Some((what, place)) = text.rsplit_once(" at Line: ") else {
        return format!("line 1:1: {text}");
    };
    let (line, column) = place.split_once(", Column: ").unwrap_or((place, "1"));
    match what.strip_prefix("Expected: ").and_then(|w| w.rsplit_once(", found: ")) {
        Some((expected, found)) => {
            let found = if found == "EOF" { "<EOF>" } else { found };
            format!("line {line}:{column}: mismatched input '{found}'. Expecting: {expected}")
        }
        None => format!("line {line}:{column}: {what}"),
    }
}
