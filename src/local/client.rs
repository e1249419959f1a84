//! A command's end of the agent's own socket.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf},
    time::timeout,
};

use super::{
    message::{Ask, LONGEST_REPLY, Reply},
    road::{Address, Stream, connect},
};
use crate::{
    platform::{ADMINISTRATOR, START_SERVICE},
    status::Status,
};

/// How long the agent may take to be reached, and to answer a question that it need not wait for people with.
const ANSWER_WITHIN: Duration = Duration::from_secs(12);

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No agent listens.
    #[error(
        "no agent runs here: nothing listens at {0}; start it with `{START_SERVICE}`, or `encoder-agent run`"
    )]
    NotRunning(String),
    /// The socket may not be opened.
    #[error("no permission to ask the agent at {0}: ask again as {ADMINISTRATOR}")]
    NotPermitted(String),
    /// The agent went away, or has too many clients.
    #[error(
        "the agent has hung up: it stops, or too many commands ask it at the same time; try again"
    )]
    HungUp,
    /// What it said is not understood.
    #[error("the agent's answer is not understood: it may be of another version")]
    Garbled,
    /// It took too long.
    #[error("the agent did not answer within {} s; its log may say why", ANSWER_WITHIN.as_secs())]
    Silent,
    /// It said no.
    #[error("{0}")]
    Refused(String),
}

/// A conversation with the running agent.
pub struct Client {
    reader: BufReader<ReadHalf<Stream>>,
    writer: WriteHalf<Stream>,
}

impl Client {
    /// Reaches the agent at the first of `addresses` where one listens.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] or [`ClientError::NotPermitted`].
    pub async fn connect(addresses: &[Address]) -> Result<Self, ClientError> {
        let mut forbidden = None;
        for address in addresses {
            match timeout(ANSWER_WITHIN, connect(address)).await {
                Ok(Ok(stream)) => {
                    let (reader, writer) = tokio::io::split(stream);
                    return Ok(Self {
                        reader: BufReader::new(reader),
                        writer,
                    });
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                    forbidden.get_or_insert_with(|| address.0.display().to_string());
                }
                Ok(Err(_)) => {}
                Err(_) => return Err(ClientError::Silent),
            }
        }
        let tried: Vec<_> = addresses
            .iter()
            .map(|address| address.0.display().to_string())
            .collect();
        Err(match forbidden {
            Some(address) => ClientError::NotPermitted(address),
            None => ClientError::NotRunning(tried.join(" or ")),
        })
    }

    /// How the agent is.
    ///
    /// # Errors
    /// [`ClientError`] when it does not say.
    pub async fn status(&mut self) -> Result<Status, ClientError> {
        self.ask(&Ask::Status).await?;
        match self.reply().await? {
            Reply::Status(status) => Ok(*status),
            Reply::Refused { message } => Err(ClientError::Refused(message)),
            Reply::Progress { .. }
            | Reply::Keep { .. }
            | Reply::Accepted(_)
            | Reply::Cancelled(_)
            | Reply::Scanned(_)
            | Reply::Encoded(_)
            | Reply::Failed(_) => Err(ClientError::Garbled),
        }
    }

    /// Asks something.
    ///
    /// # Errors
    /// [`ClientError::HungUp`] when nobody listens any more.
    pub async fn ask(&mut self, ask: &Ask) -> Result<(), ClientError> {
        let text = serde_json::to_vec(ask).map_err(|_| ClientError::Garbled)?;
        let mut text = zeroize::Zeroizing::new(text);
        text.push(b'\n');
        let written = async {
            self.writer.write_all(&text).await?;
            self.writer.flush().await
        };
        let written = timeout(ANSWER_WITHIN, written).await;
        written
            .map_err(|_| ClientError::Silent)?
            .map_err(|_| ClientError::HungUp)
    }

    /// What the agent says next, which need not wait for people.
    ///
    /// # Errors
    /// [`ClientError`] when it says nothing.
    pub async fn reply(&mut self) -> Result<Reply, ClientError> {
        let reply = timeout(ANSWER_WITHIN, self.hear()).await;
        reply.map_err(|_| ClientError::Silent)?
    }

    /// What the agent says next, however long that takes.
    ///
    /// # Errors
    /// [`ClientError`] when it hangs up.
    pub async fn hear(&mut self) -> Result<Reply, ClientError> {
        let mut text = Vec::new();
        let most = u64::try_from(LONGEST_REPLY).unwrap_or(u64::MAX);
        let mut bounded = (&mut self.reader).take(most);
        let read = bounded.read_until(b'\n', &mut text).await;
        read.map_err(|_| ClientError::HungUp)?;
        if text.last() != Some(&b'\n') {
            return Err(ClientError::HungUp);
        }
        serde_json::from_slice(&text).map_err(|_| ClientError::Garbled)
    }
}
