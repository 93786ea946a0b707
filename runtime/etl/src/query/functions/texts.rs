//! Functions of texts, which count in characters.
//!
//! <https://trino.io/docs/current/functions/string.html>

use datafusion::arrow::datatypes::DataType;

use super::call::{self, Call, Outcome, Spec, invalid};
use super::decimal;
use super::value::Value;

/// Characters that a text may grow to in a row: each row would take as many.
pub const CHARACTERS_MAX: i64 = 1_000_000;

/// Bytes that `listagg` makes at most, in Trino too.
const LISTED_BYTES_MAX: usize = 1_048_576;

/// What Java takes for white space.
fn is_white(character: char) -> bool {
    matches!(character, '\t'..='\r' | '\u{1c}'..='\u{1f}')
        || character.is_whitespace() && !matches!(character, '\u{a0}' | '\u{2007}' | '\u{202f}')
}

fn trimmed(values: &[Value], start: bool, end: bool) -> Value {
    let text = values[0].str();
    let own: Vec<char> = values.get(1).map_or_else(Vec::new, |v| v.str().chars().collect());
    let cut = |c: char| if values.len() > 1 { own.contains(&c) } else { is_white(c) };
    let text = if start { text.trim_start_matches(cut) } else { text };
    Value::text(if end { text.trim_end_matches(cut) } else { text })
}

/// From a place, counted from one, or from the end when it is negative.
fn substring(text: &str, start: i64, length: Option<i64>) -> String {
    let count = text.chars().count() as i64;
    let first = match start {
        0 => return String::new(),
        start if start > 0 => start - 1,
        start => count + start,
    };
    let length = length.unwrap_or(count);
    if first < 0 || first >= count || length <= 0 {
        return String::new();
    }
    text.chars().skip(first as usize).take(length as usize).collect()
}

fn padded(v: &[Value], left: bool) -> Outcome {
    let (text, size, fill) = (v[0].str(), v[1].whole(), v[2].str());
    if !(0..=CHARACTERS_MAX).contains(&size) {
        return invalid(format!("Target length must be in the range [0..{CHARACTERS_MAX}]"));
    }
    if fill.is_empty() {
        return invalid("Padding string must not be empty");
    }
    let (size, count) = (size as usize, text.chars().count());
    if count >= size {
        return Ok(Value::Text(text.chars().take(size).collect()));
    }
    let padding: String = fill.chars().cycle().take(size - count).collect();
    Ok(Value::Text(if left { padding + text } else { text.to_owned() + &padding }))
}

/// Where a text stands for the n-th time, counted from one; from the end when n is negative.
fn strpos(_: &Call, v: &[Value]) -> Outcome {
    let (text, wanted) = (v[0].str(), v[1].str());
    let instance = v.get(2).map_or(1, Value::whole);
    if instance == 0 {
        return invalid("'instance' must not be a positive or negative number.");
    }
    if wanted.is_empty() {
        return Ok(Value::Whole(1));
    }
    let nth = usize::try_from(instance.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let starts: Vec<usize> = text
        .char_indices()
        .map(|(at, _)| at)
        .filter(|at| text[*at..].starts_with(wanted))
        .collect();
    let at = if instance > 0 { starts.get(nth) } else { starts.iter().rev().nth(nth) };
    Ok(Value::Whole(at.map_or(0, |at| text[..*at].chars().count() as i64 + 1)))
}

fn split(_: &Call, v: &[Value]) -> Outcome {
    let (text, delimiter) = (v[0].str(), v[1].str());
    if delimiter.is_empty() {
        return invalid("The delimiter may not be the empty string");
    }
    let parts: Vec<Value> = match v.get(2).map(Value::whole) {
        Some(limit) if limit <= 0 => return invalid("Limit must be positive"),
        Some(limit) => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            text.splitn(limit, delimiter).map(Value::text).collect()
        }
        None => text.split(delimiter).map(Value::text).collect(),
    };
    Ok(Value::List(parts))
}

fn split_part(_: &Call, v: &[Value]) -> Outcome {
    let (text, delimiter, index) = (v[0].str(), v[1].str(), v[2].whole());
    if index <= 0 {
        return invalid("Index must be greater than zero");
    }
    let nth = usize::try_from(index - 1).unwrap_or(usize::MAX);
    if delimiter.is_empty() {
        let letter = text.chars().nth(nth).map(String::from);
        return Ok(Value::or_null(letter, Value::Text));
    }
    Ok(Value::or_null(text.split(delimiter).nth(nth), Value::text))
}

