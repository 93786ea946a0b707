//! Rows from Parquet files, as the engines write them.

use std::sync::Arc;

use bytes::Bytes;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use steppe_model::DataError;
use steppe_model::rows::table::Column;
use steppe_model::tabular::data::{Rows, Target};
use steppe_model::unsupervised::{read_entities, read_series};
use steppe_spec::tabular::{TabularKind, TabularSpec};
use steppe_spec::unsupervised::anomaly::AnomalyTask;
use steppe_spec::{ColumnType, UnsupervisedSpec, UnsupervisedTask};

/// Values of a column, as they lie in a file; `None` is missing.
#[derive(Clone)]
enum Values {
    Booleans(Vec<Option<bool>>),
    Ints(Vec<Option<i32>>),
    Longs(Vec<Option<i64>>),
    Doubles(Vec<Option<f64>>),
    Bytes(Vec<Option<Vec<u8>>>),
    Fixed(Vec<Option<Vec<u8>>>),
}

/// A file with the columns of `fields`, one row group per list of values.
fn file(fields: &str, groups: &[Vec<Values>]) -> Bytes {
    let schema = parse_message_type(&format!("message rows {{ {fields} }}")).expect("a schema");
    let mut bytes = Vec::new();
    let properties = Arc::default();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, Arc::new(schema), properties).expect("a writer");
    for group in groups {
        let mut group_writer = writer.next_row_group().expect("a group");
        for values in group {
            let mut column = group_writer.next_column().expect("a column").expect("one more");
            write(values, column.untyped());
            column.close().expect("written");
        }
        assert!(group_writer.next_column().expect("the end").is_none());
        group_writer.close().expect("written");
    }
    writer.close().expect("written");
    bytes.into()
}

/// Values that are there, and the level of each: 1 where it is.
fn split<T: Clone>(values: &[Option<T>]) -> (Vec<T>, Vec<i16>) {
    let levels = values.iter().map(|value| i16::from(value.is_some())).collect();
    (values.iter().flatten().cloned().collect(), levels)
}

fn write(values: &Values, writer: &mut ColumnWriter<'_>) {
    macro_rules! written {
        ($values:expr, $writer:expr, $make:expr) => {{
            let (values, levels) = split($values);
            let values: Vec<_> = values.into_iter().map($make).collect();
            $writer.write_batch(&values, Some(&levels), None).expect("written");
        }};
    }
    match (values, writer) {
        (Values::Booleans(v), ColumnWriter::BoolColumnWriter(w)) => written!(v, w, |v| v),
        (Values::Ints(v), ColumnWriter::Int32ColumnWriter(w)) => written!(v, w, |v| v),
        (Values::Longs(v), ColumnWriter::Int64ColumnWriter(w)) => written!(v, w, |v| v),
        (Values::Doubles(v), ColumnWriter::DoubleColumnWriter(w)) => written!(v, w, |v| v),
        (Values::Bytes(v), ColumnWriter::ByteArrayColumnWriter(w)) => {
            written!(v, w, ByteArray::from);
        }
        (Values::Fixed(v), ColumnWriter::FixedLenByteArrayColumnWriter(w)) => {
            written!(v, w, |v| FixedLenByteArray::from(ByteArray::from(v)));
        }
        _ => panic!("the values are not of the column's type"),
    }
}

fn texts(values: &[Option<&str>]) -> Values {
    Values::Bytes(values.iter().map(|v| v.map(|v| v.as_bytes().to_vec())).collect())
}

fn spec(columns: &[(&str, ColumnType)]) -> TabularSpec {
    TabularSpec::new("rows", TabularKind::Auto, "y", columns)
}

const Y: &str = "optional int32 y;";

fn y(rows: usize) -> Values {
    Values::Ints((0..rows).map(|row| Some(i32::from(row % 2 == 0))).collect())
}

fn numbers(rows: &Rows, name: &str) -> Vec<Option<f64>> {
    let Some(Column::Number(values)) = rows.table.column(name) else { panic!("numbers") };
    values.iter().map(|value| Some(*value).filter(|value| !value.is_nan())).collect()
}

fn message(result: Result<Rows, DataError>) -> String {
    result.expect_err("refused").to_string()
}

