//! One site with its encoder and its two programs, and everything that was seen of it.

use std::time::Duration;

use encoder_protocols::{card::Uid, wire::JobId};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Gate, HarnessError,
    api::{is_pending, job_of},
    case::Case,
    device::{Device, Memories},
    process::Process,
    site::Site,
    until,
};

const CARDS: [[u8; 4]; 3] = [
    [0x04, 0xA1, 0xB2, 0xC3],
    [0x11, 0x22, 0x33, 0x44],
    [0x55, 0x66, 0x77, 0x88],
];

/// The UIDs of all cards: the one that the first encode finds on the encoder, another one, and a third.
pub(super) fn cards() -> [Uid; 3] {
    #[allow(clippy::expect_used, reason = "every one has four bytes")]
    CARDS.map(|uid| Uid::new(&uid).expect("a uid may have four bytes"))
}

/// Longer than any attempt may last: its time, what a bound job waits beyond it, and some lateness.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(60 + 120 + 20);

/// How long both sides may take to agree once an attempt has ended.
const AGREEING: Duration = Duration::from_secs(40);

/// How long an agent may take to connect again: its pauses grow while the coordinator is away.
const CONNECTING: Duration = Duration::from_secs(150);

/// How long a case keeps its place at the machine while it waits for what mostly comes at once.
pub(super) const SOON: Duration = Duration::from_millis(300);

/// Something that was seen, in the order in which it happened.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// An encode of the credential was asked for.
    Asked(JobId, Uuid),
    /// The cards' memories; whatever changed was changed by this job.
    Cards(JobId, Memories),
    /// The card was lifted.
    Lifted(Uid),
    /// The attempt is or has become this.
    Attempt(JobId, Value),
    /// The credential at the very end, with the names of its events.
    Credential {
        id: Uuid,
        credential: Value,
        events: Vec<String>,
    },
    /// The attempt has not ended although its time is over.
    Waits(JobId),
    /// Something was not as it must be after the case.
    Wrong(String),
}

/// A site with its encoder.
pub(super) struct Scene<'a> {
    pub(super) case: Case,
    pub(super) gate: &'a Gate,
    pub(super) site: Site,
    pub(super) device: Device,
    pub(super) cards: [Uid; 3],
    pub(super) coordinator: Process,
    pub(super) agent: Process,
    /// The encoder's id at the coordinator.
    pub(super) encoder: String,
    pub(super) seen: Vec<Seen>,
    /// The cards as they came from the factory.
    pub(super) fresh: Memories,
    lies: Option<Uid>,
    last_job: Option<JobId>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        case: Case,
        gate: &'a Gate,
        site: Site,
        device: Device,
        (coordinator, agent): (Process, Process),
    ) -> Self {
        let fresh = device.memories();
        let mut scene = Self {
            case,
            gate,
            site,
            device,
            cards: cards(),
            coordinator,
            agent,
            encoder: String::new(),
            seen: Vec::new(),
            fresh,
            lies: None,
            last_job: None,
        };
        scene.lay(Some(scene.cards[0]));
        scene
    }

    /// Lets this card, and no other, lie on the encoder.
    pub(super) fn lay(&mut self, card: Option<Uid>) {
        self.look_at_cards();
        if let Some(lifted) = self.lies.filter(|lies| Some(*lies) != card) {
            self.seen.push(Seen::Lifted(lifted));
        }
        self.device.lay(card);
        self.lies = card;
    }

    /// Takes down what the cards carry now.
    pub(super) fn look_at_cards(&mut self) {
        if let Some(job) = self.last_job {
            self.seen.push(Seen::Cards(job, self.device.memories()));
        }
    }

    /// Asks for an encode, as often as it takes until the agent is connected.
    pub(super) fn encode(&mut self, credential: Uuid) -> Result<JobId, HarnessError> {
        self.look_at_cards();
        let mut attempt = self.site.api.encode(credential, &self.encoder)?;
        if is_away(&attempt) {
            let gate = self.gate;
            let there = gate.aside(|| {
                until(CONNECTING, || {
                    attempt = self.site.api.encode(credential, &self.encoder)?;
                    Ok(!is_away(&attempt))
                })
            })?;
            if !there {
                return Err(HarnessError::NotInTime("the agent's connection".to_owned()));
            }
        }
        let job = job_of(&attempt)?;
        self.asked(job, credential);
        Ok(job)
    }

    /// The encode that was asked for has this attempt.
    pub(super) fn asked(&mut self, job: JobId, credential: Uuid) {
        self.last_job = Some(job);
        self.seen.push(Seen::Asked(job, credential));
    }

    /// Waits for the attempt's end and for both sides to agree on it; answers with the attempt as it is then.
    pub(super) fn ended(&mut self, job: JobId) -> Result<Value, HarnessError> {
        let gate = self.gate;
        let mut attempt = Value::Null;
        let api = self.site.api.clone();
        let mut is_over = || {
            attempt = api.attempt(job)?;
            Ok(!is_pending(&attempt))
        };
        // Most end at once; the others wait for a person or a limit, and leave the machine to other cases meanwhile.
        let over =
            until(SOON, &mut is_over)? || gate.aside(|| until(LONGEST_ATTEMPT, &mut is_over))?;
        if !over {
            self.seen.push(Seen::Waits(job));
        }
        self.look_at_cards();
        self.seen.push(Seen::Attempt(job, attempt.clone()));
        let agreed = || self.site.is_settled(job);
        let agrees = until(SOON, agreed)? || gate.aside(|| until(AGREEING, agreed))?;
        if !agrees {
            let words = format!("the outcome of job {job} did not reach the coordinator");
            self.seen.push(Seen::Wrong(words));
        }
        self.look_at_cards();
        Ok(attempt)
    }

    pub(super) fn wrong(&mut self, words: impl Into<String>) {
        self.seen.push(Seen::Wrong(words.into()));
    }

    /// Looks at everything once more, and stops both programs as their supervisor would.
    pub(super) fn stop(&mut self) -> Result<(), HarnessError> {
        for attempt in self.site.api.attempts()? {
            self.seen.push(Seen::Attempt(job_of(&attempt)?, attempt));
        }
        for id in self.site.credentials() {
            self.seen.push(Seen::Credential {
                id,
                credential: self.site.api.credential(id)?,
                events: self.site.api.events(id)?,
            });
        }
        if !self.agent.stop()? {
            self.wrong("the agent did not stop in order");
        }
        if !self.coordinator.stop()? {
            self.wrong("the coordinator did not stop in order");
        }
        Ok(())
    }
}

/// Whether the agent was not connected when the encode was asked for.
fn is_away(attempt: &Value) -> bool {
    let away = ["bridge_disconnected", "encoder_not_online"];
    error_of(attempt).is_some_and(|code| away.contains(&code))
}

/// The code of an attempt's error.
pub(super) fn error_of(attempt: &Value) -> Option<&str> {
    attempt["error"]["type"].as_str()
}
