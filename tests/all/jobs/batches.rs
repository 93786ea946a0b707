//! Scoring in batches: each series once, the same bytes again when a part is scored again, the
//! backtest beside what came, and what cannot be scored told.

use std::collections::BTreeMap;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};
use steppe_jobs::check::{self, Checker};
use steppe_jobs::drift::Monitor;
use steppe_jobs::score::forecasts::read;
use steppe_jobs::score::{Answer, Event, Listed, Part, Scored, Scorer};
use steppe_model::tabular::columns::{Raw, RawTable};
use steppe_wire::keys;

use super::drift::Watched;
use super::{Stack, data, pooled, train};
use crate::tools::put_model;

const EXECUTION: &str = "arn:aws:states:eu-west-1:000000000000:execution:marriages:one";

impl Stack {
    fn scorer(&self) -> Scorer {
        Scorer {
            artifacts: self.artifacts.clone(),
            data: self.data.clone(),
            pipeline: "marriages".into(),
            spec_key: "specs/1.json".into(),
            held: Default::default(),
        }
    }

    async fn asked(&self, event: Value) -> Result<Answer, String> {
        let event: Event = serde_json::from_value(event).expect("an event");
        self.scorer().run(&event).await.map_err(|failure| failure.error_message())
    }

    async fn listed(&self, run: &Value, part_size: usize) -> Listed {
        let event = json!({ "score": "list", "run": run, "part_size": part_size, "inline_max": 2 });
        match self.asked(event).await.expect("listed") {
            Answer::Listed(listed) => listed,
            other => panic!("{other:?}"),
        }
    }

    async fn scored(&self, run: &Value, part: &Part) -> Scored {
        match self.asked(json!({ "score": "part", "run": run, "part": part })).await {
            Ok(Answer::Scored(scored)) => scored,
            other => panic!("{other:?}"),
        }
    }

    /// The parts as they were written down.
    async fn parts(&self, listed: &Listed) -> Vec<Part> {
        let key = Path::from(listed.key.as_str());
        let lines = self.data.get(&key).await.expect("there").bytes().await.expect("bytes");
        let lines = std::str::from_utf8(&lines).expect("text").lines();
        lines.map(|line| serde_json::from_str(line).expect("a part")).collect()
    }

    /// Everything that batches have written, by key.
    async fn batches(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = self.data.list(Some(&Path::from(keys::BATCHES_PREFIX)));
        let mut files = BTreeMap::new();
        while let Some(object) = found.next().await {
            let key = object.expect("listed").location;
            let bytes = self.data.get(&key).await.expect("there").bytes().await.expect("bytes");
            files.insert(key.to_string(), bytes.to_vec());
        }
        files
    }

    async fn defects(&self, all: usize, version: &str) -> Vec<String> {
        let checker = Checker {
            artifacts: self.artifacts.clone(),
            data: self.data.clone(),
            pipeline: "marriages".into(),
            plan_key: "glue/1.json".into(),
        };
        let event = json!({
            "check": "predictions", "task": "counts", "execution": EXECUTION, "all": all,
            "absent": 0, "horizon": 1, "model_version": version,
        });
        let event: check::Event = serde_json::from_value(event).expect("an event");
        let now = "2026-01-02T03:04:05Z".parse().expect("a time");
        match checker.run(&event, now).await.expect("looked") {
            check::Answer::Checked { defects } => defects,
            other => panic!("{other:?}"),
        }
    }
}

fn run() -> Value {
    json!({
        "execution": EXECUTION, "started": "2026-01-02T03:04:05.678Z", "task": "counts",
        "model_version": null, "series": null, "shown": 100, "left_out_shown": 3,
    })
}

fn numbers(table: &mut RawTable, name: &str) -> Vec<f64> {
    match table.take(name) {
        Some(Raw::Number(numbers)) => numbers,
        other => panic!("{name} is {other:?}"),
    }
}

fn texts(table: &mut RawTable, name: &str) -> Vec<String> {
    table.take(name).expect(name).texts().into_iter().flatten().collect()
}

