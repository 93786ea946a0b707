//! The connections that are open, at most a fixed number of them.
//!
//! When one more comes, the connection that has waited longest for its client goes: for a request
//! that does not begin or does not end, or for an answer to be taken. So clients that hold
//! connections and do nothing cannot keep others out. One whose request is being worked on stays.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// Pause between two looks for a connection that may go.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Instead of a time: a request is being worked on.
const AT_WORK: u64 = u64::MAX;

/// All open connections.
#[derive(Debug)]
pub struct Clients {
    started: Instant,
    numbers: AtomicU64,
    places: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Open>>,
}

#[derive(Debug)]
struct Open {
    client: Arc<Client>,
    connection: AbortHandle,
}

/// Whose turn it is on one connection.
#[derive(Debug)]
pub struct Client {
    started: Instant,
    /// Microseconds from the start to when the wait for the client began, or [`AT_WORK`].
    waits_since: AtomicU64,
}

impl Client {
    /// From now on it is the client's turn.
    pub fn wait(&self) {
        let now = self.started.elapsed().as_micros() as u64;
        self.waits_since.store(now, Ordering::Relaxed);
    }

    /// A whole request is here.
    pub fn work(&self) {
        self.waits_since.store(AT_WORK, Ordering::Relaxed);
    }
}

/// A place among the open connections; free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    clients: Arc<Clients>,
    number: u64,
    /// Whose turn it is.
    pub client: Arc<Client>,
    _permit: OwnedSemaphorePermit,
}

impl Clients {
    /// Room for `most` connections.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            numbers: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(most.max(1))),
            open: Mutex::default(),
        })
    }

    /// A place for one more connection. When there is none the one that has waited longest for its
    /// client is closed; while all are at work, this waits.
    pub async fn place(self: &Arc<Self>) -> Place {
        loop {
            let places = self.places.clone();
            if places.available_permits() == 0 {
                self.close_longest_waiting();
            }
            if let Ok(Ok(permit)) = tokio::time::timeout(LOOK_PAUSE, places.acquire_owned()).await {
                return self.taken(permit);
            }
        }
    }

    fn taken(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let client = Arc::new(Client { started: self.started, waits_since: AtomicU64::new(0) });
        client.wait();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Place { clients: self.clone(), number, client, _permit: permit }
    }

    fn close_longest_waiting(&self) {
        let mut open = self.lock();
        let since = |open: &Open| open.client.waits_since.load(Ordering::Relaxed);
        let waiting = open.iter().filter(|(_, open)| since(open) != AT_WORK);
        let longest = waiting.min_by_key(|(_, open)| since(open)).map(|(number, _)| *number);
        if let Some(closed) = longest.and_then(|number| open.remove(&number)) {
            closed.connection.abort();
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<u64, Open>> {
        // Entries are put in and taken out whole.
        self.open.lock()
    }
}

impl Place {
    /// Who closes the connection when its place is needed. Called from the connection's own worker,
    /// before the connection first runs.
    pub fn serve(self: &Arc<Self>, connection: AbortHandle) {
        let open = Open { client: self.client.clone(), connection };
        self.clients.lock().insert(self.number, open);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.lock().remove(&self.number);
    }
}

/// The body of a request, which knows when it has arrived whole.
#[derive(Debug)]
pub struct Arriving {
    body: Incoming,
    client: Arc<Client>,
}

impl Arriving {
    /// `body`, which `client` sends.
    pub fn new(body: Incoming, client: Arc<Client>) -> Self {
        let arriving = Self { body, client };
        arriving.client.wait();
        arriving.look();
        arriving
    }

    fn look(&self) {
        if self.body.is_end_stream() {
            self.client.work();
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match frame {
            None => self.client.work(),
            Some(_) => self.look(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_waiting_connection_makes_room_and_one_at_work_does_not() {
        let clients = Clients::new(3);
        let mut places = Vec::new();
        let mut connections = Vec::new();
        for _ in 0..3 {
            let place = Arc::new(clients.place().await);
            let held = place.clone();
            let connection = tokio::spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            });
            place.serve(connection.abort_handle());
            places.push(place.client.clone());
            connections.push(connection);
        }
        places[0].work();
        let one_more = clients.place().await;
        assert!(connections.remove(1).await.expect_err("closed").is_cancelled());
        assert!(connections.iter().all(|c| !c.is_finished()), "the others are left alone");
        places[2].work();
        one_more.client.work();
        let none = tokio::time::timeout(LOOK_PAUSE * 3, clients.place()).await;
        assert!(none.is_err(), "whoever is worked for is not closed");
        drop(one_more);
        clients.place().await;
    }
}
