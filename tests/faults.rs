//! What goes wrong on the way to the card, end to end: the device, the port, the card, the image, the coordinator.
//!
//! Each ends with an error in words or not at all, and the encoder serves the next job.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure is a panic, in what the tests share too"
)]

mod desk;

use std::{
    fs::{self, File, Permissions},
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    time::Duration,
};

use desk::{
    Desk, Line,
    setting::{
        CARD, INSTANT, OTHER_CARD, Setting, finished, image_blocks, image_of, sector, write,
    },
};
use encoder_protocols::{
    card::{
        AccessBits, CandidateKey, CardContents, ClassicKey, ClassicRead, KeySlot, ReadPlan,
        SectorImage, SectorRead, TrailerImage,
    },
    pn532::emulator::{Fault, Pace},
    wire::{
        AgentMessage, EncoderDescription, EncoderState, ErrorCode, JobFinished, JobKind,
        MAX_MESSAGE_BYTES, Outcome, Plan, Progress, ServiceMessage, Touched,
    },
};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio_tungstenite::tungstenite::Message;

/// More often than any encode exchanges frames.
const ALL: u32 = 100_000;

/// Bytes of noise that take the line longer than any answer is waited for.
const LONG_BABBLE: usize = 20_000;

/// As slow as the line, without the air.
const WIRE: Pace = Pace {
    wire: true,
    rf: false,
};

/// The group and user that own nothing.
const NOBODY: u32 = 65_534;

#[tokio::test]
async fn a_device_that_fails_before_the_write_is_told_and_serves_the_next_job() {
    for fault in [Fault::NackStorm(ALL), Fault::SilentFromByte(0)] {
        let mut setting = Setting::new(INSTANT).await;
        setting.bench.place(CARD);
        let job = setting.encode().await;
        let presented = setting.presented(&job).await;
        setting.bench.0.inject(fault).unwrap();
        setting.plan(&presented, write(1)).await;
        let (ended, encoder) = ended_with_fault(&mut setting.line).await;
        let error = ended.error.clone().unwrap();
        assert_eq!(
            (error.code, error.touched),
            (ErrorCode::EncoderCommunicationTimeout, Touched::Untouched),
            "{fault:?}: {error:?}"
        );
        assert!(
            error.message.contains("unplug the encoder"),
            "{fault:?}: {error:?}"
        );
        let problem = encoder.problem.unwrap();
        assert!(
            problem.contains("check its cable") || problem.contains("expected a PN532"),
            "{fault:?}: {problem}"
        );
        setting.acknowledge(&ended).await;

        setting.bench.0.clear_faults().unwrap();
        setting.encoder_is(EncoderState::Ready).await;
        assert_eq!(setting.encode_all(2).await.outcome, Outcome::Success);
        setting.stop().await;
    }
}

#[tokio::test]
async fn noise_around_every_answer_costs_nothing() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    setting.bench.0.inject(Fault::Babble(ALL, 300)).unwrap();
    assert_eq!(setting.encode_all(1).await.outcome, Outcome::Success);
    setting.stop().await;
}

#[tokio::test]
async fn a_device_that_babbles_for_long_is_told_and_serves_the_next_job() {
    let mut setting = Setting::new(WIRE).await;
    setting.bench.place(CARD);
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    setting
        .bench
        .0
        .inject(Fault::Babble(1, LONG_BABBLE))
        .unwrap();
    setting.plan(&presented, write(1)).await;
    let ended = finished(&mut setting.line).await;
    let error = ended.error.clone().unwrap();
    assert_eq!(
        (error.code, error.touched),
        (ErrorCode::EncoderCommunicationTimeout, Touched::Untouched),
        "{error:?}"
    );
    setting.acknowledge(&ended).await;
    assert_eq!(setting.encode_all(2).await.outcome, Outcome::Success);
    setting.stop().await;
}

