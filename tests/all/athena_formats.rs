//! Tables of every format that a run may store, asked through Athena: the same answers, columns as
//! each reader finds them, and what is refused.

use serde_json::{Value, json};
use steppe_spec::Manifest;
use tempfile::TempDir;

use crate::catalogued::{Catalogued, table_input};
use crate::checkout::{Checkout, Said, result};
use crate::etl::{plan_of, run};
use crate::workspace::workspace;

const ORC: &str = "org.apache.hadoop.hive.ql.io.orc.OrcSerde";
const AVRO: &str = "org.apache.hadoop.hive.serde2.avro.AvroSerDe";

const INPUT: &str = r#"schema_version = 2
name = "kinds"

[[inputs]]
name = "rows"
sample = "rows.csv"

[inputs.columns]
name = "string"
whole = "int"
big = "bigint"
number = "double"
truth = "boolean"
day = "date"
moment = { type = "timestamp", zone = "UTC" }

[[inputs]]
name = "series"
sample = "series.csv"
columns = { area = "string", year = "int", amount = "double" }
"#;

const TASK: &str = r#"
[[tasks]]
name = "amount"
table = "series"
series = "area"
time = "year"
target = "amount"

[tasks.model]
kind = "last-value"
"#;

const ROWS: &[u8] = "name,whole,big,number,truth,day,moment\n\
    Қазақстан €,2000,9223372036854775807,1.5,true,1969-12-31,1969-12-31 23:59:58.250\n\
    \"two \"\"q\"\", <b>\",2001,-9223372036854775808,-0.1,false,2024-02-29,2024-02-29 12:00:00\n\
    ,2002,,,,,\n"
    .as_bytes();

/// What is forecast.
fn series() -> String {
    let lines = (2000..2016).map(|year| format!("A,{year},{}.5\n", year - 1990));
    ["area,year,amount\n".to_owned(), lines.collect()].concat()
}

/// What every table of these rows answers.
pub const ANSWER: &str = "Қазақстан €|2000|9223372036854775807|1.5|true|1969-12-31|\
    1969-12-31 23:59:58.250\n\
    two \"q\", <b>|2001|-9223372036854775808|-0.1|false|2024-02-29|2024-02-29 12:00:00.000\n\
    -|2002|-|-|-|-|-";

/// A file of a table in a format.
pub fn file(format: &str, columns: &str, sql: &str) -> Vec<u8> {
    let table = format!(
        "[[tables]]\nname = \"made\"\nsql = \"made.sql\"\ncolumns = {{ {columns} }}\n\
         output = \"{format}\"\nkeys = [\"{}\"]\n",
        columns.split(' ').next().unwrap_or_default()
    );
    let text = [INPUT, &table, TASK].concat();
    let manifest = Manifest::parse("kinds/pipeline.toml", &text).expect("valid");
    let plan = plan_of(&manifest, &[("made.sql", sql)]);
    let series = series();
    let given = [("rows", "rows.csv", ROWS), ("series", "series.csv", series.as_bytes())];
    let made = run(&plan, &given).expect("cleaned").table("made");
    made.into_iter().next().expect("a file").to_vec()
}

/// Columns of every kind.
pub const ALL: &str = "name = \"string\", whole = \"int\", big = \"bigint\", number = \"double\", \
                   truth = \"boolean\", day = \"date\", moment = \"timestamp\"";
/// All of them.
pub const EVERYTHING: &str = "SELECT name, whole, big, number, truth, day, moment FROM rows";
const HIVE: [(&str, &str); 7] = [
    ("name", "string"),
    ("whole", "int"),
    ("big", "bigint"),
    ("number", "double"),
    ("truth", "boolean"),
    ("day", "date"),
    ("moment", "timestamp"),
];

