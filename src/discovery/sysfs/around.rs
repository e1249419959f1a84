//! What the kernel tells about a port's device besides what it is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Device, Sysfs, attribute, hexadecimal};
use crate::{discovery::Candidate, drivers::UsbId, transport::PortKind};

/// What is set on a port's USB device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Around {
    /// What the device says it is.
    pub id: UsbId,
    /// The numbers of the port's node and of the device's, `188:0`, by which udev keeps what its rules say of them.
    pub numbers: Vec<String>,
    /// How long a bridge chip keeps what came before it hands it on, in milliseconds, and the file that says so. FTDI's alone
    /// can be asked.
    pub latency_timer: Option<(PathBuf, u32)>,
    /// Whether the device may be suspended (`auto`) or not (`on`), and the file that says so.
    pub power_control: Option<(PathBuf, String)>,
}

/// An interface of a USB device that a driver or a program has, and no port comes of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TakenDevice {
    /// What the device says it is.
    pub id: UsbId,
    /// The interface's place, `1-2.3:1.0`.
    pub name: String,
    /// The driver; `usbfs` for a program.
    pub driver: String,
    /// The device's node below `/dev`.
    pub node: PathBuf,
}

impl Sysfs {
    /// What is set on a port's USB device; none for a port on the PC's board. Blocks.
    pub fn around(&self, candidate: &Candidate) -> Option<Around> {
        let root = fs::canonicalize(&self.sys).ok()?;
        let class = match candidate.kind {
            PortKind::Serial => "tty",
            PortKind::Hid => "hidraw",
        };
        let name = candidate.port.file_name()?.to_str()?.to_owned();
        let place = fs::canonicalize(root.join("class").join(class).join(&name)).ok()?;
        let device = Device { name, place };
        let usb = device.usb(&root)?;
        let numbers = [device.place.as_path(), usb.place];
        let latency_timer = set(&device.place.join("device/latency_timer"));
        Some(Around {
            id: usb.id,
            numbers: numbers
                .iter()
                .filter_map(|place| attribute(place, "dev"))
                .collect(),
            latency_timer: latency_timer
                .and_then(|(file, latency)| Some((file, latency.parse().ok()?))),
            power_control: set(&usb.place.join("power/control")),
        })
    }

    /// Every interface of a USB device that has a driver. Blocks.
    pub fn taken(&self) -> Vec<TakenDevice> {
        let entries = fs::read_dir(self.sys.join("bus/usb/devices"));
        let entries = entries.into_iter().flatten().flatten();
        let mut taken: Vec<_> = entries
            .filter_map(|entry| interface(&fs::canonicalize(entry.path()).ok()?))
            .collect();
        taken.sort_by(|left, right| left.name.cmp(&right.name));
        taken
    }
}

fn interface(place: &Path) -> Option<TakenDevice> {
    let driver = fs::canonicalize(place.join("driver")).ok()?;
    let device = place.parent()?;
    let number = |name| attribute(device, name)?.parse::<u16>().ok();
    Some(TakenDevice {
        id: UsbId {
            vendor: hexadecimal(device, "idVendor")?,
            product: hexadecimal(device, "idProduct")?,
        },
        name: place.file_name()?.to_str()?.to_owned(),
        driver: driver.file_name()?.to_str()?.to_owned(),
        node: PathBuf::from(format!(
            "bus/usb/{:03}/{:03}",
            number("busnum").unwrap_or_default(),
            number("devnum").unwrap_or_default()
        )),
    })
}

fn set(file: &Path) -> Option<(PathBuf, String)> {
    let text = attribute(file.parent()?, file.file_name()?.to_str()?)?;
    Some((file.to_owned(), text))
}
