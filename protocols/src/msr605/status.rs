//! The status byte of replies (MSR605 programmer's manual, list of status bytes) and what it means.

use crate::fault::HardwareFault;

/// The name under which faults of these devices are reported.
pub const DRIVER: &str = "msr605";

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Status {
    /// 30: done.
    Ok,
    /// 31: the stripe could not be read or written.
    ReadWrite,
    /// 32: the command's data are not as they must be.
    Format,
    /// 34: no such command.
    InvalidCommand,
    /// 39: the card was moved wrongly while it was written.
    Swipe,
    /// 41: a setting or an erasure failed.
    Failed,
    /// 33, 35 to 38, 3A to 3F: errors that the manual does not list.
    Unlisted(u8),
}

impl Status {
    /// The meaning of a status byte; none for a byte that is no status.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x30 => Self::Ok,
            0x31 => Self::ReadWrite,
            0x32 => Self::Format,
            0x34 => Self::InvalidCommand,
            0x39 => Self::Swipe,
            0x41 => Self::Failed,
            0x33 | 0x35..=0x38 | 0x3A..=0x3F => Self::Unlisted(byte),
            _ => return None,
        })
    }

    /// The byte as the device sends it.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ok => 0x30,
            Self::ReadWrite => 0x31,
            Self::Format => 0x32,
            Self::InvalidCommand => 0x34,
            Self::Swipe => 0x39,
            Self::Failed => 0x41,
            Self::Unlisted(byte) => byte,
        }
    }

    /// What it means, in words, and what it commonly comes from.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::ReadWrite => {
                "the stripe could not be read or written: a worn card, one of the other coercivity, or an encoder \
                 without its power supply"
            }
            Self::Format => "the device finds the command's data ill-formed",
            Self::InvalidCommand => "the device does not know the command",
            Self::Swipe => "the card was moved too fast, too slowly or unevenly",
            Self::Failed => "a setting or an erasure failed",
            Self::Unlisted(_) => "an error that the manual does not list",
        }
    }

    /// The status as a fault that names the device.
    pub fn fault(self) -> HardwareFault {
        fault(format!("{:02X}", self.byte()), self.meaning())
    }
}

pub(super) fn fault(code: String, meaning: &str) -> HardwareFault {
    HardwareFault {
        driver: DRIVER.to_owned(),
        code,
        meaning: meaning.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_comes_back_as_it_was_and_nothing_else_is_one() {
        for byte in 0..=u8::MAX {
            let status = Status::from_byte(byte);
            let expected = matches!(byte, 0x30..=0x3F | 0x41);
            assert_eq!(status.map(Status::byte), expected.then_some(byte));
        }
    }

    #[test]
    fn a_fault_names_device_code_and_meaning() {
        assert_eq!(
            Status::Swipe.fault().to_string(),
            "msr605 39: the card was moved too fast, too slowly or unevenly"
        );
        assert!(Status::ReadWrite.fault().meaning.contains("coercivity"));
        assert_eq!(Status::Unlisted(0x3A).fault().code, "3A");
    }
}
