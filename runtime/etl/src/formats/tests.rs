//! Round trips, and what damaged files are told.

use std::io::{Read, Seek};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    DictionaryArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    LargeStringArray, ListArray, StringArray, StringViewArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Int32Type, Int64Type};
use datafusion::parquet::arrow::ArrowWriter;
use orc_rust::proto::r#type::Kind;
use orc_rust::proto::{Footer, PostScript, Type};
use prost::Message;
use steppe_wire::hint;

use super::*;

/// The formats that have types.
const TYPED: [TableFormat; 3] = [TableFormat::Parquet, TableFormat::Avro, TableFormat::Orc];

fn wanted(columns: &[(&str, &str)]) -> Vec<ColumnName> {
    let column = |(source, name): &(&str, &str)| {
        serde_json::from_value(serde_json::json!({
            "source": source, "name": name, "type": "string",
        }))
    };
    columns.iter().map(column).collect::<Result<_, _>>().expect("columns")
}

fn read_as(kind: TableFormat, file: &[u8], columns: &[(&str, &str)]) -> Result<RecordBatch> {
    let (file, wanted) = (std::io::Cursor::new(file.to_vec()), wanted(columns));
    let read = move || -> Result<RecordBatch> {
        let reader = format(kind).expect("not CSV").read(Box::new(file), &wanted)?;
        let batches = reader.batches.collect::<Result<Vec<_>>>()?;
        assert!(batches.iter().all(|batch| batch.num_rows() <= BATCH_ROWS));
        Ok(concat_batches(&reader.schema, &batches)?)
    };
    // As small a stack as that of the threads that read.
    let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(read).expect("a thread");
    thread.join().expect("no panic")
}

fn read(kind: TableFormat, file: &[u8], columns: &[&str]) -> Result<RecordBatch> {
    let columns: Vec<(&str, &str)> = columns.iter().map(|name| (*name, *name)).collect();
    read_as(kind, file, &columns)
}

fn told(read: Result<RecordBatch>) -> String {
    hint::told(read.expect_err("an error").as_ref())
}

fn written(kind: TableFormat, batches: &[&RecordBatch]) -> Result<Vec<u8>> {
    let mut file = tempfile::tempfile().expect("a file");
    let mut out = writer(kind, batches[0].schema(), file.try_clone().expect("a file"))?;
    for batch in batches {
        out.write(batch)?;
    }
    out.finish()?;
    let mut bytes = Vec::new();
    file.rewind().expect("rewound");
    file.read_to_end(&mut bytes).expect("read");
    Ok(bytes)
}

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .expect("a table")
}

fn names(batch: &RecordBatch) -> Vec<&str> {
    batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect()
}

/// A Parquet file as another program would write it.
fn parquet_of(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
    bytes
}

/// Every plain type, with nulls and what is at its limits.
fn extremes() -> RecordBatch {
    let texts = [Some(""), None, Some("Қазақстан €😀"), Some("a\"b,c\r\nd\\e\u{1}")];
    let times =
        [Some(-62_135_596_800_000_000), Some(253_402_300_799_999_000), None, Some(-1_500_000)];
    table(vec![
        ("text", Arc::new(StringArray::from(texts.to_vec()))),
        ("long", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None, Some(0)]))),
        (
            "double",
            Arc::new(Float64Array::from(vec![Some(f64::MAX), Some(-0.1), None, Some(5e-324)])),
        ),
        ("truth", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]))),
        (
            "date",
            Arc::new(Date32Array::from(vec![Some(-719_162), Some(2_932_896), None, Some(-1)])),
        ),
        ("time", Arc::new(TimestampMicrosecondArray::from(times.to_vec()))),
    ])
}

fn with(batch: &RecordBatch, name: &str, array: ArrayRef) -> RecordBatch {
    let columns = names(batch).into_iter().zip(batch.columns().iter().cloned());
    table(columns.chain([(name, array)]).collect())
}

fn decimals() -> ArrayRef {
    let greatest = 10_i128.pow(38) - 1;
    let values = vec![Some(greatest), Some(-greatest), None, Some(-1)];
    let array = Decimal128Array::from(values).with_precision_and_scale(38, 10);
    Arc::new(array.expect("decimals"))
}

