//! One golden sample per message: the exact JSON stands in `samples/`.

use proptest::prelude::*;
use serde_json::Value;
use uuid::{Uuid, uuid};

use super::*;
use crate::{
    card::{
        BlockContents, BlockImage, CandidateKey, CardContents, CardDescription, CardImage,
        ClassicImage, ClassicKey, ClassicRead, KeySlot, PageImage, Password, ReadPlan, SectorImage,
        SectorRead, Technology, TrailerImage, Type2Image, Type2Protection, Type2Read, Uid,
        UnreadSector,
        magstripe::{
            BitString, Coercivity, Density, MagstripeImage, MagstripeRead, Track, TrackContents,
            TrackData, TrackForm, TrackFound, TrackImage,
        },
    },
    fault::HardwareFault,
};

const CREDENTIAL: Uuid = uuid!("66666666-6666-4666-8666-666666666666");

macro_rules! golden {
    ($($name:ident: $message:expr;)*) => {
        $(
            #[test]
            fn $name() {
                is_golden(
                    &$message,
                    include_str!(concat!("samples/", stringify!($name), ".json")),
                );
            }
        )*
    };
}

golden! {
    hello: AgentMessage::Hello(Hello {
        agent_id: uuid!("a0000000-0000-4000-8000-000000000001"),
        boot_id: uuid!("b0000000-0000-4000-8000-000000000002"),
        version: "0.1.0".into(),
        os: "linux".into(),
        hostname: "desk-1".into(),
        open_jobs: vec![
            open_job(1, JobKind::Scan, None, OpenJobState::Accepted),
            open_job(2, JobKind::Encode, Some(CREDENTIAL), OpenJobState::Started {
                uid: Some(uid("deadbeef")),
                n: 3,
            }),
            open_job(3, JobKind::Encode, Some(CREDENTIAL), OpenJobState::Finished { sequence: 41 }),
        ],
        last_sequence: 41,
    });
    inventory: AgentMessage::Inventory {
        encoders: vec![EncoderDescription {
            key: EncoderKey("port:/dev/ttyUSB0".into()),
            key_scope: KeyScope::Agent,
            name: "Front Desk".into(),
            named: true,
            adopted: true,
            driver: "pn532".into(),
            model: Some("PN532".into()),
            serial: None,
            firmware: Some("1.6".into()),
            abilities: Abilities {
                encode: true,
                scan: true,
                makes_keys: false,
                technologies: vec![Technology::MifareClassic1k, Technology::Ntag213],
            },
            state: EncoderState::Ready,
            problem: None,
            simulated: false,
        }],
        problems: vec![],
    };
    inventory_fault: AgentMessage::Inventory {
        encoders: vec![EncoderDescription {
            key: EncoderKey("usb:0403:6001:A50285BI".into()),
            key_scope: KeyScope::System,
            name: "Bar".into(),
            named: true,
            adopted: true,
            driver: "pn532".into(),
            model: None,
            serial: Some("A50285BI".into()),
            firmware: None,
            abilities: Abilities::default(),
            state: EncoderState::Fault,
            problem: Some("the port does not exist".into()),
            simulated: true,
        }],
        problems: vec!["the journal was damaged and set aside".into()],
    };
    inventory_swipes: AgentMessage::Inventory {
        encoders: vec![EncoderDescription {
            key: EncoderKey("port:/dev/ttyUSB1".into()),
            key_scope: KeyScope::Agent,
            name: "Pool".into(),
            named: true,
            adopted: true,
            driver: "msr".into(),
            model: Some("MSR605".into()),
            serial: None,
            firmware: Some("REVH7.31".into()),
            abilities: Abilities {
                encode: true,
                scan: true,
                makes_keys: false,
                technologies: vec![Technology::Magstripe],
            },
            state: EncoderState::Ready,
            problem: None,
            simulated: false,
        }],
        problems: vec![],
    };
    job_accepted: AgentMessage::JobAccepted { job_id: job(1) };
    job_refused: AgentMessage::JobRefused(JobRefused {
        job_id: job(1),
        reason: RefusalReason::QueueFull,
        message: "8 jobs wait on this encoder already; ask again later".into(),
    });
    job_progress_waiting: progress(Progress::WaitingForCard);
    job_progress_lift_card: progress(Progress::LiftCard);
    job_progress_card_presented: progress(Progress::CardPresented);
    job_progress_card_removed: progress(Progress::CardRemoved);
    job_progress_several_cards: progress(Progress::SeveralCards);
    job_progress_writing: progress(Progress::Writing { uid: Some(uid("deadbeef")), n: 1 });
    job_progress_verifying: progress(Progress::Verifying);
    job_progress_swipe_card: progress(Progress::SwipeCard);
    job_progress_swipe_again: progress(Progress::SwipeAgain);
    card_presented: AgentMessage::CardPresented(CardPresented { job_id: job(1), n: 1, card: card() });
    card_presented_magstripe: AgentMessage::CardPresented(CardPresented {
        job_id: job(1),
        n: 1,
        card: CardDescription::to_be_swiped(),
    });
    plan_request: AgentMessage::PlanRequest(PlanRequest {
        job_id: job(1),
        uid: uid("04a1b2c3d4e5f6"),
        n: 1,
        purpose: PlanPurpose::Verify,
    });
    job_finished_encode: AgentMessage::JobFinished(JobFinished {
        sequence: 42,
        job_id: job(1),
        kind: JobKind::Encode,
        credential_id: Some(CREDENTIAL),
        outcome: Outcome::Success,
        touched: Touched::Written,
        card: Some(card()),
        card_number: Some("deadbeef".into()),
        issued_at: Some(time("2026-11-21T10:00:02.345Z")),
        contents: None,
        error: None,
    });
    job_finished_scan: AgentMessage::JobFinished(JobFinished {
        sequence: 43,
        job_id: job(2),
        kind: JobKind::Scan,
        credential_id: None,
        outcome: Outcome::Success,
        touched: Touched::Untouched,
        card: Some(card()),
        card_number: Some("deadbeef".into()),
        issued_at: None,
        contents: Some(CardContents::MifareClassic {
            blocks: vec![BlockContents { block: 4, data: bytes() }],
            unread: vec![UnreadSector { sector: 2, reason: "no key opens it".into() }],
        }),
        error: None,
    });
    job_finished_scan_magstripe: swiped(45, vec![
        found(Track::One, TrackFound::Iso { text: "ABC123".into() }),
        found(Track::Two, TrackFound::Raw { bits: bits("11010") }),
        found(Track::Three, TrackFound::Blank),
    ]);
    job_finished_scan_payment_card: swiped(46, vec![
        found(Track::One, TrackFound::Unreadable),
        found(Track::Two, TrackFound::PaymentData { masked: "************1111".into() }),
    ]);
    job_finished_error: AgentMessage::JobFinished(JobFinished {
        sequence: 44,
        job_id: job(3),
        kind: JobKind::Encode,
        credential_id: Some(CREDENTIAL),
        outcome: Outcome::Error,
        touched: Touched::Unknown,
        card: Some(card()),
        card_number: None,
        issued_at: None,
        contents: None,
        error: Some(JobError {
            code: ErrorCode::EncodingInterrupted,
            message: "the card was lifted during the write".into(),
            touched: Touched::Unknown,
            hardware: Some(HardwareFault {
                driver: "pn532".into(),
                code: "0x01".into(),
                meaning: "target did not answer".into(),
            }),
        }),
    });
    unsupported: AgentMessage::Unsupported { message_type: "dance".into() };
    welcome: ServiceMessage::Welcome(Welcome {
        session_id: uuid!("c0000000-0000-4000-8000-000000000003"),
        store_id: uuid!("d0000000-0000-4000-8000-000000000004"),
        last_sequence: 41,
        journal_behind: false,
        heartbeat_ms: 20_000,
        server_time: time("2026-11-21T10:00:00Z"),
        next_pins: None,
    });
    job_encode: ServiceMessage::Job(Job {
        job_id: job(1),
        encoder_key: EncoderKey("port:/dev/ttyUSB0".into()),
        kind: JobKind::Encode,
        credential_id: Some(CREDENTIAL),
        created_at: time("2026-11-21T10:00:00Z"),
        deadline: time("2026-11-21T10:01:30Z"),
        server_time: time("2026-11-21T10:00:00.012Z"),
        card_wait_ms: 30_000,
        content: Some(Box::new(JobContent {
            starts_at: Some(time("2026-11-21T15:00:00Z")),
            ends_at: None,
            entrances: vec!["Room 101".into()],
            provider: None,
        })),
    });
    job_scan: ServiceMessage::Job(Job {
        job_id: job(2),
        encoder_key: EncoderKey("port:/dev/ttyUSB0".into()),
        kind: JobKind::Scan,
        credential_id: None,
        created_at: time("2026-11-21T10:00:00Z"),
        deadline: time("2026-11-21T10:01:30Z"),
        server_time: time("2026-11-21T10:00:00.012Z"),
        card_wait_ms: 30_000,
        content: None,
    });
    card_plan_write_classic: plan(Plan::Write { image: classic_image() });
    card_plan_write_type2: plan(Plan::Write {
        image: CardImage::Type2(Type2Image {
            passwords: vec![Password([0x11; 4])],
            pages: vec![PageImage { page: 4, data: [1, 2, 3, 4] }],
            protection: Some(Type2Protection {
                password: Password([0x22; 4]),
                acknowledge: [0xab, 0xcd],
                first_protected_page: 4,
                protect_reading: false,
            }),
        }),
    });
    card_plan_write_magstripe: plan_to_swipe(Plan::Write {
        image: CardImage::Magstripe(MagstripeImage {
            card_number: "1000234".into(),
            coercivity: Coercivity::High,
            tracks: vec![
                TrackImage::iso(Track::Two, "12345"),
                TrackImage {
                    track: Track::Three,
                    bpi: Density::Bpi210,
                    data: TrackData::Raw(bits("1101")),
                },
            ],
        }),
    });
    card_plan_read_magstripe: plan_to_swipe(Plan::Read {
        plan: ReadPlan::Magstripe(MagstripeRead {
            form: TrackForm::Iso,
            tracks: Track::ALL.to_vec(),
        }),
    });
    card_plan_verify: plan(Plan::Verify { image: classic_image() });
    card_plan_read_classic: plan(Plan::Read {
        plan: ReadPlan::MifareClassic(ClassicRead {
            sectors: vec![SectorRead { sector: 1, keys: keys() }],
            extension: vec![SectorRead { sector: 2, keys: keys() }],
        }),
    });
    card_plan_read_type2: plan(Plan::Read {
        plan: ReadPlan::Type2(Type2Read {
            first_page: 4,
            last_page: 15,
            last_extension_page: Some(39),
            passwords: vec![],
        }),
    });
    card_plan_read_uid_only: plan(Plan::Read { plan: ReadPlan::UidOnly });
    card_plan_ignore: plan(Plan::Ignore);
    card_plan_refuse: plan(Plan::Refuse {
        code: ErrorCode::IncompatibleCardFormat,
        message: "this access system cannot use a desfire card".into(),
    });
    finished_ack: ServiceMessage::FinishedAck { sequence: 42 };
    cancel: ServiceMessage::Cancel {
        job_id: job(1),
        code: ErrorCode::CredentialDeleted,
        message: "the credential was deleted".into(),
    };
    encoder_settings: ServiceMessage::EncoderSettings(EncoderSettings {
        encoder_key: EncoderKey("port:/dev/ttyUSB0".into()),
        display_name: Some("Reception".into()),
        adopted: true,
    });
    token: ServiceMessage::Token { token: SecretText("agent_sample".into()) };
    bye: ServiceMessage::Bye(Bye {
        reason: ByeReason::AgentInUse,
        message: "another live session uses this token; give each agent a token of its own".into(),
    });
    unsupported_by_service: ServiceMessage::Unsupported { message_type: "dance".into() };
}

