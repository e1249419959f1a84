//! One small request by HTTP/1.1 over the road to the coordinator, for what there is no session for.

use std::io;

use encoder_protocols::wire::MAX_PAIRING_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::{
    error::ConnectError,
    socket::{CONNECT_LIMIT, Connector},
    tls, tunnel,
};
use crate::config::Secret;

/// The most digits of a chunk's length.
const MAX_LENGTH_DIGITS: usize = 8;

/// What was answered.
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body, at most [`MAX_PAIRING_BYTES`].
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Posts a JSON text to a path below the base URL.
///
/// # Errors
/// [`ConnectError`] when no answer comes.
pub(super) async fn post(
    connector: &Connector,
    path: &str,
    token: Option<&Secret>,
    json: &str,
) -> Result<Answer, ConnectError> {
    let exchange = tokio::time::timeout(CONNECT_LIMIT, exchange(connector, path, token, json));
    exchange.await.unwrap_or_else(|_| {
        Err(ConnectError::Timeout {
            url: connector.url().to_string(),
            limit: CONNECT_LIMIT,
        })
    })
}

async fn exchange(
    connector: &Connector,
    path: &str,
    token: Option<&Secret>,
    json: &str,
) -> Result<Answer, ConnectError> {
    let mut tcp = connector.open().await?;
    connector.pass_proxy(&mut tcp).await?;
    let mut stream = connector.encrypt(tcp).await?;
    let request = request(connector, path, token, json);
    let asked = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        answer(&mut stream).await
    };
    let answered = asked.await;
    answered.map_err(|error| tls::answered(connector.url().to_string(), &error))
}

fn request(
    connector: &Connector,
    path: &str,
    token: Option<&Secret>,
    json: &str,
) -> Zeroizing<String> {
    let url = connector.url();
    let (path, host) = (url.request_path(path), url.host_and_port());
    let mut request = Zeroizing::new(String::with_capacity(512 + json.len()));
    for part in ["POST ", &path, " HTTP/1.1\r\nHost: ", &host, "\r\n"] {
        request.push_str(part);
    }
    request.push_str(concat!(
        "User-Agent: encoder-agent/",
        env!("CARGO_PKG_VERSION"),
        "\r\nContent-Type: application/json\r\nConnection: close\r\n"
    ));
    if let Some(token) = token {
        for part in ["Authorization: Bearer ", token.expose(), "\r\n"] {
            request.push_str(part);
        }
    }
    let length = json.len().to_string();
    for part in ["Content-Length: ", &length, "\r\n\r\n", json] {
        request.push_str(part);
    }
    request
}

/// Reads an answer: its status and its body (RFC 9112, section 6.3).
pub(super) async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Answer> {
    let head = tunnel::read_head(stream)
        .await
        .map_err(|error| match error {
            tunnel::TunnelError::Broken(error) => error,
            tunnel::TunnelError::Refused(_) | tunnel::TunnelError::NotHttp => not_http(),
        })?;
    let status = tunnel::status(&head).ok_or_else(not_http)?;
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value.trim())
    };
    let body = if status == 204 {
        Zeroizing::default()
    } else if field("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
        chunks(stream).await?
    } else {
        let length = field("content-length").map(|length| length.parse::<usize>());
        match length {
            Some(Ok(length)) => exactly(stream, length).await?,
            Some(Err(_)) => return Err(not_http()),
            None => up_to_the_end(stream).await?,
        }
    };
    Ok(Answer { status, body })
}

fn not_http() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what came is no http answer")
}

fn too_long() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the answer is longer than expected",
    )
}

async fn exactly<S: AsyncRead + Unpin>(
    stream: &mut S,
    length: usize,
) -> io::Result<Zeroizing<Vec<u8>>> {
    if length > MAX_PAIRING_BYTES {
        return Err(too_long());
    }
    let mut body = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut body).await?;
    Ok(body)
}

async fn up_to_the_end<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut body = Zeroizing::new(Vec::new());
    let most = MAX_PAIRING_BYTES as u64 + 1;
    stream.take(most).read_to_end(&mut body).await?;
    if body.len() > MAX_PAIRING_BYTES {
        return Err(too_long());
    }
    Ok(body)
}

/// Chunks up to the last one (RFC 9112, section 7.1); what follows it does not matter.
async fn chunks<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut body = Zeroizing::new(Vec::new());
    loop {
        let length = chunk_length(stream).await?;
        if length == 0 {
            return Ok(body);
        }
        let room = MAX_PAIRING_BYTES.saturating_sub(body.len());
        if length > room {
            return Err(too_long());
        }
        body.extend_from_slice(&exactly(stream, length).await?);
        let end = [stream.read_u8().await?, stream.read_u8().await?];
        if end != *b"\r\n" {
            return Err(not_http());
        }
    }
}

async fn chunk_length<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<usize> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_PAIRING_BYTES {
            return Err(not_http());
        }
        line.push(stream.read_u8().await?);
    }
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let digits = String::from_utf8(digits.copied().collect()).map_err(|_| not_http())?;
    if digits.len() > MAX_LENGTH_DIGITS {
        return Err(too_long());
    }
    usize::from_str_radix(&digits, 16).map_err(|_| not_http())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str) -> io::Result<(u16, String)> {
        let answer = answer(&mut text.as_bytes()).await?;
        Ok((
            answer.status,
            String::from_utf8(answer.body.to_vec()).unwrap(),
        ))
    }

    #[tokio::test]
    async fn every_form_of_a_body_is_read() {
        for (text, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}more",
                (200, "{}"),
            ),
            ("HTTP/1.0 403 No\r\n\r\n{}", (403, "{}")),
            ("HTTP/1.1 204 No\r\n\r\n", (204, "")),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
                (200, "{}"),
            ),
        ] {
            let (status, body) = read(text).await.unwrap();
            assert_eq!((status, body.as_str()), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_too_long_or_no_answer_is_refused() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let endless = format!(
            "HTTP/1.1 200 OK\r\n\r\n{}",
            "x".repeat(MAX_PAIRING_BYTES + 1)
        );
        for text in [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
            &format!("{chunked}ffffffff\r\n"),
            &format!("{chunked}ffffffffffffffffff\r\n"),
            &format!("{chunked}x\r\n"),
            &format!("{chunked}2\r\n{{}}}}"),
            &endless,
        ] {
            assert!(read(text).await.is_err(), "{text}");
        }
    }
}
