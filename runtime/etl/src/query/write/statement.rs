//! Statements that write rows, read.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use steppe_wire::query::{Needs, QueryFailure, Statement};

use super::layout::Options;
use crate::query::failure::malformed;
use crate::query::hive::words::{TableName, Words};
use crate::query::statement::{Select, is_space};

type Read<T> = Result<T, QueryFailure>;

/// Rows that are written somewhere.
pub struct Write {
    /// The rows.
    pub select: Select,
    /// Where they go.
    pub what: What,
}

/// Where rows go.
pub enum What {
    /// `CREATE TABLE … AS`.
    NewTable(NewTable),
    /// `INSERT INTO`.
    Insert(Insert),
    /// `UNLOAD`.
    Unload(Unload),
}

/// A table that is made of rows.
pub struct NewTable {
    /// Its name.
    pub table: TableName,
    /// No error when it is there.
    pub if_not_exists: bool,
    /// Names of its columns, when they are not the rows'.
    pub columns: Option<Vec<String>>,
    /// What it is.
    pub comment: Option<String>,
    /// How it is stored.
    pub options: Options,
    /// Whether it gets the rows.
    pub with_data: bool,
}

/// Rows for a table.
pub struct Insert {
    /// Its name.
    pub table: TableName,
    /// The columns that they are for.
    pub columns: Option<Vec<String>>,
}

/// Rows for a place.
pub struct Unload {
    /// `s3://bucket/prefix`.
    pub to: String,
    /// How they are stored.
    pub options: Options,
}

impl Write {
    /// Reads a statement.
    pub fn parse(kind: Statement, tokens: &[TokenWithSpan], database: &str) -> Read<Self> {
        let mut words = Words::new(tokens);
        match kind {
            Statement::CreateTableAsSelect => new_table(&mut words, database),
            Statement::Insert => insert(&mut words, database),
            _ => unload(&mut words, database),
        }
    }

    /// What of the catalogue it reads.
    pub fn needs(&self) -> Needs {
        self.select.needs()
    }
}

fn new_table(words: &mut Words<'_>, database: &str) -> Read<Write> {
    words.expect(&["CREATE", "TABLE"])?;
    let if_not_exists = words.if_exists(true)?;
    let table = words.table(database)?;
    let is_listed = words.is_next(&Token::LParen);
    let columns = is_listed.then(|| words.list(Words::name)).transpose()?;
    let comment = words.keyword(&["COMMENT"]).then(|| words.expect_text()).transpose()?;
    let options = if words.keyword(&["WITH"]) { words.options()? } else { vec![] };
    let options = Options::of_table(options)?;
    words.expect(&["AS"])?;
    let mut rest = words.rest();
    let mut with_data = true;
    if ends_with(&rest, &["WITH", "NO", "DATA"]) {
        rest.truncate(rest.len() - 3);
        with_data = false;
    } else if ends_with(&rest, &["WITH", "DATA"]) {
        rest.truncate(rest.len() - 2);
    }
    let select = Select::parse(rest, database)?;
    let new = NewTable { table, if_not_exists, columns, comment, options, with_data };
    Ok(Write { select, what: What::NewTable(new) })
}

fn ends_with(tokens: &[TokenWithSpan], words: &[&str]) -> bool {
    let Some(start) = tokens.len().checked_sub(words.len()) else { return false };
    tokens[start..].iter().zip(words).all(|(token, wanted)| match &token.token {
        Token::Word(word) => word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    })
}

fn insert(words: &mut Words<'_>, database: &str) -> Read<Write> {
    words.expect(&["INSERT", "INTO"])?;
    words.keyword(&["TABLE"]);
    let table = words.table(database)?;
    let is_listed = words.is_next(&Token::LParen)
        && !words.is_keyword_at(1, &["SELECT", "WITH", "VALUES", "TABLE"])
        && !words.is_next_at(1, &Token::LParen);
    let columns = is_listed.then(|| words.list(Words::name)).transpose()?;
    let select = Select::parse(words.rest(), database)?;
    Ok(Write { select, what: What::Insert(Insert { table, columns }) })
}

fn unload(words: &mut Words<'_>, database: &str) -> Read<Write> {
    words.expect(&["UNLOAD"])?;
    if !words.is_next(&Token::LParen) {
        return Err(words.unexpected("'('"));
    }
    let rest: Vec<TokenWithSpan> = words.rest().into_iter().filter(|t| !is_space(t)).collect();
    let mut depth = 0_usize;
    let end = rest.iter().position(|token| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let end = end.ok_or_else(|| malformed("line 1:1: mismatched input '<EOF>'. Expecting: ')'"))?;
    let select = Select::parse(rest[1..end].to_vec(), database)?;
    let mut words = Words::new(&rest[end + 1..]);
    words.expect(&["TO"])?;
    let to = words.expect_text()?;
    let options = if words.keyword(&["WITH"]) { words.options()? } else { vec![] };
    words.end()?;
    let options = Options::of_unload(options)?;
    Ok(Write { select, what: What::Unload(Unload { to, options }) })
}
