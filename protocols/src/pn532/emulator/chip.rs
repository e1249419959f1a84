//! The chip's commands (UM0701-02, chapter 7), apart from the exchange with a card.

use std::collections::BTreeMap;

use super::{
    field::Field,
    target::{Search, Target},
};

// Commands (UM0701-02, table 11).
const DIAGNOSE: u8 = 0x00;
const GET_FIRMWARE_VERSION: u8 = 0x02;
const GET_GENERAL_STATUS: u8 = 0x04;
const READ_REGISTER: u8 = 0x06;
const WRITE_REGISTER: u8 = 0x08;
const SET_SERIAL_BAUD_RATE: u8 = 0x10;
const SET_PARAMETERS: u8 = 0x12;
const SAM_CONFIGURATION: u8 = 0x14;
const POWER_DOWN: u8 = 0x16;
const RF_CONFIGURATION: u8 = 0x32;
const IN_DATA_EXCHANGE: u8 = 0x40;
const IN_COMMUNICATE_THRU: u8 = 0x42;
const IN_DESELECT: u8 = 0x44;
pub(super) const IN_LIST_PASSIVE_TARGET: u8 = 0x4A;
const IN_RELEASE: u8 = 0x52;
const IN_SELECT: u8 = 0x54;
pub(super) const IN_AUTO_POLL: u8 = 0x60;

/// IC, version, revision, support: a PN532 v1.6 that reads ISO/IEC 14443 A and B and ISO/IEC 18092.
const FIRMWARE_VERSION: [u8; 4] = [0x32, 0x01, 0x06, 0x07];
/// The rates of SetSerialBaudRate, by their code (section 7.2.7).
const BAUD_RATES: [u32; 9] = [
    9_600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600, 1_288_000,
];

/// SetParameters after power-up: automatic ATR_RES and automatic RATS (section 7.2.9).
const POWER_UP_PARAMETERS: u8 = 0x14;
pub(super) const AUTOMATIC_RATS: u8 = 0x10;
const NO_PREAMBLE: u8 = 0x40;
/// A count of tries that means: for ever.
const FOR_EVER: u8 = 0xFF;

/// CIU_TxMode; bit 7: the chip appends the CRC (section 8.6.23.18).
pub(super) const TX_MODE: u16 = 0x6302;
/// CIU_RxMode; bit 7: the chip checks and removes the CRC (section 8.6.23.19).
pub(super) const RX_MODE: u16 = 0x6303;
pub(super) const CRC_ENABLED: u8 = 0x80;

// Status codes (section 7.1).
pub(super) const OK: u8 = 0x00;
pub(super) const TIMEOUT: u8 = 0x01;
pub(super) const CRC_ERROR: u8 = 0x02;
pub(super) const BUFFER_OVERFLOW: u8 = 0x09;
pub(super) const WRONG_FORMAT: u8 = 0x13;
pub(super) const AUTHENTICATION_FAILED: u8 = 0x14;
pub(super) const WRONG_CONTEXT: u8 = 0x27;

/// What a command led to.
pub(super) enum Done {
    /// Response code and data.
    Response(Vec<u8>),
    /// The same; afterwards, when the host has acknowledged it, another rate.
    ResponseThenBaud(Vec<u8>, u32),
    /// The same; afterwards the chip sleeps.
    ResponseThenSleep(Vec<u8>),
    /// The command is unknown or ill-formed.
    SyntaxError,
    /// No response at all.
    Nothing,
}

#[derive(Clone, Debug)]
pub(super) struct Chip {
    pub(super) field: Field,
    pub(super) registers: BTreeMap<u16, u8>,
    pub(super) parameters: u8,
    /// MxRtyPassiveActivation.
    passive_retries: u8,
    pub(super) carrier: bool,
    pub(super) targets: Vec<Target>,
    /// The number of the target that is selected, from 1.
    pub(super) current: Option<u8>,
    pub(super) last_error: u8,
    /// What the host has sent so far of a long command.
    pub(super) chained: Vec<u8>,
}

impl Chip {
    pub(super) fn new() -> Self {
        Self::with_field(Field::default())
    }

    pub(super) fn with_field(field: Field) -> Self {
        Self {
            field,
            registers: BTreeMap::new(),
            parameters: POWER_UP_PARAMETERS,
            passive_retries: FOR_EVER,
            carrier: false,
            targets: Vec::new(),
            current: None,
            last_error: OK,
            chained: Vec::new(),
        }
    }

    pub(super) fn field(&self) -> &Field {
        &self.field
    }

    pub(super) fn field_mut(&mut self) -> &mut Field {
        &mut self.field
    }

    pub(super) fn leaves_out_preamble(&self) -> bool {
        self.parameters & NO_PREAMBLE != 0
    }

    /// Whether the command waits until a card is found.
    pub(super) fn looks_for_cards(payload: &[u8]) -> bool {
        matches!(
            payload.first(),
            Some(&(IN_LIST_PASSIVE_TARGET | IN_AUTO_POLL))
        )
    }

    /// How many times the command looks for a card; `None` for ever.
    pub(super) fn patience(&self, payload: &[u8]) -> Option<u32> {
        match *payload {
            [IN_LIST_PASSIVE_TARGET, ..] => {
                let retries = self.passive_retries;
                (retries != FOR_EVER).then(|| u32::from(retries) + 1)
            }
            [IN_AUTO_POLL, FOR_EVER, ..] => None,
            [IN_AUTO_POLL, polls, _, ref types @ ..] => {
                let types = u32::try_from(types.len()).unwrap_or(u32::MAX);
                Some(u32::from(polls).saturating_mul(types))
            }
            _ => Some(0),
        }
    }

