//! Queries from the request to the end.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use steppe_wire::place::S3Object;
use steppe_wire::query::{
    Call as Asked, CallError, Called, Executed, FailureKind, Needs, Query, QueryFailure,
    QueryResult, Said, Service, Statement, Written,
};
use tokio::sync::OwnedSemaphorePermit;

use super::work_groups::{self, WorkGroup};
use super::{DATA_CATALOG, QueryExecution, group_arn, invalid};
use super::{SQL_BYTES_MAX, catalogue, prepared};
use crate::kernel::cloud::Cloud;
use crate::kernel::engine::{Engine, Engines};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::eviction::Kept;
use crate::kernel::identity::Caller;
use crate::kernel::service::{self, Call};
use crate::services::required;

/// Queries that are waiting or at work.
const UNFINISHED_MAX: usize = 104;
/// Executions that are remembered, for as long as Athena remembers them.
/// <https://docs.aws.amazon.com/athena/latest/ug/queries-viewing-history.html>
const KEPT: Kept = Kept { count_max: 1_000, days: 45 };
/// Values of one statement.
const PARAMETERS_MAX: usize = 500;
const CANCELLED: &str = "Query cancelled by user";
const STOPPED_WITH_CLOUD: &str = "the embedded cloud was stopped while the query was at work";
const EXHAUSTED: &str = "EXCEEDED_MEMORY_LIMIT: Query exhausted resources at this scale factor";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client of the API.
    Api,
    /// A state machine, which makes its own token.
    StateMachine,
}

/// `StartQueryExecution`.
pub async fn begin(call: &Call<'_>) -> ApiResult {
    start(call.cloud, call.caller, call.params, Origin::Api).await
}

/// The same, also from state machines.
pub async fn start(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    params: &Value,
    origin: Origin,
) -> ApiResult {
    check_members(cloud, params)?;
    let group_name = params["WorkGroup"].as_str().unwrap_or(work_groups::PRIMARY);
    let action = "athena:StartQueryExecution";
    cloud.authorize(caller, action, &group_arn(cloud, group_name), &[])?;
    // AWS's policies for queries on a named catalogue have it, and Step Functions names one always.
    // <https://docs.aws.amazon.com/athena/latest/ug/datacatalogs-example-policies.html>
    let named = !params["QueryExecutionContext"]["Catalog"].is_null();
    if named || origin == Origin::StateMachine {
        let catalog = cloud.config.arn("athena", &format!("datacatalog/{DATA_CATALOG}"));
        cloud.authorize(caller, "athena:GetDataCatalog", &catalog, &[])?;
    }
    let group = work_groups::find(cloud, group_name)?;
    if group.disabled {
        return Err(invalid(format!("WorkGroup {group_name} is disabled.")));
    }
    let id = uuid::Uuid::new_v4().to_string();
    let mut execution = execution(params, origin, group_name, cloud.clock.now())?;
    execute_prepared(cloud, caller, &mut execution)?;
    execution.output = output(&id, execution.statement, params, &group)?;
    if let Some(former) = former(cloud, &execution)? {
        return Ok(json!({ "QueryExecutionId": former }));
    }
    check_bucket(cloud, caller, &execution.output)?;
    let query = Query {
        sql: execution.prepared.clone().unwrap_or_else(|| execution.sql.clone()),
        parameters: execution.parameters.clone(),
        using: execution.using.clone(),
        database: execution.database.clone(),
        output: execution.output.clone(),
        id: id.clone(),
        scanned_bytes_max: group.scanned_bytes_max,
    };
    if let Some(former) = admit(cloud, &id, execution)? {
        return Ok(json!({ "QueryExecutionId": former }));
    }
    let work = Work {
        cloud: cloud.clone(),
        caller: caller.clone(),
        id: id.clone(),
        work_group: group_name.to_owned(),
        query,
    };
    // With a free engine the statement is read now, so that what is no SQL is told at once.
    match cloud.engines.queries.clone().try_acquire_owned() {
        Ok(place) => match work.read().await {
            Ok(read) => Engines::begin(cloud, &id, work.run(read, place), settle),
            Err(failure) if failure.kind == FailureKind::Malformed => {
                cloud.services.athena.queries.remove(&id)?;
                return Err(invalid(failure.message));
            }
            Err(failure) => settle(cloud, &id, Ok(Err(failure))),
        },
        Err(_) => Engines::begin(cloud, &id, work.wait(), settle),
    }
    Ok(json!({ "QueryExecutionId": id }))
}

