//! Inputs of many files and formats, and the tables that are made of them.

use steppe_spec::Manifest;
use steppe_wire::etl::EtlPlan;

use crate::etl::{plan_of, run};

const MANIFEST: &str = r#"schema_version = 2
name = "load"

[[inputs]]
name = "readings"
unique = ["household", "day"]
rules = [{ name = "whole", when = "readings <> 48", reason = "incomplete", action = "reject" }]

[inputs.columns]
household = { from = "LCLid", type = "string" }
day = "date"
kwh = "double"
readings = "int"

[[inputs]]
name = "weather"
format = "json"
unique = ["day"]

[inputs.columns]
day = { from = "time", type = "date", zone = "UTC", as = "Europe/London" }
tmax = "double"

[[tables]]
name = "demand"
sql = "demand.sql"
columns = { area = "string", day = "date", kwh = "double", tmax = "double" }
keys = ["day"]

[[tasks]]
name = "demand"
table = "demand"
series = "area"
time = "day"
target = "kwh"
frequency = "daily"
"#;

const SQL: &str = "SELECT 'London' AS area, r.day, SUM(r.kwh) / COUNT(*) AS kwh, \
                   MAX(w.tmax) AS tmax \
                   FROM readings r JOIN weather w ON w.day = r.day GROUP BY r.day";

const FIRST: &[u8] = b"LCLid,day,kwh,readings\nA,2013-06-01,1.5,48\nA,2013-06-02,2,48\n";
const SECOND: &[u8] = b"readings,kwh,day,LCLid\n48,4,2013-06-01,B\n47,9,2013-06-02,B\n";
/// Local midnights of June 1 and 2, in UTC.
const WEATHER: &[u8] = b"{\"time\": \"2013-05-31 23:00:00\", \"tmax\": 18.5}\n\
                         {\"tmax\": 2e1, \"time\": \"2013-06-01T23:00:00Z\", \"more\": [1]}\n";

fn manifest() -> Manifest {
    Manifest::parse("load/pipeline.toml", MANIFEST).expect("valid")
}

fn plan(sql: &str) -> EtlPlan {
    plan_of(&manifest(), &[("demand.sql", sql)])
}

fn refused(plan: &EtlPlan, given: &[(&str, &str, &[u8])]) -> String {
    run(plan, given).expect_err("refused")
}

/// The rows of a table as texts.
pub fn rows(files: Vec<bytes::Bytes>) -> Vec<String> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let mut rows = Vec::new();
    for file in files {
        let reader = SerializedFileReader::new(file).expect("Parquet");
        for row in reader.get_row_iter(None).expect("rows") {
            let row = row.expect("a row");
            let cells: Vec<String> = row.get_column_iter().map(|(_, f)| f.to_string()).collect();
            rows.push(cells.join(" "));
        }
    }
    rows
}

#[test]
fn files_of_an_input_are_one_table_and_are_joined_by_the_local_day() {
    let given: [(&str, &str, &[u8]); 3] = [
        ("readings", "block_0.csv", FIRST),
        ("readings", "block_1.csv", SECOND),
        ("weather", "w.json", WEATHER),
    ];
    let done = run(&plan(SQL), &given).expect("cleaned");
    assert_eq!((done.report.raw_rows, done.report.clean_rows), (4, 3));
    assert_eq!((done.report.read.objects, done.report.rejected_rows), (2, 1));
    let rejects = done.rejects();
    assert!(rejects.contains("B,2013-06-02,9,47,2,whole,incomplete,block_1.csv"), "{rejects}");
    assert_eq!(
        rows(done.table("demand")),
        ["\"London\" 2013-06-01 2.75 18.5", "\"London\" 2013-06-02 2.0 20.0",]
    );
}

