//! Queries: what they answer and in which form, who may ask, what is refused, what is bounded.

use serde_json::{Value, json};
use steppe_cloud::services::athena;

use crate::catalogued::{BUCKET, CSV, Catalogued, DATABASE, GROUP, request, table_input};

#[tokio::test]
async fn values_and_columns_look_as_athena_prints_them() {
    let own = Catalogued::start().await;
    let id = own
        .begin(&own.administrator(), request("SELECT *, count + 1 FROM typed ORDER BY name"))
        .await
        .expect("begun");
    let ended = own.await_query(&id, &["SUCCEEDED", "FAILED"]).await;
    assert_eq!(ended["StatementType"], "DML");
    assert_eq!(ended["SubstatementType"], "SELECT");
    let statistics = &ended["Statistics"];
    let number = |name: &str| statistics[name].as_u64().unwrap_or_else(|| panic!("{statistics}"));
    assert_eq!(
        number("DataScannedInBytes"),
        own.cloud.services.s3.head(BUCKET, "typed/a.json").expect("there").size
    );
    assert!(
        number("TotalExecutionTimeInMillis")
            >= number("EngineExecutionTimeInMillis") + number("QueryQueueTimeInMillis")
    );
    assert!(number("EngineExecutionTimeInMillis") >= number("QueryPlanningTimeInMillis"));
    let answer =
        own.athena("GetQueryResults", json!({ "QueryExecutionId": id })).await.expect("results");
    let columns = answer["ResultSet"]["ResultSetMetadata"]["ColumnInfo"].as_array().expect("them");
    let seen: Vec<String> = columns
        .iter()
        .map(|c| {
            format!(
                "{} {} {} {} {}",
                c["Name"], c["Type"], c["Precision"], c["Scale"], c["CaseSensitive"]
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            r#""name" "varchar" 2147483647 0 true"#,
            r#""at" "timestamp" 3 0 false"#,
            r#""day" "date" 0 0 false"#,
            r#""value" "double" 17 0 false"#,
            r#""count" "integer" 10 0 false"#,
            r#""flag" "boolean" 0 0 false"#,
            r#""steps" "array" 0 0 false"#,
            r#""_col7" "integer" 10 0 false"#,
        ]
    );
    for (name, value) in [
        ("CatalogName", "hive"),
        ("SchemaName", ""),
        ("TableName", ""),
        ("Nullable", "UNKNOWN"),
        ("Label", "name"),
    ] {
        assert_eq!(columns[0][name], value);
    }
    let key = format!("athena/{id}.csv");
    let text = String::from_utf8(own.cloud.services.s3.read(BUCKET, &key).expect("a file"))
        .expect("UTF-8");
    assert_eq!(
        text,
        "\"name\",\"at\",\"day\",\"value\",\"count\",\"flag\",\"steps\",\"_col7\"\n\
         \"x\",\"2001-08-01 00:00:00.000\",\"2001-08-22\",\"1.23456785E7\",\"1\",\"true\",\
         \"[{step=1, value=1.0}, {step=2, value=null}]\",\"2\"\n,,,,,,,\n"
    );
}

#[tokio::test]
async fn an_empty_text_is_not_null_and_names_are_found_in_any_case() {
    let own = Catalogued::start().await;
    assert_eq!(
        own.table_of(
            "SELECT \"Region\" AS \"R\", year, NULL \
             FROM \"AwsDataCatalog\".\"DB\".\"RAW\" ORDER BY 2"
        )
        .await,
        "R|year|_col2\nB, x||-\nA|2000|-\n|2001|-"
    );
    // The parameters of the SerDe are followed.
    let mut input = table_input("odd", CSV, &[("a", "string"), ("b", "string")]);
    input["StorageDescriptor"]["SerdeInfo"]["Parameters"] =
        json!({ "separatorChar": ";", "quoteChar": "'", "escapeChar": "\\" });
    own.table("odd", input);
    own.object("odd/part", b"1,5;'x;y'\n");
    own.object("odd/_SUCCESS", b"");
    own.object("odd/.hidden", b"no;data\n");
    own.object("odd/deeper/part", b"2;z\n");
    assert_eq!(own.table_of("SELECT * FROM odd ORDER BY a").await, "a|b\n1,5|x;y\n2|z");
}

#[tokio::test]
async fn rows_are_sorted_by_a_function_of_a_window() {
    let own = Catalogued::start().await;
    let pairs = "(VALUES ('a', 1e0), ('a', 4e0), ('a', 2e0), ('b', 3e0), ('b', 1e0)) pairs (k, v)";
    let sql = format!(
        "SELECT k, v FROM (SELECT k, v, LAG(v) OVER (PARTITION BY k ORDER BY v) AS before FROM \
         {pairs}) moves WHERE before IS NOT NULL ORDER BY ABS(LN(v / before)) DESC, v LIMIT 2"
    );
    assert_eq!(own.table_of(&sql).await, "k|v\nb|3.0\na|2.0");
}

#[tokio::test]
async fn listings_tell_the_truth_about_the_catalogue() {
    let own = Catalogued::start().await;
    assert_eq!(own.table_of("SHOW TABLES").await, "raw\ntyped");
    assert_eq!(own.table_of("show tables in db 'ty*'").await, "typed");
    assert_eq!(own.table_of("SHOW DATABASES").await, "db");
    assert_eq!(
        own.table_of("SHOW COLUMNS IN raw").await,
        "region              \nyear                "
    );
    assert_eq!(
        own.table_of("DESCRIBE `db`.`raw`").await,
        "region              \tstring              \t                    \n\
         year                \tstring              \t                    "
    );
    assert_eq!(
        own.table_of(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'db' ORDER BY 1"
        )
        .await,
        "table_name\nraw\ntyped"
    );
    assert_eq!(
        own.table_of(
            "SELECT column_name, data_type FROM information_schema.columns \
             WHERE table_name = 'typed' AND ordinal_position > 5 ORDER BY ordinal_position"
        )
        .await,
        "column_name|data_type\nflag|boolean\nsteps|array(row(step integer, value double))"
    );
    let missing = own.ask("DESCRIBE nothing").await.expect_err("not there");
    assert_eq!(missing, "Entity Not Found");
    // Who may not look into the database does not see its tables.
    let stranger = own.role(
        "stranger",
        "x.amazonaws.com",
        &json!([
            { "Sid": "A", "Effect": "Allow", "Action": ["athena:*", "s3:*"], "Resource": "*" },
            { "Sid": "B", "Effect": "Allow", "Resource": "*",
              "Action": ["glue:GetDatabase", "glue:GetDatabases"] },
        ]),
    );
    let rows = own
        .ask_as(
            &stranger,
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'db'",
        )
        .await
        .expect("an answer");
    assert_eq!(rows.len(), 1, "only the header: {rows:?}");
    let denied = own.ask_as(&stranger, "SHOW TABLES").await.expect_err("denied");
    assert!(denied.contains("not authorized to perform: glue:GetTables"), "{denied}");
}

#[tokio::test]
async fn statements_mean_what_trino_means_or_are_refused() {
    let own = Catalogued::start().await;
    assert_eq!(
        own.table_of(
            "SELECT concat('a', NULL), trim(' \t a '), power(2, 3), CAST(2.5 AS BIGINT), \
             CAST(at AS VARCHAR), \
             CAST(value AS VARCHAR), ceil(count), year(day), if(flag, 'y', 'n'), \
             date_trunc('month', day), \
             regexp_replace('axbx', 'x', 'y'), mod(7, 3), length('äö') \
             FROM typed WHERE name IS NOT NULL"
        )
        .await
        .lines()
        .nth(1),
        Some("-|a|8.0|3|2001-08-01 00:00:00.000|1.23456785E7|1|2001|y|2001-08-01|ayby|1|2")
    );
    for (sql, name) in [
        (
            "SELECT arrow_typeof(1)",
            "FUNCTION_NOT_FOUND: line 1:8: Function 'arrow_typeof' not registered",
        ),
        ("SELECT nvl(1, 2)", "FUNCTION_NOT_FOUND"),
        ("SELECT athena_text(1)", "FUNCTION_NOT_FOUND"),
        ("SELECT signum(1)", "FUNCTION_NOT_FOUND"),
        ("SELECT word_stem(name) FROM typed", "NOT_SUPPORTED"),
        ("SELECT date_add('decade', 1, day) FROM typed", "INVALID_FUNCTION_ARGUMENT"),
        ("SELECT ARRAY[1][2]", "INVALID_FUNCTION_ARGUMENT"),
        ("SELECT row_number()", "MISSING_OVER"),
        ("SELECT count::varchar FROM typed", "SYNTAX_ERROR"),
        ("SELECT * EXCLUDE (name) FROM typed", "SYNTAX_ERROR"),
        ("SELECT DISTINCT ON (name) name FROM typed", "SYNTAX_ERROR"),
        ("SELECT * FROM generate_series(1, 2)", "NOT_SUPPORTED"),
        ("SELECT * FROM typed TABLESAMPLE BERNOULLI (10)", "NOT_SUPPORTED"),
        ("SELECT * FROM raw WHERE year = 2000", "TYPE_MISMATCH"),
        ("SELECT * FROM typed WHERE day > '2001-01-01'", "TYPE_MISMATCH"),
        ("SELECT 1 || 'a'", "TYPE_MISMATCH"),
        (
            "SELECT nothing FROM raw",
            "COLUMN_NOT_FOUND: line 1:8: Column 'nothing' cannot be resolved",
        ),
        (
            "SELECT * FROM nothing",
            "TABLE_NOT_FOUND: line 1:15: Table 'awsdatacatalog.db.nothing' does not exist",
        ),
        ("SELECT * FROM no.thing", "SCHEMA_NOT_FOUND"),
        ("SELECT 1 / 0", "DIVISION_BY_ZERO"),
        ("SELECT CAST('x' AS INT)", "INVALID_CAST_ARGUMENT"),
        ("SELECT sum(region) FROM raw", "FUNCTION_NOT_FOUND"),
    ] {
        let failed = own.ask(sql).await.expect_err(sql);
        assert!(failed.starts_with(name), "{sql}: {failed}");
        for word in ["Did you mean", "Candidate", "datafusion", "DataFusion", "Arrow"] {
            assert!(!failed.contains(word), "{sql}: {failed}");
        }
    }
}

#[tokio::test]
async fn what_is_no_statement_is_refused_at_once() {
    let own = Catalogued::start().await;
    for sql in [
        "DROP TABLE",
        "CREATE TABLE t AS SELEC 1",
        "INSERT INTO raw",
        "COPY raw TO '/tmp/x.csv'",
        "SET x = 1",
        "ALTER TABLE raw",
        "SELEC 1",
        "SELECT 1 FROM",
        "SELECT 1; SELECT 2",
        "SELECT * FROM `raw`",
        "SELECT 'open",
    ] {
        let refused = own.begin(&own.administrator(), request(sql)).await.expect_err(sql);
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (400, "InvalidRequestException"),
            "{sql}"
        );
    }
    assert!(own.cloud.services.athena.queries.all().is_empty());
    assert!(own.keys().iter().all(|key| !key.starts_with("athena/")));
}

