//! How people and offices write periods, as the moments that name them.

use jiff::civil::{Date, DateTime, date};

use super::Frequency;

/// English names of months, by which statistical offices call them; the first three letters count.
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// The moment that `text` stands for; `None` when it is no period's name.
pub(crate) fn moment(frequency: Frequency, text: &str) -> Option<DateTime> {
    let text = text.trim();
    let named = match frequency {
        Frequency::Yearly => year(text).and_then(|year| first_of(year, 1)),
        Frequency::Quarterly => quarter(text),
        Frequency::Monthly => month(text),
        _ => None,
    };
    named.map(|day| day.at(0, 0, 0, 0)).or_else(|| iso(text))
}

fn first_of(year: i16, month: i8) -> Option<Date> {
    Date::new(year, month, 1).ok()
}

/// Four digits.
fn year(text: &str) -> Option<i16> {
    let digits = text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// `2015-Q1`, `2015Q1`, `2015 Q1`, `Q1 2015`, `1Q2015`, `2015K1`, `2015-K1`.
fn quarter(text: &str) -> Option<Date> {
    let text = text.to_ascii_uppercase().replace('K', "Q");
    let (before, after) = text.split_once('Q')?;
    let trimmed = |part: &str| part.trim_matches([' ', '-', '/', '.']).to_owned();
    let (before, after) = (trimmed(before), trimmed(after));
    let (of_year, number) = match (year(&before), before.as_str()) {
        (Some(year), _) => (year, after),
        // `Q1 2015`: the number and the year both come after the letter.
        (None, "") => {
            let (number, of_year) = after.split_at_checked(1)?;
            (year(&trimmed(of_year))?, number.to_owned())
        }
        (None, number) => (year(&after)?, number.to_owned()),
    };
    let number: i8 = number.parse().ok().filter(|n| (1..=4).contains(n))?;
    first_of(of_year, number * 3 - 2)
}

/// `2015-01`, `2015/01`, `2015.01`, `201501`, `2015M01`, `2015-M1`, `01.2015`, `Jan 2015`,
/// `2015-January`.
fn month(text: &str) -> Option<Date> {
    if text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit()) {
        return first_of(year(&text[..4])?, number(&text[4..])?);
    }
    let parts: Vec<&str> = text.split([' ', '-', '/', '.']).filter(|p| !p.is_empty()).collect();
    match parts[..] {
        [one] => {
            let (before, after) = one.split_at_checked(4)?;
            first_of(year(before)?, number(after.strip_prefix(['M', 'm'])?)?)
        }
        [one, other] => match (year(one), year(other)) {
            (Some(year), None) => first_of(
                year,
                number(other.trim_start_matches(['M', 'm'])).or_else(|| named(other))?,
            ),
            (None, Some(year)) => first_of(year, number(one).or_else(|| named(one))?),
            _ => None,
        },
        _ => None,
    }
}

fn number(text: &str) -> Option<i8> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|n| (1..=12).contains(n))
}

fn named(text: &str) -> Option<i8> {
    let text = text.to_ascii_lowercase();
    let letters = text.len() >= 3 && text.bytes().all(|b| b.is_ascii_lowercase());
    let place = MONTHS.iter().position(|month| letters && text.starts_with(month))?;
    i8::try_from(place + 1).ok()
}

/// A date, or a date and a time, in ISO 8601; a zone is refused, because it would shift the period.
fn iso(text: &str) -> Option<DateTime> {
    if text.len() == 10 {
        return text.parse::<Date>().ok().map(|d| d.at(0, 0, 0, 0));
    }
    let zone = text.get(19..).is_some_and(|rest| rest.contains(['+', '-']));
    if text.ends_with(['Z', 'z']) || zone {
        return None;
    }
    text.parse().ok()
}

/// The day `days` after 1970-01-01, as files of columns have it.
pub(crate) fn of_days(days: i64) -> DateTime {
    super::add_days(date(1970, 1, 1), days).at(0, 0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_and_quarters_have_many_names() {
        let january = Some(date(2015, 1, 1).at(0, 0, 0, 0));
        for text in [
            "2015-01",
            "2015/1",
            "2015.01",
            "201501",
            "2015M01",
            "2015m1",
            "2015-M01",
            "01.2015",
            "1/2015",
            "Jan 2015",
            "January 2015",
            "2015 Jan",
            "2015-January",
            " 2015-01-01 ",
        ] {
            assert_eq!(moment(Frequency::Monthly, text), january, "{text}");
        }
        for text in ["2015-Q1", "2015Q1", "2015 q1", "Q1 2015", "Q1/2015", "1Q2015", "2015K1"] {
            assert_eq!(moment(Frequency::Quarterly, text), january, "{text}");
        }
        for text in ["2015-13", "15-01", "2015M00", "Janvier", "2015-01-32", "M01", "2015", ""] {
            assert_eq!(moment(Frequency::Monthly, text), None, "{text}");
        }
        for text in ["2015Q5", "Q 2015", "2015", "Q1"] {
            assert_eq!(moment(Frequency::Quarterly, text), None, "{text}");
        }
    }

    #[test]
    fn the_last_day_of_a_period_names_it_too() {
        let parse = |frequency, text| super::super::Calendar::of(frequency).parse(text);
        assert_eq!(parse(Frequency::Monthly, "2015-01-31"), Some(2015 * 12));
        assert_eq!(parse(Frequency::Monthly, "2016-02-29"), Some(2016 * 12 + 1));
        assert_eq!(parse(Frequency::Quarterly, "2015-03-31"), Some(2015 * 4));
        assert_eq!(parse(Frequency::Yearly, "2000-12-31"), Some(2000));
    }
}
