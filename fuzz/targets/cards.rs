//! The card procedures over virtual cards whose exchanges fail, over readers that answer anything, and the key record.

use std::{
    collections::BTreeSet,
    pin::pin,
    task::{Context, Poll, Waker},
};

use encoder_protocols::{
    card::{
        AccessBits, CandidateKey, CardContents, CardDescription, CardError, CardLink,
        CardLinkError, Technology, Uid, WriteRules,
        identify::{Identified, Question, Selection, identify},
        key_record::{
            KeyRecord, KeyRecordError, Layout, SiteKey, Type2Password, VersionedSiteKey, decode,
        },
        prepare, read, verify,
        virtual_card::{CardAnswer, CardKind, TornState, VirtualCard},
        write, write_estimate,
    },
    fault::HardwareFault,
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{images, input::Input};

/// More than any procedure needs on the largest card, with every repetition.
const MOST_EXCHANGES: usize = 20_000;

pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(4) {
        0 | 1 => virtual_card(&mut input),
        2 => any_card(&mut input),
        _ => {
            record(&mut input);
            selection(&mut input);
        }
    }
}

/// Nothing changes before a write; one that ends well can be verified; one that says `unchanged` is.
fn virtual_card(input: &mut Input<'_>) {
    let kind = *input.pick(&CardKind::ALL);
    let mut card = VirtualCard::new(kind, None).unwrap();
    let mut memory = card.memory().to_vec();
    for _ in 0..input.below(4) {
        if memory.is_empty() {
            break;
        }
        let at = usize::from(u16::from_le_bytes(input.array())) % memory.len();
        memory[at] = input.byte();
    }
    card.load(&memory).unwrap();
    let classic = card.kind().name().starts_with("classic") != (input.below(16) == 0);
    let image = images::image(input, classic);
    let rules = WriteRules {
        allow_irreversible: input.flag(),
    };
    let estimate = write_estimate(&image);
    assert!(
        estimate
            .duration(9_600, 10, std::time::Duration::from_millis(10))
            .as_secs()
            < 3_600
    );
    let before = card.memory().to_vec();
    let mut reader = Reader::new(card, input);
    let prepared = run_to_end(prepare(&mut reader, &image, rules));
    assert_eq!(reader.card.memory(), before, "prepare changed the card");
    if let Ok(prepared) = prepared {
        match run_to_end(write(&mut reader, &prepared, &mut |_| {})) {
            Ok(()) => {
                let mut again = reader.again();
                let verified = run_to_end(verify(&mut again, &image));
                // Where wrong passwords lock the card for ever, only who has leave tries them all.
                let spared = rules.allow_irreversible
                    && matches!(verified, Err(CardError::TriesLimited { .. }));
                assert!(
                    verified.is_ok() || spared,
                    "what was written is not there: {verified:?}"
                );
                reader = again;
            }
            Err(error) => {
                let _ = error.job_error();
                let unchanged = reader.card.memory() == before;
                assert!(error.changed || unchanged, "it says unchanged");
            }
        }
    }
    let mut reader = reader.again();
    let there = reader.card.memory().to_vec();
    let plan = images::plan(input, classic);
    if let Ok(CardContents::MifareClassic { blocks, .. }) = run_to_end(read(&mut reader, &plan)) {
        for block in blocks {
            let at = usize::from(block.block) * 16;
            assert_eq!(there[at..at + 16], block.data, "block {}", block.block);
        }
    }
    let _ = run_to_end(verify(&mut reader, &image));
    assert_eq!(reader.card.memory(), there, "reading changed the card");
}

/// A card that answers anything: every procedure ends, and none but `write` writes.
fn any_card(input: &mut Input<'_>) {
    let technologies = [
        Technology::MifareClassicMini,
        Technology::MifareClassic1k,
        Technology::MifareClassic4k,
        Technology::Ultralight,
        Technology::UltralightC,
        Technology::UltralightEv1Ul11,
        Technology::UltralightEv1Ul21,
        Technology::Ntag213,
        Technology::Ntag216,
        Technology::Desfire,
    ];
    let technology = *input.pick(&technologies);
    let description = CardDescription {
        technology,
        uid: input.flag().then(|| input.uid()),
        capacity: technology.capacity(),
    };
    let classic = description.technology.to_string().contains("Classic");
    let image = images::image(input, classic);
    let plan = images::plan(input, classic);
    let rules = WriteRules {
        allow_irreversible: input.flag(),
    };
    let mut card = AnyCard {
        description,
        input,
        exchanges: 0,
        written: BTreeSet::new(),
    };
    let _ = run_to_end(read(&mut card, &plan));
    let _ = run_to_end(verify(&mut card, &image));
    let prepared = run_to_end(prepare(&mut card, &image, rules));
    assert!(card.written.is_empty(), "it wrote before it was to");
    if let Ok(prepared) = prepared
        && let Err(error) = run_to_end(write(&mut card, &prepared, &mut |_| {}))
    {
        // Where the first thing written is what the card, by its own word, forbids to write, nothing was changed.
        let is_forbidden = matches!(error.error, CardError::ReadOnly { .. });
        assert!(
            error.changed || card.written.is_empty() || (is_forbidden && card.written.len() == 1),
            "it wrote, and says unchanged"
        );
    }
}

