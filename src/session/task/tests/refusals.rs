//! Coordinators that let nobody in.

use super::*;

#[tokio::test]
async fn every_refusal_is_told_apart() {
    for (response, expected) in [
        (
            "HTTP/1.1 401 Unauthorized\r\n\r\n",
            "/base/agents/socket refused the token (http 401); it was revoked, or the agent retired: pair again with `encoder-agent pair`, or, if the token stands in the settings, put a new one there; trying again seldom",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "/base/agents/socket refused the token (http 403); it was revoked, or the agent retired: pair again with `encoder-agent pair`, or, if the token stands in the settings, put a new one there; trying again seldom",
        ),
        (
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "/base/agents/socket is not there (http 404); `coordinator.url` must be the coordinator's base url, without the path for agents",
        ),
        (
            "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n",
            "/base/agents/socket is not available now (http 503) and asks to come back in 7 s",
        ),
        (
            "HTTP/1.1 429 Slow\r\nRetry-After: Thu, 01 Jan 1970 00:00:09 GMT\r\n\r\n",
            "/base/agents/socket is not available now (http 429) and asks to come back in 9 s",
        ),
        (
            "HTTP/1.1 503 Busy\r\n\r\n",
            "/base/agents/socket is not available now (http 503)",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\n",
            "/base/agents/socket answered http 200 instead of a websocket; is `coordinator.url` the coordinator's base url?",
        ),
        (
            "SSH-2.0-OpenSSH\r\n\r\n",
            "/base/agents/socket did not answer as a websocket should: ",
        ),
        (
            "",
            "/base/agents/socket did not answer as a websocket should: ",
        ),
    ] {
        let message = connect_error(response).await.to_string();
        assert!(message.starts_with("ws://127.0.0.1:"), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("the-token"), "{message}");
    }
}

#[tokio::test]
async fn another_sub_protocol_or_none_is_refused() {
    for protocol in [None, Some("encoder-agent.v2")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connector = Connector::new(&settings(listener.local_addr().unwrap())).unwrap();
        let server = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let upgrade = |_: &Request, mut response: Response| {
                if let Some(protocol) = protocol {
                    let value = HeaderValue::from_static(protocol);
                    response
                        .headers_mut()
                        .insert("sec-websocket-protocol", value);
                }
                Ok(response)
            };
            let _ = accept_hdr_async(tcp, upgrade).await;
        });
        let token = Secret::new("the-token".to_owned());
        let result = soon(connector.connect(&token, jiff::Timestamp::UNIX_EPOCH)).await;
        let error = result.err().expect("it connected");
        assert!(
            error
                .to_string()
                .ends_with("does not speak encoder-agent.v1; agent and coordinator must be of matching versions"),
            "{error}"
        );
        server.await.unwrap();
    }
}

#[tokio::test]
async fn nobody_listening_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connector = Connector::new(&settings(listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let token = Secret::new("the-token".to_owned());
    let result = soon(connector.connect(&token, jiff::Timestamp::UNIX_EPOCH)).await;
    assert!(matches!(result, Err(ConnectError::Unreachable { .. })));
}