/// −12.5, nothing, and 100.25 as decimals with two digits after the point, in bytes.
fn decimals(width: usize) -> Vec<Option<Vec<u8>>> {
    let bytes = |value: i128| value.to_be_bytes()[16 - width..].to_vec();
    vec![Some(bytes(-1250)), None, Some(bytes(10_025))]
}

#[test]
fn every_type_that_the_engines_write_is_read() {
    let fields = "optional boolean b; optional int32 i; optional int64 l; optional double d;
        optional int32 d9 (DECIMAL(9,2)); optional int64 d18 (DECIMAL(18,2));
        optional fixed_len_byte_array(7) d16 (DECIMAL(16,2));
        optional fixed_len_byte_array(16) d38 (DECIMAL(38,2));
        optional binary db (DECIMAL(20,2));
        optional int32 day (DATE); optional int64 t (TIMESTAMP(MICROS,true));
        optional int64 ms (TIMESTAMP(MILLIS,false)); optional binary s (STRING);
        optional int32 y;";
    let half_day = 43_200_000_000;
    let values = vec![
        Values::Booleans(vec![Some(true), None, Some(false)]),
        Values::Ints(vec![Some(-3), None, Some(i32::MAX)]),
        Values::Longs(vec![Some(1 << 40), None, Some(-1)]),
        Values::Doubles(vec![Some(0.1), None, Some(f64::NAN)]),
        Values::Ints(vec![Some(-1250), None, Some(10_025)]),
        Values::Longs(vec![Some(-1250), None, Some(10_025)]),
        Values::Fixed(decimals(7)),
        Values::Fixed(decimals(16)),
        Values::Bytes(decimals(3)),
        Values::Ints(vec![Some(19_000), None, Some(-1)]),
        Values::Longs(vec![Some(half_day), None, Some(-half_day)]),
        Values::Longs(vec![Some(half_day / 1_000), None, Some(-half_day / 1_000)]),
        texts(&[Some("ä"), None, Some("")]),
        y(3),
    ];
    let decimal = |digits| ColumnType::Decimal(digits, 2);
    let spec = spec(&[
        ("b", ColumnType::Boolean),
        ("i", ColumnType::Int),
        ("l", ColumnType::Bigint),
        ("d", ColumnType::Double),
        ("d9", decimal(9)),
        ("d18", decimal(18)),
        ("d16", decimal(16)),
        ("d38", decimal(38)),
        ("db", decimal(20)),
        ("day", ColumnType::Date),
        ("t", ColumnType::Timestamp),
        ("ms", ColumnType::Timestamp),
        ("s", ColumnType::String),
    ]);
    let rows = Rows::learnt(&spec, vec![file(fields, &[values])]).expect("rows");
    let booleans = Column::Boolean(vec![Some(true), None, Some(false)]);
    assert_eq!(rows.table.column("b"), Some(&booleans));
    assert_eq!(numbers(&rows, "i"), [Some(-3.0), None, Some(f64::from(i32::MAX))]);
    assert_eq!(numbers(&rows, "l"), [Some((1_i64 << 40) as f64), None, Some(-1.0)]);
    assert_eq!(numbers(&rows, "d"), [Some(0.1), None, None]);
    for name in ["d9", "d18", "d16", "d38", "db"] {
        assert_eq!(numbers(&rows, name), [Some(-12.5), None, Some(100.25)], "{name}");
    }
    assert_eq!(numbers(&rows, "day"), [Some(19_000.0), None, Some(-1.0)]);
    for name in ["t", "ms"] {
        assert_eq!(numbers(&rows, name), [Some(0.5), None, Some(-0.5)], "{name}");
    }
    let texts = Column::category([Some("ä"), None, Some("")]);
    assert_eq!(rows.table.column("s"), Some(&texts));
    assert_eq!(rows.target().classes(), [1, 0, 1]);
}

