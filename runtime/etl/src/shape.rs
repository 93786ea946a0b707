//! What a file is when it is not the table that was expected: said by name, with what to do.

use std::io::Read;

use steppe_wire::format::{BEGINNING_BYTES, Format};

/// What to do about a file that the deployer reads and this engine does not.
pub const CONVERTS: &str = "`cargo xtask deploy --data FILE` converts it and uploads CSV in UTF-8";
/// Delimiters that tables have, with how the manifest writes them.
const DELIMITERS: [(char, &str); 4] = [(',', ","), (';', ";"), ('\t', "\\t"), ('|', "|")];
/// Columns named like years that make a table wide.
const WIDE_YEARS: usize = 3;

/// What keeps a file from being read as CSV in UTF-8, told by its beginning.
pub fn defect(file: impl Read) -> std::io::Result<Option<String>> {
    let mut beginning = Vec::new();
    file.take(BEGINNING_BYTES as u64).read_to_end(&mut beginning)?;
    let format = Format::of(&beginning);
    let way = match format {
        Format::Text => return Ok(encoding_defect(&beginning)),
        Format::Other(_, way) => way,
        _ => CONVERTS,
    };
    Ok(Some(format!("the file is {}\nhint: {way}", format.name())))
}

/// Text that is not UTF-8 is of an older encoding; the deployer knows how to find out which.
fn encoding_defect(beginning: &[u8]) -> Option<String> {
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
            "the header is one column with `{written}` in it: set `[data] delimiter = \
             \"{written}\"` in the manifest"
        );
    }
    let year = |c: &&&str| {
        let digits = c.bytes().take_while(u8::is_ascii_digit).count();
        digits == 4 && c[..4].parse::<u16>().is_ok_and(|y| (1800..2200).contains(&y))
    };
    if columns.iter().filter(year).count() >= WIDE_YEARS {
        return "the table is wide, with years as columns: in the manifest `[data.wide]` makes a \
                record of each cell, with `keep`: columns of the file that stay, `names` and \
                `values`: columns that get the years and the cells"
            .to_owned();
    }
    if columns.iter().filter(|c| !c.is_empty()).count() == 1 {
        return "this line has one field, as a title has: when the header is below, say in the \
                manifest how many lines are before it: `[data] skip_lines = 1`"
            .to_owned();
    }
    "name the file's columns under `[data.columns]` in the manifest, or rename them in the file"
        .to_owned()
}

/// What to do about a record with more or fewer fields than the header.
pub fn record_hint(fields: u64, expected: u64) -> &'static str {
    if fields < expected {
        "other lines follow the table, such as footnotes: `[data] footnotes = \"leave-out\"` in \
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
            "`{value}` stands where there is no value: `[data] missing = [\"{value}\"]` in the \
             manifest leaves such records out"
        ));
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let grouped = |separator: &char| {
        let mut groups = value.trim_start_matches('-').split(*separator);
        let first = groups.next().is_some_and(|g| digits(g) && g.len() <= 3);
        let rest: Vec<&str> = groups.collect();
        first && !rest.is_empty() && rest.iter().all(|g| digits(g) && g.len() == 3)
    };
    if let Some((separator, name)) = THOUSANDS.iter().find(|(separator, _)| grouped(separator)) {
        let written = if separator.is_whitespace() { ' ' } else { *separator };
        return Some(format!(
            "`{value}` has {name} as thousands separator: `[data] thousands = \"{written}\"` in \
             the manifest reads such numbers"
        ));
    }
    let whole = value.split_once('.').filter(|(whole, rest)| {
        let whole = digits(whole.trim_start_matches('-'));
        whole && !rest.is_empty() && rest.bytes().all(|b| b == b'0')
    });
    whole.map(|_| {
        format!(
            "`{value}` is a whole number with decimals: in the cleaning SQL write \
             `CAST(TRY_CAST(TRIM({column}) AS DOUBLE) AS BIGINT)`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> String {
        defect(bytes).expect("readable").unwrap_or_default()
    }

    #[test]
    fn a_file_that_is_no_csv_is_told_by_name() {
        assert_eq!(told("region,year\nАлматы,2000\n".as_bytes()), "");
        let converts = format!("\nhint: {CONVERTS}");
        let utf16 = told(b"\xff\xfer\0e\0");
        assert_eq!(utf16, format!("the file is text in UTF-16{converts}"));
        assert!(told(b"\x1f\x8b\x08").starts_with("the file is compressed by gzip"));
        assert!(told(b"PAR1\x15\0").ends_with("to 'data.csv' (header)\"`"));
        // `region\nАкмола` in Windows-1251.
        let cyrillic = told(b"region\n\xc0\xea\xec\xee\xeb\xe0\n");
        assert_eq!(cyrillic, format!("the text is not UTF-8 (line 2){converts}"));
    }

    #[test]
    fn values_get_a_hint_that_never_leads_to_a_wrong_number() {
        let hint = |value| value_hint("marriages", value).unwrap_or_default();
        assert!(hint("1\u{a0}023").contains("U+00A0") && !hint("1\u{a0}023").contains("reject"));
        assert!(hint("12 345 678").contains("a space"));
        assert!(hint("1,023").contains("a comma") && hint("1'023").contains("thousands = \"'\""));
        assert!(hint("1\u{a0}023").contains("thousands = \" \""));
        assert!(hint("...").contains("missing = [\"...\"]"));
        assert!(hint("222054.0").contains("DOUBLE"));
        for other in ["12a", "1 02", "", "1.5", "12 34", "1234 567"] {
            assert_eq!(hint(other), "", "{other}");
        }
    }

    #[test]
    fn headers_get_a_hint_that_helps() {
        assert!(header_hint(&["region;year"], ',').contains("delimiter = \";\""));
        assert!(header_hint(&["region", "2000", "2001", "2002"], ',').contains("[data.wide]"));
        assert!(header_hint(&["год", "2000 г.", "2001 г.", "2002 г."], ',').contains("wide"));
        assert!(header_hint(&["Браки", "", ""], ',').contains("skip_lines = 1"));
        assert!(header_hint(&["a", "b"], ',').contains("[data.columns]"));
    }
}