#[tokio::test]
async fn columns_of_orc_are_found_by_their_places_and_on_demand_by_their_names() {
    let own = Catalogued::start().await;
    let bytes = file("orc", ALL, EVERYTHING);
    let table = |name: &str, access: Option<&str>, columns: &[(&str, &str)]| {
        let mut input = table_input(name, ORC, columns);
        if let Some(access) = access {
            let serde = &mut input["StorageDescriptor"]["SerdeInfo"];
            serde["Parameters"] = json!({ "orc.column.index.access": access });
        }
        own.table(name, input);
        own.object(&format!("{name}/a.orc"), &bytes);
    };
    table("whole", None, &HIVE);
    let rows = own.table_of("SELECT * FROM whole ORDER BY whole").await;
    assert_eq!(rows.split_once('\n').expect("rows").1, ANSWER);
    assert_eq!(own.table_of("SELECT count(*) FROM whole").await, "_col0\n3");

    // Other names in the same places, and one that the file has not.
    let renamed = [&[("a", "string"), ("b", "bigint")], &HIVE[2..], &[("more", "date")]].concat();
    table("renamed", Some("true"), &renamed);
    let rows = own.table_of("SELECT b, more, a FROM renamed ORDER BY b").await;
    assert_eq!(rows, "b|more|a\n2000|-|Қазақстан €\n2001|-|two \"q\", <b>\n2002|-|-");

    let named = [("number", "double"), ("missing", "int"), ("name", "string")];
    table("named", Some("FALSE"), &named);
    let rows = own.table_of("SELECT * FROM named ORDER BY number").await;
    assert_eq!(rows, "number|missing|name\n-0.1|-|two \"q\", <b>\n1.5|-|Қазақстан €\n-|-|-");
    assert_eq!(own.table_of("SELECT missing FROM named LIMIT 1").await, "missing\n-");

    // By their places these are columns of other types.
    table("placed", None, &named);
    let said = own.ask("SELECT number FROM placed").await.expect_err("refused");
    let size = bytes.len();
    assert_eq!(
        said,
        format!(
            "HIVE_CANNOT_OPEN_SPLIT: Error opening Hive split s3://my-data/placed/a.orc (offset=0, \
             length={size}): Malformed ORC file. Cannot read SQL type 'double' from ORC stream \
             '.name' of type STRING with attributes {{}} [s3://my-data/placed/a.orc]"
        )
    );
    assert_eq!(
        own.table_of("SELECT missing FROM placed ORDER BY 1 LIMIT 1").await,
        "missing\n2000"
    );

    table("odd", Some("maybe"), &named);
    let said = own.ask("SELECT 1 FROM odd").await.expect_err("refused");
    assert!(said.contains("`orc.column.index.access` is \"maybe\", not"), "{said}");
    table("narrow", None, &[("name", "string"), ("whole", "int"), ("big", "int")]);
    let said = own.ask("SELECT big FROM narrow").await.expect_err("refused");
    assert!(said.starts_with("HIVE_BAD_DATA: s3://my-data/narrow/a.orc: big: "), "{said}");
    table("listed", None, &[("name", "array<string>")]);
    let said = own.ask("SELECT name FROM listed").await.expect_err("refused");
    assert!(said.contains("reads no array<string> from these"), "{said}");
}

#[tokio::test]
async fn the_schema_of_an_avro_table_resolves_the_schemas_of_its_files() {
    let own = Catalogued::start().await;
    let bytes = file("avro", ALL, EVERYTHING);
    let table = |name: &str, schema: Option<&str>, columns: &[(&str, &str)]| {
        let mut input = table_input(name, AVRO, columns);
        if let Some(fields) = schema {
            let schema = format!("{{\"type\":\"record\",\"name\":\"r\",\"fields\":[{fields}]}}");
            let serde = &mut input["StorageDescriptor"]["SerdeInfo"];
            serde["Parameters"] = json!({ "avro.schema.literal": schema });
        }
        own.table(name, input);
        own.object(&format!("{name}/a.avro"), &bytes);
    };
    table("whole", None, &HIVE);
    let rows = own.table_of("SELECT * FROM whole ORDER BY whole").await;
    assert_eq!(rows.split_once('\n').expect("rows").1, ANSWER);
    assert_eq!(own.table_of("SELECT count(*) FROM whole").await, "_col0\n3");

    let field = |name: &str, kind: &str, rest: &str| {
        format!("{{\"name\":\"{name}\",\"type\":[\"null\",{kind}]{rest}}}")
    };
    let null = ",\"default\":null";
    let fields = [
        field("missing", "\"int\"", null),
        field("whole", "\"long\"", null),
        field("big", "\"double\"", null),
    ];
    // A column that the schema has not is NULL, whatever the file has.
    let columns = [("name", "string"), ("whole", "bigint"), ("big", "double"), ("missing", "int")];
    table("wider", Some(&fields.join(",")), &columns);
    let rows = own.table_of("SELECT name, missing, whole, big FROM wider ORDER BY whole").await;
    assert_eq!(
        rows,
        "name|missing|whole|big\n-|-|2000|9.223372036854776E18\n\
         -|-|2001|-9.223372036854776E18\n-|-|2002|-"
    );

    for (name, fields, columns, told) in [
        (
            "needed",
            field("missing", "\"int\"", ""),
            ("missing", "int"),
            "HIVE_CANNOT_OPEN_SPLIT: Avro type resolution error when initializing split from \
             s3://my-data/needed/a.avro: missing required field missing",
        ),
        (
            "narrower",
            field("big", "\"int\"", null),
            ("big", "int"),
            "s3://my-data/narrower/a.avro: the type of big in the file does not become integer",
        ),
        (
            "capitals",
            field("Name", "\"string\"", null),
            ("name", "string"),
            "Athena finds no field with capitals: `Name`",
        ),
        (
            "another",
            field("name", "\"int\"", null),
            ("name", "string"),
            "`name` is a string in the table and not in the schema",
        ),
        (
            "filled",
            "{\"name\":\"name\",\"type\":\"string\",\"default\":\"x\"}".to_owned(),
            ("name", "string"),
            "`name`: the embedded cloud takes no default but null",
        ),
        ("broken", "{\"name\":1}".to_owned(), ("name", "string"), "a field of `r` has no name"),
    ] {
        table(name, Some(&fields), &[columns]);
        let said = own.ask(&format!("SELECT {} FROM {name}", columns.0)).await;
        let said = said.expect_err("refused");
        assert!(said.contains(told), "{told}\ngot: {said}");
    }
    let mut linked = table_input("linked", AVRO, &[("name", "string")]);
    linked["Parameters"] = json!({ "avro.schema.url": "s3://my-data/x.avsc" });
    own.table("linked", linked);
    let said = own.ask("SELECT name FROM linked").await.expect_err("refused");
    assert!(said.contains("Athena does not support `avro.schema.url`"), "{said}");
}

