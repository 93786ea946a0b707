//! What is wrong with a manifest is told at once, each with its place and what may be meant.

use steppe_spec::{Manifest, Problem};

const FILE: &str = include_str!("manifests/full.toml");

/// What is said of the manifest with other text in it.
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

/// The line and column of what stands once in the manifest.
fn place(of: &str) -> String {
    let (before, _) = FILE.split_once(of).expect("it is there");
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    format!("p.toml:{}:{column}: ", before.matches('\n').count() + 1)
}

#[test]
fn defects_of_different_kinds_are_told_at_once_where_they_are() {
    let error = told(&[
        ("readings = \"int\"", "readings = \"ints\""),
        ("column = \"kwh\"", "colum = \"kwh\""),
        ("horizon = 7", "horizon = 0"),
        ("stride = 1", "stride = \"one\""),
        ("map_concurrency = 4", "map_concurency = 4"),
    ]);
    let expected = [
        place("column = \"kwh\"") + "unknown key `colum`",
        "hint: did you mean `column`?".to_owned(),
        place("readings = \"int\"")
            + "`inputs[0].columns.readings` is `ints`; expected one of `string`, `int`, `bigint`, \
               `double`, `boolean`, `date`, `timestamp`",
        "hint: did you mean `int`?".to_owned(),
        place("horizon = 7") + "`tasks[0].horizon` is 0; expected 1 to 366",
        place("stride = 1")
            + "`tasks[0].backtest.stride` is `one`; expected a whole number, 1 to 10000",
        place("map_concurrency") + "unknown key `map_concurency`",
        "hint: did you mean `map_concurrency`?".to_owned(),
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_contradicts_itself_is_told_together_with_what_cannot_be_read() {
    let error = told(&[
        ("series = \"area\"", "series = \"aera\""),
        ("name = \"growth\"", "name = \"totals\""),
        ("log_retention_days = 30", "log_retention_days = 31"),
        ("hidden = 16", "hiden = 16"),
    ]);
    let expected = [
        place("series = \"area\"")
            + "`task.series` is `aera`, but the table `demand` has no such column",
        "hint: did you mean `area`?".to_owned(),
        place("hidden = 16") + "unknown key `hiden`",
        "hint: did you mean `hidden`?".to_owned(),
        place("name = \"growth\"") + "the query `totals` is declared twice",
    ];
    // The misspelt key of a model's options says nothing of other sections.
    assert_eq!(error.lines().take(5).collect::<Vec<_>>(), expected);
    assert!(error.lines().count() == 6 && error.contains("one of 1, 3, 5,"), "{error}");
}

#[test]
fn inputs_and_tables_are_told_apart_and_tasks_need_one() {
    let twice = told(&[("name = \"demand\"\nsql", "name = \"weather\"\nsql")]);
    assert!(twice.contains("the table `weather` is declared twice"), "{twice}");
    let table = told(&[("table = \"demand\"", "table = \"demnd\"")]);
    assert!(table.contains("there is no such input or table\nhint: did you mean `demand`?"));
    let none = told(&[("table = \"demand\"\n", "")]);
    assert!(none.contains("there are several tables, so `table` must say"), "{none}");
    let own = told(&[("name = \"weather\"", "name = \"predictions\"")]);
    assert!(own.contains("a table that the pipeline makes itself"), "{own}");
    let keys = told(&[("keys = [\"area\", \"day\"]", "keys = [\"area\", \"days\"]")]);
    assert!(keys.contains("`tables[0].keys[1]` is `days`"), "{keys}");
    assert!(keys.contains("did you mean `day`?"), "{keys}");
    let share = ("horizon = 7", "horizon = 7\npartial_period = { below = 0.5 }");
    assert!(told(&[share]).contains("`partial_period` rejects records of an input"));
    let stored = told(&[("keys = [\"area\", \"day\"]", "keys = [\"day\"]\noutput = \"orc\"")]);
    assert!(stored.contains("a task reads Parquet"), "{stored}");
    assert!(told(&[("name = \"weather\"", "name = \"Weather\"")]).contains("lower-case"));
    let empty = "[[inputs]]\nname = \"x\"\n[[inputs]]";
    assert!(told(&[("[[inputs]]\nname = \"weather\"", empty)]).contains("`inputs[2]"));
}

#[test]
fn times_have_zones_that_exist_and_columns_types_that_fit() {
    let zone = told(&[("\"Europe/London\"", "\"Europe/Londn\"")]);
    assert!(zone.contains("there is no time zone `Europe/Londn`"), "{zone}");
    assert!(zone.contains("did you mean `Europe/London`?"), "{zone}");
    let from = told(&[("zone = \"UTC\", ", "")]);
    assert!(from.contains("`zone` must say in which the file has it"), "{from}");
    let number = told(&[("type = \"date\", zone", "type = \"int\", zone")]);
    assert!(number.contains("it must be a `date` or a `timestamp`"), "{number}");
    let made =
        told(&[("kwh = \"double\", warmth", "kwh = { from = \"x\", type = \"double\" }, warmth")]);
    assert!(made.contains("a column that the table's SQL makes"), "{made}");
    let decimal = FILE.replace("readings = \"int\"", "readings = \"decimal(10, 2)\"");
    Manifest::parse("p.toml", &decimal).expect("valid");
    let csv = told(&[("delimiter = \",\"", "format = \"parquet\"\nskip_lines = 2")]);
    assert!(csv.contains("`skip_lines` is about files with `format = \"csv\"`"), "{csv}");
}

#[test]
fn text_in_sequence_files_has_no_header() {
    let given = |text: &str| ("delimiter = \",\"", text.to_owned());
    let wrong = |text: &str| {
        let (from, to) = given(text);
        told(&[(from, &to)])
    };
    let skipped = wrong("container = \"sequence\"\nskip_lines = 2");
    assert!(skipped.contains("`skip_lines` is about files with `format = \"csv\"` that are no"));
    let typed = wrong("container = \"sequence\"\nformat = \"avro\"");
    assert!(typed.contains("records in a sequence file are text"), "{typed}");
    assert!(wrong("delimiter = \"\\u0001\"").contains("expected one ASCII character"));
    for right in ["delimiter = \"\\u0001\"", "format = \"json\"", "delimiter = \"\\t\""] {
        let (from, to) = given(&format!("container = \"sequence\"\n{right}"));
        Manifest::parse("p.toml", &FILE.replacen(from, &to, 1)).expect("valid");
    }
}

#[test]
fn what_follows_is_completed() {
    let manifest = Manifest::parse("p.toml", FILE).expect("valid");
    let rules = &manifest.inputs[0].rules;
    assert_eq!(rules[0].column.as_deref(), Some("readings"), "the column that `when` names");
    assert!(manifest.inputs[1].rules.is_empty() && manifest.inputs[1].unique.is_empty());
    let one = FILE.replace("table = \"demand\"", "table = \"weather\"").replace(
        "columns = { at",
        "columns = { area = \"string\", kwh = \"double\", day = \"date\", at",
    );
    let manifest = Manifest::parse("p.toml", &one).expect("valid");
    let weather = manifest.input("weather").expect("an input");
    let names: Vec<&str> = weather.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["area_given", "day_valid", "kwh_valid"]);
    assert_eq!(weather.unique, ["area", "day"]);
}

#[test]
fn of_several_hints_each_says_what_it_is_about() {
    let hints = |from: &[(&str, &str)]| {
        let text = from.iter().fold(FILE.to_owned(), |text, (from, to)| text.replace(from, to));
        Manifest::parse("p.toml", &text).expect_err("refused").hints()
    };
    let (one, other) = (("horizon = 7", "horzon = 7"), ("seed = 1\n", "sed = 1\n"));
    assert_eq!(hints(&[one]), ["did you mean `horizon`?"]);
    let both = hints(&[one, other]);
    assert!(both.contains(&format!("{}did you mean `horizon`?", place("horizon = 7"))), "{both:?}");
}

#[test]
fn what_may_follow_from_a_misspelt_key_is_not_told() {
    let yearly = ("frequency = \"daily\"", "frequncy = \"monthly\"");
    let error = told(&[yearly]);
    assert_eq!(error.matches("p.toml:").count(), 1, "{error}");
    assert!(error.contains("unknown key `frequncy`"), "{error}");
}

#[test]
fn errors_of_syntax_are_told_with_their_place() {
    let error = told(&[("horizon = 7", "horizon = = 7")]);
    assert!(error.starts_with(&place("horizon = 7")[..place("horizon = 7").len() - 3]), "{error}");
}

#[test]
fn features_are_numbers_and_times_have_the_type_of_the_frequency() {
    let with = |feature: &str| format!("horizon = 7\nfeatures = [{feature}]");
    Manifest::parse("p.toml", &FILE.replace("horizon = 7", &with("\"warmth\""))).expect("valid");
    let feature = |feature: &str| told(&[("horizon = 7", &with(feature))]);
    assert!(
        feature("\"rain\"")
            .contains("`task.features[0]` is `rain`, but the table `demand` has no such column")
    );
    assert!(feature("\"area\"").contains("the feature `area` must be a number"));
    assert!(feature("\"kwh\"").contains("it is the target or the time"));
    let twice = feature("\"warmth\", { column = \"warmth\", known = \"always\" }");
    assert!(twice.contains("the feature `warmth` is declared twice"), "{twice}");
    let known = feature("{ column = \"warmth\", known = \"forcast\" }");
    assert!(
        known.contains("`tasks[0].features[0].known` is `forcast`; expected one of `past`"),
        "{known}"
    );
    assert!(known.contains("did you mean `forecast`?"), "{known}");
    assert!(feature("7").contains("`tasks[0].features[0]` is 7; expected text in quotes"));
    assert!(feature("{ known = \"past\" }").contains("`tasks[0].features[0].column` is missing"));
    let frequency = |word: &str| told(&[("frequency = \"daily\"", word)]);
    assert!(frequency("frequency = \"hourly\"").contains("must have the type `timestamp`"));
    assert!(frequency("frequency = \"yearly\"").contains("must have the type `int`"));
    assert!(frequency("frequency = \"weakly\"").contains("did you mean `weekly`?"));
    let holidays = "frequency = \"daily\"\nholidays = [\"2026-02-30\"]";
    assert!(frequency(holidays).contains("expected a date in quotes"));
    let nameless = frequency("frequency = \"yearly\"\nholidays = \"\"");
    assert!(nameless.contains("`task.holidays` names no table"), "{nameless}");
    let decide = |costs: &str| frequency(&format!("frequency = \"yearly\"\ndecide = {costs}"));
    assert!(decide("{ short = 3.0 }").contains("`tasks[0].decide.over` is missing"));
    assert!(decide("{ short = -1, over = 1 }").contains("expected more than 0"));
    assert!(decide("{ short = 1e6, over = 1 }").contains("the quantile 0.999999"));
    assert!(decide("3").contains("`tasks[0].decide` is 3; expected a table"));
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
    let hour = schedule("cron(0 25 1 * ? *)");
    let expected = "`drift.schedule` is `cron(0 25 1 * ? *)`, which has `25` as hours: 0-23";
    assert!(hour.starts_with(&(place("schedule = \"rate") + expected)), "{hour}");
    let escape = schedule("cron(0 6 1 * ? * \\n)");
    assert!(escape.contains("six fields"), "nothing gets into the template: {escape}");
    let unverified = told(&[("verify = true", "verify = false")]);
    assert!(unverified.starts_with(&place("verify = true")), "{unverified}");
    assert!(unverified.contains("`retrain` needs `stack.verify = true`"));
}

#[test]
fn a_crawler_and_sizes_of_parts_need_batches() {
    let with = |line: &str| told(&[("verify = true", &format!("verify = true\n{line}"))]);
    let alone = with("catalogue = \"crawler\"");
    let expected =
        "`stack.catalogue = \"crawler\"` is about the table of `stack.scoring = \"batch\"`";
    assert!(alone.contains(expected), "{alone}");
    let unknown = with("scoring = \"batch\"\ncatalogue = \"crawled\"");
    assert!(unknown.contains("declared") && unknown.contains("crawler"), "{unknown}");
    let online = with("part_size = 50");
    let expected = "`stack.part_size` is about `stack.scoring = \"batch\"`";
    assert!(online.contains(expected), "{online}");
    let none = with("scoring = \"batch\"\npart_size = 0");
    assert!(none.contains("part_size") && none.contains("100000"), "{none}");
}

#[test]
fn a_copied_folder_must_have_its_own_name() {
    let parse = |file: &str| Manifest::parse(file, FILE).map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(parse("model/pipelines/load/pipeline.toml"), Ok(()));
    let error = parse("model/pipelines/weddings/pipeline.toml").expect_err("a copy");
    assert!(error.contains("the name is `load`, but the folder is `weddings`"), "{error}");
}

#[test]
fn names_are_declared_once_and_the_delimiter_can_be_one() {
    let rule = told(&[("name = \"kwh_valid\"", "name = \"whole_day\"")]);
    assert!(rule.contains("the rule `whole_day` is declared twice"));
    assert!(told(&[("delimiter = \",\"", "delimiter = \"x\"")]).contains("expected one ASCII"));
    let two = told(&[("delimiter = \",\"", "delimiter = \";;\"")]);
    assert!(two.contains("expected one character in quotes"), "{two}");
    assert!(told(&[("\"t3.micro\"", "\"t3: micro\"")]).contains("is not an instance type"));
}

#[test]
fn what_is_checked_before_a_run_has_lengths_of_time_and_shares() {
    let manifest = Manifest::parse("p.toml", FILE).expect("valid");
    let weather = manifest.input("weather").expect("an input");
    assert_eq!(weather.fresh_within.map(|age| age.secs()), Some(129_600));
    let readings = manifest.input("readings").expect("an input");
    assert_eq!((readings.fresh_within, readings.least_of_last), (None, 0.1));
    let error = told(&[
        ("fresh_within = \"36 hours\"", "fresh_within = \"36h\""),
        ("least_of_last = 0.5", "least_of_last = 1.5"),
        ("settle = \"30 seconds\"", "settle = \"2 hours\""),
    ]);
    let expected = [
        place("fresh_within")
            + "`inputs[1].fresh_within` is `36h`; expected a length of time in quotes, such as \
               \"36 hours\"",
        place("least_of_last") + "`inputs[1].least_of_last` is 1.5; expected 0 to 1",
        place("settle") + "`retrain.settle` is `2 hours`; at most `1 hour`",
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
}

/// What is looked for without a target stands beside the task that is served, in the words of its
/// own kind.
#[test]
fn searches_without_a_target_are_checked_like_other_tasks() {
    const BASE: &str = r#"
schema_version = 2
name = "plant"
[[inputs]]
name = "loads"
columns = { machine = "string", day = "date", load = "double", kind = "string" }
[[tasks]]
name = "next"
series = "machine"
time = "day"
target = "load"
frequency = "daily"
"#;
    let told = |tasks: &str| {
        let text = format!("{BASE}{tasks}");
        let read = Manifest::parse("plant/pipeline.toml", &text);
        let problems = read.map(|_| vec![]).unwrap_or_else(|problems| problems.0);
        problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    let task = |kind: &str, name: &str, more: &str| {
        format!("[[tasks]]\nname = \"{name}\"\nkind = \"{kind}\"\ntable = \"loads\"\n{more}\n")
    };
    let rows = |more: &str| told(&task("anomaly", "odd", &format!("entity = \"machine\"\n{more}")));
    assert_eq!(rows(""), Vec::<String>::new());
    assert_eq!(
        told(&task("anomaly", "odd", "series = \"machine\"\ntime = \"day\"\ntarget = \"load\"")),
        Vec::<String>::new()
    );
    assert_eq!(told(&task("clustering", "alike", "entity = \"machine\"")), Vec::<String>::new());
    let groups = |more: &str| {
        told(&task("clustering", "alike", &format!("entity = \"machine\"\n{more}"))).join("; ")
    };
    for (told, expected) in [
        (rows("model = { eps = 0 }").join("; "), "`tasks[1].model.eps` is 0; expected more than 0"),
        (rows("share = 1.0").join("; "), "`tasks[1].share` is 1.0; expected more than 0"),
        (rows("features = [\"kind\"]").join("; "), "`kind` must have the type of a number"),
        (rows("features = [\"lod\"]").join("; "), "has no such column"),
        (rows("ignore = [\"load\"]").join("; "), "has no column of numbers left to look at"),
        (rows("high = [\"day\"]").join("; "), "`day` must have the type of a number"),
        (rows("series = \"machine\"").join("; "), "is about rows or about series"),
        (rows("target = \"load\"").join("; "), "`target` is of series"),
        (rows("model = { kind = \"cut-forest\" }").join("; "), "`cut-forest` looks at series"),
        (
            rows("model = { candidates = [\"vote\"] }").join("; "),
            "`vote` is not one of those who vote",
        ),
        (
            rows("readings = { input = \"load\", time = \"day\", value = \"load\" }").join("; "),
            "there is no input `load`",
        ),
        (
            rows("readings = { input = \"loads\", time = \"kind\", value = \"load\" }").join("; "),
            "the column `kind` must have the type `date` or `timestamp`",
        ),
        (groups("model = { clusters = 0 }"), "`tasks[1].model.clusters` is 0; expected 1 to 100"),
        (groups("model = { kind = \"dbscan\", eps = 0 }"), "expected more than 0"),
        (groups("log = [\"kind\"]"), "`kind` must have the type of a number"),
        (
            told(&task("anomaly", "loads", "entity = \"machine\"")).join("; "),
            "`loads` is the name of the task's table, and there is another one of it",
        ),
        (told(&task("clustering", "Groups", "entity = \"machine\"")).join("; "), "lower-case"),
    ] {
        assert!(told.contains(expected), "{told}\ninstead of {expected}");
    }
    let second = told(
        "[[tasks]]\nname = \"two\"\nseries = \"machine\"\ntime = \"day\"\ntarget = \"load\"\n",
    );
    assert!(second.iter().any(|m| m.contains("would be a second model to train")), "{second:?}");
    let alone = BASE.split("[[tasks]]").next().expect("inputs").to_owned()
        + &task("anomaly", "odd", "entity = \"machine\"");
    let alone = Manifest::parse("plant/pipeline.toml", &alone).expect_err("refused").to_string();
    assert!(alone.contains("no task has a model that is served"), "{alone}");
}
