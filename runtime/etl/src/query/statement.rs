//! One statement, read: what it needs of the catalogue, and what runs.

use datafusion::sql::parser::Statement as PlannerStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, SelectItem, SetExpr};
use datafusion::sql::sqlparser::ast::{Query as AstQuery, Statement as Ast};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{
    Location, Token, TokenWithSpan, Tokenizer, TokenizerError,
};
use steppe_wire::query::{Listing, Needs, Query, QueryFailure, Statement};

use super::catalogue::CatalogueListing;
use super::create_view::NewView;
use super::dialect;
use super::explain::Explain;
use super::failure::{failed, malformed};
use super::hive::statement::Hive;
use super::hive::words::Words;
use super::parser::{self, Trino};
use super::write::Write;
use super::{CATALOG, DEFAULT_DATABASE};

/// Parentheses in parentheses; the parser refuses more before its stack is at an end.
const NESTING_MAX: usize = 50;

/// A statement that can be run.
pub enum Parsed {
    /// Rows out of tables.
    Select(Box<Select>),
    /// What the catalogue has.
    Listing(CatalogueListing),
    /// How rows are made.
    Explain(Box<Explain>),
    /// Rows into files.
    Write(Box<Write>),
    /// A view of rows.
    CreateView(Box<NewView>),
    /// A statement that is kept.
    Prepare(String, String),
    /// What Hive does.
    Hive(Hive),
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
        let database = database_of(query);
        let database = database.as_str();
        let kind = Statement::of(sql);
        let filled = |tokens| fill_in(tokens, &parameters(query)?);
        match kind {
            Statement::Select => {
                Ok(Self::Select(Box::new(Select::parse(filled(tokens)?, database)?)))
            }
            Statement::Explain => {
                Ok(Self::Explain(Box::new(Explain::parse(&filled(tokens)?, database)?)))
            }
            Statement::CreateTableAsSelect | Statement::Insert | Statement::Unload => {
                Ok(Self::Write(Box::new(Write::parse(kind, &filled(tokens)?, database)?)))
            }
            Statement::CreateView => {
                Ok(Self::CreateView(Box::new(NewView::parse(&tokens, sql, database)?)))
            }
            Statement::Prepare => prepare(&tokens, sql, database),
            Statement::ShowDatabases | Statement::ShowTables | Statement::ShowColumns => {
                CatalogueListing::parse(kind, &tokens, database.to_owned()).map(Self::Listing)
            }
            // With more than a name it is told by what Glue has.
            Statement::Describe => {
                match CatalogueListing::parse(kind, &tokens, database.to_owned()) {
                    Ok(listing) => Ok(Self::Listing(listing)),
                    Err(error) => {
                        Hive::parse(kind, &tokens, database).map(Self::Hive).map_err(|_| error)
                    }
                }
            }
            Statement::Other => Err(other(&tokens)),
            hive => Hive::parse(hive, &tokens, database).map(Self::Hive),
        }
    }

    /// What of the catalogue it reads.
    pub fn needs(&self) -> Needs {
        match self {
            Self::Select(select) => select.needs(),
            Self::Listing(listing) => listing.needs(),
            Self::Explain(explain) => explain.select.needs(),
            Self::Write(write) => write.needs(),
            Self::CreateView(view) => view.select.needs(),
            Self::Prepare(..) | Self::Hive(_) => Needs::default(),
        }
    }
}

/// The database of names without one. Some clients put it in backquotes.
pub fn database_of(query: &Query) -> String {
    let named = query.database.as_deref().map(|name| name.trim_matches('`').to_lowercase());
    named.unwrap_or_else(|| DEFAULT_DATABASE.to_owned())
}

/// What stands for `?`: values of the request, or expressions behind `USING`.
fn parameters(query: &Query) -> Result<Vec<String>, QueryFailure> {
    let Some(using) = &query.using else { return Ok(query.parameters.clone()) };
    let (mut values, mut value, mut depth) = (Vec::new(), String::new(), 0_usize);
    for token in tokenize(using)? {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Comma if depth == 0 => {
                values.push(std::mem::take(&mut value));
                continue;
            }
            Token::EOF => continue,
            _ => {}
        }
        value.push_str(&token.token.to_string());
    }
    values.push(value);
    Ok(values.into_iter().map(|value| value.trim().to_owned()).collect())
}

/// A statement that is none of those that are run.
fn other(tokens: &[TokenWithSpan]) -> QueryFailure {
    let mut words = tokens.iter().filter_map(|token| match &token.token {
        Token::Word(word) => Some(word.value.to_uppercase()),
        _ => None,
    });
    match words.next().as_deref() {
        Some("UPDATE" | "DELETE" | "MERGE") => failed(
            "NOT_SUPPORTED: Modifying Hive table rows is only supported for transactional tables",
        ),
        Some(word @ ("OPTIMIZE" | "VACUUM")) => failed(format!(
            "NOT_SUPPORTED: {word} is only supported for Iceberg tables, which the embedded cloud \
             has not"
        )),
        Some(word) if dialect::is_athenas_statement(word) => {
            malformed(format!("The embedded cloud does not implement this form of {word}."))
        }
        _ => malformed("Queries of this type are not supported"),
    }
}

/// `PREPARE name FROM statement`.
fn prepare(tokens: &[TokenWithSpan], sql: &str, database: &str) -> Result<Parsed, QueryFailure> {
    let mut words = Words::new(tokens);
    words.expect(&["PREPARE"])?;
    let name = words.verbatim_name()?;
    words.expect(&["FROM"])?;
    let inner = text_of(&words.rest(), sql);
    // It must be a statement, also with values that are not there yet.
    let places = words.rest().iter().filter(|token| is_placeholder(token)).count();
    let tried = Query {
        sql: inner.clone(),
        parameters: vec!["NULL".to_owned(); places],
        using: None,
        database: Some(database.to_owned()),
        output: String::new(),
        id: String::new(),
        scanned_bytes_max: None,
    };
    Parsed::read(&tried)?;
    Ok(Parsed::Prepare(name, inner))
}

/// The statement from the first of these tokens on, as it is written.
pub fn text_of(tokens: &[TokenWithSpan], sql: &str) -> String {
    let Some(start) = tokens.first().map(|token| token.span.start) else { return String::new() };
    let line = usize::try_from(start.line).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(start.column).unwrap_or(1).saturating_sub(1);
    let mut lines = sql.split_inclusive('\n').skip(line);
    let first: String = lines.next().unwrap_or_default().chars().skip(column).collect();
    lines.fold(first, |text, line| text + line).trim_end().to_owned()
}

impl Select {
    /// Reads a statement of its own.
    pub fn read(sql: &str, database: &str) -> Result<Self, QueryFailure> {
        let sql = sql.trim_end().trim_end_matches(';');
        let tokens = tokenize(sql)?;
        refuse_several(&tokens, sql)?;
        Self::parse(tokens, database)
    }

    /// Of these tokens; `database` is that of names without one.
    pub fn parse(tokens: Vec<TokenWithSpan>, database: &str) -> Result<Self, QueryFailure> {
        refuse_backquotes(&tokens)?;
        let tokens = parser::with_rows_in_parentheses(parser::without_group_by_all(tokens));
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

    /// What of the catalogue it reads.
    pub fn needs(&self) -> Needs {
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
    let tokens = Tokenizer::new(&Trino, sql).tokenize_with_location();
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
    let mut parser =
        Parser::new(&Trino).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(tokens);
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