/// A record is read as it was written, and any other bytes are none.
fn record(input: &mut Input<'_>) {
    let uid = input.uid();
    let keys = [
        VersionedSiteKey {
            version: input.byte(),
            key: SiteKey::new([1; 32]),
        },
        VersionedSiteKey {
            version: input.byte(),
            key: SiteKey::new([2; 32]),
        },
    ];
    let near: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let time = |input: &mut Input<'_>| input.time(near);
    let written = KeyRecord {
        credential_id: Uuid::from_bytes(input.array()),
        issued_at: time(input),
        starts_at: input.flag().then(|| time(input)),
        ends_at: input.flag().then(|| time(input)),
        entrances: (0..input.below(30))
            .map(|_| u16::from(input.byte()))
            .collect(),
    };
    if let Ok(bytes) = written.encode(&uid, &keys[0]) {
        assert_eq!(written.check(), Ok(()));
        let back = decode(&uid, &bytes, &keys[..1]).unwrap();
        assert_eq!(back.encode(&uid, &keys[0]), Ok(bytes.clone()));
        assert_eq!(back.credential_id, written.credential_id);
        let mut other = bytes;
        let at = usize::from(input.byte()) % other.len();
        other[at] ^= 1 << input.below(8);
        assert!(
            decode(&uid, &other, &keys).is_err(),
            "a changed record counts"
        );
    }
    let layout = Layout {
        classic_sector: input.byte(),
        type2_password: *input.pick(&[Type2Password::Leave, Type2Password::ProtectWriting]),
        ..Layout::default()
    };
    let kind = *input.pick(&CardKind::ALL);
    let card = CardDescription::new(kind.technology(), uid);
    let _ = layout.image_for(&card, &written, &keys);
    let plan = layout.read_plan_for(&card, &keys);
    drop(plan);
    let bytes = input.rest();
    let contents = CardContents::Type2 {
        first_page: bytes.first().copied().unwrap_or(4),
        data: bytes.to_vec(),
    };
    let _ = layout.record_bytes_from(&contents, &card);
    match decode(&uid, bytes, &keys) {
        Ok(_) => panic!("bytes that nobody signed are a record"),
        Err(KeyRecordError::Malformed) => panic!("authentic, and yet nobody signed it"),
        Err(_) => {}
    }
}

/// Every selection and every answer has a meaning.
fn selection(input: &mut Input<'_>) {
    let atqa = input.array();
    let sak = input.byte();
    let uid = input.uid();
    let ats = input.bytes(20);
    let selection = Selection {
        atqa,
        sak,
        uid,
        ats,
    };
    let mut identified = identify(&selection);
    for _ in 0..3 {
        let Identified::Ask(question) = identified else {
            break;
        };
        let answer = input.flag().then(|| input.bytes(12));
        identified = question.answered(answer);
    }
    assert!(matches!(identified, Identified::As(_)), "asks for ever");
    let _ = Question::Version.answered(Some(ats));
    let bits = input.array();
    if let Ok(access) = AccessBits::decode(bits) {
        assert_eq!(access.encode(), bits);
    }
    assert_eq!(uid.to_string().parse(), Ok(uid));
    if let Ok(uid) = Uid::new(ats) {
        assert_eq!(uid.to_string().parse(), Ok(uid));
    }
}

/// A reader with a virtual card, whose exchanges fail as the input says.
struct Reader {
    card: VirtualCard,
    troubles: Vec<(usize, u8)>,
    exchanges: usize,
    lifted: bool,
}

impl Reader {
    fn new(mut card: VirtualCard, input: &mut Input<'_>) -> Self {
        card.select();
        if input.below(8) == 0 {
            let states = [TornState::Old, TornState::New, TornState::Mixed];
            card.tear_at_write(u64::from(input.below(8)), *input.pick(&states));
        }
        let count = input.below(4);
        let troubles = (0..count).map(|_| (usize::from(input.byte()), input.below(5)));
        Self {
            troubles: troubles.collect(),
            card,
            exchanges: 0,
            lifted: false,
        }
    }

    /// The same card, put down again on a reader that works.
    fn again(mut self) -> Self {
        self.card.cancel_tear();
        self.card.power_off();
        self.card.select();
        Self {
            card: self.card,
            troubles: Vec::new(),
            exchanges: 0,
            lifted: false,
        }
    }

    fn run<T>(
        &mut self,
        work: impl FnOnce(&mut VirtualCard) -> Result<T, CardAnswer>,
    ) -> Result<T, CardLinkError> {
        let now = self.exchanges;
        self.exchanges += 1;
        assert!(now < MOST_EXCHANGES, "it never ends");
        let trouble = self.troubles.iter().find(|(at, _)| *at == now);
        let trouble = trouble.map(|(_, what)| *what);
        match trouble {
            Some(0) => self.lifted = true,
            Some(1) => return Err(CardLinkError::Disturbed(fault())),
            Some(2) => return Err(CardLinkError::SeveralCards),
            _ => {}
        }
        if self.lifted {
            return Err(CardLinkError::CardGone(fault()));
        }
        let answer = work(&mut self.card);
        if self.card.take_torn() {
            self.lifted = true;
        }
        if trouble == Some(3) {
            return Err(CardLinkError::Disturbed(fault()));
        }
        answer.map_err(|answer| match answer {
            CardAnswer::Nak(_) if trouble != Some(4) => CardLinkError::Refused(fault()),
            _ => CardLinkError::CardGone(fault()),
        })
    }