#[tokio::test]
async fn deep_and_wide_statements_are_errors_and_not_crashes() {
    let own = Catalogued::start().await;
    let repeated = |what: &str, count: usize, between: &str| vec![what; count].join(between);
    for (sql, word) in [
        (format!("SELECT {}", repeated("1", 100_000, "+")), "too large"),
        (repeated("SELECT 1", 5_000, " UNION ALL "), "TOO_MANY_STAGES"),
        (format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000)), "too large"),
        (format!("SELECT 1 FROM {}", repeated("raw", 5_000, ", ")), "TOO_MANY_STAGES"),
        (format!("SELECT {}", "- ".repeat(20_000) + "1"), "line 1:"),
    ] {
        let failed = own.ask(&sql).await.expect_err("refused");
        assert!(failed.contains(word), "{failed}");
    }
    // What is allowed can be planned and run.
    let conditions = repeated("region = 'A'", 450, " OR ");
    assert_eq!(
        own.table_of(&format!("SELECT year FROM raw WHERE {conditions}")).await,
        "year\n2000"
    );
    let relations = repeated("SELECT region FROM raw", 70, " UNION ALL ");
    assert_eq!(own.ask(&relations).await.expect("rows").len(), 1 + 3 * 70);
    let too_long = format!("SELECT '{}'", "x".repeat(262_144));
    let refused = own.begin(&own.administrator(), request(&too_long)).await.expect_err("refused");
    assert!(refused.message.contains("less than or equal to 262144"), "{refused}");
}

