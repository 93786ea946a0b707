//! Configuration from the environment, which the instance's unit file sets.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use steppe_wire::edge::BODY_BYTES_MAX;

use crate::guard::Hosts;

/// Where the server listens, what it reads and how much it takes on.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the pipeline: `STEPPE_PIPELINE`.
    pub pipeline: String,
    /// Bucket of the model: `STEPPE_ARTIFACTS_BUCKET`.
    pub artifacts_bucket: String,
    /// Bucket of the data sets: `STEPPE_DATA_BUCKET`.
    pub data_bucket: String,
    /// Account that both must belong to: `STEPPE_BUCKET_OWNER`; not asked for unless it is set.
    pub bucket_owner: Option<String>,
    /// Address and port: `STEPPE_LISTEN`.
    pub listen: SocketAddr,
    /// Names under which clients address the server: `STEPPE_HOSTS`, none unless it is set.
    pub hosts: Hosts,
    /// Bounds on requests.
    pub limits: Limits,
    /// Pause between looks at the model pointer: `STEPPE_RELOAD_SECS`.
    pub reload_every: Duration,
    /// Whether every request is logged: `STEPPE_ACCESS_LOG`, `on` unless it is `off`.
    pub access_log: bool,
}

/// Bounds on requests.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Long requests computed at once, each on a thread of its own.
    pub working: usize,
    /// Requests in hand besides those; one more is answered with 429.
    pub waiting: usize,
    /// Size of a body in bytes; a larger one is answered with 413.
    pub body_bytes: usize,
    /// Series in one request.
    pub series: usize,
    /// Time from the first byte to the answer; later is answered with 503.
    pub deadline: Duration,
    /// Size of a data set in bytes.
    pub dataset_bytes: u64,
    /// Forecast values and quantiles in one answer.
    pub answer_values: usize,
    /// Memory for large answers that clients have not taken yet, in bytes.
    pub untaken_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            working: std::thread::available_parallelism().map_or(2, usize::from),
            waiting: 256,
            body_bytes: BODY_BYTES_MAX,
            series: 1_000,
            deadline: Duration::from_secs(10),
            dataset_bytes: steppe_store::table::BYTES_MAX,
            // All series of a request over the longest horizon that a manifest may ask for.
            answer_values: 366_000,
            untaken_bytes: 128 * 1024 * 1024,
        }
    }
}

impl Config {
    /// Reads the environment.
    pub fn from_env() -> Result<Self> {
        let var = |name: &str| {
            std::env::var(name)
                .with_context(|| format!("the environment variable `{name}` is not set"))
        };
        let listen = var("STEPPE_LISTEN")?;
        let reload = std::env::var("STEPPE_RELOAD_SECS").unwrap_or_else(|_| "10".to_owned());
        let hosts = std::env::var("STEPPE_HOSTS").unwrap_or_default();
        Ok(Self {
            pipeline: var("STEPPE_PIPELINE")?,
            artifacts_bucket: var("STEPPE_ARTIFACTS_BUCKET")?,
            data_bucket: var("STEPPE_DATA_BUCKET")?,
            bucket_owner: std::env::var("STEPPE_BUCKET_OWNER").ok(),
            listen: listen
                .parse()
                .with_context(|| format!("`STEPPE_LISTEN` is `{listen}`; expected an address and port like `10.42.0.5:8080`"))?,
            hosts: Hosts::parse(&hosts).map_err(|e| anyhow!("`STEPPE_HOSTS`: {e}"))?,
            limits: Limits::default(),
            access_log: match std::env::var("STEPPE_ACCESS_LOG").as_deref() {
                Err(_) | Ok("on") => true,
                Ok("off") => false,
                Ok(other) => anyhow::bail!("`STEPPE_ACCESS_LOG` is `{other}`; expected `on` or `off`"),
            },
            reload_every: Duration::from_secs(
                reload.parse().with_context(|| format!("`STEPPE_RELOAD_SECS` is `{reload}`; expected whole seconds"))?,
            ),
        })
    }
}