#[test]
fn groups_and_files_follow_each_other_with_one_list_of_levels() {
    let fields = format!("optional binary s (STRING); optional double d; {Y}");
    let group = |names: &[Option<&str>], from: f64| {
        let doubles = (0..names.len()).map(|row| Some(from + row as f64)).collect();
        vec![texts(names), Values::Doubles(doubles), y(names.len())]
    };
    let one = file(
        &fields,
        &[group(&[Some("a"), Some("b")], 0.0), group(&[Some("c"), Some("a"), None], 2.0)],
    );
    let other = file(&fields, &[group(&[Some("b"), Some("d")], 5.0)]);
    let none = file(&fields, &[]);
    let spec = spec(&[("s", ColumnType::String), ("d", ColumnType::Double)]);
    let rows = Rows::learnt(&spec, vec![none.clone(), one, none.clone(), other]).expect("rows");
    let names = [Some("a"), Some("b"), Some("c"), Some("a"), None, Some("b"), Some("d")];
    assert_eq!(rows.table.column("s"), Some(&Column::category(names)));
    assert_eq!(numbers(&rows, "d"), (0..7).map(|row| Some(f64::from(row))).collect::<Vec<_>>());
    // More rows than are read at once, with values missing everywhere.
    let many: Vec<Option<f64>> = (0..20_000).map(|r| (r % 3 > 0).then(|| f64::from(r))).collect();
    let values = vec![Values::Doubles(many.clone()), y(20_000)];
    let spec = self::spec(&[("d", ColumnType::Double)]);
    let rows = Rows::learnt(&spec, vec![file(&format!("optional double d; {Y}"), &[values])]);
    assert_eq!(numbers(&rows.expect("rows"), "d"), many);
}

#[test]
fn files_without_rows_are_nothing_to_learn_from_and_nothing_to_ask_about() {
    let spec = spec(&[("d", ColumnType::Double), ("s", ColumnType::String)]);
    let none = file(&format!("optional double d; optional binary s (STRING); {Y}"), &[]);
    assert_eq!(message(Rows::learnt(&spec, vec![none.clone()])), "the data set is empty");
    assert_eq!(Rows::asked(&spec, vec![none]).expect("no rows").rows(), 0);
}

#[test]
fn columns_that_are_not_there_or_of_another_type_are_told() {
    let d = ("d", ColumnType::Double);
    let good = file(
        &format!("optional double d; {Y}"),
        &[vec![Values::Doubles(vec![Some(1.0), None]), y(2)]],
    );
    let told = message(Rows::learnt(&spec(&[d, ("e", ColumnType::Int)]), vec![good.clone()]));
    assert!(told.starts_with("column `e` is missing"), "{told}");
    let text =
        file(&format!("optional binary d (STRING); {Y}"), &[vec![texts(&[Some("1"), None]), y(2)]]);
    let told = message(Rows::learnt(&spec(&[d]), vec![text.clone()]));
    assert!(told.starts_with("column `d` is of another type than the model's"), "{told}");
    let told = message(Rows::learnt(&spec(&[d]), vec![good.clone(), text]));
    assert!(told.starts_with("column `d` is not there, or of another type, in every"), "{told}");
    let without = file(Y, &[vec![y(2)]]);
    for files in [vec![good.clone(), without.clone()], vec![without, good.clone()]] {
        let told = message(Rows::learnt(&spec(&[d]), files));
        assert!(told.starts_with("column `d` is not there, or of another type, in every"));
    }
    let target = TabularSpec { ..spec(&[d]).with(|s| s.task.target = "z".to_owned()) };
    let told = message(Rows::learnt(&target, vec![good.clone()]));
    assert!(told.starts_with("column `z` is missing"), "{told}");
    let infinite = file(
        &format!("optional double d; {Y}"),
        &[vec![Values::Doubles(vec![Some(1.0), Some(f64::INFINITY)]), y(2)]],
    );
    assert_eq!(message(Rows::learnt(&spec(&[d]), vec![infinite])), "`d` is inf in row 1");
    assert!(Rows::asked(&spec(&[d]), vec![Bytes::from_static(b"PAR0")]).is_err());
}

/// What is read of a target with these values, and one column.
fn target(field: &str, values: Values, change: impl FnOnce(&mut TabularSpec)) -> Rows {
    let rows = match &values {
        Values::Doubles(values) => values.len(),
        Values::Ints(values) => values.len(),
        Values::Bytes(values) => values.len(),
        _ => 3,
    };
    let ones = Values::Doubles((0..rows).map(|row| Some(row as f64)).collect());
    let file = file(&format!("optional double d; optional {field};"), &[vec![ones, values]]);
    Rows::learnt(&spec(&[("d", ColumnType::Double)]).with(change), vec![file]).expect("rows")
}

