//! Expressions that choose partitions: `year = 2019 AND (month IN ('1', '2') OR day IS NULL)`.
//!
//! The grammar is that of a `WHERE` clause over partition keys: comparisons, `AND`, `OR`, `NOT`,
//! `IN`, `BETWEEN`, `LIKE`, `IS NULL`, parentheses. A value is compared by the type of its key:
//! whole numbers and decimals as numbers, everything else as text, which for dates and times in
//! Hive's form is their order. A comparison with a value that is not there is unknown, and a
//! partition is chosen only by what is true.
//!
//! <https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-catalog-partitions.html>

use std::cmp::Ordering;

use regex::Regex;

/// How Hive names the value of a key that is not there.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Conditions in conditions.
const DEPTH_MAX: usize = 100;

/// A partition key: its name in lower case, and its Hive type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its type: `string`, `int`, `date`.
    pub kind: String,
}

impl Key {
    fn is_number(&self) -> bool {
        let kind = self.kind.to_lowercase();
        let whole = ["tinyint", "smallint", "int", "integer", "bigint", "long"];
        whole.contains(&kind.as_str()) || kind.starts_with("decimal")
    }
}

/// A condition on partitions.
#[derive(Debug, Clone)]
pub struct Filter {
    condition: Condition,
    numbers: Vec<bool>,
}

#[derive(Debug, Clone)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Operand, Comparison, Operand),
    In(Operand, Vec<Operand>),
    Like(Operand, Regex),
    IsNull(Operand),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    /// The key at this place.
    Key(usize),
    Value(String),
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Different,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order == Ordering::Equal,
            Self::Different => order != Ordering::Equal,
            Self::Less => order == Ordering::Less,
            Self::AtMost => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            Self::AtLeast => order != Ordering::Less,
        }
    }
}

/// Whether a text is an expression over a few keys, for the fuzzer.
pub fn parses(text: &str) -> bool {
    let key = |name: &str, kind: &str| Key { name: name.to_owned(), kind: kind.to_owned() };
    let keys = [key("year", "int"), key("name", "string"), key("day", "date")];
    let values = ["2026", "a", "2026-01-31"].map(str::to_owned);
    Filter::parse(text, &keys).is_ok_and(|filter| {
        filter.admits(&values);
        true
    })
}

impl Filter {
    /// Reads an expression over these keys; why it cannot be read.
    pub fn parse(text: &str, keys: &[Key]) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text)?, next: 0, keys, depth: 0 };
        let condition = parser.any()?;
        match parser.tokens.get(parser.next) {
            None => {}
            Some(token) => return Err(format!("Encountered \"{token}\" in expression: {text}")),
        }
        Ok(Self { condition, numbers: keys.iter().map(Key::is_number).collect() })
    }

    /// Whether a partition with these values is chosen.
    pub fn admits(&self, values: &[String]) -> bool {
        self.judge(&self.condition, values) == Some(true)
    }

    /// `None` is unknown, as in SQL.
    fn judge(&self, condition: &Condition, values: &[String]) -> Option<bool> {
        match condition {
            Condition::All(all) => {
                let judged: Vec<_> = all.iter().map(|one| self.judge(one, values)).collect();
                match judged.contains(&Some(false)) {
                    true => Some(false),
                    false => judged.into_iter().collect::<Option<Vec<_>>>().map(|_| true),
                }
            }
            Condition::Any(any) => {
                let judged: Vec<_> = any.iter().map(|one| self.judge(one, values)).collect();
                match judged.contains(&Some(true)) {
                    true => Some(true),
                    false => judged.into_iter().collect::<Option<Vec<_>>>().map(|_| false),
                }
            }
            Condition::Not(inner) => self.judge(inner, values).map(|holds| !holds),
            Condition::Compare(left, comparison, right) => {
                Some(comparison.holds(self.order(left, right, values)?))
            }
            Condition::In(subject, items) => {
                let mut orders = items.iter().map(|item| self.order(subject, item, values));
                let known: Option<Vec<Ordering>> = orders.by_ref().collect();
                Some(known?.contains(&Ordering::Equal))
            }
            Condition::Like(subject, pattern) => Some(pattern.is_match(value(subject, values)?)),
            Condition::IsNull(subject) => Some(value(subject, values).is_none()),
        }
    }

    fn order(&self, left: &Operand, right: &Operand, values: &[String]) -> Option<Ordering> {
        let (one, other) = (value(left, values)?, value(right, values)?);
        let is_number = [left, right].into_iter().any(|operand| match operand {
            Operand::Key(at) => self.numbers[*at],
            _ => false,
        });
        if is_number {
            let (one, other): (f64, f64) = (one.parse().ok()?, other.parse().ok()?);
            return one.partial_cmp(&other);
        }
        Some(one.cmp(other))
    }
}

