//! A serial line on a thread of its own: on Windows, where a blocked read holds up a write on the same handle, the
//! thread writes and reads in turn.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::mpsc as blocking,
    thread,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{Control, PortError, PortSettings};

/// How long the thread listens to the line before it looks for something to write: the delay that a write may meet.
const LISTEN: Duration = Duration::from_millis(2);

/// How long a write may take: the longest frame at the lowest baud rate, and then some.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How many pieces of input may wait for their reader before the thread stops reading.
const PIECES: usize = 64;

/// The bytes that one read takes.
const READ_BYTES: usize = 512;

type Done = oneshot::Sender<Result<(), PortError>>;

enum Order {
    Write(Vec<u8>, Done),
    Control(Control, blocking::Sender<Result<(), PortError>>),
}

/// An open serial line that a thread reads and writes.
#[derive(Debug)]
pub struct ThreadedPort {
    path: PathBuf,
    orders: blocking::Sender<Order>,
    input: mpsc::Receiver<Result<Vec<u8>, PortError>>,
    rest: Vec<u8>,
}

impl ThreadedPort {
    /// Opens the line and starts its thread.
    ///
    /// # Errors
    /// [`PortError`] says what to do about it.
    pub fn open(settings: &PortSettings) -> Result<Self, PortError> {
        let path = settings.path.clone();
        let line = serialport::new(path.to_string_lossy(), settings.baud)
            .preserve_dtr_on_open()
            .timeout(LISTEN)
            .open()
            .map_err(|error| open_error(&path, &error))?;
        let (orders, ordered) = blocking::channel();
        let (heard, input) = mpsc::channel(PIECES);
        let thread = Thread {
            path: path.clone(),
            line,
            ordered,
            heard,
        };
        thread::Builder::new()
            .name("serial port".to_owned())
            .spawn(move || thread.run())
            .map_err(|error| PortError::from_io(&path, &error))?;
        Ok(Self {
            path,
            orders,
            input,
            rest: Vec::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        let (done, written) = oneshot::channel();
        self.orders
            .send(Order::Write(bytes.to_vec(), done))
            .map_err(|_| self.gone())?;
        written.await.map_err(|_| self.gone())?
    }

    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PortError> {
        if self.rest.is_empty() {
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

    /// Waits for the thread, which answers within one listening period.
    pub(super) fn control(&mut self, control: Control) -> Result<(), PortError> {
        let (done, result) = blocking::channel();
        self.orders
            .send(Order::Control(control, done))
            .map_err(|_| self.gone())?;
        result.recv().map_err(|_| self.gone())??;
        if control == Control::Purge {
            self.rest.clear();
            while self.input.try_recv().is_ok() {}
        }
        Ok(())
    }

    fn gone(&self) -> PortError {
        PortError::Gone {
            path: self.path.clone(),
        }
    }
}

struct Thread {
    path: PathBuf,
    line: Box<dyn serialport::SerialPort>,
    ordered: blocking::Receiver<Order>,
    heard: mpsc::Sender<Result<Vec<u8>, PortError>>,
}

impl Thread {
    /// Ends when the port was dropped or the line is gone.
    fn run(mut self) {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.ordered.try_recv() {
                Ok(order) => {
                    self.obey(order);
                    continue;
                }
                Err(blocking::TryRecvError::Empty) => {}
                Err(blocking::TryRecvError::Disconnected) => return,
            }
            let heard = match self.line.read(&mut buffer) {
                Ok(0) => Err(PortError::Gone {
                    path: self.path.clone(),
                }),
                Ok(count) => Ok(buffer.iter().copied().take(count).collect()),
                Err(error) if is_pause(&error) => continue,
                Err(error) => Err(PortError::from_io(&self.path, &error)),
            };
            let over = heard.is_err();
            if self.heard.blocking_send(heard).is_err() || over {
                return;
            }
        }
    }

    // An answer that nobody waits for any more is no error.
    fn obey(&mut self, order: Order) {
        match order {
            Order::Write(bytes, done) => {
                let _ = done.send(self.write(&bytes));
            }
            Order::Control(control, done) => {
                let _ = done.send(self.set(control));
            }
        }
    }

    /// The line has one time limit for both directions, at which Windows gives a write up, too.
    fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        self.limit(WRITE_LIMIT)?;
        self.line
            .write_all(bytes)
            .map_err(|error| PortError::from_io(&self.path, &error))?;
        self.limit(LISTEN)
    }

    fn limit(&mut self, limit: Duration) -> Result<(), PortError> {
        self.line.set_timeout(limit).map_err(|error| PortError::Io {
            path: self.path.clone(),
            reason: error.to_string(),
        })
    }

    fn set(&mut self, control: Control) -> Result<(), PortError> {
        let result = match control {
            Control::Baud(baud) => self.line.set_baud_rate(baud),
            Control::Dtr(level) => self.line.write_data_terminal_ready(level),
            Control::Rts(level) => self.line.write_request_to_send(level),
            Control::Purge => self.line.clear(serialport::ClearBuffer::All),
            Control::SendAs(_) => {
                return Err(PortError::Unsupported {
                    path: self.path.clone(),
                    control,
                });
            }
        };
        result.map_err(|error| super::error::control_error(&self.path, control, &error))
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// Windows answers a port that another program holds with *access denied*, which serialport does not tell from a port that is
/// missing; but only the missing one is not listed.
fn open_error(path: &Path, error: &serialport::Error) -> PortError {
    let path = path.to_path_buf();
    match error.kind() {
        serialport::ErrorKind::NoDevice if is_listed(&path) => {
            PortError::Busy { path, holder: None }
        }
        serialport::ErrorKind::NoDevice | serialport::ErrorKind::Io(io::ErrorKind::NotFound) => {
            PortError::NotFound { path }
        }
        serialport::ErrorKind::Io(_)
        | serialport::ErrorKind::InvalidInput
        | serialport::ErrorKind::Unknown => PortError::Io {
            path,
            reason: error.to_string(),
        },
    }
}

/// Whether the system lists a serial port of this name. Blocks.
pub(crate) fn is_listed(path: &Path) -> bool {
    let name = super::resolved(path);
    let ports = serialport::available_ports().unwrap_or_default();
    ports
        .iter()
        .any(|port| super::resolved(Path::new(&port.port_name)) == name)
}
