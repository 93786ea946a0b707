//! Questions: SQL, logs, the instance's console.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::search::GLUE;
use crate::single::{Service, members, text};
use crate::{Aws, AwsError, Result};

pub(crate) const ATHENA: Service = Service::json("athena", "AmazonAthena", "1.1");
pub(crate) const LOGS: Service = Service::json("logs", "Logs_20140328", "1.1");

/// Longest time of a query: Athena's own limit is 30 minutes.
const QUERY_LIMIT: Duration = Duration::from_secs(35 * 60);
/// Failed looks at a query in a row that are borne.
const FAILURES_MAX: u32 = 5;
/// Named queries that one call describes.
const NAMED_AT_ONCE: usize = 50;

/// Rows of an answer, with their columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Values; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Bytes of tables that Athena read for it.
    pub scanned_bytes: u64,
}

impl Aws {
    /// Names and Hive types of a table's columns, in order.
    pub async fn table_columns(
        &self,
        database: &str,
        table: &str,
    ) -> Result<Vec<(String, String)>> {
        let asked = json!({ "DatabaseName": database, "Name": table });
        let found = self.json("glue:GetTable", &GLUE, asked).await?;
        let columns = members(&found["Table"]["StorageDescriptor"]["Columns"]);
        let column = |column: &Value| Some((text(&column["Name"])?, text(&column["Type"])?));
        Ok(columns.filter_map(column).collect())
    }

    /// Runs SQL and waits for at most `rows_max` rows.
    pub async fn query(
        &self,
        work_group: &str,
        database: &str,
        sql: &str,
        rows_max: usize,
    ) -> Result<Answer> {
        // The SDKs make the token, and without one Athena refuses the call.
        let token = uuid::Uuid::new_v4().to_string();
        let asked = json!({
            "ClientRequestToken": token,
            "QueryExecutionContext": { "Database": database },
            "QueryString": sql,
            "WorkGroup": work_group,
        });
        let call = "athena:StartQueryExecution";
        let started = self.json(call, &ATHENA, asked).await?;
        let id = text(&started["QueryExecutionId"]);
        let id = id.ok_or_else(|| AwsError::local(call, "the answer has no ID"))?;
        let scanned_bytes = self.await_query(&id).await?;
        let mut answer = Answer { columns: vec![], rows: vec![], scanned_bytes };
        let take = |page: Value| {
            let set = &page["ResultSet"];
            if answer.columns.is_empty() {
                let columns = members(&set["ResultSetMetadata"]["ColumnInfo"]);
                answer.columns = columns.filter_map(|column| text(&column["Name"])).collect();
            }
            let value = |datum: &Value| text(&datum["VarCharValue"]);
            answer.rows.extend(
                members(&set["Rows"]).map(|row| members(&row["Data"]).map(value).collect()),
            );
            // The first row repeats the header.
            answer.rows.len() <= rows_max
        };
        let asked = json!({ "QueryExecutionId": id });
        self.json_pages("athena:GetQueryResults", &ATHENA, asked, "NextToken", take).await?;
        let header: Vec<Option<String>> = answer.columns.iter().cloned().map(Some).collect();
        if answer.rows.first() == Some(&header) {
            answer.rows.remove(0);
        }
        answer.rows.truncate(rows_max);
        Ok(answer)
    }

    /// How many bytes of tables it has read.
    async fn await_query(&self, id: &str) -> Result<u64> {
        let call = "athena:GetQueryExecution";
        let (began, mut pause, mut failures) = (Instant::now(), Duration::from_millis(20), 0);
        loop {
            let asked = json!({ "QueryExecutionId": id });
            let execution = match self.json(call, &ATHENA, asked).await {
                Ok(mut answer) => answer["QueryExecution"].take(),
                Err(error) if error.is_passing() && failures < FAILURES_MAX => {
                    failures += 1;
                    Value::Null
                }
                Err(error) => return Err(error),
            };
            match execution["Status"]["State"].as_str() {
                Some("SUCCEEDED") => {
                    let scanned = &execution["Statistics"]["DataScannedInBytes"];
                    return Ok(scanned.as_u64().unwrap_or(0));
                }
                Some("FAILED" | "CANCELLED") => {
                    let reason = text(&execution["Status"]["StateChangeReason"]);
                    let reason = reason.unwrap_or_else(|| "no reason given".to_owned());
                    return Err(AwsError::local("the query", reason));
                }
                _ if began.elapsed() > QUERY_LIMIT => {
                    let minutes = QUERY_LIMIT.as_secs() / 60;
                    return Err(AwsError::local(
                        "the query",
                        format!("it did not end within {minutes} minutes; its ID is {id}"),
                    ));
                }
                _ => tokio::time::sleep(pause).await,
            }
            pause = (pause * 3 / 2).min(Duration::from_secs(2));
        }
    }

    /// The named queries of a work group: name, description, SQL.
    pub async fn named_queries(&self, work_group: &str) -> Result<Vec<(String, String, String)>> {
        let mut ids = Vec::new();
        let take = |page: Value| {
            ids.extend(members(&page["NamedQueryIds"]).filter_map(text));
            true
        };
        let asked = json!({ "WorkGroup": work_group });
        self.json_pages("athena:ListNamedQueries", &ATHENA, asked, "NextToken", take).await?;
        let mut queries = Vec::new();
        for ids in ids.chunks(NAMED_AT_ONCE) {
            let asked = json!({ "NamedQueryIds": ids });
            let answer = self.json("athena:BatchGetNamedQuery", &ATHENA, asked).await?;
            let told = |query: &Value, member: &str| text(&query[member]).unwrap_or_default();
            queries.extend(members(&answer["NamedQueries"]).map(|query| {
                (told(query, "Name"), told(query, "Description"), told(query, "QueryString"))
            }));
        }
        queries.sort();
        Ok(queries)
    }

    /// Events of a log group since a time in milliseconds: time, message.
    pub async fn log_events(&self, group: &str, since_ms: i64) -> Result<Vec<(i64, String)>> {
        let mut events = Vec::new();
        let take = |page: Value| {
            events.extend(members(&page["events"]).map(|event| {
                let message = text(&event["message"]).unwrap_or_default();
                (event["timestamp"].as_i64().unwrap_or(0), message)
            }));
            true
        };
        let asked = json!({ "logGroupName": group, "startTime": since_ms });
        self.json_pages("logs:FilterLogEvents", &LOGS, asked, "nextToken", take).await?;
        Ok(events)
    }
}