fn value<'a>(operand: &'a Operand, values: &'a [String]) -> Option<&'a str> {
    match operand {
        Operand::Key(at) => values.get(*at).map(String::as_str).filter(|value| *value != NULL),
        Operand::Value(text) => Some(text),
        Operand::Null => None,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name or keyword as it is written.
    Word(String),
    /// A name in quotes.
    Name(String),
    Text(String),
    Number(String),
    Sign(&'static str),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(text) | Self::Name(text) | Self::Text(text) | Self::Number(text) => {
                f.write_str(text)
            }
            Self::Sign(sign) => f.write_str(sign),
        }
    }
}

const SIGNS: [&str; 11] = ["<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", ",", "-"];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let token = match first {
            '\'' => Token::Text(quoted(&mut rest, '\'').ok_or("a text does not end")?),
            '"' | '`' => Token::Name(quoted(&mut rest, first).ok_or("a name does not end")?),
            c if c.is_ascii_digit() => {
                Token::Number(taken(&mut rest, |c| c.is_ascii_digit() || c == '.'))
            }
            c if c.is_alphabetic() || c == '_' => {
                Token::Word(taken(&mut rest, |c| c.is_alphanumeric() || c == '_'))
            }
            other => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
                let sign = sign.ok_or_else(|| format!("`{other}` is no sign of an expression"))?;
                rest = &rest[sign.len()..];
                Token::Sign(sign)
            }
        };
        tokens.push(token);
        rest = rest.trim_start();
    }
    Ok(tokens)
}

fn taken(rest: &mut &str, belongs: impl Fn(char) -> bool) -> String {
    let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    word.to_owned()
}

/// A text in quotes; a quote in it is written twice.
fn quoted(rest: &mut &str, quote: char) -> Option<String> {
    let (mut text, mut characters) = (String::new(), rest[1..].char_indices().peekable());
    while let Some((at, character)) = characters.next() {
        if character != quote {
            text.push(character);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            text.push(quote);
        } else {
            *rest = &rest[1 + at + quote.len_utf8()..];
            return Some(text);
        }
    }
    None
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    keys: &'a [Key],
    depth: usize,
}

type Parsed<T> = Result<T, String>;

