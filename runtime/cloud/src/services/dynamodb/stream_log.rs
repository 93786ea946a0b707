//! The records of streams in the database of items.
//!
//! The library writes a record in the transaction that changes the item, so there is no change
//! without one; it does so for all streams with both images, and what a stream shows of them is
//! decided when it is read. Here records are read and deleted, by a connection of its own. An index
//! makes both independent of how many there are, and a trigger puts the cloud's time in the place
//! of the machine's.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use crate::kernel::clock::Clock;
use crate::kernel::error::{ApiError, ApiResult};

/// How long a change waits for another one.
const BUSY_LIMIT: Duration = Duration::from_secs(30);
/// What is added to the library's database. No table can have a name with a colon.
const ADDED: &str = "
    CREATE INDEX IF NOT EXISTS \"steppe:records\"
        ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
    CREATE TABLE IF NOT EXISTS \"steppe:clock\" (ahead INTEGER NOT NULL);
    DELETE FROM \"steppe:clock\";
    INSERT INTO \"steppe:clock\" VALUES (0);
    CREATE TRIGGER IF NOT EXISTS \"steppe:time\" AFTER INSERT ON _stream_records BEGIN
        UPDATE _stream_records SET created_at = created_at + (SELECT ahead FROM \"steppe:clock\")
            WHERE id = NEW.id;
    END;
    DELETE FROM _stream_records WHERE table_name NOT IN (SELECT table_name FROM _tables);
";
const READ: &str = "
    SELECT CAST(sequence_number AS INTEGER), event_name, keys_json, new_image, old_image,
        created_at, user_identity, event_id
    FROM _stream_records
    WHERE table_name = ?1 AND CAST(sequence_number AS INTEGER) >= ?2
    ORDER BY CAST(sequence_number AS INTEGER) LIMIT ?3
";
const END: &str = "
    SELECT MAX(CAST(sequence_number AS INTEGER)) FROM _stream_records WHERE table_name = ?1
";
/// The newest record of a table stays, so that numbers always rise.
const TRIM: &str = "
    DELETE FROM _stream_records
    WHERE created_at < ?1 AND id NOT IN (SELECT MAX(id) FROM _stream_records GROUP BY table_name)
";
const MARK: &str = "
    UPDATE _stream_records SET user_identity = ?3
    WHERE table_name = ?1 AND CAST(sequence_number AS INTEGER) = ?2
";

/// A change of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its number, which rises within a table.
    pub number: i64,
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub event: String,
    /// The item's key.
    pub keys: Value,
    /// The item after it.
    pub new: Option<Value>,
    /// The item before it.
    pub old: Option<Value>,
    /// When it was made, in seconds since 1970.
    pub made_secs: i64,
    /// Who made it, when it was DynamoDB itself.
    pub identity: Option<Value>,
    /// Its ID.
    pub id: String,
}

impl Change {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let parsed = |index: usize| -> rusqlite::Result<Option<Value>> {
            let text: Option<String> = row.get(index)?;
            text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
            })
        };
        let number: i64 = row.get(0)?;
        let id: Option<String> = row.get(7)?;
        Ok(Self {
            number,
            event: row.get(1)?,
            keys: parsed(2)?.unwrap_or_default(),
            new: parsed(3)?,
            old: parsed(4)?,
            made_secs: row.get(5)?,
            identity: parsed(6)?,
            id: id.unwrap_or_else(|| number.to_string()),
        })
    }

    /// Whether it changed anything: what did not is in no stream.
    pub fn is_one(&self) -> bool {
        self.event != "MODIFY" || self.new != self.old
    }
}

/// The records of all streams.
pub struct StreamLog {
    connection: Mutex<Connection>,
    clock: Clock,
    /// What the database has of how far the clock was put forward.
    ahead_secs: AtomicI64,
}

impl fmt::Debug for StreamLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamLog")
    }
}

impl StreamLog {
    /// Opens the records in a database that the library has opened before.
    pub fn open(file: &Path, clock: &Clock) -> Result<Self> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(BUSY_LIMIT)?;
        connection.execute_batch(ADDED).context("the library keeps streams in another way")?;
        connection.prepare(READ).context("the library keeps streams in another way")?;
        let (connection, ahead_secs) = (Mutex::new(connection), AtomicI64::new(0));
        Ok(Self { connection, clock: clock.clone(), ahead_secs })
    }

    /// Tells the database how far the clock was put forward; before each change of items.
    pub fn set_time(&self) -> ApiResult<()> {
        let ahead = self.clock.ahead().as_secs();
        if self.ahead_secs.load(Ordering::Acquire) == ahead {
            return Ok(());
        }
        let set = "UPDATE \"steppe:clock\" SET ahead = ?1";
        self.connection.lock().execute(set, [ahead]).map_err(ApiError::internal)?;
        self.ahead_secs.store(ahead, Ordering::Release);
        Ok(())
    }

    /// The changes of a table from a number on.
    pub fn read(&self, table: &str, from: i64, most: usize) -> ApiResult<Vec<Change>> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare_cached(READ).map_err(ApiError::internal)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![table, from, most], Change::of);
        let rows = rows.map_err(ApiError::internal)?;
        rows.collect::<rusqlite::Result<_>>().map_err(ApiError::internal)
    }

    /// The number after all changes of a table that there are.
    pub fn end(&self, table: &str) -> ApiResult<i64> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare_cached(END).map_err(ApiError::internal)?;
        let last: Option<i64> =
            statement.query_row([table], |row| row.get(0)).map_err(ApiError::internal)?;
        Ok(last.map_or(0, |last| last + 1))
    }

    /// Deletes what was made before a time.
    pub fn trim(&self, before_secs: i64) -> ApiResult<()> {
        self.connection.lock().execute(TRIM, [before_secs]).map(drop).map_err(ApiError::internal)
    }

    /// Deletes what there is of a table.
    pub fn forget(&self, table: &str) -> ApiResult<()> {
        let forget = "DELETE FROM _stream_records WHERE table_name = ?1";
        self.connection.lock().execute(forget, [table]).map(drop).map_err(ApiError::internal)
    }

    /// Says of the removal of an item after `from` that DynamoDB itself made it.
    pub fn mark_expired(&self, table: &str, from: i64, key: &Value) -> ApiResult<()> {
        let since = self.read(table, from, usize::MAX)?;
        let removed = since.iter().rfind(|change| change.event == "REMOVE" && change.keys == *key);
        let Some(removed) = removed else { return Ok(()) };
        let identity = json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" });
        let params = params![table, removed.number, identity.to_string()];
        self.connection.lock().execute(MARK, params).map(drop).map_err(ApiError::internal)
    }
}
