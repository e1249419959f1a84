//! What an agent may say: mostly near to what is going on, sometimes anything.

use encoder_protocols::{
    card::{BlockContents, CardContents, CardDescription, Technology},
    fault::HardwareFault,
    wire::{
        Abilities, AgentMessage, CardPresented, EncoderDescription, EncoderKey, EncoderState,
        ErrorCode, Hello, JobError, JobFinished, JobId, JobKind, JobRefused, KeyScope, OpenJob,
        OpenJobState, Outcome, PlanPurpose, PlanRequest, Progress, RefusalReason, Touched,
    },
};
use jiff::Timestamp;
use uuid::Uuid;

use super::input::Input;

/// The jobs and credentials that an agent could know of.
pub struct Around<'a> {
    pub now: Timestamp,
    pub jobs: &'a [JobId],
    pub credentials: &'a [Uuid],
}

impl Around<'_> {
    fn job(&self, input: &mut Input<'_>) -> JobId {
        match self.jobs {
            [] => JobId(input.id(1)),
            jobs if input.below(8) != 0 => *input.pick(jobs),
            _ => JobId(input.id(1)),
        }
    }

    fn credential(&self, input: &mut Input<'_>) -> Option<Uuid> {
        match self.credentials {
            [] => Some(input.id(2)),
            credentials if input.below(8) != 0 => Some(*input.pick(credentials)),
            _ => input.flag().then(|| input.id(2)),
        }
    }
}

pub fn hello(around: &Around<'_>, input: &mut Input<'_>) -> Hello {
    let count = input.below(4);
    let open_jobs = (0..count).map(|_| open_job(around, input)).collect();
    Hello {
        agent_id: input.id(9),
        boot_id: input.id(10),
        version: input.text(8),
        os: "any".to_owned(),
        hostname: "desk".to_owned(),
        open_jobs,
        last_sequence: input.number(),
    }
}

fn open_job(around: &Around<'_>, input: &mut Input<'_>) -> OpenJob {
    OpenJob {
        job_id: around.job(input),
        encoder_key: key(input),
        kind: kind(input),
        credential_id: around.credential(input),
        state: match input.below(3) {
            0 => OpenJobState::Accepted,
            1 => OpenJobState::Started {
                uid: input.below(8).ne(&0).then(|| input.uid()),
                n: input.number(),
            },
            _ => OpenJobState::Finished {
                sequence: input.number(),
            },
        },
    }
}

/// Any message but `hello`.
pub fn message(around: &Around<'_>, input: &mut Input<'_>) -> AgentMessage {
    match input.below(16) {
        0 | 1 => AgentMessage::Inventory {
            encoders: (0..input.below(4)).map(|_| encoder(input)).collect(),
            problems: (0..input.below(2)).map(|_| input.text(20)).collect(),
        },
        2 => AgentMessage::JobAccepted {
            job_id: around.job(input),
        },
        3 => AgentMessage::JobRefused(JobRefused {
            job_id: around.job(input),
            reason: *input.pick(&[
                RefusalReason::QueueFull,
                RefusalReason::TooOld,
                RefusalReason::UnknownEncoder,
            ]),
            message: input.text(20),
        }),
        4 | 5 => AgentMessage::JobProgress {
            job_id: around.job(input),
            progress: progress(input),
        },
        6..=9 => AgentMessage::CardPresented(CardPresented {
            job_id: around.job(input),
            n: input.number(),
            card: card(input),
        }),
        10 | 11 => AgentMessage::PlanRequest(PlanRequest {
            job_id: around.job(input),
            uid: input.uid(),
            n: input.number(),
            purpose: PlanPurpose::Verify,
        }),
        12..=14 => AgentMessage::JobFinished(finished(around, input)),
        _ => AgentMessage::Unsupported {
            message_type: input.text(100),
        },
    }
}

fn encoder(input: &mut Input<'_>) -> EncoderDescription {
    EncoderDescription {
        key: key(input),
        key_scope: *input.pick(&[KeyScope::Agent, KeyScope::System]),
        name: input.text(20),
        named: true,
        adopted: true,
        driver: "pn532".to_owned(),
        model: input.flag().then(|| input.text(20)),
        serial: None,
        firmware: None,
        abilities: Abilities {
            encode: input.below(8) != 0,
            scan: input.below(8) != 0,
            makes_keys: input.below(8) == 0,
            technologies: vec![Technology::MifareClassic1k],
        },
        state: *input.pick(&[
            EncoderState::Ready,
            EncoderState::Ready,
            EncoderState::Busy,
            EncoderState::Fault,
        ]),
        problem: input.flag().then(|| input.text(20)),
        simulated: input.flag(),
    }
}

fn key(input: &mut Input<'_>) -> EncoderKey {
    EncoderKey(match input.below(8) {
        0 => input.text(40),
        1 | 2 => "door".to_owned(),
        _ => "desk".to_owned(),
    })
}

fn kind(input: &mut Input<'_>) -> JobKind {
    *input.pick(&[JobKind::Encode, JobKind::Encode, JobKind::Scan])
}

fn card(input: &mut Input<'_>) -> CardDescription {
    let technologies = [
        Technology::MifareClassic1k,
        Technology::MifareClassic1k,
        Technology::Ntag213,
        Technology::Ultralight,
        Technology::Desfire,
        Technology::Unknown,
    ];
    CardDescription {
        technology: *input.pick(&technologies),
        uid: (input.below(16) != 0).then(|| input.uid()),
        capacity: u32::try_from(input.number()).unwrap_or(u32::MAX),
    }
}

fn progress(input: &mut Input<'_>) -> Progress {
    match input.below(4) {
        0 => Progress::CardPresented,
        1 => Progress::Verifying,
        _ => Progress::Writing {
            uid: input.flag().then(|| input.uid()),
            n: input.number(),
        },
    }
}

fn finished(around: &Around<'_>, input: &mut Input<'_>) -> JobFinished {
    let touched = *input.pick(&[Touched::Untouched, Touched::Unknown, Touched::Written]);
    let outcome = *input.pick(&[Outcome::Success, Outcome::Error]);
    JobFinished {
        sequence: input.number(),
        job_id: around.job(input),
        kind: kind(input),
        credential_id: around.credential(input),
        outcome,
        touched,
        card: (input.below(8) != 0).then(|| card(input)),
        card_number: input.flag().then(|| input.text(30)),
        issued_at: input.flag().then(|| input.time(around.now)),
        contents: input.flag().then(|| contents(input)),
        error: (outcome == Outcome::Error).then(|| JobError {
            code: *input.pick(&[ErrorCode::NoCardOnEncoder, ErrorCode::EncodingInterrupted]),
            message: input.text(30),
            touched,
            hardware: input.flag().then(|| HardwareFault {
                driver: input.text(10),
                code: input.text(10),
                meaning: input.text(10),
            }),
        }),
    }
}

fn contents(input: &mut Input<'_>) -> CardContents {
    match input.below(3) {
        0 => CardContents::UidOnly,
        1 => CardContents::Type2 {
            first_page: 4,
            data: input.bytes(64).to_vec(),
        },
        _ => CardContents::MifareClassic {
            blocks: (0..input.below(5))
                .map(|_| BlockContents {
                    block: input.byte(),
                    data: input.array(),
                })
                .collect(),
            unread: vec![],
        },
    }
}