#[test]
fn what_is_written_is_read_again() {
    for kind in TYPED {
        let mut rows = extremes();
        if kind != TableFormat::Orc {
            rows = with(&rows, "decimal", decimals());
        }
        if kind != TableFormat::Avro {
            let fine = [Some(-1_000_001), None, Some(253_402_300_799_999_999), Some(1)];
            rows = with(&rows, "fine", Arc::new(TimestampMicrosecondArray::from(fine.to_vec())));
        }
        // A batch that begins within its buffers.
        let file = written(kind, &[&rows, &rows.slice(1, 3)]).expect("written");
        let expected = concat_batches(&rows.schema(), [&rows, &rows.slice(1, 3)]).expect("one");
        assert_eq!(read(kind, &file, &names(&rows)).expect("read"), expected, "{kind:?}");
        let empty = written(kind, &[&rows.slice(0, 0)]).expect("written");
        assert_eq!(read(kind, &empty, &names(&rows)).expect("read"), rows.slice(0, 0), "{kind:?}");
    }
}

#[test]
fn many_batches_and_parts_are_read_in_order() {
    let numbers = |from: i64| -> RecordBatch {
        let value = |n: i64| if n % 7 == 0 { None } else { Some(n) };
        let text = |n: i64| if n % 5 == 0 { None } else { Some(format!("text {n}")) };
        table(vec![
            ("n", Arc::new((from..from + 10_000).map(value).collect::<Int64Array>())),
            ("text", Arc::new((from..from + 10_000).map(text).collect::<StringArray>())),
        ])
    };
    let batches = [numbers(0), numbers(10_000), numbers(20_000)];
    let refs: Vec<&RecordBatch> = batches.iter().collect();
    let expected = concat_batches(&batches[0].schema(), refs.iter().copied()).expect("one");
    for kind in TYPED {
        let file = written(kind, &refs).expect("written");
        assert_eq!(read(kind, &file, &["n", "text"]).expect("read"), expected, "{kind:?}");
    }
    let file = written(TableFormat::Json, &refs).expect("written");
    let read = read(TableFormat::Json, &file, &["text", "n"]).expect("read");
    assert_eq!(read.column(0), expected.column(1));
    let text = |n: Option<i64>| n.map(|n| n.to_string());
    let n = expected.column(0).as_primitive::<Int64Type>();
    let n: StringArray = n.iter().map(text).collect();
    assert_eq!(read.column(1).as_string::<i32>(), &n);
}

#[test]
fn tables_keep_narrow_numbers() {
    let rows = table(vec![
        ("byte", Arc::new(Int8Array::from(vec![i8::MIN, i8::MAX]))),
        ("short", Arc::new(Int16Array::from(vec![i16::MIN, i16::MAX]))),
        ("int", Arc::new(Int32Array::from(vec![i32::MIN, i32::MAX]))),
        ("float", Arc::new(Float32Array::from(vec![0.1, f32::MAX]))),
        ("count", Arc::new(UInt64Array::from(vec![0, 7]))),
        ("view", Arc::new(StringViewArray::from(vec!["a", "b"]))),
    ]);
    for kind in TYPED {
        let file = written(kind, &[&rows]).expect("written");
        let read = read(kind, &file, &names(&rows)).expect("read");
        let long = |index: usize| -> Vec<i64> {
            read.column(index).as_primitive::<Int64Type>().values().to_vec()
        };
        assert_eq!(long(2), [i64::from(i32::MIN), i64::from(i32::MAX)], "{kind:?}");
        assert_eq!(
            (long(0), long(1), long(4)),
            (vec![-128, 127], vec![-32_768, 32_767], vec![0, 7])
        );
        let wide = Float64Array::from(vec![f64::from(0.1_f32), f64::from(f32::MAX)]);
        assert_eq!(read.column(3).as_ref(), &wide as &dyn Array, "{kind:?}");
    }
}

