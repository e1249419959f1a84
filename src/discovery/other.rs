//! What is attached, where there is no sysfs: as the serialport and hidapi libraries tell.

use std::{io, path::PathBuf};

use hidapi::{BusType, DeviceInfo, HidApi};
use serialport::{SerialPortInfo, SerialPortType, UsbPortInfo};

use super::candidate::{Access, Candidate, UsbFacts, clean};
use crate::{drivers::UsbId, transport::PortKind};

/// Future Technology Devices International, whose driver for Windows names ports in a way of its own.
const FTDI: u16 = 0x0403;

/// The letters of the ports of FTDI's chips, which have up to four.
const FTDI_PORTS: [char; 4] = ['A', 'B', 'C', 'D'];

/// Every serial port and every USB device of the HID class. Blocks.
pub(super) fn list() -> io::Result<Vec<Candidate>> {
    let ports = serialport::available_ports().map_err(io::Error::other)?;
    let mut candidates: Vec<_> = ports.iter().map(serial).collect();
    match HidApi::new() {
        Ok(hid) => candidates.extend(hid.device_list().filter_map(hid_device)),
        // The serial ports are there all the same.
        Err(error) => tracing::debug!(%error, "the system tells of no HID devices"),
    }
    candidates.sort_by(|left, right| left.port.cmp(&right.port));
    // A device with several collections is listed once for each.
    candidates.dedup_by(|left, right| left.port == right.port);
    Ok(candidates)
}

fn serial(port: &SerialPortInfo) -> Candidate {
    let path = PathBuf::from(&port.port_name);
    match &port.port_type {
        SerialPortType::UsbPort(usb) => {
            let facts = serial_facts(usb);
            let socket = socket(usb, facts.interface);
            candidate(path, PortKind::Serial, Some(facts), socket)
        }
        SerialPortType::PciPort | SerialPortType::BluetoothPort | SerialPortType::Unknown => {
            candidate(path, PortKind::Serial, None, None)
        }
    }
}

fn serial_facts(usb: &UsbPortInfo) -> UsbFacts {
    let serial = usb.serial_number.as_deref().and_then(clean);
    let interface = u32::from(usb.interface.unwrap_or_default());
    let (serial, interface) = match serial {
        Some(serial) if cfg!(windows) && usb.vid == FTDI => match without_ftdi_port(&serial) {
            Some((serial, port)) => (Some(serial.to_owned()), port),
            None => (Some(serial), interface),
        },
        other => (other, interface),
    };
    UsbFacts {
        id: UsbId {
            vendor: usb.vid,
            product: usb.pid,
        },
        serial,
        manufacturer: usb.manufacturer.as_deref().and_then(clean),
        product: usb.product.as_deref().and_then(clean),
        interface: interface << 8,
    }
}

/// FTDI's driver puts the port's letter behind the device's serial number: `FTDIBUS\VID_0403+PID_6001+A702TB52A\0000`.
fn without_ftdi_port(serial: &str) -> Option<(&str, u32)> {
    (0..)
        .zip(FTDI_PORTS)
        .find_map(|(port, letter)| Some((serial.strip_suffix(letter)?, port)))
}

/// Controller, hubs' ports, interface, as on Linux.
fn socket(usb: &UsbPortInfo, interface: u32) -> Option<String> {
    let location = usb.location.as_ref()?;
    let chain: Vec<_> = location.port_chain().iter().map(u8::to_string).collect();
    (!chain.is_empty()).then(|| {
        format!(
            "{}/{}:{}",
            location.bus_id(),
            chain.join("."),
            interface >> 8
        )
    })
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
    Some(candidate(path, PortKind::Hid, Some(usb), None))
}

fn candidate(
    port: PathBuf,
    kind: PortKind,
    usb: Option<UsbFacts>,
    socket: Option<String>,
) -> Candidate {
    let serial = usb.as_ref().and_then(|usb| usb.serial.as_deref());
    Candidate {
        instance: format!("{} {}", port.display(), serial.unwrap_or_default()),
        port,
        kind,
        usb,
        reports: None,
        socket,
        access: Access::Permitted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usb(serial: &str, chain: &[u8]) -> SerialPortInfo {
        let bus = "PCIROOT(0)#PCI(1400)#USBROOT(0)".to_owned();
        SerialPortInfo {
            port_name: "COM3".to_owned(),
            port_type: SerialPortType::UsbPort(UsbPortInfo {
                vid: FTDI,
                pid: 0x6001,
                serial_number: Some(serial.to_owned()),
                manufacturer: Some("FTDI".to_owned()),
                product: None,
                interface: None,
                location: Some(serialport::Location::new(bus, chain.to_vec())),
            }),
        }
    }

    #[test]
    fn the_letter_of_an_ftdi_port_is_no_part_of_its_number() {
        let found = serial(&usb("A702TB52A", &[2, 3]));
        let facts = found.usb.unwrap();
        assert_eq!(facts.serial.as_deref(), Some("A702TB52"));
        assert_eq!(facts.interface, 0);
        let second = serial(&usb("FT6S4DSPB", &[2, 3]));
        assert_eq!(second.usb.unwrap().interface, 0x100);
    }

    #[test]
    fn the_socket_is_told_where_the_system_tells_it() {
        let found = serial(&usb("A702TB52B", &[2, 3]));
        assert_eq!(
            found.socket.as_deref(),
            Some("PCIROOT(0)#PCI(1400)#USBROOT(0)/2.3:1")
        );
        assert_eq!(serial(&usb("A702TB52A", &[])).socket, None);
    }

    #[test]
    fn a_port_on_the_board_has_no_usb_device() {
        let found = serial(&SerialPortInfo {
            port_name: "COM1".to_owned(),
            port_type: SerialPortType::Unknown,
        });
        assert_eq!((found.usb, found.socket), (None, None));
        assert_eq!(found.port, PathBuf::from("COM1"));
    }
}