#[test]
fn auto_tells_classes_from_numbers_and_rows_without_a_target_are_left_out() {
    let labels = |rows: &Rows| rows.target().labels().to_vec();
    let truth = Values::Booleans(vec![Some(true), None, Some(false)]);
    let rows = target("boolean y", truth, |_| {});
    assert_eq!((labels(&rows), rows.unlabelled), (vec!["false".into(), "true".into()], 1));
    assert_eq!(numbers(&rows, "d"), [Some(0.0), Some(2.0)]);
    let whole = |most: i32| Values::Ints((0..60).map(|row| Some(row % most - 1)).collect());
    assert_eq!(labels(&target("int32 y", whole(3), |_| {})), ["-1", "0", "1"]);
    assert_eq!(labels(&target("int32 y", whole(10), |_| {})).len(), 10);
    assert!(target("int32 y", whole(11), |_| {}).target().is_number());
    let doubles = Values::Doubles(vec![Some(1.0), Some(f64::NAN), Some(0.0), None]);
    let rows = target("double y", doubles, |_| {});
    assert_eq!((rows.target(), rows.unlabelled), (&Target::Numbers(vec![1.0, 0.0]), 2));
    let words = || texts(&[Some("b"), Some("a"), Some("b")]);
    assert_eq!(labels(&target("binary y (STRING)", words(), |_| {})), ["a", "b"]);
    let ordered = target("binary y (STRING)", words(), |s| {
        s.task.labels = vec!["b".to_owned(), "a".to_owned()];
    });
    assert_eq!(
        (labels(&ordered), ordered.target().classes()),
        (vec!["b".into(), "a".into()], vec![0, 1, 0])
    );
}

#[test]
fn targets_and_weights_without_sense_are_told() {
    let refused = |fields: &str, values: Vec<Values>, change: &dyn Fn(&mut TabularSpec)| {
        let spec = spec(&[("d", ColumnType::Double)]).with(change);
        message(Rows::learnt(&spec, vec![file(fields, &[values])]))
    };
    let d = || Values::Doubles(vec![Some(1.0), Some(2.0)]);
    let plain = format!("optional double d; {Y}");
    let of = |a, b| Values::Ints(vec![a, b]);
    let told = refused(&plain, vec![d(), of(Some(1), Some(1))], &|_| {});
    assert_eq!(told, "`y` is `1` in every row: there is nothing to learn");
    let given = |s: &mut TabularSpec| s.task.labels = vec!["0".to_owned(), "1".to_owned()];
    let told = refused(&plain, vec![d(), of(Some(1), Some(1))], &given);
    assert_eq!(told, "`y` is `1` in every row: there is nothing to learn");
    let told = refused(&plain, vec![d(), of(Some(1), Some(7))], &given);
    assert_eq!(told, "`y` is `7` in row 1; `labels` has `0`, `1`");
    let told = refused(&plain, vec![d(), of(None, None)], &|_| {});
    assert_eq!(told, "`y` has no value in any row");
    let weighted = format!("optional double d; {Y} optional double w;");
    let weights = |s: &mut TabularSpec| s.task.weights = Some("w".to_owned());
    let with = |w| vec![d(), of(Some(0), Some(1)), Values::Doubles(w)];
    let told = refused(&weighted, with(vec![Some(1.0), None]), &weights);
    assert_eq!(told, "row 1 has no weight in `w` that is 0 or more");
    let told = refused(&weighted, with(vec![Some(0.0), Some(0.0)]), &weights);
    assert_eq!(told, "no row has a weight in `w` above 0: nothing is learnt");
    let endless = "optional double d; optional double y;";
    let values = vec![d(), Values::Doubles(vec![Some(1.0), Some(f64::NEG_INFINITY)])];
    assert_eq!(refused(endless, values, &|_| {}), "`y` is -inf in row 1");
}

