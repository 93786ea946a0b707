//! What was predicted beside what came: every forecast of the backtest once, with the value that
//! the table has now, and the newest forecasts without one.

use object_store::ObjectStoreExt;
use object_store::path::Path;
use steppe_jobs::record::{Event, Outcome, Recorder};
use steppe_model::tabular::columns::{Raw, RawTable};
use steppe_wire::keys;

use super::{Stack, data, pooled, train};
use crate::tools::put_model;

impl Stack {
    fn recorder(&self) -> Recorder {
        let (artifacts, data) = (self.artifacts.clone(), self.data.clone());
        Recorder { artifacts, data, pipeline: "marriages".into(), spec_key: "specs/1.json".into() }
    }

    async fn recorded(&self, version: &str) -> RawTable {
        let key = Path::from(keys::record("marriages", version));
        let file = self.data.get(&key).await.expect("there").bytes().await.expect("bytes");
        let wanted = ["series", "period", "actual", "predicted", "lower", "upper", "backtest"];
        RawTable::read([file], &wanted).expect("a table")
    }
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
async fn real_and_predicted_lie_side_by_side_and_again_after_new_data() {
    let (spec, model) = (pooled(), train(&data(2020), &pooled()));
    let stack = Stack::new(&spec, &data(2020)).await;
    put_model(&stack.artifacts, &model).await;
    let now = "2026-01-02T03:04:05Z".parse().expect("a time");
    let outcome = stack.recorder().run(&Event::default(), now).await.expect("recorded");
    assert_eq!(outcome, Outcome { rows: 12 * 4 + 12, with_actual: 12 * 4 });
    let mut table = stack.recorded(&model.version()).await;
    let (series, periods) = (texts(&mut table, "series"), texts(&mut table, "period"));
    let (actual, predicted) = (numbers(&mut table, "actual"), numbers(&mut table, "predicted"));
    let (lower, upper) = (numbers(&mut table, "lower"), numbers(&mut table, "upper"));
    let past = model.past().expect("its past");
    let known = data(2020);
    for (row, past) in past.iter().enumerate() {
        let period = past.origin + 1 + past.step as i64;
        assert_eq!((&series[row], periods[row].as_str()), (&past.series, &*period.to_string()));
        let came = known.find(&series[row]).and_then(|series| series.observed(period));
        assert_eq!((Some(actual[row]), predicted[row]), (came, past.value));
        assert!(lower[row] <= predicted[row] && predicted[row] <= upper[row]);
    }
    let newest = past.len()..outcome.rows;
    assert!(newest.clone().all(|row| actual[row].is_nan() && periods[row] == "2021"));
    // Two years later the same model forecasts from there; its backtest stays as it was.
    stack.clean(&data(2022)).await;
    let again = stack.recorder().run(&Event::default(), now).await.expect("recorded");
    assert_eq!(again, outcome);
    let periods = texts(&mut stack.recorded(&model.version()).await, "period");
    assert!(newest.into_iter().all(|row| periods[row] == "2023"));
}

#[tokio::test]
async fn what_cannot_be_recorded_is_told() {
    let (spec, model) = (pooled(), train(&data(2020), &pooled()));
    let stack = Stack::new(&spec, &data(2020)).await;
    let now = "2026-01-02T03:04:05Z".parse().expect("a time");
    let told = async |event: Event| {
        let failure = stack.recorder().run(&event, now).await.expect_err("refused");
        failure.error_message()
    };
    assert!(told(Event::default()).await.contains("no model is in service"));
    put_model(&stack.artifacts, &model).await;
    let other = Event { model_version: Some("0123456789abcdef".into()) };
    assert!(told(other).await.contains("0123456789abcdef"));
    let table = Path::from("processed/marriages/marriages/part-00000.parquet");
    stack.data.delete(&table).await.expect("deleted");
    assert!(told(Event::default()).await.contains("there is no clean table"));
}
