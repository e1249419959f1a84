//! What an encoder is recognised by, and what it is called.
//!
//! In this order: the socket, where the configuration lists it; the USB device's serial number; the number that the device
//! itself tells once it is open; the socket that it is plugged into; the name of its port. The two numbers count within the
//! whole access system, the others within this agent only.

use encoder_protocols::wire::{EncoderKey, KeyScope};

use super::candidate::Candidate;
use crate::encoder::EncoderIdentity;

/// Serial numbers that makers leave in every device they sell.
const PLACEHOLDERS: &[&str] = &[
    "0001",
    "1234567890",
    "0123456789",
    "0123456789abcdef",
    "123456789abcdef",
    "123456789",
    "12345678",
    "123456",
    "n/a",
    "none",
    "serial",
    "default",
];

/// The shortest serial number that can tell devices apart.
const SHORTEST_SERIAL: usize = 4;

/// What a key begins with that has the number which a device tells once it is open.
pub(super) const OWN_NUMBER: &str = "chip:";

/// A key, and how far it counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recognition {
    /// What the encoder is recognised by.
    pub key: EncoderKey,
    /// How far that counts.
    pub scope: KeyScope,
}

/// The key by the USB serial number; none where the device has none that tells it from its like.
pub fn by_serial(candidate: &Candidate) -> Option<Recognition> {
    let usb = candidate.usb.as_ref()?;
    let serial = usb.serial.as_deref().filter(|serial| tells_apart(serial))?;
    let mut key = format!("usb:{}:{serial}", usb.id);
    if usb.interface > 0 {
        key.push_str(&format!("#{:x}", usb.interface));
    }
    Some(Recognition {
        key: EncoderKey(key),
        scope: KeyScope::System,
    })
}

/// The key by the number that the open device tells.
pub fn by_own_number(driver: &str, identity: &EncoderIdentity) -> Option<Recognition> {
    let serial = identity.serial.as_deref()?;
    tells_apart(serial).then(|| Recognition {
        key: EncoderKey(format!("{OWN_NUMBER}{driver}:{serial}")),
        scope: KeyScope::System,
    })
}

/// The key by the socket, or where that is not known by the port's name.
pub fn by_place(candidate: &Candidate) -> Recognition {
    let key = match &candidate.socket {
        Some(socket) => format!("socket:{socket}"),
        None => format!("port:{}", candidate.port.display()),
    };
    Recognition {
        key: EncoderKey(key),
        scope: KeyScope::Agent,
    }
}

