//! `profile` on a deployed pipeline: its numbers beside those that are computed here.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use steppe_plan::profile::{Question, Shape, Subject, TableProfile};
use steppe_spec::ColumnType;
use tempfile::TempDir;

use crate::catalogued::{Catalogued, JSON, table_input};
use crate::checkout::{Checkout, Said, result};
use crate::workspace::workspace;

const ROWS: usize = 240;
const WIDE: usize = 100;

const MANIFEST: &str = r#"schema_version = 2
name = "odd"

[[inputs]]
name = "rows"
unique = ["name", "n"]
rules = []
sample = "rows.csv"

[inputs.columns]
name = "string"
n = "int"
amount = "double"
price = "decimal(12,2)"
day = "date"
flag = "boolean"
note = "string"

[[inputs]]
name = "series"
sample = "series.csv"
columns = { area = "string", year = "int", value = "double" }

[[tables]]
name = "made"
sql = "made.sql"
columns = { n = "int", twice = "double", odd = "double", nothing = "double", at = "timestamp" }
keys = ["n"]

[[tables]]
name = "texts"
sql = "texts.sql"
output = "csv"
columns = { n = "int", amount = "double", day = "date" }
keys = ["n"]

[[tasks]]
name = "value"
table = "series"
series = "area"
time = "year"
target = "value"

[tasks.model]
kind = "last-value"
"#;

const MADE: &str = "SELECT n, CAST(2 AS DOUBLE) * n + CAST(1 AS DOUBLE) AS twice, \
                    CASE WHEN n = 1 THEN amount * CAST('1e308' AS DOUBLE) WHEN n = 2 THEN amount * \
                    CAST('1e308' AS DOUBLE) - amount * CAST('1e308' AS DOUBLE) ELSE amount END AS \
                    odd, CAST(NULL AS DOUBLE) AS nothing, CAST(day AS TIMESTAMP) AS at FROM rows";

/// A record: what its columns are is simple enough to be computed twice.
struct Record {
    amount: Option<f64>,
    price: f64,
    day: String,
    flag: bool,
    name: &'static str,
}

fn records() -> Vec<Record> {
    let record = |n: usize| Record {
        amount: (!n.is_multiple_of(8))
            .then(|| if n == 9 { 1e6 } else { ((n * 37) % 101) as f64 / 4.0 }),
        price: n as f64 / 4.0 - 10.0,
        day: format!("19{}-{:02}-{:02}", 69 + n / 120, n % 12 + 1, n % 28 + 1),
        flag: n.is_multiple_of(40),
        name: if n.is_multiple_of(3) {
            "<script>alert(1)</script>"
        } else {
            "Қазақстан \"q\" & 'x'"
        },
    };
    (0..ROWS).map(record).collect()
}

fn write(root: &Path) {
    let pipeline = root.join("model/pipelines/odd");
    std::fs::create_dir_all(&pipeline).expect("a folder");
    let put = |file: &str, text: &str| std::fs::write(pipeline.join(file), text).expect("written");
    let mut csv = "name,n,amount,price,day,flag,note\n".to_owned();
    for (n, record) in records().iter().enumerate() {
        let amount = record.amount.map_or_else(String::new, |amount| amount.to_string());
        let name = record.name.replace('"', "\"\"");
        let Record { price, day, flag, .. } = record;
        writeln!(csv, "\"{name}\",{n},{amount},{price:.2},{day},{flag},same").expect("a text");
    }
    put("rows.csv", &csv);
    let series: String = (2000..2016).map(|year| format!("A,{year},{}.5\n", year - 1990)).collect();
    put("series.csv", &format!("area,year,value\n{series}"));
    put("made.sql", MADE);
    put("texts.sql", "SELECT n, amount, day FROM rows");
    let columns: Vec<String> = (0..WIDE).map(|c| format!("c{c} = \"double\"")).collect();
    let wide = format!(
        "\n[[tables]]\nname = \"wide\"\nsql = \"wide.sql\"\nkeys = [\"n\"]\n\
         columns = {{ n = \"int\", {} }}\n",
        columns.join(", ")
    );
    put("pipeline.toml", &[MANIFEST, &wide].concat());
    let columns: Vec<String> =
        (0..WIDE).map(|c| format!("n * CAST({c} AS DOUBLE) AS c{c}")).collect();
    put("wide.sql", &format!("SELECT n, {} FROM rows WHERE n < 20", columns.join(", ")));
}

