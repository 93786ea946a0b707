//! Operations on items of one table.

use serde_json::{Value, json};

use super::{arn, existing};
use crate::kernel::error::ApiResult;
use crate::kernel::service::Call;

/// An operation on one item.
pub async fn one(call: &Call<'_>) -> ApiResult {
    let table = call.table()?;
    call.authorize(&arn(call.cloud, table))?;
    run(call, table).await
}

/// A query or a scan, of a table or of one of its indexes.
pub async fn many(call: &Call<'_>) -> ApiResult {
    let table = call.table()?;
    let table_arn = arn(call.cloud, table);
    match call.text("IndexName") {
        Some(index) => call.authorize(&format!("{table_arn}/index/{index}"))?,
        None => call.authorize(&table_arn)?,
    }
    run(call, table).await
}

async fn run(call: &Call<'_>, table: &str) -> ApiResult {
    existing(call.cloud, table)?;
    let request = named(call.params, table);
    call.cloud.services.dynamodb.run(call.operation, request, &[table.to_owned()]).await
}

/// The request with the table's name, which may be given as an ARN.
pub fn named(params: &Value, table: &str) -> Value {
    let mut request = params.clone();
    request["TableName"] = json!(table);
    request
}
