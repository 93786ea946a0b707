//! How the lines of a text become fields: what separates them, and where the header is.

use csv::ByteRecord;
use steppe_wire::etl::header::trimmed;
use steppe_wire::etl::records::Records;
use steppe_wire::look::Dialect;

/// What may separate fields, the likelier first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Lines before a header that are looked for.
const SKIPPED_MAX: u64 = 40;
/// Records that a guess rests on.
const RECORDS_MAX: usize = 200;
/// The share of them that has as many fields as the header.
const LIKE_SHARE: f64 = 0.9;

/// The dialect of a text that begins so; none when it has no table of several columns.
pub fn of(begin: &[u8]) -> Option<Dialect> {
    // A line that is cut off by the end of what was read has too few fields.
    let whole = match begin.iter().rposition(|b| matches!(b, b'\n' | b'\r')) {
        Some(end) if RECORDS_MAX * 20 < begin.len() => &begin[..=end],
        _ => begin,
    };
    let found = DELIMITERS.iter().filter_map(|delimiter| {
        let (skip_lines, fields) = header(whole, *delimiter)?;
        let delimiter = char::from(*delimiter);
        Some(((std::cmp::Reverse(skip_lines), fields), Dialect { delimiter, skip_lines }))
    });
    // Of several, the one that needs fewest lines before it and makes most of a line: a decimal
    // comma separates, too, but not in the header. The likelier one of equals.
    found.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, dialect)| dialect)
}

/// The line of the header, counted from 0, and its fields.
fn header(text: &[u8], delimiter: u8) -> Option<(u64, usize)> {
    let mut rest = text;
    for skipped in 0..=SKIPPED_MAX {
        if let Some(fields) = table(rest, delimiter) {
            return Some((skipped, fields));
        }
        rest = after_line(rest)?;
    }
    None
}

/// What comes after the first line.
fn after_line(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|b| matches!(b, b'\n' | b'\r'))?;
    let windows = text[end] == b'\r' && text.get(end + 1) == Some(&b'\n');
    let rest = &text[end + 1 + usize::from(windows)..];
    (!rest.is_empty()).then_some(rest)
}

/// How many fields the header has, when the first line is one: records like it follow.
fn table(text: &[u8], delimiter: u8) -> Option<usize> {
    let (mut records, mut record) = (Records::new(text, delimiter, 0), ByteRecord::new());
    let stand = records.read(&mut record).ok()??;
    let filled = |record: &ByteRecord| {
        let texts = record.iter().map(|field| String::from_utf8_lossy(field));
        texts.filter(|text| !trimmed(text).is_empty()).count()
    };
    let (fields, named) = (record.len(), filled(&record));
    // A header has names; a title may have delimiters behind it.
    if stand.line != 1 || named < 2 || 2 * named < fields {
        return None;
    }
    let (mut like, mut all) = (0usize, 0usize);
    while all < RECORDS_MAX
        && let Some(stand) = records.read(&mut record).ok()?
    {
        // Notes may follow the table after an empty line.
        if stand.empty_line.is_some() && like > 0 {
            break;
        }
        all += 1;
        like += usize::from(record.len() == fields && filled(&record) >= 2);
    }
    (like > 0 && like as f64 >= LIKE_SHARE * all as f64).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<(char, u64)> {
        of(text.as_bytes()).map(|found| (found.delimiter, found.skip_lines))
    }

    #[test]
    fn delimiters_and_headers_are_found() {
        for (text, expected) in [
            ("region,year,n\nA,2000,1\nB,2000,2\n", Some((',', 0))),
            ("region;year;n\nA;2000;1,5\nB;2000;2,5\n", Some((';', 0))),
            ("day;n\n2024-01-01;1,5\n2024-01-02;2,5\n", Some((';', 0))),
            ("region\tyear\nA, B\t2000\nC, D\t2001\n", Some(('\t', 0))),
            ("a|b\n1|2\n", Some(('|', 0))),
            ("Title of it\n\nregion;2000;2001\nA;1;2\nB;3;4\n", Some((';', 2))),
            ("Title, 5\" of it;;\r\nregion;2000;2001\r\nA;1;2\r\n", Some((';', 1))),
            ("region,year,n,\nA,2000,1,\n", Some((',', 0))),
            ("region,year\nA,2000\n\nSource: office\n", Some((',', 0))),
            ("region,year\rA,2000\rB,2001\r", Some((',', 0))),
            ("\u{feff}\"a b\",\"c\nd\"\n1,2\n", Some((',', 0))),
            ("one\n2\n3\n", None),
            ("A sentence, with a comma.\nAnd another one.\n", None),
            ("region,year\n", None),
            ("", None),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }
}
