//! Regular expressions. Patterns and replacements have Java's syntax: groups are `$1`, and what
//! this library's patterns cannot say, like a look ahead, is refused.
//!
//! <https://trino.io/docs/current/functions/regexp.html>

use std::cell::RefCell;
use std::collections::HashMap;

use regex::{Captures, Regex};

use super::call::{self, Outcome, Spec, invalid};
use super::value::Value;

/// Patterns that are kept compiled.
const KEPT_MAX: usize = 64;

thread_local! {
    static KEPT: RefCell<HashMap<String, Regex>> = RefCell::default();
}

/// A compiled pattern.
pub fn compiled(pattern: &str) -> Outcome<Regex> {
    KEPT.with_borrow_mut(|kept| {
        if let Some(regex) = kept.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = Regex::new(pattern).map_err(|error| {
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            match why.contains("look-around") || why.contains("backreferences") {
                true => format!(
                    "NOT_SUPPORTED: the embedded cloud does not implement this pattern: {why}"
                ),
                false => format!("INVALID_FUNCTION_ARGUMENT: {why}: {pattern}"),
            }
        })?;
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    })
}

fn group(regex: &Regex, values: &[Value], index: usize) -> Outcome<usize> {
    let Some(value) = values.get(index) else { return Ok(0) };
    let (wanted, count) = (value.whole(), regex.captures_len() - 1);
    match usize::try_from(wanted) {
        Ok(wanted) if wanted <= count => Ok(wanted),
        Ok(wanted) => invalid(format!("Pattern has {count} groups. Cannot access group {wanted}")),
        Err(_) => invalid("Group cannot be negative"),
    }
}

fn captured(captures: &Captures, group: usize) -> Value {
    Value::or_null(captures.get(group), |found| Value::text(found.as_str()))
}

/// Puts the groups in the place of `$1`, `${name}`; a backslash makes the next letter itself.
fn replacement(template: &str, captures: &Captures, text: &mut String) -> Outcome<()> {
    let mut rest = template.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => match rest.next() {
                Some(next) => text.push(next),
                None => return invalid("Illegal replacement sequence: \\"),
            },
            '$' if rest.peek() == Some(&'{') => {
                rest.next();
                let name: String = rest.by_ref().take_while(|c| *c != '}').collect();
                match captures.name(&name) {
                    Some(found) => text.push_str(found.as_str()),
                    None => return invalid(format!("Illegal replacement sequence: ${{{name}}}")),
                }
            }
            '$' => {
                let mut number: Option<usize> = None;
                // As many digits as are a group.
                while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
                    let longer = number.unwrap_or(0) * 10 + digit as usize;
                    if number.is_some() && longer >= captures.len() {
                        break;
                    }
                    number = Some(longer);
                    rest.next();
                }
                match number {
                    Some(number) if number < captures.len() => {
                        text.push_str(captures.get(number).map_or("", |found| found.as_str()));
                    }
                    Some(number) => {
                        return invalid(format!(
                            "Illegal replacement sequence: unknown group {number}"
                        ));
                    }
                    None => return invalid("Illegal replacement sequence: $"),
                }
            }
            other => text.push(other),
        }
    }
    Ok(())
}

fn replace(_: &call::Call, v: &[Value]) -> Outcome {
    let (source, template) = (v[0].str(), v.get(2).map_or("", Value::str));
    let regex = compiled(v[1].str())?;
    let (mut text, mut end) = (String::new(), 0);
    for captures in regex.captures_iter(source) {
        let Some(whole) = captures.get(0) else { continue };
        text.push_str(&source[end..whole.start()]);
        replacement(template, &captures, &mut text)?;
        end = whole.end();
    }
    text.push_str(&source[end..]);
    Ok(Value::Text(text))
}

