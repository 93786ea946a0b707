//! The drift check, beside a model server over HTTP.

use std::sync::Arc;

use object_store::ObjectStore;
use serde_json::json;
use steppe_jobs::drift::Monitor;
use steppe_model::Dataset;
use steppe_server::config::Limits;
use steppe_server::datasets::Datasets;
use steppe_server::guard::Hosts;
use steppe_server::model_store::ModelStore;
use steppe_server::routes::router;
use steppe_server::service::Service;
use steppe_spec::{Family, Kind, TrainSpec};
use steppe_wire::drift::DriftReport;
use steppe_wire::failure::Failure;
use steppe_wire::keys;
use steppe_wire::predict::{Forecast, ModelRef, Step, StoredPrediction};

use super::{Stack, train};
use crate::tools::{MARRIAGES, clean_table, csv_rows, put_model, spec};

/// The model server over HTTP, with the drift check beside it.
pub struct Watched {
    service: Arc<Service>,
    /// The check.
    pub monitor: Monitor,
    /// Its buckets.
    pub stack: Stack,
}

impl Watched {
    /// With a model of `data`.
    pub async fn start(spec: &TrainSpec, data: &Dataset) -> Self {
        let stack = Stack::new(spec, data).await;
        put_model(&stack.artifacts, &train(data, spec)).await;
        let models = ModelStore::open(stack.artifacts.clone() as Arc<dyn ObjectStore>, "marriages")
            .await
            .expect("a model");
        let limits = Limits::default();
        let service = Service::new(
            models,
            Datasets::new(stack.data.clone(), limits.dataset_bytes),
            "data",
            limits,
        )
        .expect("metrics");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server_url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = router(service.clone(), Hosts::default());
        tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        let (artifacts, data) = (stack.artifacts.clone(), stack.data.clone());
        let monitor = Monitor {
            artifacts,
            data,
            pipeline: "marriages".into(),
            spec_key: "specs/1.json".into(),
            server_url,
            predictions: keys::PREDICTIONS_PREFIX.into(),
        };
        Self { service, monitor, stack }
    }

    /// Asks for forecasts of a table in which each series is a history times `factor`.
    async fn ask(&self, data: &Dataset, factor: f64, growth: f64) {
        let changed = |series: &steppe_model::Series| {
            let mut changed = series.clone();
            changed.values.iter_mut().for_each(|v| *v *= factor);
            *changed.values.last_mut().expect("values") *= growth;
            changed
        };
        let series: Vec<_> = data.series().iter().map(changed).collect();
        let names: Vec<&str> = series.iter().map(|s| s.name.as_str()).collect();
        let table = Dataset::new(data.frequency(), series.clone());
        let rows = format!("region,year,marriages\n{}", csv_rows(&table));
        let table = clean_table(&rows, &MARRIAGES).to_vec();
        self.stack.put(&self.stack.data, "processed/asked/part-00000.parquet", table).await;
        let request =
            json!({ "region": names, "dataset_key": "processed/asked/", "bucket_name": "data" });
        let request = serde_json::from_value(request).expect("a request");
        self.service.predict(request).await.expect("forecasts");
    }

    /// What the check wrote.
    pub async fn report(&self) -> DriftReport {
        self.stack.read(&self.stack.data, &keys::drift_report("marriages")).await
    }
}

/// Two dozen calm series.
pub fn two_dozen() -> Dataset {
    let noise = |s: i64, t: i64| 1.0 + 0.02 * (((s * 31 + t * 17) % 13) as f64 - 6.0) / 6.0;
    let rows = (0..24).flat_map(|s| {
        (0..=22).map(move |t| {
            (format!("Region {s:02}"), 2000 + t, 500.0 * (s + 4) as f64 * noise(s, t))
        })
    });
    Dataset::from_rows(rows).expect("valid")
}

#[tokio::test]
async fn ordinary_questions_are_no_drift_and_strange_ones_are_told_once() {
    let data = two_dozen();
    let spec = spec().with(|s| {
        s.model.kind = Kind::Of(Family::Theta);
        s.task.horizon = 1;
        s.backtest.origins = 6;
    });
    let watched = Watched::start(&spec, &data).await;
    for _ in 0..3 {
        watched.ask(&data, 1.0, 1.0).await;
    }
    let outcome = watched.monitor.run().await.expect("checked");
    assert_eq!(
        (outcome.findings, outcome.summary.as_str()),
        (0, "no drift; 24 forecasts counted, 0 past ones beside actual values")
    );
    watched.ask(&data, 1_000.0, 1.5).await;
    let outcome = watched.monitor.run().await.expect("checked");
    let told = outcome.new.join("\n");
    assert!(told.contains("`level` has PSI") && told.contains("`change` has PSI"), "{told}");
    let report = watched.report().await;
    assert_eq!(report.server.forecasts, 48, "each series and period counts once");
    assert!(report.server.statistics.iter().filter(|d| d.drifted).count() >= 2);
    let again = watched.monitor.run().await.expect("checked");
    assert_eq!((again.findings, again.new.len()), (outcome.findings, 0), "told once");
}

