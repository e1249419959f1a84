//! The pump between a port and a protocol's link.

use std::{future::Future, time::Duration};

use encoder_protocols::{link::Link, moment::Moment};
use tokio_util::sync::CancellationToken;

use super::{Port, PortError};
use crate::clock::Clock;

/// Enough for the longest frame of the serial devices in one read, and small enough to live on the stack.
const READ_BYTES: usize = 512;

/// How long the bytes of an abort may take to be written.
const ABORT_TIME: Duration = Duration::from_millis(50);

/// When to give an exchange up.
#[derive(Clone, Copy, Debug)]
pub struct Stop<'a> {
    /// The last moment at which a reply is of use.
    pub deadline: Moment,
    /// Somebody wants the encoder for something else.
    pub cancel: &'a CancellationToken,
}

/// Why an exchange brought no reply.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExchangeError<E> {
    /// The device answered with an error, or not as its protocol wants.
    #[error(transparent)]
    Link(E),
    /// The port failed.
    #[error(transparent)]
    Port(PortError),
    /// The deadline passed; the device was told to give up.
    #[error("no reply before the deadline")]
    DeadlinePassed,
    /// It was cancelled; the device was told to give up.
    #[error("cancelled")]
    Cancelled,
}

/// Sends `request` through `link` and `port` and waits for the reply.
///
/// The link's own timers decide about repetitions. At the deadline and on cancellation the link aborts, and what it
/// has to say to the device about it is written before this returns.
///
/// # Errors
/// [`ExchangeError`]; after [`ExchangeError::Port`] the port is of no more use.
pub async fn exchange<L: Link>(
    port: &mut Port,
    link: &mut L,
    clock: Clock,
    request: L::Request,
    stop: Stop<'_>,
) -> Result<L::Reply, ExchangeError<L::Error>> {
    link.send(clock.now(), request);
    match pump(port, link, clock, stop).await {
        Ended::Reply(reply) => reply.map_err(ExchangeError::Link),
        Ended::Port(error) => Err(ExchangeError::Port(error)),
        Ended::Deadline => {
            abort(port, link, clock).await?;
            Err(ExchangeError::DeadlinePassed)
        }
        Ended::Cancelled => {
            abort(port, link, clock).await?;
            Err(ExchangeError::Cancelled)
        }
    }
}

enum Ended<L: Link> {
    Reply(Result<L::Reply, L::Error>),
    Port(PortError),
    Deadline,
    Cancelled,
}

/// What a wait brought.
enum Woken<T> {
    Done(T),
    Timer,
    Cancelled,
}

async fn pump<L: Link>(port: &mut Port, link: &mut L, clock: Clock, stop: Stop<'_>) -> Ended<L> {
    let mut buffer = [0; READ_BYTES];
    loop {
        // Before the reply is taken: what ends an exchange on the wire belongs to it.
        while let Some(bytes) = link.poll_transmit() {
            match wait(port.write(&bytes), clock, stop.deadline, stop.cancel).await {
                Woken::Done(Ok(())) => {}
                Woken::Done(Err(error)) => return Ended::Port(error),
                Woken::Timer => return Ended::Deadline,
                Woken::Cancelled => return Ended::Cancelled,
            }
        }
        if let Some(reply) = link.poll_reply() {
            return Ended::Reply(reply);
        }
        let wake = match link.poll_timeout() {
            Some(timeout) => timeout.min(stop.deadline),
            None => stop.deadline,
        };
        let woken = wait(port.read(&mut buffer), clock, wake, stop.cancel).await;
        let now = clock.now();
        match woken {
            Woken::Done(Ok(count)) => {
                link.handle_input(now, buffer.get(..count).unwrap_or_default());
            }
            Woken::Done(Err(error)) => return Ended::Port(error),
            Woken::Timer => {}
            Woken::Cancelled => return Ended::Cancelled,
        }
        // Asked of the clock, not of what woke us: a device that babbles without end must not stop the timers.
        if now >= wake {
            link.handle_timeout(now);
        }
        if now >= stop.deadline {
            return link.poll_reply().map_or(Ended::Deadline, Ended::Reply);
        }
    }
}

async fn abort<L: Link>(
    port: &mut Port,
    link: &mut L,
    clock: Clock,
) -> Result<(), ExchangeError<L::Error>> {
    link.abort(clock.now());
    let say = async {
        while let Some(bytes) = link.poll_transmit() {
            port.write(&bytes).await?;
        }
        Ok(())
    };
    // A device that takes nothing cannot be told to give up either.
    tokio::time::timeout(ABORT_TIME, say)
        .await
        .unwrap_or(Ok(()))
        .map_err(ExchangeError::Port)
}

/// Waits for `work`, a moment and a cancellation, whichever is first; work that is ready wins over the clock.
async fn wait<T>(
    work: impl Future<Output = T>,
    clock: Clock,
    until: Moment,
    cancel: &CancellationToken,
) -> Woken<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Woken::Cancelled,
        done = work => Woken::Done(done),
        () = clock.sleep_until(until) => Woken::Timer,
    }
}

#[cfg(test)]
mod tests;
