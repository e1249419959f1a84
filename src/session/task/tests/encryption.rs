//! Whom an encrypted connection trusts.

use super::*;

/// A coordinator behind TLS on `127.0.0.1`, which takes one connection.
async fn encrypted_coordinator() -> (u16, JoinHandle<bool>) {
    let certificates =
        CertificateDer::pem_slice_iter(include_bytes!("../../testdata/coordinator.pem"))
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
    let key =
        PrivateKeyDer::from_pem_slice(include_bytes!("../../testdata/coordinator.key")).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let upgraded = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let Ok(stream) = acceptor.accept(tcp).await else {
            return false;
        };
        let upgrade = |_: &Request, mut response: Response| {
            let value = HeaderValue::from_static(SUBPROTOCOL);
            response
                .headers_mut()
                .insert("sec-websocket-protocol", value);
            Ok(response)
        };
        accept_hdr_async(stream, upgrade).await.is_ok()
    });
    (port, upgraded)
}

async fn connect_encrypted(host: &str, trusts: bool) -> (Result<Socket, ConnectError>, bool) {
    let (port, upgraded) = encrypted_coordinator().await;
    let authority = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/session/testdata/authority.pem"
    );
    let url = CoordinatorUrl::parse(&format!("https://{host}:{port}")).unwrap();
    let settings = CoordinatorSettings {
        extra_ca_file: trusts.then(|| authority.into()),
        ..CoordinatorSettings::new(url, the_token())
    };
    let connector = Connector::new(&settings).unwrap();
    let token = Secret::new("the-token".to_owned());
    let result = soon(connector.connect(&token, jiff::Timestamp::UNIX_EPOCH)).await;
    (result, soon(upgraded).await.unwrap())
}

#[tokio::test]
#[cfg_attr(windows, ignore = "wine takes no authority of one's own")]
async fn an_encrypted_connection_trusts_the_extra_authority() {
    for host in ["127.0.0.1", "localhost"] {
        let (result, upgraded) = connect_encrypted(host, true).await;
        result.map(|_| ()).unwrap();
        assert!(upgraded);
    }
}

#[tokio::test]
async fn an_unknown_authority_is_refused_before_the_token_is_sent() {
    let (result, upgraded) = connect_encrypted("127.0.0.1", false).await;
    let error = result.err().expect("it connected");
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
    assert!(
        error.to_string().contains("belongs into `extra_ca_file`"),
        "{error}"
    );
    assert!(!upgraded);
}