#[test]
fn unknown_fields_are_ignored() {
    let text = r#"{"type":"finished_ack","sequence":7,"mood":"good"}"#;
    assert_eq!(
        ServiceMessage::decode(text),
        Ok(ServiceMessage::FinishedAck { sequence: 7 })
    );
}

#[test]
fn an_unknown_type_is_named() {
    let text = r#"{"type":"dance","steps":3}"#;
    assert_eq!(
        AgentMessage::decode(text),
        Err(DecodeError::UnknownType("dance".into()))
    );
}

#[test]
fn a_message_of_the_other_direction_is_an_unknown_type() {
    let text = r#"{"type":"finished_ack","sequence":7}"#;
    assert!(matches!(
        AgentMessage::decode(text),
        Err(DecodeError::UnknownType(_))
    ));
}

#[test]
fn no_message_at_all_is_told_apart_from_a_malformed_one() {
    for text in [
        "",
        "hello",
        "[]",
        "{}",
        r#"{"type":7}"#,
        r#"{"type":"hello""#,
    ] {
        assert_eq!(
            AgentMessage::decode(text),
            Err(DecodeError::NotAMessage),
            "{text}"
        );
    }
    let malformed = AgentMessage::decode(r#"{"type":"job_accepted","job_id":"secret"}"#);
    let error = malformed.expect_err("the id is no uuid").to_string();
    assert!(
        error.starts_with("malformed `job_accepted` message"),
        "{error}"
    );
    assert!(
        !error.contains("secret"),
        "values are never quoted: {error}"
    );
}

#[test]
fn formatting_a_message_shows_no_secret() {
    let token = ServiceMessage::Token {
        token: SecretText("agent_sample".into()),
    };
    let image = plan(Plan::Write {
        image: classic_image(),
    });
    let shown = format!("{token:?} {image:?}");
    for secret in [
        "agent_sample",
        "ffffffffffff",
        "255, 255",
        "[0, 1, 2",
        "0001020304",
    ] {
        assert!(!shown.contains(secret), "{secret} shows in {shown}");
    }
}

proptest! {
    #[test]
    fn any_text_is_decoded_without_panic(text in ".{0,200}") {
        let _ = AgentMessage::decode(&text);
        let _ = ServiceMessage::decode(&text);
    }

    #[test]
    fn a_sample_with_one_byte_changed_never_panics(at in 0usize..400, byte in any::<u8>()) {
        let mut bytes = include_bytes!("samples/job_finished_scan.json").to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            let _ = AgentMessage::decode(&text);
        }
    }
}

