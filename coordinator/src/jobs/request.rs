//! An encode or a scan is asked for.

use encoder_protocols::wire::{
    EncoderState, ErrorCode, Job, JobContent, JobError, JobId, JobKind, ServiceMessage, Touched,
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    ATTEMPT_TIME, AgentId, Attempt, AuditAction, Book, CARD_WAIT, CredentialId, Decision,
    EncoderId, EncoderRecord, JobRecord, LONGEST_ATTEMPT, Place, after,
};

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The id for a new job.
    pub job: JobId,
    /// The encoder.
    pub encoder: EncoderId,
    /// The API key that asks.
    pub api_key: Option<Uuid>,
    /// The credential to encode; none for a scan.
    pub credential: Option<CredentialFacts>,
}

/// What a decision needs to know of a credential.
#[derive(Clone, Debug, PartialEq)]
pub struct CredentialFacts {
    /// Which one.
    pub id: CredentialId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether a card carries it as it is now.
    pub on_card_unchanged: bool,
    /// What goes with its jobs, for encoders that make keys themselves.
    pub content: Option<JobContent>,
}

impl Book {
    /// Decides on a request. Returns the attempt to answer with: a new one, or the open one that this repeats.
    /// None when there is no such encoder.
    ///
    /// A credential's holds must be at hand.
    pub fn request(&mut self, now: Timestamp, request: &Request) -> Option<(JobId, Decision)> {
        let mut out = Decision::default();
        let encoder = self.encoders.get(&request.encoder)?;
        if let Some(open) = self.repeated(request) {
            return Some((open, out));
        }
        let place = self.place_of(encoder);
        let obstacle = self.obstacle_of_credential(request, encoder).or_else(|| {
            if encoder.simulated {
                obstacle_of_adoption(encoder)
            } else {
                self.obstacle_of_place(request, encoder, place)
            }
        });
        let mut job = self.new_job(now, request, encoder, place);
        out.audit(now, AuditAction::Requested, &job, None, None);
        if let Some(error) = obstacle {
            job.attempt = Attempt::Error(error);
            out.audit(now, AuditAction::Ended, &job, None, end_name(&job.attempt));
        } else if !job.simulated {
            job.sent = true;
            self.send_job(now, &job, &mut out);
        }
        out.save(&job);
        let id = job.id;
        self.jobs.insert(id, job);
        Some((id, out))
    }