#[tokio::test]
async fn damaged_files_are_no_shorter_tables() {
    let own = Catalogued::start().await;
    for (serde, format) in [(ORC, "orc"), (AVRO, "avro")] {
        let bytes = file(format, ALL, EVERYTHING);
        let half = &bytes[..bytes.len() - 20];
        for (name, bytes) in [("text", &b"a,b\n1,2\n"[..]), ("half", half)] {
            let name = format!("{format}_{name}");
            own.table(&name, table_input(&name, serde, &HIVE));
            own.object(&format!("{name}/a"), bytes);
            let said = own.ask(&format!("SELECT count(*) FROM {name}")).await;
            let said = said.expect_err("refused");
            assert!(said.starts_with("HIVE_"), "{said}");
        }
    }
}

#[test]
fn every_output_is_deployed_and_answers_alike() {
    let folder = TempDir::new().expect("a folder");
    let root = workspace(folder.path());
    let pipeline = root.join("model/pipelines/kinds");
    std::fs::create_dir_all(&pipeline).expect("a folder");
    let mut text = INPUT.to_owned();
    let formats = ["parquet", "orc", "avro", "json", "csv"];
    for format in formats {
        text += &format!(
            "\n[[tables]]\nname = \"as_{format}\"\nsql = \"made.sql\"\noutput = \"{format}\"\n\
             columns = {{ {ALL} }}\nkeys = [\"whole\"]\n"
        );
    }
    text += TASK;
    std::fs::write(pipeline.join("pipeline.toml"), text).expect("written");
    std::fs::write(pipeline.join("made.sql"), EVERYTHING).expect("written");
    std::fs::write(pipeline.join("rows.csv"), ROWS).expect("written");
    std::fs::write(pipeline.join("series.csv"), series()).expect("written");

    let checkout = Checkout::new();
    let xtask = |arguments: &[&str]| {
        let mut command = checkout.command(&[arguments, &["--pipeline", "kinds"]].concat());
        let said = Said::of(command.current_dir(&root));
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
        said
    };
    xtask(&["deploy", "--yes"]);
    let asked = |format: &str| {
        let sql = format!("SELECT * FROM as_{format} ORDER BY whole");
        let answer = result(&xtask(&["query", &sql, "--json"]).out);
        answer["rows"].clone()
    };
    let text = |rows: &Value| {
        let line = |row: &Value| {
            let cells = row.as_array().expect("cells").iter();
            cells.map(|c| c.as_str().unwrap_or("-")).collect::<Vec<_>>().join("|")
        };
        rows.as_array().expect("rows").iter().map(line).collect::<Vec<_>>().join("\n")
    };
    for format in &formats[..4] {
        assert_eq!(text(&asked(format)), ANSWER, "{format}");
    }
    // The reader of CSV gives the texts of the file, and no value is an empty text.
    let texts = ANSWER.replace("-|2002|-|-|-|-|-", "|2002|||||");
    let texts = texts.replace("58.250", "58.25").replace("00.000", "00");
    assert_eq!(text(&asked("csv")), texts);
    xtask(&["destroy", "--yes"]);
}
