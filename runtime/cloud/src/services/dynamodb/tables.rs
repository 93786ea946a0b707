//! Operations on tables.

use serde_json::{Value, json};

use super::{TableRecord, Tag, arn, existing, items, streams, table_name};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Tags of a table.
const TAGS_MAX: usize = 50;
/// Tables in one page of `ListTables`.
const PAGE: usize = 100;
/// What a new or changed index may say.
const INDEX_MEMBERS: [&str; 4] = ["IndexName", "KeySchema", "Projection", "ProvisionedThroughput"];

/// `CreateTable`.
pub async fn create(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let name = call.table()?;
    call.authorize(&arn(cloud, name))?;
    let tags = tags_of(&params["Tags"])?;
    if !tags.is_empty() {
        cloud.authorize(call.caller, "dynamodb:TagResource", &arn(cloud, name), &[])?;
    }
    check_capacity(params)?;
    let request = for_engine(call, name)?;
    let (id, created) = (uuid::Uuid::new_v4().to_string(), cloud.clock.now());
    let mut record =
        TableRecord { whole: false, id, created, tags, expiry: None, streams: Vec::new() };
    if let Some(view) = wanted_view(params)? {
        record.open(name, view, 0, created)?;
    }
    let tables = &cloud.services.dynamodb.tables;
    if !tables.create(name, record)? {
        let words = format!("Table already exists: {name}");
        return Err(ApiError::new("ResourceInUseException", words));
    }
    let made = cloud.services.dynamodb.engine.run("CreateTable", request).await;
    let answer = match made {
        Ok(answer) => answer,
        Err(error) => {
            tables.remove(name)?;
            return Err(error);
        }
    };
    tables.update(name, |table| table.whole = true)?;
    let table = existing(cloud, name)?;
    Ok(json!({ "TableDescription": described(cloud, name, &table, &answer["TableDescription"]) }))
}

/// A table that is not paid per request needs a throughput, which the engine does not ask for.
fn check_capacity(params: &Value) -> ApiResult<()> {
    let provisioned = params["BillingMode"] != "PAY_PER_REQUEST";
    if provisioned && params["ProvisionedThroughput"].is_null() {
        let words = "One or more parameter values were invalid: ReadCapacityUnits and \
                     WriteCapacityUnits must both be specified when BillingMode is PROVISIONED";
        return Err(ApiError::new("ValidationException", words));
    }
    Ok(())
}

/// `UpdateTable`.
pub async fn update(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let name = call.table()?;
    call.authorize(&arn(cloud, name))?;
    let table = existing(cloud, name)?;
    for change in call.params["GlobalSecondaryIndexUpdates"].as_array().into_iter().flatten() {
        for (_, index) in change.as_object().into_iter().flatten() {
            let mut members = index.as_object().into_iter().flatten();
            if let Some((other, _)) = members.find(|(m, _)| !INDEX_MEMBERS.contains(&m.as_str())) {
                let other = format!("GlobalSecondaryIndexUpdates.{other}");
                return Err(ApiError::unknown_parameter(&other, "dynamodb:UpdateTable"));
            }
        }
    }
    let change = stream_change(call, name, &table)?;
    let request = for_engine(call, name)?;
    let dynamodb = &cloud.services.dynamodb;
    let answer = dynamodb.engine.run("UpdateTable", request).await?;
    let now = cloud.clock.now();
    match change {
        StreamChange::None => {}
        StreamChange::Open(view, begin) => {
            let opened =
                dynamodb.tables.update(name, |table| table.open(name, view, begin, now))?;
            opened.unwrap_or(Ok(()))?;
        }
        StreamChange::Close => {
            let end = dynamodb.streams.log.end(name)?;
            dynamodb.tables.update(name, |table| table.close(end, now))?;
            dynamodb.streams.tell(name);
        }
    }
    let table = existing(cloud, name)?;
    Ok(json!({ "TableDescription": described(cloud, name, &table, &answer["TableDescription"]) }))
}

/// What a stream shall show that is to be enabled.
fn wanted_view(params: &Value) -> ApiResult<Option<&str>> {
    let wanted = &params["StreamSpecification"];
    match (wanted["StreamEnabled"] == true, wanted["StreamViewType"].as_str()) {
        (true, None) => {
            let words = "One or more parameter values were invalid: If stream is being enabled, \
                         then UpdateViewType must be specified";
            Err(ApiError::new("ValidationException", words))
        }
        (is_on, view) => Ok(view.filter(|_| is_on)),
    }
}

