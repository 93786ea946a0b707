//! Prometheus metrics of the server.

use prometheus::{Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// All metrics; one value per server.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Requests by path and status.
    pub requests: IntCounterVec,
    /// Seconds from the first byte to the answer of forecasts.
    pub seconds: Histogram,
    /// Forecasts made.
    pub forecasts: IntCounter,
    /// Requests that wait for their turn.
    pub waiting: IntGauge,
    /// Data sets read from S3.
    pub dataset_loads: IntCounter,
    /// Models taken into service, by outcome.
    pub reloads: IntCounterVec,
}

impl Metrics {
    /// Fresh metrics at zero.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let buckets = vec![0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let metrics = Self {
            requests: IntCounterVec::new(Opts::new("steppe_requests_total", "Requests by path and status"), &["path", "status"])?,
            seconds: Histogram::with_opts(HistogramOpts::new("steppe_predict_seconds", "Time to answer a forecast").buckets(buckets))?,
            forecasts: IntCounter::new("steppe_forecasts_total", "Forecasts made")?,
            waiting: IntGauge::new("steppe_waiting_requests", "Requests waiting for their turn")?,
            dataset_loads: IntCounter::new("steppe_dataset_loads_total", "Data sets read from S3")?,
            reloads: IntCounterVec::new(Opts::new("steppe_model_reloads_total", "Models taken into service"), &["outcome"])?,
            registry,
        };
        metrics.registry.register(Box::new(metrics.requests.clone()))?;
        metrics.registry.register(Box::new(metrics.seconds.clone()))?;
        metrics.registry.register(Box::new(metrics.forecasts.clone()))?;
        metrics.registry.register(Box::new(metrics.waiting.clone()))?;
        metrics.registry.register(Box::new(metrics.dataset_loads.clone()))?;
        metrics.registry.register(Box::new(metrics.reloads.clone()))?;
        Ok(metrics)
    }

    /// The exposition text.
    pub fn text(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
