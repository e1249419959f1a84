//! The first contact, and every one after it: which coordinators are believed.

use std::path::PathBuf;

use encoder_protocols::wire::NextPins;

use super::*;
use crate::{
    pairing::{Fingerprint, Pairing, Pins},
    session::{TlsProblem, tls},
};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/pairing/testdata")
        .join(name)
}

/// A coordinator, or who stands in its place, that shows this certificate and its authority's.
async fn showing(certificate: &str, key: &str, authority: Option<&str>) -> SocketAddr {
    let names = std::iter::once(certificate).chain(authority);
    let chain: Vec<_> = names
        .map(|name| CertificateDer::from_pem_file(file(name)).unwrap())
        .collect();
    let key = PrivateKeyDer::from_pem_file(file(key)).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let _ = acceptor.accept(tcp).await;
        }
    });
    address
}

fn coordinator(address: SocketAddr) -> CoordinatorSettings {
    let url = CoordinatorUrl::parse(&format!("https://{address}")).unwrap();
    CoordinatorSettings::new(url, the_token())
}

async fn encrypted(connector: &Connector) -> Result<(), TlsProblem> {
    let tcp = soon(connector.open()).await.unwrap();
    match soon(connector.encrypt(tcp)).await {
        Ok(_) => Ok(()),
        Err(ConnectError::Tls { problem, .. }) => Err(problem),
        Err(other) => panic!("{other}"),
    }
}

/// The first contact: what the coordinator is known by afterwards.
async fn met(
    settings: &CoordinatorSettings,
    fingerprint: Option<&str>,
) -> Result<Pins, TlsProblem> {
    let fingerprint: Option<Fingerprint> = fingerprint.map(|text| text.parse().unwrap());
    let (connector, met) = Connector::first_contact(settings, fingerprint).unwrap();
    encrypted(&connector).await?;
    Ok(met.take().unwrap())
}

/// The pins of an agent whose coordinator showed its certificate alone, or its authority's too.
async fn pins(authority: Option<&str>) -> Pins {
    let address = showing("paired.pem", "paired.key", authority).await;
    let trusting = CoordinatorSettings {
        extra_ca_file: Some(file("authority.pem")),
        ..coordinator(address)
    };
    met(&trusting, None).await.unwrap()
}

fn with(pins: &Pins, settings: CoordinatorSettings) -> CoordinatorSettings {
    let pairing = Pairing {
        agent_id: uuid::Uuid::nil(),
        system_name: "Main building".to_owned(),
        file: PathBuf::new(),
        url: settings.url.clone(),
        machine: None,
        pins: Some(pins.clone()),
    };
    CoordinatorSettings {
        pairing: Some(pairing),
        ..settings
    }
}

async fn believed(pins: &Pins, certificate: &str, key: &str) -> Result<(), TlsProblem> {
    let address = showing(certificate, key, None).await;
    let settings = with(pins, coordinator(address));
    encrypted(&Connector::new(&settings).unwrap()).await
}

#[tokio::test]
#[cfg_attr(windows, ignore = "wine takes no authority of one's own")]
async fn renewing_by_the_same_key_or_authority_locks_nobody_out() {
    for authority in [None, Some("authority.pem")] {
        let pins = pins(authority).await;
        for (certificate, key) in [
            ("paired.pem", "paired.key"),
            ("same-key.pem", "paired.key"),
            ("new-key.pem", "other.key"),
        ] {
            assert_eq!(
                believed(&pins, certificate, key).await,
                Ok(()),
                "{certificate}"
            );
        }
    }
}

#[tokio::test]
#[cfg_attr(windows, ignore = "wine takes no authority of one's own")]
async fn each_other_certificate_is_refused_by_its_name() {
    let pins = pins(None).await;
    let inspected = believed(&pins, "inspected.pem", "other.key").await;
    let issuer = "\"Inspection CA\" of \"Grand Hotel Security\"".to_owned();
    assert_eq!(inspected, Err(TlsProblem::NotPinned { issuer }));
    let expired = believed(&pins, "expired.pem", "paired.key").await;
    assert_eq!(expired, Err(TlsProblem::Expired));
    let elsewhere = believed(&pins, "wrong-name.pem", "paired.key").await;
    assert_eq!(elsewhere, Err(TlsProblem::WrongName));
}

/// The proxy's authority is trusted by the system, and the coordinator's own certificate sent along proves nothing.
#[tokio::test]
#[cfg_attr(windows, ignore = "wine takes no authority of one's own")]
async fn an_inspecting_proxy_is_refused_though_trusted_unless_it_is_accepted() {
    let pins = pins(None).await;
    for along in [None, Some("authority.pem"), Some("paired.pem")] {
        let address = showing("inspected.pem", "other.key", along).await;
        let trusting = CoordinatorSettings {
            extra_ca_file: Some(file("inspection.pem")),
            ..with(&pins, coordinator(address))
        };
        let refused = encrypted(&Connector::new(&trusting).unwrap()).await;
        assert!(
            matches!(refused, Err(TlsProblem::NotPinned { .. })),
            "{along:?}: {refused:?}"
        );
        let accepting = CoordinatorSettings {
            accept_inspection: true,
            ..trusting
        };
        assert_eq!(
            encrypted(&Connector::new(&accepting).unwrap()).await,
            Ok(())
        );
    }
}

