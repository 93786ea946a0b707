//! The checks of runs on the embedded cloud: what ends a run, who is told, and what many uploads
//! start.

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};
use steppe_wire::etl::EtlReport;
use steppe_wire::keys;

use crate::checkout::{Checkout, Said};
use crate::checks::forecast;
use crate::signed_client::Signed;
use crate::workspace::{edit_manifest, workspace};

const DATA_BUCKET: &str = "steppe-marriages-local-data-000000000000";
const MACHINE: &str = "arn:aws:states:us-east-1:000000000000:stateMachine:steppe-marriages-local";

/// Regions that grow by ten a year.
fn table(regions: std::ops::Range<u32>) -> String {
    let rows = regions.flat_map(|region| (2000..2024).map(move |year| (region, year)));
    let rows = rows.map(|(region, year)| {
        format!("R{region:02},{year},{}\n", 1_000 * (region + 1) + 10 * (year - 2000))
    });
    format!("region,year,marriages\n{}", rows.collect::<String>())
}

/// Mails about runs that failed.
fn told_failures(checkout: &Checkout) -> usize {
    checkout.mails().iter().filter(|mail| mail.contains("the run failed")).count()
}

/// When the parts of the clean table were written.
async fn written(bucket: &impl ObjectStore) -> Vec<String> {
    let folder = Path::from("processed/marriages");
    let found: Vec<_> = bucket.list(Some(&folder)).collect().await;
    let told = |found: object_store::Result<object_store::ObjectMeta>| {
        let found = found.expect("listed");
        format!("{} {}", found.location, found.last_modified)
    };
    found.into_iter().map(told).collect()
}

#[tokio::test]
async fn bad_inputs_end_a_run_before_anything_is_cleaned_and_people_are_told() {
    let checkout = Checkout::new();
    checkout.done(&["deploy", "--data", &checkout.csv(&table(0..20))]);
    let bucket = checkout.bucket(DATA_BUCKET);
    let cleaned = written(&bucket).await;
    let own = "raw/marriages/marriages/data.csv";
    let more = "raw/marriages/marriages/more.csv";
    let cases = [
        (more, "".to_owned(), "raw/marriages/marriages/more.csv: the file is empty"),
        (more, "{\"region\": 1}\n".to_owned(), "more.csv: the file is JSON"),
        (more, "region,year\nA,2000\n".to_owned(), "column `marriages` is missing"),
        (more, "region,year,marriages,x\nA,2000,1,2\n".to_owned(), "has a column `x`, and raw/"),
        (own, table(0..1), "and the run before read"),
    ];
    for (key, text, told) in &cases {
        bucket.put(&Path::from(*key), text.clone().into()).await.expect("uploaded");
        let said = checkout.run(&["retrain"]);
        assert!(said.code == Some(1) && said.err.contains("BadInputs"), "{told}: {}", said.err);
        assert!(said.err.contains(told) && said.err.contains("hint: "), "{told}\n{}", said.err);
        let about = |mail: &str| mail.contains("the run failed") && mail.contains(told);
        let mail = checkout.mail_that(about).await;
        assert!(mail.contains("Error: BadInputs\r\nCause: input `marriages`: "), "{mail}");
        let decided = checkout.run(&["redrive"]).err;
        assert!(decided.contains("the newest run was ended by its own checks"), "{decided}");
        assert!(!said.err.contains("redrive"), "{}", said.err);
        if *key == more {
            bucket.delete(&Path::from(*key)).await.expect("deleted");
        }
    }
    bucket.delete(&Path::from(own)).await.expect("deleted");
    let none = checkout.run(&["smoke-test"]);
    assert!(none.err.contains("there are no files at raw/marriages/marriages/"), "{}", none.err);
    let about = "there are no files";
    checkout.mail_that(|m| m.contains("the run failed") && m.contains(about)).await;
    assert_eq!(told_failures(&checkout), cases.len() + 1);
    assert_eq!(written(&bucket).await, cleaned, "nothing was written");
    assert!(checkout.done(&["logs", "check"]).out.contains("REPORT RequestId"));
    // Somebody who deploys so little means it.
    let deployed = checkout.done(&["deploy", "--data", &checkout.csv(&table(0..1))]);
    assert!(deployed.err.contains("the pipeline: 1 series forecast"), "{}", deployed.err);
}

#[test]
fn a_run_on_stale_inputs_is_refused() {
    let checkout = Checkout::new();
    let folder = workspace(&checkout.path().join("workspace"));
    edit_manifest(&folder, "marriages", |line| match line {
        "sample = \"sample.csv\"" => format!("{line}\nfresh_within = \"1 second\""),
        other => other.to_owned(),
    });
    let run = |arguments: &[&str]| Said::of(checkout.command(arguments).current_dir(&folder));
    assert_eq!(run(&["deploy", "--no-run"]).code, Some(0));
    // The first run may still be in time; then the data are stale when it has ended.
    run(&["retrain"]);
    let said = run(&["retrain"]);
    assert!(said.err.contains("it must be fresh within 1 second"), "{}", said.err);
    assert!(said.err.contains("hint: upload newer files, or let `fresh_within`"), "{}", said.err);
}

