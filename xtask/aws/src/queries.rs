//! Questions: SQL, logs, the instance's console.

use std::time::{Duration, Instant};

use aws_sdk_athena::types::{QueryExecutionContext, QueryExecutionState};

use crate::{Aws, AwsError, Result};

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
    /// Runs SQL and waits for at most `rows_max` rows.
    pub async fn query(
        &self,
        work_group: &str,
        database: &str,
        sql: &str,
        rows_max: usize,
    ) -> Result<Answer> {
        let context = QueryExecutionContext::builder().database(database).build();
        let request = self
            .athena
            .start_query_execution()
            .work_group(work_group)
            .query_execution_context(context)
            .query_string(sql);
        let id = request
            .send()
            .await
            .map_err(|e| AwsError::new("athena:StartQueryExecution", e))?
            .query_execution_id;
        let id = id
            .ok_or_else(|| AwsError::local("athena:StartQueryExecution", "the answer has no ID"))?;
        let scanned_bytes = self.await_query(&id).await?;
        let mut pages =
            self.athena.get_query_results().query_execution_id(&id).into_paginator().send();
        let mut answer = Answer { columns: vec![], rows: vec![], scanned_bytes };
        while let Some(page) = pages.next().await {
            let set = page
                .map_err(|e| AwsError::new("athena:GetQueryResults", e))?
                .result_set
                .unwrap_or_else(|| aws_sdk_athena::types::ResultSet::builder().build());
            if let Some(meta) =
                set.result_set_metadata.as_ref().filter(|_| answer.columns.is_empty())
            {
                answer.columns = meta.column_info().iter().map(|c| c.name().to_owned()).collect();
            }
            answer.rows.extend(set.rows.unwrap_or_default().into_iter().map(|r| {
                r.data.unwrap_or_default().into_iter().map(|d| d.var_char_value).collect()
            }));
            // The first row repeats the header.
            if answer.rows.len() > rows_max {
                break;
            }
        }
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
            let request = self.athena.get_query_execution().query_execution_id(id);
            let execution = match request.send().await.map_err(|e| AwsError::new(call, e)) {
                Ok(answer) => answer.query_execution,
                Err(error) if error.is_passing() && failures < FAILURES_MAX => {
                    failures += 1;
                    None
                }
                Err(error) => return Err(error),
            };
            let status = execution.as_ref().and_then(|e| e.status());
            match status.and_then(|s| s.state()) {
                Some(QueryExecutionState::Succeeded) => {
                    let statistics = execution.as_ref().and_then(|e| e.statistics());
                    let scanned = statistics.and_then(|s| s.data_scanned_in_bytes());
                    return Ok(scanned.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0));
                }
                Some(QueryExecutionState::Failed | QueryExecutionState::Cancelled) => {
                    let reason = status
                        .and_then(|s| s.state_change_reason())
                        .unwrap_or("no reason given")
                        .to_owned();
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
        let mut pages =
            self.athena.list_named_queries().work_group(work_group).into_paginator().send();
        let mut ids = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new("athena:ListNamedQueries", e))?;
            ids.extend(page.named_query_ids.unwrap_or_default());
        }
        let mut queries = Vec::new();
        for ids in ids.chunks(NAMED_AT_ONCE) {
            let answer = self
                .athena
                .batch_get_named_query()
                .set_named_query_ids(Some(ids.to_vec()))
                .send()
                .await
                .map_err(|e| AwsError::new("athena:BatchGetNamedQuery", e))?;
            let named = answer.named_queries.unwrap_or_default().into_iter();
            queries
                .extend(named.map(|q| (q.name, q.description.unwrap_or_default(), q.query_string)));
        }
        queries.sort();
        Ok(queries)
    }

    /// Events of a log group since a time in milliseconds: time, message.
    pub async fn log_events(&self, group: &str, since_ms: i64) -> Result<Vec<(i64, String)>> {
        let mut pages = self
            .logs
            .filter_log_events()
            .log_group_name(group)
            .start_time(since_ms)
            .into_paginator()
            .send();
        let mut events = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new("logs:FilterLogEvents", e))?;
            events.extend(
                page.events
                    .unwrap_or_default()
                    .into_iter()
                    .map(|e| (e.timestamp.unwrap_or(0), e.message.unwrap_or_default())),
            );
        }
        Ok(events)
    }
}