    /// Whether a command that looks for cards ends at once: it finds one, or is ill-formed.
    pub(super) fn would_find(&self, payload: &[u8]) -> bool {
        match Search::parse(payload) {
            Some(search) => !self.found(&search).is_empty(),
            None => true,
        }
    }

    pub(super) fn execute(&mut self, payload: &[u8]) -> Done {
        let Some((code, data)) = payload.split_first() else {
            return Done::SyntaxError;
        };
        let reply = match (*code, data) {
            (DIAGNOSE, _) => return self.diagnose(data),
            (GET_FIRMWARE_VERSION, []) => Some(FIRMWARE_VERSION.to_vec()),
            (GET_GENERAL_STATUS, []) => Some(self.general_status()),
            (READ_REGISTER, _) => self.read_registers(data),
            (WRITE_REGISTER, _) => self.write_registers(data),
            (SET_SERIAL_BAUD_RATE, [rate]) => return set_baud_rate(*rate),
            (SET_PARAMETERS, [flags]) => {
                self.parameters = *flags;
                Some(vec![])
            }
            (SAM_CONFIGURATION, [1..=4] | [1..=4, _] | [1..=4, _, _]) => Some(vec![]),
            (POWER_DOWN, [_] | [_, _]) => {
                self.switch_off();
                return Done::ResponseThenSleep(vec![POWER_DOWN + 1, OK]);
            }
            (RF_CONFIGURATION, [item, values @ ..]) => self.configure_rf(*item, values),
            (IN_DATA_EXCHANGE, [tg, data @ ..]) => Some(self.data_exchange(*tg, data)),
            (IN_COMMUNICATE_THRU, [_, ..]) => Some(self.communicate_thru(data)),
            (IN_DESELECT, [tg]) => Some(vec![self.deselect(*tg, false)]),
            (IN_RELEASE, [tg]) => Some(vec![self.deselect(*tg, true)]),
            (IN_SELECT, [tg]) => Some(vec![self.select(*tg)]),
            (IN_LIST_PASSIVE_TARGET | IN_AUTO_POLL, _) => self.search(payload),
            _ => None,
        };
        match reply {
            Some(mut reply) => {
                reply.insert(0, code.wrapping_add(1));
                Done::Response(reply)
            }
            None => Done::SyntaxError,
        }
    }

    /// Section 7.2.1. ROM, RAM and antenna are always sound; the attention request asks for the current card.
    fn diagnose(&mut self, data: &[u8]) -> Done {
        let reply = match *data {
            [0x00, ..] => data.to_vec(),
            [0x01 | 0x02] | [0x07, _] => vec![OK],
            // No FeliCa card answers any of the 128 polls.
            [0x04, _] => vec![0x80],
            // The echo test has no response: the chip would echo on the air from now on.
            [0x05, _, _, _] => return Done::Nothing,
            [0x06] => {
                let card = self.current_target().map(|target| target.card);
                let there = card.and_then(|card| self.field.by_id(card)).is_some();
                vec![if there { OK } else { TIMEOUT }]
            }
            _ => return Done::SyntaxError,
        };
        Done::Response([&[DIAGNOSE + 1], &reply[..]].concat())
    }

    /// Section 7.2.3: last error, field, targets with their rates and modulation, state of the SAM.
    fn general_status(&self) -> Vec<u8> {
        let count = u8::try_from(self.targets.len()).unwrap_or(u8::MAX);
        let mut status = vec![self.last_error, u8::from(self.carrier), count];
        for number in 1..=count {
            status.extend([number, 0x00, 0x00, 0x00]);
        }
        status.push(0x80);
        status
    }

    pub(super) fn register(&self, address: u16) -> u8 {
        self.registers.get(&address).copied().unwrap_or(0)
    }

    fn read_registers(&self, data: &[u8]) -> Option<Vec<u8>> {
        let (addresses, rest) = data.as_chunks();
        (rest.is_empty() && !addresses.is_empty()).then(|| {
            let addresses = addresses.iter().copied().map(u16::from_be_bytes);
            addresses.map(|address| self.register(address)).collect()
        })
    }

    fn write_registers(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let (writes, rest) = data.as_chunks();
        if !rest.is_empty() || writes.is_empty() {
            return None;
        }
        for [high, low, value] in writes {
            let address = u16::from_be_bytes([*high, *low]);
            self.registers.insert(address, *value);
        }
        Some(vec![])
    }

    /// Section 7.3.1; the analog settings of the items 0A to 0D are taken and change nothing here.
    fn configure_rf(&mut self, item: u8, values: &[u8]) -> Option<Vec<u8>> {
        match (item, values) {
            (0x01, [field]) => {
                if field & 0x01 == 0 {
                    self.switch_off();
                }
                self.carrier = field & 0x01 != 0;
            }
            (0x05, [_, _, passive]) => self.passive_retries = *passive,
            (0x02, [_, _, _])
            | (0x04, [_])
            | (0x0A, [_, _, _, _, _, _, _, _, _, _, _])
            | (0x0B, [_, _, _, _, _, _, _, _])
            | (0x0C, [_, _, _])
            | (0x0D, [_, _, _, _, _, _, _, _, _]) => {}
            _ => return None,
        }
        Some(vec![])
    }

    /// The field goes off: cards lose their power, and targets are gone.
    fn switch_off(&mut self) {
        self.carrier = false;
        self.targets.clear();
        self.current = None;
        self.field.switch_off();
    }
}

fn set_baud_rate(code: u8) -> Done {
    match BAUD_RATES.get(usize::from(code)) {
        Some(baud) => Done::ResponseThenBaud(vec![SET_SERIAL_BAUD_RATE + 1], *baud),
        None => Done::SyntaxError,
    }
}
