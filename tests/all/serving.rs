//! The embedded cloud within the test's own process.

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use serde_json::Value;
use steppe_cloud::kernel::cloud::{Cloud, Config, Limits};
use steppe_cloud::kernel::error::ApiResult;
use steppe_cloud::kernel::identity::Caller;
use steppe_cloud::{protocol, services};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::tools::binary;

/// A cloud that serves on a port of its own until it is dropped.
pub struct Serving {
    /// The cloud.
    pub cloud: Arc<Cloud>,
    /// Its state folder.
    pub state: TempDir,
    stop: Arc<Notify>,
}

impl Serving {
    /// An empty cloud.
    pub async fn start() -> Self {
        Self::begin(Limits::default(), |_| {}).await
    }

    /// An empty cloud with other limits.
    pub async fn limited(limits: Limits) -> Self {
        Self::begin(limits, |_| {}).await
    }

    /// A cloud whose state folder somebody prepared.
    pub async fn start_with(prepare: impl FnOnce(&Path)) -> Self {
        Self::begin(Limits::default(), prepare).await
    }

    async fn begin(limits: Limits, prepare: impl FnOnce(&Path)) -> Self {
        let state = TempDir::new().expect("a folder");
        prepare(state.path());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let config = Config {
            state_dir: state.path().canonicalize().expect("a path"),
            account: "000000000000".into(),
            region: "us-east-1".into(),
            port: listener.local_addr().expect("an address").port(),
            engine: binary("steppe-etl"),
            own_binary: binary("steppe-cloud"),
        };
        let cloud = Cloud::open_with(config, limits).expect("opens");
        services::run_deliveries(&cloud);
        let stop = Arc::new(Notify::new());
        tokio::spawn(protocol::serve(cloud.clone(), listener, stop.clone()));
        Self { cloud, state, stop }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.notify_waiters();
    }
}

/// Calls an operation that answers at once.
pub fn now(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    service: &str,
    operation: &str,
    params: &Value,
) -> ApiResult {
    let answer = steppe_cloud::kernel::service::call(cloud, caller, service, operation, params);
    answer.now_or_never().expect("an operation that does not wait")
}
