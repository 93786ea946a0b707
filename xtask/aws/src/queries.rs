//! Questions: SQL, logs, the instance's console.

use std::time::Duration;

use aws_sdk_athena::types::{QueryExecutionContext, QueryExecutionState};

use crate::{Aws, AwsError, Result};

/// Rows of an answer, with their columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Values; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
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
        self.await_query(&id).await?;
        let mut pages =
            self.athena.get_query_results().query_execution_id(&id).into_paginator().send();
        let mut answer = Answer { columns: vec![], rows: vec![] };
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

    async fn await_query(&self, id: &str) -> Result<()> {
        let mut pause = Duration::from_millis(20);
        loop {
            let answer = self
                .athena
                .get_query_execution()
                .query_execution_id(id)
                .send()
                .await
                .map_err(|e| AwsError::new("athena:GetQueryExecution", e))?;
            let status = answer.query_execution.and_then(|e| e.status);
            match status.as_ref().and_then(|s| s.state()) {
                Some(QueryExecutionState::Succeeded) => return Ok(()),
                Some(QueryExecutionState::Failed | QueryExecutionState::Cancelled) => {
                    let reason = status
                        .and_then(|s| s.state_change_reason)
                        .unwrap_or_else(|| "no reason given".to_owned());
                    return Err(AwsError::local("the query", reason));
                }
                _ => tokio::time::sleep(pause).await,
            }
            pause = (pause * 3 / 2).min(Duration::from_secs(2));
        }
    }

    /// The named queries of a work group: name, description, SQL.
    pub async fn named_queries(&self, work_group: &str) -> Result<Vec<(String, String, String)>> {
        let listed = self
            .athena
            .list_named_queries()
            .work_group(work_group)
            .send()
            .await
            .map_err(|e| AwsError::new("athena:ListNamedQueries", e))?;
        let ids = listed.named_query_ids.unwrap_or_default();
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let answer = self
            .athena
            .batch_get_named_query()
            .set_named_query_ids(Some(ids))
            .send()
            .await
            .map_err(|e| AwsError::new("athena:BatchGetNamedQuery", e))?;
        let mut queries: Vec<_> = answer
            .named_queries
            .unwrap_or_default()
            .into_iter()
            .map(|q| (q.name, q.description.unwrap_or_default(), q.query_string))
            .collect();
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

    /// The console of an instance: what user data and services wrote.
    #[cfg(feature = "ec2")]
    pub async fn console(&self, instance: &str) -> Result<String> {
        let answer = self
            .ec2
            .get_console_output()
            .instance_id(instance)
            .send()
            .await
            .map_err(|e| AwsError::new("ec2:GetConsoleOutput", e))?;
        let bytes = aws_smithy_types::base64::decode(answer.output.unwrap_or_default())
            .map_err(|e| AwsError::local("ec2:GetConsoleOutput", e.to_string()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The console of an instance needs the EC2 client.
    #[cfg(not(feature = "ec2"))]
    pub async fn console(&self, _instance: &str) -> Result<String> {
        Err(AwsError::local(
            "ec2:GetConsoleOutput",
            "this program was built without the feature `ec2`",
        ))
    }
}
