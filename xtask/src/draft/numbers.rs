//! Which texts are numbers, by which convention, and where that is not certain.
//!
//! The rules are those of the SQL that the manifest's `decimal`, `thousands` and `missing` make:
//! what is taken for a number here is read as one there.

use steppe_wire::look::{ColumnLook, Form, FormLook};

/// Texts that stand where there is no value.
const MARKS: [&str; 30] = [
    "…", "...", "..", ".", "-", "--", "–", "—", "x", "X", ":", "*", "?", "n/a", "N/A", "#N/A",
    "n.a.", "na", "NA", "NaN", "nan", "null", "NULL", "Null", "none", "None", "\\N", "(null)",
    "missing", "н/д",
];

/// What stands between digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convention {
    /// Before decimals.
    pub decimal: char,
    /// Between thousands.
    pub thousands: Option<char>,
}

/// Every convention, the plainer first.
const CONVENTIONS: [(char, Option<char>); 11] = [
    ('.', None),
    ('.', Some(' ')),
    ('.', Some(',')),
    ('.', Some('\'')),
    ('.', Some('’')),
    ('.', Some('_')),
    (',', None),
    (',', Some(' ')),
    (',', Some('.')),
    (',', Some('\'')),
    (',', Some('’')),
];

/// The plain one.
pub const PLAIN: Convention = Convention { decimal: '.', thousands: None };

/// A column of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numeric {
    /// Whether all are whole.
    pub is_whole: bool,
    /// Most digits of one.
    pub digits: u32,
    /// Fewest and most decimals.
    pub decimals: (u32, u32),
    /// How many are negative.
    pub negative: u64,
    /// The least and the most of whole numbers.
    pub range: Option<(i64, i64)>,
    /// What stands where there is no value.
    pub marks: Vec<String>,
    /// Why it may mean something else: two readings of one text.
    pub doubt: Option<String>,
}

/// What a pattern of digits is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Whole,
    Fraction,
}

impl Convention {
    /// The one by which most columns are numbers.
    pub fn of(columns: &[&ColumnLook]) -> Self {
        let numbers = |convention: &Self| {
            let certain = |column: &&&ColumnLook| {
                convention.numeric(column).is_some_and(|numeric| numeric.doubt.is_none())
            };
            columns.iter().filter(certain).count()
        };
        let all = CONVENTIONS.map(|(decimal, thousands)| Self { decimal, thousands });
        let better = |best: (Self, usize), next: Self| {
            let count = numbers(&next);
            if count > best.1 { (next, count) } else { best }
        };
        all.into_iter().skip(1).fold((PLAIN, numbers(&PLAIN)), better).0
    }

    /// A text of a column that is one number by one convention and another one by another.
    pub fn doubtful(column: &ColumnLook) -> Option<String> {
        let all = CONVENTIONS.map(|(decimal, thousands)| Self { decimal, thousands });
        all.iter().find_map(|convention| convention.numeric(column)?.doubt)
    }

    /// A column of text as numbers; none when it is another.
    pub fn numeric(&self, column: &ColumnLook) -> Option<Numeric> {
        if column.has_more_texts {
            return None;
        }
        let (mut numeric, mut numbers) = (Numeric { is_whole: true, ..Numeric::default() }, 0);
        let (mut range, mut decimals) = (None::<(i64, i64)>, None::<(u32, u32)>);
        let mut has_range = true;
        for look in &column.forms {
            let Form::Number(pattern) = &look.form else { continue };
            let reading = self.reading(pattern)?;
            numbers += look.count;
            numeric.negative += look.negative;
            numeric.digits = numeric.digits.max(look.digits);
            let own = match reading {
                Reading::Whole => (0, 0),
                Reading::Fraction => (look.last_digits_min, look.last_digits_max),
            };
            decimals = Some(decimals.map_or(own, |d| (d.0.min(own.0), d.1.max(own.1))));
            numeric.is_whole &= reading == Reading::Whole;
            match look.least.zip(look.most) {
                Some((least, most)) => {
                    range = Some(range.map_or((least, most), |r| (r.0.min(least), r.1.max(most))));
                }
                None => has_range = false,
            }
        }
        let others: u64 = column.forms.iter().map(|look| look.count).sum::<u64>() - numbers;
        let marks: u64 = column.texts.iter().map(|(_, count)| count).sum();
        let known = |(text, _): &(String, u64)| MARKS.contains(&text.as_str());
        if numbers == 0 || others != marks || !column.texts.iter().all(known) {
            return None;
        }
        numeric.decimals = decimals.unwrap_or_default();
        numeric.range = range.filter(|_| has_range);
        numeric.marks = column.texts.iter().map(|(text, _)| text.clone()).collect();
        numeric.doubt = self.doubt(&column.forms);
        Some(numeric)
    }

    /// What stands in a column instead of numbers, when there is nothing else.
    pub fn only_marks(column: &ColumnLook) -> Option<Vec<String>> {
        let told: u64 = column.texts.iter().map(|(_, count)| count).sum();
        let all: u64 = column.forms.iter().map(|look| look.count).sum();
        let known = column.texts.iter().all(|(text, _)| MARKS.contains(&text.as_str()));
        let marks = column.texts.iter().map(|(text, _)| text.clone());
        (known && told == all && !column.has_more_texts).then(|| marks.collect())
    }