/// A table of the result, and a column of a table.
fn table<'a>(result: &'a Value, name: &str) -> &'a Value {
    let tables = result["tables"].as_array().expect("tables");
    tables.iter().find(|table| table["table"] == name).expect("the table")
}

fn column<'a>(table: &'a Value, name: &str) -> &'a Value {
    let columns = table["columns"].as_array().expect("columns");
    columns.iter().find(|column| column["column"] == name).expect("the column")
}

fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{found} instead of {expected}"));
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} {expected}");
}

/// Compares what is said of numbers with the numbers.
fn check_numbers(column: &Value, values: &[f64]) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    near(&column["mean"], mean);
    near(&column["standard_deviation"], (squares / (count - 1.0)).sqrt());
    near(&column["min"], values.iter().copied().fold(f64::INFINITY, f64::min));
    near(&column["max"], values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    for (at, share) in [0.05, 0.25, 0.5, 0.75, 0.95].into_iter().enumerate() {
        let found = column["quantiles"][at].as_f64().expect("a quantile");
        let below = values.iter().filter(|v| **v < found).count() as f64 / count;
        let up_to = values.iter().filter(|v| **v <= found).count() as f64 / count;
        assert!(below <= share + 0.03 && up_to >= share - 0.03, "{share}: {found}");
    }
    let histogram = &column["histogram"];
    let outside = ["below", "above"].map(|end| histogram[end].as_u64().expect("a count"));
    let mut total: u64 = outside.iter().sum();
    for bin in histogram["bins"].as_array().expect("bins") {
        let [from, to] = ["from", "to"].map(|end| bin[end].as_f64().expect("a bound"));
        let inside = values.iter().filter(|v| (from..to).contains(*v)).count() as u64;
        assert_eq!(bin["count"], inside, "{bin}");
        total += inside;
    }
    assert_eq!(total, values.len() as u64);
}

fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let mean =
        |of: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / pairs.len() as f64;
    let (a, b) = (mean(&|p| p.0), mean(&|p| p.1));
    let covariance = mean(&|p| (p.0 - a) * (p.1 - b));
    covariance / (mean(&|p| (p.0 - a).powi(2)) * mean(&|p| (p.1 - b).powi(2))).sqrt()
}

