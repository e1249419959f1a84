//! Commands to the chip itself: self tests, registers, line, power, RF settings.

use nom::{
    IResult, Parser,
    bytes::complete::tag,
    combinator::{all_consuming, map, rest},
    number::complete::u8 as byte,
    sequence::preceded,
};

use super::flag;

/// A self test (UM0701-02, 7.2.1). The endless echo test, 05, which has no answer, is left out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Diagnose {
    /// 00: the chip sends these bytes back; at most 262.
    Line(Vec<u8>),
    /// 01: checksum of the program memory.
    Rom,
    /// 02: write and read of the data memory.
    Ram,
    /// 04: polls for a FeliCa target.
    PollTarget {
        /// At 424 kbit/s instead of 212.
        at_424: bool,
    },
    /// 06: whether an ISO/IEC 14443-4 card is still in the field.
    Attention,
    /// 07: whether the antenna draws a current between two thresholds.
    Antenna {
        /// Both thresholds, as register 6105 (andet_control) takes them.
        threshold: u8,
    },
}

const LINE_TEST: u8 = 0x00;

impl Diagnose {
    pub(super) fn encode(&self, payload: &mut Vec<u8>) {
        match self {
            Self::Line(data) => {
                payload.push(LINE_TEST);
                payload.extend(data);
            }
            Self::Rom => payload.push(0x01),
            Self::Ram => payload.push(0x02),
            Self::PollTarget { at_424 } => payload.extend([0x04, if *at_424 { 2 } else { 1 }]),
            Self::Attention => payload.push(0x06),
            Self::Antenna { threshold } => payload.extend([0x07, *threshold]),
        }
    }

    pub(super) fn is_quick(&self) -> bool {
        matches!(self, Self::Line(_))
    }

    pub(super) fn diagnosis<'a>(&self, data: &'a [u8]) -> IResult<&'a [u8], Diagnosis> {
        match self {
            Self::Line(_) => preceded(
                tag(&[LINE_TEST][..]),
                map(rest, |echo: &[u8]| Diagnosis::Echo(echo.to_vec())),
            )
            .parse(data),
            Self::Rom
            | Self::Ram
            | Self::PollTarget { .. }
            | Self::Attention
            | Self::Antenna { .. } => all_consuming(map(byte, Diagnosis::Result)).parse(data),
        }
    }
}

/// The end of a self test.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Diagnosis {
    /// The line test's bytes as they came back.
    Echo(Vec<u8>),
    /// 0 for good; else what the test says: FF for bad memory, the failed polls, or a status code.
    Result(u8),
}

/// The answer to GetFirmwareVersion (UM0701-02, 7.2.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FirmwareVersion {
    /// [`FirmwareVersion::PN532`] for this chip.
    pub ic: u8,
    /// The firmware's version.
    pub version: u8,
    /// The firmware's revision.
    pub revision: u8,
    /// Bit 0: ISO/IEC 14443 A, bit 1: B, bit 2: ISO 18092.
    pub support: u8,
}

impl FirmwareVersion {
    /// The IC byte of a PN532.
    pub const PN532: u8 = 0x32;

    pub(super) fn parse(data: &[u8]) -> IResult<&[u8], Self> {
        all_consuming(map(
            (byte, byte, byte, byte),
            |(ic, version, revision, support)| Self {
                ic,
                version,
                revision,
                support,
            },
        ))
        .parse(data)
    }
}

/// A register and what to write to it (UM0701-02, 7.2.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RegisterValue {
    /// The register's address.
    pub address: u16,
    /// Its new value.
    pub value: u8,
}

impl RegisterValue {
    pub(super) fn encode(&self, payload: &mut Vec<u8>) {
        payload.extend(self.address.to_be_bytes());
        payload.push(self.value);
    }
}

