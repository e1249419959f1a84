//! Certificates in files that are used, replaced and spoilt.

use std::fs;

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

use super::*;
use crate::connections::{ClientCertificate, Limits, serve};

const DESK: [&str; 2] = [
    include_str!("testdata/desk.pem"),
    include_str!("testdata/desk.key"),
];
const RENEWED: [&str; 2] = [
    include_str!("testdata/renewed.pem"),
    include_str!("testdata/renewed.key"),
];

fn files(folder: &Path, [certificate, key]: [&str; 2]) -> CertificateFiles {
    let files = CertificateFiles {
        certificate: folder.join("desk.pem"),
        key: folder.join("desk.key"),
        client_authorities: None,
    };
    fs::write(&files.certificate, certificate).unwrap();
    fs::write(&files.key, key).unwrap();
    files
}

/// A client that trusts this certificate alone.
fn client(certificate: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Whether a client that trusts `certificate` is let in by the service, in memory.
async fn is_trusted(encryption: &Encryption, certificate: &str) -> bool {
    let (here, there) = tokio::io::duplex(1 << 16);
    let (acceptor, connector) = (encryption.acceptor(), client(certificate));
    let name = ServerName::try_from("localhost").unwrap();
    let (served, connected) = tokio::join!(acceptor.accept(there), connector.connect(name, here));
    served.is_ok() && connected.is_ok()
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_spoilt_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let encryption = Encryption::load(files(folder.path(), DESK)).unwrap();
    assert!(is_trusted(&encryption, DESK[0]).await);
    assert!(!is_trusted(&encryption, RENEWED[0]).await);
    for spoilt in [[RENEWED[0], DESK[1]], ["", ""], [DESK[1], DESK[0]]] {
        files(folder.path(), spoilt);
        encryption.read_again();
        assert!(is_trusted(&encryption, DESK[0]).await, "{spoilt:?}");
    }
    files(folder.path(), RENEWED);
    encryption.read_again();
    assert!(is_trusted(&encryption, RENEWED[0]).await);
    assert!(!is_trusted(&encryption, DESK[0]).await);
}

#[tokio::test(start_paused = true)]
async fn files_that_change_are_read_again_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let encryption = Arc::new(Encryption::load(files(folder.path(), DESK)).unwrap());
    let stop = StopSignal::default();
    let (followed, told) = (Arc::clone(&encryption), stop.clone());
    let following = tokio::spawn(async move { followed.follow(&told).await });
    let renewed = files(folder.path(), RENEWED);
    let file = fs::File::options().append(true).open(&renewed.key).unwrap();
    let written = file.metadata().unwrap().modified().unwrap();
    file.set_modified(written + Duration::from_secs(60))
        .unwrap();
    tokio::time::sleep(LOOK).await;
    assert!(is_trusted(&encryption, RENEWED[0]).await);
    stop.stop();
    following.await.unwrap();
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (pair, expected) in [
        (["", DESK[1]], "desk.pem: it holds no certificate"),
        ([DESK[0], ""], "desk.key: "),
        ([DESK[0], DESK[0]], "desk.key: "),
        ([DESK[0], RENEWED[1]], "cannot be used together"),
    ] {
        let error = Encryption::load(files(folder.path(), pair)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut missing = files(folder.path(), DESK);
    missing.key = folder.path().join("none.key");
    let error = Encryption::load(missing).unwrap_err().to_string();
    assert!(error.contains("none.key"), "{error}");
}

#[tokio::test]
async fn requests_are_answered_inside_and_whoever_does_not_encrypt_is_disconnected() {
    let folder = tempfile::tempdir().unwrap();
    let encryption = Arc::new(Encryption::load(files(folder.path(), DESK)).unwrap());
    let app = axum::Router::new().route("/short", axum::routing::get(async || "short"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), StopSignal::default());
    let told = stop.clone();
    let limits = Limits {
        head: Duration::from_millis(200),
        ..Limits::default()
    };
    let running = tokio::spawn(async move {
        serve(listener, app, limits, Some(encryption), &told).await;
    });
    let request = b"GET /short HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut encrypted = client(DESK[0]).connect(name, tcp).await.unwrap();
    encrypted.write_all(request).await.unwrap();
    let mut answer = String::new();
    encrypted.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("short"), "{answer}");
    for said in [&request[..], b""] {
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is cut off may end in a reset, which is an end too.
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!String::from_utf8_lossy(&answer).contains("200"));
    }
    stop.stop();
    running.await.unwrap();
}

#[tokio::test]
async fn clients_are_asked_for_a_certificate_and_answered_without() {
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("authorities.pem");
    let files = CertificateFiles {
        client_authorities: Some(authorities.clone()),
        ..files(folder.path(), DESK)
    };
    fs::write(&authorities, "").unwrap();
    let refused = Encryption::load(files.clone()).unwrap_err().to_string();
    assert!(
        refused.starts_with("--client-ca ") && refused.contains("holds no certificate"),
        "{refused}"
    );
    fs::write(&authorities, RENEWED[0]).unwrap();
    let encryption = Arc::new(Encryption::load(files).unwrap());
    let show =
        async |certificate: axum::Extension<ClientCertificate>| format!("{:?}", *certificate);
    let app = axum::Router::new().route("/", axum::routing::get(show));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), StopSignal::default());
    let told = stop.clone();
    let running = tokio::spawn(async move {
        serve(listener, app, Limits::default(), Some(encryption), &told).await;
    });
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut encrypted = client(DESK[0]).connect(name, tcp).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    encrypted.write_all(request).await.unwrap();
    let mut answer = String::new();
    encrypted.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("Missing"), "{answer}");
    stop.stop();
    running.await.unwrap();
}

#[test]
fn what_comes_next_is_known_by_its_key_and_its_authorities() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("next.pem");
    fs::write(&file, [RENEWED[0], DESK[0]].concat()).unwrap();
    let next = next_pins(&file).unwrap();
    assert_eq!((next.keys.len(), next.authorities.len()), (1, 2));
    let renewed = Encryption::load(files(folder.path(), RENEWED)).unwrap();
    assert_eq!(next.keys[0], renewed.fingerprint());
    fs::write(&file, RENEWED[0].repeat(9)).unwrap();
    for expected in ["more than 8 certificates", "holds no certificate"] {
        let error = next_pins(&file).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        fs::write(&file, "").unwrap();
    }
}
