//! A card lies there, or the plan of a bound job is asked for again.

use encoder_protocols::{
    card::Uid,
    wire::{
        CardPlan, CardPresented, ErrorCode, JobId, JobKind, MAX_CARDS_PER_JOB, Plan, PlanPurpose,
        PlanRequest, ServiceMessage, Touched,
    },
};
use jiff::Timestamp;

use super::{
    AgentId, AuditAction, Binding, Book, BootId, Change, Decision, Delivery, Hold, HoldState,
    JobRecord, PlanContent, SessionId, Violation, budget::PlanBudget,
};

/// Why a card is not taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The code that the job ends with.
    pub code: ErrorCode,
    /// Why, and what to do.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl Book {
    /// Decides on a presented card (rules 1, 2, 6, 9 and 11). `prepared` is what the access system says of this card:
    /// what a plan for it would be made of (nothing for a scan), or why it cannot be used.
    ///
    /// The job and its credential's holds must be at hand.
    ///
    /// # Errors
    /// [`Violation`] when the job belongs to another agent.
    pub fn card_presented(
        &mut self,
        now: Timestamp,
        agent: AgentId,
        session: SessionId,
        presented: &CardPresented,
        prepared: Result<Option<PlanContent>, Refusal>,
        made_at: Option<Timestamp>,
    ) -> Result<Decision, Violation> {
        let mut out = Decision::default();
        let Some((job, boot)) = self.waiting_job(agent, session, presented.job_id, &mut out)?
        else {
            return Ok(out);
        };
        if self.is_repeated(job, session, presented) {
            out.messages.push(plan_of(session, job.clone(), None));
            return Ok(out);
        }
        let verdict = self
            .refusal(job, presented, made_at)
            .map_or_else(|| prepared, Err)
            .and_then(|content| self.spend(now, agent).map(|()| content));
        match verdict {
            Err(refusal) => refuse(session, presented, refusal, &mut out),
            Ok(content) => self.bind(now, session, boot, presented, content, &mut out),
        }
        Ok(out)
    }

    /// What the book says of a presented card before a key server is asked what goes onto it: none where it is to be asked.
    /// [`Book::card_presented`] decides anew once it has answered.
    ///
    /// The job and its credential's holds must be at hand.
    ///
    /// # Errors
    /// [`Violation`] when the job belongs to another agent.
    pub fn before_asking(
        &mut self,
        now: Timestamp,
        agent: AgentId,
        session: SessionId,
        presented: &CardPresented,
        made_at: Option<Timestamp>,
    ) -> Result<Option<Decision>, Violation> {
        let mut out = Decision::default();
        let Some((job, _)) = self.waiting_job(agent, session, presented.job_id, &mut out)? else {
            return Ok(Some(out));
        };
        if self.is_repeated(job, session, presented) {
            out.messages.push(plan_of(session, job.clone(), None));
            return Ok(Some(out));
        }
        let refusal = self.refusal(job, presented, made_at);
        // A question costs as much as a plan, so that a stolen token cannot wear a key server out.
        let verdict = refusal.map_or_else(|| self.spend(now, agent), Err);
        Ok(verdict.err().map(|refusal| {
            refuse(session, presented, refusal, &mut out);
            out
        }))
    }

    /// Has a presented card left alone, so that the job goes on waiting for another one: it is none of those that the job is
    /// about. Nothing is bound.
    ///
    /// The job must be at hand.
    ///
    /// # Errors
    /// [`Violation`] when the job belongs to another agent.
    pub fn card_not_taken(
        &self,
        agent: AgentId,
        session: SessionId,
        presented: &CardPresented,
    ) -> Result<Decision, Violation> {
        let mut out = Decision::default();
        let waiting = self.waiting_job(agent, session, presented.job_id, &mut out)?;
        if waiting.is_some() {
            answer(session, presented, Plan::Ignore, &mut out);
        }
        Ok(out)
    }

    /// The job if it still waits for a card, with the start of the process that this session is of; otherwise it is
    /// cancelled.
    fn waiting_job(
        &self,
        agent: AgentId,
        session: SessionId,
        id: JobId,
        out: &mut Decision,
    ) -> Result<Option<(&JobRecord, BootId)>, Violation> {
        let Some(boot) = self.boot_of(agent, session) else {
            return Ok(None);
        };
        let job = self.owned_job(agent, id)?.filter(|job| {
            job.attempt.is_pending() && job.outcome.is_none() && job.cancelled.is_none()
        });
        if job.is_none() {
            self.send_cancel(session, id, out);
        }
        Ok(job.map(|job| (job, boot)))
    }

    /// Decides on a wish for the plan of a bound job (rule 5). It is answered for the bound card alone, also after the
    /// attempt has ended.
    ///
    /// # Errors
    /// [`Violation`] when the job belongs to another agent.
    pub fn plan_request(
        &mut self,
        now: Timestamp,
        agent: AgentId,
        session: SessionId,
        wish: &PlanRequest,
    ) -> Result<Decision, Violation> {
        let mut out = Decision::default();
        if self.boot_of(agent, session).is_none() {
            return Ok(out);
        }
        let bound = self.owned_job(agent, wish.job_id)?.filter(|job| {
            job.outcome.is_none()
                && job.kind == JobKind::Encode
                && job
                    .binding
                    .as_ref()
                    .is_some_and(|binding| binding.uid == Some(wish.uid) && binding.n == wish.n)
        });
        let answer = bound.cloned().ok_or_else(|| {
            Refusal::new(
                ErrorCode::EncodingInterrupted,
                "the job is not bound to this card, so it cannot be compared; use a new card and a new credential",
            )
        });
        match answer.and_then(|job| self.spend(now, agent).map(|()| job)) {
            Ok(job) => {
                let plan = plan_of(session, job, Some(PlanPurpose::Verify));
                out.messages.push(plan);
            }
            Err(Refusal { code, message }) => out.send(
                session,
                ServiceMessage::CardPlan(CardPlan {
                    job_id: wish.job_id,
                    n: wish.n,
                    uid: Some(wish.uid),
                    plan: Plan::Refuse { code, message },
                }),
            ),
        }
        Ok(out)
    }

    /// The same presentation again, in the session it was bound in: the same plan is the answer.
    fn is_repeated(&self, job: &JobRecord, session: SessionId, presented: &CardPresented) -> bool {
        job.binding.as_ref().is_some_and(|binding| {
            binding.n == presented.n && binding.session == session && binding.card == presented.card
        })
    }

    /// Why this job may not take this card.
    fn refusal(
        &self,
        job: &JobRecord,
        presented: &CardPresented,
        made_at: Option<Timestamp>,
    ) -> Option<Refusal> {
        let uid = presented.card.uid;
        refusal_of_presentation(job, uid, presented.n).or_else(|| {
            let credential = job.credential?;
            if self.open_job_of(credential, Some(job.id)).is_some()
                || self.open_orphan_of(credential).is_some()
            {
                return Some(Refusal::new(
                    ErrorCode::UncategorizedError,
                    "another encode of this credential is still open; wait for its outcome",
                ));
            }
            if self.held_elsewhere(credential, uid, job) {
                let message = if uid.is_none() {
                    "this credential may be on a card already, and without a uid no card can be told to be that one; create a new credential"
                } else {
                    "this credential is tied to another card; put that same card down, or make a new credential"
                };
                return Some(Refusal::new(
                    ErrorCode::CredentialCannotBeReissued,
                    message,
                ));
            }
            let awaited = made_at.map(|at| self.agents_to_hear(job.system, at))?;
            (!awaited.is_empty()).then(|| {
                Refusal::new(
                    ErrorCode::UncategorizedError,
                    format!(
                        "the service was restored from a backup and has not yet heard every agent: {}",
                        awaited.join(", ")
                    ),
                )
            })
        })
    }

    fn spend(&mut self, now: Timestamp, agent: AgentId) -> Result<(), Refusal> {
        let budget = self
            .budgets
            .entry(agent)
            .or_insert_with(|| PlanBudget::full(now));
        if budget.take(now) {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorCode::UncategorizedError,
            "this agent has asked for too many plans; wait a minute and try again",
        ))
    }

    /// Binds the job to the card; the plan goes out after the commit.
    fn bind(
        &mut self,
        now: Timestamp,
        session: SessionId,
        boot: BootId,
        presented: &CardPresented,
        content: Option<PlanContent>,
        out: &mut Decision,
    ) {
        let Some(job) = self.jobs.get_mut(&presented.job_id) else {
            return;
        };
        let uid = presented.card.uid;
        job.binding = Some(Binding {
            n: presented.n,
            uid,
            card: presented.card,
            session,
            boot,
            content,
        });
        if let Some(uid) = uid.filter(|uid| !job.cards.contains(uid)) {
            job.cards.push(uid);
        }
        let job = job.clone();
        out.save(&job);
        out.audit(now, AuditAction::Bound, &job, uid, None);
        if let (JobKind::Encode, Some(credential)) = (job.kind, job.credential) {
            // An unpinned job has changed no card yet, as its new presentation says: only the newest card is held.
            if !job.pinned {
                self.drop_holds(job.id, out);
            }
            self.put_hold(
                Hold {
                    job: job.id,
                    credential,
                    uid,
                    state: HoldState::Bound,
                },
                out,
            );
        }
        out.messages.push(plan_of(session, job, None));
    }

    /// Puts a hold in place of the same job's hold on the same card.
    pub(crate) fn put_hold(&mut self, hold: Hold, out: &mut Decision) {
        let holds = self.holds.entry(hold.credential).or_default();
        holds.retain(|other| other.job != hold.job || other.uid != hold.uid);
        holds.push(hold.clone());
        out.store(Change::PutHold(hold));
    }

    /// Ends every hold of the job.
    pub(crate) fn drop_holds(&mut self, job: JobId, out: &mut Decision) {
        let mut any = false;
        for holds in self.holds.values_mut() {
            let before = holds.len();
            holds.retain(|hold| hold.job != job);
            any |= holds.len() != before;
        }
        if any {
            out.store(Change::DropHolds(job));
        }
    }
}