#[tokio::test]
async fn a_write_that_fails_in_the_middle_is_interrupted_and_the_same_card_takes_it_again() {
    for faults in [
        (40..60).map(|nth| Fault::Status(nth, 0x01)).collect(),
        (40..60).map(|nth| Fault::StatusAfter(nth, 0x02)).collect(),
        (40..60).map(|nth| Fault::Status(nth, 0x0D)).collect(),
        vec![Fault::SilentFromByte(2_000)],
    ] {
        let what = format!("{:?}", faults[0]);
        let mut setting = Setting::new(INSTANT).await;
        setting.bench.place(CARD);
        let job = setting.encode().await;
        let presented = setting.presented(&job).await;
        for fault in faults {
            setting.bench.0.inject(fault).unwrap();
        }
        setting.plan(&presented, write(1)).await;
        let ended = finished(&mut setting.line).await;
        let error = ended.error.clone().unwrap();
        assert_eq!(
            (error.code, error.touched),
            (ErrorCode::EncodingInterrupted, Touched::Unknown),
            "{what}: {error:?}"
        );
        assert!(
            error.message.contains("encode the same card again"),
            "{what}: {error:?}"
        );
        assert!(setting.bench.writes(CARD) > 0, "{what}");
        setting.acknowledge(&ended).await;
        setting.bench.0.clear_faults().unwrap();

        let again = setting.encode_again(&job).await;
        let presented = setting.presented(&again).await;
        assert_eq!(presented.card.uid.unwrap().to_string(), CARD);
        setting.plan(&presented, write(1)).await;
        let ended = finished(&mut setting.line).await;
        assert_eq!(ended.outcome, Outcome::Success, "{what}: {ended:?}");
        for block in image_blocks() {
            assert_eq!(setting.bench.block(CARD, block), [1; 16], "block {block}");
        }
        setting.stop().await;
    }
}

#[tokio::test]
async fn what_is_no_pn532_is_a_fault_in_words() {
    for (answers, expected) in [
        (echo as fn(File), "expected a PN532"),
        (prompt, "expected a PN532"),
        (garble, "expected a PN532"),
        (nothing, "did not answer"),
    ] {
        let (device, path) = terminal();
        // While it is open here the device outlives the agent's closing it.
        let _line = File::open(&path).unwrap();
        std::thread::spawn(move || answers(device));
        let desk = Desk::new(&path, "").await;
        let mut agent = desk.run();
        let (mut line, _) = desk.welcomed(0).await;
        let encoder = fault(&mut line).await;
        let problem = encoder.problem.unwrap();
        assert!(problem.contains(expected), "{problem}");
        assert!(problem.contains("`port`"), "{problem}");
        let (code, output, _) = {
            agent.terminate();
            agent.end().await;
            desk.output("devices")
        };
        assert_eq!(code, Some(1));
        assert!(
            output.contains("fault") && output.contains(expected),
            "{output}"
        );
    }
}

