//! The pipeline of stroke risk, on its sample and on the public data: rows from files to scores.

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::Value;

use crate::checkout::Checkout;
use crate::tools::{root, shared_data};

/// Its data bucket in the embedded cloud.
const DATA: &str = "steppe-stroke-local-data-000000000000";
/// Its files there.
const RAW: &str = "raw/stroke/patients";

/// `stroke`, deployed.
fn deployed(data: &[&str]) -> Checkout {
    deploy(Checkout::new(), data)
}

fn deploy(checkout: Checkout, data: &[&str]) -> Checkout {
    let said = checkout.done(&[&["deploy", "--yes", "--pipeline", "stroke"], data].concat());
    assert!(said.err.contains(" rows scored"), "{}", said.err);
    checkout
}

fn sample() -> Vec<Vec<String>> {
    let file = root().join("model/pipelines/stroke/sample.csv");
    let text = std::fs::read_to_string(file).expect("readable");
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// Replaces the file of the input in the bucket, as somebody with access to it does.
async fn upload(checkout: &Checkout, rows: &[Vec<String>]) {
    let bucket = checkout.bucket(DATA);
    let text: String = rows.iter().map(|row| row.join(",") + "\n").collect();
    let mut listed = bucket.list(Some(&Path::from(RAW)));
    let file = futures::StreamExt::next(&mut listed).await.expect("a file").expect("listed");
    bucket.put(&file.location, text.into()).await.expect("written");
}

/// The same people ten years older.
fn older(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    let mut rows = rows.to_vec();
    for row in &mut rows[1..] {
        let age: f64 = row[2].parse().expect("an age");
        row[2] = (age + 10.0).to_string();
    }
    rows
}

#[tokio::test]
async fn rows_are_scored_explained_and_watched() {
    let checkout = deployed(&[]);
    let pipeline = ["--pipeline", "stroke"];
    let run = |verb: &[&str]| checkout.done(&[verb, &pipeline[..]].concat());
    let checks = run(&["smoke-test"]).out;
    assert!(checks.contains("3000 of 3000 rows in S3, once each; 20 equal"), "{checks}");

    let rows = sample();
    let scored = checkout.result(&[&["predict", &rows[1][0]], &pipeline[..]].concat());
    let one = &scored["rows"][0];
    assert_eq!(one["entity"], Value::from(rows[1][0].clone()));
    let reasons = one["reasons"].as_array().expect("reasons");
    assert_eq!(reasons.len(), 10, "every column has its part: {reasons:?}");
    let row = r#"{"gender":"Male","age":67,"hypertension":1,"heart_disease":true,
        "ever_married":"Yes","work_type":"Private","residence":"Urban","glucose":228.69,
        "bmi":null,"smoking":"vapes"}"#;
    let said = run(&["predict", "--row", row]).out;
    assert!(said.contains("bmi = missing"), "{said}");
    assert!(said.contains("note: the model has never seen this `smoking`"), "{said}");
    let refused = checkout.run(&[&["predict", "--row", "{\"agee\":1}"], &pipeline[..]].concat());
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("no column `agee`; did you mean `age`?"), "{}", refused.err);
    let by_age = run(&["query", "by-age"]).out;
    assert!(by_age.contains("predicted") && by_age.lines().count() > 8, "{by_age}");
    let card = run(&["model"]).out;
    assert!(card.contains("gender, ever_married; the model sees this"), "{card}");

    // Nothing has changed, so nothing drifts; ten more years for everybody do.
    let calm = run(&["drift"]).out;
    assert!(calm.contains("0 rows are new since its training"), "{calm}");
    upload(&checkout, &older(&rows)).await;
    run(&["smoke-test"]);
    let found = checkout.run(&[&["drift"], &pipeline[..]].concat());
    assert!(found.err.contains("drifts: `age`"), "{}\n{}", found.out, found.err);
    assert!(!found.err.contains("drifts: `residence`"), "{}", found.err);
    checkout.done(&["destroy", "--yes", "--pipeline", "stroke"]);
}

#[tokio::test]
async fn a_model_is_held_against_people_that_it_had_not_seen() {
    // It trains twice, and does not ask how good the model is.
    let soon = Checkout::with("stroke", |line| match line {
        "trials = 30" => "trials = 3".to_owned(),
        line => line.to_owned(),
    });
    let checkout = deploy(soon, &[]);
    let pipeline = ["--pipeline", "stroke"];
    let run = |verb: &[&str]| checkout.done(&[verb, &pipeline[..]].concat());
    // Six hundred new people, of whom it is not known yet what becomes of them.
    let rows = sample();
    let mut waiting = rows.clone();
    waiting.extend(rows[1..601].iter().cloned().zip(1_000_000..).map(|(mut row, id)| {
        let glucose: f64 = row[8].parse().expect("a number");
        (row[0], row[8]) = (id.to_string(), (glucose + 0.35).to_string());
        row[11] = String::new();
        row
    }));
    upload(&checkout, &waiting).await;
    let checks = run(&["smoke-test"]).out;
    assert!(checks.contains("3600 of 3600 rows in S3"), "{checks}");
    // Then their labels come.
    let mut known = waiting;
    for (row, of) in known[3_001..].iter_mut().zip(&rows[1..]) {
        row[11].clone_from(&of[11]);
    }
    upload(&checkout, &known).await;
    let said = run(&["retrain"]).err;
    assert!(said.contains("log loss") && said.contains(" rows (p = "), "{said}");
    let report = checkout.run(&[&["drift"], &pipeline[..]].concat()).out;
    assert!(report.contains("past scores beside what happened"), "{report}");
    let past = report.lines().find(|line| line.contains("  log loss")).expect("past scores");
    let rows: usize = past.split_whitespace().nth(1).expect("a count").parse().expect("a number");
    // One in a hundred is taken for seen.
    assert!((580..=600).contains(&rows), "{report}");
    checkout.done(&["destroy", "--yes", "--pipeline", "stroke"]);
}

#[test]
fn the_public_data_are_scored() {
    let Some(folder) = shared_data("stroke") else { return };
    let data = folder.join("stroke.csv").display().to_string();
    let checkout = deployed(&["--data", &data]);
    let checks = checkout.done(&["smoke-test", "--pipeline", "stroke"]).out;
    assert!(checks.contains("4088 of 4088 rows in S3, once each; 20 equal"), "{checks}");
    let missing = checkout.done(&["query", "missing-bmi", "--pipeline", "stroke"]).out;
    assert!(missing.contains("true"), "{missing}");
    checkout.done(&["destroy", "--yes", "--pipeline", "stroke"]);
}
