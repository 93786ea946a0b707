//! What the store promises, also when the disk does not keep its own promises.

use std::ops::ControlFlow;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn table(folder: &TempDir) -> Table<Value> {
    Table::new(&Store::open(folder.path()).expect("opens"), "things")
}

/// Takes the database, as another program can that writes to it.
fn taken(folder: &TempDir) -> Connection {
    let other = Connection::open(folder.path().join("cloud.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("taken");
    other
}

fn names(table: &Table<Value>, prefix: &str, after: Option<&str>) -> Vec<String> {
    table.range(prefix, after).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn rows_are_there_after_a_restart_in_the_order_of_their_names() {
    let folder = TempDir::new().expect("a folder");
    let things = table(&folder);
    for name in ["b", "a/2", "a/1", "ä", "a"] {
        things.put(name, json!({ "name": name })).expect("stored");
    }
    assert_eq!(things.remove("a").expect("removed").expect("there")["name"], "a");
    drop(things);
    let things = table(&folder);
    assert_eq!(names(&things, "", None), ["a/1", "a/2", "b", "ä"]);
    assert_eq!(names(&things, "a/", None), ["a/1", "a/2"]);
    assert_eq!(names(&things, "a/", Some("a/1")), ["a/2"]);
    assert_eq!(names(&things, "", Some("b")), ["ä"]);
    assert_eq!((things.len(), things.is_empty(), things.contains("a")), (4, false, false));
}

#[test]
fn a_scope_is_a_table_of_its_own() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open(folder.path()).expect("opens");
    let [one, other] = ["x/", "x-y/"].map(|scope| Table::<u64>::scoped(&store, "objects", scope));
    one.put("k", 1).expect("stored");
    other.put("k", 2).expect("stored");
    assert_eq!(
        (one.all(), other.all()),
        (vec![("k".into(), 1.into())], vec![("k".into(), 2.into())])
    );
    assert!(one.remove("k").expect("removed").is_some() && one.is_empty() && !other.is_empty());
}

#[test]
fn members_are_read_without_their_rows() {
    let folder = TempDir::new().expect("a folder");
    let things = table(&folder);
    things.put("a", json!({ "end": "now", "of": null })).expect("stored");
    things.put("b", json!({ "of": "x" })).expect("stored");
    let some = |text: &str| Some(text.to_owned());
    let expected = [("a".to_owned(), [some("now"), None]), ("b".to_owned(), [None, some("x")])];
    assert_eq!(things.texts(["end", "of"]), expected);
}

#[test]
fn conditions_are_judged_where_nobody_else_writes() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open(folder.path()).expect("opens");
    let counts = Arc::new(Table::<u64>::new(&store, "counts"));
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let counts = counts.clone();
            std::thread::spawn(move || {
                for _ in 0..50 {
                    let next = |old: Option<&u64>| Ok::<_, NotStored>(old.map_or(1, |old| old + 1));
                    counts.replace("n", next).expect("stored");
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().expect("ends"));
    assert_eq!(counts.get("n").as_deref(), Some(&400));
    assert!(!counts.create("n", 0).expect("asked") && counts.create("m", 0).expect("asked"));
}

#[test]
fn what_fails_or_panics_leaves_nothing_and_others_their_commit() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open(folder.path()).expect("opens");
    let counts = Arc::new(Table::<u64>::new(&store, "counts"));
    counts.put("n", 1).expect("stored");
    let refused: Result<_, std::io::Error> =
        counts.replace("n", |_| Err(std::io::ErrorKind::InvalidInput.into()));
    refused.expect_err("refused");
    let panics = counts.clone();
    let panicked = std::thread::spawn(move || panics.update("n", |_| panic!("on purpose"))).join();
    panicked.expect_err("panicked");
    assert_eq!(counts.get("n").as_deref(), Some(&1));
    counts.put("n", 2).expect("the next write is not hindered");
    assert_eq!(counts.get("n").as_deref(), Some(&2));
}

#[test]
fn a_write_that_the_disk_refuses_changes_nothing() {
    let folder = TempDir::new().expect("a folder");
    let things = table(&folder);
    things.put("a", json!(1)).expect("stored");
    let other = taken(&folder);
    let error = things.put("a", json!(2)).expect_err("refused").to_string();
    assert!(error.contains("the record `a` cannot be stored"), "{error}");
    things.remove("a").expect_err("refused");
    assert_eq!(things.get("a").as_deref(), Some(&json!(1)));
    // What ended is known as long as the process lives.
    assert_eq!(things.settle("a", |row| *row = json!(3)), Some(()));
    assert_eq!(things.get("a").as_deref(), Some(&json!(3)));
    assert_eq!(things.all()[0].1.as_ref(), &json!(3));
    drop(other);
    assert_eq!(table(&folder).get("a").as_deref(), Some(&json!(1)));
    things.update("a", |row| *row = json!([row.clone()])).expect("stored");
    assert_eq!(table(&folder).get("a").as_deref(), Some(&json!([3])));
}

#[test]
fn a_damaged_row_is_set_aside_and_the_others_are_served() {
    let folder = TempDir::new().expect("a folder");
    let things = table(&folder);
    for name in ["a", "b", "c"] {
        things.put(name, json!({ "value": 1 })).expect("stored");
    }
    let damage = "UPDATE records SET value = '{\"value\":2}' WHERE name = 'b'";
    taken(&folder).execute_batch(&format!("{damage}; COMMIT")).expect("damaged");
    assert_eq!(names(&things, "", None), ["a", "c"]);
    assert!(things.store.has_damaged("things").expect("asked"));
    assert_eq!(things.get("b"), None);
    things.put("b", json!({ "value": 3 })).expect("stored");
    assert_eq!(names(&things, "", None), ["a", "b", "c"]);
}

#[test]
fn what_is_no_database_is_told_with_the_way_out() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("cloud.db"), [7; 8_192]).expect("written");
    let error = Store::open(folder.path()).expect_err("no database");
    assert!(error.to_string().contains("are damaged"), "{error}");
}