/// `EXECUTE` is the statement that was prepared, with values.
fn execute_prepared(
    cloud: &Cloud,
    caller: &Caller,
    execution: &mut QueryExecution,
) -> ApiResult<()> {
    let Some(Executed { name, using }) = Executed::of(&execution.sql) else { return Ok(()) };
    let found = prepared::find(cloud, caller, &execution.work_group, name)
        .map_err(|error| if error.status == 400 { invalid(error.message) } else { error })?;
    execution.using = using.map(str::to_owned);
    execution.statement = Statement::of(&found.sql);
    execution.prepared = Some(found.sql.clone());
    Ok(())
}

/// Refuses values that are not done.
fn check_members(cloud: &Cloud, params: &Value) -> ApiResult<()> {
    if let Some(catalog) = params["QueryExecutionContext"]["Catalog"].as_str()
        && !catalog.eq_ignore_ascii_case(DATA_CATALOG)
    {
        return Err(invalid(format!("Data Catalog {catalog} is not found.")));
    }
    let result = &params["ResultConfiguration"];
    if result["ExpectedBucketOwner"].as_str().is_some_and(|o| o != cloud.config.account) {
        return Err(invalid("The bucket of the results has another owner."));
    }
    let encryption = &result["EncryptionConfiguration"];
    if !encryption.is_null() && encryption["EncryptionOption"] != "SSE_S3" {
        return Err(ApiError::unknown_parameter(
            "EncryptionConfiguration other than SSE_S3",
            "athena:StartQueryExecution",
        ));
    }
    let reuse = &params["ResultReuseConfiguration"]["ResultReuseByAgeConfiguration"];
    if reuse["Enabled"] == true {
        return Err(ApiError::unknown_parameter(
            "ResultReuseByAgeConfiguration.Enabled",
            "athena:StartQueryExecution",
        ));
    }
    Ok(())
}

fn execution(
    params: &Value,
    origin: Origin,
    group_name: &str,
    submitted: Timestamp,
) -> ApiResult<QueryExecution> {
    let sql = required(params, "QueryString")?;
    if sql.len() > SQL_BYTES_MAX {
        return Err(invalid(format!(
            "1 validation error detected: Value at 'queryString' failed to satisfy constraint: \
             Member must have length less than or equal to {SQL_BYTES_MAX}"
        )));
    }
    let requested_output = params["ResultConfiguration"]["OutputLocation"].as_str();
    let statement = Statement::of(sql);
    Ok(QueryExecution {
        sql: sql.to_owned(),
        statement,
        parameters: parameters(params)?,
        database: params["QueryExecutionContext"]["Database"].as_str().map(str::to_owned),
        catalog: params["QueryExecutionContext"]["Catalog"].as_str().map(str::to_owned),
        work_group: group_name.to_owned(),
        token: token(params, origin)?,
        requested_output: requested_output.map(str::to_owned),
        output: String::new(),
        state: "QUEUED".to_owned(),
        error: None,
        columns: vec![],
        submitted,
        started: None,
        completed: None,
        planning_ms: 0,
        engine_ms: 0,
        scanned_bytes: 0,
        using: None,
        prepared: None,
        rows: 0,
        update_count: None,
        manifest: None,
    })
}