#[test]
fn csv_and_json_are_written_as_others_read_them() {
    let rows = with(&extremes(), "decimal", decimals());
    let csv = written(TableFormat::Csv, &[&rows]).expect("written");
    let expected = "text,long,double,truth,date,time,decimal\n\
        \"\",-9223372036854775808,1.7976931348623157e308,true,0001-01-01,0001-01-01 00:00:00,\
        9999999999999999999999999999.9999999999\n\
        ,9223372036854775807,-0.1,,9999-12-31,9999-12-31 23:59:59.999,\
        -9999999999999999999999999999.9999999999\n\
        Қазақстан €😀,,,false,,,\n\
        \"a\"\"b,c\r\nd\\e\u{1}\",0,5e-324,true,1969-12-31,1969-12-31 23:59:58.5,-0.0000000001\n";
    assert_eq!(String::from_utf8(csv).expect("text"), expected);
    let json = written(TableFormat::Json, &[&rows.slice(2, 2)]).expect("written");
    let expected = "{\"text\":\"Қазақстан €😀\",\"long\":null,\"double\":null,\"truth\":false,\
        \"date\":null,\"time\":null,\"decimal\":null}\n\
        {\"text\":\"a\\\"b,c\\r\\nd\\\\e\\u0001\",\"long\":0,\"double\":5e-324,\"truth\":true,\
        \"date\":\"1969-12-31\",\"time\":\"1969-12-31 23:59:58.5\",\"decimal\":-0.0000000001}\n";
    assert_eq!(String::from_utf8(json).expect("text"), expected);

    let odd = vec![Some(f64::NAN), Some(f64::NEG_INFINITY), None];
    let odd = table(vec![("d", Arc::new(Float64Array::from(odd)))]);
    let csv = written(TableFormat::Csv, &[&odd]).expect("written");
    assert_eq!(String::from_utf8(csv).expect("text"), "d\nNaN\n-Infinity\n\"\"\n");
    let json = written(TableFormat::Json, &[&odd]).expect("written");
    let expected = "{\"d\":\"NaN\"}\n{\"d\":\"-Infinity\"}\n{\"d\":null}\n";
    assert_eq!(String::from_utf8(json).expect("text"), expected);
    let late = table(vec![("day", Arc::new(Date32Array::from(vec![2_932_897])))]);
    let told = written(TableFormat::Csv, &[&late]).expect_err("an error").to_string();
    assert_eq!(told, "column `day`: the year 10000 has no four digits");
}

#[test]
fn columns_are_found_by_their_words() {
    let rows = table(vec![
        ("Year", Arc::new(Int64Array::from(vec![2000]))),
        ("year", Arc::new(Int64Array::from(vec![2001]))),
        ("Region", Arc::new(StringArray::from(vec!["a"]))),
    ]);
    for kind in [TableFormat::Parquet, TableFormat::Avro, TableFormat::Orc, TableFormat::Json] {
        let file = written(kind, &[&rows]).expect("written");
        let found = read_as(kind, &file, &[("region", "r"), ("year", "y"), ("year", "again")]);
        let found = found.expect("read");
        assert_eq!(names(&found), ["r", "y", "again"], "{kind:?}");
        assert_eq!(found.column(1), found.column(2), "{kind:?}");
        let year = datafusion::arrow::util::display::array_value_to_string(found.column(1), 0);
        assert_eq!(year.expect("shown"), "2001", "{kind:?}");
        let missing = told(read(kind, &file, &["n", "region", "m"]));
        let expected = "column `n`, `m` is missing; the file has Year, year, Region";
        assert_eq!(missing, expected, "{kind:?}");
        let twice = told(read(kind, &file, &["YEAR"]));
        assert!(twice.contains("columns 1 (`Year`) and 2 (`year`)"), "{kind:?}: {twice}");
    }
}

#[test]
fn what_other_programs_write_becomes_plain() {
    let texts: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    let zoned = TimestampMillisecondArray::from(vec![Some(1), None, Some(-1)]);
    let rows = table(vec![
        ("dictionary", Arc::new(texts)),
        ("large", Arc::new(LargeStringArray::from(vec![Some("b"), None, Some("")]))),
        ("binary", Arc::new(BinaryArray::from(vec![Some("ж".as_bytes()), None, Some(b"")]))),
        ("unsigned", Arc::new(UInt32Array::from(vec![Some(u32::MAX), None, Some(0)]))),
        ("zoned", Arc::new(zoned.with_timezone("Europe/London"))),
        ("nanos", Arc::new(TimestampNanosecondArray::from(vec![Some(-1_000), None, Some(2_000)]))),
    ]);
    let read = read(TableFormat::Parquet, &parquet_of(&rows), &names(&rows)).expect("read");
    let expected = table(vec![
        ("dictionary", Arc::new(StringArray::from(vec![Some("a"), None, Some("a")]))),
        ("large", Arc::new(StringArray::from(vec![Some("b"), None, Some("")]))),
        ("binary", Arc::new(StringArray::from(vec![Some("ж"), None, Some("")]))),
        ("unsigned", Arc::new(Int64Array::from(vec![Some(4_294_967_295), None, Some(0)]))),
        ("zoned", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_000), None, Some(-1_000)]))),
        ("nanos", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(2)]))),
    ]);
    assert_eq!(read, expected);
}

