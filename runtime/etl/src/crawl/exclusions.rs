//! Patterns of what a crawler leaves out: `*` and `?` stay within a folder, `**` does not, `[a-c]`
//! and `[!a]` are characters, `{a,b}` alternatives, `\` takes the next character as it is.
//!
//! <https://docs.aws.amazon.com/glue/latest/dg/define-crawler-choose-data-sources.html>

use anyhow::{Context, Result, bail};
use regex::{Regex, RegexBuilder};

/// Compiled size of a pattern.
const PATTERN_BYTES_MAX: usize = 100_000;

/// The patterns of a target.
#[derive(Debug)]
pub struct Exclusions(Vec<Regex>);

impl Exclusions {
    /// Of their texts.
    pub fn new(patterns: &[String]) -> Result<Self> {
        let compiled = patterns.iter().map(|pattern| {
            let what = || format!("`{pattern}` is no pattern of what is excluded");
            let expression = format!("^(?:{})$", expression(pattern).with_context(what)?);
            let mut builder = RegexBuilder::new(&expression);
            builder.size_limit(PATTERN_BYTES_MAX).build().with_context(what)
        });
        Ok(Self(compiled.collect::<Result<_>>()?))
    }

    /// Whether an object of this name below the target is left out.
    pub fn cover(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(name))
    }
}

fn expression(pattern: &str) -> Result<String> {
    let (mut out, mut depth) = (String::new(), 0_u32);
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '*' if characters.next_if_eq(&'*').is_some() => out.push_str(".*"),
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => {
                out.push('[');
                if characters.next_if_eq(&'!').is_some() {
                    out.push('^');
                }
                loop {
                    match characters.next().context("`[` is not closed")? {
                        ']' => break,
                        '-' => out.push('-'),
                        c => out.push_str(&regex::escape(&c.to_string())),
                    }
                }
                out.push(']');
            }
            '{' => {
                depth += 1;
                out.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                out.push(')');
            }
            ',' if depth > 0 => out.push('|'),
            '\\' => {
                let c = characters.next().context("nothing follows `\\`")?;
                out.push_str(&regex::escape(&c.to_string()));
            }
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    if depth > 0 {
        bail!("`{{` is not closed");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_aws_documents() {
        let covers = |pattern: &str, name: &str| {
            Exclusions::new(&[pattern.to_owned()]).expect("a pattern").cover(name)
        };
        assert!(covers("*.csv", "a.csv") && !covers("*.csv", "year/a.csv"));
        assert!(covers("**.csv", "year/a.csv") && covers("year=20{17,18}/**", "year=2018/a/b"));
        assert!(covers("?a[a-c][!x].*", "zabc.json") && !covers("[!a]", "a"));
        assert!(covers(r"a\*", "a*") && !covers(r"a\*", "ab"));
        assert!(covers("week{1,2}/*.json", "week2/a.json"));
        for odd in ["[a", "{a", "\\"] {
            assert!(Exclusions::new(&[odd.to_owned()]).is_err(), "{odd}");
        }
    }
}
