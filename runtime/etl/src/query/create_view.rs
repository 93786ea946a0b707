//! `CREATE VIEW`: a statement under a name, as Presto and Athena keep it in the catalogue.
//!
//! The table of a view has the type `VIRTUAL_VIEW`, the columns of the statement in Hive's types,
//! and as its text a document in base64: `/* Presto View: … */`, with the statement, catalogue,
//! database and columns in Trino's types. So other tools that read Athena's views read these.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion::arrow::datatypes::DataType;
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;
use serde_json::json;
use steppe_wire::query::QueryFailure;

use super::CATALOG;
use super::catalogue::trino_type;
use super::conversation::Conversation;
use super::failure::failed;
use super::hive::words::{TableName, Words};
use super::hive::{find_table, refused};
use super::statement::{Select, text_of};
use super::write::types::hive_type;

/// A view that is to be made.
pub struct NewView {
    /// Its name.
    pub view: TableName,
    /// Whether it may take the place of another one.
    replace: bool,
    /// What it is.
    comment: Option<String>,
    /// The statement, and as it is written.
    pub select: Select,
    sql: String,
    database: String,
}

impl NewView {
    /// `CREATE OR REPLACE VIEW name AS SELECT …`.
    pub fn parse(
        tokens: &[TokenWithSpan],
        sql: &str,
        database: &str,
    ) -> Result<Self, QueryFailure> {
        let mut words = Words::new(tokens);
        words.expect(&["CREATE"])?;
        let replace = words.keywords(&["OR", "REPLACE"]);
        words.expect(&["VIEW"])?;
        let view = words.table(database)?;
        let comment = words.keyword(&["COMMENT"]).then(|| words.expect_text()).transpose()?;
        if words.keyword(&["SECURITY"]) && !words.keyword(&["DEFINER"]) {
            return Err(words.unexpected("'DEFINER'"));
        }
        words.expect(&["AS"])?;
        let rest = words.rest();
        let inner = text_of(&rest, sql);
        let select = Select::parse(rest, database)?;
        Ok(Self { view, replace, comment, select, sql: inner, database: database.to_owned() })
    }

    /// Keeps it, with these columns.
    pub async fn store(
        &self,
        talk: &mut Conversation,
        columns: &[(String, DataType)],
    ) -> Result<(), QueryFailure> {
        let mut seen = BTreeSet::new();
        let (mut hive, mut trino) = (vec![], vec![]);
        for (at, (name, kind)) in columns.iter().enumerate() {
            if name.starts_with("_col") {
                return Err(failed(format!(
                    "MISSING_COLUMN_NAME: line 1:1: Column name not specified at position {}",
                    at + 1
                )));
            }
            if !seen.insert(name.to_lowercase()) {
                return Err(failed(format!(
                    "DUPLICATE_COLUMN_NAME: line 1:1: Column name '{name}' specified more than once"
                )));
            }
            let kind = hive_type(kind).map_err(|what| failed(format!("NOT_SUPPORTED: {what}")))?;
            hive.push(json!({ "Name": name.to_lowercase(), "Type": kind }));
            trino.push(json!({ "name": name.to_lowercase(), "type": trino_type(&kind) }));
        }
        let document = json!({
            "originalSql": self.sql, "catalog": CATALOG, "schema": self.database,
            "columns": trino, "runAsInvoker": false, "path": [],
        });
        let text = STANDARD.encode(document.to_string());
        let mut parameters = json!({ "comment": "Presto View", "presto_view": "true" });
        if let Some(comment) = &self.comment {
            parameters["comment"] = comment.clone().into();
        }
        let input = json!({
            "Name": self.view.name, "TableType": "VIRTUAL_VIEW", "Parameters": parameters,
            "PartitionKeys": [], "ViewOriginalText": format!("/* Presto View: {text} */"),
            "ViewExpandedText": "/* Presto View */",
            "StorageDescriptor": { "Columns": hive, "SerdeInfo": {} },
        });
        let former = find_table(talk, &self.view).await?;
        let is_view = former.as_ref().is_some_and(|t| t["TableType"] == "VIRTUAL_VIEW");
        let operation = match former {
            None => "CreateTable",
            Some(_) if is_view && self.replace => "UpdateTable",
            Some(_) if is_view => {
                let what = format!("View already exists: '{CATALOG}.{}'", self.view);
                return Err(failed(format!("ALREADY_EXISTS: line 1:1: {what}")));
            }
            Some(_) => {
                let what = format!("Table already exists: '{CATALOG}.{}'", self.view);
                return Err(failed(format!("TABLE_ALREADY_EXISTS: line 1:1: {what}")));
            }
        };
        let input = json!({ "DatabaseName": self.view.database, "TableInput": input });
        match talk.glue(operation, input).await? {
            Ok(_) => Ok(()),
            Err(error) if error.code == "EntityNotFoundException" => Err(failed(format!(
                "SCHEMA_NOT_FOUND: line 1:1: Schema '{}' does not exist",
                self.view.database
            ))),
            Err(error) => Err(refused(&error)),
        }
    }
}
