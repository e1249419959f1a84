//! The pulse: whether every task of the agent still answers, asked at intervals.
//!
//! A task answers wherever it waits for its mailbox, and while it waits for what may rightly take long: a card that is
//! written, a disk that hangs, another task with a mailbox of its own. It does not while it waits for anything else, and none
//! does while one of them keeps the thread for itself.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

/// How often the tasks are asked where no service manager says how often it wants to hear of them.
pub const UNWATCHED: Duration = Duration::from_secs(10);

/// How long a task may leave a question unanswered before it is named.
const UNNAMED_FOR: Duration = Duration::from_secs(5);

/// Asks every task for a sign of life. Cheap to clone; all clones share one roll.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// The number of the question that is asked.
    question: watch::Sender<u64>,
    tasks: Mutex<BTreeMap<u64, Task>>,
    answered: Notify,
    silent: watch::Sender<Vec<String>>,
}

/// A task, and the last question that it has answered.
#[derive(Debug)]
struct Task {
    name: String,
    answered: u64,
}

/// One task's end of the pulse. The task leaves the roll when this is dropped.
#[derive(Debug, Default)]
pub struct SignOfLife(Option<Member>);

#[derive(Debug)]
struct Member {
    number: u64,
    questions: watch::Receiver<u64>,
    shared: Arc<Shared>,
}

impl Pulse {
    /// Puts a task on the roll, under a name for people.
    pub fn task(&self, name: impl Into<String>) -> SignOfLife {
        let shared = Arc::clone(&self.0);
        // What was asked before is no question to it.
        let questions = shared.question.subscribe();
        let mut tasks = shared.tasks();
        let number = tasks.last_key_value().map_or(0, |(last, _)| last + 1);
        let task = Task {
            name: name.into(),
            answered: *questions.borrow(),
        };
        tasks.insert(number, task);
        drop(tasks);
        SignOfLife(Some(Member {
            number,
            questions,
            shared,
        }))
    }

    /// The tasks that are silent now, by their names.
    pub fn silent(&self) -> watch::Receiver<Vec<String>> {
        self.0.silent.subscribe()
    }

    /// Asks all tasks at this interval, and calls `alive` each time that all of them have answered. Never ends.
    pub async fn beat(&self, interval: Duration, mut alive: impl FnMut()) -> Infallible {
        loop {
            sleep(interval).await;
            self.0.question.send_modify(|question| *question += 1);
            if timeout(UNNAMED_FOR, self.answers(|_| {})).await.is_err() {
                self.answers(|silent| self.tell(silent)).await;
                tracing::info!("every task of the agent answers again");
            }
            alive();
        }
    }

    /// Returns once all have answered; until then `named` is told who has not.
    async fn answers(&self, mut named: impl FnMut(Vec<String>)) {
        loop {
            let silent = self.0.unanswered();
            let is_over = silent.is_empty();
            named(silent);
            if is_over {
                return;
            }
            self.0.answered.notified().await;
        }
    }

    fn tell(&self, silent: Vec<String>) {
        self.0.silent.send_if_modified(|told| {
            let differs = *told != silent;
            if differs && !silent.is_empty() {
                tracing::error!(tasks = silent.join(", "), "no sign of life");
            }
            *told = silent;
            differs
        });
    }
}

impl Shared {
    fn tasks(&self) -> MutexGuard<'_, BTreeMap<u64, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unanswered(&self) -> Vec<String> {
        let question = *self.question.borrow();
        let tasks = self.tasks();
        let silent = tasks.values().filter(|task| task.answered != question);
        silent.map(|task| task.name.clone()).collect()
    }
}

impl SignOfLife {
    /// Answers whenever it is asked; never ends. Belongs into every wait for the task's mailbox; dropping the future loses
    /// nothing.
    pub async fn answer(&mut self) -> Infallible {
        let Some(member) = &mut self.0 else {
            return std::future::pending().await;
        };
        loop {
            if member.questions.changed().await.is_err() {
                return std::future::pending().await;
            }
            let question = *member.questions.borrow_and_update();
            if let Some(task) = member.shared.tasks().get_mut(&member.number) {
                task.answered = question;
            }
            member.shared.answered.notify_one();
        }
    }

    /// Waits for what may rightly take long, and answers meanwhile.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.answer() => match never {},
        }
    }
}

impl Drop for SignOfLife {
    fn drop(&mut self) {
        if let Some(member) = &self.0 {
            member.shared.tasks().remove(&member.number);
            member.shared.answered.notify_one();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