#[tokio::test]
async fn every_series_is_forecast_once_and_again_with_the_same_bytes() {
    let (spec, model) = (pooled(), train(&data(2020), &pooled()));
    let stack = Stack::new(&spec, &data(2020)).await;
    put_model(&stack.artifacts, &model).await;
    let listed = stack.listed(&run(), 5).await;
    assert_eq!((listed.count, listed.all, listed.parts.len()), (3, 12, 0), "too many to tell");
    assert_eq!(stack.listed(&run(), 6).await.parts.len(), 2);
    let listed = stack.listed(&run(), 5).await;
    let parts = stack.parts(&listed).await;
    let mut answers = Vec::new();
    for part in &parts {
        answers.push(stack.scored(&run(), part).await);
    }
    let counts: Vec<_> = answers.iter().map(|scored| (scored.count, scored.absent)).collect();
    assert_eq!(counts, [(5, 0), (5, 0), (2, 0)]);
    let told: Vec<&str> =
        answers.iter().flat_map(|scored| &scored.forecasts).map(|f| f.series.as_str()).collect();
    let known = data(2020);
    let names: Vec<&str> = known.series().iter().map(|series| series.name.as_str()).collect();
    assert_eq!(told, names);
    let first = stack.batches().await;
    let folder = "batches/counts/run=one/";
    let files = ["backtest-00000", "backtest-00001", "backtest-00002"];
    let files = files.into_iter().chain(["part-00000", "part-00001", "part-00002"]);
    let files: Vec<String> = files.map(|file| format!("{folder}{file}.parquet")).collect();
    assert_eq!(first.keys().collect::<Vec<_>>(), files.iter().collect::<Vec<_>>());
    for part in parts.iter().rev() {
        stack.scored(&run(), part).await;
    }
    assert_eq!(stack.batches().await, first, "the same bytes");
    let stored = read(first[&files[3]].clone().into()).expect("forecasts");
    assert_eq!(stored.len(), 5);
    for (stored, summary) in stored.iter().zip(&answers[0].forecasts) {
        let step = &stored.step;
        assert_eq!((&stored.series, stored.step.value), (&summary.series, summary.value));
        assert_eq!((stored.execution.as_str(), step.period.as_str()), (EXECUTION, "2021"));
        assert_eq!(stored.model_version, model.version());
    }
    assert_eq!(stack.defects(12, &model.version()).await, [""; 0]);
    let version = "0123456789abcdef";
    assert!(stack.defects(13, version).await.join("\n").contains("12 series have a forecast"));
    assert!(stack.defects(12, version).await.join("\n").contains("not of 0123456789abcdef"));
}

#[tokio::test]
async fn the_backtest_lies_beside_what_came() {
    let (spec, model) = (pooled(), train(&data(2020), &pooled()));
    let stack = Stack::new(&spec, &data(2020)).await;
    put_model(&stack.artifacts, &model).await;
    let part = stack.listed(&run(), 100).await.parts.remove(0);
    stack.scored(&run(), &part).await;
    let files = stack.batches().await;
    let file = files["batches/counts/run=one/backtest-00000.parquet"].clone();
    let wanted = ["series", "period", "actual", "predicted", "lower", "upper"];
    let mut table = RawTable::read([file.into()], &wanted).expect("a table");
    let (series, periods) = (texts(&mut table, "series"), texts(&mut table, "period"));
    let (actual, predicted) = (numbers(&mut table, "actual"), numbers(&mut table, "predicted"));
    let (lower, upper) = (numbers(&mut table, "lower"), numbers(&mut table, "upper"));
    let mut past = model.past().expect("its past");
    past.sort_by_key(|forecast| forecast.series.clone());
    assert_eq!(past.len(), series.len());
    let known = data(2020);
    for (row, past) in past.iter().enumerate() {
        let period = past.origin + 1 + past.step as i64;
        assert_eq!((&series[row], periods[row].as_str()), (&past.series, &*period.to_string()));
        let came = known.find(&series[row]).and_then(|series| series.observed(period));
        assert_eq!((Some(actual[row]), predicted[row]), (came, past.value));
        assert!(lower[row] <= predicted[row] && predicted[row] <= upper[row]);
    }
}