#[tokio::test]
async fn a_port_that_another_agent_holds_is_a_fault_until_it_is_free() {
    let mut setting = Setting::new(INSTANT).await;
    let port = setting.port();
    let desk = Desk::new(&port, "").await;
    let mut second = desk.run();
    let (mut line, _) = desk.welcomed(0).await;
    let problem = fault(&mut line).await.problem.unwrap();
    assert!(
        problem.contains(&format!("the port {} is in use", port.display()))
            && problem.contains("stop that program"),
        "{problem}"
    );
    let (code, output, _) = desk.output("devices");
    assert_eq!(code, Some(1));
    assert!(output.contains("in use"), "{output}");

    setting.agent.terminate();
    assert_eq!(setting.agent.end().await.code(), Some(0));
    line.hear_some(|message| in_state(message, EncoderState::Ready))
        .await;
    second.terminate();
    assert_eq!(second.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_port_that_is_not_permitted_is_told_with_what_to_do() {
    let (_device, port) = terminal();
    fs::set_permissions(&port, Permissions::from_mode(0o000)).unwrap();
    let desk = Desk::new(&port, "").await;
    let directory = desk.directory.path();
    fs::set_permissions(directory, Permissions::from_mode(0o777)).unwrap();
    let program = directory.join("encoder-agent");
    fs::copy(env!("CARGO_BIN_EXE_encoder-agent"), &program).unwrap();
    for (command, expected) in [
        (
            "check",
            "not permitted; add the user that the agent runs as",
        ),
        ("devices", "no permission to open the port"),
    ] {
        let mut process = std::process::Command::new(&program);
        process
            .arg(command)
            .arg("--config")
            .arg(desk.settings_file());
        if rustix::process::geteuid().is_root() {
            process.uid(NOBODY).gid(NOBODY);
        }
        let output = process.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{command}: {said}");
        assert!(
            said.contains(&port.display().to_string()),
            "{command}: {said}"
        );
    }
}

#[tokio::test]
async fn an_image_that_does_not_go_onto_the_card_leaves_it_untouched() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    setting.make_read_only(CARD, 2);
    let wrong_key = CandidateKey {
        slot: KeySlot::A,
        key: ClassicKey([0xA5; 6]),
    };
    let trailer = TrailerImage {
        key_a: ClassicKey([1; 6]),
        access_bits: [0xFF, 0x07, 0x81],
        user_byte: 0,
        key_b: ClassicKey([2; 6]),
    };
    for (sectors, code, words, hardware) in [
        (
            vec![
                sector(1, 9),
                SectorImage {
                    keys: vec![wrong_key],
                    ..sector(3, 9)
                },
            ],
            ErrorCode::UncategorizedError,
            "opens sector 3; the card belongs to another system: use another card",
            Some("0x14"),
        ),
        (
            vec![SectorImage {
                trailer: Some(trailer),
                ..sector(1, 9)
            }],
            ErrorCode::UncategorizedError,
            "access bits",
            None,
        ),
        (
            vec![sector(1, 9), sector(20, 9)],
            ErrorCode::IncompatibleCardFormat,
            "sector 20",
            None,
        ),
    ] {
        let job = setting.encode().await;
        let presented = setting.presented(&job).await;
        setting.plan(&presented, image_of(sectors)).await;
        let ended = finished(&mut setting.line).await;
        assert_eq!(ended.touched, Touched::Untouched);
        let error = ended.error.clone().unwrap();
        assert_eq!(
            (error.code, error.touched),
            (code, Touched::Untouched),
            "{error:?}"
        );
        assert!(error.message.contains(words), "{error:?}");
        let fault = error.hardware.as_ref();
        assert_eq!(
            fault.map(|fault| (fault.driver.as_str(), fault.code.as_str())),
            hardware.map(|code| ("pn532", code))
        );
        assert_eq!(setting.bench.writes(CARD), 0, "{error:?}");
        assert!(!error.message.contains("a5a5"), "{error:?}");
        setting.acknowledge(&ended).await;
    }
    setting.stop().await;
}

#[tokio::test]
async fn a_read_only_block_is_told_by_its_number() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    setting.make_read_only(CARD, 2);
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    setting.plan(&presented, image_of(vec![sector(2, 9)])).await;
    let error = finished(&mut setting.line).await.error.unwrap();
    assert_eq!(error.code, ErrorCode::UncategorizedError);
    assert_eq!(error.touched, Touched::Untouched);
    assert!(
        error
            .message
            .starts_with("block 8 is read-only on this card; use another card"),
        "{error:?}"
    );
    assert!(!error.message.contains("encode the same card"), "{error:?}");
    assert_eq!(error.hardware.unwrap().driver, "pn532");
    assert_eq!(setting.bench.block(CARD, 8), [0; 16]);
    setting.stop().await;
}