#[test]
fn entities_and_times_tell_rows_apart() {
    let fields = format!("optional int64 id; optional int32 day (DATE); optional double d; {Y}");
    let spec = spec(&[("d", ColumnType::Double)]).with(|s| {
        (s.task.entity, s.task.time) = (Some("id".to_owned()), Some("day".to_owned()));
    });
    let values = |days: Vec<Option<i32>>| {
        let ids = Values::Longs(vec![Some(7), Some(8), Some(7)]);
        let doubles = Values::Doubles(vec![Some(1.0), Some(2.0), Some(3.0)]);
        file(&fields, &[vec![ids, Values::Ints(days), doubles, y(3)]])
    };
    let rows = Rows::learnt(&spec, vec![values(vec![Some(9), Some(5), Some(2)])]).expect("rows");
    assert_eq!((rows.find("7"), rows.find("8"), rows.find("9")), (Some(0), Some(1), None));
    assert_eq!(rows.times.as_ref().map(|times| times[1]), Some(5 * 86_400_000_000));
    assert_eq!(rows.called(1), "the row of `8`");
    assert_ne!(rows.key(0), rows.key(2));
    assert_eq!(rows.groups, Some(vec![0, 1, 0]));
    let told = message(Rows::learnt(&spec, vec![values(vec![Some(9), None, Some(2)])]));
    assert_eq!(told, "the time `day` is missing in a row, or no time");
    let beyond = values(vec![Some(i32::MAX), Some(1), Some(2)]);
    assert!(message(Rows::learnt(&spec, vec![beyond])).contains("or no time"));
}

/// What rows without a target are read as, and what is refused.
#[test]
fn rows_without_a_target_are_about_somebody_each() {
    let spec = UnsupervisedSpec {
        name: "unusual".to_owned(),
        table: "profiles".to_owned(),
        columns: vec!["kwh".to_owned(), "days".to_owned()],
        task: UnsupervisedTask::Anomaly(Box::new(AnomalyTask::of_rows("household"))),
    };
    let fields = "optional binary household (STRING); optional binary within (STRING); \
                  optional double kwh; optional int64 days;";
    let read = |households: &[Option<&str>]| {
        let rows = households.len();
        let values = vec![
            texts(households),
            texts(&vec![None; rows]),
            Values::Doubles((0..rows).map(|row| (row > 0).then_some(row as f64)).collect()),
            Values::Longs(vec![Some(7); rows]),
        ];
        read_entities(&spec, ("household", Some("within")), vec![file(fields, &[values])])
    };
    let table = read(&[Some("a"), Some("b")]).expect("rows");
    assert_eq!((table.names, table.groups), (vec!["a".into(), "b".into()], vec![None, None]));
    assert!(table.values.at(0, 0).is_nan(), "missing");
    assert_eq!((table.values.at(1, 0), table.values.at(1, 1)), (1.0, 7.0));
    let refused = |households: &[Option<&str>]| read(households).expect_err("refused").to_string();
    assert_eq!(refused(&[Some("a"), Some("a")]), "two rows have the `household` `a`; each has one");
    assert_eq!(refused(&[Some("a"), None]), "the entity `household` is missing in a row");
    assert!(matches!(read(&[]), Err(DataError::Empty)));
    let other = UnsupervisedSpec { columns: vec!["within".to_owned()], ..spec.clone() };
    let values = vec![
        texts(&[Some("a")]),
        texts(&[Some("x")]),
        Values::Doubles(vec![Some(1.0)]),
        Values::Longs(vec![Some(1)]),
    ];
    let files = vec![file(fields, &[values])];
    let refused = read_entities(&other, ("household", None), files).expect_err("text");
    assert!(refused.to_string().starts_with("column `within` is no number"), "{refused}");
}

/// Values of series come in the order of their times, whatever the file's is.
#[test]
fn series_are_put_in_order_and_have_one_value_at_a_time() {
    let task = AnomalyTask::of_series(["machine", "at", "load"]);
    let fields = "optional binary machine (STRING); \
                  optional int64 at (TIMESTAMP(MICROS,false)); optional double load;";
    let read = |times: [Option<i64>; 3]| {
        let values = vec![
            texts(&[Some("b"), Some("a"), Some("a")]),
            Values::Longs(times.to_vec()),
            Values::Doubles(vec![Some(1.0), None, Some(3.0)]),
        ];
        read_series(&task, vec![file(fields, &[values])])
    };
    let series = read([Some(0), Some(2_500_000), Some(1_000_000)]).expect("series");
    assert_eq!([&*series[0].series, &*series[1].series], ["a", "b"]);
    assert_eq!(series[0].times, ["1970-01-01 00:00:01", "1970-01-01 00:00:02.5"]);
    assert!(series[0].values[0] == 3.0 && series[0].values[1].is_nan());
    let twice = read([Some(0), Some(5), Some(5)]).expect_err("twice").to_string();
    assert_eq!(twice, "series `a` has two values for 1970-01-01 00:00:00.000005");
    let never = read([Some(0), None, Some(5)]).expect_err("no time").to_string();
    assert_eq!(never, "`at` is missing in a row");
}
