//! An embedded cloud with a bucket, a database and its tables, for tests of jobs and queries.

use std::ops::Deref;
use std::time::Duration;

use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::Limits;
use steppe_cloud::kernel::error::ApiError;
use steppe_cloud::kernel::identity::Caller;
use steppe_cloud::kernel::service;
use steppe_cloud::services::iam::Role;
use steppe_cloud::services::{athena, glue};

use crate::serving::Serving;

/// The bucket of everything.
pub const BUCKET: &str = "my-data";
/// The database.
pub const DATABASE: &str = "db";
/// A work group that enforces its place for results.
pub const GROUP: &str = "group";

/// A cloud that serves on a port of its own until it is dropped.
pub struct Catalogued(Serving);

impl Deref for Catalogued {
    type Target = Serving;
    fn deref(&self) -> &Serving {
        &self.0
    }
}

/// A table's input as CloudFormation gives it.
pub fn table_input(name: &str, serde: &str, columns: &[(&str, &str)]) -> Value {
    let columns: Vec<Value> =
        columns.iter().map(|(name, kind)| json!({ "Name": name, "Type": kind })).collect();
    json!({
        "Name": name, "TableType": "EXTERNAL_TABLE",
        "StorageDescriptor": {
            "Location": format!("s3://{BUCKET}/{name}/"), "Columns": columns,
            "SerdeInfo": { "SerializationLibrary": serde },
        },
    })
}

/// Name of the SerDe of CSV.
pub const CSV: &str = "org.apache.hadoop.hive.serde2.OpenCSVSerde";
/// Name of the SerDe of JSON.
pub const JSON: &str = "org.openx.data.jsonserde.JsonSerDe";

impl Catalogued {
    /// With a table `raw` of three records and a table `typed` of two.
    pub async fn start() -> Self {
        Self::limited(Limits::default()).await
    }

    /// The same with other limits.
    pub async fn limited(limits: Limits) -> Self {
        let own = Self(Serving::limited(limits).await);
        own.fill();
        own
    }

    fn fill(&self) {
        self.cloud.services.s3.create(BUCKET, Value::Null).expect("a bucket");
        let database = glue::Database::new(Value::Null);
        self.cloud.services.glue.databases.put(DATABASE, database).expect("stored");
        let mut raw = table_input("raw", CSV, &[("region", "string"), ("year", "string")]);
        raw["Parameters"] = json!({ "skip.header.line.count": "1" });
        self.table("raw", raw);
        let columns = [
            ("name", "string"),
            ("at", "timestamp"),
            ("day", "date"),
            ("value", "double"),
            ("count", "int"),
            ("flag", "boolean"),
            ("steps", "array<struct<step:int,value:double>>"),
        ];
        self.table("typed", table_input("typed", JSON, &columns));
        self.object("raw/a.csv", b"region,year\nA,2000\n\"B, x\",\n,2001\n");
        self.object(
            "typed/a.json",
            b"{\"name\":\"x\",\"at\":\"2001-08-01T00:00:00\",\"day\":\"2001-08-22\",\
              \"value\":12345678.5,\"count\":1,\"flag\":true,\
              \"steps\":[{\"step\":1,\"value\":1.0},{\"step\":2}]}\n{\"name\":null}\n",
        );
        let group = json!({ "WorkGroupConfiguration": {
            "ResultConfiguration": { "OutputLocation": format!("s3://{BUCKET}/athena/") },
        } });
        self.group(GROUP, &group);
    }

    /// Makes a table.
    pub fn table(&self, name: &str, input: Value) {
        let table = glue::Table::new(DATABASE, name, input);
        self.cloud.services.glue.tables.put(&format!("{DATABASE}.{name}"), table).expect("stored");
    }

    /// Makes a work group of CloudFormation's properties.
    pub fn group(&self, name: &str, properties: &Value) {
        let group = athena::WorkGroup::from_properties(properties).expect("a work group");
        self.cloud.services.athena.work_groups.put(name, group).expect("stored");
    }

    /// Makes an object.
    /// A topic without subscribers.
    pub fn topic(&self, name: &str) {
        let topic = serde_json::from_value(json!({ "display_name": "", "subscriptions": [] }));
        let arn = self.cloud.config.arn("sns", name);
        self.cloud.services.sns.topics.put(&arn, topic.expect("a topic")).expect("stored");
    }

    pub fn object(&self, key: &str, bytes: &[u8]) {
        self.cloud.services.s3.put_bytes(BUCKET, key, bytes).expect("stored");
    }