fn position(_: &call::Call, v: &[Value]) -> Outcome {
    let (source, regex) = (v[0].str(), compiled(v[1].str())?);
    let start = v.get(2).map_or(1, Value::whole);
    let occurrence = v.get(3).map_or(1, Value::whole);
    if start < 1 {
        return invalid("start position cannot be smaller than 1");
    }
    if occurrence < 1 {
        return invalid("occurrence cannot be smaller than 1");
    }
    let skip = usize::try_from(start - 1).unwrap_or(usize::MAX);
    let from = source.char_indices().map(|(at, _)| at).chain([source.len()]).nth(skip);
    let Some(from) = from else { return Ok(Value::Whole(-1)) };
    let nth = usize::try_from(occurrence - 1).unwrap_or(usize::MAX);
    let found = regex.find_iter(source).filter(|found| found.start() >= from).nth(nth);
    Ok(Value::Whole(found.map_or(-1, |found| source[..found.start()].chars().count() as i64 + 1)))
}

/// As a pattern of `LIKE`, whose escape is the third.
fn like(_: &call::Call, v: &[Value]) -> Outcome {
    let mut escapes = v.get(2).map_or("", Value::str).chars();
    let escape = escapes.next();
    if v.len() > 2 && (escape.is_none() || escapes.next().is_some()) {
        return invalid("Escape string must be a single character");
    }
    let mut pattern = String::from("(?s)^");
    let mut rest = v[1].str().chars();
    while let Some(character) = rest.next() {
        match character {
            c if Some(c) == escape => match rest.next() {
                Some(next) if next == '%' || next == '_' || Some(next) == escape => {
                    pattern += &regex::escape(&next.to_string());
                }
                _ => {
                    return invalid(
                        "Escape character must be followed by '%', '_' or the escape character \
                         itself",
                    );
                }
            },
            '%' => pattern.push_str(".*"),
            '_' => pattern.push('.'),
            other => pattern += &regex::escape(&other.to_string()),
        }
    }
    pattern.push('$');
    Ok(Value::Boolean(compiled(&pattern)?.is_match(v[0].str())))
}

/// The functions.
pub const FUNCTIONS: &[Spec] = &[
    call::of("regexp_like", &["(varchar, varchar) -> boolean"], |_, v| {
        Ok(Value::Boolean(compiled(v[1].str())?.is_match(v[0].str())))
    }),
    call::of(
        "regexp_extract",
        &["(varchar, varchar) -> varchar", "(varchar, varchar, bigint) -> varchar"],
        |_, v| {
            let regex = compiled(v[1].str())?;
            let group = group(&regex, v, 2)?;
            let found = regex.captures(v[0].str());
            Ok(found.map_or(Value::Null, |captures| captured(&captures, group)))
        },
    ),
    call::of(
        "regexp_extract_all",
        &["(varchar, varchar) -> array(varchar)", "(varchar, varchar, bigint) -> array(varchar)"],
        |_, v| {
            let regex = compiled(v[1].str())?;
            let group = group(&regex, v, 2)?;
            let all = regex.captures_iter(v[0].str());
            Ok(Value::List(all.map(|captures| captured(&captures, group)).collect()))
        },
    ),
    call::of("regexp_split", &["(varchar, varchar) -> array(varchar)"], |_, v| {
        let parts = compiled(v[1].str())?;
        Ok(Value::List(parts.split(v[0].str()).map(Value::text).collect()))
    }),
    call::of("regexp_count", &["(varchar, varchar) -> bigint"], |_, v| {
        Ok(Value::Whole(compiled(v[1].str())?.find_iter(v[0].str()).count() as i64))
    }),
    call::of(
        "regexp_position",
        &[
            "(varchar, varchar) -> bigint",
            "(varchar, varchar, bigint) -> bigint",
            "(varchar, varchar, bigint, bigint) -> bigint",
        ],
        position,
    ),
    call::of(
        "regexp_replace",
        &["(varchar, varchar) -> varchar", "(varchar, varchar, varchar) -> varchar"],
        replace,
    ),
    call::of(
        "$like",
        &["(varchar, varchar) -> boolean", "(varchar, varchar, varchar) -> boolean"],
        like,
    ),
];
