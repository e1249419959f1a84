//! A job's wait for its card, the presentation of that card, and the job's timers.

use encoder_protocols::{
    card::CardDescription,
    moment::Moment,
    wire::{AgentMessage, CardPresented, JobId, MAX_CARDS_PER_JOB, Progress},
};

use super::{
    action::{AfterPersist, Now},
    job::{Front, Job, Phase},
    machine::Jobs,
    outcome::{self, InTheWay},
    presence::Standing,
    session::Session,
};
use crate::{
    encoder::{EncoderCommand, Poll, Signal},
    journal::Record,
};

impl Jobs {
    /// Brings the job at the head of a queue on, as far as it can go now.
    pub(super) fn go_on(&mut self, now: Now, job_id: JobId) {
        let Some(id) = self.open.get(&job_id).map(|job| job.encoder) else {
            return;
        };
        if self.is_lent(id) {
            return;
        }
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        match job.phase {
            Phase::Looking(_) => self.look(now, job_id),
            Phase::Waiting if self.draining => {}
            Phase::Waiting => {
                if job.times.headed.is_none() {
                    job.times.headed = Some(now.at);
                    job.wait.go_on(now.at);
                    self.command(id, EncoderCommand::Signal(Signal::Waiting));
                }
                self.consider(now, job_id);
            }
            Phase::Settling
            | Phase::Planning(_)
            | Phase::Preparing { .. }
            | Phase::Reading(_)
            | Phase::Writing(_)
            | Phase::Armed(_)
            | Phase::Reswiping(_) => {}
        }
    }

    /// What a job at the head may do with what lies on its encoder.
    pub(super) fn standing(&self, job: &Job) -> Standing {
        self.encoders
            .get(job.encoder.0)
            .map_or(Standing::Unseen, |encoder| {
                encoder
                    .field
                    .standing(job.is_encode(), job.facts.credential_id)
            })
    }

    /// Says where the job stands, unless that was said already on this connection.
    pub(super) fn tell(&mut self, job_id: JobId, progress: Progress) {
        if !matches!(self.session, Session::Welcomed { .. }) {
            return;
        }
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        if job.told.as_ref() != Some(&progress) {
            job.told = Some(progress.clone());
            self.send(AgentMessage::JobProgress { job_id, progress });
        }
    }

    /// The card of a presented job may no longer lie there.
    pub(super) fn compare_with_front(&mut self, now: Now, job_id: JobId, poll: Poll) {
        let Some(Phase::Planning(front)) = self.open.get(&job_id).map(|job| &job.phase) else {
            return;
        };
        if !matches!(poll, Poll::Card(card) if card.uid == front.card.uid) {
            self.lose_card(now, job_id);
        }
    }

    /// The presented card is gone before anything changed: the job waits on.
    pub(super) fn lose_card(&mut self, now: Now, job_id: JobId) {
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        if matches!(job.phase, Phase::Planning(_)) {
            job.phase = Phase::Waiting;
            job.wait.go_on(now.at);
            self.tell(job_id, Progress::CardRemoved);
        }
    }

    /// The presentation is spent: the coordinator is asked for a plan.
    pub(super) fn presented(&mut self, now: Now, job_id: JobId, front: Front) {
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        job.durable_n = job.durable_n.max(front.n);
        job.phase = Phase::Planning(front);
        job.times.presented = Some(now.at);
        job.told = None;
        self.send(AgentMessage::CardPresented(CardPresented {
            job_id,
            n: front.n,
            card: front.card,
        }));
        // A card that is to be swiped is not there yet; nobody may swipe it before its plan has come.
        if !front.card.technology.is_swiped() {
            self.tell(job_id, Progress::CardPresented);
        }
    }

    /// The presentation could not be made durable: the next poll tries again.
    pub(super) fn not_presented(&mut self, job_id: JobId) {
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        job.phase = Phase::Waiting;
        if let Some(encoder) = self.encoders.get_mut(job.encoder.0) {
            encoder.field.lose_sight();
        }
    }

    /// When the job wants to be looked at without any other input.
    pub(super) fn job_wakes_at(&self, job: &Job) -> Option<Moment> {
        match &job.phase {
            Phase::Waiting | Phase::Planning(_) => {
                let is_planning = matches!(job.phase, Phase::Planning(_));
                let plans_until = self.plans_until.filter(|_| is_planning);
                let gone = self
                    .encoders
                    .get(job.encoder.0)
                    .and_then(|encoder| encoder.gives_up_at());
                [Some(job.deadline), job.wait.until(), gone, plans_until]
                    .into_iter()
                    .flatten()
                    .min()
            }
            Phase::Preparing { .. } => Some(job.deadline),
            // The wait goes on only where a swipe is awaited.
            Phase::Reading(_) => [Some(job.deadline), job.wait.until()]
                .into_iter()
                .flatten()
                .min(),
            Phase::Armed(armed) => armed.given_up.is_none().then_some(armed.until),
            Phase::Reswiping(reswiping) => reswiping.given_up.is_none().then_some(reswiping.until),
            Phase::Looking(looking) => looking.until.or_else(|| self.gives_up_look_at(job)),
            Phase::Settling | Phase::Writing(_) => None,
        }
    }