#[tokio::test]
async fn a_scan_waits_until_one_of_two_cards_is_taken() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    setting.bench.place(OTHER_CARD);
    let scan = setting.job(JobKind::Scan, Duration::from_secs(20));
    setting.offer(&scan).await;
    setting
        .progress(&scan, |progress| *progress == Progress::SeveralCards)
        .await;
    setting.bench.lift(OTHER_CARD);
    assert_eq!(
        setting.scanned(&scan).await.card_number.as_deref(),
        Some(CARD)
    );

    // Where nobody takes one away, the end says what is in the way.
    setting.bench.place(OTHER_CARD);
    let scan = setting.job(JobKind::Scan, Duration::from_millis(300));
    setting.offer(&scan).await;
    let ended = finished(&mut setting.line).await;
    let error = ended.error.unwrap();
    assert_eq!(error.code, ErrorCode::NoCardOnEncoder);
    assert!(error.message.contains("more than one card"), "{error:?}");
    setting.stop().await;
}

#[tokio::test]
async fn a_scan_behind_a_waiting_encode_gets_its_turn() {
    let mut setting = Setting::new(INSTANT).await;
    let encode = setting.encode().await;
    setting
        .progress(&encode, |progress| *progress == Progress::WaitingForCard)
        .await;
    let scan = setting.job(JobKind::Scan, Duration::from_secs(20));
    setting.offer(&scan).await;
    // Pressed twice: the same job comes again while it is open.
    setting.offer(&encode).await;
    setting.bench.place(CARD);
    let presented = setting.presented(&encode).await;
    setting.plan(&presented, write(5)).await;
    let ended = finished(&mut setting.line).await;
    assert_eq!(
        (ended.job_id, ended.outcome),
        (encode.job_id, Outcome::Success)
    );
    setting.acknowledge(&ended).await;
    let scanned = setting.scanned(&scan).await;
    assert_eq!(
        (scanned.outcome, scanned.card_number.as_deref()),
        (Outcome::Success, Some(CARD))
    );
    let Some(CardContents::MifareClassic { blocks, .. }) = scanned.contents else {
        panic!("read {:?}", scanned.contents);
    };
    assert!(blocks.iter().all(|block| block.data == [5; 16]));
    setting.stop().await;
}

