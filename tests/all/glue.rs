//! Jobs: where they may read and write, what they delete, how they end.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::serving::now;
use serde_json::{Value, json};
use steppe_cloud::kernel::service;
use steppe_cloud::services::glue;
use steppe_cloud::services::logs::LogGroup;

use crate::catalogued::{BUCKET, Catalogued};
use crate::tools::binary;

const JOB: &str = "clean";

/// A plan that turns away records without a year.
fn plan(pipeline: &str) -> Vec<u8> {
    plan_at(pipeline, &format!("s3://{BUCKET}/"), "processed/x/").to_string().into_bytes()
}

fn plan_at(pipeline: &str, root: &str, output: &str) -> Value {
    let column = |name: &str, kind: &str| json!({ "source": name, "name": name, "type": kind });
    json!({
        "schema_version": 4, "pipeline": pipeline, "root": root, "report": "reports/x/etl.json",
        "tables": [],
        "inputs": [{
            "name": "x", "prefix": "input/", "format": "csv",
            "csv": { "delimiter": ",", "skip_lines": 0, "leave_out_footnotes": false },
            "columns": [column("region", "string"), column("year", "int")],
            "fatal_rules": [],
            "rule_columns": [],
            "cleaning_sql": "SELECT _row, region, CAST(year AS INT) AS year FROM raw",
            "judged_sql": "SELECT *, CASE WHEN year IS NULL THEN 'year' END AS _rule FROM typed",
            "clean_sql": "SELECT region, year FROM judged WHERE _rule IS NULL",
            "rejects_sql": "SELECT file.*, 'year' AS _rule, 'none' AS _reason FROM file \
                            WHERE year IS NULL",
            "output": { "prefix": output, "format": "parquet" },
            "rejects": "rejects/x/",
        }],
    })
}

