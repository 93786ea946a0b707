//! Clients that hold connections, send slowly or take nothing, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use steppe_server::config::Limits;
use steppe_server::guard::Hosts;
use steppe_server::routes::router;
use steppe_server::serving::{Serving, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::forecasts::Server;

/// More than the buffers of both sockets hold.
const FLOOD_BYTES: usize = 64 * 1024 * 1024;

struct Listening {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<(), String>>,
}

impl Listening {
    async fn start(serving: Serving) -> Self {
        let server = Server::start(Limits::default()).await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        let app = router(server.service, Hosts::default());
        let ended = tokio::spawn(async move {
            serve(listener, app, serving, stopped).await.map_err(|e| e.to_string())
        });
        Self { address, stop, ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    /// Status line of a quick client's answer.
    async fn ask(&self) -> String {
        let values = json!([1, 2, 3, 4, 5]);
        let history = json!({ "series": "x", "observed_until": "2015", "values": values });
        let body = json!({ "histories": [history] }).to_string();
        let head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                    Content-Type: application/json";
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer.lines().next().unwrap_or_default().to_owned()
    }

    async fn end(self) {
        self.stop.send(()).expect("still there");
        self.ended.await.expect("no panic").expect("every request was answered");
    }
}

/// Whether the other end closes the connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest));
    read.await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_do_nothing_make_room_for_one_that_does() {
    let beginnings = [
        "",
        "POST /predict HTTP/1.1\r\nHost: x",
        "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{",
        "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    for beginning in beginnings {
        let serving = Serving { workers: 2, connections: 6, ..Serving::default() };
        let listening = Listening::start(serving).await;
        let mut held = Vec::new();
        for _ in 0..6 {
            let mut stream = listening.connect().await;
            stream.write_all(beginning.as_bytes()).await.expect("sent");
            held.push(stream);
        }
        for _ in 0..3 {
            assert_eq!(listening.ask().await, "HTTP/1.1 200 OK", "behind {beginning:?}");
        }
        let closed = held.iter_mut().map(|stream| Box::pin(is_closed(stream)));
        assert!(futures::future::select_all(closed).await.0, "one of them made room");
        drop(held);
        listening.end().await;
    }
}

/// What is asked for and not taken must not gather: the server reads no more, and then gives up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_is_not_served_without_end() {
    let taking = Duration::from_millis(500);
    let serving = Serving { workers: 1, taking, ..Serving::default() };
    let listening = Listening::start(serving).await;
    // One has an answer with a body, the others have only heads.
    for target in ["GET /openapi.json", "HEAD /openapi.json", "GET /v2/health/live"] {
        let request = format!("{target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let many = request.repeat(1_000);
        let mut stream = listening.connect().await;
        let mut sent = 0;
        let given_up = loop {
            match stream.write_all(many.as_bytes()).await {
                Ok(()) => sent += many.len(),
                Err(error) => break error,
            }
            assert!(sent < FLOOD_BYTES, "{target}: {sent} bytes were read, and nothing was taken");
        };
        let kind = given_up.kind();
        let closed = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe];
        assert!(closed.contains(&kind), "{target}: {given_up}");
    }
    assert_eq!(listening.ask().await, "HTTP/1.1 200 OK");
    listening.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_after_each_other_on_one_connection_are_all_answered() {
    let listening = Listening::start(Serving { workers: 1, ..Serving::default() }).await;
    let mut stream = listening.connect().await;
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let all = request.repeat(2_000) + last;
    let (mut read, mut write) = stream.split();
    let sending = write.write_all(all.as_bytes());
    let mut answers = String::new();
    let (sent, taken) = tokio::join!(sending, read.read_to_string(&mut answers));
    sent.expect("sent");
    taken.expect("taken");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2_001);
    listening.end().await;
}
