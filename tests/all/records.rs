//! The embedded cloud's records, as another program sees them.

use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;

fn open(state: &Path) -> Connection {
    let database = Connection::open(state.join("cloud.db")).expect("a database");
    database.busy_timeout(std::time::Duration::from_secs(5)).expect("set");
    database
}

/// As long as this lives, the cloud can write no record.
pub fn refused(state: &Path) -> Connection {
    let database = open(state);
    database.execute_batch("BEGIN IMMEDIATE").expect("taken");
    database
}

/// The names and values of a kind of records.
pub fn rows(state: &Path, kind: &str) -> Vec<(String, Value)> {
    let database = open(state);
    let sql = "SELECT name, value FROM records WHERE kind = ?1 ORDER BY name";
    let mut statement = database.prepare(sql).expect("a statement");
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?));
    let rows = statement.query_map([kind], read).expect("rows").map(|row| row.expect("a row"));
    rows.map(|(name, value)| (name, serde_json::from_str(&value).expect("JSON"))).collect()
}

/// Writes other texts into all records of a kind, without their checksums.
pub fn damage(state: &Path, kind: &str, value: &str) {
    let sql = "UPDATE records SET value = ?2 WHERE kind = ?1";
    open(state).execute(sql, [kind, value]).expect("damaged");
}

/// Values that were set aside.
pub fn set_aside(state: &Path) -> Vec<String> {
    let database = open(state);
    let mut statement = database.prepare("SELECT value FROM damaged").expect("a statement");
    let values = statement.query_map([], |row| row.get(0)).expect("rows");
    values.map(|value| value.expect("a text")).collect()
}