fn is_golden<M: WireMessage + PartialEq + std::fmt::Debug>(message: &M, sample: &str) {
    let encoded: Value = serde_json::from_str(&message.encode()).expect("a message is json");
    let expected: Value = serde_json::from_str(sample).expect("a sample is json");
    assert_eq!(
        encoded,
        expected,
        "encoded: {}",
        serde_json::to_string_pretty(&encoded).unwrap()
    );
    assert_eq!(M::decode(sample).as_ref(), Ok(message));
}

fn job(last: u8) -> JobId {
    JobId(Uuid::from_u128(
        0x0193_0000_0000_7000_8000_0000_0000_0000 | u128::from(last),
    ))
}

fn open_job(last: u8, kind: JobKind, credential_id: Option<Uuid>, state: OpenJobState) -> OpenJob {
    OpenJob {
        job_id: job(last),
        encoder_key: EncoderKey("port:/dev/ttyUSB0".into()),
        kind,
        credential_id,
        state,
    }
}

fn progress(progress: Progress) -> AgentMessage {
    AgentMessage::JobProgress {
        job_id: job(1),
        progress,
    }
}

fn plan(plan: Plan) -> ServiceMessage {
    ServiceMessage::CardPlan(CardPlan {
        job_id: job(1),
        n: 1,
        uid: Some(uid("deadbeef")),
        plan,
    })
}