/// Entries between delimiters, with a separator in each.
pub fn pairs(v: &[Value]) -> Outcome<Vec<(String, String)>> {
    let (text, entries, middle) = (v[0].str(), v[1].str(), v[2].str());
    if entries.is_empty() || middle.is_empty() {
        return invalid("the delimiters may not be empty");
    }
    if entries == middle {
        return invalid("entryDelimiter and keyValueDelimiter must not be the same");
    }
    let mut all = Vec::new();
    let text = text.strip_suffix(entries).unwrap_or(text);
    for entry in text.split(entries).filter(|_| !text.is_empty()) {
        match entry.split_once(middle) {
            Some((key, value)) if !value.contains(middle) => {
                all.push((key.to_owned(), value.to_owned()));
            }
            _ => {
                return invalid(format!(
                    "Key-value delimiter must appear exactly once in each entry. Bad input: \
                     '{entry}'"
                ));
            }
        }
    }
    Ok(all)
}

fn levenshtein(_: &Call, v: &[Value]) -> Outcome {
    let (left, right): (Vec<char>, Vec<char>) =
        (v[0].str().chars().collect(), v[1].str().chars().collect());
    if left.len().saturating_mul(right.len()) > 1_000_000 {
        return invalid("The combined inputs for Levenshtein distance are too large");
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let changed = before + usize::from(a != b);
            before = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(before + 1);
        }
    }
    Ok(Value::Whole(row[right.len()] as i64))
}

fn hamming(_: &Call, v: &[Value]) -> Outcome {
    let (left, right) = (v[0].str(), v[1].str());
    if left.chars().count() != right.chars().count() {
        return invalid("The input strings to hamming_distance function must have the same length");
    }
    let different = left.chars().zip(right.chars()).filter(|(a, b)| a != b);
    Ok(Value::Whole(different.count() as i64))
}

/// The American Soundex, as the library that Trino uses has it.
fn soundex(_: &Call, v: &[Value]) -> Outcome {
    const CODES: &[u8; 26] = b"01230120022455012623010202";
    let letters: Vec<u8> = v[0]
        .str()
        .chars()
        .filter(|c| c.is_alphabetic())
        .map(|c| c.to_ascii_uppercase() as u8)
        .collect();
    if v[0].str().chars().any(|c| c.is_alphabetic() && !c.is_ascii()) {
        return invalid(format!("The character is not mapped: {}", v[0].str()));
    }
    let Some(first) = letters.first() else { return Ok(Value::text("")) };
    let code = |letter: u8| CODES[usize::from(letter - b'A')];
    let mut text = String::from(char::from(*first));
    let mut last = code(*first);
    for letter in &letters[1..] {
        // Letters with H or W between them count as neighbours.
        if matches!(letter, b'H' | b'W') {
            continue;
        }
        let own = code(*letter);
        if own != b'0' && own != last {
            text.push(char::from(own));
            if text.len() == 4 {
                break;
            }
        }
        last = own;
    }
    Ok(Value::Text(format!("{text:0<4}")))
}

fn translate(_: &Call, v: &[Value]) -> Outcome {
    let from: Vec<char> = v[1].str().chars().collect();
    let to: Vec<char> = v[2].str().chars().collect();
    let translated =
        v[0].str().chars().filter_map(|c| match from.iter().position(|known| *known == c) {
            Some(at) => to.get(at).copied(),
            None => Some(c),
        });
    Ok(Value::Text(translated.collect()))
}

fn normalize(_: &Call, v: &[Value]) -> Outcome {
    let (text, form) = (v[0].str(), v.get(1).map_or("NFC", Value::str).to_uppercase());
    use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
    Ok(Value::Text(match form.as_str() {
        "NFC" => ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned(),
        "NFKC" => ComposingNormalizerBorrowed::new_nfkc().normalize(text).into_owned(),
        "NFD" => DecomposingNormalizerBorrowed::new_nfd().normalize(text).into_owned(),
        "NFKD" => DecomposingNormalizerBorrowed::new_nfkd().normalize(text).into_owned(),
        _ => return invalid("Normalization form must be one of [NFD, NFC, NFKD, NFKC]"),
    }))
}

