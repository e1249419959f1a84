//! Typed commands and replies of the PN532 (NXP UM0701-02, chapter 7).
//!
//! A [`Request`] gives the payload of a host-to-chip frame, and reads the payload of the chip's answer to it.

mod exchange;
mod settings;
mod target;

use std::time::Duration;

use nom::{
    IResult, Parser,
    bytes::complete::take,
    combinator::{all_consuming, map, rest},
    multi::count,
    number::complete::u8 as byte,
};
use zeroize::Zeroizing;

pub use exchange::{CardData, Communicate, Exchange, Exchanged, MAX_EXCHANGE, crc_a};
pub use settings::{
    BaudRate, Diagnose, Diagnosis, FirmwareVersion, Parameters, PowerDown, RegisterValue,
    RfConfiguration, SamConfiguration, SamMode, SamOptions, WakeSources,
};
pub use target::{
    ActivatedTarget, AutoPoll, GeneralStatus, ListPassiveTarget, ListedTarget, PolledTarget,
    TargetCount,
};

use super::status::Status;

/// The largest wait for the answer to a command that needs nothing from a card.
const PLAIN_TIMEOUT: Duration = Duration::from_millis(250);
/// The first command after power-up waits for the chip's own start.
const SAM_TIMEOUT: Duration = Duration::from_secs(1);
/// A card's answer: the chip gives up first, at 51.2 ms as it comes up (UM0701-02, 7.3.1, fRetryTimeout).
const CARD_TIMEOUT: Duration = Duration::from_secs(1);
/// Memory and polling self tests.
const SELF_TEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A command to the chip.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// 00: a self test; answered by [`Reply::Diagnosis`].
    Diagnose(Diagnose),
    /// 02: which chip and firmware this is; answered by [`Reply::FirmwareVersion`].
    GetFirmwareVersion,
    /// 04: last error, field and targets; answered by [`Reply::GeneralStatus`].
    GetGeneralStatus,
    /// 06: reads the registers at these addresses; answered by [`Reply::Registers`].
    ReadRegister(Vec<u16>),
    /// 08: writes registers in order; answered by [`Reply::Done`].
    WriteRegister(Vec<RegisterValue>),
    /// 10: a new line speed. Answered by [`Reply::Done`] at the old one; the link then sends the ACK at which the chip
    /// changes over, and the host changes when it has left.
    SetSerialBaudRate(BaudRate),
    /// 12: what the chip does by itself; answered by [`Reply::Done`].
    SetParameters(Parameters),
    /// 14: how the security companion chip is used, needed once after power-up; answered by [`Reply::Done`].
    SamConfiguration(SamConfiguration),
    /// 16: sleep until one of the wake sources; answered by [`Reply::Status`].
    PowerDown(PowerDown),
    /// 32: field, timings, retries, analog settings; answered by [`Reply::Done`].
    RfConfiguration(RfConfiguration),
    /// 40: data to and from a listed target; answered by [`Reply::Exchanged`].
    InDataExchange(Exchange),
    /// 42: data over the air as it is; answered by [`Reply::Exchanged`].
    InCommunicateThru(Communicate),
    /// 44: deselects this target, or all for 0; answered by [`Reply::Status`].
    InDeselect(u8),
    /// 4A: looks for cards; answered by [`Reply::Targets`].
    InListPassiveTarget(ListPassiveTarget),
    /// 52: forgets this target, or all for 0; answered by [`Reply::Status`].
    InRelease(u8),
    /// 54: selects this target again; answered by [`Reply::Status`].
    InSelect(u8),
    /// 60: looks for targets of several kinds; answered by [`Reply::Polled`].
    InAutoPoll(AutoPoll),
}

/// What the chip answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// To Diagnose.
    Diagnosis(Diagnosis),
    /// To GetFirmwareVersion.
    FirmwareVersion(FirmwareVersion),
    /// To GetGeneralStatus.
    GeneralStatus(GeneralStatus),
    /// To ReadRegister: the values, in the order asked for.
    Registers(Vec<u8>),
    /// To commands whose answer carries nothing.
    Done,
    /// To commands that answer with a status alone.
    Status(Status),
    /// To InDataExchange and InCommunicateThru.
    Exchanged(Exchanged),
    /// To InListPassiveTarget: none, one or two cards.
    Targets(Vec<ListedTarget>),
    /// To InAutoPoll: none, one or two targets.
    Polled(Vec<PolledTarget>),
}

