//! Files of every format as a crawler sees them: what their tables are called by, and have.

use std::fs::{File, create_dir_all, write};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::parquet::arrow::ArrowWriter;
use steppe_wire::crawl::{Classification, CsvForm};
use steppe_wire::etl::TableFormat;
use tempfile::TempDir;

use super::*;
use crate::formats::writer;

/// A folder of files.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let made = Self(tempfile::tempdir().expect("a folder"));
        for (name, text) in files {
            write(made.path(name), text).expect("written");
        }
        made
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        let path = self.0.path().join("data").join(name);
        create_dir_all(path.parent().expect("a folder")).expect("made");
        path
    }

    fn with(self, name: &str, kind: TableFormat, columns: Vec<(&str, ArrayRef)>) -> Self {
        let batch = RecordBatch::try_from_iter(columns).expect("rows");
        let file = File::create(self.path(name)).expect("a file");
        let mut writer = writer(kind, batch.schema(), file).expect("a writer");
        writer.write(&batch).expect("written");
        writer.finish().expect("finished");
        self
    }

    async fn crawled(&self, combine: bool, exclusions: &[&str]) -> Result<Crawled> {
        let path = self.0.path().join("data");
        create_dir_all(&path).expect("made");
        let exclusions = exclusions.iter().map(|text| (*text).to_owned()).collect();
        let target = Target { path: path.display().to_string(), exclusions };
        find(Realm::Files, &Crawl { targets: vec![target], combine }).await
    }

    /// Tables as lines: place, columns, partitions.
    async fn tables(&self, combine: bool) -> Vec<String> {
        let crawled = self.crawled(combine, &[]).await.expect("crawled");
        let root = self.0.path().display().to_string();
        let line = |table: &steppe_wire::crawl::Found| {
            let columns = table.content.columns.iter().map(|(name, kind)| format!("{name} {kind}"));
            let place = table.location.strip_prefix(&format!("{root}/")).expect("below the root");
            let mut line = format!("{place}: {}", columns.collect::<Vec<_>>().join(", "));
            if !table.keys.is_empty() {
                let values = table.partitions.iter().map(|p| p.values.join("/"));
                let values: Vec<_> = values.collect();
                line.push_str(&format!(" by {}: {}", table.keys.join(", "), values.join(" ")));
            }
            line
        };
        crawled.tables.iter().map(line).collect()
    }

    async fn only(&self) -> steppe_wire::crawl::Found {
        let mut crawled = self.crawled(false, &[]).await.expect("crawled");
        assert_eq!(crawled.tables.len(), 1, "{crawled:?}");
        crawled.tables.remove(0)
    }
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn wholes(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

#[tokio::test]
async fn files_that_say_what_they_have_are_believed() {
    let rows = || -> Vec<(&str, ArrayRef)> {
        vec![
            ("Region", texts(&["a", "b"])),
            ("n", Arc::new(Int32Array::from(vec![1, 2]))),
            ("big", wholes(&[1, 2])),
            ("x", Arc::new(Float64Array::from(vec![0.5, 1.5]))),
            ("day", Arc::new(Date32Array::from(vec![1, 2]))),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_000, 2_000]))),
        ]
    };
    let kinds = "region string, n int, big bigint, x double, day date, at timestamp";
    for (name, kind) in
        [("a.parquet", TableFormat::Parquet), ("a.orc", TableFormat::Orc), ("a", TableFormat::Avro)]
    {
        let files = Files::new(&[]).with(name, kind, rows());
        assert_eq!(files.tables(false).await, [format!("data/: {kinds}")], "{name}");
        assert_eq!(files.only().await.content.records, 2, "{name}");
    }
    let files = Files::new(&[]).with("a", TableFormat::Avro, rows());
    let Classification::Avro(schema) = files.only().await.content.classification else {
        panic!("it is Avro");
    };
    assert!(schema.contains("timestamp-millis"), "{schema}");
}

