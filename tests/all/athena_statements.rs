//! Statements that change the catalogue and write objects: what they leave, who may, and bounds.

use serde_json::{Value, json};

use crate::catalogued::{BUCKET, Catalogued, DATABASE, GROUP, request};

/// Runs a statement that must succeed; its description.
async fn done(own: &Catalogued, sql: &str) -> Value {
    let id = own.begin(&own.administrator(), request(sql)).await.expect(sql);
    let ended = own.await_query(&id, &["SUCCEEDED", "FAILED", "CANCELLED"]).await;
    assert_eq!(ended["Status"]["State"], "SUCCEEDED", "{sql}: {ended}");
    ended
}

fn keys_below(own: &Catalogued, prefix: &str) -> Vec<String> {
    own.keys().into_iter().filter(|key| key.starts_with(prefix)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_query_has_its_files_manifest_and_partitions() {
    let own = Catalogued::start().await;
    let ended = done(
        &own,
        "CREATE TABLE made WITH (format = 'PARQUET', partitioned_by = ARRAY['region']) AS \
         SELECT year, CASE WHEN region = '' THEN 'none' ELSE region END AS region FROM raw",
    )
    .await;
    let id = ended["QueryExecutionId"].as_str().expect("an ID");
    assert_eq!(ended["StatementType"], "DDL");
    assert_eq!(ended["SubstatementType"], "CREATE_TABLE_AS_SELECT");
    let place = format!("s3://{BUCKET}/athena/tables/{id}");
    assert_eq!(ended["ResultConfiguration"]["OutputLocation"], place);
    let manifest = format!("{place}-manifest.csv");
    assert_eq!(ended["Statistics"]["DataManifestLocation"], manifest);
    let results = json!({ "QueryExecutionId": id });
    let results = own.athena("GetQueryResults", results).await.expect("results");
    assert_eq!(results["UpdateCount"], 3);
    assert_eq!(results["ResultSet"]["Rows"], json!([]));
    assert_eq!(results["ResultSet"]["ResultSetMetadata"]["ColumnInfo"][0]["Name"], "rows");
    let listed = own.cloud.services.s3.read(BUCKET, &format!("athena/tables/{id}-manifest.csv"));
    let listed = String::from_utf8(listed.expect("a manifest")).expect("UTF-8");
    let files = keys_below(&own, &format!("athena/tables/{id}/"));
    let places: Vec<String> = files.iter().map(|key| format!("s3://{BUCKET}/{key}")).collect();
    let mut named: Vec<&str> = listed.lines().collect();
    named.sort_unstable();
    assert_eq!(named, places);
    assert!(own.keys().contains(&format!("athena/tables/{id}.metadata")));
    assert_eq!(own.table_of("SHOW PARTITIONS made").await, "region=A\nregion=B, x\nregion=none");
    let sql = "SELECT region, year FROM made ORDER BY 1";
    assert_eq!(own.table_of(sql).await, "region|year\nA|2000\nB, x|\nnone|2001");
    // Only files of the wanted partition are read.
    let all = done(&own, sql).await["Statistics"]["DataScannedInBytes"].as_u64();
    let one = done(&own, "SELECT year FROM made WHERE region = 'A'").await;
    assert!(one["Statistics"]["DataScannedInBytes"].as_u64() < all, "{one}");
    // New rows make new partitions, and rows of a known one stand beside the others.
    let sql = "INSERT INTO made VALUES ('1999', 'new'), ('1998', 'A')";
    assert_eq!(done(&own, sql).await["SubstatementType"], "INSERT");
    let sql = "SELECT count(*) AS n, count(DISTINCT region) AS r FROM made";
    assert_eq!(own.table_of(sql).await, "n|r\n5|4");
    let again = own.ask("CREATE TABLE made AS SELECT 1 AS a").await.expect_err("there");
    assert!(again.starts_with("TABLE_ALREADY_EXISTS: line 1:1: Destination table"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_that_is_written_is_read_again() {
    let own = Catalogued::start().await;
    let rows = "SELECT 1 AS id, 'x, \"y\"' AS name, 1.5e0 AS value, true AS flag, \
                date '2024-01-02' AS day, timestamp '2024-01-02 03:04:05.678' AS at UNION ALL \
                SELECT 2, NULL, NULL, NULL, NULL, NULL";
    let expected = "id|name|value|flag|day|at\n1|x, \"y\"|1.5|true|2024-01-02|2024-01-02 \
                    03:04:05.678\n2|-|-|-|-|-";
    for (name, options) in [
        ("p", "format = 'PARQUET', write_compression = 'ZSTD'"),
        ("o", "format = 'ORC', write_compression = 'SNAPPY'"),
        ("v", "format = 'AVRO'"),
        ("j", "format = 'JSON'"),
        ("t", "format = 'TEXTFILE', field_delimiter = ';'"),
        ("n", "format = 'TEXTFILE', write_compression = 'NONE'"),
    ] {
        done(&own, &format!("CREATE TABLE {name} WITH ({options}) AS {rows}")).await;
        let read = own.table_of(&format!("SELECT * FROM {name} ORDER BY id")).await;
        assert_eq!(read, expected, "{options}");
        done(&own, &format!("INSERT INTO {name} (id, name) VALUES (3, 'more')")).await;
        let more = own.table_of(&format!("SELECT name, day FROM {name} WHERE id = 3")).await;
        assert_eq!(more, "name|day\nmore|-", "{options}");
    }
    for (options, word) in [
        ("format = 'ORC', write_compression = 'ZLIB'", "writes no ORC with ZLIB"),
        ("bucketed_by = ARRAY['id'], bucket_count = 2", "buckets"),
        ("table_type = 'ICEBERG'", "ICEBERG"),
        ("speed = 'high'", "table property 'speed' does not exist"),
        ("partitioned_by = ARRAY['id']", "HIVE_COLUMN_ORDER_MISMATCH"),
    ] {
        let sql = format!("CREATE TABLE other WITH ({options}) AS SELECT 1 AS id, 2 AS b");
        let refused = match own.begin(&own.administrator(), request(&sql)).await {
            Err(error) => error.message,
            Ok(id) => own.await_query(&id, &["FAILED"]).await["Status"].to_string(),
        };
        assert!(refused.contains(word), "{options}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unloaded_rows_are_where_they_were_wanted_and_never_twice() {
    let own = Catalogued::start().await;
    let sql = format!(
        "UNLOAD (SELECT year FROM raw WHERE region = 'A') TO 's3://{BUCKET}/out/' \
         WITH (format = 'TEXTFILE', compression = 'NONE', field_delimiter = ',')"
    );
    let ended = done(&own, &sql).await;
    let id = ended["QueryExecutionId"].as_str().expect("an ID");
    let files = keys_below(&own, "out/");
    assert_eq!(files.len(), 1);
    assert_eq!(own.cloud.services.s3.read(BUCKET, &files[0]).expect("a file"), b"2000\n");
    let manifest = own.cloud.services.s3.read(BUCKET, &format!("athena/{id}-manifest.csv"));
    let manifest = String::from_utf8(manifest.expect("a manifest")).expect("UTF-8");
    assert_eq!(manifest, format!("s3://{BUCKET}/{}\n", files[0]));
    let again = own.ask(&sql).await.expect_err("taken");
    assert!(again.starts_with("HIVE_PATH_ALREADY_EXISTS: Target directory"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_stand_on_views_and_follow_their_tables() {
    let own = Catalogued::start().await;
    done(&own, "CREATE VIEW one AS SELECT year, region FROM raw WHERE year IS NOT NULL").await;
    done(&own, "CREATE OR REPLACE VIEW two AS SELECT max(year) AS newest FROM db.one").await;
    assert_eq!(own.table_of("SELECT * FROM two").await, "newest\n2001");
    own.object("raw/b.csv", b"region,year\nC,2030\n");
    assert_eq!(own.table_of("SELECT newest FROM two").await, "newest\n2030");
    assert_eq!(own.table_of("SHOW VIEWS").await, "one\ntwo");
    assert_eq!(own.table_of("DESCRIBE two").await, "newest\tvarchar");
    let params = json!({ "DatabaseName": DATABASE, "Name": "two" });
    let table = own.glue("GetTable", params).await.expect("a view")["Table"].take();
    assert_eq!(table["TableType"], "VIRTUAL_VIEW");
    let text = table["ViewOriginalText"].as_str().expect("a text");
    assert!(text.starts_with("/* Presto View: ") && text.ends_with(" */"), "{text}");
    // A view on itself, and one whose table is gone, are told.
    done(&own, "CREATE VIEW three AS SELECT * FROM two").await;
    done(&own, "CREATE OR REPLACE VIEW two AS SELECT 1 AS newest FROM three").await;
    let circle = own.ask("SELECT * FROM two").await.expect_err("a circle");
    assert!(circle.contains("View is recursive"), "{circle}");
    done(&own, "DROP TABLE raw").await;
    let gone = own.ask("SELECT * FROM one").await.expect_err("gone");
    assert!(gone.contains("Table 'awsdatacatalog.db.raw' does not exist"), "{gone}");
    done(&own, "DROP VIEW one").await;
    let gone = own.ask("DROP VIEW one").await.expect_err("gone");
    assert!(gone.contains("View 'awsdatacatalog.db.one' does not exist"), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn projected_partitions_need_no_catalogue() {
    let own = Catalogued::start().await;
    for (day, place) in [("2024/01/01", 1), ("2024/01/02", 2), ("2024/02/01", 3)] {
        own.object(&format!("events/{day}/a.json"), format!("{{\"n\":{place}}}\n").as_bytes());
    }
    let table = |name: &str, more: &str| {
        format!(
            "CREATE EXTERNAL TABLE {name} (n int) PARTITIONED BY (day string) \
             ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe' \
             LOCATION 's3://{BUCKET}/events/' TBLPROPERTIES ('projection.enabled'='true', \
             'storage.location.template'='s3://{BUCKET}/events/${{day}}/', {more})"
        )
    };
    let dates = "'projection.day.type'='date', 'projection.day.format'='yyyy/MM/dd', \
                 'projection.day.range'='2020/01/01,NOW'";
    done(&own, &table("dated", dates)).await;
    assert_eq!(own.table_of("SELECT sum(n) AS s FROM dated").await, "s\n6");
    let sql = "SELECT n, day FROM dated WHERE day BETWEEN '2024/01/02' AND '2024/02/01' ORDER BY n";
    assert_eq!(own.table_of(sql).await, "n|day\n2|2024/01/02\n3|2024/02/01");
    let one = done(&own, "SELECT n FROM dated WHERE day = '2024/01/02'").await;
    assert_eq!(one["Statistics"]["DataScannedInBytes"], 8);
    done(&own, &table("injected", "'projection.day.type'='injected'")).await;
    let sql = "SELECT n FROM injected WHERE day IN ('2024/01/01', '2024/02/01') ORDER BY n";
    assert_eq!(own.table_of(sql).await, "n\n1\n3");
    let open = own.ask("SELECT n FROM injected").await.expect_err("no value");
    assert!(open.starts_with("CONSTRAINT_VIOLATION: For the injected projected"), "{open}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_need_the_rights_of_what_they_do() {
    let own = Catalogued::start().await;
    let statement = |sid: &str, actions: Value| {
        let allow = "Allow";
        json!({ "Sid": sid, "Effect": allow, "Action": actions, "Resource": "*" })
    };
    let reads = json!(["athena:*", "s3:*", "glue:Get*"]);
    let reader = own.role("reader", "x.amazonaws.com", &json!([statement("A", reads)]));
    for (sql, action) in [
        ("CREATE DATABASE other", "glue:CreateDatabase"),
        ("DROP TABLE raw", "glue:DeleteTable"),
        ("CREATE TABLE made AS SELECT 1 AS a", "glue:CreateTable"),
        ("CREATE VIEW v AS SELECT 1 AS a", "glue:CreateTable"),
        ("ALTER TABLE raw SET TBLPROPERTIES ('a'='b')", "glue:UpdateTable"),
    ] {
        let denied = own.ask_as(&reader, sql).await.expect_err(sql);
        assert!(denied.starts_with("Insufficient permissions to execute the query."), "{denied}");
        assert!(denied.contains(action), "{sql}: {denied}");
    }
    assert_eq!(own.table_of("SHOW TABLES").await, "raw\ntyped");
    // Files are written with the caller's rights as well.
    let writes = [
        statement("A", json!(["athena:*", "glue:*", "s3:Get*", "s3:List*", "s3:Abort*"])),
        json!({ "Sid": "B", "Effect": "Allow", "Action": "s3:PutObject",
            "Resource": format!("arn:aws:s3:::{BUCKET}/athena/*") }),
    ];
    let bound = own.role("bound", "x.amazonaws.com", &json!(writes));
    own.ask_as(&bound, "CREATE TABLE made AS SELECT 1 AS a").await.expect("below its place");
    let sql = format!("UNLOAD (SELECT 1 AS a) TO 's3://{BUCKET}/out/' WITH (format = 'JSON')");
    own.ask_as(&bound, &sql).await.expect_err("elsewhere");
    assert_eq!(keys_below(&own, "out/"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_write_are_bounded_and_can_be_stopped() {
    let own = Catalogued::start().await;
    let numbers = vec!["(1)"; 2_000].join(", ");
    let endless = format!(
        "CREATE TABLE endless AS WITH a (n) AS (VALUES {numbers}) SELECT count(*) AS n FROM a w, \
         a x, a y, a z WHERE w.n + x.n + y.n + z.n = 5"
    );
    let id = own.begin(&own.administrator(), request(&endless)).await.expect("begun");
    own.await_query(&id, &["RUNNING"]).await;
    own.athena("StopQueryExecution", json!({ "QueryExecutionId": id })).await.expect("stopped");
    own.await_query(&id, &["CANCELLED"]).await;
    assert_eq!(own.table_of("SHOW TABLES LIKE 'endless'").await, "");
    let line = "A,".to_owned() + &"2".repeat(1_000) + "\n";
    own.object("raw/large.csv", format!("region,year\n{}", line.repeat(11_000)).as_bytes());
    let limit = json!({ "WorkGroup": GROUP, "ConfigurationUpdates": {
        "BytesScannedCutoffPerQuery": 10_000_000,
    } });
    own.athena("UpdateWorkGroup", limit).await.expect("changed");
    let cut = own.ask("CREATE TABLE copied AS SELECT * FROM raw").await.expect_err("cut off");
    assert_eq!(cut, "Bytes scanned limit was exceeded");
    assert_eq!(own.table_of("SHOW TABLES LIKE 'copied'").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_are_kept_and_executed() {
    let own = Catalogued::start().await;
    done(&own, "PREPARE of_year FROM SELECT region FROM raw WHERE year = ?").await;
    assert_eq!(own.table_of("EXECUTE of_year USING '2000'").await, "region\nA");
    let params = json!({ "StatementName": "of_year", "WorkGroup": GROUP });
    let kept = own.athena("GetPreparedStatement", params.clone()).await.expect("kept");
    let sql = &kept["PreparedStatement"]["QueryStatement"];
    assert_eq!(*sql, "SELECT region FROM raw WHERE year = ?");
    let wrong = own.begin(&own.administrator(), request("PREPARE bad FROM SELEC 1")).await;
    assert_eq!(wrong.expect_err("no statement").code, "InvalidRequestException");
    done(&own, "DEALLOCATE PREPARE of_year").await;
    let gone = own.athena("GetPreparedStatement", params).await.expect_err("gone");
    assert_eq!(gone.code, "ResourceNotFoundException");
    let gone = own.begin(&own.administrator(), request("EXECUTE of_year USING 1")).await;
    let gone = gone.expect_err("gone").message;
    assert_eq!(gone, format!("PreparedStatement of_year was not found in workGroup {GROUP}"));
}