#[test]
fn what_has_no_plain_value_is_refused_by_its_place() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None]);
    let rows = table(vec![
        ("binary", Arc::new(BinaryArray::from(vec![Some(&b"a"[..]), Some(b"\xff")]))),
        ("unsigned", Arc::new(UInt64Array::from(vec![Some(1), Some(u64::MAX)]))),
        ("nanos", Arc::new(TimestampNanosecondArray::from(vec![None, Some(1_001)]))),
        ("list", Arc::new(list)),
        ("fine", Arc::new(Int64Array::from(vec![1, 2]))),
    ]);
    let file = parquet_of(&rows);
    let told = |column: &str| told(read(TableFormat::Parquet, &file, &[column]));
    let at = |found: String, expected: &str| assert!(found.contains(expected), "{found}");
    at(told("binary"), "column `binary`, row 2: the bytes are no text in UTF-8");
    at(told("unsigned"), "column `unsigned`, row 2: `18446744073709551615` does not fit");
    at(told("nanos"), "column `nanos`, row 2: `1970-01-01T00:00:00.000001001` is no time in whole");
    at(told("list"), "column `list` is of the type List(");
    assert_eq!(read(TableFormat::Parquet, &file, &["fine"]).expect("read").num_rows(), 2);
    for kind in [TableFormat::Parquet, TableFormat::Csv] {
        let told = written(kind, &[&rows]).expect_err("an error").to_string();
        assert!(told.starts_with("column `list` is of the type List("), "{told}");
    }
    let told = written(TableFormat::Orc, &[&with(&extremes(), "decimal", decimals())]);
    let told = told.expect_err("an error").to_string();
    assert!(told.starts_with("column `decimal` is a decimal, and ORC is not written with"));
    // ORC-763: readers would take it for a time one second later.
    let gap = table(vec![("t", Arc::new(TimestampMicrosecondArray::from(vec![-1])))]);
    let told = written(TableFormat::Orc, &[&gap]).expect_err("an error").to_string();
    assert!(told.contains("Cannot encode timestamp value -1 in Microsecond"), "{told}");
    let told = written(TableFormat::Avro, &[&gap]).expect_err("an error").to_string();
    assert!(told.starts_with("column `t` has the time -1 µs after 1970, and Athena and"), "{told}");
    let name = table(vec![("a b", Arc::new(Int64Array::from(vec![1])))]);
    let told = written(TableFormat::Avro, &[&name]).expect_err("an error").to_string();
    assert!(told.starts_with("column `a b` has a name that Avro does not take"), "{told}");
}

#[test]
fn json_is_read_as_it_is_written() {
    let file = "\u{feff}{\"a\": 1e3, \"b\": \"x\\u00e9\\n\", \"other\": {\"deep\": [[{}]]}}\r\n\
        \n  \n{\"b\":null,\"a\":12345678901234567890}\n{ \"b\" : true , \"A\" : \"not the column\"}";
    let read = read(TableFormat::Json, file.as_bytes(), &["b", "a"]).expect("read");
    let text = |values: [Option<&str>; 3]| StringArray::from(values.to_vec());
    let expected = [
        text([Some("xé\n"), None, Some("true")]),
        text([Some("1e3"), Some("12345678901234567890"), None]),
    ];
    assert_eq!(read.column(0).as_string::<i32>(), &expected[0]);
    assert_eq!(read.column(1).as_string::<i32>(), &expected[1]);
    assert_eq!(super::tests::read(TableFormat::Json, b"", &["a"]).expect("read").num_rows(), 0);
    let late = b"{\"b\": 1}\n{\"A\": 2}";
    let late = super::tests::read(TableFormat::Json, late, &["a"]).expect("read");
    assert_eq!(late.column(0).as_string::<i32>(), &StringArray::from(vec![None, Some("2")]));
}