/// Every statement that Athena's documentation calls necessary.
fn statements() -> Vec<Value> {
    let glue = |resource: &str| format!("arn:aws:glue:us-east-1:000000000000:{resource}");
    let bucket = format!("arn:aws:s3:::{BUCKET}");
    let group = format!("arn:aws:athena:us-east-1:000000000000:workgroup/{GROUP}");
    let results = format!("{bucket}/athena/*");
    let one = |sid: &str, action: &str, resource: &str| {
        let allow = "Allow";
        json!({ "Sid": sid, "Effect": allow, "Action": action, "Resource": resource })
    };
    vec![
        one("Start", "athena:StartQueryExecution", &group),
        one("Location", "s3:GetBucketLocation", &bucket),
        one("List", "s3:ListBucket", &bucket),
        one("Uploads", "s3:ListBucketMultipartUploads", &bucket),
        one("Put", "s3:PutObject", &results),
        one("Abort", "s3:AbortMultipartUpload", &results),
        one("Parts", "s3:ListMultipartUploadParts", &results),
        one("Catalogue", "glue:GetDatabase", &glue("catalog")),
        one("Default", "glue:GetDatabase", &glue("database/default")),
        one("Database", "glue:GetDatabase", &glue("database/db")),
        one("TableCatalogue", "glue:GetTable", &glue("catalog")),
        one("TableDatabase", "glue:GetTable", &glue("database/db")),
        one("Table", "glue:GetTable", &glue("table/db/raw")),
        one("Read", "s3:GetObject", &format!("{bucket}/raw/*")),
    ]
}