/// How far a key counts that the configuration lists an encoder by: `usb:`, `chip:` or `socket:` and what follows them as
/// [`by_serial`], [`by_own_number`] and [`by_place`] write it. None for a text that no device can be recognised by, and for a
/// port's name, which the configuration lists as one.
pub fn scope_of_listed(key: &str) -> Option<KeyScope> {
    let (kind, rest) = key.split_once(':')?;
    let is_id = |text: &str| {
        text.len() == 4
            && text
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut parts = rest.splitn(3, ':');
    let mut part = || parts.next().unwrap_or_default();
    match kind {
        "usb" => (is_id(part()) && is_id(part()) && !part().is_empty()).then_some(KeyScope::System),
        "chip" => (!part().is_empty() && !part().is_empty()).then_some(KeyScope::System),
        "socket" => (!rest.is_empty()).then_some(KeyScope::Agent),
        _ => None,
    }
}

/// The name of an encoder that nobody has named.
pub fn display_name(hostname: &str, identity: &EncoderIdentity, driver: &str) -> String {
    let model = identity.model.as_deref().unwrap_or(driver);
    if hostname.is_empty() {
        model.to_owned()
    } else {
        format!("{hostname} – {model}")
    }
}

fn tells_apart(serial: &str) -> bool {
    let lower = serial.to_lowercase();
    let mut characters = lower.chars();
    let first = characters.next();
    let varies = characters.any(|character| Some(character) != first);
    varies && lower.chars().count() >= SHORTEST_SERIAL && !PLACEHOLDERS.contains(&lower.as_str())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use encoder_protocols::wire::Abilities;

    use super::*;
    use crate::{
        discovery::candidate::{Access, UsbFacts},
        drivers::UsbId,
        transport::PortKind,
    };

    fn candidate(serial: Option<&str>, interface: u32, socket: Option<&str>) -> Candidate {
        Candidate {
            port: PathBuf::from("/dev/ttyUSB0"),
            kind: PortKind::Serial,
            usb: Some(UsbFacts {
                id: UsbId {
                    vendor: 0x0403,
                    product: 0x6001,
                },
                serial: serial.map(str::to_owned),
                manufacturer: None,
                product: None,
                interface,
            }),
            reports: None,
            socket: socket.map(str::to_owned),
            instance: String::new(),
            access: Access::Permitted,
        }
    }

    #[test]
    fn a_serial_number_goes_before_the_place() {
        let with = candidate(Some("A9XK01"), 0, Some("0000:00:14.0/2:1.0"));
        let found = by_serial(&with).unwrap();
        assert_eq!(found.key.0, "usb:0403:6001:A9XK01");
        assert_eq!(found.scope, KeyScope::System);
        assert_eq!(by_place(&with).key.0, "socket:0000:00:14.0/2:1.0");
        assert_eq!(by_place(&with).scope, KeyScope::Agent);
        let second = candidate(Some("A9XK01"), 0x100, None);
        assert_eq!(
            by_serial(&second).unwrap().key.0,
            "usb:0403:6001:A9XK01#100"
        );
        assert_eq!(by_place(&second).key.0, "port:/dev/ttyUSB0");
    }

    #[test]
    fn a_number_that_every_device_bears_is_none() {
        for serial in [
            "0001",
            "00000000",
            "0123456789ABCDEF",
            "7",
            "",
            "aaaa",
            "N/A",
        ] {
            assert_eq!(
                by_serial(&candidate(Some(serial), 0, None)),
                None,
                "{serial}"
            );
        }
        assert_eq!(by_serial(&candidate(None, 0, None)), None);
    }

    #[test]
    fn every_key_but_a_ports_can_be_listed_as_it_is_written() {
        let device = candidate(Some("A9:XK01"), 0x100, Some("0000:00:14.0/2:1.0"));
        let identity = EncoderIdentity {
            model: None,
            serial: Some("24B7F0".to_owned()),
            firmware: None,
            abilities: Abilities::default(),
        };
        for recognition in [
            by_serial(&device).unwrap(),
            by_own_number("msr605", &identity).unwrap(),
            by_place(&device),
        ] {
            let listed = scope_of_listed(&recognition.key.0);
            assert_eq!(listed, Some(recognition.scope), "{}", recognition.key);
        }
        let port = by_place(&candidate(None, 0, None)).key;
        for text in [
            port.0.as_str(),
            "",
            "usb",
            "usb:0403:6001",
            "usb:0403:6001:",
            "usb:0403:600I:A9XK01",
            "usb:1A86:7523:A9XK01",
            "chip:pn532",
            "chip::1",
            "socket:",
            "A9XK01",
        ] {
            assert_eq!(scope_of_listed(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_device_tells_is_its_drivers_own() {
        let mut identity = EncoderIdentity {
            model: Some("MSR605X".to_owned()),
            serial: Some("24B7F0".to_owned()),
            firmware: None,
            abilities: Abilities::default(),
        };
        let found = by_own_number("msr", &identity).unwrap();
        assert_eq!(found.key.0, "chip:msr:24B7F0");
        assert_eq!(display_name("desk-1", &identity, "msr"), "desk-1 – MSR605X");
        identity.model = None;
        identity.serial = None;
        assert_eq!(by_own_number("msr", &identity), None);
        assert_eq!(display_name("", &identity, "msr"), "msr");
    }
}
