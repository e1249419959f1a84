//! The way through an HTTP proxy: CONNECT (RFC 9110, section 9.3.6).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use crate::config::Secret;

/// The longest head of a proxy's answer, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The end of a head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Why a proxy opened no tunnel.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    /// The connection to the proxy broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// It answered otherwise.
    #[error("it answered http {0}")]
    Refused(u16),
    /// What came is no answer of a proxy.
    #[error("what it answered is no http; is it an http proxy?")]
    NotHttp,
}

impl TunnelError {
    /// The HTTP status that the proxy answered, if it did.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(*status),
            Self::Broken(_) | Self::NotHttp => None,
        }
    }
}

/// Asks a proxy for a tunnel to `target` (`host:port`); what the stream carries afterwards is the target's.
///
/// # Errors
/// [`TunnelError`] where it opens none.
pub(super) async fn open<S>(
    stream: &mut S,
    target: &str,
    credentials: Option<&Secret>,
) -> Result<(), TunnelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
    if let Some(credentials) = credentials {
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(credentials.expose());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let head = read_head(stream).await?;
    match status(&head).ok_or(TunnelError::NotHttp)? {
        200..=299 => Ok(()),
        other => Err(TunnelError::Refused(other)),
    }
}

/// Reads up to the end of the head and not one byte further: what follows is the target's.
pub(super) async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<Vec<u8>, TunnelError> {
    let mut head = Vec::new();
    while !head.ends_with(HEAD_END) {
        if head.len() == MAX_HEAD_BYTES {
            return Err(TunnelError::NotHttp);
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// The status of a status line, `HTTP/1.x NNN …` (RFC 9112, section 4).
pub(super) fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let (_minor, rest) = rest.split_first()?;
    let digits = rest.strip_prefix(b" ")?.get(..3)?;
    let text = str::from_utf8(digits).ok()?;
    text.parse()
        .ok()
        .filter(|status| (100..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a proxy that answers so, then reads what follows.
    async fn asked(answer: &[u8]) -> (Result<String, TunnelError>, String) {
        let (mut here, mut there) = tokio::io::duplex(1 << 16);
        there.write_all(answer).await.unwrap();
        let credentials = Secret::new("aHVzaA==".to_owned());
        let opened = open(&mut here, "keys.example:443", Some(&credentials)).await;
        there.shutdown().await.unwrap();
        let mut rest = String::new();
        here.read_to_string(&mut rest).await.unwrap();
        drop(here);
        let mut request = String::new();
        there.read_to_string(&mut request).await.unwrap();
        (opened.map(|()| rest), request)
    }

    #[tokio::test]
    async fn a_tunnel_begins_right_after_the_head() {
        let answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello";
        let (opened, request) = asked(answer).await;
        assert_eq!(opened.unwrap(), "hello");
        assert_eq!(
            request,
            "CONNECT keys.example:443 HTTP/1.1\r\nHost: keys.example:443\r\n\
             Proxy-Authorization: Basic aHVzaA==\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn every_other_answer_is_none() {
        let (opened, _) = asked(b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n").await;
        assert!(
            matches!(opened, Err(TunnelError::Refused(407))),
            "{opened:?}"
        );
        let endless = vec![b'a'; MAX_HEAD_BYTES + 1];
        for noise in [
            &b"SSH-2.0-OpenSSH\r\n\r\n"[..],
            b"HTTP/1.1 2\r\n\r\n",
            b"HTTP/1.1 999 x\r\n\r\n",
            b"HTTP/1.1 -12 x\r\n\r\n",
            &endless,
        ] {
            let (opened, _) = asked(noise).await;
            assert!(matches!(opened, Err(TunnelError::NotHttp)), "{opened:?}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_hangs_up_is_told() {
        let (mut here, there) = tokio::io::duplex(1 << 16);
        drop(there);
        let opened = open(&mut here, "keys.example:443", None).await;
        assert!(matches!(opened, Err(TunnelError::Broken(_))), "{opened:?}");
    }
}