#[tokio::test]
async fn every_permission_that_athena_documents_is_needed() {
    let own = Catalogued::start().await;
    let all = own.role("all", "x.amazonaws.com", &json!(statements()));
    own.ask_as(&all, "SELECT region FROM raw").await.expect("allowed");
    for (left_out, statement) in statements().iter().enumerate() {
        let mut rest = statements();
        rest.remove(left_out);
        let name = format!("without-{}", statement["Sid"].as_str().expect("a name"));
        let caller = own.role(&name, "x.amazonaws.com", &json!(rest));
        let refused = own.ask_as(&caller, "SELECT region FROM raw").await;
        let reason = refused.expect_err(&name);
        let action = statement["Action"].as_str().expect("an action");
        let told = reason.contains(action)
            || reason
                == format!(
                    "InvalidRequestException: Unable to verify/create output bucket {BUCKET}"
                )
            || reason.contains("Access Denied");
        assert!(told, "{name}: {reason}");
    }
    // A state machine also needs the data catalogue.
    let arguments = json!({ "QueryString": "SELECT 1", "WorkGroup": GROUP });
    let origin = athena::Origin::StateMachine;
    let refused = athena::start(&own.cloud, &all, &arguments, origin).await.expect_err("denied");
    assert!(refused.message.contains("athena:GetDataCatalog"), "{refused}");
    // So does a request that names it.
    let mut named = request("SELECT 1");
    named["QueryExecutionContext"]["Catalog"] = "AwsDataCatalog".into();
    let refused = own.begin(&all, named.clone()).await.expect_err("denied");
    assert!(refused.message.contains("athena:GetDataCatalog"), "{refused}");
    own.begin(&own.administrator(), named).await.expect("allowed");
}

