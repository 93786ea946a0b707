//! The tokens of a statement, read one after another.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use steppe_wire::query::QueryFailure;

use crate::query::CATALOG;
use crate::query::failure::malformed;
use crate::query::statement::{is_space, position};

/// A table: its database, which is that of the request when none is named, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// Its database, in lower case.
    pub database: String,
    /// Its name, in lower case.
    pub name: String,
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.database, self.name)
    }
}

/// A place in the tokens, which are those of a statement without spaces and comments.
#[derive(Debug)]
pub struct Words<'a> {
    tokens: Vec<&'a TokenWithSpan>,
    next: usize,
}

/// A value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Property {
    /// A text, a number or a word.
    Text(String),
    /// `ARRAY['a', 'b']`.
    List(Vec<String>),
}

type Read<T> = Result<T, QueryFailure>;

impl<'a> Words<'a> {
    /// From the first one.
    pub fn new(tokens: &'a [TokenWithSpan]) -> Self {
        Self { tokens: tokens.iter().filter(|token| !is_space(token)).collect(), next: 0 }
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next).map(|token| &token.token)
    }

    /// Whether this sign comes next.
    pub fn is_next(&self, wanted: &Token) -> bool {
        self.peek() == Some(wanted)
    }

    /// Whether this sign comes so many tokens later.
    pub fn is_next_at(&self, later: usize, wanted: &Token) -> bool {
        self.tokens.get(self.next + later).is_some_and(|token| token.token == *wanted)
    }

    /// Whether one of these keywords comes so many tokens later.
    pub fn is_keyword_at(&self, later: usize, wanted: &[&str]) -> bool {
        match self.tokens.get(self.next + later).map(|token| &token.token) {
            Some(Token::Word(word)) => wanted.iter().any(|w| word.value.eq_ignore_ascii_case(w)),
            _ => false,
        }
    }

    /// Whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.next >= self.tokens.len()
    }

    /// Everything that is left.
    pub fn rest(&self) -> Vec<TokenWithSpan> {
        self.tokens[self.next.min(self.tokens.len())..].iter().map(|t| (*t).clone()).collect()
    }

    /// Takes the next token when it is one of these keywords.
    pub fn keyword(&mut self, wanted: &[&str]) -> bool {
        let is_there = match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_none() => {
                wanted.iter().any(|wanted| word.value.eq_ignore_ascii_case(wanted))
            }
            _ => false,
        };
        self.next += usize::from(is_there);
        is_there
    }

    /// Takes these keywords when all of them come next.
    pub fn keywords(&mut self, wanted: &[&str]) -> bool {
        let before = self.next;
        let all = wanted.iter().all(|keyword| self.keyword(&[keyword]));
        if !all {
            self.next = before;
        }
        all
    }

    /// Takes keywords that must come next.
    pub fn expect(&mut self, wanted: &[&str]) -> Read<()> {
        for keyword in wanted {
            if !self.keyword(&[keyword]) {
                return Err(self.unexpected(&format!("'{keyword}'")));
            }
        }
        Ok(())
    }

    /// Takes a sign when it comes next.
    pub fn sign(&mut self, wanted: &Token) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.next += usize::from(is_there);
        is_there
    }

    /// Takes a sign that must come next.
    pub fn expect_sign(&mut self, wanted: &Token) -> Read<()> {
        if self.sign(wanted) { Ok(()) } else { Err(self.unexpected(&format!("'{wanted}'"))) }
    }

    /// Refuses what is left.
    pub fn end(&self) -> Read<()> {
        if self.is_at_end() { Ok(()) } else { Err(self.unexpected("<EOF>")) }
    }

    /// `IF EXISTS`, or with `NOT`.
    pub fn if_exists(&mut self, not: bool) -> Read<bool> {
        if !self.keyword(&["IF"]) {
            return Ok(false);
        }
        let wanted: &[&str] = if not { &["NOT", "EXISTS"] } else { &["EXISTS"] };
        self.expect(wanted).map(|()| true)
    }

    /// A name in lower case.
    pub fn name(&mut self) -> Read<String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.next += 1;
                Ok(word.value.to_lowercase())
            }
            // Hive's names may begin with digits, in backquotes only.
            _ => Err(self.unexpected("a name")),
        }
    }

    /// A name as it is written.
    pub fn verbatim_name(&mut self) -> Read<String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.next += 1;
                Ok(word.value.clone())
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    /// `table`, `database.table`, `catalogue.database.table`, or both in one pair of backquotes.
    pub fn table(&mut self, database: &str) -> Read<TableName> {
        let mut parts = vec![self.name()?];
        while self.sign(&Token::Period) {
            parts.push(self.name()?);
        }
        if let [whole] = &parts[..]
            && let Some((before, after)) = whole.split_once('.')
        {
            parts = vec![before.to_owned(), after.to_owned()];
        }
        let table = |database: &str, name: &str| TableName {
            database: database.to_owned(),
            name: name.to_owned(),
        };
        match &parts[..] {
            [name] => Ok(table(database, name)),
            [database, name] => Ok(table(database, name)),
            [catalog, database, name] if catalog == CATALOG => Ok(table(database, name)),
            _ => Err(malformed(format!("Catalog '{}' not found", parts[0]))),
        }
    }

    /// A text in quotes of either kind, as Hive reads it.
    pub fn text(&mut self) -> Option<String> {
        let text = match self.peek()? {
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text,
            Token::Word(word) if word.quote_style == Some('"') => &word.value,
            _ => return None,
        };
        self.next += 1;
        Some(unescaped(text))
    }

    /// A text that must come next.
    pub fn expect_text(&mut self) -> Read<String> {
        self.text().ok_or_else(|| self.unexpected("a text"))
    }

    /// A value: a text, a number with its sign, a word.
    pub fn value(&mut self) -> Read<String> {
        if let Some(text) = self.text() {
            return Ok(text);
        }
        let sign = if self.sign(&Token::Minus) { "-" } else { "" };
        match self.peek() {
            Some(Token::Number(number, _)) => {
                self.next += 1;
                Ok(format!("{sign}{number}"))
            }
            Some(Token::Word(word)) if sign.is_empty() && word.quote_style.is_none() => {
                self.next += 1;
                // A type before its text: `DATE '2019-01-01'`.
                Ok(self.text().unwrap_or_else(|| word.value.clone()))
            }
            _ => Err(self.unexpected("a value")),
        }
    }

    /// `(item, item)`.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.expect_sign(&Token::LParen)?;
        let mut items = vec![];
        if self.sign(&Token::RParen) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if !self.sign(&Token::Comma) {
                self.expect_sign(&Token::RParen)?;
                return Ok(items);
            }
        }
    }

    /// `('name'='value', …)`.
    pub fn properties(&mut self) -> Read<Vec<(String, String)>> {
        self.list(|words| {
            let name = words.value()?;
            words.expect_sign(&Token::Eq)?;
            Ok((name, words.value()?))
        })
    }

    /// `(name = value, name = ARRAY['a'])` of Trino's `WITH`; names in lower case.
    pub fn options(&mut self) -> Read<Vec<(String, Property)>> {
        self.list(|words| {
            let name = words.value()?.to_lowercase();
            words.expect_sign(&Token::Eq)?;
            if !words.keyword(&["ARRAY"]) {
                return Ok((name, Property::Text(words.value()?)));
            }
            words.expect_sign(&Token::LBracket)?;
            let mut items = vec![];
            while !words.sign(&Token::RBracket) {
                items.push(words.value()?);
                if !words.sign(&Token::Comma) {
                    words.expect_sign(&Token::RBracket)?;
                    break;
                }
            }
            Ok((name, Property::List(items)))
        })
    }

    /// A type of Hive in its own spelling: `array<struct<a:int>>`.
    pub fn hive_type(&mut self) -> Read<String> {
        let (mut written, mut depth) = (String::new(), 0_usize);
        loop {
            let token = match self.peek() {
                Some(Token::Word(word)) if written.is_empty() || depth > 0 => {
                    word.value.to_lowercase()
                }
                Some(Token::Number(number, _)) if depth > 0 => number.clone(),
                Some(sign @ (Token::Lt | Token::LParen)) if !written.is_empty() => {
                    depth += 1;
                    sign.to_string()
                }
                Some(sign @ (Token::Gt | Token::RParen)) if depth > 0 => {
                    depth -= 1;
                    sign.to_string()
                }
                Some(Token::ShiftRight) if depth > 1 => {
                    depth -= 2;
                    ">>".to_owned()
                }
                Some(sign @ (Token::Colon | Token::Comma)) if depth > 0 => sign.to_string(),
                _ if written.is_empty() || depth > 0 => return Err(self.unexpected("a type")),
                _ => return Ok(written),
            };
            written.push_str(&token);
            self.next += 1;
        }
    }

    /// What is wrong with the next token.
    pub fn unexpected(&self, wanted: &str) -> QueryFailure {
        let (found, at) = match self.tokens.get(self.next) {
            Some(token) => (token.token.to_string(), position(token.span.start)),
            None => match self.tokens.last() {
                Some(last) => ("<EOF>".to_owned(), position(last.span.end)),
                None => ("<EOF>".to_owned(), "line 1:1".to_owned()),
            },
        };
        malformed(format!("{at}: mismatched input '{found}'. Expecting: {wanted}"))
    }
}