#[test]
fn a_commit_that_the_database_gave_up_is_an_error_and_the_next_one_is_not() {
    let folder = TempDir::new().expect("a folder");
    let things = table(&folder);
    things.put("a", json!(1)).expect("stored");
    // As SQLite does by itself when a disk is full.
    let gives_up = |connection: &Connection| {
        connection.execute_batch("ROLLBACK").expect("undone");
        Ok::<_, NotStored>(())
    };
    things.store.write("b", gives_up).expect_err("not stored");
    things.put("a", json!(2)).expect("stored");
    assert_eq!(table(&folder).get("a").as_deref(), Some(&json!(2)));
}

#[test]
fn records_of_two_tables_are_written_together_or_not_at_all() {
    let folder = TempDir::new().expect("a folder");
    let store = Store::open(folder.path()).expect("opens");
    let [one, other] = ["one", "other"].map(|kind| Table::<u64>::new(&store, kind));
    one.put("a", 1).expect("stored");
    let moves = |fails: bool| {
        store.together("a", |writes| {
            let value = one.get_in(writes, "a")?.expect("there");
            one.remove_in(writes, "a")?;
            other.put_in(writes, "a", &value)?;
            let mut seen = 0;
            other.scan_in(writes, "", None, |_, value| {
                seen += *value;
                ControlFlow::Continue(())
            })?;
            assert_eq!(seen, 1);
            if fails { Err(std::io::Error::from(std::io::ErrorKind::NotFound)) } else { Ok(()) }
        })
    };
    moves(true).expect_err("refused");
    assert!(one.contains("a") && other.is_empty());
    moves(false).expect("moved");
    assert!(one.is_empty() && other.contains("a"));
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_not_a_lack() {
    use crate::kernel::cloud::Cloud;
    use crate::kernel::service;
    let folder = TempDir::new().expect("a folder");
    let cloud = Cloud::for_tests(folder.path());
    let administrator = cloud.identities.administrator();
    let get = async || {
        let name = json!({ "Name": "p" });
        service::call(&cloud, &administrator, "ssm", "GetParameter", &name).await
    };
    assert_eq!(get().await.expect_err("none").code, "ParameterNotFound");
    cloud.store.readers.lock().clear();
    std::fs::rename(folder.path().join("cloud.db"), folder.path().join("away")).expect("moved");
    std::fs::create_dir(folder.path().join("cloud.db")).expect("made");
    let error = get().await.expect_err("unreadable");
    assert_eq!((error.status, error.code.as_str()), (500, "InternalFailure"));
}
