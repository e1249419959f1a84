//! A HID device within this process: the other end of a [`HidPort`] takes and says reports itself.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::{HidPort, Order, REPORTS, ReportKind};
use crate::transport::PortError;

/// A report that the host has sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SentReport {
    /// On which road.
    pub kind: ReportKind,
    /// The report, its id first.
    pub bytes: Vec<u8>,
}

/// The device's end of a pair within this process. Dropping it is unplugging the device.
#[derive(Debug)]
pub struct HidPeer {
    path: PathBuf,
    ordered: mpsc::UnboundedReceiver<Order>,
    heard: mpsc::Sender<Result<Vec<u8>, PortError>>,
}

impl HidPort {
    /// A port that is called `path` in messages, and the end that a device takes.
    pub fn memory(path: &Path) -> (Self, HidPeer) {
        let (orders, ordered) = mpsc::unbounded_channel();
        let (heard, input) = mpsc::channel(REPORTS);
        let peer = HidPeer {
            path: path.to_path_buf(),
            ordered,
            heard,
        };
        (Self::new(path, orders, input), peer)
    }
}

impl HidPeer {
    /// The next report that the host sends; none when it has closed the port. Dropping the future loses nothing.
    pub async fn sent(&mut self) -> Option<SentReport> {
        let Order { kind, report, done } = self.ordered.recv().await?;
        // A host that does not wait any more has sent it all the same.
        let _ = done.send(Ok(()));
        Some(SentReport {
            kind,
            bytes: report,
        })
    }

    /// Refuses the next report that the host sends, as a device does that stalls; false when the port is closed.
    pub async fn refuse(&mut self) -> bool {
        let Some(order) = self.ordered.recv().await else {
            return false;
        };
        let refused = PortError::Io {
            path: self.path.clone(),
            reason: "the device refused the report".to_owned(),
        };
        order.done.send(Err(refused)).is_ok()
    }

    /// Says a report; waits while the host lets too many wait, and is false when it has closed the port.
    pub async fn say(&mut self, report: &[u8]) -> bool {
        self.heard.send(Ok(report.to_vec())).await.is_ok()
    }
}