/// What a backslash and the character behind it stand for in Hive.
fn unescaped(text: &str) -> String {
    let (mut plain, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        let rest = characters.as_str();
        let octal =
            rest.get(..3).filter(|digits| digits.bytes().all(|b| (b'0'..b'8').contains(&b)));
        let unicode = rest.strip_prefix('u').and_then(|rest| rest.get(..4));
        let coded =
            octal.and_then(|digits| Some((u32::from_str_radix(digits, 8).ok()?, 3))).or_else(
                || unicode.and_then(|digits| Some((u32::from_str_radix(digits, 16).ok()?, 5))),
            );
        if let Some((code, skipped)) = coded
            && let Some(character) = char::from_u32(code)
        {
            plain.push(character);
            characters = rest[skipped..].chars();
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('r') => plain.push('\r'),
            Some('0') => plain.push('\0'),
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn tokens(text: &str) -> Vec<TokenWithSpan> {
        Tokenizer::new(&GenericDialect {}, text).tokenize_with_location().expect("tokens")
    }

    #[test]
    fn types_are_kept_as_hive_spells_them() {
        for (written, kind) in [
            ("INT COMMENT 'x'", "int"),
            ("decimal(10, 2), b", "decimal(10,2)"),
            ("array<struct<a:int,b:map<string,array<bigint>>>>)", ""),
        ] {
            let tokens = tokens(written);
            let mut words = Words::new(&tokens);
            let read = words.hive_type().expect("a type");
            let expected = if kind.is_empty() { written.trim_end_matches(')') } else { kind };
            assert_eq!(read, expected);
        }
        for wrong in ["", "array<int", "<int>", "'int'"] {
            assert!(Words::new(&tokens(wrong)).hive_type().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_tables_have_one_to_three_parts() {
        let read = |text: &str| {
            Words::new(&tokens(text)).table("own").map(|t| t.to_string()).map_err(|e| e.message)
        };
        assert_eq!(read("T"), Ok("own.t".to_owned()));
        assert_eq!(read("`db`.`t`"), Ok("db.t".to_owned()));
        assert_eq!(read("`db.t`"), Ok("db.t".to_owned()));
        assert_eq!(read("AwsDataCatalog.\"db\".t"), Ok("db.t".to_owned()));
        assert!(read("other.db.t").is_err() && read("1").is_err());
    }

    #[test]
    fn backslashes_stand_for_characters() {
        for (text, plain) in
            [(r"\t", "\t"), (r"\001", "\u{1}"), (r"\u0041", "A"), (r"\\", "\\"), (r"a\'b", "a'b")]
        {
            assert_eq!(unescaped(text), plain);
        }
    }
}
