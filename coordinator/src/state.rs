//! What every part of the service shares.

use std::sync::Arc;

use encoder_protocols::wire::NextPins;
use tokio::sync::watch;

use crate::{clock::Clock, desk::Desk, http::Hosts, outbound::Reach, pairing::Guard, store::Store};

/// The parts of the running service, shared by all its tasks.
#[derive(Debug)]
pub struct App {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// The desk that decides on jobs.
    pub desk: Desk,
    /// For which hosts requests are answered.
    pub hosts: Hosts,
    /// How far requests to integrators' targets reach.
    pub reach: Reach,
    /// What agents are to know the service by besides, from a planned change on.
    pub next_pins: Option<NextPins>,
    /// How many wrong pairing codes were tried.
    pub pairing: Guard,
    /// Tells when the service is to stop.
    pub stop: StopSignal,
}

/// The shared state as axum hands it to every request.
pub type AppState = Arc<App>;

/// Tells tasks that the service is to stop. All clones see the same signal.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Sender<bool>);

impl Default for StopSignal {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl StopSignal {
    /// Whether stopping was asked for.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Asks everything to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the service is to stop.
    pub async fn stopped(&self) {
        // The sender lives in `self`, so the channel cannot close before the wait ends.
        let _ = self.0.subscribe().wait_for(|stop| *stop).await;
    }
}
