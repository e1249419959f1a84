//! A HID device: reports in both directions, on a thread of its own.
//!
//! A report is sent with the number of its id before it, 0 where the device numbers none (USB HID 1.11, section 5.6);
//! hidapi wants it so on every system. A report that came is handed out as the device sent it.

mod device;
mod memory;
mod thread;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use tokio::sync::{mpsc, oneshot};

use super::{Control, PortError};

pub use memory::{HidPeer, SentReport};

/// How many reports may wait for their reader; what comes beyond waits in the kernel, which drops the oldest.
const REPORTS: usize = 64;

/// On which road a report goes to the device.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ReportKind {
    /// A feature report, through the control pipe.
    #[default]
    Feature,
    /// An output report, through the interrupt pipe where the device has one.
    Output,
}

impl fmt::Display for ReportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Feature => "feature reports",
            Self::Output => "output reports",
        })
    }
}

/// A report on its way to the device, and who waits for that.
struct Order {
    kind: ReportKind,
    report: Vec<u8>,
    done: oneshot::Sender<Result<(), PortError>>,
}

/// An open HID device. Dropping it closes the device within one listening period.
#[derive(Debug)]
pub struct HidPort {
    path: PathBuf,
    send_as: ReportKind,
    orders: mpsc::UnboundedSender<Order>,
    input: mpsc::Receiver<Result<Vec<u8>, PortError>>,
    rest: Vec<u8>,
}

impl HidPort {
    /// Opens the device for this agent alone and starts its thread. Blocks.
    pub(super) fn open(path: &Path) -> Result<Self, PortError> {
        let device = device::SystemDevice::open(path)?;
        let (orders, ordered) = mpsc::unbounded_channel();
        let (heard, input) = mpsc::channel(REPORTS);
        thread::start(path, device, ordered, heard)?;
        Ok(Self::new(path, orders, input))
    }

    fn new(
        path: &Path,
        orders: mpsc::UnboundedSender<Order>,
        input: mpsc::Receiver<Result<Vec<u8>, PortError>>,
    ) -> Self {
        Self {
            path: path.to_path_buf(),
            send_as: ReportKind::default(),
            orders,
            input,
            rest: Vec::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sends one report, its id first.
    pub(super) async fn write(&mut self, report: &[u8]) -> Result<(), PortError> {
        let (done, sent) = oneshot::channel();
        let order = Order {
            kind: self.send_as,
            report: report.to_vec(),
            done,
        };
        self.orders.send(order).map_err(|_| self.gone())?;
        sent.await.map_err(|_| self.gone())?
    }

    /// The next report; what `buffer` has no room for comes with the next call.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PortError> {
        while self.rest.is_empty() {
            self.rest = match self.input.recv().await {
                Some(heard) => heard?,
                None => return Err(self.gone()),
            };
        }
        let count = self.rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(self.rest.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    pub(super) fn control(&mut self, control: Control) -> Result<(), PortError> {
        match control {
            Control::SendAs(kind) => self.send_as = kind,
            Control::Purge => {
                self.rest.clear();
                // An error that waits there is the last thing there is: it comes again as a closed channel.
                while self.input.try_recv().is_ok() {}
            }
            Control::Baud(_) | Control::Dtr(_) | Control::Rts(_) => {
                return Err(PortError::Unsupported {
                    path: self.path.clone(),
                    control,
                });
            }
        }
        Ok(())
    }

    fn gone(&self) -> PortError {
        PortError::Gone {
            path: self.path.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
