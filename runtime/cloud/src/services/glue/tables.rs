//! Tables of the catalogue and their versions, made and changed by the API.
//!
//! A table has its first version from the moment it is made; a change makes another one unless the
//! request says `SkipArchive`. Names are in lower case, as Glue stores them.
//!
//! <https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-catalog-tables.html>

use std::sync::Arc;

use jiff::Timestamp;
use regex::Regex;
use serde_json::{Value, json};

use super::versions::{self, Archive};
use super::{
    Database, PAGES, Table, authorize, check_catalog, check_table_input, delete_table, find_table,
    invalid, lower, not_found, tables_of,
};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::required;

/// Tables of one batch.
const BATCH_MAX: usize = 100;

/// `CreateTable`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    let database = &lower(params, "DatabaseName")?;
    let (name, input) = checked_input(&params["TableInput"])?;
    authorize(cloud, caller, "glue:CreateTable", Some(database), Some(&name))?;
    existing(cloud, database)?;
    let table = Table::new(database, &name, input);
    if !cloud.services.glue.tables.create(&format!("{database}.{name}"), table)? {
        return Err(ApiError::new("AlreadyExistsException", "Table already exists."));
    }
    Ok(json!({}))
}

/// `UpdateTable`.
pub fn update(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    let database = &lower(params, "DatabaseName")?;
    let (name, input) = checked_input(&params["TableInput"])?;
    authorize(cloud, caller, "glue:UpdateTable", Some(database), Some(&name))?;
    existing(cloud, database)?;
    let archive = if params["SkipArchive"] == true { Archive::Skip } else { Archive::Keep };
    let expected = params["VersionId"].as_str();
    versions::change(cloud, database, &name, archive, |former| {
        let former = former.ok_or_else(|| not_found("Table", &name))?;
        match expected {
            Some(version) if version != former.version.to_string() => Err(ApiError::new(
                "ConcurrentModificationException",
                "Update table failed due to concurrent modifications.",
            )),
            _ => Ok(input),
        }
    })?;
    Ok(json!({}))
}

/// `DeleteTable`, with its partitions and versions.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    let (database, name) = (&lower(params, "DatabaseName")?, &lower(params, "Name")?);
    authorize(cloud, caller, "glue:DeleteTable", Some(database), Some(name))?;
    existing(cloud, database)?;
    find_table(cloud, database, name).ok_or_else(|| not_found("Table", name))?;
    delete_table(cloud, database, name)?;
    Ok(json!({}))
}

/// `BatchDeleteTable`.
pub fn batch_delete(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    let database = &lower(params, "DatabaseName")?;
    let names = super::texts(params, "TablesToDelete")?;
    let names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    if names.len() > BATCH_MAX {
        return Err(invalid(format!("TablesToDelete has more than {BATCH_MAX} names.")));
    }
    for name in &names {
        authorize(cloud, caller, "glue:BatchDeleteTable", Some(database), Some(name))?;
    }
    existing(cloud, database)?;
    let mut errors = vec![];
    for name in names {
        if find_table(cloud, database, &name).is_some() {
            delete_table(cloud, database, &name)?;
            continue;
        }
        let message = format!("Table {name} not found.");
        errors.push(json!({
            "TableName": name,
            "ErrorDetail": { "ErrorCode": "EntityNotFoundException", "ErrorMessage": message },
        }));
    }
    Ok(json!({ "Errors": errors }))
}

/// `GetTable`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    let (database, name) = (&lower(params, "DatabaseName")?, &lower(params, "Name")?);
    authorize(cloud, caller, "glue:GetTable", Some(database), Some(name))?;
    existing(cloud, database)?;
    let table = find_table(cloud, database, name).ok_or_else(|| not_found("Table", name))?;
    Ok(json!({ "Table": described(cloud, &table) }))
}

/// `GetTables`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    let database = &lower(params, "DatabaseName")?;
    authorize(cloud, caller, "glue:GetTables", Some(database), Some("*"))?;
    existing(cloud, database)?;
    let wanted = pattern(params["Expression"].as_str())?;
    let tables = tables_of(cloud, database);
    let tables = tables.iter().filter(|table| wanted.is_match(&table.name));
    PAGES.answer(params, "TableList", tables.map(|table| described(cloud, table)).collect())
}

/// `SearchTables`: tables of all databases that the caller may list, by a text in them and by
/// filters of their members.
pub fn search(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    authorize(cloud, caller, "glue:SearchTables", None, None)?;
    let text = params["SearchText"].as_str().unwrap_or_default().to_lowercase();
    let exact = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let filters = filters(&params["Filters"])?;
    let mut found = vec![];
    for (database, _) in cloud.services.glue.databases.all() {
        let listed = authorize(cloud, caller, "glue:GetTables", Some(&database), Some("*"));
        if listed.is_err() {
            continue;
        }
        found.extend(tables_of(cloud, &database).into_iter().filter(|table| {
            let is_named = match exact {
                Some(exact) => words_of(table).iter().any(|word| word == exact),
                None => words_of(table).iter().any(|word| word.contains(&text)),
            };
            is_named && filters.iter().all(|filter| filter.admits(table))
        }));
    }
    sort(&mut found, &params["SortCriteria"])?;
    PAGES.answer(params, "TableList", found.iter().map(|t| described(cloud, t)).collect())
}

/// What a text is looked for in: the table's names, words and columns.
fn words_of(table: &Table) -> Vec<String> {
    let columns = ["/StorageDescriptor/Columns", "/PartitionKeys"];
    let columns = columns.into_iter().filter_map(|at| table.input.pointer(at)?.as_array());
    let columns = columns.flatten().map(|column| &column["Name"]);
    let own = [&table.input["Description"], &table.input["Owner"]];
    let texts = own.into_iter().chain(columns).filter_map(Value::as_str).map(str::to_lowercase);
    [table.name.clone(), table.database.clone()].into_iter().chain(texts).collect()
}

