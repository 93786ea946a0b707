//! Hadoop sequence files from beginning to end: cleaned as the lines that are in them, asked
//! through Athena, deployed, and refused with file, record and what to do.

use std::sync::Arc;

use jiff::Timestamp;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use serde_json::json;
use steppe_jobs::check::Checker;
use steppe_spec::Manifest;
use tempfile::TempDir;

use crate::catalogued::{CSV, Catalogued, table_input};
use crate::checkout::{Checkout, Said, result};
use crate::etl::{Cleaned, plan_of, run};
use crate::workspace::{edit_manifest, workspace};

const LAZY: &str = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe";
const SYNC: &[u8; 16] = b"sixteen bytes 16";

/// A file as Hadoop writes it without compression; the first value must be short.
fn file_of(class: &str, values: &[&str]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        match length {
            0..128 => [&[length], text.as_bytes()].concat(),
            _ => [&[0x8f, length], text.as_bytes()].concat(),
        }
    };
    let int = |number: usize| u32::try_from(number).expect("small").to_be_bytes();
    let mut file = b"SEQ\x06".to_vec();
    for name in ["NullWritable", class] {
        file.extend(text(&format!("org.apache.hadoop.io.{name}")));
    }
    file.extend([&[0, 0][..], &int(0), SYNC].concat());
    for (number, value) in values.iter().enumerate() {
        if number % 2 == 1 {
            file.extend([&(-1_i32).to_be_bytes()[..], SYNC].concat());
        }
        let value = match class {
            "BytesWritable" => [&int(value.len())[..], value.as_bytes()].concat(),
            _ => text(value),
        };
        file.extend([&int(value.len())[..], &int(0), &value].concat());
    }
    file
}

fn file(values: &[&str]) -> Vec<u8> {
    file_of("Text", values)
}

fn manifest(options: &str) -> Manifest {
    let text = format!(
        "schema_version = 2\nname = \"load\"\n[[inputs]]\nname = \"load\"\n{options}\n\
         columns = {{ shop = {{ from = \"Магазин\", type = \"string\" }}, day = \"date\", \
         sold = \"double\" }}\n\
         [[tasks]]\nname = \"sold\"\nseries = \"shop\"\ntime = \"day\"\ntarget = \"sold\"\n\
         frequency = \"daily\"\n"
    );
    Manifest::parse("load/pipeline.toml", &text).expect("valid")
}

const SEQUENCE: &str = "container = \"sequence\"\ndelimiter = \";\"\nthousands = \" \"\n\
                        decimal = \",\"\nmissing = [\"…\"]";
const REJECTS: &str = "rules = [{ name = \"sold_there\", column = \"sold\", \
                       when = \"sold IS NULL\", reason = \"nothing\", action = \"reject\" }]";

fn cleaned(options: &str, files: &[(&str, &[u8])]) -> Result<Cleaned, String> {
    let plan = plan_of(&manifest(options), &[]);
    let given: Vec<_> = files.iter().map(|(name, bytes)| ("load", *name, *bytes)).collect();
    run(&plan, &given)
}

#[test]
fn values_are_read_as_lines_of_csv_are() {
    let options = format!("{SEQUENCE}\n{REJECTS}");
    let values = ["A;2024-01-01;1 234,5", "\"A; \"\"b\"\"\";2024-01-02;7", "B;2024-01-03;x"];
    let other = ["Қ;2024-01-01;…", " B ;2024-01-04;2"];
    let files = [("1.seq", &file(&values)[..]), ("2", &file_of("BytesWritable", &other)[..])];
    let run = cleaned(&options, &files).expect("cleaned");
    let counts = (run.report.raw_rows, run.report.clean_rows, run.report.rejected_rows);
    assert_eq!(counts, (5, 3, 2));
    let rejects = run.rejects();
    assert!(rejects.starts_with("shop,day,sold,_row,_rule,_reason,_file\n"), "{rejects}");
    assert!(rejects.contains("B,2024-01-03,x,3,sold_there,nothing,1.seq\n"), "{rejects}");
    assert!(rejects.contains("Қ,2024-01-01,…,1,missing,"), "{rejects}");

    let json = "format = \"json\"\ncontainer = \"sequence\"";
    let object = r#"{"Магазин": "A", "day": "2024-01-01", "sold": 1e3, "other": [1]}"#;
    let run = cleaned(json, &[("a.seq", &file(&[object, &object.replace("-01\"", "-02\"")]))]);
    assert_eq!(run.expect("cleaned").report.clean_rows, 2);
}

