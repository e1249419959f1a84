//! Honest agents that crash, lose links and lose journals, at random against the book: no credential is ever complete
//! on two cards.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else comes changes nothing here"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use encoder_protocols::wire::{
    AgentMessage, JobId, OpenJob, OpenJobState, Outcome, Plan, ServiceMessage, Touched,
};

use super::tests::*;
use super::*;

const SEEDS: u64 = 3_000;
const STEPS: usize = 160;

/// xorshift64*: the same walk for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % sides
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Accepted,
    Presented([u8; 4]),
    Started([u8; 4]),
}

/// What a restarted agent still has of its journal.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Journal {
    Kept,
    Lost,
    /// An old disk image: it knows the jobs, and not that they were started.
    Old,
}

#[derive(Debug)]
struct Held {
    credential: CredentialId,
    key: String,
    n: u64,
    step: Step,
}

/// An agent with its journal.
#[derive(Debug, Default)]
struct Agent {
    boot: u128,
    sequence: u64,
    session: Option<SessionId>,
    inbox: VecDeque<ServiceMessage>,
    jobs: BTreeMap<JobId, Held>,
    finished: BTreeSet<JobId>,
    owed: Vec<encoder_protocols::wire::JobFinished>,
}

struct Bench {
    world: World,
    dice: Dice,
    agents: BTreeMap<AgentId, Agent>,
    /// What each card carries whole, and every card that a credential was ever whole on.
    cards: BTreeMap<[u8; 4], CredentialId>,
    whole: BTreeMap<CredentialId, BTreeSet<[u8; 4]>>,
    successes: u64,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let mut bench = Self {
            world: World::of(Restored::default()),
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            agents: BTreeMap::new(),
            cards: BTreeMap::new(),
            whole: BTreeMap::new(),
            successes: 0,
        };
        for agent in [ONE, TWO] {
            bench.agents.insert(agent, Agent::default());
        }
        for agent in [ONE, TWO] {
            bench.restart(agent, Journal::Kept);
            bench.connect(agent);
        }
        bench
    }

    fn step(&mut self) {
        let agent = [ONE, TWO][self.dice.roll(2)];
        match self.dice.roll(64) {
            0..=5 => self.request(),
            6..=31 => self.read(agent),
            32..=41 => self.present(agent),
            42..=53 => self.write(agent),
            54 => self.drop_link(agent),
            55..=58 => self.connect(agent),
            59 => self.restart_with_some_journal(agent),
            60 => self.expire(agent),
            61 => self.ask_to_verify(agent),
            62 => self.pass_time(),
            _ => {
                self.drop_link(ONE);
                self.drop_link(TWO);
            }
        }
        for (credential, cards) in &self.whole {
            assert!(cards.len() <= 1, "{credential} is whole on {cards:?}");
        }
    }

    fn request(&mut self) {
        let encoder = [ONE_DESK, TWO_DESK][self.dice.roll(2)];
        let credential = [C, D][self.dice.roll(2)];
        let request = Request {
            job: JobId(self.world.fresh()),
            encoder,
            api_key: None,
            credential: Some(CredentialFacts {
                id: credential,
                created_at: start(),
                on_card_unchanged: false,
            }),
        };
        let (_, decision) = self.world.book.request(self.world.now, &request).unwrap();
        self.deliver(decision);
    }

    /// Messages reach a live session, or nobody: also when the service was killed between commit and sending.
    fn deliver(&mut self, decision: Decision) {
        let killed = self.dice.roll(100) == 0;
        for delivery in decision.messages {
            let (session, message) = match delivery {
                Delivery::Message(session, message) => (session, message),
                Delivery::Plan {
                    session,
                    job,
                    purpose,
                } => (session, plan(&job, purpose)),
                Delivery::End(..) => panic!("an honest agent is never sent away"),
            };
            let to = self
                .agents
                .values_mut()
                .find(|agent| agent.session == Some(session));
            if let Some(agent) = to.filter(|_| !killed) {
                agent.inbox.push_back(message);
            }
        }
        if killed {
            self.drop_link(ONE);
            self.drop_link(TWO);
        }
    }

    fn say(&mut self, id: AgentId, message: AgentMessage) {
        let Some(session) = self.agents[&id].session else {
            return;
        };
        let (book, now) = (&mut self.world.book, self.world.now);
        let decision = match &message {
            AgentMessage::CardPresented(presented) => {
                let content = PlanContent {
                    key_version: 1,
                    revision: 1,
                    starts_at: None,
                    ends_at: None,
                    entrances: vec![],
                    issued_at: now,
                };
                book.card_presented(
                    now,
                    id,
                    session,
                    presented,
                    Ok(Some(content)),
                    Some(start()),
                )
            }
            AgentMessage::PlanRequest(wish) => book.plan_request(now, id, session, wish),
            AgentMessage::JobFinished(finished) => {
                book.job_finished(now, id, session, finished, None)
            }
            other => panic!("not said here: {other:?}"),
        };
        self.deliver(decision.expect("an honest agent breaks no rule"));
    }

    fn read(&mut self, id: AgentId) {
        let agent = self.agents.get_mut(&id).unwrap();
        match agent.inbox.pop_front() {
            Some(ServiceMessage::Welcome(welcome)) => {
                agent.sequence = agent.sequence.max(welcome.last_sequence);
                for owed in agent.owed.clone() {
                    self.say(id, AgentMessage::JobFinished(owed));
                }
            }
            Some(ServiceMessage::Job(job)) if !agent.finished.contains(&job.job_id) => {
                agent.jobs.entry(job.job_id).or_insert(Held {
                    credential: CredentialId(job.credential_id.unwrap()),
                    key: job.encoder_key.0,
                    n: 0,
                    step: Step::Accepted,
                });
            }
            Some(ServiceMessage::Cancel { job_id, .. }) => {
                let started = agent
                    .jobs
                    .get(&job_id)
                    .is_some_and(|job| matches!(job.step, Step::Started(_)));
                if !started && !agent.finished.contains(&job_id) {
                    self.finish(id, job_id, Touched::Untouched, None);
                }
            }
            Some(ServiceMessage::FinishedAck { sequence }) => {
                agent.owed.retain(|owed| owed.sequence != sequence);
            }
            Some(ServiceMessage::CardPlan(plan)) => self.take_plan(id, plan),
            _ => {}
        }
    }

    /// The agent drops every plan that is not for the card and presentation in front of it.
    fn take_plan(&mut self, id: AgentId, plan: encoder_protocols::wire::CardPlan) {
        let agent = self.agents.get_mut(&id).unwrap();
        let Some(job) = agent.jobs.get_mut(&plan.job_id) else {
            return;
        };
        match (job.step, plan.plan) {
            (Step::Presented(card), Plan::Write { .. })
                if plan.n == job.n && plan.uid == uid(card) =>
            {
                job.step = Step::Started(card);
            }
            (Step::Presented(card), Plan::Refuse { .. })
                if plan.n == job.n && plan.uid == uid(card) =>
            {
                self.finish(id, plan.job_id, Touched::Untouched, None);
            }
            (Step::Started(card), Plan::Verify { .. }) if plan.uid == uid(card) => {
                let whole = self.cards.get(&card) == Some(&job.credential);
                let touched = if whole {
                    Touched::Written
                } else {
                    Touched::Unknown
                };
                self.finish(id, plan.job_id, touched, Some(card));
            }
            (Step::Started(card), Plan::Refuse { .. }) => {
                self.finish(id, plan.job_id, Touched::Unknown, Some(card));
            }
            _ => {}
        }
    }

    fn pick(&mut self, id: AgentId, wanted: impl Fn(Step) -> bool) -> Option<JobId> {
        let jobs = &self.agents[&id].jobs;
        let fitting: Vec<JobId> = jobs
            .iter()
            .filter(|(_, job)| wanted(job.step))
            .map(|(id, _)| *id)
            .collect();
        (!fitting.is_empty()).then(|| fitting[self.dice.roll(fitting.len())])
    }

    fn present(&mut self, id: AgentId) {
        let Some(job_id) = self.pick(id, |step| !matches!(step, Step::Started(_))) else {
            return;
        };
        let on = [A, B][self.dice.roll(2)];
        let job = self
            .agents
            .get_mut(&id)
            .unwrap()
            .jobs
            .get_mut(&job_id)
            .unwrap();
        job.n += 1;
        job.step = Step::Presented(on);
        let presented = encoder_protocols::wire::CardPresented {
            job_id,
            n: job.n,
            card: card(on),
        };
        self.say(id, AgentMessage::CardPresented(presented));
    }

    /// The started write goes through, tears, or changes nothing.
    fn write(&mut self, id: AgentId) {
        let Some(job_id) = self.pick(id, |step| matches!(step, Step::Started(_))) else {
            return;
        };
        let job = &self.agents[&id].jobs[&job_id];
        let (Step::Started(on), credential) = (job.step, job.credential) else {
            return;
        };
        match self.dice.roll(8) {
            0 => {
                self.cards.remove(&on);
                self.finish(id, job_id, Touched::Unknown, Some(on));
            }
            1 => self.finish(id, job_id, Touched::Untouched, Some(on)),
            roll => {
                self.cards.insert(on, credential);
                self.whole.entry(credential).or_default().insert(on);
                if roll == 2 {
                    // Killed after the last byte, before the outcome was durable.
                    self.restart_with_some_journal(id);
                } else {
                    self.successes += 1;
                    self.finish(id, job_id, Touched::Written, Some(on));
                }
            }
        }
    }

    fn finish(&mut self, id: AgentId, job: JobId, touched: Touched, on: Option<[u8; 4]>) {
        let agent = self.agents.get_mut(&id).unwrap();
        let credential = agent.jobs.remove(&job).map(|job| job.credential);
        let outcome = if touched == Touched::Written {
            Outcome::Success
        } else {
            Outcome::Error
        };
        agent.sequence += 1;
        agent.finished.insert(job);
        let message = finished(job, agent.sequence, credential, outcome, touched, on);
        agent.owed.push(message.clone());
        self.say(id, AgentMessage::JobFinished(message));
    }

    fn expire(&mut self, id: AgentId) {
        if let Some(job) = self.pick(id, |step| !matches!(step, Step::Started(_))) {
            self.finish(id, job, Touched::Untouched, None);
        }
    }

    fn ask_to_verify(&mut self, id: AgentId) {
        let Some(job_id) = self.pick(id, |step| matches!(step, Step::Started(_))) else {
            return;
        };
        let job = &self.agents[&id].jobs[&job_id];
        if let Step::Started(on) = job.step {
            let wish = encoder_protocols::wire::PlanRequest {
                job_id,
                uid: uid(on).unwrap(),
                n: job.n,
                purpose: encoder_protocols::wire::PlanPurpose::Verify,
            };
            self.say(id, AgentMessage::PlanRequest(wish));
        }
    }

    fn pass_time(&mut self) {
        let seconds = [1, 25, 70, 200][self.dice.roll(4)];
        self.world.later(seconds);
        let decision = self.world.book.tick(self.world.now);
        self.deliver(decision);
    }

    fn drop_link(&mut self, id: AgentId) {
        let agent = self.agents.get_mut(&id).unwrap();
        agent.inbox.clear();
        if let Some(session) = agent.session.take() {
            self.world.book.session_lost(self.world.now, id, session);
        }
    }

    fn connect(&mut self, id: AgentId) {
        if self.agents[&id].session.is_some() {
            return;
        }
        let agent = &self.agents[&id];
        let jobs = agent.jobs.iter().map(|(id, job)| {
            let state = match job.step {
                Step::Started(on) => OpenJobState::Started {
                    uid: uid(on),
                    n: job.n,
                },
                Step::Accepted | Step::Presented(_) => OpenJobState::Accepted,
            };
            OpenJob {
                credential_id: Some(job.credential.0),
                ..open(*id, &job.key, state)
            }
        });
        let owed = agent.owed.iter().map(|owed| OpenJob {
            credential_id: owed.credential_id,
            ..open(
                owed.job_id,
                "desk",
                OpenJobState::Finished {
                    sequence: owed.sequence,
                },
            )
        });
        let (listed, boot, sequence) = (jobs.chain(owed).collect(), agent.boot, agent.sequence);
        let session = SessionId(self.world.fresh());
        self.agents.get_mut(&id).unwrap().session = Some(session);
        let decision = self
            .world
            .hello(id, session, boot, listed, sequence)
            .unwrap();
        if self.world.book.live(id).is_some() {
            self.world.list(id, session);
        }
        self.deliver(decision);
    }

    fn restart_with_some_journal(&mut self, id: AgentId) {
        let journal = match self.dice.roll(8) {
            0 => Journal::Lost,
            1 | 2 => Journal::Old,
            _ => Journal::Kept,
        };
        self.restart(id, journal);
    }

    /// The agent's process starts anew.
    fn restart(&mut self, id: AgentId, journal: Journal) {
        self.drop_link(id);
        let boot = self.world.fresh().as_u128();
        let agent = self.agents.get_mut(&id).unwrap();
        agent.boot = boot;
        if journal == Journal::Lost {
            *agent = Agent {
                boot,
                ..Agent::default()
            };
        }
        for job in agent.jobs.values_mut() {
            match job.step {
                Step::Presented(_) => job.step = Step::Accepted,
                Step::Started(_) if journal == Journal::Old => {
                    job.step = Step::Accepted;
                    job.n -= job.n % 2;
                }
                Step::Accepted | Step::Started(_) => {}
            }
        }
    }
}

fn plan(job: &JobRecord, purpose: Option<encoder_protocols::wire::PlanPurpose>) -> ServiceMessage {
    let binding = job.binding.as_ref().unwrap();
    let image =
        encoder_protocols::card::CardImage::MifareClassic(encoder_protocols::card::ClassicImage {
            sectors: vec![],
        });
    ServiceMessage::CardPlan(encoder_protocols::wire::CardPlan {
        job_id: job.id,
        n: binding.n,
        uid: binding.uid,
        plan: match purpose {
            Some(_) => Plan::Verify { image },
            None => Plan::Write { image },
        },
    })
}

#[test]
fn no_credential_is_ever_whole_on_two_cards() {
    let mut successes = 0;
    for seed in 0..SEEDS {
        let mut bench = Bench::new(seed);
        for _ in 0..STEPS {
            bench.step();
        }
        successes += bench.successes;
    }
    assert!(
        successes > SEEDS / 2,
        "the walks must get somewhere: {successes}"
    );
}
