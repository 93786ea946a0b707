//! What a crawler is to do, read from its members.

use serde_json::{Value, json};
use steppe_wire::crawl::{Crawl, Target};
use steppe_wire::place::S3Place;

use crate::kernel::cloud::Cloud;

/// The only way in which a target is crawled again here.
pub const RECRAWL: &str = "CRAWL_EVERYTHING";
/// Characters of a prefix; the API has 128, the crawler fewer.
const PREFIX_CHARS_MAX: usize = 64;

/// A crawler's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name or ARN.
    pub role: String,
    /// Where tables are written.
    pub database: String,
    /// What names of tables begin with.
    pub prefix: String,
    /// What to look at.
    pub crawl: Crawl,
    /// What to do with a table that has changed.
    pub update: Update,
    /// What to do with one whose files are gone.
    pub delete: Delete,
    /// Whether partitions have the schema of their table instead of their own.
    pub inherit: bool,
}

/// What becomes of a table that was found to have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Nothing; the log tells.
    Log,
    /// It is written anew.
    InDatabase,
    /// It gets the columns that it has not, and nothing else.
    NewColumns,
}

/// What becomes of a table whose files are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delete {
    /// Nothing; the log tells.
    Log,
    /// It is deleted.
    FromDatabase,
    /// It is marked.
    Deprecate,
}

/// The policy as it is shown: defaults where it says nothing.
pub fn schema_changes(members: &Value) -> Value {
    let given = &members["SchemaChangePolicy"];
    let or = |name: &str, default: &str| given[name].as_str().unwrap_or(default).to_owned();
    json!({
        "UpdateBehavior": or("UpdateBehavior", "UPDATE_IN_DATABASE"),
        "DeleteBehavior": or("DeleteBehavior", "DEPRECATE_IN_DATABASE"),
    })
}

impl Settings {
    /// Of members by the names of the API and of CloudFormation.
    pub fn of(members: &Value) -> Result<Self, String> {
        let text = |name: &str| members[name].as_str().unwrap_or_default().to_owned();
        let (role, database, prefix) = (text("Role"), text("DatabaseName"), text("TablePrefix"));
        if role.is_empty() {
            return Err("a crawler needs a Role".to_owned());
        }
        if database.is_empty() {
            let what = "the embedded cloud has no crawlers without DatabaseName";
            return Err(what.to_owned());
        }
        if prefix.chars().count() > PREFIX_CHARS_MAX {
            let what = format!("TablePrefix has more than {PREFIX_CHARS_MAX} characters");
            return Err(what);
        }
        let recrawl = &members["RecrawlPolicy"];
        only(recrawl, "RecrawlPolicy", &["RecrawlBehavior"])?;
        if recrawl["RecrawlBehavior"].as_str().is_some_and(|behavior| behavior != RECRAWL) {
            let what = "the embedded cloud does not implement RecrawlBehavior";
            return Err(format!("{what} {}", recrawl["RecrawlBehavior"]));
        }
        let configuration = Configuration::parse(members["Configuration"].as_str())?;
        let given = &members["SchemaChangePolicy"];
        only(given, "SchemaChangePolicy", &["UpdateBehavior", "DeleteBehavior"])?;
        let policy = schema_changes(members);
        let update = match policy["UpdateBehavior"].as_str() {
            _ if configuration.new_columns => Update::NewColumns,
            Some("LOG") => Update::Log,
            Some("UPDATE_IN_DATABASE") => Update::InDatabase,
            _ => return Err(format!("there is no UpdateBehavior {}", policy["UpdateBehavior"])),
        };
        let delete = match policy["DeleteBehavior"].as_str() {
            Some("LOG") => Delete::Log,
            Some("DELETE_FROM_DATABASE") => Delete::FromDatabase,
            Some("DEPRECATE_IN_DATABASE") => Delete::Deprecate,
            _ => return Err(format!("there is no DeleteBehavior {}", policy["DeleteBehavior"])),
        };
        let targets = targets(&members["Targets"])?;
        let crawl = Crawl { targets, combine: configuration.combine };
        let inherit = configuration.inherit;
        Ok(Self { role, database, prefix, crawl, update, delete, inherit })
    }

    /// ARN of the role, which may be named.
    pub fn role_arn(&self, cloud: &Cloud) -> String {
        match self.role.starts_with("arn:") {
            true => self.role.clone(),
            false => cloud.config.global_arn("iam", &format!("role/{}", self.role)),
        }
    }
}

/// Refuses members that nothing here acts on; one that is empty asks for nothing.
fn only(value: &Value, what: &str, members: &[&str]) -> Result<(), String> {
    let asks = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    let given = value.as_object().into_iter().flatten().filter(|(_, value)| asks(value));
    let mut others = given.map(|(name, _)| name).filter(|name| !members.contains(&name.as_str()));
    match others.next() {
        Some(name) => Err(format!("the embedded cloud does not implement {what}/{name}")),
        None => Ok(()),
    }
}