struct Filter {
    key: String,
    value: String,
}

impl Filter {
    fn admits(&self, table: &Table) -> bool {
        let member = match self.key.as_str() {
            "DatabaseName" => Some(table.database.as_str()),
            "Name" => Some(table.name.as_str()),
            "TableType" | "Owner" | "Description" => table.input[self.key.as_str()].as_str(),
            other => table.input["Parameters"][other].as_str(),
        };
        member.is_some_and(|member| member.eq_ignore_ascii_case(&self.value))
    }
}

/// Filters by equality: of a name, the owner, or a parameter.
fn filters(given: &Value) -> ApiResult<Vec<Filter>> {
    let mut filters = vec![];
    for filter in given.as_array().into_iter().flatten() {
        if !filter["Comparator"].is_null() && filter["Comparator"] != "EQUALS" {
            let what = "Filters.Comparator other than EQUALS";
            return Err(ApiError::unknown_parameter(what, "glue:SearchTables"));
        }
        let text = |member: &str| required(filter, member).map(str::to_owned);
        filters.push(Filter { key: text("Key")?, value: text("Value")? });
    }
    Ok(filters)
}

fn sort(tables: &mut [Arc<Table>], criteria: &Value) -> ApiResult<()> {
    let criteria = criteria.as_array().map_or(&[][..], Vec::as_slice);
    let Some(first) = criteria.first() else { return Ok(()) };
    match first["FieldName"].as_str() {
        Some("Name" | "TableName") => tables.sort_by(|one, other| one.name.cmp(&other.name)),
        Some("DatabaseName") => tables.sort_by(|one, other| one.database.cmp(&other.database)),
        _ => {
            let what = "SortCriteria other than by Name or DatabaseName";
            return Err(ApiError::unknown_parameter(what, "glue:SearchTables"));
        }
    }
    if first["Sort"] == "DESC" {
        tables.reverse();
    }
    Ok(())
}

/// `GetPartitionIndexes`: no table has any.
pub fn indexes(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    let (database, name) = (&lower(params, "DatabaseName")?, &lower(params, "TableName")?);
    authorize(cloud, caller, &call.action(), Some(database), Some(name))?;
    find_table(cloud, database, name).ok_or_else(|| not_found("Table", name))?;
    Ok(json!({ "PartitionIndexDescriptorList": [] }))
}

/// A pattern of names: `*` stands for anything, as in Hive; `.*` says the same as an expression.
pub fn pattern(expression: Option<&str>) -> ApiResult<Regex> {
    let Some(expression) = expression else {
        return Regex::new("").map_err(ApiError::internal);
    };
    let mut written = String::new();
    let mut before = ' ';
    for character in expression.chars() {
        if character == '*' && !matches!(before, '.' | ']' | ')' | '\\') {
            written.push('.');
        }
        written.push(character);
        before = character;
    }
    Regex::new(&format!("(?i)^(?:{written})$"))
        .map_err(|_| invalid(format!("The expression `{expression}` is not a pattern.")))
}

/// The database, or Glue's words when it is not there.
fn existing(cloud: &Cloud, database: &str) -> ApiResult<Arc<Database>> {
    cloud.services.glue.databases.get(database).ok_or_else(|| not_found("Database", database))
}

/// The name in lower case, and the input with it.
fn checked_input(input: &Value) -> ApiResult<(String, Value)> {
    let name = required(input, "Name")?.to_lowercase();
    check_table_input(input).map_err(|what| {
        invalid(what.strip_prefix("InvalidInputException: ").unwrap_or(&what).to_owned())
    })?;
    let mut names = std::collections::BTreeSet::new();
    for at in ["/StorageDescriptor/Columns", "/PartitionKeys"] {
        for column in input.pointer(at).and_then(Value::as_array).into_iter().flatten() {
            let name = required(column, "Name")?.to_lowercase();
            if !names.insert(name.clone()) {
                return Err(invalid(format!("Duplicate column name: {name}")));
            }
        }
    }
    let mut input = input.clone();
    input["Name"] = name.clone().into();
    Ok((name, input))
}

/// A table as the API shows it.
pub fn described(cloud: &Cloud, table: &Table) -> Value {
    let mut shown = table.input.clone();
    shown["Name"] = table.name.clone().into();
    shown["DatabaseName"] = table.database.clone().into();
    shown["CreateTime"] = epoch_secs(table.created).into();
    shown["UpdateTime"] = epoch_secs(table.updated.unwrap_or(table.created)).into();
    shown["CatalogId"] = cloud.config.account.clone().into();
    shown["IsRegisteredWithLakeFormation"] = false.into();
    shown["VersionId"] = table.version.to_string().into();
    shown
}

impl Table {
    /// A table that is made now.
    pub fn new(database: &str, name: &str, input: Value) -> Self {
        let (database, name) = (database.to_owned(), name.to_owned());
        Self { database, name, input, created: Timestamp::now(), updated: None, version: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_a_whole_and_by_stars() {
        let matches = |expression: &str, name: &str| {
            pattern(Some(expression)).expect("a pattern").is_match(name)
        };
        assert!(matches("sales*", "sales_2024") && matches("*2024", "sales_2024"));
        assert!(matches("sales.*", "sales_2024") && matches("a|b", "b"));
        assert!(!matches("sales", "sales_2024") && !matches("[ab]*", "c"));
        assert!(pattern(Some("(")).is_err() && pattern(None).expect("all").is_match("x"));
    }
}
