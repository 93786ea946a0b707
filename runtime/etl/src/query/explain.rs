//! `EXPLAIN`: the engine's own plan of a statement, or whether it is one.
//!
//! The plan is DataFusion's, not Trino's: its steps are what runs here. `ANALYZE` and other types
//! and formats are refused by name.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use steppe_wire::query::QueryFailure;

use super::failure::failed;
use super::hive::words::Words;
use super::lines::{Lines, text_column};
use super::statement::Select;

/// Column of the result.
const COLUMN: &str = "Query Plan";

/// A statement that is explained.
pub struct Explain {
    /// The statement.
    pub select: Select,
    /// Whether only its validity is asked for.
    validate: bool,
}

impl Explain {
    /// `EXPLAIN (TYPE LOGICAL, FORMAT TEXT) SELECT …`.
    pub fn parse(tokens: &[TokenWithSpan], database: &str) -> Result<Self, QueryFailure> {
        let mut words = Words::new(tokens);
        words.expect(&["EXPLAIN"])?;
        if words.keyword(&["ANALYZE"]) {
            return Err(failed("NOT_SUPPORTED: the embedded cloud has no EXPLAIN ANALYZE"));
        }
        let mut validate = false;
        let mut options = Words::new(tokens);
        options.keyword(&["EXPLAIN"]);
        if options.sign(&Token::LParen) && options.keyword(&["TYPE", "FORMAT"]) {
            words.expect_sign(&Token::LParen)?;
            loop {
                let option = words.name()?;
                let value = words.name()?;
                match (option.as_str(), value.as_str()) {
                    ("type", "validate") => validate = true,
                    ("type", "logical") | ("format", "text") => {}
                    (option, value) => {
                        return Err(failed(format!(
                            "NOT_SUPPORTED: the embedded cloud has no EXPLAIN ({} {})",
                            option.to_uppercase(),
                            value.to_uppercase()
                        )));
                    }
                }
                if !words.sign(&Token::Comma) {
                    words.expect_sign(&Token::RParen)?;
                    break;
                }
            }
        }
        Ok(Self { select: Select::parse(words.rest(), database)?, validate })
    }

    /// The lines of a plan, behind the name of their column.
    pub fn lines(&self, plan: &str) -> Lines {
        let (name, text) = if self.validate { ("Valid", "true") } else { (COLUMN, plan) };
        let kind = if self.validate { "boolean" } else { "varchar" };
        let mut rows = vec![name.to_owned()];
        rows.extend(text.lines().map(str::to_owned));
        rows.push(String::new());
        Lines { columns: vec![text_column(name, kind)], rows }
    }
}