#[tokio::test]
#[cfg_attr(windows, ignore = "wine takes no authority of one's own")]
async fn without_a_pairing_the_system_decides() {
    let trusting = |address| CoordinatorSettings {
        extra_ca_file: Some(file("authority.pem")),
        ..coordinator(address)
    };
    for (certificate, key, expected) in [
        ("paired.pem", "paired.key", None),
        ("expired.pem", "paired.key", Some(TlsProblem::Expired)),
        ("wrong-name.pem", "paired.key", Some(TlsProblem::WrongName)),
        (
            "inspected.pem",
            "other.key",
            Some(TlsProblem::Untrusted {
                issuer: "\"Inspection CA\" of \"Grand Hotel Security\"".to_owned(),
            }),
        ),
    ] {
        let settings = trusting(showing(certificate, key, None).await);
        let found = encrypted(&Connector::new(&settings).unwrap()).await;
        assert_eq!(found.err(), expected, "{certificate}");
        assert_eq!(met(&settings, None).await.err(), expected, "{certificate}");
    }
}

#[tokio::test]
async fn a_fingerprint_stands_in_for_the_systems_trust() {
    const KEY: &str = "41c67329e240821b8e012e7773108dbd4b15932377524fa7896b7c309a94fb8a";
    const AUTHORITY: &str = "37812d9129b250c8c2b0368290810f528f029d7b43d6fe743abd0a03909ed73e";
    const CERTIFICATE: &str = "E1:71:C1:8E:5B:B1:23:D7:72:66:7E:D3:F3:13:D3:4A:34:6E:20:28:BB:E6:97:51:EF:B5:41:BB:E5:C4:95:F1";
    let address = showing("paired.pem", "paired.key", Some("authority.pem")).await;
    for fingerprint in [KEY, AUTHORITY, CERTIFICATE] {
        let pins = met(&coordinator(address), Some(fingerprint)).await.unwrap();
        assert_eq!(believed(&pins, "new-key.pem", "other.key").await, Ok(()));
    }
    for (certificate, key, along) in [
        ("inspected.pem", "other.key", None),
        // An authority that has not signed proves nothing.
        ("inspected.pem", "other.key", Some("authority.pem")),
    ] {
        let address = showing(certificate, key, along).await;
        let refused = met(&coordinator(address), Some(AUTHORITY)).await;
        assert!(
            matches!(refused, Err(TlsProblem::OtherFingerprint { .. })),
            "{refused:?}"
        );
    }
    for (certificate, expected) in [
        ("expired.pem", TlsProblem::Expired),
        ("wrong-name.pem", TlsProblem::WrongName),
    ] {
        let address = showing(certificate, "paired.key", None).await;
        let refused = met(&coordinator(address), Some(KEY)).await;
        assert_eq!(refused.err(), Some(expected));
    }
}

#[tokio::test]
#[cfg_attr(windows, ignore = "wine takes no authority of one's own")]
async fn a_client_certificate_is_shown_to_whoever_asks() {
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(file("authority.pem")).unwrap();
    roots.add(authority).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(
        roots.into(),
        std::sync::Arc::clone(&provider),
    );
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_file(file("paired.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(file("paired.key")).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let certificate = |name: &str, key: &str| crate::config::ClientCertificate {
        certificate: file(name),
        key: file(key),
    };
    let own = certificate("client.pem", "other.key");
    for (shown, expected) in [(Some(own), true), (None, false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = CoordinatorSettings {
            extra_ca_file: Some(file("authority.pem")),
            client_certificate: shown,
            ..coordinator(listener.local_addr().unwrap())
        };
        let connector = Connector::new(&settings).unwrap();
        let client = tokio::spawn(async move { encrypted(&connector).await });
        let (tcp, _) = soon(listener.accept()).await.unwrap();
        assert_eq!(soon(acceptor.accept(tcp)).await.is_ok(), expected);
        let _ = soon(client).await.unwrap();
    }
    let mismatched = CoordinatorSettings {
        client_certificate: Some(certificate("none.pem", "other.key")),
        ..coordinator("127.0.0.1:1".parse().unwrap())
    };
    let refused = tls::client_config(&mismatched).unwrap_err().to_string();
    assert!(refused.starts_with("client_certificate "), "{refused}");
}

#[tokio::test]
#[cfg_attr(windows, ignore = "wine takes no authority of one's own")]
async fn what_the_coordinator_announces_is_believed_at_once() {
    let address = showing("inspected.pem", "other.key", None).await;
    let settings = with(&pins(None).await, coordinator(address));
    let connector = Connector::new(&settings).unwrap();
    let refused = encrypted(&connector).await;
    assert!(
        matches!(refused, Err(TlsProblem::NotPinned { .. })),
        "{refused:?}"
    );
    let other = "11".repeat(32);
    let found = match met(&coordinator(address), Some(&other)).await {
        Err(TlsProblem::OtherFingerprint { found, .. }) => found,
        other => panic!("{other:?}"),
    };
    let next = NextPins {
        keys: vec![found],
        authorities: Vec::new(),
    };
    let mut pins = settings.pairing.clone().unwrap().pins.unwrap();
    assert!(pins.add(Pins::announced(&next).unwrap()));
    assert!(!pins.add(Pins::announced(&next).unwrap()));
    connector.pins().unwrap().put(pins);
    assert_eq!(encrypted(&connector).await, Ok(()));
    // Whoever inspects could announce anything.
    let inspecting = CoordinatorSettings {
        accept_inspection: true,
        ..settings
    };
    assert!(Connector::new(&inspecting).unwrap().pins().is_none());
}

#[test]
fn what_is_no_key_and_no_certificate_is_not_believed() {
    let key = "00".repeat(32);
    for (keys, authorities) in [
        (vec!["00".to_owned()], vec![]),
        (vec![], vec!["AAAA".to_owned()]),
        (vec![], vec!["!".to_owned()]),
        (vec![key; 9], vec![]),
    ] {
        let next = NextPins { keys, authorities };
        assert_eq!(Pins::announced(&next), None, "{next:?}");
    }
}