#[test]
fn what_must_not_pass_is_refused_with_file_and_record() {
    let good = "A;2024-01-01;1";
    let two = |second: &str| file(&[good, second]);
    let damaged = |from: usize| two(good)[..two(good).len() - from].to_vec();
    let mut other_mark = two(good);
    let mark = other_mark.windows(16).rposition(|bytes| bytes == SYNC).expect("a mark");
    other_mark[mark] = 0;
    for (data, expected) in [
        (
            two("A;2024-01-02;x"),
            "a.seq: record 2: column `sold`: the sold must be a number that is not negative; \
             found `x`",
        ),
        (two("A;2024-01-02"), "a.seq: record 2 has 2 fields, the manifest has 3 columns\nhint: "),
        (
            two("A;2024-01-02;3;4"),
            "a.seq: record 2 has 4 fields, the manifest has 3 columns\nhint: ",
        ),
        (file(&[good, "\"A;2024-01-02;3", good]), "a.seq: record 2: a quote in it is not closed"),
        (file(&[good, "A;2024-01-02;\"3"]), "a.seq: record 2: a quote in it is not closed"),
        (two("A;2024-01-02;3\nB"), "a.seq: record 2: the value has more than one line\nhint: "),
        (two(""), "a.seq: record 2: the value is empty\nhint: "),
        (damaged(1), "a.seq: record 2 cannot be read: it has 13 of 14 bytes\nhint: copy the file"),
        (other_mark, "a.seq: record 2 cannot be read: the mark before it is not that of the file"),
        (file(&[]), "a.seq: the file has a header but no records"),
        (vec![], "a.seq: the file is empty"),
        (
            file_of("IntWritable", &[]),
            "a.seq: the values are of the class `org.apache.hadoop.io.Int",
        ),
        (b"shop;day;sold\n".to_vec(), "a.seq: the file is text\nhint: leave `container` out"),
        (
            b"SEQ\x05\x19org".to_vec(),
            "a.seq: the file is a sequence file of an old version\nhint: ",
        ),
    ] {
        let told = cleaned(SEQUENCE, &[("a.seq", &data)]).expect_err(expected);
        assert!(told.contains(expected), "expected: {expected}\ngot: {told}");
    }
    for options in ["", "format = \"json\""] {
        let told = cleaned(options, &[("a.csv", &file(&[good]))]).expect_err("refused");
        let way =
            "the file is a Hadoop sequence file\nhint: `container = \"sequence\"` of the input";
        assert!(told.contains(way), "{told}");
    }
}