    fn reading(&self, pattern: &str) -> Option<Reading> {
        let (pattern, has_exponent) = match pattern.strip_suffix('e') {
            Some(rest) => (rest, true),
            None => (pattern, false),
        };
        // A number that begins with a zero is a code.
        if pattern.starts_with('0') {
            return None;
        }
        let mut parts = pattern.split(self.decimal);
        let (whole, fraction) = (parts.next()?, parts.next());
        let is_run =
            |part: &str| part.len() == 1 && part.chars().all(|c| c.is_ascii_alphanumeric());
        if parts.next().is_some() || fraction.is_some_and(|fraction| !is_run(fraction)) {
            return None;
        }
        let plain = is_run(whole) || whole.is_empty() && fraction.is_some() && self.decimal == '.';
        if !plain && (has_exponent || !self.is_grouped(whole)) {
            return None;
        }
        let fractional = fraction.is_some() || has_exponent;
        if has_exponent && fraction.is_some() && self.decimal != '.' {
            return None;
        }
        Some(if fractional { Reading::Fraction } else { Reading::Whole })
    }

    /// `1 3 3`: groups of three digits behind the first.
    fn is_grouped(&self, whole: &str) -> bool {
        let Some(thousands) = self.thousands else { return false };
        let written = if thousands == '’' { '`' } else { thousands };
        let mut groups = whole.split(written);
        let first = groups.next().is_some_and(|first| matches!(first, "1" | "3"));
        let mut more = groups.peekable();
        first && more.peek().is_some() && more.all(|group| group == "3")
    }

    /// An example of what could mean another number as well.
    fn doubt(&self, forms: &[FormLook]) -> Option<String> {
        let numbers = || {
            forms.iter().filter_map(|look| match &look.form {
                Form::Number(pattern) => Some((pattern.as_str(), look)),
                _ => None,
            })
        };
        let has = |pattern: &str| numbers().any(|(other, _)| other == pattern);
        let below_thousand = has("1") || has("3") || has("z");
        let separated = |separator: char| {
            let (short, long) = (format!("1{separator}3"), format!("3{separator}3"));
            let apart = move |pattern: &str| pattern.contains(separator);
            let mut found = numbers().filter(move |(pattern, _)| apart(pattern)).peekable();
            let first = found.peek().map(|(_, look)| look.example.clone());
            let odd = found.all(|(pattern, _)| pattern == short || pattern == long);
            first.filter(|_| odd)
        };
        match (self.decimal, self.thousands) {
            // Larger numbers without a point would be whole, so the point is no separator.
            ('.', None) => separated('.').filter(|_| below_thousand && !has("4")),
            // Where numbers below a thousand have no comma and larger ones have, it is certain.
            ('.', Some(',')) => separated(',').filter(|_| !below_thousand || has("4")),
            (',', thousands) => {
                let point = thousands.and_then(|t| (t == '.').then(|| separated('.')).flatten());
                let point = point.filter(|_| separated(',').is_some() || !has_comma(forms));
                separated(',').or(point.filter(|_| !below_thousand || has("4")))
            }
            _ => None,
        }
    }
}

fn has_comma(forms: &[FormLook]) -> bool {
    forms.iter().any(|look| matches!(&look.form, Form::Number(pattern) if pattern.contains(',')))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A column with these forms, each many times, and these texts.
    pub fn column(patterns: &[&str], texts: &[&str]) -> ColumnLook {
        let look = |form, count, example: &str| FormLook {
            form,
            count,
            example: example.to_owned(),
            negative: 0,
            digits: 4,
            last_digits_min: 1,
            last_digits_max: 3,
            least: Some(1),
            most: Some(9_000),
        };
        let numbers = patterns.iter().map(|p| look(Form::Number((*p).to_owned()), 50, p));
        let others = texts.iter().map(|text| look(Form::Text, 1, text));
        ColumnLook {
            name: "n".to_owned(),
            kind: None,
            is_read: true,
            empty: 0,
            characters: 0,
            distinct: Some(50),
            forms: numbers.chain(others).collect(),
            texts: texts.iter().map(|text| ((*text).to_owned(), 1)).collect(),
            has_more_texts: false,
            moments: None,
        }
    }

    fn convention(patterns: &[&str]) -> (char, Option<char>, bool) {
        let column = column(patterns, &[]);
        let found = Convention::of(&[&column]);
        let certain = found.numeric(&column).is_some_and(|n| n.doubt.is_none());
        (found.decimal, found.thousands, certain)
    }

    #[test]
    fn conventions_are_found_where_they_are_certain() {
        for (patterns, expected) in [
            (&["1", "3", "4"][..], ('.', None, true)),
            (&["1.3", "3.3"], ('.', None, true)),
            (&["z.3", "1.1"], ('.', None, true)),
            (&["3", "1 3"], ('.', Some(' '), true)),
            (&["3", "1,3"], ('.', Some(','), true)),
            (&["1,3,3"], ('.', Some(','), true)),
            (&["1,3.1"], ('.', Some(','), true)),
            (&["1`3"], ('.', Some('’'), true)),
            (&["1,1", "3"], (',', None, true)),
            (&["1 3,1", "3"], (',', Some(' '), true)),
            (&["1.3,1"], (',', Some('.'), true)),
            (&["1.3.3"], (',', Some('.'), true)),
            (&["1,3"], ('.', None, false)),
            (&["1.1e", "z"], ('.', None, true)),
            (&["0", "4"], ('.', None, false)),
        ] {
            assert_eq!(convention(patterns), expected, "{patterns:?}");
        }
        // `906` beside `1.023`: a point between thousands, or decimals?
        let odd = column(&["3", "1.3"], &[]);
        assert_eq!(PLAIN.numeric(&odd).expect("numbers").doubt.as_deref(), Some("1.3"));
    }

    #[test]
    fn marks_are_no_values_and_other_texts_no_numbers() {
        let marked = column(&["3"], &["...", "x"]);
        assert_eq!(PLAIN.numeric(&marked).expect("numbers").marks, ["...", "x"]);
        assert_eq!(PLAIN.numeric(&column(&["3"], &["12a"])), None);
        assert_eq!(PLAIN.numeric(&column(&[], &["-"])), None);
    }
}