fn concat(call: &Call, v: &[Value]) -> Outcome {
    Ok(match call.result {
        DataType::Binary => Value::Bytes(v.iter().flat_map(|v| v.bytes().to_vec()).collect()),
        DataType::List(_) => {
            let list = |kind: &DataType| matches!(kind, DataType::List(_));
            // An item beside an array is one item more, also when it is NULL.
            let all_lists = call.kinds.iter().all(list);
            if v.iter().zip(call.kinds).any(|(v, kind)| v.is_null() && (all_lists || list(kind))) {
                return Ok(Value::Null);
            }
            let items = v.iter().zip(call.kinds).flat_map(|(value, kind)| {
                let own = *kind == *call.result;
                if own { value.items().to_vec() } else { vec![value.clone()] }
            });
            Value::List(items.collect())
        }
        _ if v.iter().any(Value::is_null) => Value::Null,
        _ => Value::Text(v.iter().map(Value::str).collect()),
    })
}

fn concat_ws(_: &Call, v: &[Value]) -> Outcome {
    let Some((separator, parts)) = v.split_first().filter(|(first, _)| !first.is_null()) else {
        return Ok(Value::Null);
    };
    let parts = parts.iter().flat_map(|part| match part {
        Value::List(items) => items.clone(),
        other => vec![other.clone()],
    });
    let parts: Vec<String> =
        parts.filter(|part| !part.is_null()).map(|part| part.str().to_owned()).collect();
    Ok(Value::Text(parts.join(separator.str())))
}