#[tokio::test]
async fn places_of_results_are_those_of_the_request_unless_the_group_enforces_its_own() {
    let own = Catalogued::start().await;
    let caller = own.administrator();
    let place = |params: &mut Value, group: &str, location: &str| {
        params["WorkGroup"] = group.into();
        params["ResultConfiguration"] = json!({ "OutputLocation": location });
    };
    let mut open = request("SELECT 1");
    place(&mut open, "primary", &format!("s3://{BUCKET}/mine"));
    let id = own.begin(&caller, open).await.expect("begun");
    let ended = own.await_query(&id, &["SUCCEEDED"]).await;
    let location = &ended["ResultConfiguration"]["OutputLocation"];
    assert_eq!(*location, format!("s3://{BUCKET}/mine/{id}.csv"));
    let mut enforced = request("SELECT 1");
    place(&mut enforced, GROUP, &format!("s3://{BUCKET}/mine/"));
    let id = own.begin(&caller, enforced).await.expect("begun");
    own.await_query(&id, &["SUCCEEDED"]).await;
    assert!(own.keys().contains(&format!("athena/{id}.csv")));
    let mut nowhere = request("SELECT 1");
    nowhere["WorkGroup"] = "primary".into();
    let refused = own.begin(&caller, nowhere).await.expect_err("refused");
    assert!(refused.message.starts_with("No output location provided."), "{refused}");
    for wrong in ["/tmp/x", "file:///tmp/x/", "s3://", "s3://my-data/../x/"] {
        let mut params = request("SELECT 1");
        place(&mut params, "primary", wrong);
        let refused = own.begin(&caller, params).await.expect_err(wrong);
        assert!(refused.message.starts_with("outputLocation is not a valid S3 path."), "{refused}");
        let properties = json!({ "WorkGroupConfiguration": {
            "ResultConfiguration": { "OutputLocation": wrong },
        } });
        assert!(athena::WorkGroup::from_properties(&properties).is_err(), "{wrong}");
    }
    let groups = own.athena("ListWorkGroups", json!({})).await.expect("groups");
    let names: Vec<&Value> =
        groups["WorkGroups"].as_array().expect("groups").iter().map(|g| &g["Name"]).collect();
    assert_eq!(names, [GROUP, "primary"]);
    let group = own.athena("GetWorkGroup", json!({ "WorkGroup": GROUP })).await.expect("a group");
    let configuration = &group["WorkGroup"]["Configuration"];
    assert_eq!(configuration["EnforceWorkGroupConfiguration"], true);
}

#[tokio::test]
async fn members_of_a_request_are_used_or_refused_by_name() {
    let own = Catalogued::start().await;
    let caller = own.administrator();
    let with = |name: &str, value: Value| {
        let mut params = request("SELECT region FROM raw WHERE region = ? AND year = ?");
        params["ExecutionParameters"] = json!(["'A'", "2000x"]);
        params[name] = value;
        params
    };
    for (name, value, word) in [
        ("EngineConfiguration", json!({}), "EngineConfiguration"),
        (
            "ResultReuseConfiguration",
            json!({ "ResultReuseByAgeConfiguration": { "Enabled": true } }),
            "ResultReuseByAgeConfiguration",
        ),
        ("ResultConfiguration", json!({ "AclConfiguration": {} }), "AclConfiguration"),
        ("ResultConfiguration", json!({ "ExpectedBucketOwner": "111111111111" }), "owner"),
        (
            "ResultConfiguration",
            json!({ "EncryptionConfiguration": { "EncryptionOption": "SSE_KMS" } }),
            "Encryption",
        ),
        ("QueryExecutionContext", json!({ "Catalog": "other" }), "other"),
        ("WorkGroup", json!("nothing"), "WorkGroup nothing is not found."),
        ("ClientRequestToken", json!("short"), "greater than or equal to 32"),
        ("ClientRequestToken", Value::Null, "clientRequestToken is null or empty"),
        ("ExecutionParameters", json!([1, 2]), "executionParameters.1.member"),
    ] {
        let refused = own.begin(&caller, with(name, value)).await.expect_err(name);
        assert!(refused.message.contains(word), "{name}: {refused}");
    }
    // Values take their places in order; what is no literal is a text.
    let id = own.begin(&caller, with("WorkGroup", json!(GROUP))).await.expect("begun");
    let ended = own.await_query(&id, &["SUCCEEDED", "FAILED"]).await;
    assert_eq!(ended["Status"]["State"], "SUCCEEDED", "{ended}");
    assert_eq!(ended["ExecutionParameters"], json!(["'A'", "2000x"]));
    let few = own.begin(&caller, with("ExecutionParameters", json!(["'A'"]))).await.expect("begun");
    let ended = own.await_query(&few, &["FAILED"]).await;
    let reason = ended["Status"]["StateChangeReason"].as_str().expect("a reason");
    assert!(reason.starts_with("INVALID_PARAMETER_USAGE"), "{reason}");
}