fn arguments() -> BTreeMap<String, String> {
    [
        ("--plan", format!("s3://{BUCKET}/glue/plan.json")),
        ("--custom-logGroup-prefix", "/steppe/clean".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// What Glue's documentation asks for, on this job's places.
fn statements() -> Vec<Value> {
    let bucket = format!("arn:aws:s3:::{BUCKET}");
    let one = |sid: &str, action: &str, resources: &[&str]| {
        let resources: Vec<String> = resources.iter().map(|key| format!("{bucket}{key}")).collect();
        json!({ "Sid": sid, "Effect": "Allow", "Action": action, "Resource": resources })
    };
    vec![
        one("Read", "s3:GetObject", &["/glue/*", "/input/*", "/reports/*"]),
        one("List", "s3:ListBucket", &[""]),
        one("Write", "s3:PutObject", &["/processed/*", "/rejects/*", "/reports/*"]),
        one("Delete", "s3:DeleteObject", &["/processed/*", "/rejects/*"]),
        json!({
            "Sid": "Logs", "Effect": "Allow", "Resource": "*",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        }),
    ]
}

async fn start() -> Catalogued {
    let own = Catalogued::start().await;
    own.object("glue/etl.py", b"# not run here");
    own.object("glue/plan.json", &plan("x"));
    own.object("input/data.csv", b"region,year\nA,2000\nB,\n");
    for stream in ["output", "error"] {
        let group = LogGroup { retention_days: None, created: jiff::Timestamp::now() };
        own.cloud
            .services
            .logs
            .groups
            .put(&format!("/steppe/clean/{stream}"), group)
            .expect("stored");
    }
    with_role(&own, &statements());
    own
}

fn with_role(own: &Catalogued, statements: &[Value]) {
    own.role("clean", "glue.amazonaws.com", &json!(statements));
    let job = glue::Job {
        role: "arn:aws:iam::000000000000:role/clean".to_owned(),
        script: format!("s3://{BUCKET}/glue/etl.py"),
        arguments: arguments(),
        timeout_mins: 5,
        concurrent_max: 1,
        described: Value::Null,
        times: None,
    };
    own.cloud.services.glue.jobs.put(JOB, job).expect("stored");
}

/// Runs the job to its end: state and error.
async fn run(own: &Catalogued, more: Value) -> (String, String) {
    let params = json!({ "JobName": JOB, "Arguments": more });
    let started = own.glue("StartJobRun", params).await.expect("started");
    let id = started["JobRunId"].as_str().expect("an ID").to_owned();
    for _ in 0..6_000 {
        let params = json!({ "JobName": JOB, "RunId": id });
        let run = own.glue("GetJobRun", params).await.expect("described")["JobRun"].clone();
        if run.get("CompletedOn").is_some() {
            let text = |name: &str| run[name].as_str().unwrap_or_default().to_owned();
            return (text("JobRunState"), text("ErrorMessage"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the run does not end");
}

#[tokio::test]
async fn a_job_takes_places_in_s3_and_nothing_else() {
    let own = start().await;
    let before = own.keys();
    for (name, value) in [
        ("--plan", "/p.json"),
        ("--plan", "p.json"),
        // What has no effect here is not taken.
        ("--extra-py-files", "s3://my-data/x.py"),
    ] {
        let params = json!({ "JobName": JOB, "Arguments": { name: value } });
        let refused = own.glue("StartJobRun", params).await.expect_err(value);
        assert_eq!(
            (refused.status, refused.code.as_str()),
            (400, "InvalidInputException"),
            "{name} {value}"
        );
    }
    let params = json!({ "JobName": JOB, "WorkerType": "G.1X" });
    let refused = own.glue("StartJobRun", params).await.expect_err("refused");
    assert_eq!(refused.code, "NotImplemented");
    assert_eq!((own.cloud.services.glue.job_runs.all().len(), own.keys()), (0, before));
    // The plan says where the job reads and writes: in S3, and nowhere in anything else of it.
    for (root, output, told) in [
        ("/etc", "processed/x/", "must begin with `s3://`"),
        ("file:///etc", "processed/x/", "must begin with `s3://`"),
        ("s3://my-data/..", "processed/x/", "is not a usable key"),
        ("s3://my-data", "rejects/x/y/", "overlap"),
        ("s3://my-data", "../x/", "is not a usable key"),
    ] {
        let plan = plan_at("x", root, output).to_string();
        own.object("glue/plan.json", plan.as_bytes());
        let (state, error) = run(&own, json!({})).await;
        assert!(state == "FAILED" && error.contains(told), "{root} {output}: {error}");
    }
    for wrong in ["file:///home/u/", "/home/u", "s3://my-data/", "s3://my-data"] {
        let input = json!({ "StorageDescriptor": { "Location": wrong } });
        assert!(glue::check_table_input(&input).is_err(), "{wrong}");
    }
}

#[test]
fn the_engine_of_the_cloud_has_no_files() {
    let folder = tempfile::TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("plan.json"), plan("x")).expect("written");
    let output = Command::new(binary("steppe-etl"))
        .args(["clean", "--plan", "plan.json"])
        .current_dir(folder.path())
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("must begin with `s3://`"), "{said}");
}

#[tokio::test]
async fn a_job_deletes_only_what_its_last_report_names() {
    let own = start().await;
    assert_eq!(run(&own, json!({})).await, ("SUCCEEDED".to_owned(), String::new()));
    let rejects = "rejects/x/part-00000.csv";
    let report = "reports/x/etl.json";
    assert!(own.keys().iter().any(|key| key == rejects));
    // An older part of the table, as an engine with other names of files would have left it.
    own.object("processed/x/part-old.parquet", b"old");
    let text = own.cloud.services.s3.read(BUCKET, report).expect("a report");
    let mut former: Value = serde_json::from_slice(&text).expect("JSON");
    let objects = former["objects"].as_array_mut().expect("a list");
    objects.push(format!("s3://{BUCKET}/processed/x/part-old.parquet").into());
    // A report that names what is not the job's own deletes nothing of it.
    objects.push(format!("s3://{BUCKET}/kept/precious.csv").into());
    own.object("kept/precious.csv", b"precious");
    own.object("rejects/x/_of-somebody.csv", b"theirs");
    own.object(report, former.to_string().as_bytes());
    own.object("input/data.csv", b"region,year\nA,2000\n");
    assert_eq!(run(&own, json!({})).await, ("SUCCEEDED".to_owned(), String::new()));
    let keys = own.keys();
    let there = |key: &str| keys.iter().any(|k| k == key);
    assert!(!there(rejects) && !there("processed/x/part-old.parquet"), "{keys:?}");
    assert!(there("kept/precious.csv") && there("rejects/x/_of-somebody.csv"), "{keys:?}");
    assert!(there("processed/x/part-00000.parquet"));
}

#[tokio::test]
async fn a_job_refuses_an_output_that_holds_what_it_did_not_write() {
    let own = start().await;
    own.object("processed/x/photo.jpg", b"mine");
    own.object("processed/x/_SUCCESS", b"");
    let before = own.keys();
    let (state, error) = run(&own, json!({})).await;
    assert_eq!(state, "FAILED");
    assert!(error.contains("processed/x/photo.jpg was not written by this job"), "{error}");
    assert_eq!(own.keys(), before);
    own.cloud.services.s3.remove_now(BUCKET, "processed/x/photo.jpg").expect("removed");
    // Neither in the rejects nor under a name that XML or a path cannot carry; a mark of a folder
    // is nothing.
    own.object("processed/x/", b"");
    for (key, shown) in [
        ("rejects/x/theirs.csv", "rejects/x/theirs.csv"),
        ("processed/x/a//b", "processed/x/a//b"),
        ("processed/x/\u{1}", "processed/x/\\u{1}"),
    ] {
        own.object(key, b"theirs");
        let (state, error) = run(&own, json!({})).await;
        let said = format!("{shown} was not written by this job");
        assert!(state == "FAILED" && error.contains(&said), "{key:?}: {error}");
        own.cloud.services.s3.remove_now(BUCKET, key).expect("removed");
    }
    // The report of another pipeline gives no rights either.
    assert_eq!(run(&own, json!({})).await.0, "SUCCEEDED");
    own.object("glue/plan.json", &plan("another"));
    let (state, error) = run(&own, json!({})).await;
    assert!(state == "FAILED" && error.contains("two pipelines need two places"), "{error}");
}

#[tokio::test]
async fn a_role_needs_what_glue_documents_and_logs_go_where_glue_5_sends_them() {
    let own = start().await;
    assert_eq!(run(&own, json!({})).await.0, "SUCCEEDED");
    let output = own.cloud.services.logs.groups.contains("/steppe/clean/output");
    assert!(output && log_of(&own, "/steppe/clean/output").contains("\"clean_rows\":1"));
    own.object("input/data.csv", b"region\nA\n");
    assert_eq!(run(&own, json!({})).await.0, "FAILED");
    assert!(log_of(&own, "/steppe/clean/error").contains("year"));
    own.object("input/data.csv", b"region,year\nA,2000\n");
    for (left_out, statement) in statements().iter().enumerate() {
        let mut rest = statements();
        rest.remove(left_out);
        with_role(&own, &rest);
        let (state, error) = run(&own, json!({})).await;
        let sid = statement["Sid"].as_str().expect("a name");
        // A log that cannot be written is lost, and the run goes on.
        let expected = if sid == "Logs" { "SUCCEEDED" } else { "FAILED" };
        assert_eq!(state, expected, "{sid}: {error}");
    }
    // Without a prefix they go to Glue's own groups, which the role may not make.
    with_role(&own, &statements());
    let mut job = (*own.cloud.services.glue.jobs.get(JOB).expect("the job")).clone();
    job.arguments.remove("--custom-logGroup-prefix");
    own.cloud.services.glue.jobs.put(JOB, job).expect("stored");
    assert_eq!(run(&own, json!({})).await.0, "SUCCEEDED");
    assert!(!own.cloud.services.logs.groups.contains("/aws-glue/jobs/output"));
}

fn log_of(own: &Catalogued, group: &str) -> String {
    let caller = own.administrator();
    let params = json!({ "logGroupName": group });
    let events = now(&own.cloud, &caller, "logs", "FilterLogEvents", &params);
    events.expect("events").to_string().replace("\\\"", "\"")
}

#[tokio::test]
async fn two_starts_at_once_do_not_both_get_the_last_place() {
    let own = start().await;
    let params = json!({ "JobName": JOB });
    let starts: Vec<_> = (0..20)
        .map(|_| {
            let (cloud, params) = (own.cloud.clone(), params.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                let caller = cloud.identities.administrator();
                let started = runtime.block_on(service::call(
                    &cloud,
                    &caller,
                    "glue",
                    "StartJobRun",
                    &params,
                ));
                started.map(|answer| answer["JobRunId"].as_str().expect("an ID").to_owned())
            })
        })
        .collect();
    let answers: Vec<_> = starts.into_iter().map(|s| s.join().expect("ends")).collect();
    let started = answers.iter().filter(|a| a.is_ok()).count();
    assert_eq!(started, 1, "{answers:?}");
    for refused in answers.iter().filter_map(|a| a.as_ref().err()) {
        assert_eq!(refused.code, "ConcurrentRunsExceededException");
    }
}

#[tokio::test]
async fn runs_of_a_cloud_that_is_no_more_are_ended_and_free_their_place() {
    let own = start().await;
    let run_at_work = glue::JobRun {
        job: JOB.to_owned(),
        state: "RUNNING".to_owned(),
        error: None,
        started: jiff::Timestamp::now(),
        completed: None,
    };
    own.cloud.services.glue.job_runs.put("jr_1", run_at_work).expect("stored");
    let refused = own.glue("StartJobRun", json!({ "JobName": JOB })).await.expect_err("full");
    assert_eq!(refused.code, "ConcurrentRunsExceededException");
    glue::end_orphans(&own.cloud);
    let ended = own.cloud.services.glue.job_runs.get("jr_1").expect("the run");
    assert_eq!(ended.state, "FAILED");
    assert!(ended.error.as_deref().is_some_and(|e| e.contains("was stopped while")), "{ended:?}");
    assert_eq!(run(&own, json!({})).await.0, "SUCCEEDED");
    let stopped = own
        .glue("BatchStopJobRun", json!({ "JobName": JOB, "JobRunIds": ["jr_1", "nothing"] }))
        .await
        .expect("an answer");
    assert_eq!(stopped["Errors"].as_array().map(Vec::len), Some(2), "{stopped}");
    let page =
        own.glue("GetJobRuns", json!({ "JobName": JOB, "MaxResults": 1 })).await.expect("a page");
    assert!(page["NextToken"].is_string());
}

#[test]
fn an_engine_ends_when_its_leash_is_let_go() {
    let mut engine = Command::new(binary("steppe-etl"))
        .arg("query")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    assert!(engine.try_wait().expect("known").is_none(), "it waits for its query");
    drop(engine.stdin.take());
    let status = engine.wait().expect("ends");
    assert!(!status.success());
}
