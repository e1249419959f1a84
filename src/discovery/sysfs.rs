//! What is attached, as Linux tells in `/sys` (sysfs(5)): no library is needed, and no device is opened.

mod around;

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use encoder_protocols::hid::ReportLayout;
use rustix::fs::Access as Wanted;

use super::candidate::{Access, Candidate, UsbFacts, clean};
use crate::{
    drivers::UsbId,
    transport::{PortKind, group},
};

pub use around::{Around, TakenDevice};

/// The longest attribute that is read: the kernel gives a page at most, and a report descriptor is one.
const LONGEST_ATTRIBUTE: usize = 4096;

/// USB, as `HID_ID` numbers the buses (linux/input.h).
const BUS_USB: u32 = 3;

/// Where the system tells of its devices.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sysfs {
    /// `/sys`, unless it lies elsewhere.
    pub sys: PathBuf,
    /// `/dev`, unless it lies elsewhere.
    pub dev: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self {
            sys: PathBuf::from("/sys"),
            dev: PathBuf::from("/dev"),
        }
    }
}

impl Sysfs {
    /// Every serial port and every USB device of the HID class, by their nodes' names. Opens none of them. Blocks.
    ///
    /// # Errors
    /// The system's error when there is no such tree; a device that leaves meanwhile is no error.
    pub fn list(&self) -> io::Result<Vec<Candidate>> {
        let root = fs::canonicalize(&self.sys)?;
        let mut candidates = Vec::new();
        for (class, describe) in [
            (
                "tty",
                Self::serial as fn(&Self, &Path, &Device) -> Option<Candidate>,
            ),
            ("hidraw", Self::hid),
        ] {
            let Ok(entries) = fs::read_dir(root.join("class").join(class)) else {
                continue;
            };
            for entry in entries.flatten() {
                let Ok(place) = fs::canonicalize(entry.path()) else {
                    continue;
                };
                let name = entry.file_name().to_string_lossy().into_owned();
                let device = Device { name, place };
                candidates.extend(describe(self, &root, &device));
            }
        }
        candidates.sort_by(|left, right| left.port.cmp(&right.port));
        Ok(candidates)
    }

    /// A port with a device behind it: consoles and pseudo terminals have none, and the kernel's spare serial ports are
    /// of type 0.
    fn serial(&self, root: &Path, device: &Device) -> Option<Candidate> {
        let usb = device.usb(root);
        let is_real = device.place.join("device").exists()
            && attribute(&device.place, "type").is_none_or(|kind| kind != "0");
        if usb.is_none() && !is_real {
            return None;
        }
        Some(self.candidate(device, PortKind::Serial, usb.map(|usb| usb.facts()), None))
    }

    /// A HID device on USB; the kernel tells of it also where it is only emulated.
    fn hid(&self, root: &Path, device: &Device) -> Option<Candidate> {
        let hid = fs::canonicalize(device.place.join("device")).ok()?;
        let told = fs::read_to_string(hid.join("uevent")).ok()?;
        let value = |name: &str| {
            let mut lines = told.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        let id = hid_id(value("HID_ID")?)?;
        let facts = match device.usb(root) {
            Some(usb) => usb.facts(),
            None => UsbFacts {
                id,
                serial: value("HID_UNIQ").and_then(clean),
                manufacturer: None,
                product: value("HID_NAME").and_then(clean),
                interface: 0,
            },
        };
        let reports = fs::read(hid.join("report_descriptor"))
            .ok()
            .filter(|descriptor| descriptor.len() <= LONGEST_ATTRIBUTE)
            .and_then(|descriptor| ReportLayout::parse(&descriptor).ok());
        Some(self.candidate(device, PortKind::Hid, Some(facts), reports))
    }

    fn candidate(
        &self,
        device: &Device,
        kind: PortKind,
        usb: Option<UsbFacts>,
        reports: Option<ReportLayout>,
    ) -> Candidate {
        let port = self.dev.join(&device.name);
        Candidate {
            kind,
            usb,
            reports,
            socket: socket(&device.place),
            instance: device.instance(&port),
            access: access(&port),
            port,
        }
    }
}

/// An entry of a class, and where it lies in the tree of devices.
struct Device {
    name: String,
    place: PathBuf,
}

/// The USB device that an entry belongs to.
struct UsbDevice<'a> {
    place: &'a Path,
    interface: u32,
    id: UsbId,
}