#[tokio::test]
async fn a_request_that_is_repeated_is_the_same_query() {
    let own = Catalogued::start().await;
    let params = request("SELECT 1");
    let caller = own.administrator();
    let (one, other) =
        tokio::join!(own.begin(&caller, params.clone()), own.begin(&caller, params.clone()));
    assert_eq!(one.expect("begun"), other.expect("begun"));
    assert_eq!(own.cloud.services.athena.queries.all().len(), 1);
    let mut changed = params;
    changed["QueryString"] = "SELECT 2".into();
    let refused = own.begin(&caller, changed).await.expect_err("refused");
    assert_eq!(refused.message, "Idempotent parameters do not match");
}

/// A statement that is at work for hours.
fn endless() -> String {
    let numbers = vec!["(1)"; 2_000].join(", ");
    format!(
        "WITH a (n) AS (VALUES {numbers}) SELECT count(*) FROM a w, a x, a y, a z \
         WHERE w.n + x.n + y.n + z.n = 5"
    )
}

#[tokio::test]
async fn queries_wait_for_an_engine_and_can_be_stopped() {
    let own = Catalogued::start().await;
    let caller = own.administrator();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(own.begin(&caller, request(&endless())).await.expect("begun"));
    }
    own.await_query(&ids[3], &["RUNNING"]).await;
    own.await_query(&ids[4], &["QUEUED"]).await;
    let early = own
        .athena("GetQueryResults", json!({ "QueryExecutionId": ids[4] }))
        .await
        .expect_err("not yet");
    assert_eq!(early.message, "Query has not yet finished. Current state: QUEUED");
    own.athena("StopQueryExecution", json!({ "QueryExecutionId": ids[0] })).await.expect("stopped");
    let stopped = own.await_query(&ids[0], &["CANCELLED"]).await;
    assert_eq!(stopped["Status"]["StateChangeReason"], "Query cancelled by user");
    own.await_query(&ids[4], &["RUNNING"]).await;
    for id in &ids {
        own.athena("StopQueryExecution", json!({ "QueryExecutionId": id })).await.expect("stopped");
        own.await_query(id, &["CANCELLED"]).await;
    }
    // Their places are free again.
    assert_eq!(own.table_of("SELECT 1").await, "_col0\n1");
    let listed = own
        .athena("ListQueryExecutions", json!({ "WorkGroup": GROUP, "MaxResults": 4 }))
        .await
        .expect("a list");
    assert_eq!(listed["QueryExecutionIds"].as_array().map(Vec::len), Some(4));
    assert!(listed["NextToken"].is_string());
    let batch = own
        .athena("BatchGetQueryExecution", json!({ "QueryExecutionIds": [ids[0], "nothing"] }))
        .await
        .expect("both");
    assert_eq!(batch["QueryExecutions"][0]["QueryExecutionId"], ids[0].as_str());
    assert_eq!(batch["UnprocessedQueryExecutionIds"][0]["QueryExecutionId"], "nothing");
}

#[tokio::test]
async fn a_query_ends_at_the_limit_of_scanned_bytes() {
    let own = Catalogued::start().await;
    own.group(
        "limited",
        &json!({ "WorkGroupConfiguration": {
        "EnforceWorkGroupConfiguration": false, "BytesScannedCutoffPerQuery": 10_000_000,
    } }),
    );
    own.table("wide", table_input("wide", CSV, &[("a", "string")]));
    own.object("wide/a.csv", "0123456789abcde\n".repeat(700_000).as_bytes());
    let mut params = request("SELECT count(*) FROM wide WHERE a = 'x'");
    params["WorkGroup"] = "limited".into();
    params["ResultConfiguration"] = json!({ "OutputLocation": format!("s3://{BUCKET}/athena/") });
    let id = own.begin(&own.administrator(), params).await.expect("begun");
    let ended = own.await_query(&id, &["CANCELLED", "FAILED", "SUCCEEDED"]).await;
    assert_eq!(ended["Status"]["State"], "CANCELLED", "{ended}");
    assert_eq!(ended["Status"]["StateChangeReason"], "Bytes scanned limit was exceeded");
    assert_eq!(own.table_of("SELECT count(*) FROM wide").await, "_col0\n700000");
    let small = json!({ "BytesScannedCutoffPerQuery": 9_999_999 });
    let create = json!({ "Name": "small", "Configuration": small });
    let refused = own.athena("CreateWorkGroup", create).await.expect_err("too small");
    let words = "Value '9999999' at 'configuration.bytesScannedCutoffPerQuery' failed to satisfy \
                 constraint: Member must have value greater than or equal to 10000000";
    assert!(refused.message.contains(words), "{refused}");
    let properties = json!({ "WorkGroupConfiguration": small });
    assert!(athena::WorkGroup::from_properties(&properties).is_err());
}