fn plan_to_swipe(plan: Plan) -> ServiceMessage {
    ServiceMessage::CardPlan(CardPlan {
        job_id: job(1),
        n: 1,
        uid: None,
        plan,
    })
}

fn swiped(sequence: u64, tracks: Vec<TrackContents>) -> AgentMessage {
    AgentMessage::JobFinished(JobFinished {
        sequence,
        job_id: job(2),
        kind: JobKind::Scan,
        credential_id: None,
        outcome: Outcome::Success,
        touched: Touched::Untouched,
        card: Some(CardDescription::to_be_swiped()),
        card_number: None,
        issued_at: None,
        contents: Some(CardContents::Magstripe { tracks }),
        error: None,
    })
}

fn found(track: Track, found: TrackFound) -> TrackContents {
    TrackContents { track, found }
}

fn bits(text: &str) -> BitString {
    BitString::from_text(text).unwrap()
}

fn classic_image() -> CardImage {
    CardImage::MifareClassic(ClassicImage {
        sectors: vec![SectorImage {
            sector: 1,
            keys: keys(),
            blocks: vec![BlockImage {
                block: 0,
                data: bytes(),
            }],
            trailer: Some(TrailerImage {
                key_a: ClassicKey([0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5]),
                access_bits: [0x78, 0x77, 0x88],
                user_byte: 0x69,
                key_b: ClassicKey([0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5]),
            }),
        }],
    })
}

fn keys() -> Vec<CandidateKey> {
    vec![
        CandidateKey {
            slot: KeySlot::B,
            key: ClassicKey([0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5]),
        },
        CandidateKey {
            slot: KeySlot::A,
            key: ClassicKey([0xff; 6]),
        },
    ]
}

fn card() -> CardDescription {
    CardDescription {
        technology: Technology::MifareClassic1k,
        uid: Some(uid("deadbeef")),
        capacity: 752,
    }
}

fn bytes() -> [u8; 16] {
    std::array::from_fn(|at| u8::try_from(at).unwrap())
}

fn uid(hex: &str) -> Uid {
    hex.parse().unwrap()
}

fn time(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_count_that_could_overflow_makes_a_message_malformed() {
    for (text, most) in [
        (r#"{"type":"finished_ack","sequence":N}"#, super::MAX_COUNT),
        (
            r#"{"type":"welcome","session_id":"00000000-0000-0000-0000-000000000001",
                "store_id":"00000000-0000-0000-0000-000000000002","last_sequence":N,"heartbeat_ms":15000,
                "server_time":"2026-11-21T12:00:00Z"}"#,
            super::MAX_STORED_SEQUENCE,
        ),
    ] {
        let with = |count: u64| ServiceMessage::decode(&text.replace('N', &count.to_string()));
        assert!(with(most).is_ok());
        for count in [most + 1, u64::MAX] {
            assert!(
                matches!(with(count), Err(DecodeError::Malformed { .. })),
                "{count}"
            );
        }
    }
}