/// Digits as a card has them, by Luhn's check.
fn luhn(_: &Call, v: &[Value]) -> Outcome {
    let text = v[0].str();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.is_empty() {
            true => Ok(Value::Boolean(false)),
            false => invalid("Input must only contain digits"),
        };
    }
    let digits = text.bytes().rev().map(|b| u32::from(b - b'0')).enumerate();
    let sum: u32 = digits
        .map(|(at, digit)| match (at % 2, digit) {
            (0, digit) => digit,
            (_, digit) => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    Ok(Value::Boolean(sum.is_multiple_of(10)))
}

/// `1.5M`.
fn format_number(_: &Call, v: &[Value]) -> Outcome {
    let number = v[0].double();
    let (mut size, mut unit) = (number.abs(), 0);
    const UNITS: [&str; 6] = ["", "K", "M", "B", "T", "Q"];
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let places = if size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else {
        2
    };
    let sign = if number < 0.0 { "-" } else { "" };
    let text = format!("{size:.places$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    Ok(Value::Text(format!("{sign}{text}{}", UNITS[unit])))
}

fn data_size(_: &Call, v: &[Value]) -> Outcome {
    const UNITS: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
    let text = v[0].str();
    let wrong = || format!("INVALID_FUNCTION_ARGUMENT: Invalid data size: '{text}'");
    let end = text.find(|c: char| c.is_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(end);
    let power = UNITS.iter().position(|known| *known == unit).ok_or_else(wrong)?;
    let (digits, scale) = decimal::parse(number).ok_or_else(wrong)?;
    let factor = 1i128 << (10 * power as u32);
    let bytes = digits
        .checked_mul(factor)
        .and_then(|d| d.checked_div(decimal::power(scale.unsigned_abs().into())?));
    bytes.map(|bytes| Value::Decimal(bytes, 0)).ok_or_else(wrong)
}

const OF_TEXT: &[&str] = &["(varchar) -> varchar"];
const TRIM: &[&str] = &["(varchar) -> varchar", "(varchar, varchar) -> varchar"];
const PAD: &[&str] = &["(varchar, bigint, varchar) -> varchar"];

/// The functions.
pub const FUNCTIONS: &[Spec] = &[
    call::of(
        "concat",
        &[
            "(varchar...) -> varchar",
            "(varbinary...) -> varbinary",
            "(array(E)...) -> array(E)",
            "(array(E), E) -> array(E)",
            "(E, array(E)) -> array(E)",
        ],
        concat,
    )
    .with_nulls(),
    call::of(
        "concat_ws",
        &["(varchar, array(varchar)) -> varchar", "(varchar...) -> varchar"],
        concat_ws,
    )
    .with_nulls(),
    call::of("length", &["(varchar) -> bigint", "(varbinary) -> bigint"], |_, v| {
        Ok(Value::Whole(match &v[0] {
            Value::Bytes(bytes) => bytes.len() as i64,
            text => text.str().chars().count() as i64,
        }))
    }),
    call::of("lower", OF_TEXT, |_, v| Ok(Value::Text(v[0].str().to_lowercase()))),
    call::of("upper", OF_TEXT, |_, v| Ok(Value::Text(v[0].str().to_uppercase()))),
    call::of(
        "reverse",
        &["(varchar) -> varchar", "(varbinary) -> varbinary", "(array(E)) -> array(E)"],
        |_, v| {
            Ok(match &v[0] {
                Value::List(items) => Value::List(items.iter().rev().cloned().collect()),
                Value::Bytes(bytes) => Value::Bytes(bytes.iter().rev().copied().collect()),
                text => Value::Text(text.str().chars().rev().collect()),
            })
        },
    ),
    call::of("trim", TRIM, |_, v| Ok(trimmed(v, true, true))),
    call::of("ltrim", TRIM, |_, v| Ok(trimmed(v, true, false))),
    call::of("rtrim", TRIM, |_, v| Ok(trimmed(v, false, true))),
    call::of("lpad", PAD, |_, v| padded(v, true)),
    call::of("rpad", PAD, |_, v| padded(v, false)),
    call::of(
        "substr",
        &[
            "(varchar, bigint) -> varchar",
            "(varchar, bigint, bigint) -> varchar",
            "(varbinary, bigint) -> varbinary",
            "(varbinary, bigint, bigint) -> varbinary",
        ],
        |_, v| {
            let (start, length) = (v[1].whole(), v.get(2).map(Value::whole));
            Ok(match &v[0] {
                Value::Bytes(bytes) => {
                    // One character a byte, so that both are counted alike.
                    let letters: String = bytes.iter().map(|b| char::from(*b)).collect();
                    let part = substring(&letters, start, length);
                    Value::Bytes(part.chars().map(|c| c as u8).collect())
                }
                text => Value::Text(substring(text.str(), start, length)),
            })
        },
    ),
    call::of(
        "strpos",
        &["(varchar, varchar) -> bigint", "(varchar, varchar, bigint) -> bigint"],
        strpos,
    ),
    call::of("starts_with", &["(varchar, varchar) -> boolean"], |_, v| {
        Ok(Value::Boolean(v[0].str().starts_with(v[1].str())))
    }),
    call::of("ends_with", &["(varchar, varchar) -> boolean"], |_, v| {
        Ok(Value::Boolean(v[0].str().ends_with(v[1].str())))
    }),
    call::of(
        "replace",
        &["(varchar, varchar) -> varchar", "(varchar, varchar, varchar) -> varchar"],
        |_, v| Ok(Value::Text(v[0].str().replace(v[1].str(), v.get(2).map_or("", Value::str)))),
    ),
    call::of("translate", &["(varchar, varchar, varchar) -> varchar"], translate),
    call::of(
        "split",
        &["(varchar, varchar) -> array(varchar)", "(varchar, varchar, bigint) -> array(varchar)"],
        split,
    ),
    call::of("$listagg", &["(array(varchar), varchar) -> varchar"], |_, v| {
        let there: Vec<&str> =
            v[0].items().iter().filter(|item| !item.is_null()).map(Value::str).collect();
        if there.is_empty() {
            return Ok(Value::Null);
        }
        let joined = there.join(v[1].str());
        match joined.len() > LISTED_BYTES_MAX {
            true => invalid("Concatenated string has to be less than 1048576 bytes"),
            false => Ok(Value::Text(joined)),
        }
    }),
    call::of("split_part", &["(varchar, varchar, bigint) -> varchar"], split_part),
    call::of("chr", &["(bigint) -> varchar"], |_, v| {
        let number = v[0].whole();
        let letter = u32::try_from(number).ok().and_then(char::from_u32);
        letter.map_or_else(
            || invalid(format!("Not a valid Unicode code point: {number}")),
            |letter| Ok(Value::Text(letter.to_string())),
        )
    }),
    call::of("codepoint", &["(varchar) -> integer"], |_, v| {
        let mut letters = v[0].str().chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => Ok(Value::Whole(i64::from(u32::from(letter)))),
            _ => invalid("Input string must be a single character string"),
        }
    }),
    call::of("levenshtein_distance", &["(varchar, varchar) -> bigint"], levenshtein),
    call::of("hamming_distance", &["(varchar, varchar) -> bigint"], hamming),
    call::of("soundex", OF_TEXT, soundex),
    call::of("normalize", TRIM, normalize),
    call::of("luhn_check", &["(varchar) -> boolean"], luhn),
    call::of("format_number", &["(bigint) -> varchar", "(double) -> varchar"], format_number),
    call::of("parse_data_size", &["(varchar) -> decimal(38,0)"], data_size),
];
