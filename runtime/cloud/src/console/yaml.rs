//! Values as YAML, for people.

use std::fmt::Write;

use serde_json::Value;

/// A value as a document.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

/// Members or items, each on lines of its own.
fn block(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 || !is_item(out) {
                    indent(out, depth);
                }
                let _ = write!(out, "{}:", scalar(name));
                below(out, member, depth);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 || !is_item(out) {
                    indent(out, depth);
                }
                out.push_str("- ");
                match item {
                    Value::Object(members) if !members.is_empty() => block(out, item, depth + 1),
                    Value::Array(inner) if !inner.is_empty() => block(out, item, depth + 1),
                    other => line(out, other, depth),
                }
            }
        }
        other => line(out, other, depth),
    }
}

/// What stands behind a name.
fn below(out: &mut String, value: &Value, depth: usize) {
    let is_block = match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_block {
        out.push('\n');
        block(out, value, depth + 1);
    } else {
        out.push(' ');
        line(out, value, depth);
    }
}

fn line(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::String(text) if text.contains('\n') && !text.starts_with([' ', '\n']) => {
            out.push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
            for line in text.trim_end_matches('\n').split('\n') {
                if !line.is_empty() {
                    indent(out, depth + 1);
                }
                out.push_str(line);
                out.push('\n');
            }
        }
        Value::String(text) => {
            out.push_str(&scalar(text));
            out.push('\n');
        }
        other => {
            let _ = writeln!(out, "{other}");
        }
    }
}

/// A text, in quotes where it would be something else without.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:$()@+".contains(c);
    let plain = text.starts_with(|c: char| c.is_alphabetic())
        && !text.ends_with(':')
        && text.chars().all(is_plain)
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null"
        );
    match plain {
        true => text.to_owned(),
        false => Value::from(text).to_string(),
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Whether an item has just begun.
fn is_item(out: &str) -> bool {
    out.ends_with("- ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::text;

    #[test]
    fn values_are_written_as_people_write_them() {
        let value = json!({
            "Resources": { "B": {
                "Type": "AWS::S3::Bucket", "Tags": [{ "Key": "a", "Value": "1" }, "x"],
            } },
            "Script": "#!/bin/sh\n\necho hi\n", "Empty": {}, "Yes": "yes", "N": [1, [2, 3]],
        });
        let expected = [
            "Resources:",
            "  B:",
            "    Type: AWS::S3::Bucket",
            "    Tags:",
            "      - Key: a",
            "        Value: \"1\"",
            "      - x",
            "Script: |",
            "  #!/bin/sh",
            "",
            "  echo hi",
            "Empty: {}",
            "\"Yes\": \"yes\"",
            "N:",
            "  - 1",
            "  - - 2",
            "    - 3",
            "",
        ];
        assert_eq!(text(&value), expected.join("\n"));
    }
}
