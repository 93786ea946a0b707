//! Operations on items of several tables.

use serde_json::{Map, Value};

use super::{arn, existing, items, table_name};
use crate::kernel::error::ApiResult;
use crate::kernel::service::Call;

/// A batch: what is asked of each table.
pub async fn batch(call: &Call<'_>) -> ApiResult {
    let mut requests = Map::new();
    for (given, request) in call.params["RequestItems"].as_object().into_iter().flatten() {
        let table = table_name(call.cloud, given)?;
        call.authorize(&arn(call.cloud, table))?;
        existing(call.cloud, table)?;
        requests.insert(table.to_owned(), request.clone());
    }
    let tables: Vec<String> = requests.keys().cloned().collect();
    let mut request = call.params.clone();
    request["RequestItems"] = Value::Object(requests);
    call.cloud.services.dynamodb.run(call.operation, request, &tables).await
}

/// A transaction: each of its parts needs the permission that it would need alone.
pub async fn transact(call: &Call<'_>) -> ApiResult {
    let (mut request, mut tables) = (call.params.clone(), Vec::new());
    for part in request["TransactItems"].as_array_mut().into_iter().flatten() {
        for (kind, action) in part.as_object_mut().into_iter().flatten() {
            let Some(given) = action["TableName"].as_str() else { continue };
            let table = table_name(call.cloud, given)?.to_owned();
            let permission = format!("dynamodb:{}", permission(kind));
            let arn = arn(call.cloud, &table);
            call.cloud.authorize(call.caller, &permission, &arn, &[])?;
            existing(call.cloud, &table)?;
            *action = items::named(action, &table);
            tables.push(table);
        }
    }
    call.cloud.services.dynamodb.run(call.operation, request, &tables).await
}

/// `Put` needs `dynamodb:PutItem`; `ConditionCheck` has a permission of its own.
fn permission(kind: &str) -> String {
    match kind {
        "ConditionCheck" => "ConditionCheckItem".to_owned(),
        other => format!("{other}Item"),
    }
}
