//! A device tree for tests: what the kernel shows in `/sys` and `/dev` for the devices that a test plugs in.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// A vendor's collection with 64-byte reports in, out and feature: what an MSR605X shows.
pub(crate) const SIXTY_FOUR: &[u8] = &[
    0x06, 0x00, 0xFF, 0x09, 0x01, 0xA1, 0x01, 0x15, 0x00, 0x26, 0xFF, 0x00, 0x75, 0x08, 0x95, 0x40,
    0x09, 0x01, 0x81, 0x02, 0x09, 0x01, 0x91, 0x02, 0x09, 0x01, 0xB1, 0x02, 0xC0,
];

/// A USB device to plug in.
#[derive(Clone, Copy)]
pub(crate) struct UsbStick {
    /// `vvvv:pppp`.
    pub(crate) id: &'static str,
    /// Bus and chain of ports, `1-2.3`.
    pub(crate) socket: &'static str,
    pub(crate) serial: Option<&'static str>,
    pub(crate) manufacturer: Option<&'static str>,
}

pub(crate) struct Tree {
    root: tempfile::TempDir,
    pluggings: AtomicU32,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in [
            "sys/class/tty",
            "sys/class/hidraw",
            "sys/devices",
            "sys/bus/usb/devices",
            "dev",
        ] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        Self {
            root,
            pluggings: AtomicU32::new(0),
        }
    }

    pub(crate) fn sys(&self) -> PathBuf {
        self.root.path().join("sys")
    }

    pub(crate) fn dev(&self) -> PathBuf {
        self.root.path().join("dev")
    }

    pub(crate) fn node(&self, name: &str) -> PathBuf {
        self.root.path().join("dev").join(name)
    }

    /// A USB serial adapter; its node leads to `terminal`.
    pub(crate) fn plug_serial(&self, name: &str, stick: UsbStick, terminal: &Path) {
        let interface = self.stick(stick);
        let place = interface.join(name).join("tty").join(name);
        fs::create_dir_all(&place).unwrap();
        symlink(interface.join(name), place.join("device")).unwrap();
        self.announce("tty", name, &place);
        symlink(terminal, self.node(name)).unwrap();
    }

    /// A HID device; its node leads to `node`.
    pub(crate) fn plug_hid(&self, name: &str, stick: UsbStick, descriptor: &[u8], node: &Path) {
        let interface = self.stick(stick);
        let hid = interface.join(format!("0003:{}.0001", stick.id.to_uppercase()));
        let place = hid.join("hidraw").join(name);
        fs::create_dir_all(&place).unwrap();
        symlink(&hid, place.join("device")).unwrap();
        fs::write(hid.join("report_descriptor"), descriptor).unwrap();
        let (vendor, product) = stick.id.split_once(':').unwrap();
        let told = format!(
            "DRIVER=hid-generic\nHID_ID=0003:0000{vendor}:0000{product}\nHID_NAME=A Name\nHID_UNIQ={}\n",
            stick.serial.unwrap_or_default()
        );
        fs::write(hid.join("uevent"), told).unwrap();
        self.announce("hidraw", name, &place);
        symlink(node, self.node(name)).unwrap();
    }

    /// A port on the board, which no USB device stands behind.
    pub(crate) fn solder_serial(&self, name: &str, kind: &str) {
        let place = self.devices().join("platform/serial8250/tty").join(name);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("type"), kind).unwrap();
        symlink(
            self.devices().join("platform/serial8250"),
            place.join("device"),
        )
        .unwrap();
        self.announce("tty", name, &place);
        fs::write(self.node(name), "").unwrap();
    }

    /// A console, which is no device.
    pub(crate) fn console(&self, name: &str) {
        let place = self.devices().join("virtual/tty").join(name);
        fs::create_dir_all(&place).unwrap();
        self.announce("tty", name, &place);
    }

    /// A USB device whose first interface a driver has of which no port comes; `usbfs` for a program.
    pub(crate) fn plug_taken(&self, stick: UsbStick, driver: &str) {
        let interface = self.stick(stick);
        let drivers = self.sys().join("bus/usb/drivers").join(driver);
        fs::create_dir_all(&drivers).unwrap();
        symlink(drivers, interface.join("driver")).unwrap();
        let name = format!("{}:1.0", stick.socket);
        symlink(interface, self.sys().join("bus/usb/devices").join(name)).unwrap();
    }

    /// Sets an attribute of a USB device, or of what belongs to it.
    pub(crate) fn set(&self, stick: UsbStick, attribute: &str, value: &str) {
        let file = self.bus(stick).join(attribute);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, value).unwrap();
    }

    pub(crate) fn unplug(&self, class: &str, name: &str, stick: UsbStick) {
        let bus = self.bus(stick);
        fs::remove_file(self.root.path().join("sys/class").join(class).join(name)).unwrap();
        fs::remove_file(self.node(name)).unwrap();
        fs::remove_dir_all(bus).unwrap();
    }

    fn devices(&self) -> PathBuf {
        self.root.path().join("sys/devices")
    }

    fn announce(&self, class: &str, name: &str, place: &Path) {
        let entry = self.root.path().join("sys/class").join(class).join(name);
        symlink(place, entry).unwrap();
    }

    fn bus(&self, stick: UsbStick) -> PathBuf {
        let (bus, _) = stick.socket.split_once('-').unwrap();
        self.devices()
            .join("pci0000:00/0000:00:14.0")
            .join(format!("usb{bus}"))
            .join(stick.socket)
    }

    /// The device's directory, and in it that of its first interface.
    fn stick(&self, stick: UsbStick) -> PathBuf {
        let device = self.bus(stick);
        let interface = device.join(format!("{}:1.0", stick.socket));
        fs::create_dir_all(&interface).unwrap();
        let (vendor, product) = stick.id.split_once(':').unwrap();
        let plugging = self.pluggings.fetch_add(1, Ordering::Relaxed);
        let attributes = [
            ("idVendor", Some(vendor)),
            ("idProduct", Some(product)),
            ("serial", stick.serial),
            ("manufacturer", stick.manufacturer),
        ];
        for (name, value) in attributes {
            if let Some(value) = value {
                fs::write(device.join(name), format!("{value}\n")).unwrap();
            }
        }
        fs::write(device.join("devnum"), plugging.to_string()).unwrap();
        fs::write(interface.join("bInterfaceNumber"), "00\n").unwrap();
        interface
    }
}
