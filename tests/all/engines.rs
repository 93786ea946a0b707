//! Engines at work when their cloud is killed or stopped: none is left, and their work is ended.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use steppe_cloud::kernel::processes::{Signal, tell};
use tempfile::TempDir;

use crate::in_process::{is_alive, until};
use crate::signed_client::Signed;
use crate::tools::binary;

/// Role, bucket, work group and a job that works for hours.
const TEMPLATE: &str = r#"
Resources:
  Bucket: { Type: AWS::S3::Bucket, Properties: { BucketName: my-data } }
  Group:
    Type: AWS::Athena::WorkGroup
    Properties:
      Name: group
      WorkGroupConfiguration: { ResultConfiguration: { OutputLocation: s3://my-data/athena/ } }
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: cleaner
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - { Effect: Allow, Principal: { Service: glue.amazonaws.com }, Action: sts:AssumeRole }
      Policies:
        - PolicyName: p
          PolicyDocument:
            Version: "2012-10-17"
            Statement: [{ Sid: All, Effect: Allow, Action: "s3:*", Resource: "*" }]
  Job:
    Type: AWS::Glue::Job
    Properties:
      Name: job
      Role: !GetAtt Role.Arn
      Command: { Name: glueetl, ScriptLocation: s3://my-data/glue/etl.py }
      DefaultArguments:
        --plan: s3://my-data/glue/plan.json
"#;

fn serve(folder: &Path) -> Child {
    Command::new(binary("steppe-cloud"))
        .arg("serve")
        .arg("--state")
        .arg(folder)
        .args(["--port", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started")
}

/// Children of a process that run the engine.
fn engines_of(parent: u32) -> Vec<u64> {
    let entries = std::fs::read_dir("/proc").expect("Linux").flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u64>().ok());
    let is_engine = |pid: &u64| {
        let about = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = about.rsplit_once(") ").map_or("", |(_, rest)| rest);
        about.contains("(steppe-etl)")
            && after_name.split(' ').nth(1) == Some(parent.to_string().as_str())
    };
    pids.filter(is_engine).collect()
}

async fn athena(client: &Signed, operation: &str, params: &Value) -> Value {
    let target = format!("AmazonAthena.{operation}");
    let answer = client.json("athena", &target, params).await.expect("answered");
    assert!(answer.is_ok(), "{}", answer.text());
    answer.json()
}

async fn glue(client: &Signed, operation: &str, params: &Value) -> Value {
    let answer = client.json("glue", &format!("AWSGlue.{operation}"), params).await;
    let answer = answer.expect("answered");
    assert!(answer.is_ok(), "{}", answer.text());
    answer.json()
}

async fn prepare(client: &Signed) {
    let params = [
        ("StackName", "s"),
        ("TemplateBody", TEMPLATE),
        ("Capabilities.member.1", "CAPABILITY_NAMED_IAM"),
    ];
    let created = client.stacks("CreateStack", &params).await.expect("answered");
    assert!(created.is_ok(), "{}", created.text());
    for _ in 0..3_000 {
        let described = client.stacks("DescribeStacks", &[("StackName", "s")]).await;
        let text = described.expect("answered").text();
        assert!(!text.contains("ROLLBACK"), "{text}");
        if text.contains("CREATE_COMPLETE") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let rows: String = (0..3_000).map(|n| format!("{n}\n")).collect();
    let plan = json!({
        "schema_version": 4, "pipeline": "p", "root": "s3://my-data/",
        "report": "reports/etl.json", "tables": [],
        "inputs": [{
            "name": "x", "prefix": "raw/", "format": "csv",
            "csv": { "delimiter": ",", "skip_lines": 0, "leave_out_footnotes": false },
            "columns": [], "fatal_rules": [], "rule_columns": [],
            "cleaning_sql": "SELECT a.n, a._row FROM raw a, raw b, raw c WHERE a.n = b.n || c.n",
            "judged_sql": "SELECT *, CAST(NULL AS STRING) AS _rule FROM typed",
            "clean_sql": "SELECT n FROM judged",
            "rejects_sql": "SELECT file.*, '' AS _rule, '' AS _reason FROM file WHERE 1 = 0",
            "output": { "prefix": "processed/", "format": "parquet" }, "rejects": "rejects/",
        }],
    });
    for (key, body) in [
        ("glue/etl.py", "#".to_owned()),
        ("glue/plan.json", plan.to_string()),
        ("raw/data.csv", format!("n\n{rows}")),
    ] {
        let put = client.send("s3", "PUT", &format!("/my-data/{key}"), &[], body).await;
        assert!(put.expect("answered").is_ok(), "{key}");
    }
}

/// Begins a job and a query; their IDs.
async fn begin(client: &Signed, round: usize) -> (String, String) {
    let numbers = vec!["(1)"; 2_000].join(", ");
    let sql = format!(
        "WITH a (n) AS (VALUES {numbers}) SELECT count(*) FROM a w, a x, a y, a z \
         WHERE w.n + x.n + y.n + z.n = 5"
    );
    let params = json!({
        "QueryString": sql, "WorkGroup": "group", "ClientRequestToken": format!("{round:0>40}"),
    });
    let query = athena(client, "StartQueryExecution", &params).await;
    let run = glue(client, "StartJobRun", &json!({ "JobName": "job" })).await;
    let text = |value: &Value| value.as_str().expect("an ID").to_owned();
    (text(&run["JobRunId"]), text(&query["QueryExecutionId"]))
}

#[tokio::test]
async fn no_engine_outlives_its_cloud_and_its_work_is_ended() {
    let scratch = TempDir::new().expect("a folder");
    let folder = scratch.path().join("cloud");
    let about = folder.join("cloud.json");
    for (round, signal) in [None, Some(Signal::Terminate)].into_iter().enumerate() {
        let mut cloud = serve(&folder);
        until("the cloud runs", || about.exists()).await;
        let client = Signed::of(&folder);
        if round == 0 {
            prepare(&client).await;
        }
        // The place of the job that the last round left at work is free.
        let (run, query) = begin(&client, round).await;
        until("two engines work", || engines_of(cloud.id()).len() == 2).await;
        let engines = engines_of(cloud.id());
        match signal {
            None => cloud.kill().expect("killed"),
            Some(signal) => tell(cloud.id(), signal),
        }
        cloud.wait().expect("ended");
        until("no engine is left", || engines.iter().all(|pid| !is_alive(*pid))).await;
        if about.exists() {
            std::fs::remove_file(&about).expect("removed");
        }
        let mut cloud = serve(&folder);
        until("the cloud runs", || about.exists()).await;
        let client = Signed::of(&folder);
        let params = json!({ "JobName": "job", "RunId": run });
        let run = glue(&client, "GetJobRun", &params).await["JobRun"].clone();
        assert_eq!(run["JobRunState"], "FAILED", "{run}");
        let params = json!({ "QueryExecutionId": query });
        let query = athena(&client, "GetQueryExecution", &params).await["QueryExecution"].clone();
        assert_eq!(query["Status"]["State"], "FAILED", "{query}");
        for reason in [&run["ErrorMessage"], &query["Status"]["StateChangeReason"]] {
            assert!(reason.as_str().is_some_and(|r| r.contains("was stopped while")), "{reason}");
        }
        cloud.kill().expect("killed");
        cloud.wait().expect("ended");
        std::fs::remove_file(&about).expect("removed");
    }
}
