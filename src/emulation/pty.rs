//! A pseudo terminal that looks like a serial port, and the link that names it.

use std::{
    ffi::OsStr,
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt, unix::fs::symlink},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, fcntl_setfl, open},
    io::Errno,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, ioctl_tiocnxcl, tcgetattr, tcsetattr},
};

use super::EmulationError;

#[derive(Debug)]
pub(super) struct Pty {
    pub(super) master: OwnedFd,
    /// Held open so that the other end may close and open the port as often as it likes: with the last slave the
    /// terminal's settings would go, and reading would fail.
    slave: OwnedFd,
    path: PathBuf,
    link: Option<PathBuf>,
}

impl Pty {
    /// A terminal that shows the rate `baud` until somebody sets another one.
    pub(super) fn open(link: Option<&Path>, baud: u32) -> Result<Self, EmulationError> {
        let (master, slave, path) = open_pair(baud)
            .map_err(io::Error::from)
            .map_err(EmulationError::Terminal)?;
        if let Some(link) = link {
            make_link(link, &path)?;
        }
        Ok(Self {
            master,
            slave,
            path,
            link: link.map(Path::to_owned),
        })
    }

    /// The name to open.
    pub(super) fn path(&self) -> &Path {
        self.link.as_deref().unwrap_or(&self.path)
    }

    /// What has come from the host; empty when there is nothing.
    pub(super) fn read<'a>(&self, buffer: &'a mut [u8]) -> &'a [u8] {
        let count = rustix::io::read(&self.master, &mut *buffer).unwrap_or(0);
        buffer.get(..count).unwrap_or(&[])
    }

    /// Hands bytes to the host. What it has no room for is lost, as on a serial line.
    pub(super) fn write(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match rustix::io::write(&self.master, bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// The rate that the host has set.
    pub(super) fn baud(&self) -> Option<u32> {
        let settings = tcgetattr(&self.slave).ok()?;
        Some(settings.output_speed()).filter(|baud| *baud > 0)
    }

    /// Gives up the exclusive use that a host claimed and could not give back because it was killed: it outlives the
    /// host while our end of the slave is open.
    pub(super) fn end_exclusive_use(&self) {
        // Nothing depends on it.
        let _ = ioctl_tiocnxcl(&self.slave);
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Some(link) = &self.link
            && fs::read_link(link).is_ok_and(|target| target == self.path)
        {
            // It may be gone already.
            let _ = fs::remove_file(link);
        }
    }
}

fn open_pair(baud: u32) -> rustix::io::Result<(OwnedFd, OwnedFd, PathBuf)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let path = PathBuf::from(OsStr::from_bytes(ptsname(&master, Vec::new())?.as_bytes()));
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = open(&path, flags, Mode::empty())?;
    let mut settings = tcgetattr(&slave)?;
    settings.make_raw();
    settings.set_speed(baud)?;
    tcsetattr(&slave, OptionalActions::Now, &settings)?;
    fcntl_setfl(&master, OFlags::NONBLOCK)?;
    Ok((master, slave, path))
}

/// Links `link` to the terminal. A link that leads nowhere was left over and is replaced.
fn make_link(link: &Path, terminal: &Path) -> Result<(), EmulationError> {
    let failed = |source| EmulationError::Link {
        path: link.to_owned(),
        source,
    };
    match fs::symlink_metadata(link) {
        Ok(found) if found.is_symlink() && is_left_over(link, terminal) => {
            fs::remove_file(link).map_err(failed)?;
        }
        Ok(_) => return Err(EmulationError::LinkTaken(link.to_owned())),
        Err(_) => {}
    }
    symlink(terminal, link).map_err(failed)
}

/// A link to a terminal that is no more, or to the number that has just been given to ours.
fn is_left_over(link: &Path, terminal: &Path) -> bool {
    !link.exists() || fs::read_link(link).is_ok_and(|target| target == terminal)
}
