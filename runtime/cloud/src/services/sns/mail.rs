//! Mails, as a mail server would have received them.
//!
//! What a message says is somebody else's text: headers cannot be added by it, and characters that
//! control a terminal or turn the direction of writing are shown as `\u{…}`.

use jiff::Timestamp;

/// Whether something may be the endpoint of an email subscription.
pub fn check_email(address: &str) -> Result<(), String> {
    let plain = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_graphic() && !"\"(),:;<>@[\\]".contains(c))
    };
    match address.split_once('@') {
        Some((user, host)) if plain(user) && plain(host) && address.len() <= 254 => Ok(()),
        _ => Err("Invalid parameter: Email address".to_owned()),
    }
}

/// A mail with its headers.
pub fn mail(
    from: &str,
    to: &str,
    subject: &str,
    now: Timestamp,
    id: &str,
    message: &str,
) -> String {
    let line = |text: &str| printable(text, "");
    let date = now.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let body = printable(message, "\n\t").replace('\n', "\r\n");
    format!(
        "From: {} <no-reply@sns.amazonaws.com>\r\nTo: {}\r\nSubject: {}\r\nDate: {date}\r\n\
         Message-ID: <{id}@sns.amazonaws.com>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         {body}\r\n",
        line(from),
        line(to),
        line(subject),
    )
}

/// Shows what would control a terminal or a mail program, or turn the direction of writing.
fn printable(text: &str, kept: &str) -> String {
    let turns = |c: char| {
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}')
    };
    let show = |c: char| {
        if (c.is_control() || turns(c)) && !kept.contains(c) {
            c.escape_unicode().to_string()
        } else {
            c.to_string()
        }
    };
    text.replace("\r\n", "\n").chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_has_no_headers_that_a_text_brought_along() {
        let name = "Steppe\r\nBcc: thief@example.org";
        let body = "A\nB\u{1b}]0;title\u{7}\u{202e}C";
        let mail = mail(name, "a@b.c", "Ready\r\nX: 1", Timestamp::UNIX_EPOCH, "id", body);
        let (head, body) = mail.split_once("\r\n\r\n").expect("a head and a body");
        let names: Vec<&str> = head.lines().filter_map(|l| Some(l.split_once(':')?.0)).collect();
        assert_eq!(names, ["From", "To", "Subject", "Date", "Message-ID", "Content-Type"]);
        assert_eq!(body, "A\r\nB\\u{1b}]0;title\\u{7}\\u{202e}C\r\n");
    }

    #[test]
    fn addresses_are_checked() {
        assert!(check_email("team+forecasts@example.org").is_ok());
        for address in ["", "a", "@b", "a@", "a@b\r\nBcc: c@d", "a b@c", "a@b,c@d", "<a@b>"] {
            assert!(check_email(address).is_err(), "{address}");
        }
    }
}
