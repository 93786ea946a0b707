//! What is known of a column while its values go by.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};

use steppe_wire::look::{ColumnLook, DISTINCT_MAX, FormLook, MOMENTS_MAX, TEXTS_MAX};

use super::form::{self, Digits, Kind};

/// Forms of a column that are told apart; the rest is text.
const FORMS_MAX: usize = 64;
/// Longest text that is told.
const TEXT_BYTES_MAX: usize = 100;

/// A column.
#[derive(Debug)]
pub struct Column {
    pub name: String,
    pub kind: Option<String>,
    pub is_read: bool,
    empty: u64,
    characters: u64,
    distinct: Option<HashSet<u64>>,
    distinct_max: usize,
    forms: Vec<(Kind, Count)>,
    texts: BTreeMap<String, u64>,
    has_more_texts: bool,
    moments: Option<HashSet<String>>,
    /// The place of the form of the value before: many follow each other.
    newest: usize,
    /// The value before, and what its digits say: tables are often sorted.
    before: (String, Option<(Kind, Digits)>),
}

#[derive(Debug, Clone)]
struct Count {
    count: u64,
    example: String,
    negative: u64,
    digits: u32,
    last: (u32, u32),
    range: Option<(i64, i64)>,
}

/// A value as one number.
pub fn hash(value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Column {
    /// One of `columns` of a file.
    pub fn new(name: String, kind: Option<String>, is_read: bool, columns: usize) -> Self {
        Self {
            name,
            kind,
            is_read,
            empty: 0,
            characters: 0,
            distinct: Some(HashSet::new()),
            distinct_max: (100 * DISTINCT_MAX / columns.max(1)).clamp(1_000, DISTINCT_MAX),
            forms: vec![],
            texts: BTreeMap::new(),
            has_more_texts: false,
            moments: Some(HashSet::new()),
            newest: 0,
            before: (String::new(), None),
        }
    }

    /// Sees the next value, without white space around it.
    pub fn see(&mut self, value: &str) {
        if value.is_empty() {
            self.empty += 1;
            return;
        }
        self.characters += value.len() as u64;
        if let (before, Some((kind, digits))) = &self.before
            && before == value
        {
            let (kind, digits) = (*kind, *digits);
            self.count(kind, digits, value);
            return self.told_apart(kind, value);
        }
        if let Some(distinct) = &mut self.distinct {
            distinct.insert(hash(value));
            if distinct.len() > self.distinct_max {
                self.distinct = None;
            }
        }
        let (kind, digits) = form::of(value);
        self.before.0.clear();
        self.before.0.push_str(value);
        self.before.1 = Some((kind, digits));
        self.count(kind, digits, value);
        if form::is_moment(kind, digits) {
            return self.add_moment(value);
        }
        self.moments = None;
        self.told_apart(kind, value);
    }

    /// Counts a value that is told by itself.
    fn told_apart(&mut self, kind: Kind, value: &str) {
        if matches!(kind, Kind::Text | Kind::OtherDate) {
            self.add_text(value, 1);
        }
    }

    fn count(&mut self, kind: Kind, digits: Digits, value: &str) {
        let newest = self.forms.get(self.newest).is_some_and(|(other, _)| *other == kind);
        let (kind, at) = if newest { (kind, Some(self.newest)) } else { self.place(kind) };
        match at {
            Some(at) => {
                self.newest = at;
                self.forms[at].1.add(1, digits);
            }
            None => {
                self.newest = self.forms.len();
                self.forms.push((kind, Count::of(digits, value)));
            }
        }
    }

    /// Where values of this kind are counted, and as what: numbers of ever more forms are none, and
    /// as texts they make the column one of text.
    fn place(&self, kind: Kind) -> (Kind, Option<usize>) {
        let find = |kind| self.forms.iter().position(|(other, _)| *other == kind);
        match find(kind) {
            None if self.forms.len() >= FORMS_MAX => (Kind::Text, find(Kind::Text)),
            at => (kind, at),
        }
    }

    fn add_moment(&mut self, value: &str) {
        let Some(moments) = &mut self.moments else { return };
        if !moments.contains(value) {
            moments.insert(value.to_owned());
            if moments.len() > MOMENTS_MAX {
                self.moments = None;
            }
        }
    }

    fn add_text(&mut self, value: &str, count: u64) {
        if let Some(known) = self.texts.get_mut(value) {
            *known += count;
        } else if self.texts.len() < TEXTS_MAX && value.len() <= TEXT_BYTES_MAX {
            self.texts.insert(value.to_owned(), count);
        } else {
            self.has_more_texts = true;
        }
    }

    /// Takes what was seen in the same column of another file.
    pub fn merge(&mut self, other: Self) {
        self.empty += other.empty;
        self.characters += other.characters;
        self.is_read &= other.is_read;
        self.distinct = match (self.distinct.take(), other.distinct) {
            (Some(mut own), Some(others)) => {
                own.extend(others);
                (own.len() <= self.distinct_max).then_some(own)
            }
            _ => None,
        };
        for (kind, count) in other.forms {
            match self.place(kind) {
                (_, Some(at)) => self.forms[at].1.merge(count),
                (kind, None) => self.forms.push((kind, count)),
            }
        }
        other.texts.iter().for_each(|(text, count)| self.add_text(text, *count));
        self.has_more_texts |= other.has_more_texts;
        match other.moments {
            Some(others) => others.iter().for_each(|moment| self.add_moment(moment)),
            None => self.moments = None,
        }
    }

    /// It, as it is told.
    pub fn told(self) -> ColumnLook {
        let mut moments: Option<Vec<String>> =
            self.moments.map(|moments| moments.into_iter().collect());
        if let Some(moments) = &mut moments {
            moments.sort_unstable();
        }
        ColumnLook {
            name: self.name,
            kind: self.kind,
            is_read: self.is_read,
            empty: self.empty,
            characters: self.characters,
            distinct: self.distinct.map(|distinct| distinct.len() as u64),
            forms: self.forms.into_iter().map(|(kind, count)| count.told(kind)).collect(),
            texts: self.texts.into_iter().collect(),
            has_more_texts: self.has_more_texts,
            moments: moments.filter(|moments| !moments.is_empty()),
        }
    }
}

impl Count {
    fn of(digits: Digits, value: &str) -> Self {
        let example = value.chars().take(TEXT_BYTES_MAX).collect();
        let range = digits.value.map(|value| (value, value));
        let last = (digits.last, digits.last);
        let mut count = Self { count: 0, example, negative: 0, digits: 0, last, range };
        count.add(1, digits);
        count
    }

    fn add(&mut self, count: u64, digits: Digits) {
        self.count += count;
        self.negative += u64::from(digits.is_negative);
        self.digits = self.digits.max(digits.count);
        self.last = (self.last.0.min(digits.last), self.last.1.max(digits.last));
        self.range = match (self.range, digits.value) {
            (Some((least, most)), Some(value)) => Some((least.min(value), most.max(value))),
            _ => None,
        };
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.negative += other.negative;
        self.digits = self.digits.max(other.digits);
        self.last = (self.last.0.min(other.last.0), self.last.1.max(other.last.1));
        self.range = match (self.range, other.range) {
            (Some(own), Some(others)) => Some((own.0.min(others.0), own.1.max(others.1))),
            _ => None,
        };
    }

    fn told(self, kind: Kind) -> FormLook {
        FormLook {
            form: kind.told(),
            count: self.count,
            example: self.example,
            negative: self.negative,
            digits: self.digits,
            last_digits_min: self.last.0,
            last_digits_max: self.last.1,
            least: self.range.map(|(least, _)| least),
            most: self.range.map(|(_, most)| most),
        }
    }
}

#[cfg(test)]
mod tests {
    use steppe_wire::look::Form;

    use super::*;

    /// A column of addresses, whose groups of digits have more forms than are told apart.
    fn addresses() -> Column {
        let mut column = Column::new("a".to_owned(), None, true, 1);
        let groups = ["1", "123", "1234"];
        for between in [".", " ", "_"] {
            for a in groups {
                for b in groups {
                    for c in groups {
                        column.see(&format!("{a}{between}{b}{between}{c}"));
                    }
                }
            }
        }
        column
    }

    fn counted(column: Column) -> (usize, u64, u64) {
        let told = column.told();
        let all = told.forms.iter().map(|form| form.count).sum();
        let text = told.forms.iter().find(|form| form.form == Form::Text);
        (told.forms.len(), all, text.map_or(0, |text| text.count))
    }

    #[test]
    fn what_has_too_many_forms_is_text_and_no_value_is_lost() {
        let (forms, all, text) = counted(addresses());
        assert!(forms <= FORMS_MAX + 1 && all == 81 && text > 0, "{forms} {all} {text}");
        let mut column = addresses();
        column.see("text");
        assert_eq!(counted(column), (forms, 82, text + 1));
        let mut both = addresses();
        both.merge(addresses());
        assert_eq!(counted(both), (forms, 162, 2 * text));
    }
}