#[tokio::test]
async fn results_come_in_pages() {
    let own = Catalogued::start().await;
    let values = (0..25).map(|n| format!("({n})")).collect::<Vec<_>>().join(", ");
    let id = own
        .begin(
            &own.administrator(),
            request(&format!("SELECT * FROM (VALUES {values}) t (n) ORDER BY n")),
        )
        .await
        .expect("begun");
    own.await_query(&id, &["SUCCEEDED"]).await;
    let (mut seen, mut params) = (Vec::new(), json!({ "QueryExecutionId": id, "MaxResults": 10 }));
    loop {
        let page = own.athena("GetQueryResults", params.clone()).await.expect("a page");
        let rows = page["ResultSet"]["Rows"].as_array().expect("rows").clone();
        seen.extend(
            rows.iter().map(|r| r["Data"][0]["VarCharValue"].as_str().expect("text").to_owned()),
        );
        match page.get("NextToken") {
            Some(token) => params["NextToken"] = token.clone(),
            None => break,
        }
    }
    let expected: Vec<String> =
        ["n".to_owned()].into_iter().chain((0..25).map(|n| n.to_string())).collect();
    assert_eq!(seen, expected);
    for (name, value, message) in [
        ("MaxResults", json!(1_001), "MaxResults is more than maximum allowed length 1000"),
        ("NextToken", json!("zz"), "Malformed nextPageToken zz"),
        ("QueryExecutionId", json!("x"), "QueryExecution x was not found"),
    ] {
        let mut params = json!({ "QueryExecutionId": id });
        params[name] = value;
        let refused = own.athena("GetQueryResults", params).await.expect_err(name);
        assert_eq!(refused.message, message);
    }
}

#[tokio::test]
async fn queries_of_a_cloud_that_is_no_more_are_ended() {
    let own = Catalogued::start().await;
    let id = own.begin(&own.administrator(), request("SELECT 1")).await.expect("begun");
    own.await_query(&id, &["SUCCEEDED"]).await;
    own.cloud
        .services
        .athena
        .queries
        .update(&id, |e| (e.state, e.completed) = ("RUNNING".to_owned(), None))
        .expect("stored");
    athena::end_orphans(&own.cloud);
    let ended = own.await_query(&id, &["FAILED"]).await;
    let reason = ended["Status"]["StateChangeReason"].as_str().expect("a reason");
    assert!(reason.contains("was stopped while the query was at work"), "{reason}");
}

#[tokio::test]
async fn the_catalogue_is_in_athenas_own_api_too() {
    let own = Catalogued::start().await;
    let in_catalog = |more: Value| {
        let mut params = json!({ "CatalogName": "AwsDataCatalog" });
        for (name, value) in more.as_object().expect("members") {
            params[name] = value.clone();
        }
        params
    };
    let databases = own.athena("ListDatabases", in_catalog(json!({}))).await.expect("them");
    assert_eq!(databases["DatabaseList"][0]["Name"], DATABASE);
    let tables = own
        .athena("ListTableMetadata", in_catalog(json!({ "DatabaseName": DATABASE })))
        .await
        .expect("them");
    assert_eq!(tables["TableMetadataList"].as_array().map(Vec::len), Some(2));
    let params = in_catalog(json!({ "DatabaseName": DATABASE, "TableName": "nothing" }));
    let missing = own.athena("GetTableMetadata", params).await.expect_err("not there");
    assert_eq!(missing.code, "MetadataException");
    let catalogs = own.athena("ListDataCatalogs", json!({})).await.expect("them");
    assert_eq!(catalogs["DataCatalogsSummary"][0]["CatalogName"], "AwsDataCatalog");
}
