//! Named queries: statements that a work group keeps.
//!
//! <https://docs.aws.amazon.com/athena/latest/APIReference/API_NamedQuery.html>

use std::sync::Arc;

use serde_json::{Value, json};

use super::{NamedQuery, PAGE_MAX, SQL_BYTES_MAX, group_arn, ids, invalid, page, work_groups};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::service::Call;
use crate::services::required;

/// Characters of a token.
const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 32..=128;

/// `CreateNamedQuery`. The ID is made of the token, so that a repeated request is the same one.
pub fn create(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let group = params["WorkGroup"].as_str().unwrap_or(work_groups::PRIMARY);
    cloud.authorize(caller, "athena:CreateNamedQuery", &group_arn(cloud, group), &[])?;
    work_groups::find(cloud, group)?;
    let query = NamedQuery {
        name: required(params, "Name")?.to_owned(),
        description: params["Description"].as_str().unwrap_or_default().to_owned(),
        database: required(params, "Database")?.to_owned(),
        work_group: group.to_owned(),
        sql: statement(params, "QueryString")?,
    };
    let id = match params["ClientRequestToken"].as_str() {
        None => uuid::Uuid::new_v4(),
        Some(token) if TOKEN_CHARS.contains(&token.chars().count()) => {
            uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, token.as_bytes())
        }
        Some(_) => return Err(invalid("clientRequestToken must have 32 to 128 characters")),
    };
    let id = id.to_string();
    if !cloud.services.athena.named_queries.create(&id, query.clone())? {
        let former = cloud.services.athena.named_queries.get(&id);
        let is_same = former.is_some_and(|former| shown(&id, &former) == shown(&id, &query));
        if !is_same {
            return Err(invalid("Idempotent parameters do not match"));
        }
    }
    Ok(json!({ "NamedQueryId": id }))
}

/// `UpdateNamedQuery`.
pub fn update(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let id = required(params, "NamedQueryId")?;
    existing(cloud, caller, id, "athena:UpdateNamedQuery")?;
    let name = required(params, "Name")?.to_owned();
    let sql = statement(params, "QueryString")?;
    cloud.services.athena.named_queries.update(id, |query| {
        query.name = name;
        query.sql = sql;
        if let Some(description) = params["Description"].as_str() {
            query.description = description.to_owned();
        }
    })?;
    Ok(json!({}))
}

/// `DeleteNamedQuery`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let id = required(params, "NamedQueryId")?;
    existing(cloud, caller, id, "athena:DeleteNamedQuery")?;
    cloud.services.athena.named_queries.remove(id)?;
    Ok(json!({}))
}

/// `GetNamedQuery`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let id = required(params, "NamedQueryId")?;
    let query = existing(cloud, caller, id, "athena:GetNamedQuery")?;
    Ok(json!({ "NamedQuery": shown(id, &query) }))
}

/// `ListNamedQueries`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let group = params["WorkGroup"].as_str().unwrap_or(work_groups::PRIMARY);
    cloud.authorize(caller, "athena:ListNamedQueries", &group_arn(cloud, group), &[])?;
    work_groups::find(cloud, group)?;
    let queries = cloud.services.athena.named_queries.all().into_iter();
    let ids = queries.filter(|(_, q)| q.work_group == group).map(|(id, _)| id.into());
    page(params, "NamedQueryIds", ids.collect())
}

/// `BatchGetNamedQuery`.
pub fn batch(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for id in ids(params, "NamedQueryIds", PAGE_MAX)? {
        match cloud.services.athena.named_queries.get(id) {
            Some(query) => {
                let group = group_arn(cloud, &query.work_group);
                cloud.authorize(caller, "athena:BatchGetNamedQuery", &group, &[])?;
                found.push(shown(id, &query));
            }
            None => missing.push(json!({
                "NamedQueryId": id, "ErrorCode": "NAMED_QUERY_NOT_FOUND",
                "ErrorMessage": format!("NamedQuery {id} was not found"),
            })),
        }
    }
    Ok(json!({ "NamedQueries": found, "UnprocessedNamedQueryIds": missing }))
}

/// A statement of a request.
pub fn statement(params: &Value, member: &str) -> ApiResult<String> {
    let sql = required(params, member)?;
    if sql.len() > SQL_BYTES_MAX {
        return Err(invalid(format!("{member} has more than {SQL_BYTES_MAX} bytes")));
    }
    Ok(sql.to_owned())
}

fn existing(cloud: &Cloud, caller: &Caller, id: &str, action: &str) -> ApiResult<Arc<NamedQuery>> {
    let missing = || -> ApiError { invalid(format!("NamedQuery {id} was not found")) };
    let query = cloud.services.athena.named_queries.get(id).ok_or_else(missing)?;
    cloud.authorize(caller, action, &group_arn(cloud, &query.work_group), &[])?;
    Ok(query)
}

fn shown(id: &str, query: &NamedQuery) -> Value {
    json!({
        "NamedQueryId": id, "Name": query.name, "Description": query.description,
        "Database": query.database, "QueryString": query.sql, "WorkGroup": query.work_group,
    })
}
