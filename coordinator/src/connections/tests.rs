//! Clients that are slow or many, over real sockets.

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Short for tests, in which nobody is slow but on purpose.
const SHORT: Duration = Duration::from_millis(200);

async fn start(limits: Limits) -> (SocketAddr, StopSignal, tokio::task::JoinHandle<()>) {
    let app = Router::new()
        .route("/short", get(async || "short"))
        .route("/long", get(async || vec![b'x'; 64 << 20]))
        .route("/taken", post(async |body: String| body));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), StopSignal::default());
    let told = stop.clone();
    let running = tokio::spawn(async move { serve(listener, app, limits, None, &told).await });
    (address, stop, running)
}

async fn all_of(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is cut off may end in a reset, which is an end too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn whoever_does_not_finish_a_requests_head_is_disconnected() {
    let limits = Limits {
        head: SHORT,
        ..Limits::default()
    };
    let (address, ..) = start(limits).await;
    for begun in ["", "GET /sho", "GET /short HTTP/1.1\r\nHost: x\r\nA"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(begun.as_bytes()).await.unwrap();
        let answer = all_of(&mut client).await;
        assert!(!answer.contains("200"), "{answer}");
    }
}

#[tokio::test]
async fn whoever_sends_no_further_request_is_disconnected() {
    let limits = Limits {
        head: SHORT,
        ..Limits::default()
    };
    let (address, ..) = start(limits).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(request).await.unwrap();
    assert!(all_of(&mut client).await.ends_with("short"));
}

#[tokio::test]
async fn whoever_takes_nothing_of_an_answer_is_disconnected() {
    let limits = Limits {
        connections: 1,
        stall: SHORT,
        ..Limits::default()
    };
    let (address, ..) = start(limits).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    let request = b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n";
    slow.write_all(request).await.unwrap();
    // There is room for one alone, so the next one is answered only when the slow one is gone.
    let mut next = TcpStream::connect(address).await.unwrap();
    let request = b"GET /short HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    next.write_all(request).await.unwrap();
    assert!(all_of(&mut next).await.ends_with("short"));
    assert!(all_of(&mut slow).await.len() < 64 << 20);
}

#[tokio::test]
async fn more_clients_than_there_is_room_for_wait_and_are_answered() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let (address, ..) = start(limits).await;
    let mut idle = [
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
    ];
    let mut next = TcpStream::connect(address).await.unwrap();
    let request = b"GET /short HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    next.write_all(request).await.unwrap();
    idle[0].write_all(request).await.unwrap();
    assert!(all_of(&mut idle[0]).await.ends_with("short"));
    assert!(all_of(&mut next).await.ends_with("short"));
}

#[tokio::test]
async fn a_stop_lets_a_request_end_and_takes_no_other() {
    let (address, stop, running) = start(Limits::default()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let head = b"POST /taken HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo";
    client.write_all(head).await.unwrap();
    // An answer to somebody else shows that the connection before was accepted.
    let mut other = TcpStream::connect(address).await.unwrap();
    let request = b"GET /short HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    other.write_all(request).await.unwrap();
    all_of(&mut other).await;
    stop.stop();
    client.write_all(b"dy").await.unwrap();
    let answer = all_of(&mut client).await;
    assert!(answer.is_empty() || answer.ends_with("body"), "{answer}");
    running.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
