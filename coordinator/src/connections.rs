//! Connections of clients: how many there may be, and how long a slow one is waited for.
//!
//! Whoever sends a request's head too slowly, or does not send the next one, is disconnected, and so is whoever does not
//! take the answer. (How long a body may take is the API's own matter, since it answers that.) Without such bounds a few
//! clients that stand still keep everybody else out.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, Sleep},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower::ServiceExt as _;

use crate::{encryption::Encryption, state::StopSignal};

/// How long accepting pauses where the system has nothing left for one more connection.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How long a connection that could not be encrypted stays open, so that the client reads why.
const UNREAD_TIME: Duration = Duration::from_secs(1);

/// The longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Whose connection a request came over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Whether a client has shown a certificate of the agents' authorities.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ClientCertificate {
    /// Nobody is asked for one.
    NotAsked,
    /// It was asked and has shown none.
    Missing,
    /// It has, and the certificate is good.
    Shown,
}

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How many HTTP connections there may be; the next ones wait. Agents' websockets are not among them.
    pub(crate) connections: usize,
    /// How long the head of a request may take, how long a connection may be idle before it, and how long the handshake of
    /// one that is encrypted may take.
    pub(crate) head: Duration,
    /// How long a client may take nothing of an answer.
    pub(crate) stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(30),
            stall: Duration::from_secs(30),
        }
    }
}

/// Answers connections until the service is to stop, then lets the requests under way end.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    encryption: Option<Arc<Encryption>>,
    stop: &StopSignal,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.stopped() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        // Those that have ended are not needed any more.
        while connections.try_join_next().is_some() {}
        let Some((stream, peer, permit)) = accepted else {
            continue;
        };
        let (app, stop) = (app.clone(), stop.clone());
        let encryption = encryption.as_ref();
        let encryption = encryption.map(|it| (it.acceptor(), it.asks_clients()));
        connections.spawn(async move {
            match encryption {
                None => {
                    let from = (peer, ClientCertificate::NotAsked);
                    answer(stream, from, app, limits, &stop).await;
                }
                Some((acceptor, asks)) => {
                    if let Some(stream) = encrypt(stream, &acceptor, limits, &stop).await {
                        let from = (peer, shown(&stream, asks));
                        answer(stream, from, app, limits, &stop).await;
                    }
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is room for it; none where it failed.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => {
            note(address, room);
            // Without it small answers wait for the client's acknowledgement; where it fails they only come later.
            let _ = stream.set_nodelay(true);
            Some((stream, Peer(address.ip()), permit))
        }
        Err(error) if is_of_one_connection(&error) => None,
        Err(error) => {
            tracing::error!(%error, "no connection can be accepted for now");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn note(address: SocketAddr, room: &Semaphore) {
    tracing::trace!(%address, "connected");
    if room.available_permits() == 0 {
        tracing::warn!("as many clients are connected as may be: the next ones wait");
    }
}

/// Whether the client went before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// The encrypted stream; none where the client does not encrypt, gives up, or is too slow.
async fn encrypt(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    limits: Limits,
    stop: &StopSignal,
) -> Option<TlsStream<TcpStream>> {
    let accepting = acceptor.accept(stream).into_fallible();
    let encrypted = tokio::select! {
        encrypted = tokio::time::timeout(limits.head, accepting) => encrypted,
        () = stop.stopped() => return None,
    };
    match encrypted {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err((error, stream))) => {
            tracing::debug!(%error, "a connection was not encrypted");
            let _ = tokio::time::timeout(UNREAD_TIME, read_to_end(stream)).await;
            None
        }
        Err(_) => {
            tracing::debug!("a connection was not encrypted in time");
            None
        }
    }
}

/// Lets the client read why: what it sent and nobody read resets the connection once it is dropped, and a reset overtakes the
/// alert.
async fn read_to_end(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut unread = [0; 1024];
    while let Ok(1..) = stream.read(&mut unread).await {}
}

fn shown(stream: &TlsStream<TcpStream>, asks: bool) -> ClientCertificate {
    let (_, connection) = stream.get_ref();
    match connection.peer_certificates() {
        _ if !asks => ClientCertificate::NotAsked,
        Some([_, ..]) => ClientCertificate::Shown,
        Some([]) | None => ClientCertificate::Missing,
    }
}

async fn answer<S>(
    stream: S,
    (peer, certificate): (Peer, ClientCertificate),
    app: Router,
    limits: Limits,
    stop: &StopSignal,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let app = app.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(certificate);
        request.map(Body::new)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(
            TokioIo::new(Unstalled::new(stream, limits.stall)),
            TowerToHyperService::new(app),
        )
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// A stream whose writes fail where the other side takes nothing for too long.
struct Unstalled<S> {
    stream: S,
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    waits: bool,
}

impl<S> Unstalled<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            timer: Box::pin(tokio::time::sleep(patience)),
            waits: false,
        }
    }

    /// Gives on what a write came to; one that has been waiting for too long fails.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = false;
            return written;
        }
        if !self.waits {
            self.waits = true;
            self.timer.as_mut().reset(Instant::now() + self.patience);
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstalled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstalled<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, shut)
    }
}

#[cfg(test)]
mod tests;
