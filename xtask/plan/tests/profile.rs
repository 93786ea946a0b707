//! Questions about tables, as files in `tests/goldens/profile/`, and what their answers say.
//!
//! `EXPECTORATE=overwrite cargo test --package steppe-plan --test profile` writes them anew.

use steppe_plan::profile::{Question, Rows, Shape, Subject, TableProfile};
use steppe_spec::{ColumnType, Manifest};

const ENERGY: &str = include_str!("../../../model/pipelines/energy/pipeline.toml");

fn check(golden: &str, questions: &[Question]) {
    let text: Vec<String> =
        questions.iter().map(|question| format!("{};\n", question.sql)).collect();
    let file = format!("../../tests/goldens/profile/{golden}.sql");
    expectorate::assert_contents(file, &text.join("\n"));
}

fn subject(is_text: bool) -> Subject {
    let column = |name: &str, kind| (name.to_owned(), kind);
    Subject {
        name: "odd \"table\"".to_owned(),
        description: String::new(),
        columns: vec![
            column("имя", ColumnType::String),
            column("a\"b", ColumnType::Double),
            column("n", ColumnType::Int),
            column("price", ColumnType::Decimal(10, 2)),
            column("flag", ColumnType::Boolean),
            column("day", ColumnType::Date),
            column("at", ColumnType::Timestamp),
        ],
        key: vec!["имя".to_owned(), "day".to_owned()],
        is_text,
    }
}

/// Cells of one row; `-` is NULL.
fn row(text: &str) -> Vec<Option<String>> {
    let cell = |cell: &str| (cell != "-").then(|| cell.to_owned());
    text.split_whitespace().map(cell).collect()
}

/// What Athena says of 100 records.
fn first() -> Vec<Rows> {
    vec![vec![row("100 90 3 1 5 \
         100 99 97 -1.5E10 2.5E0 1.0 0.5 -1.0 0.0 1.0 2.0 2.5 \
         100 2 100 7 8 7.02 0.14 7.0 7.0 7.0 7.0 7.0 \
         0 0 0 - - - - - - - - - \
         100 2 99 \
         100 10 1969-12-25 1970-01-03 \
         100 5 1000-01-01T00:00 1999-12-31T00:00")]]
}

fn summarised(subject: &Subject) -> TableProfile {
    subject.summarised(&first()).expect("an answer")
}

#[test]
fn questions_are_made_of_declared_columns_and_of_the_first_answers() {
    let manifest = Manifest::parse("energy/pipeline.toml", ENERGY).expect("valid");
    let energy = Subject::all(&manifest);
    let all: Vec<Question> = energy.iter().flat_map(Subject::summaries).collect();
    check("energy", &all);
    for (golden, is_text) in [("odd", false), ("odd_texts", true)] {
        let subject = subject(is_text);
        let details = subject.details(&summarised(&subject));
        check(golden, &[subject.summaries(), details].concat());
    }
}

#[test]
fn answers_become_numbers_and_notes() {
    let subject = subject(false);
    let summary = summarised(&subject);
    let key = vec![row("2")];
    let questions = subject.details(&summary);
    assert_eq!(questions.len(), 4, "key, bins, counts, pairs");
    let counts_of_bins = questions[1].sql.matches("count(CASE").count();
    let mut numbers = vec!["0"; counts_of_bins];
    // The last column has three ends and two bins: 98 are 7, 2 are 8.
    let last = [("98", 5), ("0", 4), ("0", 3), ("98", 2), ("2", 1)];
    last.iter().for_each(|(count, from_end)| numbers[counts_of_bins - from_end] = count);
    let counts = vec![
        row("0 x 88"),
        vec![Some("0".into()), Some(String::new()), Some("2".into())],
        row("5 1969-12-25 60"),
        row("5 1970-01-03 40"),
        row("6 1000-01-01 100"),
    ];
    let pairs = vec![row("0.97 97")];
    let answers = [key, vec![row(&numbers.join(" "))], counts, pairs];
    let profile = subject.detailed(summary, &answers).expect("answers");
    assert_eq!(
        profile.notes,
        [
            "The key `имя`, `day` is not unique: 2 of its values are in more than one record.",
            "`имя` is missing in 10.0 % of the records (10 of 100).",
            "`имя` is `x` in 97.8 % of its values.",
            "`a\"b` has 3 values that are infinite or no number (NaN).",
            "`n` is 7 in 98.0 % of its values.",
            "`price` has no values.",
            "`flag` is true in 99.0 % of its values.",
            "`a\"b` and `n` say nearly the same: correlation 0.970 in 97 records.",
        ]
    );
    let name = &profile.columns[0];
    assert_eq!((name.missing, name.distinct, name.distinct_is_exact), (10, 2, true));
    let Shape::Text { top, .. } = &name.shape else { panic!("texts") };
    assert_eq!((top[0].value.as_str(), top[1].value.as_str()), ("x", ""));
    let whole = &profile.columns[2];
    assert_eq!((whole.distinct, whole.distinct_is_exact), (2, true));
    let Shape::Numbers(numbers) = &whole.shape else { panic!("numbers") };
    let bins = &numbers.histogram.as_ref().expect("bins").bins;
    assert_eq!(bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [98, 2]);
    let Shape::Times { counts, .. } = &profile.columns[5].shape else { panic!("times") };
    assert_eq!(counts.len(), 2);
}

#[test]
fn tables_without_records_or_of_many_columns_are_asked_within_bounds() {
    let mut wide = subject(false);
    let summary = wide
        .summarised(&[vec![row("0 0 0 - - 0 0 0 - - - - - - - - - 0 0 0 - - - - - - - - - \
                                              0 0 0 - - - - - - - - - 0 0 0 0 0 - - 0 0 - -")]]);
    let empty = summary.expect("an answer");
    assert_eq!(wide.details(&empty), []);
    assert_eq!(wide.detailed(empty, &[]).expect("no answers").notes, ["The table has no records."]);

    wide.columns = (0..500).map(|n| (format!("c{n:0>60}"), ColumnType::Double)).collect();
    let questions = wide.summaries();
    let of = |part: usize| {
        let cells = "9 9 9 1.0E-7 2.0E0 1.5 0.1 1.0 1.0 1.1 1.2 2.0 ".repeat(part);
        vec![row(&format!("9 {cells}"))]
    };
    let parts = (0..500).collect::<Vec<_>>();
    let answers: Vec<Rows> = parts.chunks(40).map(|part| of(part.len())).collect();
    assert_eq!(questions.len(), answers.len());
    let details = wide.details(&wide.summarised(&answers).expect("answers"));
    let longest = questions.iter().chain(&details).map(|question| question.sql.len()).max();
    assert!(longest.expect("some") < 262_144 / 2, "{longest:?}");
    assert!(questions.len() + details.len() < 50, "{}", details.len());

    let odd = wide.summarised(&[]).expect_err("refused").to_string();
    assert!(odd.contains("does not fit to the question: an answer is missing"), "{odd}");
}
