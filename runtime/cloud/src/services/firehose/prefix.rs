//! Prefixes of keys, with expressions: `year=!{timestamp:yyyy}/`. Pure.
//!
//! <https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html>

use jiff::Timestamp;

/// Characters of a prefix.
const CHARS_MAX: usize = 1_024;
/// Characters of `!{firehose:random-string}`.
const RANDOM_CHARS: usize = 11;
/// What is added to a prefix without times.
const HOURS: &str = "!{timestamp:yyyy/MM/dd/HH}/";
/// What an error prefix has to say.
const ERROR_TYPE: &str = "!{firehose:error-output-type}";

/// A part of a prefix.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'p> {
    Text(&'p str),
    Time(&'p str),
    Random,
    ErrorType,
}

/// The prefixes of a destination, with what AWS adds to them; the error says what is wrong.
pub fn check(prefix: &str, error_prefix: &str) -> Result<(String, String), String> {
    for one in [prefix, error_prefix] {
        if one.chars().count() > CHARS_MAX {
            return Err(format!("A prefix has at most {CHARS_MAX} characters."));
        }
    }
    let (pieces, error_pieces) = (parse(prefix)?, parse(error_prefix)?);
    let has = |pieces: &[Piece<'_>]| pieces.iter().any(|piece| !matches!(piece, Piece::Text(_)));
    if pieces.contains(&Piece::ErrorType) {
        return Err(format!("Prefix cannot contain {ERROR_TYPE}."));
    }
    if has(&pieces) && error_prefix.is_empty() {
        return Err("ErrorOutputPrefix cannot be null or empty when Prefix contains expressions."
            .to_owned());
    }
    if has(&error_pieces) && !error_pieces.contains(&Piece::ErrorType) {
        return Err(format!("ErrorOutputPrefix must contain at least one {ERROR_TYPE}."));
    }
    let timed = pieces.iter().any(|piece| matches!(piece, Piece::Time(_)));
    let whole = if timed { prefix.to_owned() } else { format!("{prefix}{HOURS}") };
    let errors = match (error_prefix, has(&error_pieces)) {
        ("", _) => format!("{prefix}{ERROR_TYPE}/{HOURS}"),
        (plain, false) => format!("{plain}{ERROR_TYPE}/{HOURS}"),
        (given, true) => given.to_owned(),
    };
    Ok((whole, errors))
}

fn parse(prefix: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = prefix;
    while let Some((text, after)) = rest.split_once("!{") {
        pieces.push(Piece::Text(text));
        let (expression, after) =
            after.split_once('}').ok_or_else(|| format!("An expression has no end: !{{{after}"))?;
        pieces.push(expression_of(expression)?);
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    Ok(pieces)
}

fn expression_of(expression: &str) -> Result<Piece<'_>, String> {
    match expression.split_once(':') {
        Some(("timestamp", pattern)) => {
            time(pattern, Timestamp::UNIX_EPOCH)?;
            Ok(Piece::Time(pattern))
        }
        Some(("firehose", "random-string")) => Ok(Piece::Random),
        Some(("firehose", "error-output-type")) => Ok(Piece::ErrorType),
        Some(("partitionKeyFromQuery" | "partitionKeyFromLambda", _)) => {
            Err(format!("The embedded cloud does not implement !{{{expression}}}."))
        }
        _ => Err(format!("!{{{expression}}} is not an expression of prefixes.")),
    }
}

/// Evaluates a prefix that was checked. `unique` decides the random texts, so that a delivery that
/// is repeated has the same keys.
pub fn evaluate(prefix: &str, millis: i64, error_type: &str, unique: &str) -> String {
    let at = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    let random: String = unique.chars().filter(|c| *c != '-').take(RANDOM_CHARS).collect();
    let mut out = String::new();
    for piece in parse(prefix).unwrap_or_default() {
        match piece {
            Piece::Text(text) => out += text,
            Piece::Time(pattern) => out += &time(pattern, at).unwrap_or_default(),
            Piece::Random => out += &random,
            Piece::ErrorType => out += error_type,
        }
    }
    out
}

/// A time, in UTC, by a pattern of Java's `DateTimeFormatter`.
fn time(pattern: &str, at: Timestamp) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let count = rest.chars().take_while(|c| *c == first).count();
        if let Some(quoted) = rest.strip_prefix("''") {
            out.push('\'');
            rest = quoted;
        } else if first == '\'' {
            rest = quote(&rest[1..], &mut out)
                .ok_or_else(|| format!("A quote has no end: {pattern}"))?;
        } else if first.is_ascii_alphabetic() {
            out += &field(first, count, at).ok_or_else(|| {
                format!("The embedded cloud does not implement !{{timestamp:{pattern}}}.")
            })?;
            rest = &rest[count..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(out)
}

/// Takes a text up to its closing quote, in which two quotes are one; what comes after it.
fn quote<'p>(text: &'p str, out: &mut String) -> Option<&'p str> {
    let (quoted, rest) = text.split_once('\'')?;
    *out += quoted;
    match rest.strip_prefix('\'') {
        None => Some(rest),
        Some(more) => {
            out.push('\'');
            quote(more, out)
        }
    }
}

fn field(letter: char, count: usize, at: Timestamp) -> Option<String> {
    let shown = |format: &str| at.strftime(format).to_string();
    let number = |format: &str| shown(format).parse::<u32>().ok();
    let padded = |number: u32| (count <= 9).then(|| format!("{number:0count$}"));
    match (letter, count) {
        ('y' | 'u', 2) => Some(shown("%y")),
        ('y' | 'u', 1 | 4) => Some(shown("%Y")),
        ('M' | 'L', 1 | 2) => padded(number("%m")?),
        ('M' | 'L', 3) => Some(shown("%b")),
        ('M' | 'L', 4) => Some(shown("%B")),
        ('d', 1 | 2) => padded(number("%d")?),
        ('D', 1..=3) => padded(number("%j")?),
        ('E', 1..=3) => Some(shown("%a")),
        ('E', 4) => Some(shown("%A")),
        ('H', 1 | 2) => padded(number("%H")?),
        ('h', 1 | 2) => padded(number("%I")?),
        ('a', 1) => Some(shown("%p")),
        ('m', 1 | 2) => padded(number("%M")?),
        ('s', 1 | 2) => padded(number("%S")?),
        ('S', 1..=9) => {
            let nanos = format!("{:09}", at.subsec_nanosecond());
            Some(nanos[..count].to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2018-08-27T10:05:09.123Z
    const AT: i64 = 1_535_364_309_123;

    fn both(prefix: &str, errors: &str) -> Result<(String, String), String> {
        let (prefix, errors) = check(prefix, errors)?;
        let show = |prefix: &str| evaluate(prefix, AT, "processing-failed", "0123-456789abcdef");
        Ok((show(&prefix), show(&errors)))
    }

    #[test]
    fn prefixes_are_those_of_the_documentation() {
        let ok = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(both("", ""), ok("2018/08/27/10/", "processing-failed/2018/08/27/10/"));
        assert_eq!(
            both("", "myFirehoseFailures/!{firehose:error-output-type}/"),
            ok("2018/08/27/10/", "myFirehoseFailures/processing-failed/")
        );
        assert_eq!(
            both("myFirehosePrefix/", ""),
            ok(
                "myFirehosePrefix/2018/08/27/10/",
                "myFirehosePrefix/processing-failed/2018/08/27/10/"
            )
        );
        assert_eq!(
            both(
                "year=!{timestamp:yyyy}/rand=!{firehose:random-string}/",
                "f/!{firehose:error-output-type}/!{timestamp:yyyy}/anyMonth/!{timestamp:dd}"
            ),
            ok("year=2018/rand=0123456789a/", "f/processing-failed/2018/anyMonth/27")
        );
        assert_eq!(
            both(
                "dt=!{timestamp:yyyy'-'MM'-'dd}/h=!{timestamp:HH}/",
                "e/!{firehose:error-output-type}"
            ),
            ok("dt=2018-08-27/h=10/", "e/processing-failed")
        );
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (prefix, errors) in [
            ("!{timestamp:yyyy}/", ""),
            ("!{firehose:error-output-type}/", "!{firehose:error-output-type}/"),
            ("a/", "b/!{timestamp:yyyy}/"),
            ("!{timestamp:yyyy/", ""),
            ("!{nonsense:x}/", "!{firehose:error-output-type}/"),
            ("!{partitionKeyFromQuery:id}/", "!{firehose:error-output-type}/"),
            ("!{timestamp:VV}/", "!{firehose:error-output-type}/"),
            (&"x".repeat(1_025), ""),
        ] {
            assert!(check(prefix, errors).is_err(), "{prefix} {errors}");
        }
    }

    #[test]
    fn times_by_javas_patterns() {
        let at = Timestamp::from_millisecond(AT).expect("a time");
        for (pattern, expected) in [
            ("yyyy-MM-dd'T'HH:mm:ss.SSS", "2018-08-27T10:05:09.123"),
            ("y/M/d/H/m/s", "2018/8/27/10/5/9"),
            ("yy DDD MMM EEE", "18 239 Aug Mon"),
            ("'it''s'", "it's"),
        ] {
            let shown = time(pattern, at);
            assert_eq!(shown.as_deref(), Ok(expected), "{pattern}");
        }
    }
}