#[test]
fn json_that_is_no_table_is_refused_by_its_line() {
    let nested = format!("{{\"b\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(told(read(TableFormat::Json, nested.as_bytes(), &["a"])).contains("`a` is missing"));
    let many = (0..5_000).map(|n| format!("{{\"{n}\": 1}}\n")).collect::<String>();
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(17 * 1024 * 1024));
    let cases: [(&[u8], &str); 15] = [
        (b"{\"a\": 1}\n{\"a\": 1,}", "line 2: byte 9: trailing comma"),
        (b"{\"a\": 1}\n{\"a\": 1", "line 2: byte 7: EOF while parsing an object\nhint: each line"),
        (b"[{\"a\": 1}]", "line 1: byte 0: invalid type: sequence, expected an object\nhint: each"),
        (b"{\n\"a\": 1\n}", "line 1: byte 0: EOF while parsing an object\nhint: each line"),
        (b"{\"a\": 1} {\"a\": 2}", "line 1: byte 10: trailing characters"),
        (b"{\"a\": 1, \"a\": 2}", "line 1: byte 12: the key `a` is there twice"),
        (b"{\"a\": 1, \"b\": 2, \"b\": 2}", "the key `b` is there twice"),
        (b"{\"a\": NaN}", "line 1: byte 7: expected"),
        (b"{\"a\": [1]}", "line 1: column `a`: the value is nested, which is not read"),
        (b"\n{\"a\": \"\\ud800\"}", "line 2: column `a`: "),
        (b"{\"a\": \"\xff\"}", "line 1: the text is not UTF-8"),
        (b"{\"A\": 1}\n{\"a\": 1}", "line 2: the key `a` is the manifest's column `a`, as the key"),
        (b"{\"b\": 1}\n\n{\"c\": 1}", "column `a` is missing; the file has b, c"),
        (many.as_bytes(), "line 4097: the objects have more than 4096 different keys"),
        (long.as_bytes(), "line 1 is longer than 16 MiB"),
    ];
    for (file, expected) in cases {
        let told = told(read(TableFormat::Json, file, &["a"]));
        assert!(told.contains(expected), "{told}\nis not: {expected}");
    }
}

/// A file of Avro of one block that is as it is.
fn avro_of(schema: &str, count: u8, block: &[u8]) -> Vec<u8> {
    let long = |value: usize| [(value << 1 & 0x7f) as u8 | 0x80, (value >> 6) as u8];
    let mut file = b"Obj\x01\x02\x16avro.schema".to_vec();
    file.extend(long(schema.len()));
    file.extend(schema.as_bytes());
    file.extend([b"\0", &[b's'; 16][..], &[count << 1]].concat());
    file.extend(long(block.len()));
    file.extend([block, &[b's'; 16]].concat());
    file
}

