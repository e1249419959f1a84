//! The page over real connections: who may ask, and what cannot harm it.

use tokio::net::TcpStream;

use super::*;
use crate::status::tests::well;

async fn served(status: Option<Status>) -> (SocketAddr, CancellationToken) {
    let page = Page::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, stop) = (page.address(), CancellationToken::new());
    let look = move || {
        let status = status.clone();
        async move { status }
    };
    tokio::spawn(page.serve(look, stop.clone(), SignOfLife::default()));
    (address, stop)
}

async fn says(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // An answer to what was not read to its end may be cut short.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{headers}\r\n")
}

#[tokio::test]
async fn health_status_and_metrics_are_told() {
    let (address, _stop) = served(Some(well())).await;
    let host = format!("Host: {address}\r\n");
    let health = says(address, &get("/health", &host)).await;
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n"), "{health}");
    assert!(
        health.ends_with("{\"state\":\"ok\",\"problems\":[]}\n"),
        "{health}"
    );
    let status = says(address, &get("/status?pretty", &host)).await;
    let (head, body) = status.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    assert_eq!(serde_json::from_str::<Status>(body).unwrap(), well());
    let metrics = says(address, &get("/metrics", &host)).await;
    assert!(metrics.contains("version=0.0.4"), "{metrics}");
    assert!(
        metrics.contains("\nencoder_agent_coordinator_connected 1\n"),
        "{metrics}"
    );
    let head = says(address, &format!("HEAD /health HTTP/1.1\r\n{host}\r\n")).await;
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn who_cannot_encode_is_not_healthy() {
    let mut status = well();
    status.health.state = HealthState::Down;
    let (address, _stop) = served(Some(status)).await;
    let host = "Host: localhost\r\n";
    let down = says(address, &get("/health", host)).await;
    assert!(down.starts_with("HTTP/1.1 503 "), "{down}");
    let told = says(address, &get("/status", host)).await;
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    let (address, _stop) = served(None).await;
    let stuck = says(address, &get("/metrics", host)).await;
    assert!(stuck.starts_with("HTTP/1.1 503 "), "{stuck}");
}

#[tokio::test]
async fn only_this_pc_and_no_foreign_page_may_ask() {
    let (address, _stop) = served(Some(well())).await;
    let port = address.port();
    let other = port.wrapping_add(1);
    for (headers, expected) in [
        (String::new(), "421"),
        ("Host: desk.example\r\n".to_owned(), "421"),
        (format!("Host: evil.example:{port}\r\n"), "421"),
        (format!("Host: 127.0.0.1:{other}\r\n"), "421"),
        ("Host: 192.0.2.1\r\n".to_owned(), "421"),
        ("Host: localhost\r\nHost: localhost\r\n".to_owned(), "421"),
        ("Host: 127.0.0.1.evil.example\r\n".to_owned(), "421"),
        (
            "Host: localhost\r\nOrigin: https://evil.example\r\n".to_owned(),
            "403",
        ),
        ("Host: localhost\r\nOrigin: null\r\n".to_owned(), "403"),
        (
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n".to_owned(),
            "403",
        ),
        (
            format!(
                "Host: localhost\r\nOrigin: http://localhost:{port}\r\nSec-Fetch-Site: same-origin\r\n"
            ),
            "200",
        ),
        (format!("Host: [::1]:{port}\r\n"), "200"),
        ("Host: LOCALHOST\r\n".to_owned(), "200"),
    ] {
        let answer = says(address, &get("/status", &headers)).await;
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.contains(expected), "{headers}: {answer}");
        assert_eq!(
            answer.contains("Front Desk"),
            expected == "200",
            "{headers}"
        );
    }
}

#[tokio::test]
async fn what_is_no_request_of_the_kind_is_refused() {
    let (address, _stop) = served(Some(well())).await;
    let host = "Host: localhost\r\n";
    for (request, expected) in [
        (format!("POST /status HTTP/1.1\r\n{host}\r\n"), "405"),
        (get("/", host), "404"),
        (get("/status/../etc/passwd", host), "404"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("\0\u{1}\u{2}\r\n\r\n".to_owned(), "400"),
        (
            get(
                "/status",
                &format!("{host}{}", "X: y\r\n".repeat(MOST_HEADERS)),
            ),
            "400",
        ),
        (
            format!("GET /{} HTTP/1.1\r\n", "a".repeat(LONGEST_HEAD)),
            "431",
        ),
    ] {
        let answer = says(address, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{expected}: {answer}"
        );
    }
}

#[tokio::test]
async fn clients_that_say_nothing_keep_nobody_out_for_long() {
    let (address, _stop) = served(Some(well())).await;
    let mut silent = Vec::new();
    for _ in 0..MOST_CLIENTS {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // It is answered once a silent one's time is over.
    let answer = says(address, &get("/health", "Host: localhost\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let refused = Page::listen(address.parse().unwrap()).await;
        assert!(
            matches!(refused, Err(PageError::NotLoopback(_))),
            "{address}"
        );
    }
}
