//! Texts in SQL, and the plain form of what numbers look like in tables.
//!
//! Regular expressions mean the same to Java and to Rust, and have no backslash, because Spark's
//! literals read it and the other engine's do not.

use steppe_wire::etl::Form;

use steppe_spec::{Format, Input};

/// Kinds of spaces between thousands.
const SPACES: &str = " \u{a0}\u{202f}\u{2009}";
/// What is left out around a value: white space, and the marks that end lines for Java.
const AROUND: &str = " \t\n\r\u{85}\u{a0}\u{2009}\u{202f}\u{2028}\u{2029}\u{feff}";

/// A text as both engines read it. Two quotes in a literal are one quote to one engine and none to
/// the other, and a backslash is itself only to one.
pub fn literal(text: &str) -> String {
    let special = |c: char| matches!(c, '\'' | '\\');
    if !text.contains(special) {
        return format!("'{text}'");
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(special) {
        let code = u32::from(rest.as_bytes()[at]);
        parts.push(format!("'{}', CHR({code})", &rest[..at]));
        rest = &rest[at + 1..];
    }
    parts.push(format!("'{rest}'"));
    format!("CONCAT({})", parts.join(", "))
}

/// What a column says without white space around it.
pub fn inner(column: &str) -> String {
    format!("BTRIM({column}, '{AROUND}')")
}

/// Whether a column says that there is no value; none when nothing says so.
pub fn is_missing(column: &str, marks: &[String]) -> Option<String> {
    let marks: Vec<String> = marks.iter().map(|mark| literal(mark)).collect();
    (!marks.is_empty()).then(|| format!("{} IN ({})", inner(column), marks.join(", ")))
}

/// The plain forms of the numbers of an input.
pub fn forms(input: &Input) -> Vec<Form> {
    if !matches!(input.format, Format::Csv | Format::Json) {
        return vec![];
    }
    let names = input.wide.as_ref().map(|wide| wide.names.as_str());
    let numbers = input.columns.iter().filter(|c| c.kind.is_number());
    // Names of columns of the file reach the SQL as they are.
    let read = numbers.filter(|c| Some(c.name.as_str()) != names);
    let form = |name: &String| Some(Form { column: name.clone(), sql: form(input, name)? });
    read.filter_map(|c| form(&c.name)).collect()
}

/// What looks like a number of the manifest's kind becomes one; other values stay what they are
/// inside of white space, and are for the rules to judge.
fn form(input: &Input, column: &str) -> Option<String> {
    let (value, decimal) = (inner(column), input.decimal);
    let mut cases = Vec::new();
    if let Some(missing) = is_missing(column, &input.missing) {
        cases.push(format!("WHEN {missing} THEN CAST(NULL AS STRING)"));
    }
    let pointed = |number: String| match decimal {
        '.' => number,
        comma => format!("REPLACE({number}, '{comma}', '.')"),
    };
    if let Some(thousands) = input.thousands {
        let separators = if thousands == ' ' { SPACES.to_owned() } else { thousands.to_string() };
        let groups =
            format!("^[-+]?[1-9][0-9]?[0-9]?([{separators}][0-9]{{3}})+([{decimal}][0-9]+)?$");
        let joined = separators.chars().fold(value.clone(), |joined, separator| {
            format!("REPLACE({joined}, {}, '')", literal(&separator.to_string()))
        });
        cases.push(format!(
            "WHEN REGEXP_LIKE({value}, {}) THEN {}",
            literal(&groups),
            pointed(joined)
        ));
    }
    if decimal != '.' {
        cases.push(format!(
            "WHEN REGEXP_LIKE({value}, '^[-+]?[0-9]+[{decimal}][0-9]+$') THEN {}",
            pointed(value.clone())
        ));
        // With a decimal comma a point has no meaning: it must not become one by being read.
        cases.push(format!(
            "WHEN REGEXP_LIKE({value}, '^[-+]?[0-9]*[.][0-9]*([eE][-+]?[0-9]+)?[dDfF]?$') \
             THEN CONCAT('not a number: ', {value})"
        ));
    }
    (!cases.is_empty()).then(|| format!("CASE {} ELSE {value} END", cases.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_no_quotes_and_backslashes() {
        assert_eq!(literal("Абай"), "'Абай'");
        assert_eq!(literal("d'Ivoire\\"), "CONCAT('d', CHR(39), 'Ivoire', CHR(92), '')");
    }
}
