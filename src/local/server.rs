//! The socket's server: who may ask what, how much, and for how long.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use encoder_protocols::card::CardImage;
use tokio::{
    io::{
        AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf,
        WriteHalf,
    },
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::pulse::SignOfLife;

use super::{
    desk::Desk,
    message::{Ask, LONGEST_REQUEST, LONGEST_SHORT_REQUEST, Reply, Terms},
    road::{Address, Listener, Peer},
    work::Work,
};

/// How many clients are served at the same time.
const MOST_CLIENTS: usize = 16;

/// How many of them may be one user's, so that nobody shuts others out.
const MOST_OF_ONE_USER: usize = 6;

/// How long a client may be silent between its requests, and over one.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a client may take to take an answer.
const SLOWEST_READER: Duration = Duration::from_secs(5);

/// The time between two requests of one client.
const PACE: Duration = Duration::from_millis(20);

/// How long accepting pauses after the system refused it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long a command may wait for a card, in seconds.
const LONGEST_WAIT: u64 = 600;

/// How many lines for people may wait for a slow client.
const REPLY_ROOM: usize = 8;

/// What is said to everybody else.
const ADMINISTRATORS_ONLY: &str = if cfg!(windows) {
    "to read and write cards takes an administrator: open the prompt with \"Run as administrator\""
} else {
    "to read and write cards takes an administrator: ask again with sudo"
};

/// The socket's server.
pub struct Server {
    listener: Listener,
    desk: Desk,
    places: Places,
}

impl Server {
    /// Listens at `address`. An agent does without where that fails, so the log is told and there is none.
    pub async fn listen(address: &Address, desk: Desk) -> Result<Self, String> {
        let listener = Listener::listen(address).await;
        Ok(Self {
            listener: listener.map_err(|error| error.to_string())?,
            desk,
            places: Places::default(),
        })
    }

    /// Answers clients until `stop`; then waits for what has begun to write.
    pub async fn serve(mut self, stop: CancellationToken, mut sign: SignOfLife) {
        let mut clients = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                never = sign.answer() => match never {},
                () = stop.cancelled() => break,
                // Those that have ended are let go of.
                Some(_) = clients.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, peer)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // One more than there is room for hears nothing, and its command says so.
            let Some(place) = self.places.take(peer) else {
                continue;
            };
            let (desk, stop) = (self.desk.clone(), stop.clone());
            clients.spawn(async move {
                let served = attend(stream, peer, desk, stop).await;
                if let Err(error) = served {
                    tracing::trace!(%error, "a client of the agent's own socket has gone");
                }
                drop(place);
            });
        }
        drop(self.listener);
        while sign.during(clients.join_next()).await.is_some() {}
    }
}

/// Who has a place.
#[derive(Clone, Debug, Default)]
struct Places(Arc<Mutex<BTreeMap<u32, usize>>>);

/// One client's place, which is free again when this is dropped.
#[derive(Debug)]
struct Place {
    places: Places,
    user: u32,
}

impl Places {
    fn take(&self, peer: Peer) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.entry(peer.user).or_default();
        if all >= MOST_CLIENTS || *own >= MOST_OF_ONE_USER {
            return None;
        }
        *own += 1;
        Some(Place {
            places: self.clone(),
            user: peer.user,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.user) {
            *own -= 1;
        }
        taken.retain(|_, own| *own > 0);
    }
}