    /// Where an encoder's next job goes: among the connected agents that list it, the one where it answers, and of several
    /// such the newest; else the newest among the others that did. An agent that knows an encoder by its configuration
    /// lists it also while it is plugged in elsewhere, as a fault. A job, once made, stays where it is.
    pub(crate) fn place_of<'a>(&self, encoder: &'a EncoderRecord) -> Option<&'a Place> {
        encoder
            .places
            .iter()
            .filter(|place| place.listed)
            .max_by_key(|place| {
                let live = self.live(place.agent).is_some();
                (live, presence(place.description.state), place.since)
            })
    }

    /// Sends the job to its agent, if that is connected.
    pub(crate) fn send_job(&self, now: Timestamp, job: &JobRecord, out: &mut Decision) {
        let Some(session) = self.session_of(job) else {
            return;
        };
        let message = Job {
            job_id: job.id,
            encoder_key: job.encoder_key.clone(),
            kind: job.kind,
            credential_id: job.credential.map(|credential| credential.0),
            created_at: job.created_at,
            deadline: job.deadline,
            server_time: now,
            card_wait_ms: u64::try_from(job.card_wait.as_millis()).unwrap_or(u64::MAX),
            content: job.content.clone().map(Box::new),
        };
        out.send(session, ServiceMessage::Job(message));
    }

    /// The open attempt of the same credential on the same encoder: callers give up waiting and press again.
    fn repeated(&self, request: &Request) -> Option<JobId> {
        let credential = request.credential.as_ref()?;
        self.jobs
            .values()
            .find(|job| {
                job.attempt.is_pending()
                    && job.credential == Some(credential.id)
                    && job.encoder == request.encoder
            })
            .map(|job| job.id)
    }

    /// What forbids that this credential goes onto any card now (rules 2 and 9).
    fn obstacle_of_credential(
        &self,
        request: &Request,
        encoder: &EncoderRecord,
    ) -> Option<JobError> {
        let credential = request.credential.as_ref()?;
        if let Some(open) = self.open_job_of(credential.id, None) {
            let name = self.encoders.get(&open.encoder).map_or("", |at| at.name());
            return Some(fail(
                ErrorCode::UncategorizedError,
                format!(
                    "this credential is being encoded on the encoder \"{name}\" already; wait until that has ended"
                ),
            ));
        }
        if let Some(orphan) = self.open_orphan_of(credential.id) {
            let name = self.agent_name(orphan.agent);
            return Some(fail(
                ErrorCode::UncategorizedError,
                format!(
                    "the agent \"{name}\" still works on an earlier encode of this credential; wait for its outcome"
                ),
            ));
        }
        let awaited = self.agents_to_hear(encoder.system, credential.created_at);
        if !awaited.is_empty() {
            return Some(fail(
                ErrorCode::UncategorizedError,
                format!(
                    "the service was restored from a backup and has not yet heard every agent; connect these, or \
                     make a new credential, which goes onto a card at once: {}",
                    awaited.join(", ")
                ),
            ));
        }
        self.obstacle_of_cards(credential)
    }

    /// What the cards that hold the credential forbid before any card is presented.
    fn obstacle_of_cards(&self, credential: &CredentialFacts) -> Option<JobError> {
        if credential.on_card_unchanged {
            return Some(fail(
                ErrorCode::CredentialCannotBeReissued,
                "this credential is on a card already and has not changed since; make a new credential for another card"
                    .to_owned(),
            ));
        }
        let holds = self.holds(credential.id);
        let first = holds.first()?;
        let no_card_fits = holds
            .iter()
            .any(|hold| hold.uid.is_none() || hold.uid != first.uid);
        no_card_fits.then(|| {
            fail(
                ErrorCode::CredentialCannotBeReissued,
                "this credential may be on a card that is not known; make a new credential"
                    .to_owned(),
            )
        })
    }

    /// Why the encoder can take no job now (rule 10).
    fn obstacle_of_place(
        &self,
        request: &Request,
        encoder: &EncoderRecord,
        place: Option<&Place>,
    ) -> Option<JobError> {
        let name = encoder.name();
        let Some(place) = place else {
            return Some(fail(
                ErrorCode::EncoderNotOnline,
                format!("the encoder \"{name}\" is not plugged in; plug it in and try again"),
            ));
        };
        if self.live(place.agent).is_none() {
            let agent = self.agent_name(place.agent);
            return Some(fail(
                ErrorCode::BridgeDisconnected,
                format!(
                    "the agent \"{agent}\" of the encoder \"{name}\" is not connected; start it or check its network"
                ),
            ));
        }
        if !place.is_ready() {
            let problem = place.description.problem.as_deref();
            return Some(fail(
                ErrorCode::EncoderNotOnline,
                format!(
                    "the encoder \"{name}\" is not ready: {}",
                    problem.unwrap_or("it reports a fault")
                ),
            ));
        }
        obstacle_of_abilities(request, encoder, place)
    }

    pub(crate) fn agent_name(&self, agent: AgentId) -> &str {
        self.agents
            .get(&agent)
            .map_or("unknown", |agent| agent.name.as_str())
    }

    fn new_job(
        &self,
        now: Timestamp,
        request: &Request,
        encoder: &EncoderRecord,
        place: Option<&Place>,
    ) -> JobRecord {
        let ahead = self
            .jobs
            .values()
            .filter(|job| job.encoder == encoder.id && job.attempt.is_pending())
            .count();
        let waits = CARD_WAIT.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX));
        JobRecord {
            id: request.job,
            kind: match request.credential {
                Some(_) => JobKind::Encode,
                None => JobKind::Scan,
            },
            system: encoder.system,
            encoder: encoder.id,
            encoder_key: encoder.key.clone(),
            agent: place.map(|place| place.agent),
            credential: request.credential.as_ref().map(|facts| facts.id),
            content: request
                .credential
                .as_ref()
                .and_then(|facts| facts.content.clone()),
            api_key: request.api_key,
            created_at: now,
            deadline: after(now, ATTEMPT_TIME.saturating_add(waits).min(LONGEST_ATTEMPT)),
            card_wait: CARD_WAIT,
            simulated: encoder.simulated,
            sent: false,
            binding: None,
            cards: Vec::new(),
            pinned: false,
            awaited: false,
            cancelled: None,
            attempt: Attempt::Pending,
            outcome: None,
        }
    }
}

/// How surely the encoder is at a place, by what the agent there says of it.
const fn presence(state: EncoderState) -> u8 {
    match state {
        EncoderState::Fault => 0,
        EncoderState::Starting => 1,
        EncoderState::Ready | EncoderState::Busy => 2,
    }
}

/// An error of a job that has changed no card.
pub(crate) fn fail(code: ErrorCode, message: String) -> JobError {
    JobError {
        code,
        message,
        touched: Touched::Untouched,
        hardware: None,
    }
}

/// An ended attempt in one word, for the audit.
pub(crate) fn end_name(attempt: &Attempt) -> Option<String> {
    match attempt {
        Attempt::Pending => None,
        Attempt::Success { .. } => Some("success".to_owned()),
        Attempt::Error(error) => Some(error.code.as_str().to_owned()),
    }
}

fn obstacle_of_adoption(encoder: &EncoderRecord) -> Option<JobError> {
    (!encoder.adopted).then(|| {
        fail(
            ErrorCode::UncategorizedError,
            format!(
                "the encoder \"{}\" is not adopted by this access system, so it takes no jobs; use another encoder",
                encoder.name()
            ),
        )
    })
}

fn obstacle_of_abilities(
    request: &Request,
    encoder: &EncoderRecord,
    place: &Place,
) -> Option<JobError> {
    if let Some(obstacle) = obstacle_of_adoption(encoder) {
        return Some(obstacle);
    }
    let abilities = &place.description.abilities;
    // One that is still being opened has not told what it can do; its agent lets the job wait, and knows soon.
    let known = place.description.state != EncoderState::Starting;
    let name = encoder.name();
    let message = match request.credential {
        Some(_) if abilities.makes_keys => format!(
            "the encoder \"{name}\" makes keys itself and takes no card images, which is what this access system makes"
        ),
        Some(_) if known && !abilities.encode => {
            format!("the encoder \"{name}\" cannot write cards")
        }
        None if known && !abilities.scan => format!("the encoder \"{name}\" cannot read cards"),
        Some(_) | None => return None,
    };
    Some(fail(ErrorCode::UncategorizedError, message))
}
