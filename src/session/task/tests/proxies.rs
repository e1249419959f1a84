//! The road through a proxy.

use super::*;
use crate::config::ProxySettings;

/// A proxy that takes one tunnel to whatever is asked for and carries it; gives the head of the request.
async fn proxy() -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(near.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.split(' ').nth(1).unwrap();
        let mut far = TcpStream::connect(target).await.unwrap();
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        tokio::io::copy_bidirectional(&mut near, &mut far)
            .await
            .ok();
        head
    });
    (address, asked)
}

#[tokio::test]
async fn a_proxy_carries_the_connection_and_learns_no_token() {
    let (address, asked) = proxy().await;
    let bench = Bench::new().await;
    let mut settings = settings(bench.listener.local_addr().unwrap());
    settings.proxy = Some(ProxySettings::parse(&address.to_string()).unwrap());
    let connector = Connector::new(&settings).unwrap();
    let token = Secret::new("the-token".to_owned());
    let connecting = tokio::spawn(async move {
        let socket = connector.connect(&token, jiff::Timestamp::UNIX_EPOCH).await;
        socket.map(|_| ())
    });
    // The bench's own session connects too, directly.
    let accepted = (bench.accept().await, bench.accept().await);
    soon(connecting).await.unwrap().unwrap();
    drop(accepted);
    let head = soon(asked).await.unwrap();
    assert!(head.starts_with("CONNECT 127.0.0.1:"), "{head}");
    assert!(!head.contains("the-token"), "{head}");
}

#[tokio::test]
async fn a_proxy_that_opens_no_way_is_named() {
    for (answer, expected) in [
        (
            "HTTP/1.1 407 x\r\n\r\n",
            "it wants a user name and password",
        ),
        (
            "HTTP/1.1 403 x\r\n\r\n",
            "let the coordinator's host and port through",
        ),
        ("220 smtp.example\r\n\r\n", "is it an http proxy?"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answered = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.write_all(answer.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let _ = tcp.read_to_end(&mut rest).await;
        });
        let mut settings = settings(SocketAddr::from(([192, 0, 2, 1], 443)));
        settings.proxy = Some(ProxySettings::parse(&format!("ann:hush@{address}")).unwrap());
        let connector = Connector::new(&settings).unwrap();
        let token = Secret::new("the-token".to_owned());
        let result = soon(connector.connect(&token, jiff::Timestamp::UNIX_EPOCH)).await;
        let error = result.err().expect("it connected").to_string();
        assert!(
            error.starts_with(&format!(
                "the proxy {address} opens no way to ws://192.0.2.1:443"
            )),
            "{error}"
        );
        assert!(
            error.contains(expected) && !error.contains("hush"),
            "{error}"
        );
        soon(answered).await.unwrap();
    }
}