#[test]
fn files_of_other_columns_and_formats_are_refused_by_name() {
    let weather = ("weather", "w.json", WEATHER);
    let with = |name, bytes| [("readings", "a.csv", FIRST), ("readings", name, bytes), weather];
    for (name, bytes, told) in [
        (
            "b.csv",
            &b"LCLid,day,kwh\nB,2013-06-01,1\n"[..],
            "b.csv: line 1: column `readings` is missing",
        ),
        ("b.csv", b"LCLid,day,kwh,readings,x\nB,2013-06-01,1,48,2\n", "has a column `x`, and"),
        ("b.csv", b"", "b.csv: line 1: the file is empty"),
        ("b.parquet", b"PAR1\x15\x04\x15\x10", "`format = \"parquet\"` of the input"),
        (
            "b.csv",
            b"LCLid,day,kwh,readings\nB,2013-06-01,1x,48\n",
            "b.csv:2: column `kwh`: cannot be read as a number; found `1x`",
        ),
        (
            "b.csv",
            b"LCLid,day,kwh,readings\nA,2013-06-01,1,48\n",
            "more than one record of the same household and day",
        ),
    ] {
        let said = refused(&plan(SQL), &with(name, bytes));
        assert!(said.contains(told), "{told}\ngot: {said}");
    }
    let none = refused(&plan(SQL), &[("readings", "a.csv", FIRST)]);
    assert!(none.contains("there are no files at ./raw/load/weather/"), "{none}");
    let csv = refused(&plan(SQL), &[("readings", "a.csv", FIRST), ("weather", "w.json", FIRST)]);
    assert!(csv.contains("the file is text; the manifest says `format = \"json\"`"), "{csv}");
}

#[test]
fn tables_have_the_declared_columns_and_one_row_per_key() {
    let given = [("readings", "a.csv", FIRST), ("weather", "w.json", WEATHER)];
    for (sql, told) in [
        (
            "SELECT 'London' AS area, r.day, r.kwh, w.tmax FROM readings r CROSS JOIN weather w",
            "the table `demand` has 2 rows of day = 2013-06-01",
        ),
        ("SELECT day, kwh FROM readings", "gives other columns than the manifest declares"),
        (
            "SELECT 'London' AS area, day, CAST(kwh AS INT) AS kwh, kwh AS tmax FROM readings",
            "kwh = \"int\"",
        ),
        ("SELECT median(kwh) FROM readings", "the function `median` is not known to mean the same"),
        ("SELECT nothing FROM readings", "the SQL of the table `demand` is not valid"),
        ("DROP TABLE readings", "expected one SELECT statement"),
        (
            "SELECT 'London' AS area, day, kwh / (readings - 48) AS kwh, kwh AS tmax FROM readings",
            "division by zero",
        ),
        (
            "SELECT 'London' AS area, day, kwh, kwh AS tmax FROM readings WHERE kwh < 0",
            "gives no row",
        ),
    ] {
        let said = refused(&plan(sql), &given);
        assert!(said.contains(told), "{sql}\nexpected: {told}\ngot: {said}");
    }
}

/// Where clocks change, a local time does not exist or exists twice.
#[test]
fn local_times_that_are_none_or_two_are_refused() {
    let local = MANIFEST.replace(
        "type = \"date\", zone = \"UTC\", as = \"Europe/London\"",
        "type = \"timestamp\", zone = \"Europe/London\", as = \"UTC\"",
    );
    let local = local.replace("demand.sql", "times.sql").replace(
        "day = \"date\", kwh = \"double\", tmax",
        "day = \"timestamp\", kwh = \"double\", tmax",
    );
    let local = local.replace("frequency = \"daily\"", "frequency = \"hourly\"");
    let manifest = Manifest::parse("load/pipeline.toml", &local).expect("valid");
    let sql = "SELECT 'London' AS area, day, tmax AS kwh, tmax FROM weather";
    let plan = plan_of(&manifest, &[("times.sql", sql)]);
    let at = |time: &str| {
        let line = format!("{{\"time\": \"{time}\", \"tmax\": 1}}\n");
        run(&plan, &[("readings", "a.csv", FIRST), ("weather", "w.json", line.as_bytes())])
    };
    let done = at("2013-06-01 00:30:00").expect("a time");
    assert!(rows(done.table("demand"))[0].contains("2013-05-31 23:30:00"), "in UTC");
    for odd in ["2013-03-31 01:30:00", "2013-10-27 01:30:00"] {
        let said = at(odd).expect_err(odd);
        assert!(said.contains("does not exist in Europe/London, or exists twice"), "{odd}: {said}");
    }
}
