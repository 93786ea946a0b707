//! Connections: one event loop per core, so that a request never changes threads.
//!
//! One task accepts and deals connections out in turn. Slow clients are bounded: a request's head
//! must arrive within seconds, its body within the deadline, its answer must be taken within
//! seconds, and what has not been taken fits into a buffer. No more than a fixed number of
//! connections is open at once; see [`crate::clients`] for which one makes room.

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::access_log;
use crate::clients::{Arriving, Clients, Place};
use crate::patience::Patient;

/// How connections are served.
#[derive(Debug, Clone, Copy)]
pub struct Serving {
    /// Event loops, each on a thread of its own.
    pub workers: usize,
    /// Connections open at once.
    pub connections: usize,
    /// Time for the head of a request, and for an idle connection.
    pub head: Duration,
    /// Time for a client to take what has been answered.
    pub taking: Duration,
    /// Time that requests at work get when the server stops.
    pub drain: Duration,
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            connections: 512,
            head: Duration::from_secs(30),
            taking: Duration::from_secs(30),
            drain: Duration::from_secs(20),
        }
    }
}

/// Bytes that are read ahead of a request, and bytes of answers that wait to be taken.
const BUFFER_BYTES: usize = 64 * 1024;

type Connection = (std::net::TcpStream, Place);

/// Serves `app` on `listener` until `stop` resolves and all requests at work are answered.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    serving: Serving,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (stopping, stopped) = watch::channel(false);
    let mut hands = Vec::new();
    let mut threads = Vec::new();
    for number in 0..serving.workers.max(1) {
        let (hand, connections) = mpsc::channel(64);
        let (app, stopped) = (app.clone(), stopped.clone());
        let work = move || worker(connections, app, serving, stopped);
        threads.push(
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(work)
                .context("cannot start a worker")?,
        );
        hands.push(hand);
    }
    tokio::select! {
        () = accept(listener, hands, serving.connections) => {}
        () = stop => {}
    }
    stopping.send_replace(true);
    // Every worker is waited for, whatever the others say.
    let join = |thread: std::thread::JoinHandle<bool>| thread.join().unwrap_or(false);
    let joined = tokio::task::spawn_blocking(move || {
        threads.into_iter().map(join).filter(|answered| !answered).count() == 0
    });
    if !joined.await? {
        anyhow::bail!(
            "requests were still at work {} seconds after the signal to stop",
            serving.drain.as_secs()
        );
    }
    Ok(())
}

/// Accepts for as long as there are workers.
async fn accept(
    listener: tokio::net::TcpListener,
    mut hands: Vec<mpsc::Sender<Connection>>,
    connections: usize,
) {
    let clients = Clients::new(connections);
    let mut turn = 0;
    while !hands.is_empty() {
        match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => {
                turn = (turn + 1) % hands.len();
                let place = clients.place().await;
                if hands[turn].send((stream, place)).await.is_err() {
                    tracing::error!("a worker has ended; the others go on");
                    hands.remove(turn);
                }
            }
            Err(error) => {
                // Mostly a client that went away, or no file descriptors left; a pause lets some
                // close.
                tracing::warn!("a connection was not accepted: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// One event loop; says whether every request was answered in time.
fn worker(
    mut connections: mpsc::Receiver<Connection>,
    app: Router,
    serving: Serving,
    mut stopped: watch::Receiver<bool>,
) -> bool {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("a worker cannot start: {error}");
            return false;
        }
    };
    runtime.block_on(async move {
        let graceful = GracefulShutdown::new();
        let mut flush = tokio::time::interval(access_log::FLUSH_EVERY);
        loop {
            tokio::select! {
                connection = connections.recv() => match connection {
                    Some((stream, place)) => handle(stream, place, &app, serving, &graceful),
                    None => break,
                },
                _ = flush.tick() => access_log::flush(),
                _ = stopped.wait_for(|stopped| *stopped) => break,
            }
        }
        let answered = tokio::time::timeout(serving.drain, graceful.shutdown()).await.is_ok();
        access_log::flush();
        answered
    })
}

fn handle(
    stream: std::net::TcpStream,
    place: Place,
    app: &Router,
    serving: Serving,
    graceful: &GracefulShutdown,
) {
    // A connection that is closed already has nobody to tell.
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(Patient::new(stream, serving.taking));
    let mut http = http1::Builder::new();
    // Head and body go out as one piece: a small copy costs less than a write of several pieces.
    // Large bodies come in parts that fit into the buffer, see `body`.
    http.timer(TokioTimer::new())
        .header_read_timeout(serving.head)
        .max_buf_size(BUFFER_BYTES)
        .writev(false);
    let (app, client) = (TowerToHyperService::new(app.clone()), place.client.clone());
    let answer = service_fn(move |request: Request<Incoming>| {
        let client = client.clone();
        let answer = app.call(request.map(|body| Arriving::new(body, client.clone())));
        async move {
            let answer = answer.await;
            client.wait();
            answer
        }
    });
    let connection = graceful.watch(http.serve_connection(stream, answer));
    let place = Arc::new(place);
    let held = place.clone();
    let connection = tokio::spawn(async move {
        // Errors here are the client's: it broke off, was too slow, or spoke no HTTP.
        if let Err(error) = connection.await {
            tracing::debug!("a connection ended: {error}");
        }
        drop(held);
    });
    place.serve(connection.abort_handle());
}
