//! Open roads to devices, and the one place where bytes, timers and cancellation meet.

mod error;
mod exchange;
mod hid;
#[cfg(unix)]
mod holder;
mod opener;
#[cfg(unix)]
mod serial;
#[cfg(any(windows, test))]
mod threaded;

pub use error::PortError;
pub use exchange::{ExchangeError, Stop, exchange};
pub use hid::{HidPeer, HidPort, ReportKind, SentReport};
#[cfg(unix)]
pub use holder::{group, holder};
pub use opener::Opener;
#[cfg(unix)]
pub use serial::SerialPort;
#[cfg(any(windows, test))]
pub use threaded::ThreadedPort;
#[cfg(windows)]
pub(crate) use threaded::is_listed;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// How much a [`Port::memory`] pair holds in each direction, in bytes: more than any frame of any device.
const MEMORY_BYTES: usize = 4096;

/// What a port within this process is called in messages.
const MEMORY: &str = "memory";

/// What kind of road a port is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PortKind {
    /// Bytes on a serial line.
    Serial,
    /// Reports of a HID device.
    Hid,
}

impl PortKind {
    /// The kind of port that a name leads to; links are followed.
    pub fn of(path: &Path) -> Self {
        let target = resolved(path);
        let name = if cfg!(windows) {
            target.to_str()
        } else {
            target.file_name().and_then(|name| name.to_str())
        };
        let begins = if cfg!(windows) { r"\\?\HID#" } else { "hidraw" };
        match name {
            Some(name) if name.starts_with(begins) => Self::Hid,
            _ => Self::Serial,
        }
    }
}

/// The device that a port's name leads to, so that two names of one device can be told: links are followed.
#[cfg(unix)]
pub fn resolved(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The device that a port's name leads to, so that two names of one device can be told. Looking at it would open it, which
/// moves DTR and RTS: only the spelling counts.
#[cfg(windows)]
pub fn resolved(path: &Path) -> PathBuf {
    let name = path.to_string_lossy().to_uppercase();
    PathBuf::from(name.strip_prefix(r"\\.\").unwrap_or(&name))
}

/// Whether two names lead to one port.
pub fn same_node(left: &Path, right: &Path) -> bool {
    left == right || resolved(left) == resolved(right)
}

/// How to open a port. All but the path is of no matter to a HID device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortSettings {
    /// The device node, or the port's name on Windows.
    pub path: PathBuf,
    /// Bits per second; the frame is always 8 data bits, no parity, one stop bit, no flow control.
    pub baud: u32,
    /// Level to set on DTR after opening; untouched when none.
    pub dtr: Option<bool>,
    /// Level to set on RTS after opening; untouched when none.
    pub rts: Option<bool>,
}

/// What can be asked of a port beside moving bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Control {
    /// Change the speed, in bits per second.
    Baud(u32),
    /// Set the DTR line.
    Dtr(bool),
    /// Set the RTS line.
    Rts(bool),
    /// Send reports on this road from now on; a HID device begins with feature reports.
    SendAs(ReportKind),
    /// Throw away what was received and not read, and what was written and not sent.
    Purge,
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Baud(baud) => write!(f, "a speed of {baud} baud"),
            Self::Dtr(level) => write!(f, "dtr = {level}"),
            Self::Rts(level) => write!(f, "rts = {level}"),
            Self::SendAs(kind) => kind.fmt(f),
            Self::Purge => f.write_str("purging"),
        }
    }
}

/// An open port. Dropping it closes it.
#[derive(Debug)]
pub enum Port {
    /// A serial line through the runtime's reactor.
    #[cfg(unix)]
    Serial(SerialPort),
    /// A serial line on a thread of its own.
    #[cfg(any(windows, test))]
    Threaded(ThreadedPort),
    /// A HID device on a thread of its own.
    Hid(HidPort),
    /// One end of a pair within this process.
    Memory(DuplexStream),
}

