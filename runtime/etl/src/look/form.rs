//! The form of a text: what it could be read as, judged by its letters alone.

use steppe_wire::look::Form;

/// Longest pattern of a number.
pub const PATTERN_MAX: usize = 24;
/// Longest text that names a period.
const PERIOD_BYTES_MAX: usize = 20;
/// English names of months, by which periods are called.
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Number(Pattern),
    Date,
    Time,
    TimeUtc,
    TimeOffset,
    Period,
    OtherDate,
    Text,
}

/// A number's digits and separators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    letters: [u8; PATTERN_MAX],
    length: u8,
}

/// What its digits say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digits {
    /// How many there are.
    pub count: u32,
    /// Those behind the last separator.
    pub last: u32,
    /// All of them as one number with its sign; none when there are more than 18.
    pub value: Option<i64>,
    /// Whether a minus stands before them.
    pub is_negative: bool,
}

impl Kind {
    /// It, as it is told.
    pub fn told(self) -> Form {
        match self {
            Self::Number(pattern) => Form::Number(pattern.text()),
            Self::Date => Form::Date,
            Self::Time => Form::Time,
            Self::TimeUtc => Form::TimeUtc,
            Self::TimeOffset => Form::TimeOffset,
            Self::Period => Form::Period,
            Self::OtherDate => Form::OtherDate,
            Self::Text => Form::Text,
        }
    }
}

impl Pattern {
    fn new() -> Self {
        Self { letters: [0; PATTERN_MAX], length: 0 }
    }

    fn push(&mut self, letter: u8) -> Option<()> {
        *self.letters.get_mut(usize::from(self.length))? = letter;
        self.length += 1;
        Some(())
    }

    fn last(&self) -> Option<u8> {
        self.letters[..usize::from(self.length)].last().copied()
    }

    fn points(&self) -> usize {
        self.letters[..usize::from(self.length)].iter().filter(|b| **b == b'.').count()
    }

    fn text(self) -> String {
        self.letters[..usize::from(self.length)].iter().map(|b| char::from(*b)).collect()
    }
}

/// The form of a text without white space around it, and what its digits say.
pub fn of(text: &str) -> (Kind, Digits) {
    if let Some((pattern, digits)) = number(text) {
        let is_date = pattern.points() == 2 && is_other_date(text);
        let kind = if is_date { Kind::OtherDate } else { Kind::Number(pattern) };
        return (kind, digits);
    }
    let kind = iso(text).unwrap_or_else(|| match text {
        text if text.starts_with(|c: char| c.is_ascii_digit()) && is_other_date(text) => {
            Kind::OtherDate
        }
        text if is_period(text) => Kind::Period,
        _ => Kind::Text,
    });
    (kind, Digits::default())
}

/// Whether a value may name a moment or a period.
pub fn is_moment(kind: Kind, digits: Digits) -> bool {
    match kind {
        Kind::Date | Kind::Time | Kind::TimeUtc | Kind::TimeOffset | Kind::Period => true,
        Kind::Number(pattern) => {
            let whole = pattern.length == 1 && pattern.last() == Some(b'4');
            let value = digits.value.unwrap_or_default();
            let year = (1_000..3_000).contains(&value);
            let month = (100_001..300_000).contains(&value) && (1..=12).contains(&(value % 100));
            whole && (year && digits.count == 4 || month && digits.count == 6)
        }
        Kind::OtherDate | Kind::Text => false,
    }
}

