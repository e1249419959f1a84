//! A HID device through hidapi's native backends: hidraw on Linux, the system's own calls on Windows.

use std::{
    ffi::CString,
    path::{Path, PathBuf},
    time::Duration,
};

use hidapi::{HidApi, HidDevice, HidError};

use super::{ReportKind, thread::ReportDevice};
use crate::transport::PortError;

/// An open device that no other agent can open.
pub(super) struct SystemDevice {
    device: HidDevice,
    path: PathBuf,
    /// Closes last. hidraw knows no exclusive use, so that only a lock on the node keeps another agent out.
    #[cfg(unix)]
    _claim: std::fs::File,
}

impl SystemDevice {
    pub(super) fn open(path: &Path) -> Result<Self, PortError> {
        #[cfg(unix)]
        let claim = claim(path)?;
        let failed = |reason: String| PortError::Io {
            path: path.to_path_buf(),
            reason,
        };
        let name = path
            .to_str()
            .and_then(|text| CString::new(text).ok())
            .ok_or_else(|| failed("its name is no text".to_owned()))?;
        let api = HidApi::new().map_err(|error| failed(error.to_string()))?;
        let device = api
            .open_path(&name)
            .map_err(|error| open_error(path, &error))?;
        Ok(Self {
            device,
            path: path.to_path_buf(),
            #[cfg(unix)]
            _claim: claim,
        })
    }

    fn gone(&self) -> PortError {
        PortError::Gone {
            path: self.path.clone(),
        }
    }
}

impl ReportDevice for SystemDevice {
    fn send(&mut self, kind: ReportKind, report: &[u8]) -> Result<(), PortError> {
        let sent = match kind {
            ReportKind::Feature => self.device.send_feature_report(report),
            ReportKind::Output => self.device.write(report).map(drop),
        };
        sent.map_err(|error| match is_gone(&error) {
            true => self.gone(),
            false => PortError::Io {
                path: self.path.clone(),
                reason: error.to_string(),
            },
        })
    }

    fn receive(&mut self, buffer: &mut [u8], wait: Duration) -> Result<Option<usize>, PortError> {
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        match self.device.read_timeout(buffer, wait) {
            Ok(0) => Ok(None),
            Ok(count) => Ok(Some(count)),
            // Listening to an open device fails only when it is no longer there.
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "the hid device is gone");
                Err(self.gone())
            }
        }
    }
}

/// Opens the node and locks it, which tells precisely why a device cannot be used: hidapi has only words for it.
#[cfg(unix)]
fn claim(path: &Path) -> Result<std::fs::File, PortError> {
    use std::io::ErrorKind;

    use rustix::fs::{FlockOperation, flock};

    use crate::transport::holder;

    let opened = std::fs::File::options().read(true).write(true).open(path);
    let file = opened.map_err(|error| {
        let path = path.to_path_buf();
        if error.kind() == ErrorKind::NotFound {
            PortError::NotFound { path }
        } else if error.kind() == ErrorKind::PermissionDenied {
            PortError::NotPermitted {
                group: holder::group(&path),
                path,
            }
        } else {
            PortError::from_io(&path, &error)
        }
    })?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| PortError::Busy {
        path: path.to_path_buf(),
        holder: holder::holder(path),
    })?;
    Ok(file)
}

/// Windows has no node to look at first, and only words for why.
#[cfg(not(unix))]
fn open_error(path: &Path, error: &HidError) -> PortError {
    let path = path.to_path_buf();
    if let HidError::IoError { error } = error
        && error.kind() == std::io::ErrorKind::NotFound
    {
        return PortError::NotFound { path };
    }
    PortError::Io {
        path,
        reason: error.to_string(),
    }
}

#[cfg(unix)]
fn open_error(path: &Path, error: &HidError) -> PortError {
    PortError::Io {
        path: path.to_path_buf(),
        reason: error.to_string(),
    }
}

/// Whether the device behind it has left. hidapi hands the system's error on for output reports, and its name within a
/// text for feature reports.
fn is_gone(error: &HidError) -> bool {
    match error {
        HidError::IoError { error } => super::super::error::is_gone(error),
        HidError::HidApiError { message } => {
            ["ENODEV", "ENXIO", "EIO"]
                .iter()
                .any(|errno| message.contains(errno))
                || message.contains("disconnected")
        }
        HidError::HidApiErrorEmpty
        | HidError::FromWideCharError { .. }
        | HidError::InitializationError
        | HidError::InvalidZeroSizeData
        | HidError::IncompleteSendError { .. }
        | HidError::SetBlockingModeError { .. }
        | HidError::OpenHidDeviceWithDeviceInfoError { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unplugged_device_is_known_by_the_words_of_its_errors() {
        let said = |message: &str| HidError::HidApiError {
            message: message.to_owned(),
        };
        assert!(is_gone(&said("ioctl (GFEATURE): ENODEV: No such device")));
        assert!(!is_gone(&said("ioctl (GFEATURE): EPIPE: Broken pipe")));
        // ENODEV, and ERROR_DEVICE_NOT_CONNECTED.
        let code = if cfg!(windows) { 1_167 } else { 19 };
        let error = std::io::Error::from_raw_os_error(code);
        assert!(is_gone(&HidError::IoError { error }));
    }

    #[cfg(unix)]
    #[test]
    fn a_missing_device_and_a_file_that_is_none_are_told() {
        let missing = PathBuf::from("/dev/no-such-hidraw");
        let error = SystemDevice::open(&missing).err();
        assert_eq!(error, Some(PortError::NotFound { path: missing }));
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = SystemDevice::open(file.path()).err().unwrap();
        assert!(error.to_string().contains("not a HIDRAW device"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_that_another_agent_has_open_is_busy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let held = claim(file.path()).unwrap();
        let error = claim(file.path()).unwrap_err();
        assert!(matches!(error, PortError::Busy { .. }), "{error}");
        drop(held);
        claim(file.path()).unwrap();
    }
}
