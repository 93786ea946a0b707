//! Names of inputs and columns, as manifests and SQL have them, of what files call them.

use std::collections::BTreeSet;

/// Longest name that is made.
const NAME_MAX: usize = 48;
/// Names of tables that a run makes itself, and of its views.
const OWN_TABLES: [&str; 6] = ["predictions", "forecasts", "file", "raw", "typed", "judged"];
/// Letters of other alphabets, as people write them in this one.
const LETTERS: [(&str, &str); 18] = [
    ("а", "a"),
    ("бвгдзийклмнопрстуфцыэ", "bvgdziiklmnoprstufcye"),
    ("ещёәі", "eseai"),
    ("ғқңөұүһ", "gqnouuh"),
    ("ж", "zh"),
    ("х", "kh"),
    ("ч", "ch"),
    ("ш", "sh"),
    ("ю", "yu"),
    ("я", "ya"),
    ("ьъ", "  "),
    ("åàáâã", "aaaaa"),
    ("ä", "ae"),
    ("çćčéèêëęě", "cccéeeeee"),
    ("íìîïłñńóòôõ", "iiiilnnoooo"),
    ("öø", "oo"),
    ("śšúùûýžźż", "ssuuuyzzz"),
    ("üß", "us"),
];
/// Words that SQL takes for its own, on one engine or another.
const RESERVED: &str = "all alter analyze and anti any array as asc at authorization begin between \
    both by case cast check cluster collate column connect constraint create cross cube current \
    current_date current_time current_timestamp current_user deallocate default delete desc \
    describe distinct distribute drop else end escape except execute exists explain extract false \
    fetch filter for foreign from full global grant group grouping having in inner insert \
    intersect interval into is join lateral leading left like limit listagg localtime \
    localtimestamp match minus natural normalize not null offset on only or order outer overlaps \
    partition prepare primary qualify range recursive references right rollup rows select semi set \
    sort table then to trailing trim true uescape union unique unnest update user using values \
    view when where window with";

/// Whether SQL takes a word for its own.
fn is_reserved(word: &str) -> bool {
    RESERVED.split_whitespace().any(|reserved| reserved == word)
}

/// A name in lower-case letters, digits and underscores; nothing when nothing is left of it.
fn plain(name: &str) -> String {
    let (mut out, mut before) = (String::new(), ' ');
    for letter in name.chars() {
        // `temperatureMax` is two words.
        if letter.is_uppercase() && before.is_lowercase() {
            out.push(' ');
        }
        before = letter;
        let letter = letter.to_lowercase().next().unwrap_or(letter);
        match latin(letter) {
            Some(written) => out.push_str(&written),
            None if letter.is_ascii_alphanumeric() => out.push(letter),
            None => out.push(' '),
        }
    }
    let name = out.split_whitespace().collect::<Vec<_>>().join("_");
    name.chars().take(NAME_MAX).collect::<String>().trim_matches('_').to_owned()
}

/// How a letter of another alphabet is written.
fn latin(letter: char) -> Option<String> {
    LETTERS.iter().find_map(|(from, to)| {
        let at = from.chars().position(|other| other == letter)?;
        match from.chars().count() == to.chars().count() {
            true => to.chars().nth(at).map(|c| c.to_string().replace('é', "e")),
            false => Some((*to).to_owned()),
        }
    })
}

/// `name`, or with the first number behind it that is not taken.
fn free(name: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

/// Names that nobody has yet.
#[derive(Debug, Clone, Default)]
pub struct Names(BTreeSet<String>);

impl Names {
    /// Names that must not be made.
    pub fn without<'a>(taken: impl IntoIterator<Item = &'a str>) -> Self {
        Self(taken.into_iter().map(str::to_lowercase).collect())
    }

    /// A name for the column `number`, from 1, which the file calls `source`.
    pub fn column(&mut self, source: &str, number: usize) -> String {
        let name = plain(source);
        let name = match name.chars().next() {
            None => format!("column_{number}"),
            Some(first) if first.is_ascii_digit() => format!("column_{name}"),
            Some(_) if is_reserved(&name) => format!("{name}_column"),
            Some(_) => name,
        };
        self.taking(&name)
    }

    /// A name for a table of which files are called `source`.
    pub fn table(&mut self, source: &str) -> String {
        let name = plain(source);
        let own = OWN_TABLES.contains(&&*name) || is_reserved(&name);
        let name = match name.chars().next() {
            None => "data".to_owned(),
            Some(first) if first.is_ascii_digit() || own || name.starts_with("raw_") => {
                format!("data_{name}")
            }
            Some(_) => name,
        };
        self.taking(&name)
    }

    fn taking(&mut self, name: &str) -> String {
        let name = free(name, &self.0);
        self.0.insert(name.clone());
        name
    }
}

/// What files called so have in common, as the name of their input.
pub fn common<'a>(stems: impl IntoIterator<Item = &'a str>) -> String {
    let mut stems = stems.into_iter();
    let first = stems.next().unwrap_or_default().to_owned();
    let mut several = false;
    let common = stems.fold(first.clone(), |common, stem| {
        several = true;
        let both = common.chars().zip(stem.chars());
        both.take_while(|(a, b)| a == b).map(|(letter, _)| letter).collect()
    });
    if !several {
        return first;
    }
    let number = |c: char| c.is_ascii_digit() || !c.is_alphanumeric();
    match common.trim_end_matches(number) {
        "" => first,
        common => common.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_free() {
        let mut names = Names::without(["taken"]);
        let made: Vec<String> = [
            "Country or Area",
            "REF_DATE",
            "Регион",
            "Жыл",
            "Årtal",
            "2000",
            "Order",
            "taken",
            "value\nper 1000",
            "a b",
            "a-b",
            "_x_",
            "名前",
            "Größe",
            "étage",
            "temperatureMax",
            "LCLid",
        ]
        .iter()
        .enumerate()
        .map(|(at, name)| names.column(name, at + 1))
        .collect();
        assert_eq!(
            made,
            [
                "country_or_area",
                "ref_date",
                "region",
                "zhyl",
                "artal",
                "column_2000",
                "order_column",
                "taken_2",
                "value_per_1000",
                "a_b",
                "a_b_2",
                "x",
                "column_13",
                "grose",
                "etage",
                "temperature_max",
                "lclid",
            ]
        );
        let mut names = Names::default();
        let made = ["raw_x", "forecasts", "2020 sales", "Sales", "sales"].map(|n| names.table(n));
        let expected = ["data_raw_x", "data_forecasts", "data_2020_sales", "sales", "sales_2"];
        assert_eq!(made, expected);
    }

    #[test]
    fn files_of_an_input_have_a_common_name() {
        assert_eq!(common(["block_0", "block_36"]), "block");
        assert_eq!(common(["sales-2020", "sales-2021"]), "sales");
        assert_eq!(common(["a", "b"]), "a");
        assert_eq!(common(["block_0"]), "block_0");
    }
}