/// A line speed (UM0701-02, 7.2.8).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum BaudRate {
    /// 9600 baud.
    B9600,
    /// 19200 baud.
    B19200,
    /// 38400 baud.
    B38400,
    /// 57600 baud.
    B57600,
    /// 115200 baud, the speed after power-up.
    B115200,
    /// 230400 baud.
    B230400,
    /// 460800 baud.
    B460800,
    /// 921600 baud.
    B921600,
    /// 1288000 baud.
    B1288000,
}

impl BaudRate {
    /// The byte that stands for this speed.
    pub const fn code(self) -> u8 {
        match self {
            Self::B9600 => 0x00,
            Self::B19200 => 0x01,
            Self::B38400 => 0x02,
            Self::B57600 => 0x03,
            Self::B115200 => 0x04,
            Self::B230400 => 0x05,
            Self::B460800 => 0x06,
            Self::B921600 => 0x07,
            Self::B1288000 => 0x08,
        }
    }

    /// Bits per second.
    pub const fn bits_per_second(self) -> u32 {
        match self {
            Self::B9600 => 9_600,
            Self::B19200 => 19_200,
            Self::B38400 => 38_400,
            Self::B57600 => 57_600,
            Self::B115200 => 115_200,
            Self::B230400 => 230_400,
            Self::B460800 => 460_800,
            Self::B921600 => 921_600,
            Self::B1288000 => 1_288_000,
        }
    }
}

/// What the chip does by itself (UM0701-02, 7.2.9).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Parameters {
    /// Bit 0: use the NAD in DEP frames.
    pub nad: bool,
    /// Bit 1: use the DID, or the CID of ISO/IEC 14443-4.
    pub did: bool,
    /// Bit 2: answer ATR_REQ as a target.
    pub automatic_atr_res: bool,
    /// Bit 4: send RATS to an ISO/IEC 14443-4 card when it is listed, so that its ATS is known.
    pub automatic_rats: bool,
    /// Bit 5: allow the emulation of an ISO/IEC 14443-4 card.
    pub picc_emulation: bool,
    /// Bit 6: frames without preamble and postamble.
    pub bare_frames: bool,
}

impl Parameters {
    /// What a card reader wants, and libnfc sends: RATS and ATR_RES by themselves, `14`.
    pub const READER: Self = Self {
        nad: false,
        did: false,
        automatic_atr_res: true,
        automatic_rats: true,
        picc_emulation: false,
        bare_frames: false,
    };

    pub(super) fn flags(self) -> u8 {
        flag(0, self.nad)
            | flag(1, self.did)
            | flag(2, self.automatic_atr_res)
            | flag(4, self.automatic_rats)
            | flag(5, self.picc_emulation)
            | flag(6, self.bare_frames)
    }
}

/// How the chip works with its security companion (UM0701-02, 7.2.10).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SamConfiguration {
    /// The mode.
    pub mode: SamMode,
    /// What follows the mode; may be left out.
    pub options: Option<SamOptions>,
}

impl SamConfiguration {
    /// Without a companion, in the short form that libnfc sends: what a reader needs once after power-up.
    pub const NORMAL: Self = Self {
        mode: SamMode::Normal,
        options: None,
    };

    pub(super) fn encode(&self, payload: &mut Vec<u8>) {
        payload.push(match self.mode {
            SamMode::Normal => 0x01,
            SamMode::VirtualCard => 0x02,
            SamMode::WiredCard => 0x03,
            SamMode::DualCard => 0x04,
        });
        if let Some(options) = self.options {
            payload.push(options.timeout);
            payload.extend(options.irq.map(u8::from));
        }
    }
}

/// The mode of SAMConfiguration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SamMode {
    /// The companion is not used.
    Normal,
    /// Chip and companion are one card to a reader outside.
    VirtualCard,
    /// The host reaches the companion.
    WiredCard,
    /// A reader outside sees two cards.
    DualCard,
}

