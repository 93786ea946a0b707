//! What a file is when it is not the table that was expected: said by name, with what to do.

/// What to do about a file that the deployer reads and this engine does not.
pub const CONVERTS: &str = "`cargo xtask deploy --data FILE` converts it and uploads CSV in UTF-8";
/// Delimiters that tables have, with how the manifest writes them.
const DELIMITERS: [(char, &str); 4] = [(',', ","), (';', ";"), ('\t', "\\t"), ('|', "|")];
/// Columns named like years that make a table wide.
const WIDE_YEARS: usize = 3;

/// What keeps text from being read as UTF-8, told by its beginning. It is of an older encoding; the
/// deployer knows how to find out which.
pub fn encoding_defect(beginning: &[u8]) -> Option<String> {
    let error = std::str::from_utf8(beginning).err()?;
    // The beginning may end inside of a character.
    error.error_len()?;
    let line = 1 + beginning[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
    Some(format!("the text is not UTF-8 (line {line})\nhint: {CONVERTS}"))
}

/// What to do about a header that lacks columns.
pub fn header_hint(columns: &[&str], delimiter: char) -> String {
    let found = |&(other, _): &(char, &str)| {
        other != delimiter && columns.len() == 1 && columns[0].contains(other)
    };
    if let Some((_, written)) = DELIMITERS.into_iter().find(|d| found(d)) {
        return format!(
            "the header is one column with `{written}` in it: set `delimiter = \
             \"{written}\"` of the input in the manifest"
        );
    }
    let year = |c: &&&str| {
        let digits = c.bytes().take_while(u8::is_ascii_digit).count();
        digits == 4 && c[..4].parse::<u16>().is_ok_and(|y| (1800..2200).contains(&y))
    };
    if columns.iter().filter(year).count() >= WIDE_YEARS {
        return "the table is wide, with years as columns: in the manifest `wide` makes a \
                record of each cell, with `keep`: columns of the file that stay, `names` and \
                `values`: columns that get the years and the cells"
            .to_owned();
    }
    if columns.iter().filter(|c| !c.is_empty()).count() == 1 {
        return "this line has one field, as a title has: when the header is below, say in the \
                manifest how many lines are before it: `skip_lines = 1`"
            .to_owned();
    }
    "name the file's columns in `columns` of the manifest, as `from`, or rename them in the file"
        .to_owned()
}

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
    fn text_of_an_older_encoding_is_told_with_its_line() {
        assert_eq!(encoding_defect("region,year\nАлматы,2000\n".as_bytes()), None);
        // `region\nАкмола` in Windows-1251.
        let cyrillic = encoding_defect(b"region\n\xc0\xea\xec\xee\xeb\xe0\n");
        assert_eq!(cyrillic, Some(format!("the text is not UTF-8 (line 2)\nhint: {CONVERTS}")));
    }

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

    #[test]
    fn headers_get_a_hint_that_helps() {
        assert!(header_hint(&["region;year"], ',').contains("delimiter = \";\""));
        assert!(header_hint(&["region", "2000", "2001", "2002"], ',').contains("`wide`"));
        assert!(header_hint(&["год", "2000 г.", "2001 г.", "2002 г."], ',').contains("wide"));
        assert!(header_hint(&["Браки", "", ""], ',').contains("skip_lines = 1"));
        assert!(header_hint(&["a", "b"], ',').contains("`columns`"));
    }
}