    /// Keys of all objects.
    pub fn keys(&self) -> Vec<String> {
        let objects = self.cloud.services.s3.objects(BUCKET).expect("the bucket");
        objects.all().into_iter().map(|(key, _)| key).collect()
    }

    /// The administrator.
    pub fn administrator(&self) -> Caller {
        self.cloud.identities.administrator()
    }

    /// A role with these permissions, in a service that it trusts.
    pub fn role(&self, name: &str, service: &str, statements: &Value) -> Caller {
        let role = Role {
            id: format!("AROA{name}"),
            trust: json!({ "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": { "Service": service }, "Action": "sts:AssumeRole",
            }] }),
            policies: vec![(
                "p".to_owned(),
                json!({ "Version": "2012-10-17", "Statement": statements }),
            )],
            tags: Value::Null,
            created: jiff::Timestamp::now(),
            description: None,
            session_secs_max: 3_600,
            attached: vec![],
            boundary: None,
        };
        let id = role.id.clone();
        self.cloud.services.iam.roles.put(name, role).expect("stored");
        self.cloud.identities.role(name, &id, "test")
    }

    /// A call of Athena's API.
    pub async fn athena(&self, operation: &str, params: Value) -> Result<Value, ApiError> {
        service::call(&self.cloud, &self.administrator(), "athena", operation, &params).await
    }

    /// A call of Glue's API.
    pub async fn glue(&self, operation: &str, params: Value) -> Result<Value, ApiError> {
        service::call(&self.cloud, &self.administrator(), "glue", operation, &params).await
    }

    /// Begins a query; its ID.
    pub async fn begin(&self, caller: &Caller, params: Value) -> Result<String, ApiError> {
        let started =
            service::call(&self.cloud, caller, "athena", "StartQueryExecution", &params).await?;
        Ok(started["QueryExecutionId"].as_str().expect("an ID").to_owned())
    }

    /// Waits until a query is in one of `states`; its description.
    pub async fn await_query(&self, id: &str, states: &[&str]) -> Value {
        for _ in 0..12_000 {
            let params = json!({ "QueryExecutionId": id });
            let answer = self.athena("GetQueryExecution", params).await.expect("described");
            let execution = answer["QueryExecution"].clone();
            let state = execution["Status"]["State"].as_str().expect("a state");
            if states.contains(&state) {
                return execution;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the query does not become {states:?}");
    }

    /// Rows of a query by the administrator in the group, NULL as `None`; or why there are none.
    pub async fn ask(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        self.ask_as(&self.administrator(), sql).await
    }

    /// The same as somebody else.
    pub async fn ask_as(
        &self,
        caller: &Caller,
        sql: &str,
    ) -> Result<Vec<Vec<Option<String>>>, String> {
        let id = self.begin(caller, request(sql)).await.map_err(|e| e.to_string())?;
        let ended = self.await_query(&id, &["SUCCEEDED", "FAILED", "CANCELLED"]).await;
        if ended["Status"]["State"] != "SUCCEEDED" {
            let reason = ended["Status"]["StateChangeReason"].as_str().expect("a reason");
            return Err(reason.to_owned());
        }
        let params = json!({ "QueryExecutionId": id });
        let answer = self.athena("GetQueryResults", params).await.expect("results");
        let rows = answer["ResultSet"]["Rows"].as_array().expect("rows");
        let value = |datum: &Value| datum["VarCharValue"].as_str().map(str::to_owned);
        let data = |row: &Value| row["Data"].as_array().expect("data").iter().map(value).collect();
        Ok(rows.iter().map(data).collect())
    }

    /// A result in one text: rows in lines, values between bars, NULL as `-`.
    pub async fn table_of(&self, sql: &str) -> String {
        let rows = self.ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let line = |row: &Vec<Option<String>>| {
            let values = row.iter().map(|v| v.clone().unwrap_or_else(|| "-".to_owned()));
            values.collect::<Vec<_>>().join("|")
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// `StartQueryExecution` of a statement in the group and the database.
pub fn request(sql: &str) -> Value {
    let token: String = sql.bytes().map(|b| format!("{b:02x}")).collect();
    let unique = jiff::Timestamp::now().as_nanosecond();
    json!({
        "QueryString": sql, "WorkGroup": GROUP, "QueryExecutionContext": { "Database": DATABASE },
        "ClientRequestToken": format!("{unique:040}{}", &token[..token.len().min(60)]),
    })
}
