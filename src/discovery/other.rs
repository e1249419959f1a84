//! What is attached, where there is no sysfs: as the serialport and hidapi libraries tell.

use std::{io, path::PathBuf};

use hidapi::{BusType, DeviceInfo, HidApi};
use serialport::{SerialPortInfo, SerialPortType};

use super::candidate::{Access, Candidate, UsbFacts, clean};
use crate::{drivers::UsbId, transport::PortKind};

/// Every serial port and every USB device of the HID class. Blocks.
pub(super) fn list() -> io::Result<Vec<Candidate>> {
    let ports = serialport::available_ports().map_err(io::Error::other)?;
    let mut candidates: Vec<_> = ports.iter().map(serial).collect();
    let hid = HidApi::new().map_err(io::Error::other)?;
    candidates.extend(hid.device_list().filter_map(hid_device));
    candidates.sort_by(|left, right| left.port.cmp(&right.port));
    // A device with several collections is listed once for each.
    candidates.dedup_by(|left, right| left.port == right.port);
    Ok(candidates)
}

fn serial(port: &SerialPortInfo) -> Candidate {
    let usb = match &port.port_type {
        SerialPortType::UsbPort(usb) => Some(UsbFacts {
            id: UsbId {
                vendor: usb.vid,
                product: usb.pid,
            },
            serial: usb.serial_number.as_deref().and_then(clean),
            manufacturer: usb.manufacturer.as_deref().and_then(clean),
            product: usb.product.as_deref().and_then(clean),
            interface: 0,
        }),
        SerialPortType::PciPort | SerialPortType::BluetoothPort | SerialPortType::Unknown => None,
    };
    candidate(PathBuf::from(&port.port_name), PortKind::Serial, usb)
}

fn hid_device(device: &DeviceInfo) -> Option<Candidate> {
    if !matches!(device.bus_type(), BusType::Usb) {
        return None;
    }
    let usb = UsbFacts {
        id: UsbId {
            vendor: device.vendor_id(),
            product: device.product_id(),
        },
        serial: device.serial_number().and_then(clean),
        manufacturer: device.manufacturer_string().and_then(clean),
        product: device.product_string().and_then(clean),
        interface: u32::try_from(device.interface_number()).unwrap_or_default() << 8,
    };
    let path = PathBuf::from(device.path().to_str().ok()?);
    Some(candidate(path, PortKind::Hid, Some(usb)))
}

fn candidate(port: PathBuf, kind: PortKind, usb: Option<UsbFacts>) -> Candidate {
    let serial = usb.as_ref().and_then(|usb| usb.serial.as_deref());
    Candidate {
        instance: format!("{} {}", port.display(), serial.unwrap_or_default()),
        port,
        kind,
        usb,
        reports: None,
        socket: None,
        access: Access::Permitted,
    }
}
