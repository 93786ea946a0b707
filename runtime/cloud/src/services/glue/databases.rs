//! Databases of the catalogue, made and changed by the API.
//!
//! Names are in lower case, as Glue stores them. `CreateTableDefaultPermissions` may only be what
//! AWS writes there for accounts without Lake Formation; links and federated databases are refused
//! by name.
//!
//! <https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-catalog-databases.html>

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Database, PAGES, authorize, check_catalog, delete_database, invalid, lower, not_found,
};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::required;

/// `CreateDatabase`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    let (name, input) = checked_input(params)?;
    authorize(cloud, caller, "glue:CreateDatabase", Some(&name), None)?;
    let database = Database::new(input);
    if !cloud.services.glue.databases.create(&name, database)? {
        return Err(ApiError::new("AlreadyExistsException", "Database already exists."));
    }
    Ok(json!({}))
}

/// `UpdateDatabase`: the whole description is replaced, the name stays.
pub fn update(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    let name = &lower(params, "Name")?;
    let (new_name, input) = checked_input(params)?;
    authorize(cloud, caller, "glue:UpdateDatabase", Some(name), None)?;
    if new_name != *name {
        return Err(invalid("Database name cannot be changed."));
    }
    let changed = cloud.services.glue.databases.update(name, |database| {
        *database = Database { created: database.created, ..Database::new(input) };
    })?;
    changed.map(|()| json!({})).ok_or_else(|| not_found("Database", name))
}

/// `DeleteDatabase`, with all that is in it.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    let name = &lower(params, "Name")?;
    authorize(cloud, caller, "glue:DeleteDatabase", Some(name), Some("*"))?;
    if !cloud.services.glue.databases.contains(name) {
        return Err(not_found("Database", name));
    }
    delete_database(cloud, name)?;
    Ok(json!({}))
}

/// `GetDatabase`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    let name = &lower(params, "Name")?;
    authorize(cloud, caller, "glue:GetDatabase", Some(name), None)?;
    let found =
        cloud.services.glue.databases.get(name).ok_or_else(|| not_found("Database", name))?;
    Ok(json!({ "Database": described(cloud, name, &found) }))
}

/// `GetDatabases`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    authorize(cloud, caller, "glue:GetDatabases", Some("*"), None)?;
    let all = cloud.services.glue.databases.all();
    let all = all.iter().map(|(name, database)| described(cloud, name, database));
    PAGES.answer(params, "DatabaseList", all.collect())
}

impl Database {
    /// Of a `DatabaseInput`, now.
    pub fn new(input: Value) -> Self {
        let description = input["Description"].as_str().unwrap_or_default().to_owned();
        Self { description, created: Timestamp::now(), input }
    }
}

/// The name in lower case, and the input.
fn checked_input(params: &Value) -> ApiResult<(String, Value)> {
    let input = &params["DatabaseInput"];
    let name = required(input, "Name")?.to_lowercase();
    let default = default_permissions();
    let given = &input["CreateTableDefaultPermissions"];
    if !given.is_null() && *given != json!([]) && *given != default {
        let what = "CreateTableDefaultPermissions other than those of IAM_ALLOWED_PRINCIPALS";
        return Err(ApiError::unknown_parameter(what, "glue:DatabaseInput"));
    }
    Ok((name, input.clone()))
}

fn default_permissions() -> Value {
    json!([{
        "Principal": { "DataLakePrincipalIdentifier": "IAM_ALLOWED_PRINCIPALS" },
        "Permissions": ["ALL"],
    }])
}

fn described(cloud: &Cloud, name: &str, database: &Database) -> Value {
    let mut shown = json!({
        "Name": name, "CreateTime": epoch_secs(database.created),
        "CreateTableDefaultPermissions": default_permissions(), "CatalogId": cloud.config.account,
    });
    if !database.description.is_empty() {
        shown["Description"] = database.description.clone().into();
    }
    for member in ["LocationUri", "Parameters", "CreateTableDefaultPermissions"] {
        if !database.input[member].is_null() {
            shown[member] = database.input[member].clone();
        }
    }
    shown
}