impl Device {
    fn usb(&self, root: &Path) -> Option<UsbDevice<'_>> {
        let mut interface = None;
        for place in self.place.ancestors().take_while(|place| *place != root) {
            interface = interface.or_else(|| hexadecimal(place, "bInterfaceNumber"));
            let vendor = hexadecimal(place, "idVendor");
            let product = hexadecimal(place, "idProduct");
            if let (Some(vendor), Some(product)) = (vendor, product) {
                let interface = u32::from(interface.unwrap_or_default());
                return Some(UsbDevice {
                    place,
                    interface: interface << 8 | self.port_number(),
                    id: UsbId { vendor, product },
                });
            }
        }
        None
    }

    /// Which port of an adapter that has several on one interface.
    fn port_number(&self) -> u32 {
        let number = attribute(&self.place.join("device"), "port_number");
        number
            .and_then(|number| number.parse::<u8>().ok())
            .map_or(0, u32::from)
    }

    /// The kernel numbers each plugging in of a USB device, and each node that it makes is another file.
    fn instance(&self, port: &Path) -> String {
        let plugging = self
            .place
            .ancestors()
            .find_map(|place| attribute(place, "devnum"));
        let node = fs::symlink_metadata(port).map_or(0, |node| node.ino());
        format!(
            "{} {} {node}",
            self.place.display(),
            plugging.unwrap_or_default()
        )
    }
}

impl UsbDevice<'_> {
    fn facts(&self) -> UsbFacts {
        let text = |name| attribute(self.place, name).as_deref().and_then(clean);
        UsbFacts {
            id: self.id,
            serial: text("serial"),
            manufacturer: text("manufacturer"),
            product: text("product"),
            interface: self.interface,
        }
    }
}

/// `0003:00000801:00000003`: bus, vendor, product.
fn hid_id(text: &str) -> Option<UsbId> {
    let mut numbers = text
        .split(':')
        .map(|number| u32::from_str_radix(number, 16).ok());
    let bus = numbers.next()??;
    let mut number = || u16::try_from(numbers.next()??).ok();
    let id = UsbId {
        vendor: number()?,
        product: number()?,
    };
    (bus == BUS_USB).then_some(id)
}

/// The place in the tree, without what the kernel numbers as it comes: `0000:00:14.0/2.3:1.0` for the third port of the
/// hub at the second port of that controller, first interface.
fn socket(place: &Path) -> Option<String> {
    let parts: Vec<_> = place.iter().filter_map(|part| part.to_str()).collect();
    let bus = parts.iter().position(|part| {
        part.strip_prefix("usb")
            .is_some_and(|number| number.parse::<u16>().is_ok())
    })?;
    let controller = parts.get(bus.checked_sub(1)?)?;
    let chain = parts
        .iter()
        .skip(bus + 1)
        .take_while(|part| {
            part.starts_with(|first: char| first.is_ascii_digit()) && part.contains('-')
        })
        .last()?;
    let (_, chain) = chain.split_once('-')?;
    Some(format!("{controller}/{chain}"))
}

fn access(port: &Path) -> Access {
    match rustix::fs::access(port, Wanted::READ_OK | Wanted::WRITE_OK) {
        Ok(()) => Access::Permitted,
        Err(rustix::io::Errno::NOENT) => Access::Missing,
        Err(_) => Access::NotPermitted { group: group(port) },
    }
}

fn hexadecimal(place: &Path, name: &str) -> Option<u16> {
    u16::from_str_radix(&attribute(place, name)?, 16).ok()
}

/// One attribute's text; a device may give any bytes for it.
fn attribute(place: &Path, name: &str) -> Option<String> {
    let bytes = fs::read(place.join(name)).ok()?;
    let bytes = bytes.get(..bytes.len().min(LONGEST_ATTRIBUTE))?;
    Some(String::from_utf8_lossy(bytes).trim().to_owned())
}

#[cfg(test)]
mod tests;
