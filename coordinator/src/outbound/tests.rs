//! Requests over real sockets, to targets that behave and to targets that do not.

use std::{
    io,
    net::IpAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode},
};
use futures_util::future::BoxFuture;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;

/// Long enough for everything that comes at all.
const PATIENT: Limits = Limits {
    deadline: Duration::from_secs(30),
    max_answer: 1000,
};

/// For targets that never answer: how long does not matter.
const BRIEF: Limits = Limits {
    deadline: Duration::from_millis(300),
    max_answer: 1000,
};

/// Answers with a list of addresses per call; the last list counts for all further calls.
#[derive(Debug)]
struct Names {
    answers: Vec<Vec<IpAddr>>,
    calls: AtomicUsize,
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, _host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.get(call).or(self.answers.last());
        let answer = answer
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into());
        Box::pin(async move { answer })
    }
}

fn names(answers: &[&[&str]]) -> Arc<Names> {
    let parse = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
    Arc::new(Names {
        answers: answers.iter().map(parse).collect(),
        calls: AtomicUsize::new(0),
    })
}

fn client(reach: Reach, resolver: Arc<Names>) -> Client {
    let authority = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/outbound/testdata/authority.pem"
    );
    let tls = client_config(Some(Path::new(authority))).unwrap();
    Client::new(reach, resolver, tls)
}

/// A client for targets on this machine.
fn local() -> Client {
    client(Reach::Private, names(&[&["127.0.0.1"]]))
}

async fn post(client: &Client, url: &str, limits: &Limits) -> Result<Answer, OutboundError> {
    let target = Target::parse(url, client.reach())?;
    let mut headers = HeaderMap::new();
    headers.insert("svix-id", HeaderValue::from_static("1"));
    client
        .post(&target, headers, Bytes::from_static(b"{\"a\":1}"), limits)
        .await
}

/// Reads one request with its body of seven bytes.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"{\"a\":1}") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
    }
    String::from_utf8(request).unwrap()
}

/// A target that takes one request and then sends `answer`, and keeps the connection open if it is to hang.
async fn target(answer: &'static [u8], hangs: bool) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = read_request(&mut stream).await;
        stream.write_all(answer).await.unwrap();
        if hangs {
            std::future::pending::<()>().await;
        }
        request
    });
    (port, taken)
}

