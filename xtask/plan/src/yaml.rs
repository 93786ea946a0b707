//! Text in YAML, where a bare word may be a number, a truth or nothing.

use std::fmt::Write as _;

/// `text` as a double-quoted scalar of ASCII characters. `GetTemplate` gives others back as `?`.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        let code = u32::from(c);
        // Writing to a string cannot fail.
        let written = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            ' '..='~' => write!(out, "{c}"),
            _ if code <= 0xFF => write!(out, "\\x{code:02x}"),
            _ if code <= 0xFFFF => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
        written.unwrap_or_default();
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn everything_is_quoted_in_ascii() {
        assert_eq!(quoted("null"), r#""null""#);
        assert_eq!(quoted("a\"b\\c\t\u{e9}"), r#""a\"b\\c\x09\xe9""#);
        assert_eq!(quoted("Я \u{1F600}"), r#""\u042f \U0001f600""#);
    }
}
