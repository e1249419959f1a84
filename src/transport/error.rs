//! Why a port does not do what is asked.

use std::{
    io,
    path::{Path, PathBuf},
};

use serialport::ErrorKind;

use super::Control;

/// How serialport words ENOTTY and EINVAL.
#[cfg(unix)]
const NO_SUCH_CONTROL: [&str; 2] = ["Not a typewriter", "Invalid argument"];

/// ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED and ERROR_INVALID_PARAMETER.
#[cfg(windows)]
const NO_SUCH_CONTROL: [i32; 3] = [1, 50, 87];

/// What a serial driver answers once its device was pulled out: ERROR_ACCESS_DENIED, ERROR_INVALID_HANDLE,
/// ERROR_BAD_COMMAND, ERROR_GEN_FAILURE, ERROR_NO_SUCH_DEVICE, ERROR_OPERATION_ABORTED, ERROR_DEVICE_NOT_CONNECTED and
/// ERROR_DEVICE_REMOVED.
#[cfg(windows)]
const GONE: [i32; 8] = [5, 6, 22, 31, 433, 995, 1_167, 1_617];

/// Why a port could not be opened, or failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PortError {
    /// There is no such port.
    #[error(
        "there is no port {}: plug the encoder in, or correct `port` in the configuration", path.display()
    )]
    NotFound {
        /// The port.
        path: PathBuf,
    },
    /// Another program has it open.
    #[error(
        "the port {} is in use by {}: stop that program, or correct `port` in the configuration",
        path.display(),
        holder.as_deref().unwrap_or("another program")
    )]
    Busy {
        /// The port.
        path: PathBuf,
        /// The program that holds it, where the system tells.
        holder: Option<String>,
    },
    /// This process may not open it.
    #[error(
        "no permission to open the port {}: {}", path.display(), permission_advice(group.as_deref())
    )]
    NotPermitted {
        /// The port.
        path: PathBuf,
        /// The group whose members may open it, where there is one.
        group: Option<String>,
    },
    /// It was there and is no longer: unplugged, or closed by the other end.
    #[error("the port {} is gone: plug the encoder in again", path.display())]
    Gone {
        /// The port.
        path: PathBuf,
    },
    /// This kind of port cannot do that.
    #[error("the port {} does not support {control}", path.display())]
    Unsupported {
        /// The port.
        path: PathBuf,
        /// What was asked.
        control: Control,
    },
    /// The system reports another failure.
    #[error("the port {} failed: {reason}", path.display())]
    Io {
        /// The port.
        path: PathBuf,
        /// The system's own words.
        reason: String,
    },
}

impl PortError {
    /// The error of a read or write on an open port.
    pub(crate) fn from_io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_path_buf();
        if is_gone(error) {
            Self::Gone { path }
        } else {
            Self::Io {
                path,
                reason: error.to_string(),
            }
        }
    }
}

fn permission_advice(group: Option<&str>) -> String {
    match group {
        Some(group) => format!(
            "add the user that runs the agent to the group `{group}` (usermod -aG {group} USER) and start it again"
        ),
        None => "let the user that runs the agent read and write it".to_owned(),
    }
}

/// Whether the device behind an open port has left. A terminal that was hung up answers EIO, a driver whose device
/// was unplugged ENODEV or ENXIO.
pub(super) fn is_gone(error: &io::Error) -> bool {
    #[cfg(unix)]
    if let Some(code) = error.raw_os_error() {
        use rustix::io::Errno;
        return [
            Errno::IO,
            Errno::NODEV,
            Errno::NXIO,
            Errno::BADF,
            Errno::PIPE,
        ]
        .iter()
        .any(|errno| errno.raw_os_error() == code);
    }
    #[cfg(windows)]
    if let Some(code) = error.raw_os_error() {
        return GONE.contains(&code);
    }
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::PermissionDenied
    )
}

/// Whether the port knows no such thing, as serialport words it.
#[cfg(unix)]
fn is_no_such_control(description: &str) -> bool {
    NO_SUCH_CONTROL.contains(&description)
}

/// Whether the port knows no such thing. serialport hands on only the system's words, which are in the PC's language.
#[cfg(windows)]
fn is_no_such_control(description: &str) -> bool {
    NO_SUCH_CONTROL.iter().any(|code| {
        let words = io::Error::from_raw_os_error(*code).to_string();
        words.strip_suffix(&format!(" (os error {code})")) == Some(description)
    })
}

/// A pseudo terminal answers ENOTTY or EINVAL when its modem lines are to be set.
pub(super) fn control_error(path: &Path, control: Control, error: &serialport::Error) -> PortError {
    let path = path.to_path_buf();
    let is_line = matches!(control, Control::Dtr(_) | Control::Rts(_));
    if is_line && is_no_such_control(&error.description) {
        return PortError::Unsupported { path, control };
    }
    match error.kind() {
        ErrorKind::InvalidInput => PortError::Unsupported { path, control },
        ErrorKind::NoDevice | ErrorKind::Io(_) | ErrorKind::Unknown => PortError::Io {
            path,
            reason: format!("{control}: {error}"),
        },
    }
}