/// A frame does not answer the request.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReplyError {
    /// The answer to another command: a response's code is its command's plus one.
    #[error("expected response code {expected:#04x}, got {got:#04x}")]
    OtherCommand {
        /// The code of the answer to the request.
        expected: u8,
        /// The code that came.
        got: u8,
    },
    /// The frame carries no code at all.
    #[error("expected response code {expected:#04x}, got an empty frame")]
    Empty {
        /// The code of the answer to the request.
        expected: u8,
    },
    /// The code is right, but what follows is no answer to this command.
    #[error("expected a whole {command} response, got {length} bytes that are none")]
    Malformed {
        /// The command's name in the manual.
        command: &'static str,
        /// The bytes behind the response code.
        length: usize,
    },
}

impl Request {
    /// The command code, PD0.
    pub const fn code(&self) -> u8 {
        self.code_and_name().0
    }

    /// The command's name in the manual.
    pub const fn name(&self) -> &'static str {
        self.code_and_name().1
    }

    const fn code_and_name(&self) -> (u8, &'static str) {
        match self {
            Self::Diagnose(_) => (0x00, "Diagnose"),
            Self::GetFirmwareVersion => (0x02, "GetFirmwareVersion"),
            Self::GetGeneralStatus => (0x04, "GetGeneralStatus"),
            Self::ReadRegister(_) => (0x06, "ReadRegister"),
            Self::WriteRegister(_) => (0x08, "WriteRegister"),
            Self::SetSerialBaudRate(_) => (0x10, "SetSerialBaudRate"),
            Self::SetParameters(_) => (0x12, "SetParameters"),
            Self::SamConfiguration(_) => (0x14, "SAMConfiguration"),
            Self::PowerDown(_) => (0x16, "PowerDown"),
            Self::RfConfiguration(_) => (0x32, "RFConfiguration"),
            Self::InDataExchange(_) => (0x40, "InDataExchange"),
            Self::InCommunicateThru(_) => (0x42, "InCommunicateThru"),
            Self::InDeselect(_) => (0x44, "InDeselect"),
            Self::InListPassiveTarget(_) => (0x4A, "InListPassiveTarget"),
            Self::InRelease(_) => (0x52, "InRelease"),
            Self::InSelect(_) => (0x54, "InSelect"),
            Self::InAutoPoll(_) => (0x60, "InAutoPoll"),
        }
    }

    /// The frame payload: the code and the command's data. Wiped when it is dropped, since it may hold keys.
    pub fn payload(&self) -> Zeroizing<Vec<u8>> {
        let mut payload = Zeroizing::new(vec![self.code()]);
        match self {
            Self::Diagnose(test) => test.encode(&mut payload),
            Self::GetFirmwareVersion | Self::GetGeneralStatus => {}
            Self::ReadRegister(addresses) => {
                payload.extend(addresses.iter().flat_map(|address| address.to_be_bytes()));
            }
            Self::WriteRegister(values) => values
                .iter()
                .for_each(|register| register.encode(&mut payload)),
            Self::SetSerialBaudRate(rate) => payload.push(rate.code()),
            Self::SetParameters(parameters) => payload.push(parameters.flags()),
            Self::SamConfiguration(sam) => sam.encode(&mut payload),
            Self::PowerDown(power_down) => power_down.encode(&mut payload),
            Self::RfConfiguration(item) => item.encode(&mut payload),
            Self::InDataExchange(exchange) => exchange.encode(&mut payload),
            Self::InCommunicateThru(communicate) => payload.extend(communicate.data.as_bytes()),
            Self::InDeselect(target) | Self::InRelease(target) | Self::InSelect(target) => {
                payload.push(*target);
            }
            Self::InListPassiveTarget(list) => list.encode(&mut payload),
            Self::InAutoPoll(poll) => poll.encode(&mut payload),
        }
        payload
    }

    /// Whether the chip may be given this command twice when it is not known whether it got it: doing it twice with the
    /// same bytes leaves card and chip as doing it once.
    ///
    /// All commands but data exchanges are so; for those their card command decides, see [`Exchange::new`].
    pub fn is_repeatable(&self) -> bool {
        match self {
            Self::InDataExchange(exchange) => exchange.repeatable,
            Self::InCommunicateThru(communicate) => communicate.repeatable,
            // A second change of speed would come at a speed that the chip has left.
            Self::SetSerialBaudRate(_) => false,
            Self::Diagnose(_)
            | Self::GetFirmwareVersion
            | Self::GetGeneralStatus
            | Self::ReadRegister(_)
            | Self::WriteRegister(_)
            | Self::SetParameters(_)
            | Self::SamConfiguration(_)
            | Self::PowerDown(_)
            | Self::RfConfiguration(_)
            | Self::InDeselect(_)
            | Self::InListPassiveTarget(_)
            | Self::InRelease(_)
            | Self::InSelect(_)
            | Self::InAutoPoll(_) => true,
        }
    }

    /// How long the answer may stay out after the ACK. `activation_retries` is what the chip was last told as
    /// MxRtyPassiveActivation ([`RfConfiguration::MaxRetries`]), 255 if nothing.
    pub fn response_timeout(&self, activation_retries: u8) -> Duration {
        match self {
            Self::Diagnose(test) if test.is_quick() => PLAIN_TIMEOUT,
            Self::Diagnose(_) => SELF_TEST_TIMEOUT,
            Self::SamConfiguration(_) => SAM_TIMEOUT,
            Self::InDataExchange(_)
            | Self::InCommunicateThru(_)
            | Self::InDeselect(_)
            | Self::InSelect(_) => CARD_TIMEOUT,
            Self::InListPassiveTarget(_) => target::list_timeout(activation_retries),
            Self::InAutoPoll(poll) => poll.timeout(),
            Self::GetFirmwareVersion
            | Self::GetGeneralStatus
            | Self::ReadRegister(_)
            | Self::WriteRegister(_)
            | Self::SetSerialBaudRate(_)
            | Self::SetParameters(_)
            | Self::PowerDown(_)
            | Self::RfConfiguration(_)
            | Self::InRelease(_) => PLAIN_TIMEOUT,
        }
    }

    /// Reads the payload of a chip-to-host frame as the answer to this command.
    ///
    /// # Errors
    /// [`ReplyError`] when it answers another command or is not whole.
    pub fn parse_reply(&self, payload: &[u8]) -> Result<Reply, ReplyError> {
        let expected = self.code().wrapping_add(1);
        let Some((code, data)) = payload.split_first() else {
            return Err(ReplyError::Empty { expected });
        };
        if *code != expected {
            return Err(ReplyError::OtherCommand {
                expected,
                got: *code,
            });
        }
        self.reply_data(data)
            .map(|(_, reply)| reply)
            .map_err(|_| ReplyError::Malformed {
                command: self.name(),
                length: data.len(),
            })
    }

    fn reply_data<'a>(&self, data: &'a [u8]) -> IResult<&'a [u8], Reply> {
        match self {
            Self::Diagnose(test) => map(|data| test.diagnosis(data), Reply::Diagnosis).parse(data),
            Self::GetFirmwareVersion => {
                map(FirmwareVersion::parse, Reply::FirmwareVersion).parse(data)
            }
            Self::GetGeneralStatus => map(GeneralStatus::parse, Reply::GeneralStatus).parse(data),
            Self::ReadRegister(addresses) => {
                all_consuming(map(count(byte, addresses.len()), Reply::Registers)).parse(data)
            }
            Self::WriteRegister(_)
            | Self::SetSerialBaudRate(_)
            | Self::SetParameters(_)
            | Self::SamConfiguration(_)
            | Self::RfConfiguration(_) => {
                all_consuming(map(take(0_usize), |_| Reply::Done)).parse(data)
            }
            Self::PowerDown(_) | Self::InDeselect(_) | Self::InRelease(_) | Self::InSelect(_) => {
                all_consuming(map(status, Reply::Status)).parse(data)
            }
            Self::InDataExchange(_) | Self::InCommunicateThru(_) => {
                map((status, rest), |(status, data)| {
                    Reply::Exchanged(Exchanged::new(status, data))
                })
                .parse(data)
            }
            Self::InListPassiveTarget(_) => map(target::listed, Reply::Targets).parse(data),
            Self::InAutoPoll(_) => map(target::polled, Reply::Polled).parse(data),
        }
    }
}

fn status(input: &[u8]) -> IResult<&[u8], Status> {
    map(byte, Status::from_byte).parse(input)
}

fn flag(bit: u8, on: bool) -> u8 {
    u8::from(on) << bit
}

#[cfg(test)]
mod tests;
