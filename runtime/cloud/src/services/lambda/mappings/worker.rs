//! Workers of event source mappings: one for each, which ends with it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::settings::Kind;
use super::{queue, stream};
use crate::kernel::cloud::Cloud;

/// Tells workers that their mappings have changed, by the mappings' IDs.
#[derive(Debug, Default)]
pub struct Signals(Mutex<HashMap<String, watch::Sender<u64>>>);

impl Signals {
    fn of(&self, id: &str) -> watch::Receiver<u64> {
        let mut signals = self.0.lock();
        signals.entry(id.to_owned()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Tells the worker of a mapping that it has changed.
    pub fn tell(&self, id: &str) {
        if let Some(signal) = self.0.lock().get(id) {
            signal.send_modify(|count| *count += 1);
        }
    }

    fn forget(&self, id: &str) {
        self.0.lock().remove(id);
    }
}

/// Begins the work of all mappings.
pub fn resume(cloud: &Arc<Cloud>) {
    if let Err(error) = stream::forget_lost(cloud) {
        tracing::error!("positions of mappings that are gone stay: {error}");
    }
    for id in cloud.services.lambda.mappings.names("") {
        spawn(cloud, &id);
    }
}

/// Begins the work of a mapping.
pub fn spawn(cloud: &Arc<Cloud>, id: &str) {
    let changes = cloud.services.lambda.signals.of(id);
    tokio::spawn(run(cloud.clone(), id.to_owned(), changes));
}

/// Works until the mapping is deleted.
async fn run(cloud: Arc<Cloud>, id: String, mut changes: watch::Receiver<u64>) {
    loop {
        changes.borrow_and_update();
        let Some(mapping) = cloud.services.lambda.mappings.get(&id) else {
            return cloud.services.lambda.signals.forget(&id);
        };
        match mapping.kind {
            _ if !mapping.enabled => {
                // The sender goes only with this worker.
                if changes.changed().await.is_err() {
                    return;
                }
            }
            Kind::Stream | Kind::Table => stream::run(&cloud, &id, &mapping, changes.clone()).await,
            Kind::Queue | Kind::Fifo => queue::run(&cloud, &id, &mapping, changes.clone()).await,
        }
    }
}