#[tokio::test]
async fn series_that_are_named_are_forecast_and_no_others() {
    let (spec, model) = (pooled(), train(&data(2020), &pooled()));
    let stack = Stack::new(&spec, &data(2020)).await;
    put_model(&stack.artifacts, &model).await;
    let known = data(2020);
    let [a, b] = [&known.series()[3].name, &known.series()[1].name];
    let mut named = run();
    named["series"] = json!([a, b]);
    let listed = stack.listed(&named, 500).await;
    assert_eq!((listed.count, listed.all), (1, 2));
    let scored = stack.scored(&named, &listed.parts[0]).await;
    let told: Vec<_> = scored.forecasts.iter().map(|forecast| &forecast.series).collect();
    assert_eq!(told, [a, b]);
    named["series"] = json!([a, "Atlantis"]);
    let list = json!({ "score": "list", "run": named, "part_size": 500, "inline_max": 40 });
    assert!(stack.asked(list).await.expect_err("refused").contains("no series `Atlantis`"));
}

#[tokio::test]
async fn what_cannot_be_scored_is_told() {
    let (spec, model) = (pooled(), train(&data(2020), &pooled()));
    let stack = Stack::new(&spec, &data(2020)).await;
    let list = json!({ "score": "list", "run": run(), "part_size": 5, "inline_max": 40 });
    let refused = async |event: &Value| stack.asked(event.clone()).await.expect_err("refused");
    assert!(refused(&list).await.contains("no model is in service"));
    put_model(&stack.artifacts, &model).await;
    let part = stack.listed(&run(), 6).await.parts.remove(0);
    // Another run has cleaned since.
    stack.clean(&data(2022)).await;
    let replaced = refused(&json!({ "score": "part", "run": run(), "part": part })).await;
    assert!(
        replaced.contains("was replaced") && replaced.contains("start a new run"),
        "{replaced}"
    );
    let elsewhere = Part { of: "processed/energy/demand/".into(), ..part };
    let elsewhere = json!({ "score": "part", "run": run(), "part": elsewhere });
    assert!(refused(&elsewhere).await.contains("is not the table"));
    let results = json!({
        "score": "sum", "run": run(), "results": "models/x.json", "left_out_max": 20,
    });
    assert!(refused(&results).await.contains("is not in `runs/marriages/`"));
    let table = Path::from("processed/marriages/marriages/part-00000.parquet");
    stack.data.delete(&table).await.expect("deleted");
    assert!(refused(&list).await.contains("there is no clean table"));
}

#[tokio::test]
async fn children_of_a_map_are_summed() {
    let stack = Stack::new(&pooled(), &data(2020)).await;
    let of = |count: usize, series: &str| {
        let left_out = json!({ "series": series, "reason": "it ended" });
        json!({ "count": count, "absent": 1, "left_out": [left_out], "forecasts": [] })
    };
    let (manifest, results) =
        ("runs/marriages/one/results/x/manifest.json", "runs/marriages/r_0.json");
    let children = json!([[of(5, "A"), of(6, "B")], [of(2, "C")]]);
    let files =
        json!({ "FAILED": [], "PENDING": [], "SUCCEEDED": [{ "Key": results, "Size": 1 }] });
    let told = json!({ "DestinationBucket": "b", "MapRunArn": "arn", "ResultFiles": files });
    stack.put(&stack.data, manifest, told.to_string().into()).await;
    stack.put(&stack.data, results, children.to_string().into()).await;
    let event = json!({ "score": "sum", "run": run(), "results": manifest, "left_out_max": 2 });
    let Ok(Answer::Scored(all)) = stack.asked(event).await else { panic!("a sum") };
    assert_eq!((all.count, all.absent, all.left_out.len()), (13, 3, 2));
}

#[tokio::test]
async fn forecasts_of_batches_are_held_against_what_came() {
    let (spec, model) = (pooled(), train(&data(2020), &pooled()));
    let watched = Watched::start(&spec, &data(2020)).await;
    put_model(&watched.stack.artifacts, &model).await;
    let part = watched.stack.listed(&run(), 100).await.parts.remove(0);
    watched.stack.scored(&run(), &part).await;
    let odd = format!("{}part-00009.parquet", keys::batches_of_run("counts", "two"));
    watched.stack.put(&watched.stack.data, &odd, b"no file of Parquet".to_vec()).await;
    watched.stack.clean(&data(2022)).await;
    let predictions = keys::batches_prefix("counts");
    let monitor = Monitor { predictions, ..watched.monitor.clone() };
    let outcome = monitor.run().await.expect("checked");
    assert!(outcome.summary.contains("12 past ones beside actual values"), "{}", outcome.summary);
}