/// Version of a model that is right.
pub const GOOD: &str = "600d600d600d600d";
const BAD: &str = "bad0bad0bad0bad0";

/// A forecast for 2022 of each series, made a year before.
pub fn stored(data: &Dataset, version: &str, width: f64, error: f64) -> Vec<StoredPrediction> {
    let errors =
        steppe_wire::predict::Errors { mae: 1.0, rmse: 1.0, mape: 1.0, mase: 1.0, smape: 1.0 };
    let model =
        ModelRef { id: "marriages-theta".into(), version: version.into(), backtest: errors };
    let one = |series: &steppe_model::Series| {
        let value = series.observed(2022).expect("a value") * (1.0 + error);
        let (lower, upper) = (value * (1.0 - width), value * (1.0 + width));
        let step = Step {
            step: 1,
            period: "2022".into(),
            value,
            lower,
            upper,
            level: 0.9,
            procure: None,
            quantiles: vec![],
        };
        let later = Step { step: 2, period: "2023".into(), ..step.clone() };
        let forecast = Forecast {
            series: series.name.clone(),
            observed_until: "2021".into(),
            last_value: series.observed(2021).expect("a value"),
            repaired: 0,
            note: None,
            decimals: 0,
            steps: vec![step, later],
        };
        StoredPrediction::new("e", &forecast, &model).expect("steps")
    };
    data.series().iter().map(one).collect()
}

#[tokio::test]
async fn past_forecasts_are_held_against_what_happened() {
    let data = two_dozen();
    let spec = spec().with(|s| {
        s.model.kind = Kind::Of(Family::Theta);
        s.task.horizon = 1;
    });
    let watched = Watched::start(&spec, &data).await;
    // The same forecasts twice: a second execution says nothing new.
    for (name, predictions) in [
        ("good", stored(&data, GOOD, 0.05, 0.001)),
        ("again", stored(&data, GOOD, 0.05, 0.001)),
        ("bad", stored(&data, BAD, 0.02, 0.5)),
    ] {
        for (i, prediction) in predictions.iter().enumerate() {
            let line = serde_json::to_vec(prediction).expect("JSON");
            watched
                .stack
                .put(&watched.stack.data, &format!("predictions/output_{name}{i}.json"), line)
                .await;
        }
    }
    watched.stack.put(&watched.stack.data, "predictions/output_x.json", b"{}".to_vec()).await;
    let outcome = watched.monitor.run().await.expect("one unreadable forecast does not matter");
    assert_eq!((outcome.findings, outcome.new.len()), (2, 2), "{outcome:?}");
    assert!(
        outcome.new[0].contains(
            "model bad0bad0bad0bad0 promised too much: 0 % of 24 actual values up to 2022 are \
             inside of its 90 % intervals"
        ),
        "{outcome:?}"
    );
    assert!(outcome.new[1].contains("model bad0bad0bad0bad0 lost its way: MASE"), "{outcome:?}");
    let report = watched.report().await;
    let good = report.realised.iter().find(|r| r.model_version == GOOD).expect("both");
    assert_eq!(
        (good.cases, good.coverage, good.first.as_str(), good.last.as_str()),
        (24, 1.0, "2022", "2022")
    );
    assert!(good.mase < 1.0 && good.coverage_p > 0.9, "{good:?}");
}

#[tokio::test]
async fn an_absent_server_is_worth_another_try() {
    let data = two_dozen();
    let watched = Watched::start(
        &spec().with(|s| {
            s.model.kind = Kind::Of(Family::Theta);
            s.task.horizon = 1;
        }),
        &data,
    )
    .await;
    let monitor = Monitor { server_url: "http://127.0.0.1:9".into(), ..watched.monitor.clone() };
    let error = monitor.run().await.expect_err("nobody answers");
    assert!(matches!(&error, Failure::Retryable(_)) && error.to_string().contains("127.0.0.1:9"));
    let monitor = Monitor { server_url: "not an address".into(), ..watched.monitor };
    assert!(matches!(monitor.run().await.expect_err("no address"), Failure::Permanent(_)));
}
