//! Prometheus metrics of the server.

use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};
use steppe_wire::drift::StatisticDrift;

const DRIFT_LABELS: [&str; 2] = ["model_version", "statistic"];

/// All metrics; one value per server.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Requests by path and status.
    pub requests: IntCounterVec,
    seconds: HistogramVec,
    /// Forecasts made.
    pub forecasts: IntCounter,
    /// Requests that wait for their turn.
    pub waiting: IntGauge,
    /// Data sets read from S3.
    pub dataset_loads: IntCounter,
    /// Models taken into service, by outcome.
    pub reloads: IntCounterVec,
    psi: GaugeVec,
    ks: GaugeVec,
}

impl Metrics {
    /// Fresh metrics at zero.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let buckets = vec![
            0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
            0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        ];
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("steppe_requests_total", "Requests by path and status"),
                &["path", "status"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "steppe_predict_seconds",
                    "Time to answer a forecast, by model version",
                )
                .buckets(buckets),
                &["model_version"],
            )?,
            forecasts: IntCounter::new("steppe_forecasts_total", "Forecasts made")?,
            waiting: IntGauge::new("steppe_waiting_requests", "Requests waiting for their turn")?,
            dataset_loads: IntCounter::new("steppe_dataset_loads_total", "Data sets read from S3")?,
            reloads: IntCounterVec::new(
                Opts::new("steppe_model_reloads_total", "Models taken into service"),
                &["outcome"],
            )?,
            psi: GaugeVec::new(
                Opts::new("steppe_drift_psi", "Population stability index against the backtest"),
                &DRIFT_LABELS,
            )?,
            ks: GaugeVec::new(
                Opts::new("steppe_drift_ks", "Kolmogorov-Smirnov distance from the backtest"),
                &DRIFT_LABELS,
            )?,
            registry,
        };
        metrics.registry.register(Box::new(metrics.requests.clone()))?;
        metrics.registry.register(Box::new(metrics.seconds.clone()))?;
        metrics.registry.register(Box::new(metrics.forecasts.clone()))?;
        metrics.registry.register(Box::new(metrics.waiting.clone()))?;
        metrics.registry.register(Box::new(metrics.dataset_loads.clone()))?;
        metrics.registry.register(Box::new(metrics.reloads.clone()))?;
        metrics.registry.register(Box::new(metrics.psi.clone()))?;
        metrics.registry.register(Box::new(metrics.ks.clone()))?;
        Ok(metrics)
    }

    /// Counts one answered forecast request of a model.
    pub fn observe(&self, model_version: &str, seconds: f64) {
        self.seconds.with_label_values(&[model_version]).observe(seconds);
    }

    /// Forgets the models that are no longer in service: labels must not grow without bound.
    pub fn keep_only(&self, before: &str, now: &str) {
        if before != now {
            // An unknown version has no series to remove.
            let _ = self.seconds.remove_label_values(&[before]);
        }
    }

    /// Shows how far the model in service is from its backtest, and nothing of models before it.
    pub fn show_drift(&self, model_version: &str, statistics: &[StatisticDrift]) {
        self.psi.reset();
        self.ks.reset();
        for drift in statistics {
            let labels = [model_version, drift.statistic.as_str()];
            self.psi.with_label_values(&labels).set(drift.psi);
            self.ks.with_label_values(&labels).set(drift.ks);
        }
    }

    /// The exposition text.
    pub fn text(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