#[tokio::test]
async fn a_coordinator_that_breaks_the_protocol_costs_no_job() {
    let mut setting = Setting::new(INSTANT).await;
    let job = setting.encode().await;
    for breach in [
        Message::text("{"),
        Message::text(r#"{"type":"job","job_id":7}"#),
        Message::binary(vec![0, 1, 2]),
        Message::text("x".repeat(MAX_MESSAGE_BYTES + 1)),
    ] {
        setting.line.say_frame(breach).await;
        setting.line.hear_end().await;
        let hello = setting.welcome_again().await;
        assert_eq!(hello.open_jobs.len(), 1);
        assert_eq!(hello.open_jobs[0].job_id, job.job_id);
    }
    setting
        .line
        .say_frame(Message::text(r#"{"type":"new_in_v9","x":1}"#))
        .await;
    setting
        .line
        .hear_some(|message| matches!(message, AgentMessage::Unsupported { message_type } if message_type == "new_in_v9").then_some(()))
        .await;
    setting.bench.place(CARD);
    let presented = setting.presented(&job).await;
    setting.plan(&presented, write(4)).await;
    assert_eq!(finished(&mut setting.line).await.outcome, Outcome::Success);
    setting.stop().await;
}

#[tokio::test]
async fn messages_about_unknown_jobs_do_no_harm() {
    let mut setting = Setting::new(INSTANT).await;
    setting.bench.place(CARD);
    let job = setting.encode().await;
    let presented = setting.presented(&job).await;
    let mut foreign = presented.clone();
    foreign.job_id = setting.job(JobKind::Encode, Duration::ZERO).job_id;
    setting.plan(&foreign, write(1)).await;
    setting
        .line
        .say(&ServiceMessage::FinishedAck { sequence: 77 })
        .await;
    setting
        .line
        .say(&ServiceMessage::Cancel {
            job_id: foreign.job_id,
            code: ErrorCode::ActionAttemptExpired,
            message: "its time is over".to_owned(),
        })
        .await;
    let answered = finished(&mut setting.line).await;
    assert_eq!(
        (answered.job_id, answered.touched),
        (foreign.job_id, Touched::Untouched)
    );
    setting.acknowledge(&answered).await;
    setting.plan(&presented, write(2)).await;
    let ended = finished(&mut setting.line).await;
    assert_eq!(
        (ended.job_id, ended.outcome),
        (job.job_id, Outcome::Success)
    );
    assert_eq!(setting.bench.block(CARD, 4), [2; 16]);
    setting.stop().await;
}

impl Setting {
    /// Reads the card that a scan has presented, to the scan's end.
    async fn scanned(&mut self, scan: &encoder_protocols::wire::Job) -> JobFinished {
        let presented = self.presented(scan).await;
        let sectors = vec![SectorRead {
            sector: 1,
            keys: sector(1, 0).keys,
        }];
        let plan = ReadPlan::MifareClassic(ClassicRead {
            sectors,
            extension: vec![],
        });
        self.plan(&presented, Plan::Read { plan }).await;
        let scanned = finished(&mut self.line).await;
        assert_eq!(scanned.job_id, scan.job_id);
        self.acknowledge(&scanned).await;
        scanned
    }

    /// Lets the access bits of a sector forbid writing its data.
    fn make_read_only(&self, uid: &str, sector: usize) {
        let mut memory = self.bench.0.memory(Some(uid)).unwrap();
        let bits = AccessBits::from_conditions([0b010, 0b010, 0b010, 0b001]);
        memory[sector * 64 + 54..sector * 64 + 57].copy_from_slice(&bits.encode());
        let file = self.desk.directory.path().join("card.mfd");
        fs::write(&file, memory).unwrap();
        self.bench
            .0
            .command(&format!("load {} {uid}", file.display()))
            .unwrap();
    }
}

fn in_state(message: AgentMessage, wanted: EncoderState) -> Option<EncoderDescription> {
    let AgentMessage::Inventory { encoders, .. } = message else {
        return None;
    };
    encoders.into_iter().find(|encoder| encoder.state == wanted)
}

async fn fault(line: &mut Line) -> EncoderDescription {
    line.hear_some(|message| in_state(message, EncoderState::Fault))
        .await
}

/// The job's end and the encoder's fault, in whichever order they are told.
async fn ended_with_fault(line: &mut Line) -> (JobFinished, EncoderDescription) {
    let (mut ended, mut fault) = (None, None);
    line.hear_some(|message| {
        if let AgentMessage::JobFinished(finished) = message {
            ended = Some(finished);
        } else if let Some(encoder) = in_state(message, EncoderState::Fault) {
            fault = Some(encoder);
        }
        ended.clone().zip(fault.clone())
    })
    .await
}

/// A pseudo terminal: the device's end, and the port.
fn terminal() -> (File, PathBuf) {
    let device = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&device).unwrap();
    unlockpt(&device).unwrap();
    let name = ptsname(&device, Vec::new()).unwrap();
    let path = Path::new(name.to_str().unwrap()).to_path_buf();
    (File::from(device), path)
}

/// Hears what the host says and answers with what `answer` makes of it.
fn converse(mut device: File, answer: impl Fn(&[u8]) -> Vec<u8>) {
    let mut buffer = [0; 256];
    while let Ok(count) = device.read(&mut buffer) {
        if device.write_all(&answer(&buffer[..count])).is_err() {
            return;
        }
    }
}

fn echo(device: File) {
    converse(device, <[u8]>::to_vec);
}

/// A console of some other device.
fn prompt(device: File) {
    converse(device, |_| b"?\r\nREADY>\r\n".to_vec());
}

/// A device that runs at another speed: for about every second byte another one.
fn garble(device: File) {
    converse(device, |heard| {
        heard
            .iter()
            .step_by(2)
            .map(|byte| byte.rotate_left(3) ^ 0x9C)
            .collect()
    });
}

fn nothing(device: File) {
    converse(device, |_| Vec::new());
}
