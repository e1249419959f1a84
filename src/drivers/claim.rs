//! What a driver claims: the USB devices that are of its family, and what tells them from others.

use std::fmt;

/// What a USB device says it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct UsbId {
    /// The vendor's number.
    pub vendor: u16,
    /// The vendor's number for the product.
    pub product: u16,
}

impl fmt::Display for UsbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)
    }
}

/// A USB device that is, or may be, of a driver's family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claim {
    /// What the device says it is.
    pub usb: UsbId,
    /// What makes it certain.
    pub sign: Sign,
}

impl Claim {
    /// A device behind a bridge chip, which is named for people.
    pub const fn bridge(vendor: u16, product: u16, chip: &'static str) -> Self {
        Self {
            usb: UsbId { vendor, product },
            sign: Sign::Bridge(chip),
        }
    }
}

/// What makes certain that a device with a claimed id is of the family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sign {
    /// Nothing but asking: a bridge chip that countless other devices carry too. The text names the chip.
    Bridge(&'static str),
    /// The id alone.
    Id,
    /// The reports and the texts of a HID device whose id others bear too.
    Hid(HidSign),
}

/// What the reports and texts of a HID device must be like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HidSign {
    /// The length of its input reports, which are of the vendor's own making and carry no id, in bytes. Feature or
    /// output reports are as long.
    pub report_bytes: u32,
    /// A text of its maker or product that contains one of these, in lower case, makes it another's device.
    pub strangers: &'static [&'static str],
}

#[cfg(test)]
mod tests {
    use crate::drivers::DRIVERS;

    const RULES: &str = include_str!("../../systemd/60-encoder-agent.rules");

    #[test]
    fn the_udev_rules_know_every_claimed_device_and_open_none_to_everybody() {
        for claim in DRIVERS.iter().flat_map(|driver| driver.claims()) {
            let (vendor, product) = (claim.usb.vendor, claim.usb.product);
            let serial = format!(
                "ATTRS{{idVendor}}==\"{vendor:04x}\", ATTRS{{idProduct}}==\"{product:04x}\""
            );
            let hid = format!("KERNELS==\"0003:{vendor:04X}:{product:04X}.*\"");
            assert!(
                RULES.contains(&serial) || RULES.contains(&hid),
                "{}",
                claim.usb
            );
        }
        let modes = RULES.split("MODE=\"").skip(1);
        for mode in modes {
            assert!(mode.starts_with("0660\""), "{mode}");
        }
    }
}