/// What a change of a table does to its streams.
enum StreamChange<'a> {
    None,
    /// One is enabled, which has what comes after this number.
    Open(&'a str, i64),
    Close,
}

fn stream_change<'a>(
    call: &Call<'a>,
    name: &str,
    table: &TableRecord,
) -> ApiResult<StreamChange<'a>> {
    let wanted = &call.params["StreamSpecification"];
    if wanted.is_null() {
        return Ok(StreamChange::None);
    }
    let is_open = table.open_stream().is_some();
    let refused = |words: String| Err(ApiError::new("ValidationException", words));
    match (wanted_view(call.params)?, is_open) {
        (Some(_), true) => Err(streams::enabled_already(name)),
        (Some(view), false) => {
            Ok(StreamChange::Open(view, call.cloud.services.dynamodb.streams.log.end(name)?))
        }
        (None, _) if !wanted["StreamViewType"].is_null() => refused(
            "One or more parameter values were invalid: If stream is being disabled, then \
             UpdateViewType must not be specified"
                .to_owned(),
        ),
        (None, false) => refused(format!("Table has no stream to disable: TableName: {name}")),
        (None, true) => Ok(StreamChange::Close),
    }
}

/// The request without what this adapter keeps itself; what it would have to do is refused.
fn for_engine(call: &Call<'_>, name: &str) -> ApiResult {
    let refused = |member: &str| ApiError::unknown_parameter(member, &call.action());
    if call.params["SSESpecification"]["Enabled"] == true {
        return Err(refused("SSESpecification"));
    }
    let mut request = items::named(call.params, name);
    if let Some(members) = request.as_object_mut() {
        members.retain(|member, _| !matches!(member.as_str(), "Tags" | "SSESpecification"));
    }
    // What a stream shows is decided when it is read.
    if request["StreamSpecification"]["StreamEnabled"] == true {
        request["StreamSpecification"]["StreamViewType"] = "NEW_AND_OLD_IMAGES".into();
    }
    Ok(request)
}

/// `DescribeTable`.
pub async fn describe(call: &Call<'_>) -> ApiResult {
    let name = call.table()?;
    call.authorize(&arn(call.cloud, name))?;
    Ok(json!({ "Table": look(call.cloud, name).await? }))
}

/// A table as it is.
async fn look(cloud: &Cloud, name: &str) -> ApiResult {
    let table = existing(cloud, name)?;
    let request = json!({ "TableName": name });
    let answer = cloud.services.dynamodb.engine.run("DescribeTable", request).await?;
    Ok(described(cloud, name, &table, &answer["Table"]))
}

/// A table as it is, for those who do not wait.
pub fn look_here(cloud: &Cloud, name: &str) -> ApiResult {
    let table = existing(cloud, name)?;
    let request = json!({ "TableName": name });
    let answer = cloud.services.dynamodb.engine.run_here("DescribeTable", request)?;
    Ok(described(cloud, name, &table, &answer["Table"]))
}

/// The engine's description with what this adapter knows better.
fn described(cloud: &Cloud, name: &str, table: &TableRecord, description: &Value) -> Value {
    let mut out = description.clone();
    let table_arn = arn(cloud, name);
    for kind in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
        for index in out[kind].as_array_mut().into_iter().flatten() {
            let index_name = index["IndexName"].as_str().unwrap_or_default();
            index["IndexArn"] = format!("{table_arn}/index/{index_name}").into();
        }
    }
    // A member that the engine has and AWS has not.
    out.as_object_mut().map(|members| members.remove("TableThroughputModeSummary"));
    out["TableArn"] = table_arn.into();
    out["TableId"] = table.id.clone().into();
    out["CreationDateTime"] = epoch_secs(table.created).into();
    streams::describe(cloud, name, table, &mut out);
    out
}

/// `DeleteTable`.
pub async fn delete(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let name = call.table()?;
    call.authorize(&arn(cloud, name))?;
    let mut description = look(cloud, name).await?;
    let (tables, engine) = (&cloud.services.dynamodb.tables, &cloud.services.dynamodb.engine);
    let request = json!({ "TableName": name });
    if description["DeletionProtectionEnabled"] == true {
        return engine.run("DeleteTable", request).await;
    }
    // From here on it goes, also when this process ends in between.
    tables.update(name, |table| table.whole = false)?;
    if let Err(error) = engine.run("DeleteTable", request).await {
        tables.update(name, |table| table.whole = true)?;
        return Err(error);
    }
    cloud.services.dynamodb.streams.forget(name)?;
    tables.remove(name)?;
    description["TableStatus"] = "DELETING".into();
    Ok(json!({ "TableDescription": description }))
}