impl Parser<'_> {
    fn keyword(&mut self, wanted: &str) -> bool {
        let is_there = matches!(
            self.tokens.get(self.next),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted)
        );
        self.next += usize::from(is_there);
        is_there
    }

    fn sign(&mut self, wanted: &str) -> bool {
        let is_there = matches!(self.tokens.get(self.next), Some(Token::Sign(s)) if *s == wanted);
        self.next += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, is_there: bool, wanted: &str) -> Parsed<()> {
        if is_there { Ok(()) } else { Err(self.unexpected(wanted)) }
    }

    fn unexpected(&self, wanted: &str) -> String {
        match self.tokens.get(self.next) {
            Some(token) => format!("Encountered \"{token}\" where {wanted} was expected."),
            None => format!("The expression ends where {wanted} was expected."),
        }
    }

    fn any(&mut self) -> Parsed<Condition> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("The expression is nested too deeply.".to_owned());
        }
        let mut any = vec![self.all()?];
        while self.keyword("OR") {
            any.push(self.all()?);
        }
        self.depth -= 1;
        Ok(single(any, Condition::Any))
    }

    fn all(&mut self) -> Parsed<Condition> {
        let mut all = vec![self.one()?];
        while self.keyword("AND") {
            all.push(self.one()?);
        }
        Ok(single(all, Condition::All))
    }

    fn one(&mut self) -> Parsed<Condition> {
        let mut negated = false;
        while self.keyword("NOT") {
            negated = !negated;
        }
        let condition = if self.sign("(") {
            let inner = self.any()?;
            let closed = self.sign(")");
            self.expect(closed, "\")\"")?;
            inner
        } else {
            self.comparison()?
        };
        Ok(if negated { Condition::Not(Box::new(condition)) } else { condition })
    }

    fn comparison(&mut self) -> Parsed<Condition> {
        let subject = self.operand()?;
        if self.keyword("IS") {
            let negated = self.keyword("NOT");
            let null = self.keyword("NULL");
            self.expect(null, "NULL")?;
            return Ok(negate_if(negated, Condition::IsNull(subject)));
        }
        let negated = self.keyword("NOT");
        let condition = if self.keyword("IN") {
            self.list(subject)?
        } else if self.keyword("BETWEEN") {
            let low = self.operand()?;
            let and = self.keyword("AND");
            self.expect(and, "AND")?;
            let high = self.operand()?;
            Condition::All(vec![
                Condition::Compare(subject.clone(), Comparison::AtLeast, low),
                Condition::Compare(subject, Comparison::AtMost, high),
            ])
        } else if self.keyword("LIKE") {
            match self.operand()? {
                Operand::Value(pattern) => Condition::Like(subject, like(&pattern)?),
                _ => return Err(self.unexpected("a pattern")),
            }
        } else if negated {
            return Err(self.unexpected("IN, BETWEEN or LIKE"));
        } else {
            let comparison = self.operator()?;
            Condition::Compare(subject, comparison, self.operand()?)
        };
        Ok(negate_if(negated, condition))
    }

    fn list(&mut self, subject: Operand) -> Parsed<Condition> {
        let open = self.sign("(");
        self.expect(open, "\"(\"")?;
        let mut items = vec![self.operand()?];
        while self.sign(",") {
            items.push(self.operand()?);
        }
        let closed = self.sign(")");
        self.expect(closed, "\")\"")?;
        Ok(Condition::In(subject, items))
    }

    fn operator(&mut self) -> Parsed<Comparison> {
        let known = [
            ("=", Comparison::Equal),
            ("<>", Comparison::Different),
            ("!=", Comparison::Different),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let found = known.into_iter().find(|(sign, _)| self.sign(sign));
        found.map(|(_, comparison)| comparison).ok_or_else(|| self.unexpected("a comparison"))
    }

    fn operand(&mut self) -> Parsed<Operand> {
        let negative = self.sign("-");
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        match token {
            Some(Token::Number(number)) if negative => Ok(Operand::Value(format!("-{number}"))),
            Some(Token::Number(text) | Token::Text(text)) if !negative => Ok(Operand::Value(text)),
            Some(Token::Name(name)) => self.key(&name),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("NULL") => Ok(Operand::Null),
            Some(Token::Word(word)) => self.word(&word),
            _ => {
                self.next -= 1;
                Err(self.unexpected("a partition key or a value"))
            }
        }
    }

    /// A key, or a value with its type before it: `DATE '2019-01-01'`, `date('2019-01-01')`.
    fn word(&mut self, word: &str) -> Parsed<Operand> {
        let typed = ["DATE", "TIMESTAMP"].into_iter().any(|kind| word.eq_ignore_ascii_case(kind));
        let open = typed && self.sign("(");
        match self.tokens.get(self.next) {
            Some(Token::Text(text)) if typed => {
                let text = text.clone();
                self.next += 1;
                let closed = !open || self.sign(")");
                self.expect(closed, "\")\"")?;
                Ok(Operand::Value(text))
            }
            _ if open => Err(self.unexpected("a text")),
            _ => self.key(word),
        }
    }

    fn key(&mut self, name: &str) -> Parsed<Operand> {
        let at = self.keys.iter().position(|key| key.name.eq_ignore_ascii_case(name));
        at.map(Operand::Key).ok_or_else(|| format!("{name} is not a partition key."))
    }
}