/// What Step Functions answers.
async fn states(client: &Signed, operation: &str, params: Value) -> Value {
    let target = format!("AWSStepFunctions.{operation}");
    let answer = client.json("states", &target, &params).await.expect("an answer");
    assert!(answer.is_ok(), "{}", answer.text());
    answer.json()
}

/// The executions, newest first, once all of at least `count` have ended.
async fn ended(client: &Signed, count: usize) -> Vec<Value> {
    for _ in 0..2_400 {
        let asked = json!({ "stateMachineArn": MACHINE, "maxResults": 1_000 });
        let found = states(client, "ListExecutions", asked).await;
        let found = found["executions"].as_array().expect("executions").clone();
        if found.len() >= count && found.iter().all(|e| e["status"] != "RUNNING") {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("fewer than {count} executions have ended");
}

#[tokio::test]
async fn forecasts_that_are_not_whole_reach_nobody() {
    let checkout = Checkout::new();
    checkout.done(&["deploy", "--data", &checkout.csv(&table(0..3))]);
    let bucket = checkout.bucket(DATA_BUCKET);
    let ready = || checkout.mails().iter().filter(|m| m.contains("forecasts are ready")).count();
    assert_eq!(ready(), 1);
    let client = Signed::of(&checkout.path().join("local"));
    let asked = json!({ "stateMachineArn": MACHINE, "name": "doctored", "input": "{}" });
    let started = states(&client, "StartExecution", asked).await;
    // While it cleans, somebody else writes a forecast of it, which is there before its own.
    let execution = [("execution", started["executionArn"].clone()), ("lower", json!(9))];
    let doctored = forecast("R00", &execution);
    let key = Path::from("predictions/output_doctored.json");
    bucket.put(&key, doctored.into()).await.expect("stored");
    ended(&client, 2).await;
    let asked = json!({ "executionArn": started["executionArn"] });
    let failed = states(&client, "DescribeExecution", asked).await;
    assert_eq!(failed["error"], "BadOutputs", "{failed}");
    let cause = failed["cause"].as_str().expect("a cause");
    assert!(cause.contains("the forecast of `R00`: step 1: 2 is not within [9, 3]"), "{cause}");
    assert!(cause.contains("there is another forecast of `R00`"), "{cause}");
    let mail = checkout.mail_that(|mail| mail.contains("the run failed")).await;
    assert_eq!(told_failures(&checkout), 1);
    assert!(mail.contains("Error: BadOutputs\r\nCause: predictions/output_doctored"), "{mail}");
    assert_eq!(ready(), 1, "of the deployment");
}

#[tokio::test]
async fn files_that_are_uploaded_together_make_one_run_that_sees_all() {
    let checkout = Checkout::new();
    let folder = workspace(&checkout.path().join("workspace"));
    edit_manifest(&folder, "marriages", |line| match line {
        "on_new_data = false" => "on_new_data = true\nsettle = \"10 seconds\"".to_owned(),
        other => other.to_owned(),
    });
    let said = Said::of(checkout.command(&["deploy", "--yes"]).current_dir(&folder));
    assert_eq!(said.code, Some(0), "{}", said.err);
    let client = Signed::of(&checkout.path().join("local"));
    // That of the deployment, and that of its upload.
    let before = ended(&client, 2).await.len();
    let bucket = checkout.bucket(DATA_BUCKET);
    let names: Vec<Path> =
        (0..5).map(|n| Path::from(format!("raw/marriages/marriages/more-{n}.csv"))).collect();
    let upload = |(name, n): (&Path, u32)| {
        let (bucket, name, text) = (&bucket, name.clone(), table(n..n + 1));
        async move { bucket.put(&name, text.into()).await.expect("uploaded") }
    };
    futures::future::join_all(names.iter().zip(0..).map(upload)).await;
    let mut executions = ended(&client, before + names.len()).await;
    executions.truncate(names.len());
    let (mut ran, mut superseded) = (Vec::new(), Vec::new());
    for execution in &executions {
        let asked = json!({ "executionArn": execution["executionArn"] });
        let told = states(&client, "DescribeExecution", asked).await;
        assert_eq!(told["status"], "SUCCEEDED", "{told}");
        let output: Value =
            serde_json::from_str(told["output"].as_str().expect("an output")).expect("JSON");
        match output["superseded_by"].as_str() {
            Some(other) => superseded.push(other.to_owned()),
            None => ran.push(execution["executionArn"].as_str().expect("an ARN").to_owned()),
        }
    }
    assert!(!ran.is_empty() && ran.len() < names.len(), "{ran:?} ran");
    let known = |other: &String| executions.iter().any(|e| e["executionArn"] == other.as_str());
    assert!(superseded.iter().all(known), "{superseded:?}");
    let report = Path::from(keys::etl_report("marriages"));
    let report = bucket.get(&report).await.expect("a report").bytes().await.expect("bytes");
    let report: EtlReport = serde_json::from_slice(&report).expect("a report");
    assert_eq!(report.read().objects as usize, 1 + names.len(), "the last run saw all");
    let forecast: Value =
        states(&client, "DescribeExecution", json!({ "executionArn": ran[0] })).await;
    assert!(forecast["output"].as_str().expect("an output").contains("\"count\":25"), "{forecast}");
}