/// Answers one client's requests, one after the other.
async fn attend<S: AsyncRead + AsyncWrite + Send + 'static>(
    stream: S,
    peer: Peer,
    desk: Desk,
    stop: CancellationToken,
) -> io::Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::with_capacity(1024, reader);
    let longest = if peer.is_administrator {
        LONGEST_REQUEST
    } else {
        LONGEST_SHORT_REQUEST
    };
    loop {
        let request = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            request = timeout(SILENCE, line(&mut reader, longest)) => request,
        };
        let Ok(request) = request else {
            return Ok(());
        };
        let Some(request) = request? else {
            return Ok(());
        };
        let ask = match request {
            Line::TooLong => {
                let message = if peer.is_administrator {
                    format!("the request is longer than {longest} bytes")
                } else {
                    ADMINISTRATORS_ONLY.to_owned()
                };
                return say(&mut writer, &Reply::refused(message)).await;
            }
            Line::Whole(text) => match serde_json::from_slice(&text) {
                Ok(ask) => ask,
                // What stands in it may be a key.
                Err(_) => {
                    let message = "the request is not understood: the command and the agent may be of different versions";
                    return say(&mut writer, &Reply::refused(message)).await;
                }
            },
        };
        let reply = answer(ask, peer, &desk, &stop, &mut reader, &mut writer).await?;
        say(&mut writer, &reply).await?;
        sleep(PACE).await;
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Send + 'static>(
    ask: Ask,
    peer: Peer,
    desk: &Desk,
    stop: &CancellationToken,
    reader: &mut BufReader<ReadHalf<S>>,
    writer: &mut WriteHalf<S>,
) -> io::Result<Reply> {
    let (encoder, wait_s, wish) = match ask {
        Ask::Status => {
            return Ok(match desk.status().await {
                Ok(status) => Reply::Status(Box::new(status)),
                Err(error) => Reply::refused(error),
            });
        }
        Ask::Cancel { encoder } => {
            return Ok(match desk.cancel(encoder).await {
                // Said only of what was done: anybody may ask, as often as it likes.
                Ok(cancelled) => {
                    let job = cancelled.job_id;
                    tracing::info!(user = peer.user, %job, "a job was cancelled at the desk");
                    Reply::Cancelled(cancelled)
                }
                Err(error) => Reply::refused(error),
            });
        }
        Ask::Scan { encoder, wait_s } => (encoder, wait_s, Wish::Scan),
        Ask::Encode {
            encoder,
            wait_s,
            image,
        } => (encoder, wait_s, Wish::Encode(image)),
        Ask::Accept {
            encoder,
            wait_s,
            terms,
        } => (encoder, wait_s, Wish::Accept(terms)),
    };
    if !peer.is_administrator {
        return Ok(Reply::refused(ADMINISTRATORS_ONLY));
    }
    let verb = wish.verb();
    let loan = match desk.borrow(encoder).await {
        Ok(loan) => loan,
        Err(error) => return Ok(Reply::refused(error)),
    };
    let name = loan.settings().name.clone();
    tracing::info!(user = peer.user, encoder = %name, "{verb} is asked for at the desk");
    // Who has gone must not stop a write, so the work is a task of its own, which ends by itself.
    let gone = stop.child_token();
    let (replies, mut told) = mpsc::channel(REPLY_ROOM);
    let wait = Duration::from_secs(wait_s.min(LONGEST_WAIT));
    let work = Work::new(loan, desk.clone(), gone.clone(), replies, wait);
    let working = tokio::spawn(async move {
        match wish {
            Wish::Scan => work.scan().await,
            Wish::Encode(image) => work.encode(*image).await,
            Wish::Accept(terms) => work.accept(terms).await,
        }
    });
    let result = follow(&mut told, &gone, reader, writer).await;
    gone.cancel();
    let reply = working
        .await
        .unwrap_or_else(|_| Reply::refused("the agent failed; its log says how"));
    tracing::info!(encoder = %name, end = outcome(&reply), "{verb} at the desk has ended");
    result.map(|()| reply)
}

/// What is to be done with a card.
enum Wish {
    Scan,
    Encode(Box<CardImage>),
    Accept(Terms),
}

impl Wish {
    const fn verb(&self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Encode(_) => "encode",
            Self::Accept(_) => "acceptance",
        }
    }
}

/// Passes on what people are to do, until the work is over or the client has gone.
async fn follow<S: AsyncRead + AsyncWrite>(
    told: &mut mpsc::Receiver<Reply>,
    gone: &CancellationToken,
    reader: &mut BufReader<ReadHalf<S>>,
    writer: &mut WriteHalf<S>,
) -> io::Result<()> {
    loop {
        tokio::select! {
            reply = told.recv() => match reply {
                Some(reply) => say(writer, &reply).await?,
                None => return Ok(()),
            },
            // A client that waits says nothing; whatever it says, or its end, ends the wait.
            _ = reader.fill_buf(), if !gone.is_cancelled() => gone.cancel(),
        }
    }
}

fn outcome(reply: &Reply) -> &'static str {
    match reply {
        Reply::Failed(error) => error.code.as_str(),
        Reply::Refused { .. } => "refused",
        Reply::Status(_)
        | Reply::Progress { .. }
        | Reply::Keep { .. }
        | Reply::Cancelled(_)
        | Reply::Scanned(_)
        | Reply::Encoded(_)
        | Reply::Accepted(_) => "success",
    }
}

/// A request.
enum Line {
    Whole(zeroize::Zeroizing<Vec<u8>>),
    TooLong,
}

/// The next line; none at the end.
async fn line(
    reader: &mut (impl AsyncBufReadExt + Unpin),
    longest: usize,
) -> io::Result<Option<Line>> {
    let mut text = zeroize::Zeroizing::new(Vec::new());
    let most = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(most).read_until(b'\n', &mut text).await?;
    Ok(match text.last() {
        None => None,
        Some(b'\n') => Some(Line::Whole(text)),
        Some(_) if text.len() > longest => Some(Line::TooLong),
        Some(_) => None,
    })
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), reply: &Reply) -> io::Result<()> {
    let mut text = serde_json::to_vec(reply).map_err(io::Error::other)?;
    text.push(b'\n');
    let written = async {
        writer.write_all(&text).await?;
        writer.flush().await
    };
    match timeout(SLOWEST_READER, written).await {
        Ok(written) => written,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