fn single(mut conditions: Vec<Condition>, all: fn(Vec<Condition>) -> Condition) -> Condition {
    match conditions.pop() {
        Some(only) if conditions.is_empty() => only,
        last => all(conditions.into_iter().chain(last).collect()),
    }
}

fn negate_if(negated: bool, condition: Condition) -> Condition {
    if negated { Condition::Not(Box::new(condition)) } else { condition }
}

/// `%` stands for anything, `_` for one character.
fn like(pattern: &str) -> Parsed<Regex> {
    let mut expression = String::from("(?s)^");
    for character in pattern.chars() {
        match character {
            '%' => expression.push_str(".*"),
            '_' => expression.push('.'),
            other => expression.push_str(&regex::escape(&other.to_string())),
        }
    }
    expression.push('$');
    Regex::new(&expression).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(expression: &str) -> Vec<String> {
        let keys = [("year", "int"), ("month", "string"), ("day", "date")];
        let keys = keys.map(|(name, kind)| Key { name: name.to_owned(), kind: kind.to_owned() });
        let filter =
            Filter::parse(expression, &keys).unwrap_or_else(|e| panic!("{expression}: {e}"));
        let partitions =
            [["2019", "1", "2019-01-05"], ["2019", "10", "2019-10-01"], ["900", "2", NULL]];
        let admitted =
            partitions.into_iter().filter(|values| filter.admits(&values.map(str::to_owned)));
        admitted.map(|values| format!("{}/{}", values[0], values[1])).collect()
    }

    #[test]
    fn values_are_compared_by_the_types_of_their_keys() {
        assert_eq!(chosen("year > 1000"), ["2019/1", "2019/10"]);
        assert_eq!(chosen("YEAR = '2019' and month = '1'"), ["2019/1"]);
        assert_eq!(chosen("month < '2'"), ["2019/1", "2019/10"]);
        assert_eq!(chosen("day >= date '2019-10-01'"), ["2019/10"]);
        assert_eq!(chosen("2019 <> year"), ["900/2"]);
        assert_eq!(chosen("month = 2"), ["900/2"]);
        assert_eq!(chosen("year >= -5 AND year < 1000.5"), ["900/2"]);
    }

    #[test]
    fn conditions_are_joined_negated_and_nested() {
        assert_eq!(chosen("year IN (900, 1) OR (month LIKE '1_')"), ["2019/10", "900/2"]);
        assert_eq!(chosen("NOT (year = 900)"), ["2019/1", "2019/10"]);
        assert_eq!(chosen("year NOT BETWEEN 2000 AND 2020"), ["900/2"]);
        assert_eq!(chosen("month NOT LIKE '1%'"), ["900/2"]);
        assert_eq!(chosen("day IS NULL"), ["900/2"]);
        assert_eq!(chosen("`day` IS NOT NULL AND \"year\" = 2019"), ["2019/1", "2019/10"]);
        assert_eq!(chosen("day <> '2019-01-05'"), ["2019/10"], "unknown is not true");
        assert_eq!(chosen("month = '1' OR month = 'o''clock' OR year=900"), ["2019/1", "900/2"]);
    }

    #[test]
    fn what_is_no_expression_is_told() {
        let keys = [Key { name: "year".to_owned(), kind: "int".to_owned() }];
        for wrong in ["", "year", "year =", "year = 'x", "town = 1", "year = 1 year", "(year = 1"] {
            assert!(Filter::parse(wrong, &keys).is_err(), "{wrong}");
        }
        assert!(Filter::parse(&"(".repeat(100_000), &keys).is_err());
    }
}
