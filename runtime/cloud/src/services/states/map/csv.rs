//! Files of text with delimiters, as Step Functions parses them.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/example-csv-parse-dist-map.html>

use serde_json::{Map, Value};

/// The rows of a file as objects by the names of the header, which is the first row when none is
/// given. Missing fields are empty, surplus ones are left out, empty lines are no rows.
pub fn rows(text: &str, delimiter: char, header: Option<Vec<String>>) -> Vec<Value> {
    let mut records = records(text, delimiter).into_iter();
    let Some(header) = header.or_else(|| records.next()) else { return vec![] };
    let row = |record: Vec<String>| {
        let mut fields = record.into_iter();
        let named = header.iter().map(|name| {
            let value = fields.next().unwrap_or_default();
            (name.clone(), Value::from(value))
        });
        Value::Object(named.collect::<Map<_, _>>())
    };
    records.map(row).collect()
}

fn records(text: &str, delimiter: char) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (vec![], vec![], String::new());
    let (mut quoted, mut was_quoted) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // Before anything else a backslash is left out.
            '\\' => match chars.peek() {
                Some(&next) if next == '\\' || next == '"' || next == delimiter => {
                    field.push(next);
                    chars.next();
                }
                _ => {}
            },
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => (quoted, was_quoted) = (true, true),
            c if c == delimiter && !quoted => {
                record.push(std::mem::take(&mut field));
                was_quoted = false;
            }
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                if !record.is_empty() || !field.is_empty() || was_quoted {
                    record.push(std::mem::take(&mut field));
                    records.push(std::mem::take(&mut record));
                }
                was_quoted = false;
            }
            c => field.push(c),
        }
    }
    if !record.is_empty() || !field.is_empty() || was_quoted {
        record.push(field);
        records.push(record);
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_have_the_names_of_the_first_row_or_those_that_are_given() {
        let text = "id,name\r\n1,\"a, \"\"b\"\"\nc\"\n2\n3,x,surplus\n\n4,\"\"";
        assert_eq!(
            rows(text, ',', None),
            [
                json!({ "id": "1", "name": "a, \"b\"\nc" }),
                json!({ "id": "2", "name": "" }),
                json!({ "id": "3", "name": "x" }),
                json!({ "id": "4", "name": "" }),
            ]
        );
        let header = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(rows("1|2,3\n", '|', header), [json!({ "a": "1", "b": "2,3" })]);
        assert!(rows("", ',', None).is_empty());
    }

    #[test]
    fn backslashes_escape_themselves_quotes_and_delimiters_and_else_vanish() {
        let text = "path,size\nC:\\\\Program Files\\\\MyApp.exe,65\na\\,b,\\x1\n";
        assert_eq!(
            rows(text, ',', None),
            [
                json!({ "path": "C:\\Program Files\\MyApp.exe", "size": "65" }),
                json!({ "path": "a,b", "size": "x1" }),
            ]
        );
    }
}