fn plan_of(session: SessionId, job: JobRecord, purpose: Option<PlanPurpose>) -> Delivery {
    Delivery::Plan {
        session,
        job: Box::new(job),
        purpose,
    }
}

/// What the job's own earlier presentations forbid (rule 1).
fn refusal_of_presentation(job: &JobRecord, uid: Option<Uid>, n: u64) -> Option<Refusal> {
    let bound = job.binding.as_ref();
    if bound.is_some_and(|binding| n <= binding.n) {
        return Some(Refusal::new(
            ErrorCode::UncategorizedError,
            format!("presentation {n} of this job was answered before; present the card anew"),
        ));
    }
    let is_new = uid.is_some_and(|uid| !job.cards.contains(&uid));
    (is_new && job.cards.len() >= MAX_CARDS_PER_JOB).then(|| {
        Refusal::new(
            ErrorCode::UncategorizedError,
            format!("too many different cards: this job was bound to {MAX_CARDS_PER_JOB} already; ask for it again"),
        )
    })
}

fn refuse(
    session: SessionId,
    presented: &CardPresented,
    Refusal { code, message }: Refusal,
    out: &mut Decision,
) {
    answer(session, presented, Plan::Refuse { code, message }, out);
}

fn answer(session: SessionId, presented: &CardPresented, plan: Plan, out: &mut Decision) {
    out.send(
        session,
        ServiceMessage::CardPlan(CardPlan {
            job_id: presented.job_id,
            n: presented.n,
            uid: presented.card.uid,
            plan,
        }),
    );
}

/// How sure a hold is after an outcome.
pub(crate) const fn hold_state(touched: Touched) -> Option<HoldState> {
    match touched {
        Touched::Untouched => None,
        Touched::Unknown => Some(HoldState::Unknown),
        Touched::Written => Some(HoldState::Written),
    }
}
