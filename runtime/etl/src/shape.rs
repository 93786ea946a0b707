//! What records and values are when they are not what was expected: said with what to do.

/// What to do about a record with more or fewer fields than the header.
pub fn record_hint(fields: u64, expected: u64) -> &'static str {
    if fields < expected {
        "other lines follow the table, such as footnotes: `footnotes = \"leave-out\"` in \
         the manifest reads the table only; or fields of this record are missing"
    } else {
        "a field with the delimiter in it must be quoted"
    }
}

/// Separators of thousands, with how people call them.
const THOUSANDS: [(char, &str); 6] = [
    ('\u{a0}', "a no-break space (U+00A0)"),
    ('\u{202f}', "a narrow no-break space (U+202F)"),
    ('\u{2009}', "a thin space (U+2009)"),
    (' ', "a space"),
    ('\'', "an apostrophe"),
    (',', "a comma"),
];
/// What offices write where there is no value.
const MISSING: [&str; 10] = ["...", "…", "..", "-", "–", "—", "x", "X", "n/a", "NA"];

/// How the manifest has a value read that is not read as a number; none when it cannot be told
/// what it means. To reject such records would leave out exactly the large or new values.
pub fn value_hint(column: &str, found: &str) -> Option<String> {
    let value = found.trim();
    if MISSING.contains(&value) {
        return Some(format!(
            "`{value}` stands where there is no value: `missing = [\"{value}\"]` in the \
             manifest leaves such records out"
        ));
    }
    if let Some((separator, name)) =
        THOUSANDS.iter().find(|(c, _)| groups(value, *c) > usize::from(*c == ',') + 1)
    {
        let written = if separator.is_whitespace() { ' ' } else { *separator };
        return Some(format!(
            "`{value}` has {name} as thousands separator: `thousands = \"{written}\"` in \
             the manifest reads such numbers"
        ));
    }
    let pointed = value.replace(',', ".");
    let whole = value.replace(',', "");
    let double = format!("`type = \"double\"` for `{column}`");
    match (groups(value, '.'), groups(value, ',')) {
        (3.., _) => Some(format!(
            "`{value}` has a point as thousands separator: `thousands = \".\"` and \
             `decimal = \",\"` in the manifest read such numbers"
        )),
        (2, _) => Some(format!(
            "`{value}` can mean {} or {value}: say in the manifest which, by `thousands = \
             \".\"` and `decimal = \",\"`, or by {double}",
            value.replace('.', "")
        )),
        (_, 2) => Some(format!(
            "`{value}` can mean {whole} or {pointed}: say in the manifest which, by `[data] \
             thousands = \",\"`, or by `decimal = \",\"` and {double}"
        )),
        _ if is_decimal(value, ',') => Some(format!(
            "`{value}` has a decimal comma: `[data] decimal = \",\"` and {double} in the manifest \
             read such numbers"
        )),
        _ if is_decimal(value, '.') => {
            Some(format!("`{value}` has decimals: {double} in the manifest reads such numbers"))
        }
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// How many groups of digits a number has between these separators, when all are right.
fn groups(value: &str, separator: char) -> usize {
    let mut groups = value.trim_start_matches('-').split(separator);
    let first = groups.next().is_some_and(|g| is_number(g) && g.len() <= 3);
    let rest: Vec<&str> = groups.collect();
    let right = first && rest.iter().all(|g| is_number(g) && g.len() == 3);
    if right { 1 + rest.len() } else { 0 }
}

fn is_decimal(value: &str, separator: char) -> bool {
    let parts = value.split_once(separator);
    parts.is_some_and(|(whole, rest)| is_number(whole.trim_start_matches('-')) && is_number(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_get_a_hint_that_never_leads_to_a_wrong_number() {
        let hint = |value| value_hint("marriages", value).unwrap_or_default();
        assert!(hint("1\u{a0}023").contains("U+00A0") && !hint("1\u{a0}023").contains("reject"));
        assert!(hint("12 345 678").contains("a space"));
        assert!(
            hint("1,023,000").contains("a comma") && hint("1'023").contains("thousands = \"'\"")
        );
        assert!(hint("1\u{a0}023").contains("thousands = \" \""));
        assert!(hint("...").contains("missing = [\"...\"]"));
        assert!(hint("222054.0").contains("`type = \"double\"` for `marriages`"));
        assert!(hint("1.000").contains("can mean 1000 or 1.000"));
        assert!(hint("1,023").contains("can mean 1023 or 1.023"));
        assert!(hint("1.000.000").contains("thousands = \".\"` and `decimal"));
        assert!(hint("12,5").contains("a decimal comma") && hint("1.5").contains("has decimals"));
        for other in ["12a", "1 02", "", "12 34", "1234 567", "1,2,3", "1.2.3"] {
            assert_eq!(hint(other), "", "{other}");
        }
    }
}