fn check_rows(rows: &Value) {
    let records = records();
    assert_eq!((&rows["records"], &rows["repeated_keys"]), (&ROWS.into(), &0.into()));
    let amounts: Vec<f64> = records.iter().filter_map(|record| record.amount).collect();
    let amount = column(rows, "amount");
    assert_eq!(amount["missing"], ROWS - amounts.len());
    near(&amount["missing_share"], 0.125);
    check_numbers(amount, &amounts);
    check_numbers(column(rows, "n"), &(0..ROWS).map(|n| n as f64).collect::<Vec<_>>());
    check_numbers(column(rows, "price"), &records.iter().map(|r| r.price).collect::<Vec<_>>());

    let name = column(rows, "name");
    assert_eq!((&name["distinct"], &name["distinct_is_exact"]), (&2.into(), &true.into()));
    assert_eq!(name["top"][1]["value"], "<script>alert(1)</script>");
    assert_eq!((&name["top"][0]["count"], &name["top"][1]["count"]), (&160.into(), &80.into()));
    assert_eq!(column(rows, "flag")["yes"], 6);
    let day = column(rows, "day");
    assert_eq!((&day["first"], &day["last"]), (&"1969-01-01".into(), &"1970-12-28".into()));
    assert_eq!(day["period"], "month");
    for month in day["counts"].as_array().expect("months") {
        let month_of = month["value"].as_str().expect("a month");
        let inside = records.iter().filter(|record| record.day[..7] == month_of[..7]).count();
        assert_eq!(month["count"], inside, "{month}");
    }
    let pairs: Vec<(f64, f64)> =
        records.iter().filter_map(|record| Some((record.amount?, record.price))).collect();
    let all = rows["correlations"]["pairs"].as_array().expect("pairs");
    let found = all.iter().find(|pair| pair["a"] == "amount" && pair["b"] == "price");
    let found = found.expect("the pair");
    assert_eq!(found["cases"], pairs.len());
    near(&found["correlation"], correlation(&pairs));
    let notes = rows["notes"].as_array().expect("notes");
    for note in [
        "`amount` is missing in 12.5 % of the records (30 of 240).",
        "`flag` is false in 97.5 % of its values.",
        "`note` is constant: `same`.",
        "`n` and `price` say nearly the same: correlation 1.000 in 240 records.",
    ] {
        assert!(notes.contains(&note.into()), "{note}\n{notes:?}");
    }
}

#[test]
fn the_page_tells_what_the_tables_hold() {
    let folder = TempDir::new().expect("a folder");
    let root = workspace(folder.path());
    write(&root);
    let checkout = Checkout::new();
    let run = |arguments: &[&str]| {
        let mut command = checkout.command(&[arguments, &["--pipeline", "odd"]].concat());
        Said::of(command.current_dir(&root))
    };
    let done = |arguments: &[&str]| {
        let said = run(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
        said
    };
    done(&["deploy", "--yes"]);
    let whole = result(&done(&["profile", "--json"]).out);
    check_rows(table(&whole, "rows"));

    let made = table(&whole, "made");
    let odd = column(made, "odd");
    assert_eq!((&odd["not_finite"], &odd["values"]), (&2.into(), &210.into()));
    let finite = records().into_iter().enumerate().filter(|(n, _)| !(1..=2).contains(n));
    check_numbers(odd, &finite.filter_map(|(_, record)| record.amount).collect::<Vec<_>>());
    let nothing = column(made, "nothing");
    assert_eq!((&nothing["values"], &nothing["min"]), (&0.into(), &Value::Null));
    near(&made["correlations"]["pairs"][0]["correlation"], 1.0);
    assert_eq!(column(made, "at")["first"], "1969-01-01 00:00:00.000");
    let notes = made["notes"].to_string();
    assert!(notes.contains("`nothing` has no values.") && notes.contains("(NaN)"), "{notes}");

    let texts = table(&whole, "texts");
    let amounts: Vec<f64> = records().iter().filter_map(|record| record.amount).collect();
    check_numbers(column(texts, "amount"), &amounts);
    assert_eq!(column(texts, "amount")["missing"], 30);
    assert_eq!(column(texts, "day")["first"], "1969-01-01");

    let wide = table(&whole, "wide");
    assert_eq!(wide["columns"].as_array().expect("columns").len(), WIDE + 1);
    check_numbers(column(wide, "c99"), &(0..20).map(|n| f64::from(n * 99)).collect::<Vec<_>>());
    assert_eq!(wide["correlations"]["columns"].as_array().expect("columns").len(), 30);
    // The first column of zeros does not vary.
    assert_eq!(wide["correlations"]["left_out"], WIDE - 30);

    let own = checkout.path().join("reports/odd/profile.html");
    let page = std::fs::read_to_string(own).expect("a page");
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("Of 100 columns of numbers the first 30 are compared."));
    assert!(!page.contains("src=") && !page.contains("<link"), "the page needs nothing else");

    let file = folder.path().join("page.html");
    let said = done(&["profile", "texts", "rows", "--output", &file.display().to_string()]);
    assert!(said.out.contains("rows: 240 records") && !said.out.contains("wide"), "{}", said.out);
    assert!(said.err.contains("2 tables; Athena scanned"), "{}", said.err);
    assert!(std::fs::read_to_string(&file).expect("a page").contains("<svg"));
    let unknown = run(&["profile", "row"]);
    assert_eq!(unknown.code, Some(1));
    assert!(
        unknown.err.contains("the pipeline makes no table `row`")
            && unknown.err.contains("did you mean `rows`?"),
        "{}",
        unknown.err
    );
    done(&["destroy", "--yes"]);
}

