//! Text that others wrote, made fit for terminals, logs and mails.
//!
//! Names of series, columns and keys come from data and requests. Control characters move cursors,
//! ring bells and begin new lines; marks of direction make text read as what it is not. Both are
//! shown instead of sent.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with every control character, mark of direction and line separator as `\u{…}`.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// As [`shown`], and at most about `chars_max` characters of it: what is left out is counted.
pub fn shown_at_most(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => shown(text),
        Some((end, _)) => {
            let (kept, rest) = (shown(&text[..end]), text.len() - end);
            Cow::Owned(format!("{kept}… ({rest} bytes more)"))
        }
    }
}

/// Whether a terminal or a mail would act on `c` rather than show it.
fn is_hidden(c: char) -> bool {
    let direction = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}');
    c.is_control() || direction || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_shown() {
        let cases = [
            ("Алматы — 東京", "Алматы — 東京"),
            ("a\u{1b}]0;owned\u{7}", "a\\u{1b}]0;owned\\u{7}"),
            ("one\r\ntwo\ttabs", "one\\u{d}\\u{a}two\\u{9}tabs"),
            ("\u{202e}txt.exe\u{2069}", "\\u{202e}txt.exe\\u{2069}"),
            ("\u{9b}31m\u{2028}", "\\u{9b}31m\\u{2028}"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected);
        }
        assert!(matches!(shown("plain"), Cow::Borrowed(_)), "nothing is copied");
    }

    #[test]
    fn long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(shown_at_most("ąąą", 3), "ąąą");
        assert_eq!(shown_at_most("ąąą\u{7}", 2), "ąą… (3 bytes more)");
    }
}
