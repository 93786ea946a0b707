//! The cloud as a value: configuration, all records, and the few things that every service needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kernel::clock::Clock;
use crate::kernel::engine::Engines;
use crate::kernel::faults::Faults;
use crate::kernel::former;
use crate::kernel::iam::Audit;
use crate::kernel::identity::Identities;
use crate::kernel::store::{Store, Table};
use crate::kernel::trail::Trail;
use crate::services::Services;

/// What does not change while the process runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of all state.
    pub state_dir: PathBuf,
    /// Account number.
    pub account: String,
    /// Region.
    pub region: String,
    /// Port on 127.0.0.1.
    pub port: u16,
    /// The SQL engine's binary.
    pub engine: PathBuf,
    /// This binary, which is also the instances' `aws`, `curl` and `systemctl`.
    pub own_binary: PathBuf,
}

impl Config {
    /// `http://127.0.0.1:4580`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The ARN of something in this account and region:
    /// `arn:aws:glue:us-east-1:000000000000:job/x`.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }

    /// The ARN of something that has no region: IAM.
    pub fn global_arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}::{}:{resource}", self.account)
    }

    /// Environment of a process that speaks to this cloud with temporary credentials.
    pub fn client_env(&self) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
            // By which the process is found when this one did not live to end it.
            (crate::kernel::processes::MARK, self.state_dir.display().to_string()),
        ];
        pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }
}

/// Limits of an account and of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Invocations of functions at a time, as in AWS.
    pub invocations: usize,
    /// Processes of all functions together.
    pub processes: usize,
    /// Longest time of a query, as of Athena's for `SELECT`.
    pub query_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { invocations: 1_000, processes: 64, query_time: Duration::from_secs(30 * 60) }
    }
}

/// What a service opens its records with.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// What does not change.
    pub config: &'a Config,
    /// What is bounded.
    pub limits: Limits,
    /// Where records are.
    pub store: &'a Arc<Store>,
    /// The cloud's clock.
    pub clock: &'a Clock,
}

impl Opening<'_> {
    /// The table of that kind.
    pub fn table<T: Serialize + DeserializeOwned>(&self, kind: &str) -> Table<T> {
        Table::new(self.store, kind)
    }
}

/// The whole cloud.
#[derive(Debug)]
pub struct Cloud {
    /// What does not change.
    pub config: Config,
    /// What is bounded.
    pub limits: Limits,
    /// Random, and written into the state folder when the process began: who knows it can read the
    /// folder, and a cloud that answers with it is the one that serves that folder.
    pub identity: String,
    /// Woken when the process is asked to end.
    pub stop: Arc<tokio::sync::Notify>,
    /// Where the records of all services are.
    pub store: Arc<Store>,
    /// The time, for everything that waits for it.
    pub clock: Clock,
    /// Who may call.
    pub identities: Identities,
    /// What roles called and were denied.
    pub audit: Audit,
    /// What was called.
    pub trail: Trail,
    /// What goes wrong on demand.
    pub faults: Faults,
    /// Jobs and queries that are at work.
    pub engines: Engines,
    /// What each service has.
    pub services: Services,
}

impl Cloud {
    /// Opens the state in `config.state_dir`.
    pub fn open(config: Config) -> Result<Arc<Self>> {
        Self::open_with(config, Limits::default())
    }

    /// The same with other limits.
    pub fn open_with(config: Config, limits: Limits) -> Result<Arc<Self>> {
        let store = Store::open(&config.state_dir)?;
        former::import(&store, &config.state_dir)?;
        let clock = Clock::open(&config.state_dir).context("the clock cannot be read")?;
        let opening = Opening { config: &config, limits, store: &store, clock: &clock };
        Ok(Arc::new(Self {
            identity: crate::kernel::folder::new_identity(&config.state_dir)?,
            stop: Arc::default(),
            identities: Identities::open(&config, &store)?,
            audit: Audit::open(&config.state_dir)?,
            trail: Trail::open(&config.state_dir)?,
            faults: Faults::open(&config, &clock)?,
            engines: Engines::default(),
            services: Services::open(&opening)?,
            store: store.clone(),
            config,
            clock,
            limits,
        }))
    }

    /// A cloud of its own in a folder, without anything that runs.
    #[cfg(test)]
    pub fn for_tests(folder: &Path) -> Arc<Self> {
        let config = Config {
            state_dir: folder.to_owned(),
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            port: 0,
            engine: PathBuf::new(),
            own_binary: PathBuf::new(),
        };
        Self::open(config).expect("opens")
    }

    /// A directory below the state directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.config.state_dir.join(name)
    }
}

/// Seconds since 1970, as AWS's JSON protocols write times.
pub fn epoch_secs(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

/// `2026-01-31T12:00:00.123Z`, as AWS's XML protocols write times.
pub fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// An ID in EC2's form: `i-0123456789abcdef0`.
pub fn short_id(prefix: &str) -> String {
    format!("{prefix}-{}", &uuid::Uuid::new_v4().simple().to_string()[..17])
}