fn parameters(params: &Value) -> ApiResult<Vec<String>> {
    let given = params["ExecutionParameters"].as_array().map_or(&[][..], Vec::as_slice);
    let texts: Vec<String> = given.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if texts.len() != given.len() || texts.len() > PARAMETERS_MAX {
        return Err(invalid(format!("ExecutionParameters must be at most {PARAMETERS_MAX} texts")));
    }
    Ok(texts)
}

/// SDKs make a token when the caller does not.
fn token(params: &Value, origin: Origin) -> ApiResult<String> {
    let constraint = |what: &str| {
        invalid(format!(
            "1 validation error detected: Value at 'clientRequestToken' failed to satisfy \
             constraint: Member must have length {what}"
        ))
    };
    match params["ClientRequestToken"].as_str() {
        None if origin == Origin::StateMachine => Ok(uuid::Uuid::new_v4().to_string()),
        None => Err(invalid("clientRequestToken is null or empty")),
        Some(token) if token.chars().count() < 32 => Err(constraint("greater than or equal to 32")),
        Some(token) if token.chars().count() > 128 => Err(constraint("less than or equal to 128")),
        Some(token) => Ok(token.to_owned()),
    }
}

/// Where the result goes. A group that enforces its settings overrides the request's.
fn output(id: &str, statement: Statement, params: &Value, group: &WorkGroup) -> ApiResult<String> {
    let requested = params["ResultConfiguration"]["OutputLocation"].as_str();
    let location = match (&group.output, requested) {
        (Some(own), _) if group.enforced => own,
        (_, Some(requested)) if !group.enforced => requested,
        (Some(own), _) => own,
        _ => {
            return Err(invalid(
                "No output location provided. You did not provide an output location for  your \
                 query results. Either specify an S3 bucket location or enable Athena managed \
                 query results in your workgroup settings.",
            ));
        }
    };
    let location = location.trim_end_matches('/');
    let name = match statement.written() {
        Written::Rows => format!("{id}.csv"),
        Written::Lines => format!("{id}.txt"),
        Written::Elsewhere => id.to_owned(),
        Written::Table => format!("tables/{id}"),
    };
    // A whole bucket is a place as good as any for results.
    let object = S3Object::parse(&format!("{location}/{name}"));
    let object =
        object.map_err(|e| invalid(format!("outputLocation is not a valid S3 path. {e}")))?;
    Ok(object.to_string())
}

/// The execution of an equal request with the same token.
fn former(cloud: &Cloud, new: &QueryExecution) -> ApiResult<Option<String>> {
    let mut all = cloud.services.athena.queries.texts(["token"]).into_iter();
    let same = all.find(|(_, [token])| token.as_deref() == Some(&new.token));
    let found = same.and_then(|(id, _)| Some((cloud.services.athena.queries.get(&id)?, id)));
    let Some((former, id)) = found else { return Ok(None) };
    let equal = former.sql == new.sql
        && former.database == new.database
        && former.catalog == new.catalog
        && former.requested_output == new.requested_output;
    if equal { Ok(Some(id)) } else { Err(invalid("Idempotent parameters do not match")) }
}

fn check_bucket(cloud: &Cloud, caller: &Caller, output: &str) -> ApiResult<()> {
    let object = S3Object::parse(output).map_err(|e| invalid(e.to_string()))?;
    let bucket = object.bucket;
    let unusable = || invalid(format!("Unable to verify/create output bucket {bucket}"));
    let arn = format!("arn:aws:s3:::{bucket}");
    cloud.authorize(caller, "s3:GetBucketLocation", &arn, &[]).map_err(|_| unusable())?;
    cloud.services.s3.get(&bucket).map(|_| ()).map_err(|_| unusable())
}

