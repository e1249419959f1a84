//! One request and its answer.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, Method, Request, Response, header},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;

use super::{Answer, Client, Limits, OutboundError, Target};

/// How many addresses of a host are tried.
const MAX_ADDRESSES: usize = 3;

/// How long one of several addresses may take to answer, so that a dead one does not use up the whole time.
const ADDRESS_LIMIT: Duration = Duration::from_secs(5);

/// The largest head of an answer, in bytes; also the size of the buffer that its body passes through.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The most header lines in an answer.
const MAX_HEADERS: usize = 64;

const USER_AGENT: &str = concat!("encoder-coordinator/", env!("CARGO_PKG_VERSION"));

/// The task that drives a connection ends with this.
type Driver = JoinSet<Result<(), hyper::Error>>;

pub(super) async fn post(
    client: &Client,
    target: &Target,
    headers: HeaderMap,
    body: Bytes,
    limits: &Limits,
) -> Result<Answer, OutboundError> {
    let mut late = pin!(tokio::time::sleep(limits.deadline));
    let (response, _driver) = tokio::select! {
        answered = answer(client, target, headers, body) => answered?,
        () = &mut late => return Err(OutboundError::Late(limits.deadline)),
    };
    let status = response.status();
    let body = Limited::new(response.into_body(), limits.max_answer);
    let body = tokio::select! {
        body = body.collect() => body.ok().map(|whole| whole.to_bytes()),
        () = &mut late => None,
    };
    Ok(Answer { status, body })
}

/// Everything up to the head of the answer.
async fn answer(
    client: &Client,
    target: &Target,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(Response<Incoming>, Driver), OutboundError> {
    let request = request(target, headers, body)?;
    let tcp = connect(&addresses(client, target).await?).await?;
    if !target.is_secure() {
        return exchange(TokioIo::new(tcp), request).await;
    }
    let failed = |problem: String| OutboundError::Tls {
        host: target.host().to_owned(),
        problem,
    };
    let name = target
        .server_name()
        .ok_or_else(|| failed("no certificate can carry this name".to_owned()))?;
    let connecting = TlsConnector::from(Arc::clone(&client.tls)).connect(name, tcp);
    let encrypted = connecting
        .await
        .map_err(|error| failed(error.to_string()))?;
    exchange(TokioIo::new(encrypted), request).await
}

fn request(
    target: &Target,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, OutboundError> {
    let unsendable = || OutboundError::NoAnswer("the URL cannot stand in a request".to_owned());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.uri().ok_or_else(unsendable)?;
    *request.headers_mut() = headers;
    let headers = request.headers_mut();
    headers.insert(header::HOST, target.authority().ok_or_else(unsendable)?);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    Ok(request)
}

/// The checked addresses of the target. One that may not be connected to refuses them all: no host that is meant to be
/// reached has both kinds.
async fn addresses(client: &Client, target: &Target) -> Result<Vec<SocketAddr>, OutboundError> {
    let host = target.host();
    let found: Vec<IpAddr> = match target.address() {
        Some(address) => vec![address],
        None => {
            let resolved = client.resolver.resolve(host).await;
            resolved.map_err(|source| OutboundError::Unresolved {
                host: host.to_owned(),
                source,
            })?
        }
    };
    if found.is_empty() {
        return Err(OutboundError::NoAddress(host.to_owned()));
    }
    for address in &found {
        target.check(*address, client.reach)?;
    }
    let port = target.port();
    let sockets = found.into_iter().map(|ip| SocketAddr::new(ip, port));
    Ok(sockets.take(MAX_ADDRESSES).collect())
}

/// Connects to the first address that answers.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, OutboundError> {
    let mut failed = None;
    for &address in addresses {
        let connecting = tokio::time::timeout(ADDRESS_LIMIT, TcpStream::connect(address));
        let source = match connecting.await {
            Ok(Ok(tcp)) => {
                // Without it a small request may wait for an acknowledgement; where it fails it only comes later.
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Ok(Err(source)) => source,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        failed = Some(OutboundError::Unreachable { address, source });
    }
    Err(failed.unwrap_or_else(|| OutboundError::NoAnswer("no address was tried".to_owned())))
}

/// Sends the request and waits for the head of its answer. The body comes while the driver lives.
async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, Driver), OutboundError>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let no_answer = |error: hyper::Error| OutboundError::NoAnswer(in_full(&error));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(stream)
        .await
        .map_err(no_answer)?;
    let mut driver = Driver::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(no_answer)?;
    Ok((response, driver))
}

/// An error with the one beneath it, which says what really happened.
fn in_full(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
