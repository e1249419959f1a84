//! The status byte of PN532 replies (NXP UM0701-02, section 7.1, error handling) and what it means.

use crate::fault::HardwareFault;

/// The name under which faults of this chip are reported.
pub const DRIVER: &str = "pn532";

const ERROR_BITS: u8 = 0x3F;
const MORE_INFORMATION: u8 = 0x40;
const NAD_PRESENT: u8 = 0x80;

/// A status byte: the first byte of the replies to InDataExchange, InCommunicateThru, InDeselect, InRelease, InSelect and
/// PowerDown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status {
    /// Bits 0 to 5: what came of the command.
    pub code: StatusCode,
    /// Bit 6, MI: the target has more data; ask for it with an empty InDataExchange.
    pub more: bool,
    /// Bit 7: a node address (NAD) is present.
    pub nad: bool,
}

impl Status {
    /// The meaning of a status byte; every byte has one.
    pub const fn from_byte(byte: u8) -> Self {
        Self {
            code: StatusCode::from_bits(byte & ERROR_BITS),
            more: byte & MORE_INFORMATION != 0,
            nad: byte & NAD_PRESENT != 0,
        }
    }

    /// Whether the command was carried out.
    pub fn is_success(&self) -> bool {
        self.code == StatusCode::Success
    }
}

macro_rules! status_codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        /// The error code of a status byte.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum StatusCode {
            $(
                #[doc = concat!("`", stringify!($code), "`: ", $meaning, ".")]
                $name,
            )*
            /// A code that the manual's table does not list.
            Unlisted(u8),
        }

        impl StatusCode {
            /// Every code of the manual's table.
            pub const TABLE: &[Self] = &[$(Self::$name),*];

            const fn from_bits(bits: u8) -> Self {
                match bits {
                    $($code => Self::$name,)*
                    unlisted => Self::Unlisted(unlisted),
                }
            }

            /// The code as the chip sends it, without the MI and NAD bits.
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Unlisted(code) => code,
                }
            }

            /// The code's meaning in words.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                    Self::Unlisted(_) => "a code that the manual does not list",
                }
            }
        }
    };
}

status_codes! {
    Success = 0x00, "success";
    Timeout = 0x01, "the card did not answer in time";
    Crc = 0x02, "CRC error in the card's answer";
    Parity = 0x03, "parity error in the card's answer";
    BitCount = 0x04, "wrong bit count during anticollision";
    MifareFraming = 0x05, "framing error during a MIFARE operation";
    BitCollision = 0x06, "abnormal bit collision: more than one card answers";
    BufferTooSmall = 0x07, "communication buffer too small";
    RfBufferOverflow = 0x09, "RF buffer overflow";
    FieldNotSwitchedOn = 0x0A, "the peer did not switch its RF field on in time";
    RfProtocol = 0x0B, "RF protocol error";
    Overheated = 0x0D, "overheated: the antenna drivers are switched off";
    InternalBufferOverflow = 0x0E, "internal buffer overflow";
    InvalidParameter = 0x10, "invalid parameter";
    DepUnsupportedCommand = 0x12, "the target does not support the DEP command";
    DataFormat = 0x13, "data format does not match the specification";
    AuthenticationFailed = 0x14, "authentication failed";
    UidCheckByte = 0x23, "UID check byte is wrong";
    DepInvalidState = 0x25, "invalid device state for DEP";
    NotAllowed = 0x26, "operation not allowed in this configuration";
    WrongContext = 0x27, "command not acceptable in the current context";
    ReleasedByInitiator = 0x29, "released by its initiator";
    CardExchanged = 0x2A, "card id does not match: the card was exchanged";
    CardDisappeared = 0x2B, "the card has disappeared";
    Nfcid3Mismatch = 0x2C, "NFCID3 of initiator and target do not match";
    OverCurrent = 0x2D, "over-current detected";
    NadMissing = 0x2E, "NAD missing in a DEP frame";
}

impl StatusCode {
    /// The code as a fault that names the chip; for success too, which the caller reports as no fault.
    pub fn fault(self) -> HardwareFault {
        fault(format!("{:#04x}", self.code()), self.meaning())
    }
}

/// What the chip's syntax error frame means as a fault: code 0x7f, its frame identifier.
pub fn syntax_error_fault() -> HardwareFault {
    fault(
        "0x7f".to_owned(),
        "the chip does not understand the command",
    )
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
    fn every_status_byte_comes_back_as_it_was() {
        for byte in 0..=u8::MAX {
            let status = Status::from_byte(byte);
            let bits = u8::from(status.more) << 6 | u8::from(status.nad) << 7;
            assert_eq!(status.code.code() | bits, byte);
            assert_eq!(status.is_success(), byte & 0x3F == 0);
        }
    }

    #[test]
    fn the_table_lists_each_code_once_with_a_meaning_of_its_own() {
        let mut codes: Vec<_> = StatusCode::TABLE.iter().map(|code| code.code()).collect();
        let mut meanings: Vec<_> = StatusCode::TABLE
            .iter()
            .map(|code| code.meaning())
            .collect();
        assert_eq!(codes.len(), 27);
        codes.dedup();
        meanings.sort_unstable();
        meanings.dedup();
        assert_eq!((codes.len(), meanings.len()), (27, 27));
    }

    #[test]
    fn a_fault_names_chip_code_and_meaning() {
        assert_eq!(
            Status::from_byte(0x14).code.fault().to_string(),
            "pn532 0x14: authentication failed"
        );
        assert_eq!(
            Status::from_byte(0x54),
            Status {
                code: StatusCode::AuthenticationFailed,
                more: true,
                nad: false
            }
        );
        assert_eq!(StatusCode::from_bits(0x08), StatusCode::Unlisted(0x08));
        assert_eq!(StatusCode::Unlisted(0x08).fault().code, "0x08");
        assert_eq!(
            syntax_error_fault().to_string(),
            "pn532 0x7f: the chip does not understand the command"
        );
    }
}
