//! Databases and tables of the catalogue.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{
    api_time, facts, folded, json as shown_json, link, maybe_time, of, section, text, time,
};
use super::links::{of_s3, to};
use super::table::{onward, paged, table as shown_table};

/// All databases.
pub async fn databases(ask: &Ask) -> Result<Answer, Problem> {
    let glue = &ask.cloud.services.glue;
    let (databases, pager) = paged(ask, "databases", glue.databases.all());
    let rows: Vec<Vec<Markup>> = databases
        .iter()
        .map(|(name, database)| {
            let tables = glue.tables.names(&format!("{name}.")).len();
            vec![
                link(&to("database", &[("name", name)]), name),
                text(&database.description),
                text(&tables.to_string()),
                time(database.created),
            ]
        })
        .collect();
    let body = html! {
        (shown_table("Databases", &["Name", "Description", "#Tables", "Created"], &rows))
        (pager)
    };
    Ok(Page::new("Databases", body).into())
}

/// `s3://…` as a link to what is there.
fn location(descriptor: &Value) -> Markup {
    let place = descriptor["Location"].as_str().unwrap_or_default();
    let folder = if place.is_empty() || place.ends_with('/') {
        place.to_owned()
    } else {
        format!("{place}/")
    };
    of_s3(&folder).map_or_else(|| text(place), |address| link(&address, place))
}

/// One database.
pub async fn database(ask: &Ask) -> Result<Answer, Problem> {
    let name = ask.required("name")?;
    let glue = &ask.cloud.services.glue;
    let database = glue
        .databases
        .get(name)
        .ok_or_else(|| Problem::absent(format!("There is no database {name}.")))?;
    let (tables, pager) =
        paged(ask, "database", crate::services::glue::tables_of(&ask.cloud, name));
    let rows: Vec<Vec<Markup>> = tables
        .iter()
        .map(|table| {
            let address = to("table", &[("database", name), ("name", &table.name)]);
            let columns =
                table.input["StorageDescriptor"]["Columns"].as_array().map_or(0, Vec::len);
            vec![
                link(&address, &table.name),
                of(&table.input["TableType"]),
                text(&columns.to_string()),
                location(&table.input["StorageDescriptor"]),
                time(table.created),
            ]
        })
        .collect();
    let body = html! {
        (facts(vec![
            ("Description", text(&database.description)),
            ("Location", location(&json!({ "Location": database.input["LocationUri"] }))),
            ("Created", time(database.created)),
        ]))
        p.actions { (link(&to("sql", &[("database", name)]), "Query with SQL")) }
        (section("Tables", &html! {
            (shown_table("Tables", &["Name", "Kind", "#Columns", "Location", "Created"], &rows))
            (pager)
        }))
    };
    Ok(Page::new(name, body).below("Databases", to("databases", &[])).into())
}

fn columns(input: &Value) -> Markup {
    let row = |column: &Value, role: &str| {
        vec![of(&column["Name"]), of(&column["Type"]), text(role), of(&column["Comment"])]
    };
    let own = input["StorageDescriptor"]["Columns"].as_array().into_iter().flatten();
    let keys = input["PartitionKeys"].as_array().into_iter().flatten();
    let rows: Vec<Vec<Markup>> =
        own.map(|c| row(c, "")).chain(keys.map(|c| row(c, "partition key"))).collect();
    shown_table("Columns", &["Name", "Type", "Role", "Comment"], &rows)
}

/// One table.
pub async fn table(ask: &Ask) -> Result<Answer, Problem> {
    let (database, name) = (ask.required("database")?, ask.required("name")?);
    let found = crate::services::glue::find_table(&ask.cloud, database, name);
    let found =
        found.ok_or_else(|| Problem::absent(format!("There is no table {database}.{name}.")))?;
    let descriptor = &found.input["StorageDescriptor"];
    let has_keys = found.input["PartitionKeys"].as_array().is_some_and(|keys| !keys.is_empty());
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let sql = format!("SELECT * FROM {} LIMIT 100", quoted(name));
    let body = html! {
        (facts(vec![
            ("Description", of(&found.input["Description"])),
            ("Kind", of(&found.input["TableType"])),
            ("Location", location(descriptor)),
            ("Serialization", of(&descriptor["SerdeInfo"]["SerializationLibrary"])),
            ("Input format", of(&descriptor["InputFormat"])),
            ("Created", time(found.created)),
            ("Changed", maybe_time(found.updated)),
            ("Version", text(&found.version.to_string())),
        ]))
        p.actions { (link(&to("sql", &[("database", database), ("sql", &sql)]), "Query with SQL")) }
        (section("Columns", &columns(&found.input)))
        @if has_keys {
            (section("Partitions", &partitions(ask, database, name, &found.input).await?))
        }
        @if !found.input["Parameters"].is_null() {
            (folded("Parameters", &shown_json("Parameters", &found.input["Parameters"])))
        }
        @if let Some(view) = found.input["ViewOriginalText"].as_str() {
            (folded("View", &super::html::code("View", view)))
        }
    };
    let page = Page::new(name, body).below("Databases", to("databases", &[]));
    Ok(page.below(database, to("database", &[("name", database)])).into())
}

async fn partitions(
    ask: &Ask,
    database: &str,
    name: &str,
    input: &Value,
) -> Result<Markup, Problem> {
    let params = json!({
        "DatabaseName": database, "TableName": name, "MaxResults": 100,
        "NextToken": ask.text("partitions"),
    });
    let answer = ask.read("glue", "GetPartitions", params).await?;
    let keys: Vec<&str> = input["PartitionKeys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|key| key["Name"].as_str())
        .collect();
    let values = |partition: &Value| {
        let values = partition["Values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let pairs = keys.iter().zip(values).map(|(key, value)| format!("{key}={value}"));
        text(&pairs.collect::<Vec<_>>().join(", "))
    };
    let rows: Vec<Vec<Markup>> = answer["Partitions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| vec![values(p), location(&p["StorageDescriptor"]), api_time(&p["CreationTime"])])
        .collect();
    Ok(html! {
        (shown_table("Partitions", &["Values", "Location", "Created"], &rows))
        (onward(ask, "table", "partitions", answer["NextToken"].as_str()))
    })
}