    fn acknowledged(&mut self, command: &[u8]) -> Result<(), CardLinkError> {
        self.run(|card| match card.exchange(command) {
            CardAnswer::Ack => Ok(()),
            other => Err(other),
        })
    }
}

impl CardLink for Reader {
    fn card(&self) -> CardDescription {
        CardDescription::new(self.card.kind().technology(), self.card.uid())
    }

    async fn reselect(&mut self) -> Result<(), CardLinkError> {
        self.run(|card| {
            card.select();
            Ok(())
        })
    }

    async fn authenticate(&mut self, block: u8, key: &CandidateKey) -> Result<(), CardLinkError> {
        let uid = self.card.uid();
        let last = uid.as_bytes().last_chunk::<4>().copied().unwrap();
        let opened = self.run(|card| {
            let opened = card.authenticate(key.slot, block, &key.key.0, &last);
            opened.then_some(()).ok_or(CardAnswer::Nak(0))
        });
        opened.map_err(|error| match error {
            CardLinkError::Refused(fault) => CardLinkError::AuthenticationRefused(fault),
            other => other,
        })
    }

    async fn read(&mut self, address: u8) -> Result<[u8; 16], CardLinkError> {
        let data = self.run(|card| match card.exchange(&[0x30, address]) {
            CardAnswer::Data(data) => Ok(data),
            other => Err(other),
        })?;
        data.try_into()
            .map_err(|_| CardLinkError::Disturbed(fault()))
    }

    async fn write_block(&mut self, block: u8, data: &[u8; 16]) -> Result<(), CardLinkError> {
        self.acknowledged(&[&[0xA0, block], &data[..]].concat())
    }

    async fn write_page(&mut self, page: u8, data: &[u8; 4]) -> Result<(), CardLinkError> {
        self.acknowledged(&[&[0xA2, page], &data[..]].concat())
    }

    async fn transceive(&mut self, command: &[u8]) -> Result<Vec<u8>, CardLinkError> {
        self.run(|card| match card.exchange(command) {
            CardAnswer::Data(data) => Ok(data),
            other => Err(other),
        })
    }
}

/// A reader whose every answer the input gives.
struct AnyCard<'a, 'b> {
    description: CardDescription,
    input: &'a mut Input<'b>,
    exchanges: usize,
    /// The blocks and pages that were written, as they were named.
    written: BTreeSet<u8>,
}

impl AnyCard<'_, '_> {
    fn write(&mut self, address: u8) -> Result<(), CardLinkError> {
        self.written.insert(address);
        self.answer()
    }

    fn answer(&mut self) -> Result<(), CardLinkError> {
        self.exchanges += 1;
        assert!(self.exchanges < MOST_EXCHANGES, "it never ends");
        match self.input.below(32) {
            0 => Err(CardLinkError::CardGone(fault())),
            1 => Err(CardLinkError::CardSwapped),
            2 => Err(CardLinkError::SeveralCards),
            3 | 4 => Err(CardLinkError::AuthenticationRefused(fault())),
            5 | 6 => Err(CardLinkError::Refused(fault())),
            7 | 8 => Err(CardLinkError::Disturbed(fault())),
            9 => Err(CardLinkError::Faulty(fault())),
            10 => Err(CardLinkError::Silent(self.input.number())),
            11 => Err(CardLinkError::PortGone("gone".to_owned())),
            12 => Err(CardLinkError::Cancelled),
            _ => Ok(()),
        }
    }
}

impl CardLink for AnyCard<'_, '_> {
    fn card(&self) -> CardDescription {
        self.description
    }

    async fn reselect(&mut self) -> Result<(), CardLinkError> {
        self.answer()
    }

    async fn authenticate(&mut self, _: u8, _: &CandidateKey) -> Result<(), CardLinkError> {
        self.answer()
    }

    async fn read(&mut self, _: u8) -> Result<[u8; 16], CardLinkError> {
        self.answer()?;
        Ok(self.input.array())
    }

    async fn write_block(&mut self, block: u8, _: &[u8; 16]) -> Result<(), CardLinkError> {
        self.write(block)
    }

    async fn write_page(&mut self, page: u8, _: &[u8; 4]) -> Result<(), CardLinkError> {
        self.write(page)
    }

    async fn transceive(&mut self, _: &[u8]) -> Result<Vec<u8>, CardLinkError> {
        self.answer()?;
        Ok(self.input.bytes(64).to_vec())
    }
}

fn fault() -> HardwareFault {
    HardwareFault {
        driver: "any".to_owned(),
        code: "0x01".to_owned(),
        meaning: "as the input says".to_owned(),
    }
}

/// Runs a future that never waits.
fn run_to_end<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}