/// Records the execution, unless an equal one came in between or too many wait.
fn admit(cloud: &Cloud, id: &str, execution: QueryExecution) -> ApiResult<Option<String>> {
    let _admission = cloud.engines.admission();
    if let Some(former) = former(cloud, &execution)? {
        return Ok(Some(former));
    }
    let all = cloud.services.athena.queries.all();
    if all.iter().filter(|(_, e)| e.completed.is_none()).count() >= UNFINISHED_MAX {
        return Err(ApiError::new(
            "TooManyRequestsException",
            "You have exceeded the limit for the number of queries you can run concurrently. \
             Reduce the number of concurrent queries submitted by this account. Contact AWS \
             support to request an increase.",
        ));
    }
    let ended = all.into_iter().filter_map(|(id, e)| Some((e.completed?, id))).collect();
    for oldest in KEPT.surplus(ended, cloud.clock.now()) {
        cloud.services.athena.queries.remove(&oldest)?;
    }
    cloud.services.athena.queries.put(id, execution)?;
    Ok(None)
}

/// Stops a query that has not ended; its engine is killed with it.
pub fn stop(cloud: &Cloud, id: &str) {
    cloud.engines.stop(id);
    finish(cloud, id, Err(cancelled(CANCELLED)));
}

/// Ends what a cloud that is no more left at work.
pub fn end_orphans(cloud: &Cloud) {
    for (id, execution) in cloud.services.athena.queries.all() {
        if execution.completed.is_none() {
            finish(cloud, &id, Err(failed(STOPPED_WITH_CLOUD)));
        }
    }
}

fn failed(message: impl Into<String>) -> QueryFailure {
    QueryFailure { kind: FailureKind::Failed, message: message.into() }
}

fn cancelled(message: impl Into<String>) -> QueryFailure {
    QueryFailure { kind: FailureKind::Cancelled, message: message.into() }
}

fn settle(cloud: &Cloud, id: &str, result: Result<Result<QueryResult, QueryFailure>, String>) {
    let result = result.unwrap_or_else(|e| Err(failed(format!("GENERIC_INTERNAL_ERROR: {e}"))));
    finish(cloud, id, result);
}

/// A query ends once: what comes later changes nothing.
fn finish(cloud: &Cloud, id: &str, result: Result<QueryResult, QueryFailure>) {
    cloud.services.athena.queries.settle(id, |execution| {
        if execution.completed.is_some() {
            return;
        }
        execution.completed = Some(cloud.clock.now());
        match result {
            Ok(result) => {
                execution.state = "SUCCEEDED".to_owned();
                execution.columns = result.columns;
                execution.planning_ms = result.planning_ms;
                execution.engine_ms = result.engine_ms;
                execution.scanned_bytes = result.scanned_bytes;
                execution.rows = result.rows;
                execution.update_count = result.update_count;
                execution.manifest = result.manifest;
            }
            Err(failure) => {
                let state =
                    if failure.kind == FailureKind::Cancelled { "CANCELLED" } else { "FAILED" };
                execution.state = state.to_owned();
                execution.error = Some(failure.message);
            }
        }
    });
}

struct Work {
    cloud: Arc<Cloud>,
    caller: Caller,
    id: String,
    work_group: String,
    query: Query,
}

/// An engine that has read its statement.
struct Read {
    engine: Engine,
    needs: Needs,
}

impl Work {
    /// Waits for a free engine first.
    async fn wait(self) -> Result<QueryResult, QueryFailure> {
        let places = self.cloud.engines.queries.clone();
        let place = places.acquire_owned().await.map_err(|e| failed(e.to_string()))?;
        let read = self.read().await?;
        self.run(read, place).await
    }

    /// Lets an engine read the statement.
    async fn read(&self) -> Result<Read, QueryFailure> {
        self.cloud.services.athena.queries.settle(&self.id, |execution| {
            if execution.completed.is_none() {
                execution.state = "RUNNING".to_owned();
                execution.started = Some(self.cloud.clock.now());
            }
        });
        let mut engine = Engine::start(&self.cloud, &self.caller, &["query"]).map_err(failed)?;
        engine.say(&self.query).await.map_err(failed)?;
        match hear(&mut engine).await? {
            Some(Said::Needs(needs)) => Ok(Read { engine, needs }),
            Some(Said::Failed(failure)) => Err(failure),
            Some(Said::Done(_) | Said::Call(_)) | None => Err(broken(engine).await),
        }
    }

