//! A device that is attached, as the system describes it without the device being opened.

use std::path::PathBuf;

use encoder_protocols::hid::ReportLayout;

use crate::{drivers::UsbId, transport::PortKind};

/// The longest text that a USB device can give of itself, in characters.
const LONGEST_TEXT: usize = 126;

/// A serial port or HID device that is attached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// The device node, or the port's name on Windows.
    pub port: PathBuf,
    /// What kind of road it is.
    pub kind: PortKind,
    /// The USB device behind it; none for a port on the PC's board.
    pub usb: Option<UsbFacts>,
    /// The reports of a HID device, where its descriptor could be read.
    pub reports: Option<ReportLayout>,
    /// The socket that it is plugged into: controller, hubs' ports, interface. The same after a restart.
    pub socket: Option<String>,
    /// Differs each time something is plugged in.
    pub instance: String,
    /// Whether this process may open it.
    pub access: Access,
}

/// What a USB device says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UsbFacts {
    /// Vendor and product.
    pub id: UsbId,
    /// Its serial number, where it has one.
    pub serial: Option<String>,
    /// Its maker.
    pub manufacturer: Option<String>,
    /// What its maker calls it.
    pub product: Option<String>,
    /// Which of the device's interfaces, and which port of an interface with several.
    pub interface: u32,
}

/// Whether a port can be opened by this process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Access {
    /// Permissions stand in nobody's way.
    Permitted,
    /// They do; the group may open it, where there is one.
    NotPermitted {
        /// That group.
        group: Option<String>,
    },
    /// The node is not there yet, or not any more.
    Missing,
}

/// A device's text fit for logs and keys: one line without control characters; none when nothing is left.
pub(super) fn clean(text: &str) -> Option<String> {
    let printable = text.chars().filter(|character| !character.is_control());
    let text: String = printable.take(LONGEST_TEXT).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lose_what_breaks_lines_and_their_length() {
        assert_eq!(clean(" A\n\u{1b}B \n").as_deref(), Some("AB"));
        assert_eq!(clean(" \0\n"), None);
        assert_eq!(clean(&"x".repeat(500)).unwrap().len(), LONGEST_TEXT);
    }
}
