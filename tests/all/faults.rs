//! Faults over HTTP: who may order them, and what a lost answer looks like.

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Sends a request and reads until the connection is closed.
async fn raw(port: u16, head: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
    let request = format!("{head} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // A reset is what some clients see in the place of the end.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn a_lost_answer_is_a_connection_that_is_closed_without_a_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let app = Router::new().route("/", get(|| async { steppe_cloud::faults::lost() }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert_eq!(raw(port, "GET /").await, b"");
}