    /// Ends the job if one of its times is over.
    pub(super) fn job_timeout(&mut self, now: Now, job_id: JobId) {
        let Some(job) = self.open.get(&job_id) else {
            return;
        };
        if self.job_wakes_at(job).is_none_or(|at| at > now.at) {
            return;
        }
        if matches!(job.phase, Phase::Armed(_) | Phase::Reswiping(_)) {
            return self.swipe_timeout(now, job_id);
        }
        if matches!(job.phase, Phase::Planning(_))
            && self.plans_until.is_some_and(|until| until <= now.at)
        {
            let id = job.encoder;
            self.set_phase(job_id, Phase::Waiting);
            return self.settle(now, id);
        }
        let in_the_way = self.in_the_way(job);
        let gone = self
            .encoders
            .get(job.encoder.0)
            .filter(|encoder| encoder.gives_up_at().is_some_and(|at| at <= now.at));
        let error = if matches!(job.phase, Phase::Looking(_)) {
            outcome::not_verified(if gone.is_some() {
                "its encoder did not come back"
            } else {
                "the card was not there to be compared, or could not be read"
            })
        } else if job.deadline <= now.at {
            outcome::expired(in_the_way)
        } else if let Some(encoder) = gone {
            outcome::encoder_gone(encoder)
        } else if matches!(job.phase, Phase::Reading(_)) {
            outcome::no_swipe(job.facts.card_wait)
        } else {
            outcome::no_card(job.facts.card_wait, in_the_way)
        };
        self.give_up_operation(job_id);
        self.fail(job_id, error);
    }

    fn in_the_way(&self, job: &Job) -> Option<InTheWay> {
        if !self.is_head(job) {
            return None;
        }
        match self.standing(job) {
            Standing::MustLift => Some(InTheWay::WrittenCard),
            Standing::Several => Some(InTheWay::SeveralCards),
            Standing::Unseen | Standing::Empty | Standing::GoOnWaiting | Standing::Takes(_) => None,
        }
    }

    /// Takes the card that lies there, or says why not.
    fn consider(&mut self, now: Now, job_id: JobId) {
        let Some(job) = self.open.get(&job_id) else {
            return;
        };
        let standing = self.standing(job);
        if let Standing::Takes(card) = standing {
            self.take(now, job_id, card);
            return;
        }
        if standing != Standing::Unseen
            && let Some(job) = self.open.get_mut(&job_id)
        {
            job.wait.go_on(now.at);
        }
        match standing {
            Standing::Empty => self.tell(job_id, Progress::WaitingForCard),
            Standing::Several => self.tell(job_id, Progress::SeveralCards),
            Standing::MustLift => self.tell(job_id, Progress::LiftCard),
            Standing::Unseen | Standing::GoOnWaiting | Standing::Takes(_) => {}
        }
    }

    fn take(&mut self, now: Now, job_id: JobId, card: CardDescription) {
        let welcomed = matches!(self.session, Session::Welcomed { .. });
        let Some(job) = self.open.get_mut(&job_id) else {
            return;
        };
        job.wait.pause(now.at);
        // Without a UID the job alone is the binding, and only where the medium never has one.
        if card.uid.is_none() && !card.technology.is_swiped() {
            return self.fail(job_id, outcome::no_uid());
        }
        if job.is_encode() && card.uid.is_some_and(|uid| uid.is_random()) {
            job.last_card = Some(card);
            return self.fail(job_id, outcome::random_uid());
        }
        if !welcomed {
            return;
        }
        if let Some(uid) = card.uid.filter(|uid| !job.cards.contains(uid)) {
            if job.cards.len() >= MAX_CARDS_PER_JOB {
                return self.fail(job_id, outcome::too_many_cards());
            }
            job.cards.push(uid);
        }
        job.n += 1;
        job.last_card = Some(card);
        let front = Front { n: job.n, card };
        let record = Record::Presented {
            job_id,
            n: front.n,
            uid: card.uid,
        };
        if front.n <= job.durable_n {
            self.defer(now, record);
            self.presented(now, job_id, front);
        } else {
            job.phase = Phase::Settling;
            self.agenda
                .persist(vec![record], AfterPersist::Presented { job_id, front });
        }
    }
}