impl Port {
    /// Opens a port for this process alone and throws away what had been received before.
    ///
    /// # Errors
    /// [`PortError`] says what to do about it.
    pub async fn open(settings: &PortSettings) -> Result<Self, PortError> {
        let wanted = settings.clone();
        // Opening waits for the device's control transfers, and finding out who holds a port reads all of /proc.
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(&wanted));
        opening.await.unwrap_or_else(|error| {
            Err(PortError::Io {
                path: settings.path.clone(),
                reason: error.to_string(),
            })
        })
    }

    fn open_blocking(settings: &PortSettings) -> Result<Self, PortError> {
        match PortKind::of(&settings.path) {
            PortKind::Serial => Self::open_serial(settings),
            PortKind::Hid => HidPort::open(&settings.path).map(Self::Hid),
        }
    }

    fn open_serial(settings: &PortSettings) -> Result<Self, PortError> {
        #[cfg(unix)]
        let mut port = Self::Serial(SerialPort::open(settings)?);
        #[cfg(windows)]
        let mut port = Self::Threaded(ThreadedPort::open(settings)?);
        for line in [
            settings.dtr.map(Control::Dtr),
            settings.rts.map(Control::Rts),
        ]
        .into_iter()
        .flatten()
        {
            match port.control(line) {
                // A pseudo terminal has no such lines, and an encoder behind one needs none.
                Err(PortError::Unsupported { .. }) => {
                    tracing::debug!(path = %settings.path.display(), %line, "not supported by this port");
                }
                result => result?,
            }
        }
        port.control(Control::Purge)?;
        Ok(port)
    }

    /// A port within this process, and the end that a device takes.
    pub fn memory() -> (Self, DuplexStream) {
        let (near, far) = tokio::io::duplex(MEMORY_BYTES);
        (Self::Memory(near), far)
    }

    /// What kind of road this is.
    pub fn kind(&self) -> PortKind {
        match self {
            Self::Hid(_) => PortKind::Hid,
            #[cfg(unix)]
            Self::Serial(_) => PortKind::Serial,
            #[cfg(any(windows, test))]
            Self::Threaded(_) => PortKind::Serial,
            Self::Memory(_) => PortKind::Serial,
        }
    }

    /// Writes all of `bytes`: on a serial line as they are, to a HID device as one report that begins with its id (0
    /// where the device numbers none). Dropping the future may leave a part of them written.
    ///
    /// # Errors
    /// [`PortError::Gone`] when the device or the other end went away, else [`PortError::Io`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        match self {
            #[cfg(unix)]
            Self::Serial(port) => port.write(bytes).await,
            #[cfg(any(windows, test))]
            Self::Threaded(port) => port.write(bytes).await,
            Self::Hid(port) => port.write(bytes).await,
            Self::Memory(stream) => stream
                .write_all(bytes)
                .await
                .map_err(|error| PortError::from_io(Path::new(MEMORY), &error)),
        }
    }

    /// Reads what there is, at least one byte; of a HID device one report, or the rest of one. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// [`PortError::Gone`] when the device or the other end went away, else [`PortError::Io`].
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PortError> {
        match self {
            #[cfg(unix)]
            Self::Serial(port) => port.read(buffer).await,
            #[cfg(any(windows, test))]
            Self::Threaded(port) => port.read(buffer).await,
            Self::Hid(port) => port.read(buffer).await,
            Self::Memory(stream) => match stream.read(buffer).await {
                Ok(0) => Err(self.gone()),
                Ok(count) => Ok(count),
                Err(error) => Err(PortError::from_io(Path::new(MEMORY), &error)),
            },
        }
    }

    /// Throws away what comes in and returns when the port goes away. Dropping the future loses nothing that anybody
    /// waits for.
    pub async fn closed(&mut self) -> PortError {
        let mut buffer = [0; 64];
        loop {
            if let Err(error) = self.read(&mut buffer).await {
                return error;
            }
        }
    }

    /// Changes a setting of the line.
    ///
    /// # Errors
    /// [`PortError::Unsupported`] where this kind of port knows no such thing, as a pseudo terminal has no DTR.
    pub fn control(&mut self, control: Control) -> Result<(), PortError> {
        match self {
            #[cfg(unix)]
            Self::Serial(port) => port.control(control),
            #[cfg(any(windows, test))]
            Self::Threaded(port) => port.control(control),
            Self::Hid(port) => port.control(control),
            Self::Memory(_) => match control {
                // Nothing stale can lie in a pair that was just made.
                Control::Purge => Ok(()),
                Control::Baud(_) | Control::Dtr(_) | Control::Rts(_) | Control::SendAs(_) => {
                    Err(PortError::Unsupported {
                        path: PathBuf::from(MEMORY),
                        control,
                    })
                }
            },
        }
    }

    /// That this port is gone, as an error.
    pub fn gone(&self) -> PortError {
        PortError::Gone {
            path: self.path().to_path_buf(),
        }
    }

    fn path(&self) -> &Path {
        match self {
            #[cfg(unix)]
            Self::Serial(port) => port.path(),
            #[cfg(any(windows, test))]
            Self::Threaded(port) => port.path(),
            Self::Hid(port) => port.path(),
            Self::Memory(_) => Path::new(MEMORY),
        }
    }

    /// Gives the port back.
    pub fn close(self) {
        drop(self);
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