    /// The rest, as long as a query may take.
    async fn run(
        self,
        read: Read,
        _place: OwnedSemaphorePermit,
    ) -> Result<QueryResult, QueryFailure> {
        let answer = tokio::time::timeout(self.cloud.limits.query_time, self.answer(read));
        answer.await.unwrap_or_else(|_| Err(failed("Query timeout")))
    }

    async fn answer(&self, read: Read) -> Result<QueryResult, QueryFailure> {
        let Read { mut engine, needs } = read;
        self.authorize_output()?;
        let mut needs = Some(needs);
        loop {
            if let Some(needs) = needs.take() {
                let visible = catalogue::visible(&self.cloud, &self.caller, &needs);
                engine.say(&visible.map_err(denied)?).await.map_err(failed)?;
            }
            match hear(&mut engine).await? {
                Some(Said::Needs(more)) => needs = Some(more),
                Some(Said::Call(asked)) => {
                    let called = self.call(asked).await?;
                    engine.say(&called).await.map_err(failed)?;
                }
                Some(Said::Done(result)) => return Ok(result),
                Some(Said::Failed(failure)) => return Err(failure),
                None => return Err(broken(engine).await),
            }
        }
    }

    /// Makes a call of an API for the caller. One that was stopped calls nothing more.
    async fn call(&self, asked: Asked) -> Result<Called, QueryFailure> {
        let Asked { service, operation, mut input } = asked;
        let service = match service {
            Service::Glue => "glue",
            Service::Athena => {
                input["WorkGroup"] = self.work_group.clone().into();
                "athena"
            }
        };
        let called = service::call(&self.cloud, &self.caller, service, &operation, &input).await;
        match called {
            Err(error) if error.code == "AccessDeniedException" => Err(denied(error)),
            called => {
                Ok(called.map_err(|ApiError { code, message, .. }| CallError { code, message }))
            }
        }
    }

    /// What Athena needs to write a result.
    fn authorize_output(&self) -> Result<(), QueryFailure> {
        let output = &self.query.output;
        let object = S3Object::parse(output).map_err(|e| failed(e.to_string()))?;
        let bucket = format!("arn:aws:s3:::{}", object.bucket);
        let key = format!("{bucket}/{}", object.key);
        let needed = [
            ("s3:ListBucket", &bucket),
            ("s3:ListBucketMultipartUploads", &bucket),
            ("s3:PutObject", &key),
            ("s3:AbortMultipartUpload", &key),
            ("s3:ListMultipartUploadParts", &key),
        ];
        for (action, resource) in needed {
            self.cloud.authorize(&self.caller, action, resource, &[]).map_err(|e| {
                failed(format!(
                    "Access denied when writing output to url: {output} . Please ensure you are \
                     allowed to access the S3 bucket. {}",
                    e.message
                ))
            })?;
        }
        Ok(())
    }
}

fn denied(error: ApiError) -> QueryFailure {
    failed(format!("Insufficient permissions to execute the query. {}", error.message))
}

async fn hear(engine: &mut Engine) -> Result<Option<Said>, QueryFailure> {
    let Some(line) = engine.hear().await.map_err(failed)? else { return Ok(None) };
    let said = serde_json::from_str(&line);
    said.map(Some).map_err(|e| failed(format!("the engine's answer cannot be read: {e}")))
}

/// Why an engine ended without an answer. One that the system ended had too little memory or stack.
async fn broken(engine: Engine) -> QueryFailure {
    match engine.end().await {
        Ok(ended) if ended.was_stopped() => failed(ended.reason()),
        Ok(ended) if ended.status.code().is_none() => {
            tracing::warn!("{}", ended.reason());
            failed(EXHAUSTED)
        }
        Ok(ended) => failed(format!("GENERIC_INTERNAL_ERROR: {}", ended.reason())),
        Err(error) => failed(format!("GENERIC_INTERNAL_ERROR: {error}")),
    }
}