fn targets(given: &Value) -> Result<Vec<Target>, String> {
    only(given, "Targets", &["S3Targets"])?;
    let all = given["S3Targets"].as_array().map_or(&[][..], Vec::as_slice);
    if all.is_empty() {
        return Err("a crawler needs a target in S3".to_owned());
    }
    let target = |target: &Value| {
        only(target, "Targets/S3Targets", &["Path", "Exclusions"])?;
        let path = target["Path"].as_str().unwrap_or_default();
        let place = S3Place::parse(path).map_err(|error| format!("S3Targets: {error}"))?;
        let exclusions = target["Exclusions"].as_array().into_iter().flatten();
        let exclusions = exclusions.filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Target { path: place.to_string(), exclusions })
    };
    all.iter().map(target).collect()
}

/// <https://docs.aws.amazon.com/glue/latest/dg/crawler-configuration.html>
#[derive(Debug, Default, Clone, Copy)]
struct Configuration {
    combine: bool,
    inherit: bool,
    new_columns: bool,
}

impl Configuration {
    fn parse(text: Option<&str>) -> Result<Self, String> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Self::default()) };
        let odd = |error: serde_json::Error| format!("Configuration is no JSON: {error}");
        let given: Value = serde_json::from_str(text).map_err(odd)?;
        only(&given, "Configuration", &["Version", "Grouping", "CrawlerOutput"])?;
        if given["Version"].as_f64() != Some(1.0) {
            return Err("Configuration must have the Version 1.0".to_owned());
        }
        let (grouping, output) = (&given["Grouping"], &given["CrawlerOutput"]);
        only(grouping, "Configuration/Grouping", &["TableGroupingPolicy"])?;
        only(output, "Configuration/CrawlerOutput", &["Partitions", "Tables"])?;
        for kind in ["Partitions", "Tables"] {
            let what = format!("Configuration/CrawlerOutput/{kind}");
            only(&output[kind], &what, &["AddOrUpdateBehavior"])?;
        }
        let is = |value: &Value, only: &str| match value {
            Value::Null => Ok(false),
            value if value == only => Ok(true),
            other => Err(format!("the embedded cloud knows {only} in Configuration, not {other}")),
        };
        Ok(Self {
            combine: is(&grouping["TableGroupingPolicy"], "CombineCompatibleSchemas")?,
            inherit: is(&output["Partitions"]["AddOrUpdateBehavior"], "InheritFromTable")?,
            new_columns: is(&output["Tables"]["AddOrUpdateBehavior"], "MergeNewColumns")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(member: &str, value: Value) -> Result<Settings, String> {
        let mut members = json!({
            "Role": "crawl", "DatabaseName": "db",
            "Targets": { "S3Targets": [{ "Path": "s3://my-data/tables" }] },
        });
        members[member] = value;
        Settings::of(&members)
    }

    #[test]
    fn what_is_not_said_is_glues_default() {
        let settings = with("Description", json!("")).expect("settings");
        assert_eq!((settings.update, settings.delete), (Update::InDatabase, Delete::Deprecate));
        assert_eq!(settings.crawl.targets[0].path, "s3://my-data/tables/");
        assert!(!settings.crawl.combine && !settings.inherit);
        let configuration = r#"{"Version":1.0,"Grouping":{"TableGroupingPolicy":
            "CombineCompatibleSchemas"},"CrawlerOutput":{"Partitions":{"AddOrUpdateBehavior":
            "InheritFromTable"},"Tables":{"AddOrUpdateBehavior":"MergeNewColumns"}}}"#;
        let settings = with("Configuration", json!(configuration)).expect("settings");
        assert!(settings.crawl.combine && settings.inherit);
        assert_eq!(settings.update, Update::NewColumns);
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_name() {
        let s3 = |target: Value| json!({ "S3Targets": [target] });
        for (member, value, told) in [
            ("Targets", json!({ "JdbcTargets": [{}] }), "Targets/JdbcTargets"),
            ("Targets", s3(json!({ "Path": "s3://my-data/a", "SampleSize": 1 })), "SampleSize"),
            ("Targets", s3(json!({ "Path": "s3://my-data" })), "a whole bucket"),
            ("Targets", json!({ "S3Targets": [] }), "needs a target"),
            ("RecrawlPolicy", json!({ "RecrawlBehavior": "CRAWL_EVENT_MODE" }), "CRAWL_EVENT_MODE"),
            ("Configuration", json!("{}"), "Version 1.0"),
            ("Configuration", json!("x"), "no JSON"),
            (
                "Configuration",
                json!("{\"Version\":1.0,\"Grouping\":{\"TableLevelConfiguration\":2}}"),
                "Grouping/TableLevelConfiguration",
            ),
            ("SchemaChangePolicy", json!({ "UpdateBehavior": "X" }), "UpdateBehavior \"X\""),
            ("TablePrefix", json!("p".repeat(65)), "64 characters"),
            ("Role", json!(""), "needs a Role"),
        ] {
            let error = with(member, value).expect_err(told);
            assert!(error.contains(told), "{error}");
        }
    }
}
