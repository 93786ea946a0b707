//! Crawlers: what they find and Athena then reads, what they change, and under whose rights.

use std::time::Duration;

use crate::serving::now;
use serde_json::{Value, json};
use steppe_cloud::kernel::service;
use steppe_cloud::services::glue;

use crate::athena_formats::{ALL, ANSWER, EVERYTHING, file};
use crate::catalogued::{BUCKET, CSV, Catalogued, DATABASE, table_input};
use crate::running;

const NAME: &str = "finder";

/// What a crawler needs that may change everything.
fn statements() -> Vec<Value> {
    let one = |actions: &[&str], resource: &[&str]| json!({ "Effect": "Allow", "Action": actions, "Resource": resource });
    vec![
        one(&["s3:GetObject"], &["arn:aws:s3:::my-data/*"]),
        one(&["s3:ListBucket"], &["arn:aws:s3:::my-data"]),
        one(
            &[
                "glue:GetDatabase",
                "glue:GetTable",
                "glue:CreateTable",
                "glue:UpdateTable",
                "glue:DeleteTable",
                "glue:GetPartitions",
                "glue:BatchCreatePartition",
                "glue:UpdatePartition",
                "glue:BatchDeletePartition",
            ],
            &[
                "arn:aws:glue:us-east-1:000000000000:catalog",
                "arn:aws:glue:us-east-1:000000000000:database/db",
                "arn:aws:glue:us-east-1:000000000000:table/db/*",
            ],
        ),
        one(
            &["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            &["arn:aws:logs:us-east-1:000000000000:log-group:/aws-glue/crawlers:*"],
        ),
    ]
}

async fn start() -> Catalogued {
    let own = Catalogued::start().await;
    own.role("crawl", "glue.amazonaws.com", &json!(statements()));
    own
}

/// Makes the crawler of a folder.
async fn define(own: &Catalogued, folder: &str, members: Value) {
    let mut params = json!({
        "Name": NAME, "Role": "arn:aws:iam::000000000000:role/crawl", "DatabaseName": DATABASE,
        "Targets": { "S3Targets": [{ "Path": format!("s3://{BUCKET}/{folder}/") }] },
    });
    for (name, value) in members.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    own.glue("CreateCrawler", params).await.expect("made");
}

/// A crawl to its end: `LastCrawl`.
async fn crawl(own: &Catalogued) -> Value {
    own.glue("StartCrawler", json!({ "Name": NAME })).await.expect("started");
    finished(own).await["LastCrawl"].clone()
}

async fn finished(own: &Catalogued) -> Value {
    for _ in 0..6_000 {
        let answer = own.glue("GetCrawler", json!({ "Name": NAME })).await.expect("described");
        if answer["Crawler"]["State"] == "READY" {
            return answer["Crawler"].clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the crawl does not end");
}

async fn succeeds(own: &Catalogued) {
    let last = crawl(own).await;
    assert_eq!(last["Status"], "SUCCEEDED", "{last}");
}

async fn table(own: &Catalogued, name: &str) -> Value {
    let params = json!({ "DatabaseName": DATABASE, "Name": name });
    own.glue("GetTable", params).await.expect("the table")["Table"].clone()
}

/// `name type` of each column.
async fn columns(own: &Catalogued, name: &str) -> String {
    let table = table(own, name).await;
    let columns = table["StorageDescriptor"]["Columns"].as_array().expect("columns").clone();
    let text = |column: &Value| {
        format!(
            "{} {}",
            column["Name"].as_str().expect("a name"),
            column["Type"].as_str().expect("a type")
        )
    };
    columns.iter().map(text).collect::<Vec<_>>().join(", ")
}

async fn log(own: &Catalogued) -> String {
    let administrator = own.administrator();
    let params = json!({ "logGroupName": "/aws-glue/crawlers", "logStreamNames": [NAME] });
    let answer = now(&own.cloud, &administrator, "logs", "FilterLogEvents", &params);
    let events = answer.expect("a log")["events"].as_array().cloned().unwrap_or_default();
    let text = |event: &Value| event["message"].as_str().unwrap_or_default().to_owned();
    events.iter().map(text).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_crawl_of_every_format_makes_a_table_that_athena_reads() {
    let own = start().await;
    let kinds = "name string, whole int, big bigint, number double, truth boolean, day date, \
                 moment timestamp";
    for format in ["parquet", "orc", "avro"] {
        let bytes = file(format, ALL, EVERYTHING);
        own.object(&format!("all/{format}/Year=2019/part=x/a.{format}"), &bytes);
        own.object(&format!("all/{format}/Year=2020/part=y/b"), &bytes);
    }
    let json =
        b"{\"Name\":\"A\",\"n\":1,\"at\":{\"x\":1.5}}\n{\"Name\":\"B\",\"n\":2,\"at\":null}\n";
    own.object("all/json/Year=2019/part=x/a.json", json);
    own.object("all/json/Year=2020/part=y/a.json", json);
    own.object("all/csv/a.csv", b"Name;n;x;flag\nA;1;0.5;true\n\\N;;1e3;FALSE\n\"q\";x;;no\n");
    own.object("all/csv/b.csv", b"Name;n;x;flag\nC;3;4;true\nD;4;5;false\n");
    define(&own, "all", json!({ "TablePrefix": "Found-" })).await;
    succeeds(&own).await;

    for format in ["parquet", "orc", "avro"] {
        let name = format!("found_{format}");
        assert_eq!(columns(&own, &name).await, kinds, "{format}");
        let sql = format!(
            "SELECT name, whole, big, number, truth, day, moment FROM {name} \
             WHERE year = '2020' AND part = 'y' ORDER BY whole"
        );
        let rows = own.table_of(&sql).await;
        assert_eq!(rows.split_once('\n').expect("rows").1, ANSWER, "{format}");
        let sql = format!("SELECT year, part, count(*) AS n FROM {name} GROUP BY 1, 2 ORDER BY 1");
        assert_eq!(own.table_of(&sql).await, "year|part|n\n2019|x|3\n2020|y|3", "{format}");
        let table = table(&own, &name).await;
        let parameters = &table["Parameters"];
        assert_eq!(parameters["classification"], format);
        assert_eq!(
            (&parameters["recordCount"], &parameters["objectCount"]),
            (&json!("6"), &json!("2"))
        );
        assert_eq!(parameters["UPDATED_BY_CRAWLER"], NAME);
        assert_eq!(table["PartitionKeys"][0], json!({ "Name": "year", "Type": "string" }));
    }
    let sql = "SELECT name, n, at.x, year FROM found_json ORDER BY year, n";
    assert_eq!(
        own.table_of(sql).await,
        "name|n|x|year\nA|1|1.5|2019\nB|2|-|2019\nA|1|1.5|2020\nB|2|-|2020"
    );
    assert_eq!(columns(&own, "found_csv").await, "name string, n string, x double, flag string");
    let rows = own.table_of("SELECT * FROM found_csv ORDER BY 1 NULLS FIRST").await;
    assert_eq!(
        rows,
        "name|n|x|flag\n-||1000.0|FALSE\n\"q\"|x|-|no\nA|1|0.5|true\nC|3|4.0|true\nD|4|5.0|false"
    );

    let log = log(&own).await;
    for line in ["Running Start Crawl for Crawler finder", "Created table found_csv in database db"]
    {
        assert!(log.contains(line), "{log}");
    }
    let listed = own.table_of("DESCRIBE found_json").await;
    assert!(listed.contains("# Partition Information"), "{listed}");
    let params = json!({ "DatabaseName": DATABASE, "TableName": "found_orc" });
    let all = own.glue("GetPartitions", params.clone()).await.expect("partitions");
    assert_eq!(all["Partitions"][1]["Values"], json!(["2020", "y"]));
    let mut one = params;
    one["PartitionValues"] = json!(["2019", "x"]);
    let one = own.glue("GetPartition", one).await.expect("a partition");
    let place = &one["Partition"]["StorageDescriptor"]["Location"];
    assert_eq!(place, "s3://my-data/all/orc/Year=2019/part=x/");

    // Names within a column are small letters to Athena, and not to who reads JSON here.
    let nested = table_input(
        "found_json",
        "org.openx.data.jsonserde.JsonSerDe",
        &[("a", "struct<firstName:int>")],
    );
    own.table("nested", nested);
    let said = own.ask("SELECT a FROM nested").await.expect_err("refused");
    assert!(
        said.contains("no members with capitals within a column: `struct<firstName:int>`"),
        "{said}"
    );

    // Who reads partitions needs the right to.
    let reader = json!([
        {
            "Effect": "Allow",
            "Action": ["s3:*", "athena:*", "glue:GetDatabase", "glue:GetTable"],
            "Resource": "*",
        },
    ]);
    let reader = own.role("reader", "lambda.amazonaws.com", &reader);
    let denied = own.ask_as(&reader, "SELECT n FROM found_json").await.expect_err("denied");
    assert!(denied.contains("glue:GetPartitions"), "{denied}");
    own.ask_as(&reader, "SELECT n FROM found_csv").await.expect("read");
}

const BOTH: &str =
    "{\"Version\":1.0,\"Grouping\":{\"TableGroupingPolicy\":\"CombineCompatibleSchemas\"}}";

#[tokio::test]
async fn what_has_changed_is_written_as_the_policy_says() {
    for (update, configuration, expected) in [
        ("LOG", BOTH, "a int, b int"),
        ("UPDATE_IN_DATABASE", BOTH, "a int, b int, c string"),
        (
            "LOG",
            "{\"Version\":1.0,\"CrawlerOutput\":{\"Tables\":{\"AddOrUpdateBehavior\":\
             \"MergeNewColumns\"}},\"Grouping\":{\"TableGroupingPolicy\":\
             \"CombineCompatibleSchemas\"}}",
            "a int, b int, c string",
        ),
    ] {
        let own = start().await;
        own.object("t/p=1/a.json", b"{\"a\":1,\"b\":2}\n");
        let policy = json!({ "UpdateBehavior": update, "DeleteBehavior": "LOG" });
        let members = json!({ "SchemaChangePolicy": policy, "Configuration": configuration });
        define(&own, "t", members).await;
        succeeds(&own).await;
        assert_eq!(columns(&own, "t").await, "a int, b int");
        own.object("t/p=2/a.json", b"{\"a\":1,\"b\":2,\"c\":\"x\"}\n");
        succeeds(&own).await;
        assert_eq!(columns(&own, "t").await, expected, "{update}");
        // New partitions are there whatever the policy.
        assert_eq!(own.table_of("SELECT p, a FROM t ORDER BY p").await, "p|a\n1|1\n2|1");
        let log = log(&own).await;
        assert_eq!(
            log.contains("Schema change detected, not updated: table t"),
            expected == "a int, b int",
            "{log}"
        );
    }
}

#[tokio::test]
async fn what_is_gone_is_treated_as_the_policy_says() {
    for (delete, deprecated) in [
        ("LOG", Some(false)),
        ("DEPRECATE_IN_DATABASE", Some(true)),
        ("DELETE_FROM_DATABASE", None),
    ] {
        let own = start().await;
        own.object("all/t/p=1/a.json", b"{\"a\":1}\n");
        own.object("all/t/p=2/a.json", b"{\"a\":1}\n");
        own.object("all/u/a.csv", b"x,y\n1,2\n3,4\n");
        define(&own, "all", json!({ "SchemaChangePolicy": { "DeleteBehavior": delete } })).await;
        succeeds(&own).await;
        own.cloud.services.s3.remove_now(BUCKET, "all/t/p=2/a.json").expect("deleted");
        own.cloud.services.s3.remove_now(BUCKET, "all/u/a.csv").expect("deleted");
        own.object("all/v/a.csv", b"x,y\n1,2\n3,4\n");
        succeeds(&own).await;
        let params = json!({ "DatabaseName": DATABASE, "Name": "u" });
        let gone = own.glue("GetTable", params).await;
        let marked =
            gone.ok().map(|t| t["Table"]["Parameters"]["DEPRECATED_BY_CRAWLER"].is_string());
        assert_eq!(marked, deprecated, "{delete}");
        let partitions = glue::partitions::of(&own.cloud, DATABASE, "t").len();
        assert_eq!(partitions, if deprecated.is_none() { 1 } else { 2 }, "{delete}");
    }
}

#[tokio::test]
async fn a_crawl_fails_with_what_its_role_may_not_do() {
    let own = start().await;
    own.object("t/p=1/a.json", b"{\"a\":1}\n");
    define(&own, "t", json!({})).await;
    for (action, told) in [
        ("s3:ListBucket", "AccessDenied"),
        ("s3:GetObject", "AccessDenied"),
        ("glue:GetDatabase", "is not authorized to perform: glue:GetDatabase on resource"),
        ("glue:CreateTable", "is not authorized to perform: glue:CreateTable on resource"),
        ("glue:BatchCreatePartition", "is not authorized to perform: glue:BatchCreatePartition"),
    ] {
        let mut statements = statements();
        for statement in &mut statements {
            let actions = statement["Action"].as_array_mut().expect("actions");
            actions.retain(|one| one != action);
            if actions.is_empty() {
                actions.push(json!("s3:GetObjectAcl"));
            }
        }
        own.role("crawl", "glue.amazonaws.com", &json!(statements));
        let last = crawl(&own).await;
        assert_eq!(last["Status"], "FAILED", "{action}");
        let message = last["ErrorMessage"].as_str().expect("a message");
        assert!(message.contains(told), "{action}: {message}");
    }
    own.role("crawl", "lambda.amazonaws.com", &json!(statements()));
    let last = crawl(&own).await;
    assert!(last["ErrorMessage"].as_str().expect("a message").contains("crawl"), "{last}");
    // A log that may not be written is lost, and the crawl goes on.
    let mut statements = statements();
    statements.pop();
    own.role("crawl", "glue.amazonaws.com", &json!(statements));
    let last = crawl(&own).await;
    assert_eq!(
        (&last["Status"], &last["LogGroup"]),
        (&json!("SUCCEEDED"), &json!("/aws-glue/crawlers"))
    );
}

#[tokio::test]
async fn a_crawler_works_once_at_a_time_and_can_be_stopped() {
    let own = start().await;
    own.object("t/a.json", b"{\"a\":1}\n");
    let call = async |operation: &str| {
        let answer = own.glue(operation, json!({ "Name": NAME })).await;
        answer.map(|_| ()).map_err(|error| error.to_string())
    };
    let missing = "EntityNotFoundException: Crawler entry with name finder does not exist";
    assert_eq!(call("StartCrawler").await, Err(missing.to_owned()));
    define(&own, "t", json!({ "Description": "Finds" })).await;
    let params = json!({ "Name": NAME, "Role": "crawl", "DatabaseName": DATABASE,
        "Targets": { "S3Targets": [{ "Path": "s3://my-data/t/" }] } });
    let again = own.glue("CreateCrawler", params).await.expect_err("there is one");
    assert_eq!(again.code, "AlreadyExistsException");
    assert!(call("StopCrawler").await.expect_err("idle").starts_with("CrawlerNotRunningException"));
    call("StartCrawler").await.expect("started");
    let busy = "CrawlerRunningException: Crawler with name finder has already started";
    for operation in ["StartCrawler", "DeleteCrawler", "UpdateCrawler"] {
        assert_eq!(call(operation).await, Err(busy.to_owned()), "{operation}");
    }
    call("StopCrawler").await.expect("stopped");
    let crawler = finished(&own).await;
    assert_eq!(crawler["LastCrawl"]["Status"], "CANCELLED");
    succeeds(&own).await;
    let params = json!({ "Name": NAME, "TablePrefix": "x_" });
    own.glue("UpdateCrawler", params).await.expect("changed");
    let crawler = finished(&own).await;
    assert_eq!((&crawler["Version"], &crawler["Description"]), (&json!(2), &json!("Finds")));
    let listed = own.glue("GetCrawlers", json!({})).await.expect("listed");
    assert_eq!(listed["Crawlers"], json!([crawler]));
    for (member, value) in [("Schedule", json!("cron(0 6 * * ? *)")), ("Classifiers", json!(["x"]))]
    {
        let params = json!({ "Name": NAME, member: value });
        let refused = own.glue("UpdateCrawler", params).await.expect_err("refused");
        assert_eq!(refused.code, "NotImplemented", "{member}");
    }
    call("DeleteCrawler").await.expect("deleted");
    assert_eq!(call("GetCrawler").await, Err(missing.to_owned()));
}

#[tokio::test]
async fn a_table_of_the_same_name_is_the_same_only_at_the_same_place() {
    let own = start().await;
    own.object("raw/b.csv", b"region,year\nA,2000\nB,2001\n");
    own.table("t", table_input("elsewhere", CSV, &[("x", "string")]));
    own.object("in/t/a.json", b"{\"a\":1}\n");
    define(&own, "in/t", json!({})).await;
    succeeds(&own).await;
    assert_eq!(columns(&own, "t").await, "x string");
    let tables = glue::tables_of(&own.cloud, DATABASE);
    let hashed = tables.iter().find(|table| table.name.starts_with("t_")).expect("a suffix");
    assert_eq!(hashed.name.len(), 34);
    succeeds(&own).await;
    assert_eq!(glue::tables_of(&own.cloud, DATABASE).len(), tables.len(), "none more");
    // At the same place it is written anew, whoever made it.
    own.object("t/a.json", b"{\"a\":1}\n");
    own.table("t", table_input("t", CSV, &[("x", "string")]));
    let params =
        json!({ "Name": NAME, "Targets": { "S3Targets": [{ "Path": "s3://my-data/t" }] } });
    own.glue("UpdateCrawler", params).await.expect("changed");
    succeeds(&own).await;
    assert_eq!(columns(&own, "t").await, "a int");
}

#[tokio::test]
async fn athena_refuses_a_partition_of_another_schema_and_a_column_that_is_there_twice() {
    let own = start().await;
    own.object("t/p=1/a.csv", b"x,y\n1,2\n3,4\n");
    own.object("t/p=2/a.csv", b"x,y\n1,a\n3,b\n");
    own.object("t/p=2/b.csv", b"x,y\n1,a\n3,b\n");
    define(&own, "t", json!({})).await;
    succeeds(&own).await;
    assert_eq!(columns(&own, "t").await, "x bigint, y string");
    let said = own.ask("SELECT y FROM t").await.expect_err("refused");
    assert!(
        said.starts_with("HIVE_PARTITION_SCHEMA_MISMATCH: ")
            && said.contains(
                "The column 'y' in table 'db.t' is declared as type 'string', but \
                              partition 'p=1' declared column 'y' as type 'bigint'."
            ),
        "{said}"
    );
    let inherit = "{\"Version\":1.0,\"CrawlerOutput\":{\"Partitions\":{\"AddOrUpdateBehavior\":\
                   \"InheritFromTable\"}}}";
    let params = json!({ "Name": NAME, "Configuration": inherit });
    own.glue("UpdateCrawler", params).await.expect("changed");
    succeeds(&own).await;
    assert_eq!(own.table_of("SELECT y FROM t WHERE p = '1'").await, "y\n2\n4");
    let params =
        json!({ "Name": NAME, "Targets": { "S3Targets": [{ "Path": "s3://my-data/u" }] } });
    own.glue("UpdateCrawler", params).await.expect("changed");
    own.object("u/x=1/a.csv", b"x,y\n1,2\n3,4\n");
    succeeds(&own).await;
    let said = own.ask("SELECT y FROM u").await.expect_err("refused");
    assert!(said.contains("Table descriptor contains duplicate columns"), "{said}");
}

/// A stack with a database, a crawler and a machine that starts it.
fn template(description: &str) -> String {
    let definition = json!({
        "QueryLanguage": "JSONata", "StartAt": "Start",
        "States": {
            "Start": {
                "Type": "Task", "Resource": "arn:aws:states:::aws-sdk:glue:startCrawler",
                "Arguments": { "Name": NAME }, "Next": "Again",
            },
            "Again": {
                "Type": "Task", "Resource": "arn:aws:states:::aws-sdk:glue:startCrawler",
                "Arguments": { "Name": NAME }, "Next": "Look",
                "Catch": [{ "ErrorEquals": ["Glue.CrawlerRunningException"], "Next": "Look" }],
            },
            "Look": {
                "Type": "Task", "Resource": "arn:aws:states:::aws-sdk:glue:getCrawler",
                "Arguments": { "Name": NAME }, "End": true,
            },
        },
    });
    format!(
        "Resources:
  Database:
    Type: AWS::Glue::Database
    Properties:
      CatalogId: !Ref AWS::AccountId
      DatabaseInput: {{ Name: db }}
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: all
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement:
          - Effect: Allow
            Principal: {{ Service: [glue.amazonaws.com, states.amazonaws.com] }}
            Action: sts:AssumeRole
      Policies:
        - PolicyName: all
          PolicyDocument:
            Version: '2012-10-17'
            Statement: [{{ Effect: Allow, Action: '*', Resource: '*' }}]
  Crawler:
    Type: AWS::Glue::Crawler
    Properties:
      Name: {NAME}
      Description: {description}
      Role: !GetAtt Role.Arn
      DatabaseName: !Ref Database
      Targets: {{ S3Targets: [{{ Path: s3://my-data/t/ }}] }}
      RecrawlPolicy: {{ RecrawlBehavior: CRAWL_EVERYTHING }}
      SchemaChangePolicy: {{ UpdateBehavior: LOG, DeleteBehavior: LOG }}
      Tags: {{ team: a }}
  Machine:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      StateMachineName: m
      RoleArn: !GetAtt Role.Arn
      DefinitionString: '{definition}'
Outputs:
  Crawler: {{ Value: !Ref Crawler }}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_has_a_crawler_which_a_machine_starts() {
    let own = running::start().await;
    own.cloud.services.s3.create("my-data", Value::Null).expect("a bucket");
    own.cloud.services.s3.put_bytes("my-data", "t/a.json", b"{\"a\":1}\n").expect("stored");
    let id = own.create(&template("One")).await;
    assert_eq!(
        own.cloud.services.cloudformation.stacks.get(&id).expect("the stack").status,
        "CREATE_COMPLETE"
    );
    let administrator = own.cloud.identities.administrator();
    let glue = async |operation: &str| {
        let params = json!({ "Name": NAME });
        service::call(&own.cloud, &administrator, "glue", operation, &params)
            .await
            .expect("answered")
    };
    let crawler = glue("GetCrawler").await["Crawler"].clone();
    assert_eq!((&crawler["Description"], &crawler["State"]), (&json!("One"), &json!("READY")));

    let arn = own.cloud.config.arn("states", "stateMachine:m");
    let params = json!({ "stateMachineArn": arn });
    let began =
        service::call(&own.cloud, &administrator, "states", "StartExecution", &params).await;
    let execution = began.expect("started")["executionArn"].as_str().expect("an ARN").to_owned();
    let output = loop {
        let execution =
            own.cloud.services.states.executions.get(&execution).expect("the execution");
        if execution.stopped.is_some() {
            assert_eq!(execution.status, "SUCCEEDED", "{:?}", execution.failure);
            break execution.output.clone().expect("an output");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(output["Crawler"]["Name"], NAME);
    let text = output["Crawler"]["CreationTime"].as_str().expect("a text");
    text.parse::<jiff::Timestamp>().expect("a time");

    while glue("GetCrawler").await["Crawler"]["State"] != "READY" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(own.cloud.services.glue.tables.all().len(), 1);
    let change = json!({ "StackName": "s", "TemplateBody": template("Two"),
        "Capabilities": ["CAPABILITY_NAMED_IAM"] });
    own.call("UpdateStack", change).await.expect("accepted");
    assert_eq!(own.settle(&id).await, "UPDATE_COMPLETE", "{:?}", own.reasons(&id).await);
    assert_eq!(glue("GetCrawler").await["Crawler"]["Description"], "Two");
    glue("StartCrawler").await;
    own.call("DeleteStack", json!({ "StackName": "s" })).await.expect("accepted");
    assert_eq!(own.settle(&id).await, "DELETE_COMPLETE", "{:?}", own.reasons(&id).await);
    assert!(
        own.cloud.services.glue.crawlers.is_empty() && own.cloud.services.glue.tables.is_empty()
    );
}
