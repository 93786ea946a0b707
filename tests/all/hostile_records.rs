//! What people and accidents leave in the buckets that the jobs read.

use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde_json::{Value, json};
use steppe_jobs::drift::Monitor;
use steppe_jobs::train::{Event, Trainer};
use steppe_spec::{Family, Kind};
use steppe_wire::failure::Failure;
use steppe_wire::keys;

use crate::jobs::drift::{GOOD, Watched, stored, two_dozen};
use crate::strange_store::{Strange, StrangeStore};
use crate::tools::spec;

async fn watched() -> Watched {
    let spec = spec().with(|s| {
        s.model.kind = Kind::Of(Family::Theta);
        s.task.horizon = 1;
    });
    Watched::start(&spec, &two_dozen()).await
}

async fn put_forecasts(watched: &Watched, change: impl Fn(usize, &mut Value)) {
    for (i, prediction) in stored(&two_dozen(), GOOD, 0.05, 0.001).iter().enumerate() {
        let mut record = serde_json::to_value(prediction).expect("JSON");
        change(i, &mut record);
        let line = serde_json::to_vec(&record).expect("JSON");
        watched.stack.put(&watched.stack.data, &format!("predictions/output_{i}.json"), line).await;
    }
}

fn seen_as(watched: &Watched, strange: Strange) -> Monitor {
    let data = Arc::new(StrangeStore { store: watched.stack.data.clone(), strange });
    Monitor { data, ..watched.monitor.clone() }
}

#[tokio::test]
async fn marks_of_folders_and_vanished_forecasts_do_not_stop_the_check() {
    let watched = watched().await;
    put_forecasts(&watched, |_, _| {}).await;
    let marks = vec!["predictions", "predictions/old", "processed/marriages/marriages"];
    let gone = vec!["predictions/output_gone.json"];
    let monitor = seen_as(&watched, Strange { marks, gone, ..Strange::default() });
    let outcome = monitor.run().await.expect("checked");
    assert!(outcome.summary.contains("24 past ones"), "{outcome:?}");
}

#[tokio::test]
async fn a_fresh_stack_has_nothing_to_check_and_fails_nobody() {
    let watched = watched().await;
    let table = Path::from("processed/marriages/marriages/part-00000.parquet");
    watched.stack.data.delete(&table).await.expect("deleted");
    let outcome = watched.monitor.run().await.expect("nothing to check is no failure");
    assert_eq!((outcome.findings, outcome.new.len()), (0, 0));
    assert!(outcome.summary.ends_with("; there is no clean table yet"), "{outcome:?}");
    assert_eq!(watched.report().await.realised.len(), 0);
    // A training without data stays an error.
    let (artifacts, data) = (watched.stack.artifacts.clone(), watched.stack.data.clone());
    let pipeline = "marriages".to_owned();
    let trainer = Trainer { artifacts, data, pipeline, spec_key: "specs/1.json".into() };
    let error = trainer.run(&Event { execution: "e".into() }).await.expect_err("no data");
    assert!(
        matches!(&error, Failure::Permanent(_))
            && error.to_string().contains("there is no clean table at"),
        "{error:?}"
    );
}

#[tokio::test]
async fn records_that_would_break_the_report_or_the_mail_are_left_out() {
    let watched = watched().await;
    put_forecasts(&watched, |i, record| match i {
        0 => record["model_version"] = json!("x\r\nBcc: everybody@example.org"),
        1 => {
            record["level"] = json!(7.0);
            record["steps"][0]["level"] = json!(7.0);
        }
        2 => record["steps"] = json!([]),
        _ => {}
    })
    .await;
    let large = vec![b' '; 2 * 1024 * 1024];
    watched.stack.put(&watched.stack.data, "predictions/output_large.json", large).await;
    let outcome = watched.monitor.run().await.expect("checked");
    assert!(outcome.summary.contains("21 past ones"), "{outcome:?}");
}

#[tokio::test]
async fn a_damaged_report_is_replaced_and_not_fatal_for_ever() {
    let watched = watched().await;
    let report = keys::drift_report("marriages");
    watched.stack.put(&watched.stack.data, &report, b"{\"mae\": null}".to_vec()).await;
    watched.monitor.run().await.expect("checked");
    watched.report().await;
}
