//! A serial line on unix, through the runtime's reactor.

use std::path::{Path, PathBuf};

use serialport::{ErrorKind, SerialPort as _};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::SerialStream;

use super::{Control, PortError, PortSettings, error::control_error, holder};

/// An open serial line that no other process can open.
///
/// Two locks keep others out: TIOCEXCL, which root bypasses, and an exclusive flock on the device node, which binds
/// every program that takes one, root's too.
#[derive(Debug)]
pub struct SerialPort {
    stream: SerialStream,
    path: PathBuf,
}

impl SerialPort {
    pub(super) fn open(settings: &PortSettings) -> Result<Self, PortError> {
        let path = settings.path.clone();
        // DTR and RTS stay as they are: on many boards they reset the device.
        let builder = serialport::new(path.to_string_lossy(), settings.baud)
            .preserve_dtr_on_open()
            .exclusive(true);
        match SerialStream::open(&builder) {
            Ok(stream) => Ok(Self { stream, path }),
            Err(error) => Err(open_error(&path, &error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    // Never flushed: that is tcdrain, which blocks the thread until the last bit is on the wire.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), PortError> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(|error| PortError::from_io(&self.path, &error))
    }

    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PortError> {
        match self.stream.read(buffer).await {
            Ok(0) => Err(PortError::Gone {
                path: self.path.clone(),
            }),
            Ok(count) => Ok(count),
            Err(error) => Err(PortError::from_io(&self.path, &error)),
        }
    }

    pub(super) fn control(&mut self, control: Control) -> Result<(), PortError> {
        let result = match control {
            Control::Baud(baud) => self.stream.set_baud_rate(baud),
            Control::Dtr(level) => self.stream.write_data_terminal_ready(level),
            Control::Rts(level) => self.stream.write_request_to_send(level),
            Control::Purge => return self.purge(),
            Control::SendAs(_) => return Err(self.unsupported(control)),
        };
        result.map_err(|error| control_error(&self.path, control, &error))
    }

    fn unsupported(&self, control: Control) -> PortError {
        PortError::Unsupported {
            path: self.path.clone(),
            control,
        }
    }

    fn purge(&self) -> Result<(), PortError> {
        self.stream
            .clear(serialport::ClearBuffer::All)
            .map_err(|error| control_error(&self.path, Control::Purge, &error))
    }
}

impl Drop for SerialPort {
    fn drop(&mut self) {
        // What was not sent would hold up the close, on a stuck line for 30 s. It fails only when the device is gone.
        let _ = self.stream.clear(serialport::ClearBuffer::Output);
        // A pseudo terminal stays exclusive after the close while its other end is open.
        if let Err(error) = self.stream.set_exclusive(false) {
            tracing::debug!(path = %self.path.display(), %error, "could not give up the exclusive lock");
        }
    }
}

fn open_error(path: &Path, error: &serialport::Error) -> PortError {
    let path = path.to_path_buf();
    match error.kind() {
        ErrorKind::NoDevice => PortError::Busy {
            holder: holder::holder(&path),
            path,
        },
        ErrorKind::Io(std::io::ErrorKind::NotFound) => PortError::NotFound { path },
        ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => PortError::NotPermitted {
            group: holder::group(&path),
            path,
        },
        ErrorKind::Io(_) | ErrorKind::InvalidInput | ErrorKind::Unknown => PortError::Io {
            path,
            reason: error.to_string(),
        },
    }
}
