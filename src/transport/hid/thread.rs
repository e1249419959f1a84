//! The thread that owns one HID device: it sends what is ordered and hands on what comes.

use std::{path::Path, thread, time::Duration};

use tokio::sync::mpsc::{self, error::TryRecvError};

use super::{Order, ReportKind};
use crate::transport::PortError;

/// How long the thread listens before it looks for something to send: the delay that a report may meet.
const LISTEN: Duration = Duration::from_millis(2);

/// The same while nothing goes to or fro, so that an idle PC stays asleep.
const LISTEN_IDLE: Duration = Duration::from_millis(25);

/// So many short listening periods without a report make the device idle.
const IDLE_AFTER: u32 = 500;

/// The longest report there is room for, its id included: high-speed USB allows 1024 bytes in an interrupt packet.
pub(super) const REPORT_BYTES: usize = 1_025;

/// A HID device as the thread uses it.
pub(super) trait ReportDevice: Send + 'static {
    /// Sends a report, its id first.
    fn send(&mut self, kind: ReportKind, report: &[u8]) -> Result<(), PortError>;

    /// Waits for a report: its length, or none when none came in time.
    fn receive(&mut self, buffer: &mut [u8], wait: Duration) -> Result<Option<usize>, PortError>;
}

/// Starts the thread. It ends when the port was dropped or the device is gone.
pub(super) fn start(
    path: &Path,
    device: impl ReportDevice,
    ordered: mpsc::UnboundedReceiver<Order>,
    heard: mpsc::Sender<Result<Vec<u8>, PortError>>,
) -> Result<(), PortError> {
    let thread = Thread {
        device,
        ordered,
        heard,
        quiet: 0,
    };
    thread::Builder::new()
        .name("hid device".to_owned())
        .spawn(move || thread.run())
        .map_err(|error| PortError::from_io(path, &error))?;
    Ok(())
}

struct Thread<D> {
    device: D,
    ordered: mpsc::UnboundedReceiver<Order>,
    heard: mpsc::Sender<Result<Vec<u8>, PortError>>,
    /// Listening periods since something last went to or fro.
    quiet: u32,
}

impl<D: ReportDevice> Thread<D> {
    fn run(mut self) {
        let mut buffer = [0; REPORT_BYTES];
        loop {
            match self.ordered.try_recv() {
                Ok(order) => {
                    self.quiet = 0;
                    self.obey(order);
                    continue;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            if self.heard.capacity() == 0 {
                // Nobody reads: the kernel keeps what comes. Orders must not wait behind it.
                thread::park_timeout(LISTEN);
                continue;
            }
            match self.device.receive(&mut buffer, self.period()) {
                Ok(None) => self.quiet = self.quiet.saturating_add(1),
                Ok(Some(count)) => {
                    self.quiet = 0;
                    let report = buffer.get(..count).unwrap_or_default().to_vec();
                    if self.heard.try_send(Ok(report)).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // The port that was closed meanwhile need not know.
                    let _ = self.heard.try_send(Err(error));
                    return;
                }
            }
        }
    }

    fn period(&self) -> Duration {
        if self.quiet < IDLE_AFTER {
            LISTEN
        } else {
            LISTEN_IDLE
        }
    }

    // An answer that nobody waits for any more is no error.
    fn obey(&mut self, order: Order) {
        let Order { kind, report, done } = order;
        let _ = done.send(self.device.send(kind, &report));
    }
}