/// `ListTables`.
pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let after = call.text("ExclusiveStartTableName");
    let wanted = call.params["Limit"].as_u64().map_or(PAGE, |limit| limit as usize);
    let tables = call.cloud.services.dynamodb.tables.range("", after);
    let mut names = tables.iter().filter(|(_, table)| table.whole).map(|(name, _)| name);
    let page: Vec<&String> = names.by_ref().take(wanted).collect();
    let last = names.next().and(page.last().copied());
    Ok(json!({ "TableNames": page, "LastEvaluatedTableName": last }))
}

/// `DescribeContinuousBackups`: there are none.
pub fn continuous_backups(call: &Call<'_>) -> ApiResult {
    let name = call.table()?;
    call.authorize(&arn(call.cloud, name))?;
    existing(call.cloud, name)?;
    Ok(json!({ "ContinuousBackupsDescription": {
        "ContinuousBackupsStatus": "DISABLED",
        "PointInTimeRecoveryDescription": { "PointInTimeRecoveryStatus": "DISABLED" },
    } }))
}

/// `TagResource`.
pub fn tag(call: &Call<'_>) -> ApiResult {
    let name = tagged(call)?;
    let tags = tags_of(&call.params["Tags"])?;
    let changed = call.cloud.services.dynamodb.tables.update(name, |table| {
        let mut all = table.tags.clone();
        for tag in tags {
            match all.iter_mut().find(|former| former.key == tag.key) {
                Some(former) => *former = tag,
                None => all.push(tag),
            }
        }
        check_count(&all)?;
        table.tags = all;
        Ok::<(), ApiError>(())
    })?;
    changed.unwrap_or(Ok(()))?;
    Ok(json!({}))
}

/// `UntagResource`.
pub fn untag(call: &Call<'_>) -> ApiResult {
    let name = tagged(call)?;
    let keys = call.params["TagKeys"].as_array().into_iter().flatten();
    let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
    let tables = &call.cloud.services.dynamodb.tables;
    tables.update(name, |table| table.tags.retain(|tag| !keys.contains(&tag.key.as_str())))?;
    Ok(json!({}))
}

/// `ListTagsOfResource`; all of them fit one page.
pub fn tags(call: &Call<'_>) -> ApiResult {
    if let Some(token) = call.text("NextToken") {
        let words = format!("Invalid NextToken: {token}");
        return Err(ApiError::new("ValidationException", words));
    }
    let name = tagged(call)?;
    Ok(json!({ "Tags": existing(call.cloud, name)?.tags }))
}

/// The table whose tags a call is about, when the caller may make it.
fn tagged<'a>(call: &Call<'a>) -> ApiResult<&'a str> {
    let given = call.required("ResourceArn")?;
    call.authorize(given)?;
    let missing = || {
        let words = format!("Requested resource not found: ResourcArn: {given} not found");
        ApiError::new("ResourceNotFoundException", words)
    };
    let name = given.strip_prefix("arn:").and_then(|_| table_name(call.cloud, given).ok());
    let name = name.ok_or_else(missing)?;
    existing(call.cloud, name).map_err(|_| missing())?;
    Ok(name)
}

fn tags_of(given: &Value) -> ApiResult<Vec<Tag>> {
    if given.is_null() {
        return Ok(vec![]);
    }
    let tags: Vec<Tag> = serde_json::from_value(given.clone())
        .map_err(|error| ApiError::new("SerializationException", error.to_string()))?;
    for (index, tag) in tags.iter().enumerate() {
        if tags[..index].iter().any(|other| other.key == tag.key) {
            let words = format!("Duplicate Tag Keys are not allowed: {}", tag.key);
            return Err(ApiError::new("ValidationException", words));
        }
        if tag.key.starts_with("aws:") {
            let words = "One or more parameter values were invalid: a tag's key begins with aws:";
            return Err(ApiError::new("ValidationException", words));
        }
    }
    check_count(&tags)?;
    Ok(tags)
}

fn check_count(tags: &[Tag]) -> ApiResult<()> {
    if tags.len() <= TAGS_MAX {
        return Ok(());
    }
    let words = format!("One or more parameter values were invalid: Too many tags, max {TAGS_MAX}");
    Err(ApiError::new("ValidationException", words))
}