#[tokio::test]
async fn a_request_arrives_whole_and_its_answer_comes_back() {
    let (port, taken) = target(
        b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok",
        false,
    )
    .await;
    let url = format!("http://127.0.0.1:{port}/hook?key=1");
    let answer = post(&local(), &url, &PATIENT).await.unwrap();
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.body.as_deref(), Some(b"ok".as_slice()));
    let request = taken.await.unwrap();
    assert!(
        request.starts_with("POST /hook?key=1 HTTP/1.1\r\n"),
        "{request}"
    );
    for line in [
        &format!("host: 127.0.0.1:{port}"),
        "content-length: 7",
        "connection: close",
        "svix-id: 1",
        &format!(
            "user-agent: encoder-coordinator/{}",
            env!("CARGO_PKG_VERSION")
        ),
    ] {
        assert!(
            request.contains(&format!("\r\n{line}\r\n")),
            "{line}: {request}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let to = elsewhere.local_addr().unwrap();
    let answer =
        format!("HTTP/1.1 307 Moved\r\nlocation: http://{to}/\r\ncontent-length: 0\r\n\r\n");
    let (port, _taken) = target(answer.leak().as_bytes(), false).await;
    let url = format!("http://127.0.0.1:{port}/");
    let answer = post(&local(), &url, &PATIENT).await.unwrap();
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(
        elsewhere.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

#[tokio::test]
async fn a_target_that_hangs_is_given_up_at_the_deadline() {
    for answer in [b"".as_slice(), b"HTTP/1.1 200 OK\r\nx: "] {
        let (port, taken) = target(answer, true).await;
        let url = format!("http://127.0.0.1:{port}/");
        let error = post(&local(), &url, &BRIEF).await.unwrap_err();
        assert!(matches!(error, OutboundError::Late(_)), "{error}");
        taken.abort();
    }
    // Takes connections and never reads.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://hooks.example:{port}/");
        let error = post(&local(), &url, &BRIEF).await.unwrap_err();
        assert!(matches!(error, OutboundError::Late(_)), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_or_ends_early_is_told() {
    for answer in [
        b"".as_slice(),
        b"220 mail.example ESMTP\r\n",
        b"\x00\xff\x16\x03",
        b"HTTP/1.1 200 OK\r\nx",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
    ] {
        let (port, _taken) = target(answer, false).await;
        let url = format!("http://127.0.0.1:{port}/");
        let error = post(&local(), &url, &PATIENT).await.unwrap_err();
        assert!(matches!(error, OutboundError::NoAnswer(_)), "{error}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    async fn flood(mut stream: TcpStream, line: &[u8]) {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while stream.write_all(line).await.is_ok() {}
    }
    for line in [b"a: b\r\n".as_slice(), b"aaaaaaaaaaaaaaaa"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let flooded = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            flood(stream, line).await;
        });
        let error = post(&local(), &url, &PATIENT).await.unwrap_err();
        assert!(matches!(error, OutboundError::NoAnswer(_)), "{error}");
        // The flood ends because the connection was closed.
        flooded.await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_or_breaks_off_has_a_status_and_no_body() {
    let too_long = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n{}",
        "x".repeat(1001)
    );
    let broken = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc";
    let not_chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    for answer in [too_long.leak(), broken, not_chunked] {
        let (port, _taken) = target(answer.as_bytes(), false).await;
        let url = format!("http://127.0.0.1:{port}/");
        let answer = post(&local(), &url, &PATIENT).await.unwrap();
        assert_eq!((answer.status, answer.body), (StatusCode::OK, None));
    }
    let (port, taken) = target(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc", true).await;
    let url = format!("http://127.0.0.1:{port}/");
    let answer = post(&local(), &url, &BRIEF).await.unwrap();
    assert_eq!((answer.status, answer.body), (StatusCode::OK, None));
    taken.abort();
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let flood = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let answer = post(&local(), &url, &PATIENT).await.unwrap();
    assert_eq!((answer.status, answer.body), (StatusCode::OK, None));
    flood.await.unwrap();
}

#[tokio::test]
async fn a_name_is_resolved_once_and_what_was_checked_is_connected_to() {
    let (port, taken) = target(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false).await;
    // Asked again, the name would lead to the cloud's metadata.
    let rebinding = names(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let client = client(Reach::Private, Arc::clone(&rebinding));
    let url = format!("http://hooks.example:{port}/");
    let answer = post(&client, &url, &PATIENT).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        taken
            .await
            .unwrap()
            .contains(&format!("host: hooks.example:{port}\r\n"))
    );
    assert_eq!(rebinding.calls.load(Ordering::SeqCst), 1);
    let error = post(&client, &url, &PATIENT).await.unwrap_err().to_string();
    assert!(error.contains("link-local"), "{error}");
}

#[tokio::test]
async fn a_name_with_any_address_that_is_refused_is_not_connected_to() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("https://hooks.example:{port}/");
    for addresses in [
        ["127.0.0.1"].as_slice(),
        &["127.0.0.1", "192.0.2.1"],
        &["2606:4700::1", "127.0.0.1"],
        &["::ffff:127.0.0.1"],
    ] {
        let client = client(Reach::Public, names(&[addresses]));
        let error = post(&client, &url, &PATIENT).await.unwrap_err();
        assert!(
            matches!(error, OutboundError::Refused(TargetError::Refused(_))),
            "{error}"
        );
    }
    let clear = client(Reach::Private, names(&[&["2606:4700::1"]]));
    let error = post(&clear, &format!("http://hooks.example:{port}/"), &PATIENT).await;
    assert!(matches!(
        error,
        Err(OutboundError::Refused(TargetError::ClearText))
    ));
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

#[tokio::test]
async fn a_name_without_address_and_a_closed_port_are_told() {
    let nowhere = client(Reach::Public, names(&[]));
    let error = post(&nowhere, "https://hooks.example/", &PATIENT)
        .await
        .unwrap_err();
    assert!(matches!(error, OutboundError::Unresolved { .. }), "{error}");
    let empty = client(Reach::Public, names(&[&[]]));
    let error = post(&empty, "https://hooks.example/", &PATIENT)
        .await
        .unwrap_err();
    assert!(matches!(error, OutboundError::NoAddress(_)), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let error = post(&local(), &format!("http://{closed}/"), &PATIENT)
        .await
        .unwrap_err();
    assert!(
        matches!(error, OutboundError::Unreachable { .. }),
        "{error}"
    );
}

/// A target that speaks TLS as `hooks.example`.
async fn encrypted_target() -> (u16, JoinHandle<Option<String>>) {
    let certificates = CertificateDer::pem_slice_iter(include_bytes!("testdata/receiver.pem"))
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/receiver.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(tcp).await.ok()?;
        let request = read_request(&mut stream).await;
        answer_ok(&mut stream).await;
        Some(request)
    });
    (port, taken)
}

async fn answer_ok(stream: &mut (impl AsyncWrite + Unpin)) {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    stream.flush().await.unwrap();
}

#[tokio::test]
async fn encryption_is_checked_against_the_name_and_not_the_address() {
    let (port, taken) = encrypted_target().await;
    let url = format!("https://hooks.example:{port}/");
    let answer = post(&local(), &url, &PATIENT).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert!(taken.await.unwrap().is_some());
    for host in ["other.example", "127.0.0.1"] {
        let (port, taken) = encrypted_target().await;
        let url = format!("https://{host}:{port}/");
        let error = post(&local(), &url, &PATIENT).await.unwrap_err();
        assert!(matches!(error, OutboundError::Tls { .. }), "{error}");
        assert_eq!(taken.await.unwrap(), None, "nothing was sent");
    }
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_is_refused() {
    let (port, taken) = encrypted_target().await;
    let tls = client_config(None).unwrap();
    let client = Client::new(Reach::Private, names(&[&["127.0.0.1"]]), tls);
    let url = format!("https://hooks.example:{port}/");
    let error = post(&client, &url, &PATIENT).await.unwrap_err();
    assert!(matches!(error, OutboundError::Tls { .. }), "{error}");
    assert_eq!(taken.await.unwrap(), None, "nothing was sent");
}