/// The optional data of SAMConfiguration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SamOptions {
    /// How long a virtual card waits, in steps of 50 ms; 0 for ever. Other modes ignore it.
    pub timeout: u8,
    /// Whether the chip drives its P70_IRQ pin.
    pub irq: Option<bool>,
}

/// Sleep (UM0701-02, 7.2.11).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PowerDown {
    /// What wakes the chip.
    pub wake: WakeSources,
    /// Whether it pulls its IRQ pin when it wakes; may be left out.
    pub irq: Option<bool>,
}

impl PowerDown {
    pub(super) fn encode(&self, payload: &mut Vec<u8>) {
        payload.push(self.wake.0);
        payload.extend(self.irq.map(u8::from));
    }
}

/// What wakes the chip: any of the constants, joined with `|` on the inner byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WakeSources(pub u8);

impl WakeSources {
    /// Bit 0: pin INT0.
    pub const INT0: Self = Self(0x01);
    /// Bit 1: pin INT1.
    pub const INT1: Self = Self(0x02);
    /// Bit 3: an RF field.
    pub const RF: Self = Self(0x08);
    /// Bit 4: the serial line.
    pub const HSU: Self = Self(0x10);
    /// Bit 5: SPI.
    pub const SPI: Self = Self(0x20);
    /// Bit 6: pins P32 and P34.
    pub const GPIO: Self = Self(0x40);
    /// Bit 7: I2C.
    pub const I2C: Self = Self(0x80);
}

/// One item of RFConfiguration (UM0701-02, 7.3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RfConfiguration {
    /// 01: the RF field.
    Field {
        /// Bit 0: on.
        on: bool,
        /// Bit 1: look for a foreign field before switching on.
        avoid_collision: bool,
    },
    /// 02: timeouts, each n for 100 µs · 2^(n-1), 0 for none.
    Timings {
        /// For ATR_RES; 0B as the chip comes up.
        atr_res: u8,
        /// For a card's answer; 0A as the chip comes up, 51.2 ms.
        retry: u8,
    },
    /// 04: how often an exchange is tried again; 0 as the chip comes up.
    MaxRetriesCommunication(u8),
    /// 05: how often activations are tried again; 255 for ever, as the chip comes up.
    MaxRetries {
        /// For ATR_REQ.
        atr: u8,
        /// For PSL_REQ.
        psl: u8,
        /// For InListPassiveTarget. With 255 it answers only when a card comes.
        passive_activation: u8,
    },
    /// 0A: analog settings at 106 kbit/s type A.
    AnalogTypeA([u8; 11]),
    /// 0B: analog settings at 212 and 424 kbit/s.
    AnalogFelica([u8; 8]),
    /// 0C: analog settings for type B.
    AnalogTypeB([u8; 3]),
    /// 0D: analog settings for ISO/IEC 14443-4 at 212, 424 and 848 kbit/s.
    AnalogIsoDep([u8; 9]),
}

impl RfConfiguration {
    pub(super) fn encode(&self, payload: &mut Vec<u8>) {
        match self {
            Self::Field {
                on,
                avoid_collision,
            } => payload.extend([0x01, flag(0, *on) | flag(1, *avoid_collision)]),
            Self::Timings { atr_res, retry } => payload.extend([0x02, 0x00, *atr_res, *retry]),
            Self::MaxRetriesCommunication(retries) => payload.extend([0x04, *retries]),
            Self::MaxRetries {
                atr,
                psl,
                passive_activation,
            } => payload.extend([0x05, *atr, *psl, *passive_activation]),
            Self::AnalogTypeA(settings) => item(payload, 0x0A, settings),
            Self::AnalogFelica(settings) => item(payload, 0x0B, settings),
            Self::AnalogTypeB(settings) => item(payload, 0x0C, settings),
            Self::AnalogIsoDep(settings) => item(payload, 0x0D, settings),
        }
    }
}

fn item(payload: &mut Vec<u8>, number: u8, settings: &[u8]) {
    payload.push(number);
    payload.extend(settings);
}