/// Asks the questions of a profile about a table of the catalogue.
async fn asked(own: &Catalogued, subject: &Subject) -> TableProfile {
    let answers = async |questions: Vec<Question>| {
        let mut answers = Vec::new();
        for question in questions {
            let rows =
                own.ask(&question.sql).await.unwrap_or_else(|e| panic!("{e}\n{}", question.sql));
            // The first row has the names of the columns.
            answers.push(rows.into_iter().skip(1).collect());
        }
        answers
    };
    let summary = subject.summarised(&answers(subject.summaries()).await).expect("answers");
    let details = answers(subject.details(&summary)).await;
    subject.detailed(summary, &details).expect("answers")
}

#[tokio::test]
async fn tables_without_records_and_columns_of_any_name_are_asked_about() {
    let own = Catalogued::start().await;
    let columns = [
        ("имя", ColumnType::String),
        ("a\"b", ColumnType::Double),
        ("n", ColumnType::Bigint),
        ("price", ColumnType::Decimal(38, 2)),
        ("flag", ColumnType::Boolean),
        ("day", ColumnType::Date),
        ("at", ColumnType::Timestamp),
    ];
    let subject = |name: &str| Subject {
        name: name.to_owned(),
        description: String::new(),
        columns: columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
        key: vec!["имя".to_owned()],
        is_text: false,
    };
    let hive: Vec<(&str, String)> =
        columns.iter().map(|(name, kind)| (*name, kind.hive().into_owned())).collect();
    let hive: Vec<(&str, &str)> = hive.iter().map(|(name, kind)| (*name, kind.as_str())).collect();
    own.table("empty", table_input("empty", JSON, &hive));
    let empty = asked(&own, &subject("empty")).await;
    assert_eq!(
        (empty.records, &empty.notes[..]),
        (0, &["The table has no records.".to_owned()][..])
    );

    own.table("odd", table_input("odd", JSON, &hive));
    let large = i64::MAX;
    let line = |name: &str, number: f64, n: i64| {
        let record = serde_json::json!({
            "имя": name, "a\"b": number, "n": n, "price": 0.25, "flag": true,
            "day": "1900-02-28", "at": "9999-12-31T23:59:59",
        });
        format!("{record}\n")
    };
    let lines =
        [line("я", 1.5, large), line("я", -1e308, -large), line("", 1e308, 0), "{}\n".into()];
    own.object("odd/a.json", lines.concat().as_bytes());
    let odd = asked(&own, &subject("odd")).await;
    assert_eq!((odd.records, odd.repeated_keys), (4, Some(1)));
    let Shape::Text { top, .. } = &odd.columns[0].shape else { panic!("texts") };
    assert_eq!((top[0].count, top[1].value.as_str()), (2, ""));
    let Shape::Numbers(whole) = &odd.columns[2].shape else { panic!("numbers") };
    assert_eq!((&whole.min, &whole.max), (&(-large).into(), &large.into()));
    assert!(odd.columns.iter().all(|column| column.missing == 1));
    let Shape::Times { first, counts, .. } = &odd.columns[5].shape else { panic!("times") };
    assert_eq!((first.as_deref(), counts[0].count), (Some("1900-02-28"), 3));
}
