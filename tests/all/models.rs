//! A model's life in a deployed stack: retraining, promotion, rollback, drift.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde_json::{Value, json};

use crate::checkout::Checkout;
use crate::tools::{MARRIAGES, clean_table};

/// Regions that grow by 4 percent until 2015 and then lose 9 percent a year.
fn csv(last: i32) -> String {
    let value = |s: i32, t: i32| {
        let (before, after) = (t.min(15), (t - 15).max(0));
        (f64::from(1_000 * (s + 1)) * 1.04f64.powi(before) * 0.91f64.powi(after)) as i64
            + i64::from(t * 7 % 5)
    };
    let rows: String = (0..12)
        .flat_map(|s| {
            (0..=last - 2000).map(move |t| format!("Region {s:02},{},{}\n", 2000 + t, value(s, t)))
        })
        .collect();
    format!("region,year,marriages\n{rows}")
}

fn outputs(checkout: &Checkout) -> Value {
    checkout.result(&["outputs"])
}

async fn post(url: String, body: &Value) -> (u16, Value) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = axum::http::Request::post(url)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a request");
    let answer = client.request(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&bytes).expect("JSON"))
}

/// Asks the server again and again; returns the statuses and model versions it saw.
async fn keep_asking(url: String, body: Value, stop: Arc<AtomicBool>) -> Vec<(u16, String)> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let (status, answer) = post(url.clone(), &body).await;
        seen.push((status, answer["model"]["version"].as_str().unwrap_or_default().to_owned()));
    }
    seen
}

/// In service now, as `model list` says.
fn in_service(checkout: &Checkout) -> String {
    let listed = checkout.result(&["model", "list"]);
    listed["in_service"]["version"].as_str().expect("a version").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retrained_model_takes_over_without_a_dropped_request_and_can_be_rolled_back() {
    let checkout = Checkout::new();
    checkout.done(&["deploy", "--data", &checkout.csv(&csv(2016))]);
    let first = in_service(&checkout);
    assert!(checkout.done(&["smoke-test"]).out.contains("no drift; 12 forecasts counted"));
    let nothing = checkout.done(&["retrain"]);
    assert!(
        nothing.err.contains("unchanged  nothing new since") && nothing.out.trim() == first,
        "{}",
        nothing.err
    );

    // Six years pass; the new data arrive in the bucket, as from anybody.
    let outputs = outputs(&checkout);
    let bucket = outputs["DataBucket"].as_str().expect("a bucket");
    let raw = Path::from("raw/marriages/marriages/data.csv");
    checkout.bucket(bucket).put(&raw, csv(2022).into()).await.expect("uploaded");
    let url = format!("{}/predict", outputs["ServerUrl"].as_str().expect("a URL"));
    let stop = Arc::new(AtomicBool::new(false));
    let values: Vec<i64> = (0..16).map(|t| 1_000 + t).collect();
    let body = json!({ "histories": [{ "series": "Region 00", "observed_until": "2022", "values": values }] });
    let asking = tokio::spawn(keep_asking(url.clone(), body, stop.clone()));
    let retrained = checkout.done(&["retrain"]);
    assert!(retrained.err.contains("promoted  model"), "{}", retrained.err);
    let second = retrained.out.trim().to_owned();
    assert!(second != first && in_service(&checkout) == second);
    stop.store(true, Ordering::Relaxed);
    let seen = asking.await.expect("asked");
    assert!(seen.iter().all(|(status, _)| *status == 200), "{seen:?}");
    let versions: Vec<&String> = seen.iter().map(|(_, version)| version).collect();
    assert!(versions.contains(&&first) && versions.contains(&&second), "{} answers", seen.len());

    // The execution's own forecasts are by the new model, and people are told of both.
    let mail = checkout.mails().pop().expect("a mail");
    assert!(
        mail.contains(&format!("Training: model {second} was promoted: MASE"))
            && mail.contains("Region 11, 2023:"),
        "{mail}"
    );
    let forecast = checkout.done(&["predict", "Region 03"]).out;
    assert!(forecast.contains(&format!("model marriages-lstm {second}")), "{forecast}");
    let listed = checkout.done(&["model", "list"]).out;
    assert!(
        listed.contains(&format!("→  {second}")) && listed.contains("is smaller than"),
        "{listed}"
    );
    let log = checkout.done(&["logs", "train"]).out;
    assert!(log.contains("REPORT RequestId"), "{log}");

    // The same data and configuration train the same model here: a deployment has nothing to do.
    let same = checkout.done(&["deploy", "--data", &checkout.csv(&csv(2022))]);
    assert!(!same.err.contains("in service") && in_service(&checkout) == second, "{}", same.err);

    let back = checkout.done(&["model", "rollback"]);
    assert!(
        back.err.contains(&format!("in service  model {first}")) && in_service(&checkout) == first,
        "{}",
        back.err
    );
    let last = checkout.run(&["model", "rollback"]);
    assert!(last.code == Some(1) && last.err.contains("there was no model before"), "{}", last.err);
    let nothing = checkout.done(&["retrain"]);
    assert!(
        nothing.err.contains("nothing new since") && in_service(&checkout) == first,
        "what was rolled back stays so: {}",
        nothing.err
    );
    let same = checkout.done(&["deploy", "--data", &checkout.csv(&csv(2022))]);
    assert!(
        !same.err.contains("in service") && in_service(&checkout) == first,
        "a deployment leaves it: {}",
        same.err
    );
    checkout.done(&["model", "promote", &second[..6]]);
    assert_eq!(in_service(&checkout), second);
    assert!(checkout.run(&["model", "promote", "zzz"]).err.contains("there is no model zzz"));

    // What the first model forecast for 2017 is beside what came: another fall, of which it had
    // seen one in eight origins, so no value is inside.
    let fall = checkout.run(&["drift"]);
    assert!(fall.out.contains(&format!("{first}     2017      12")), "{}", fall.out);
    let told = format!("model {first} promised too much: 0 % of 12 actual values up to 2017");
    assert!(fall.code == Some(3) && fall.err.contains(&told), "{}", fall.err);
    // A table in other units is asked about: another alarm, once.
    let names: Vec<String> = (0..24).map(|i| format!("Region {i:02}")).collect();
    let row = |(i, name): (usize, &String)| -> String {
        (0..16).map(|t| format!("{name},{},{}\n", 2007 + t, 1_000_000 * (i + 1) + t)).collect()
    };
    let rows: String = names.iter().enumerate().map(row).collect();
    let table = clean_table(&format!("region,year,marriages\n{rows}"), &MARRIAGES);
    let key = Path::from("processed/strange/part-00000.parquet");
    checkout.bucket(bucket).put(&key, table.into()).await.expect("uploaded");
    let asked =
        json!({ "series": names, "dataset_key": "processed/strange/", "bucket_name": bucket });
    let (status, _) = post(url, &asked).await;
    assert_eq!(status, 200);
    let drift = checkout.run(&["drift"]);
    assert_eq!(drift.code, Some(3), "{}\n{}", drift.out, drift.err);
    assert!(drift.err.contains("drifts: `level` has PSI"), "{}", drift.err);
    let alarms = || {
        checkout
            .mails()
            .iter()
            .filter(|m| m.contains("Subject: Steppe marriages: drift was found"))
            .count()
    };
    assert_eq!(alarms(), 2);
    assert_eq!((checkout.run(&["drift", "--json"]).code, alarms()), (Some(3), 2), "told once");
    checkout.done(&["destroy"]);
}