#[test]
fn hostile_avro_has_bounds() {
    let record = |other: &str| {
        let number = r#"{"name":"n","type":"int"}"#;
        let other = format!(r#"{{"name":"o","type":{other}}}"#);
        format!(r#"{{"type":"record","name":"r","fields":[{other},{number}]}}"#)
    };
    let list = r#"{"type":"record","name":"l","fields":[{"name":"next","type":["null","l"]}]}"#;
    let (mut wide, mut fields) = (r#""null""#.to_owned(), 0);
    while fields < 30 {
        let field = |name| format!(r#"{{"name":"{name}","type":{wide}}}"#);
        let again = format!(r#"{{"name":"b","type":"w{fields}"}}"#);
        let more = if fields == 0 { field("b") } else { again };
        let name = fields + 1;
        wide = format!(r#"{{"type":"record","name":"w{name}","fields":[{},{more}]}}"#, field("a"));
        fields += 1;
    }
    let nothing = r#"{"type":"record","name":"r","fields":[{"name":"n","type":"null"}]}"#;
    let cases: [(String, u8, &[u8], &str); 7] = [
        (record(list), 1, &[2; 100], "record 1: values are nested more than 64 deep"),
        (record(&wide), 1, &[2], "record 1: values without bytes are too many"),
        (record(r#"{"type":"array","items":"null"}"#), 1, &[0xfe, 0xff, 0xff, 0x7f, 0, 2], "=1"),
        (nothing.to_owned(), 9, &[], "record 1 takes no bytes"),
        (record(r#""long""#), 1, &[0xff; 12], "a number has more than 64 bits"),
        (record(r#""bytes""#), 1, &[0xfe, 0xff, 0xff, 0x7f], "record 1: the block ends too early"),
        (record(r#""missing""#), 1, &[0], "the schema has no type `missing`"),
    ];
    for (schema, count, block, expected) in cases {
        let read = read(TableFormat::Avro, &avro_of(&schema, count, block), &["n"]);
        match read {
            Ok(rows) => assert_eq!(format!("={}", rows.num_rows()), expected),
            Err(error) => {
                let told = hint::told(error.as_ref());
                assert!(told.contains(expected), "{told} is not: {expected}");
            }
        }
    }
}

/// The tail of an ORC file with types of these kinds, and what each consists of.
fn orc_of(types: &[(Kind, &[u32])]) -> Vec<u8> {
    let types = types.iter().map(|(kind, children)| Type {
        kind: Some(*kind as i32),
        subtypes: children.to_vec(),
        field_names: children.iter().map(|child| format!("c{child}")).collect(),
        ..Type::default()
    });
    let footer = Footer { types: types.collect(), ..Footer::default() }.encode_to_vec();
    let postscript = PostScript {
        footer_length: Some(footer.len() as u64),
        metadata_length: Some(0),
        magic: Some("ORC".to_owned()),
        ..PostScript::default()
    };
    let postscript = postscript.encode_to_vec();
    [b"ORC", &footer[..], &postscript, &[postscript.len() as u8]].concat()
}

#[test]
fn types_of_orc_are_a_small_tree() {
    let told = |types: &[(Kind, &[u32])]| told(read(TableFormat::Orc, &orc_of(types), &["c1"]));
    let itself = told(&[(Kind::Struct, &[1]), (Kind::List, &[1])]);
    assert!(itself.contains("its types are no tree"), "{itself}");
    let twice = told(&[(Kind::Struct, &[1, 2]), (Kind::List, &[2]), (Kind::Int, &[])]);
    assert!(twice.contains("its types are no tree"), "{twice}");
    let children: Vec<[u32; 1]> = (1..100).map(|child| [child]).collect();
    let mut deep: Vec<(Kind, &[u32])> = children.iter().map(|c| (Kind::List, &c[..])).collect();
    deep[0].0 = Kind::Struct;
    deep.push((Kind::Int, &[]));
    let deep = told(&deep);
    assert!(deep.contains("its types are nested more than 64 deep"), "{deep}");
    let empty = orc_of(&[(Kind::Struct, &[1]), (Kind::Int, &[])]);
    assert_eq!(read(TableFormat::Orc, &empty, &["c1"]).expect("read").num_rows(), 0);
    let twice = self::told(read(TableFormat::Orc, b"no ORC", &["c1"]));
    assert!(twice.starts_with("this is no ORC file"), "{twice}");
}

/// Numbers that look like chance, the same in every run.
fn chances(seed: u64) -> impl Iterator<Item = usize> {
    let next = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    std::iter::successors(Some(seed), next).map(|state| (state >> 33) as usize)
}

#[test]
fn damaged_files_are_errors_or_whole() {
    let rows = extremes();
    let parts = vec![&rows; 200];
    for kind in TYPED {
        let file = written(kind, &parts).expect("written");
        let columns = names(&rows);
        for end in chances(1).take(60).map(|chance| chance % file.len()) {
            let told = told(read(kind, &file[..end], &columns));
            assert!(!told.is_empty(), "{kind:?} of {end} bytes");
        }
        // The tail has the most to say.
        let tail = file.len().saturating_sub(600);
        let places = chances(2).take(150).map(|chance| chance % file.len());
        let late = chances(3).take(250).map(|chance| tail + chance % (file.len() - tail));
        for (at, bit) in places.chain(late).zip(chances(4)) {
            let mut flipped = file.clone();
            flipped[at] ^= 1 << (bit % 8);
            if let Ok(read) = read(kind, &flipped, &columns) {
                assert_eq!(read.num_rows(), 800, "{kind:?}, bit {bit} of byte {at}");
            }
        }
    }
}