#[tokio::test]
async fn the_check_before_a_run_knows_them_by_their_first_bytes() {
    let (artifacts, data) = (Arc::new(InMemory::new()), Arc::new(InMemory::new()));
    let plan = serde_json::to_vec(&plan_of(&manifest(SEQUENCE), &[])).expect("JSON");
    artifacts.put(&Path::from("plan.json"), plan.into()).await.expect("stored");
    let checked = async |bytes: Vec<u8>| {
        data.put(&Path::from("raw/load/load/a.gz"), bytes.into()).await.expect("stored");
        let checker = Checker {
            artifacts: artifacts.clone(),
            data: data.clone(),
            pipeline: "load".to_owned(),
            plan_key: "plan.json".to_owned(),
        };
        let limits = json!({ "load": { "fresh_within": null, "least_of_last": 0.1 } });
        let event = serde_json::from_value(json!({ "check": "inputs", "limits": limits }));
        let answer = checker.run(&event.expect("a question"), Timestamp::now()).await;
        serde_json::to_string(&answer.expect("an answer")).expect("JSON")
    };
    assert!(checked(file(&["A;2024-01-01;1"])).await.contains(r#""defects":[]"#));
    let told = checked(b"shop;day;sold\n".to_vec()).await;
    assert!(told.contains("the file is text") && told.contains("leave `container` out"), "{told}");
}

#[tokio::test]
async fn athena_splits_values_of_text_with_one_serde_alone() {
    let own = Catalogued::start().await;
    let table = |name: &str, serde: &str, parameters: serde_json::Value, bytes: &[u8]| {
        let mut input = table_input(name, serde, &[("shop", "string"), ("n", "string")]);
        let storage = &mut input["StorageDescriptor"];
        storage["InputFormat"] = json!("org.apache.hadoop.mapred.SequenceFileInputFormat");
        storage["SerdeInfo"]["Parameters"] = parameters;
        own.table(name, input);
        own.object(&format!("{name}/a.seq"), bytes);
    };
    let bytes = file(&["A;1;2", "\"B; b\";3", "\\N", ";", ""]);
    table("fields", LAZY, json!({ "field.delim": ";" }), &bytes);
    let rows = own.table_of("SELECT * FROM fields").await;
    assert_eq!(rows, "shop|n\nA|1\n\"B| b\"\n-|-\n|\n|-");
    assert_eq!(own.table_of("SELECT n FROM fields WHERE shop = 'A'").await, "n\n1");
    assert_eq!(own.table_of("SELECT count(*) FROM fields").await, "_col0\n5");
    table("of_hive", LAZY, json!({}), &file(&["A\u{1}1"]));
    assert_eq!(own.table_of("SELECT * FROM of_hive").await, "shop|n\nA|1");

    let said =
        async |name: &str| own.ask(&format!("SELECT * FROM {name}")).await.expect_err("refused");
    table("quoted", CSV, json!({}), &bytes);
    let told = said("quoted").await;
    assert!(told.contains("Athena reads sequence files with LazySimpleSerDe, not with"), "{told}");
    table("escaped", LAZY, json!({ "escape.delim": "\\" }), &bytes);
    assert!(said("escaped").await.contains("reads no sequence files with `escape.delim`"));
    table("bytes", LAZY, json!({}), &file_of("BytesWritable", &["A;1"]));
    let told = said("bytes").await;
    assert!(told.starts_with("HIVE_CANNOT_OPEN_SPLIT: "), "{told}");
    assert!(told.contains("class org.apache.hadoop.io.BytesWritable is not supported"), "{told}");
    table("torn", LAZY, json!({}), &bytes[..bytes.len() - 1]);
    let told = said("torn").await;
    assert!(told.starts_with("HIVE_BAD_DATA: s3://my-data/torn/a.seq: record 5"), "{told}");
}

#[test]
fn a_sequence_file_is_deployed_by_its_first_bytes() {
    let folder = TempDir::new().expect("a folder");
    let root = workspace(folder.path());
    edit_manifest(folder.path(), "marriages", |line| match line {
        "sample = \"sample.csv\"" => "container = \"sequence\"".to_owned(),
        other => other.to_owned(),
    });
    let lines: Vec<String> = ["Abai", "\"Almaty, city\""]
        .iter()
        .flat_map(|region| (2000..2016).map(move |year| format!("{region},{year},{}", year - 1990)))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    std::fs::write(root.join("data.seq"), file(&lines)).expect("written");
    std::fs::write(root.join("text.csv"), "region,year,marriages\nA,2000,1\n").expect("written");
    let checkout = Checkout::new();
    let said = |arguments: &[&str]| Said::of(checkout.command(arguments).current_dir(&root));
    let xtask = |arguments: &[&str]| {
        let said = said(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
        said
    };
    let refused = said(&["deploy", "--yes", "--data", "text.csv"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.err.contains("the file is text"), "{}", refused.err);
    assert!(refused.err.contains("leave `container` out of the input"), "{}", refused.err);
    let refused = said(&["pipeline", "new", "other", "--data", "data.seq"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.err.contains("no manifest is guessed"), "{}", refused.err);
    assert!(refused.err.contains("`container = \"sequence\"`"), "{}", refused.err);

    xtask(&["deploy", "--yes", "--data", "data.seq"]);
    let asked = |sql: &str| result(&xtask(&["query", sql, "--json"]).out)["rows"].clone();
    let clean = "SELECT region, year FROM marriages ORDER BY region DESC, year DESC LIMIT 1";
    assert_eq!(asked(clean), json!([["Almaty, city", "2015"]]));
    // In quotes, too, a delimiter parts fields there.
    let raw = "SELECT region, year FROM raw_marriages ORDER BY 1 LIMIT 1";
    assert_eq!(asked(raw), json!([["\"Almaty", " city\""]]));
    xtask(&["destroy", "--yes"]);
}