#[tokio::test]
async fn nested_columns_of_parquet_are_hives() {
    let files = Files::new(&[]);
    let inner: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let field = Arc::new(Field::new("step", DataType::Int32, true));
    let batch = RecordBatch::try_from_iter([(
        "rows",
        Arc::new(StructArray::from(vec![(field, inner)])) as ArrayRef,
    )]);
    let batch = batch.expect("rows");
    let file = File::create(files.path("a.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    assert_eq!(files.tables(false).await, ["data/: rows struct<step:int>"]);
}

#[tokio::test]
async fn json_is_read_as_it_is_nested() {
    let files = Files::new(&[(
        "a.json",
        "{\"Id\": 1, \"who\": {\"first\": \"A\", \"born\": 1990}, \"tags\": [], \"x\": null}\n\
         {\"Id\": 5000000000, \"who\": {\"last\": \"B\"}, \"tags\": [1, 2.5], \"x\": null}\n",
    )]);
    assert_eq!(
        files.tables(false).await,
        ["data/: id bigint, who struct<first:string,born:int,last:string>, tags array<double>, x \
         string"]
    );
    let found = files.only().await;
    let paths = ["Id", "who", "tags", "x"].map(str::to_owned).to_vec();
    assert_eq!(found.content.classification, Classification::Json(paths));
    assert_eq!(found.content.records, 2);
    let odd = Files::new(&[("a.json", "{\"a\": 1, \"b\": true}{\"a\": \"x\", \"b\": 1}")]);
    assert_eq!(odd.tables(false).await, ["data/: a string, b string"]);
    let broken = Files::new(&[("a.json", "{\"a\": 1}\n{\"a\": ")]);
    assert_eq!(broken.only().await.content.classification, Classification::Unknown);
}

#[tokio::test]
async fn values_are_separated_by_the_rules_of_glues_classifier() {
    for (text, kinds, delimiter, header, quoted) in [
        ("Region,Year\na,2000\nb,2001\n", "region string, year bigint", ',', true, false),
        ("1|a|true\n2|b|false\n", "col0 bigint, col1 string, col2 boolean", '|', false, false),
        // All of it is text, so that the first row may be a row.
        ("a\tb\nc\td\ne\tf\n", "col0 string, col1 string", '\t', false, false),
        ("x;y\r\n1;2.5\r\n3;4\r\n", "x bigint, y double", ';', true, false),
        ("a\u{1}1\nb\u{1}2\n", "col0 string, col1 bigint", '\u{1}', false, false),
        ("name,n\n\"A, \"\"B\"\"\",1\n\"C\nD\",\n", "name string, n bigint", ',', true, true),
        // A trailing delimiter; names of their own.
        ("a,b,\n1,2,\n3,4,\n", "a bigint, b bigint, col2 string", ',', true, false),
        ("a,A\n1,2\n3,4\n", "col0 string, col1 string", ',', false, false),
    ] {
        let files = Files::new(&[("a.csv", text)]);
        let found = files.only().await;
        let form = CsvForm { delimiter, header, quoted };
        assert_eq!(found.content.classification, Classification::Csv(form), "{text}");
        assert_eq!(files.tables(false).await, [format!("data/: {kinds}")], "{text}");
    }
    let long = format!("{},b\n1,2\n3,4\n", "n".repeat(150));
    for unknown in ["one\ntwo\n", "a,b\n1,2\n", "a,b\n1,2,3\n4,5\n", "\u{0}\u{1}", &long[..3]] {
        let found = Files::new(&[("a.csv", unknown)]).only().await;
        assert_eq!(found.content.classification, Classification::Unknown, "{unknown:?}");
    }
    let found = Files::new(&[("a.csv", &long)]).only().await;
    assert_eq!(found.content.columns[0].0, "col0");
}

#[tokio::test]
async fn text_may_be_compressed_by_gzip_and_in_no_other_way() {
    let files = Files::new(&[]);
    let mut gzip = flate2::write::GzEncoder::new(
        File::create(files.path("a.csv.gz")).expect("a file"),
        flate2::Compression::default(),
    );
    gzip.write_all(b"a,b\n1,2\n3,4\n").expect("written");
    gzip.finish().expect("finished");
    let found = files.only().await;
    assert!(found.content.gzip && found.content.columns.len() == 2, "{found:?}");
    for (text, told) in [
        ("BZh91AY&SY", "compressed by bzip2"),
        ("<?xml version='1.0'?><a/>", "XML"),
        ("[{\"a\": 1}]", "a JSON array"),
    ] {
        let error = Files::new(&[("a", text)]).crawled(false, &[]).await.expect_err(text);
        assert!(format!("{error:#}").contains(told), "{error:#}");
    }
}

#[tokio::test]
async fn folders_are_partitions_when_what_they_have_is_alike() {
    let (a, b) = ("{\"x\": 1, \"y\": 2}\n", "{\"x\": 1.5, \"y\": 2}\n");
    let files = Files::new(&[
        ("Year=2019/m=1/a.json", a),
        ("Year=2019/m=2/a.json", b),
        ("Year=2020/m=1/a.json", a),
    ]);
    let line = "data/: x double, y int by year, m: 2019/1 2019/2 2020/1";
    assert_eq!(files.tables(false).await, [line]);
    let unnamed = Files::new(&[("t1/p=1/a.json", a), ("t2/p=2/a.json", a), ("_old/a.json", a)]);
    assert_eq!(unnamed.tables(false).await, ["data/: x int, y int by partition_0, p: t1/1 t2/2"]);
    let mixed = Files::new(&[("a=1/x.json", a), ("b=2/x.json", a)]);
    assert_eq!(mixed.tables(false).await, ["data/: x int, y int by partition_0: a=1 b=2"]);
    // Of different depths; files beside folders.
    let deep = Files::new(&[("a/a.json", a), ("b/c/a.json", a)]);
    assert_eq!(
        deep.tables(true).await,
        ["data/a/: x int, y int", "data/b/: x int, y int by partition_0: c"]
    );
    let beside = Files::new(&[("a.json", a), ("b/a.json", a)]);
    assert_eq!(beside.tables(true).await, ["data/a.json: x int, y int", "data/b/: x int, y int"]);
}

#[tokio::test]
async fn schemas_that_differ_are_tables_of_their_own_unless_they_are_combined() {
    // The example of AWS's documentation.
    let files = Files::new(&[
        ("year=2017/data1.json", "{\"A\": 1, \"B\": 2}"),
        ("year=2018/data2.json", "{\"C\": 3, \"D\": 4}"),
    ]);
    assert_eq!(
        files.tables(false).await,
        ["data/year=2017/: a int, b int", "data/year=2018/: c int, d int"]
    );
    assert_eq!(files.tables(true).await, ["data/: a int, b int, c int, d int by year: 2017 2018"]);
    // Data that are not compatible are never one table.
    let files = Files::new(&[("a.csv", "a,b\n1,2\n3,4\n"), ("b.json", "{\"a\": 1, \"b\": 2}")]);
    assert_eq!(
        files.tables(true).await,
        ["data/a.csv: a bigint, b bigint", "data/b.json: a int, b int"]
    );
}

#[tokio::test]
async fn columns_that_come_later_are_added() {
    for kind in [TableFormat::Parquet, TableFormat::Orc, TableFormat::Avro] {
        let files = Files::new(&[])
            .with("1", kind, vec![("a", wholes(&[1])), ("b", wholes(&[1]))])
            .with("2", kind, vec![("a", wholes(&[1])), ("c", texts(&["x"]))]);
        assert_eq!(files.tables(true).await, ["data/: a bigint, b bigint, c string"], "{kind:?}");
        assert_eq!(files.tables(false).await.len(), 2, "{kind:?}");
    }
    let wider: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let files = Files::new(&[]).with("1", TableFormat::Parquet, vec![("a", wider.clone())]).with(
        "2",
        TableFormat::Parquet,
        vec![("a", wholes(&[1]))],
    );
    assert_eq!(files.tables(false).await, ["data/: a bigint"]);
    let files = files.with("3", TableFormat::Parquet, vec![("a", texts(&["x"]))]);
    assert_eq!(files.tables(true).await.len(), 3, "no reader takes texts for numbers");
}

#[tokio::test]
async fn what_is_damaged_empty_hidden_or_excluded_is_left_out() {
    let files = Files::new(&[("empty.parquet", ""), ("_SUCCESS", "x"), (".hidden", "x")])
        .with("a.parquet", TableFormat::Parquet, vec![("a", wholes(&[1]))])
        .with("b.parquet", TableFormat::Parquet, vec![("a", wholes(&[1]))]);
    let mut bytes = std::fs::read(files.path("b.parquet")).expect("read");
    let end = bytes.len() - 8;
    bytes[end - 30..end].fill(0xff);
    write(files.path("b.parquet"), &bytes).expect("written");
    write(files.path("c.parquet"), &bytes[..end]).expect("written");
    let crawled = files.crawled(false, &["*.orc"]).await.expect("crawled");
    assert_eq!(crawled.tables.len(), 1);
    assert_eq!(crawled.tables[0].content.objects, 1);
    assert_eq!(crawled.notes.len(), 2, "{:?}", crawled.notes);
    for (note, file) in crawled.notes.iter().zip(["b.parquet", "c.parquet"]) {
        assert!(note.contains(file) && note.contains("did not infer schemas"), "{note}");
    }
    let excluded = files.crawled(false, &["[bc].parquet"]).await.expect("crawled");
    assert!(excluded.notes.is_empty() && excluded.tables.len() == 1);
    let nothing = Files::new(&[]).crawled(false, &[]).await.expect("crawled");
    assert_eq!(nothing, Crawled::default());
    assert!(Path::new(&crawled.tables[0].location).ends_with("data"));
}