/// The pattern of a number, and its digits.
fn number(text: &str) -> Option<(Pattern, Digits)> {
    let mut bytes = text.as_bytes();
    let mut digits = Digits { value: Some(0), ..Digits::default() };
    if let [sign @ (b'-' | b'+'), rest @ ..] = bytes {
        (digits.is_negative, bytes) = (*sign == b'-', rest);
    }
    let mut pattern = Pattern::new();
    while let Some(first) = bytes.first() {
        if first.is_ascii_digit() {
            let run = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
            pattern.push(run_letter(pattern.length == 0, &bytes[..run]))?;
            add_digits(&mut digits, &bytes[..run]);
            bytes = &bytes[run..];
            continue;
        }
        if matches!(first, b'e' | b'E') {
            let rest = bytes[1..].strip_prefix(b"-").or(bytes[1..].strip_prefix(b"+"));
            let power = rest.unwrap_or(&bytes[1..]);
            let whole = !power.is_empty() && power.iter().all(u8::is_ascii_digit);
            if !whole || !pattern.last()?.is_ascii_alphanumeric() {
                return None;
            }
            pattern.push(b'e')?;
            digits.value = None;
            bytes = &[];
            continue;
        }
        let (letter, length) = separator(bytes)?;
        let doubled = pattern.last().is_some_and(|last| !last.is_ascii_alphanumeric());
        if doubled || pattern.length == 0 && letter != b'.' {
            return None;
        }
        pattern.push(letter)?;
        bytes = &bytes[length..];
    }
    if digits.is_negative {
        digits.value = digits.value.map(|value| -value);
    }
    pattern.last()?.is_ascii_alphanumeric().then_some((pattern, digits))
}

fn run_letter(is_first: bool, run: &[u8]) -> u8 {
    match run {
        b"0" if is_first => b'z',
        [b'0', _, ..] if is_first => b'0',
        [_] | [_, _] => b'1',
        [_, _, _] => b'3',
        _ => b'4',
    }
}

fn add_digits(digits: &mut Digits, run: &[u8]) {
    digits.count += run.len() as u32;
    digits.last = run.len() as u32;
    digits.value = digits
        .value
        .filter(|_| digits.count <= 18)
        .map(|value| run.iter().fold(value, |value, digit| value * 10 + i64::from(digit - b'0')));
}

/// A separator in a number, as patterns have it, and its length in bytes.
fn separator(bytes: &[u8]) -> Option<(u8, usize)> {
    Some(match bytes {
        [b @ (b'.' | b',' | b'\'' | b'_' | b' '), ..] => (*b, 1),
        [0xc2, 0xa0, ..] => (b' ', 2),
        [0xe2, 0x80, 0xaf | 0x89, ..] => (b' ', 3),
        [0xe2, 0x80, 0x99, ..] => (b'`', 3),
        _ => return None,
    })
}

/// Dates and times as the cleaning SQL reads them, and those that it does not.
fn iso(text: &str) -> Option<Kind> {
    let bytes = text.as_bytes();
    let day = bytes.get(..10)?;
    let number = |from: usize, to: usize| -> Option<u32> {
        let part = bytes.get(from..to)?;
        let digits = part.iter().all(u8::is_ascii_digit);
        digits.then(|| part.iter().fold(0, |value, b| value * 10 + u32::from(b - b'0')))
    };
    let (year, month, date) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let plain = day[4] == b'-' && day[7] == b'-' && year > 0;
    if !plain || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&date) {
        return None;
    }
    let Some(mark) = bytes.get(10) else { return Some(Kind::Date) };
    let (hour, minute) = (number(11, 13)?, number(14, 16)?);
    if !matches!(mark, b' ' | b'T') || bytes[13] != b':' || hour > 23 || minute > 59 {
        return None;
    }
    let mut rest = &bytes[16..];
    let seconds = rest.first() == Some(&b':');
    if seconds {
        if number(17, 19)? > 59 {
            return None;
        }
        rest = &bytes[19..];
        if let [b'.', fraction @ ..] = rest {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if !(1..=6).contains(&digits) {
                return None;
            }
            rest = &fraction[digits..];
        }
    }
    // What a text says of other years is not read as a time.
    let reads = seconds && (1_678..2_262).contains(&year);
    match rest {
        [] if reads => Some(Kind::Time),
        [] if !seconds => Some(Kind::Period),
        [b'Z'] if reads => Some(Kind::TimeUtc),
        [b'Z'] => Some(Kind::TimeOffset),
        [b'+' | b'-', ..] if rest.len() <= 6 => Some(Kind::TimeOffset),
        _ => None,
    }
}

