//! What is wrong with a manifest is told at once, each with its place and what may be meant.

use steppe_spec::{Manifest, Problem};

const FILE: &str = include_str!("../../pipelines/marriages/pipeline.toml");

/// What is said of the repository's manifest with other text in it.
fn told(changes: &[(&str, &str)]) -> String {
    let mut text = FILE.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let problems = Manifest::parse("p.toml", &text).expect_err("refused");
    let line = |problem: &Problem| {
        let hint = problem.hint.as_ref().map_or_else(String::new, |hint| format!("\nhint: {hint}"));
        format!("{}: {}{hint}\n", problem.place, problem.message)
    };
    problems.0.iter().map(line).collect()
}

/// The line and column of what stands once in the repository's manifest.
fn place(of: &str) -> String {
    let (before, _) = FILE.split_once(of).expect("it is there");
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    format!("p.toml:{}:{column}: ", before.matches('\n').count() + 1)
}

#[test]
fn five_defects_of_different_kinds_are_told_at_once_where_they_are() {
    let error = told(&[
        ("type = \"bigint\"", "type = \"bigot\""),
        ("column = \"year\"", "colum = \"year\""),
        ("horizon = 1", "horizon = 0"),
        ("stride = 1", "stride = \"one\""),
        ("map_concurrency = 4", "map_concurency = 4"),
    ]);
    let expected = [
        place("type = \"bigint\"")
            + "`data.columns[2].type` is `bigot`; expected one of `string`, `int`, `bigint`, \
               `double`",
        "hint: did you mean `bigint`?".to_owned(),
        place("[[quality.rules]]\nname = \"year_valid\"") + "`quality.rules[1].column` is missing",
        "hint: column that it looks at, for messages".to_owned(),
        place("column = \"year\"") + "unknown key `colum`",
        "hint: did you mean `column`?".to_owned(),
        place("horizon = 1") + "`task.horizon` is 0; expected 1 to 366",
        place("stride = 1") + "`backtest.stride` is `one`; expected a whole number, 1 to 10000",
        place("map_concurrency") + "unknown key `map_concurency`",
        "hint: did you mean `map_concurrency`?".to_owned(),
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_contradicts_itself_is_told_together_with_what_cannot_be_read() {
    let error = told(&[
        ("series = \"region\"", "series = \"regoin\""),
        ("name = \"growth\"", "name = \"totals\""),
        ("log_retention_days = 30", "log_retention_days = 31"),
        ("hidden = 16", "hiden = 16"),
    ]);
    let expected = [
        place("series = \"region\"")
            + "`task.series` is `regoin`, but `data.columns` has no such column",
        "hint: did you mean `region`?".to_owned(),
        place("hidden = 16") + "unknown key `hiden`",
        "hint: did you mean `hidden`?".to_owned(),
        place("name = \"growth\"") + "the query `totals` is declared twice",
    ];
    // The misspelt key of [model.lstm] says nothing of other sections.
    assert_eq!(error.lines().take(5).collect::<Vec<_>>(), expected);
    assert!(error.lines().count() == 6 && error.contains("one of 1, 3, 5,"), "{error}");
}

#[test]
fn of_several_hints_each_says_what_it_is_about() {
    let hints = |from: &[(&str, &str)]| {
        let text = from.iter().fold(FILE.to_owned(), |text, (from, to)| text.replace(from, to));
        Manifest::parse("p.toml", &text).expect_err("refused").hints()
    };
    let (one, other) = (("horizon = 1", "horzon = 1"), ("seed = 1\n", "sed = 1\n"));
    assert_eq!(hints(&[one]), ["did you mean `horizon`?"]);
    let both = hints(&[one, other]);
    assert!(both.contains(&format!("{}did you mean `horizon`?", place("horizon = 1"))), "{both:?}");
}

#[test]
fn what_may_follow_from_a_misspelt_key_is_not_told() {
    let monthly = ("frequency = \"yearly\"", "frequncy = \"monthly\"");
    let text = ("name = \"year\"\ntype = \"int\"", "name = \"year\"\ntype = \"string\"");
    let error = told(&[monthly, text]);
    assert_eq!(error.matches("p.toml:").count(), 1, "{error}");
    assert!(error.contains("unknown key `frequncy`"), "{error}");
}

#[test]
fn errors_of_syntax_are_told_with_their_place() {
    let error = told(&[("horizon = 1", "horizon = = 1")]);
    assert!(error.starts_with(&place("horizon = 1")[..place("horizon = 1").len() - 3]), "{error}");
}

#[test]
fn features_are_numbers_and_times_have_the_type_of_the_frequency() {
    let hourly = ("frequency = \"yearly\"", "frequency = \"hourly\"\nfeatures = [\"warmth\"]");
    let columns = (
        "name = \"year\"\ntype = \"int\"",
        "name = \"year\"\ntype = \"string\"\n\n[[data.columns]]\nname = \"warmth\"\n\
         type = \"double\"",
    );
    let text = FILE.replace(hourly.0, hourly.1).replace(columns.0, columns.1);
    Manifest::parse("p.toml", &text).expect("valid");
    let feature = |name: &str| told(&[hourly, columns, ("[\"warmth\"]", name)]);
    assert!(
        feature("[\"rain\"]")
            .contains("`task.features[0]` is `rain`, but `data.columns` has no such column")
    );
    assert!(feature("[\"region\"]").contains("the feature `region` must be a number"));
    assert!(feature("[\"marriages\"]").contains("it is the target or the time"));
    let twice = feature("[\"warmth\", { column = \"warmth\", known = \"always\" }]");
    assert!(twice.contains("the feature `warmth` is declared twice"), "{twice}");
    let known = feature("[{ column = \"warmth\", known = \"forcast\" }]");
    assert!(
        known.contains("`task.features[0].known` is `forcast`; expected one of `past`"),
        "{known}"
    );
    assert!(known.contains("did you mean `forecast`?"), "{known}");
    assert!(feature("[7]").contains("`task.features[0]` is 7; expected text in quotes"));
    assert!(feature("[{ known = \"past\" }]").contains("`task.features[0].column` is missing"));
    let frequency = |word: &str| told(&[("frequency = \"yearly\"", word)]);
    assert!(frequency("frequency = \"hourly\"").contains("`string`, dates and times in ISO 8601"));
    assert!(frequency("frequency = \"weakly\"").contains("did you mean `weekly`?"));
    let holidays = "frequency = \"daily\"\nholidays = [\"2026-02-30\"]";
    assert!(frequency(holidays).contains("expected a date in quotes"));
    let nameless = frequency("frequency = \"yearly\"\nholidays = \"\"");
    assert!(nameless.contains("`task.holidays` names no table"), "{nameless}");
    let decide = |costs: &str| frequency(&format!("frequency = \"yearly\"\ndecide = {costs}"));
    assert!(decide("{ short = 3.0 }").contains("`task.decide.over` is missing"));
    assert!(decide("{ short = -1, over = 1 }").contains("expected more than 0"));
    assert!(decide("{ short = 1e6, over = 1 }").contains("the quantile 0.999999"));
    assert!(decide("3").contains("`task.decide` is 3; expected a table"));
    let combined = told(&[("\"theta\",", "\"combination\",")]);
    assert!(combined.contains("a `combination` is made of them"));
}

#[test]
fn a_schedule_is_checked_before_anything_is_made() {
    let schedule = |text: &str| told(&[("rate(1 day)", text)]);
    assert!(schedule("daily").contains("`drift.schedule` is `daily`, which is neither"));
    assert!(schedule("rate(1 days)").contains("a unit that agrees with it"));
    assert!(schedule("rate(x days)").contains("a whole number"));
    assert!(schedule("cron(0 6 * * *)").contains("six fields"));
    assert!(schedule("cron(0 6 * * * *)").contains("needs `?`"));
    let escape = schedule("cron(0 6 1 * ? * \\n)");
    assert!(escape.contains("six fields"), "nothing gets into the template: {escape}");
    let unverified = told(&[("verify = true", "verify = false")]);
    assert!(unverified.starts_with(&place("verify = true")), "{unverified}");
    assert!(unverified.contains("`retrain` needs `stack.verify = true`"));
}

#[test]
fn a_copied_folder_must_have_its_own_name() {
    let parse = |file: &str| Manifest::parse(file, FILE).map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(parse("model/pipelines/marriages/pipeline.toml"), Ok(()));
    let error = parse("model/pipelines/weddings/pipeline.toml").expect_err("a copy");
    assert!(error.contains("the name is `marriages`, but the folder is `weddings`"), "{error}");
}

#[test]
fn names_are_declared_once_and_the_delimiter_can_be_one() {
    let rule = told(&[("name = \"year_valid\"", "name = \"region_given\"")]);
    assert!(rule.contains("the rule `region_given` is declared twice"));
    assert!(told(&[("delimiter = \",\"", "delimiter = \"x\"")]).contains("expected one ASCII"));
    let two = told(&[("delimiter = \",\"", "delimiter = \";;\"")]);
    assert!(two.contains("expected one character in quotes"), "{two}");
    assert!(told(&[("\"t3.micro\"", "\"t3: micro\"")]).contains("is not an instance type"));
}