fn days_of(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

/// `31.12.2000`, `12/31/2000`, `2000/12/31`, also with a time behind.
fn is_other_date(text: &str) -> bool {
    let day = text.split([' ', 'T']).next().unwrap_or_default();
    let parts = |separator: char| -> Option<[usize; 3]> {
        let mut parts = day.split(separator);
        let three = [parts.next()?, parts.next()?, parts.next()?];
        let digits = three.iter().all(|p| p.bytes().all(|b| b.is_ascii_digit()));
        (digits && parts.next().is_none()).then(|| three.map(str::len))
    };
    let fits = |lengths: [usize; 3]| matches!(lengths, [1 | 2, 1 | 2, 4 | 2] | [4, 1 | 2, 1 | 2]);
    ['.', '/', '-'].into_iter().filter_map(parts).any(fits)
}

/// A year with a quarter, a month or its name.
fn is_period(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if text.len() > PERIOD_BYTES_MAX || !(4..=12).contains(&digits) || !text.is_ascii() {
        return false;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || " -/.".contains(c);
    let runs =
        |wanted: fn(&char) -> bool| text.split(move |c| !wanted(&c)).filter(|run| !run.is_empty());
    let years = runs(char::is_ascii_digit).filter(|run| run.len() == 4).count();
    let short = runs(char::is_ascii_digit).filter(|run| run.len() != 4).all(|run| run.len() <= 2);
    let words = runs(char::is_ascii_alphabetic).all(|word| {
        let word = word.to_ascii_lowercase();
        let month = MONTHS.iter().any(|month| word.starts_with(month));
        month || ["q", "k", "m"].contains(&word.as_str())
    });
    text.chars().all(plain) && years == 1 && short && words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_forms() {
        let number = |pattern: &str| Form::Number(pattern.to_owned());
        for (text, form) in [
            ("0", number("z")),
            ("007", number("0")),
            ("-12", number("1")),
            ("906", number("3")),
            ("2000", number("4")),
            ("0.05", number("z.1")),
            (".5", number(".1")),
            ("1,023", number("1,3")),
            ("1.023.456,5", number("1.3.3,1")),
            ("1\u{a0}023", number("1 3")),
            ("12\u{202f}345", number("1 3")),
            ("1’234", number("1`3")),
            ("1.5e-7", number("1.1e")),
            ("31.12.2000", Form::OtherDate),
            ("12/31/2000", Form::OtherDate),
            ("2000/1/31 12:00", Form::OtherDate),
            ("2000-12-31", Form::Date),
            ("2000-02-30", Form::OtherDate),
            ("2000-12-31 00:30:00", Form::Time),
            ("2000-12-31T00:30:00.25", Form::Time),
            ("2000-12-31T00:30:00Z", Form::TimeUtc),
            ("2000-12-31T00:30:00+02:00", Form::TimeOffset),
            ("2000-12-31T00:30", Form::Period),
            ("2015-Q1", Form::Period),
            ("Jan 2015", Form::Period),
            ("2015M01", Form::Period),
            ("2015-01", Form::Period),
            ("1..5", Form::Text),
            ("1.", Form::Text),
            ("...", Form::Text),
            ("-", Form::Text),
            ("MAC000002", Form::Text),
            ("Kyzylorda 2015 region", Form::Text),
        ] {
            assert_eq!(of(text).0.told(), form, "{text}");
        }
    }

    #[test]
    fn digits_are_counted_with_their_sign() {
        let digits = |text| of(text).1;
        let small = digits("-1 023,25");
        assert_eq!((small.count, small.last, small.value), (6, 2, Some(-102_325)));
        assert!(small.is_negative && digits("1234567890123456789").value.is_none());
        let moment = |text| {
            let (kind, digits) = of(text);
            is_moment(kind, digits)
        };
        for text in ["2000", "201512", "2015-01", "2000-12-31"] {
            assert!(moment(text), "{text}");
        }
        for text in ["906", "201513", "20000", "2000.5", "A", "31.12.2000"] {
            assert!(!moment(text), "{text}");
        }
    }
}
