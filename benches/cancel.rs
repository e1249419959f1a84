//! How soon a cancelled job has its outcome and the encoder serves the next one: `cargo bench --bench cancel`.
//!
//! A scripted coordinator and the agent's process; the emulated PN532 takes the time of its line at 115200 baud and of the
//! air. Two jobs are queued, the first is cancelled:
//!
//! - *waiting*: no card lies there. The next one is served when the agent says of it that it waits for a card.
//! - *presented*: a card lies there and no plan has come. The next one is served when the card is presented for it.
//! - *preparing*: the encoder authenticates 15 sectors. The next one is served when the card is presented for it.

#[cfg(unix)]
#[path = "../tests/desk/mod.rs"]
mod desk;

#[cfg(unix)]
fn main() -> std::io::Result<()> {
    bench::main()
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod bench {
    #![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

    use std::{
        io::{Write, stdout},
        time::{Duration, Instant},
    };

    use encoder_protocols::wire::{ErrorCode, Job, Progress, ServiceMessage};

    use crate::desk::setting::{CARD, REAL, Setting, finished, write};

    const CANCELS: usize = 100;

    /// Where the first job is when it is cancelled.
    #[derive(Clone, Copy, Debug)]
    enum Stage {
        Waiting,
        Presented,
        Preparing,
    }

    pub(super) fn main() -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        writeln!(stdout(), "{CANCELS} cancels each, in milliseconds")?;
        for stage in [Stage::Waiting, Stage::Presented, Stage::Preparing] {
            let times = runtime.block_on(cancels(stage));
            let (outcomes, served): (Vec<_>, Vec<_>) = times.into_iter().unzip();
            let told = [("to the outcome", outcomes), ("to the next job", served)];
            for (what, times) in told {
                writeln!(
                    stdout(),
                    "{:<11}{what:<17}{}",
                    format!("{stage:?}"),
                    figures(times)
                )?;
            }
        }
        Ok(())
    }

    async fn cancels(stage: Stage) -> Vec<(Duration, Duration)> {
        let mut setting = Setting::new(REAL).await;
        let mut times = Vec::with_capacity(CANCELS);
        for _ in 0..CANCELS {
            let first = setting.encode().await;
            if !matches!(stage, Stage::Waiting) {
                setting.bench.place(CARD);
            }
            reach(&mut setting, &first, stage).await;
            let next = setting.encode().await;
            let began = Instant::now();
            cancel(&mut setting, &first).await;
            let outcome = began.elapsed();
            served(&mut setting, &next, stage).await;
            times.push((outcome, began.elapsed()));
            cancel(&mut setting, &next).await;
            setting.bench.lift_all();
        }
        setting.stop().await;
        times
    }

    async fn reach(setting: &mut Setting, job: &Job, stage: Stage) {
        match stage {
            Stage::Waiting => waits(setting, job).await,
            Stage::Presented => {
                setting.presented(job).await;
            }
            Stage::Preparing => {
                let presented = setting.presented(job).await;
                setting.plan(&presented, write(1)).await;
            }
        }
    }

    async fn served(setting: &mut Setting, job: &Job, stage: Stage) {
        match stage {
            Stage::Waiting => waits(setting, job).await,
            Stage::Presented | Stage::Preparing => {
                setting.presented(job).await;
            }
        }
    }

    async fn waits(setting: &mut Setting, job: &Job) {
        let waits = |progress: &Progress| *progress == Progress::WaitingForCard;
        setting.progress(job, waits).await;
    }

    /// Cancels a job and waits for its outcome.
    async fn cancel(setting: &mut Setting, job: &Job) {
        setting
            .line
            .say(&ServiceMessage::Cancel {
                job_id: job.job_id,
                code: ErrorCode::CredentialDeleted,
                message: "the credential was deleted".to_owned(),
            })
            .await;
        let ended = finished(&mut setting.line).await;
        assert_eq!(ended.job_id, job.job_id);
        let code = ended.error.as_ref().map(|error| error.code);
        assert_eq!(code, Some(ErrorCode::CredentialDeleted));
        setting.acknowledge(&ended).await;
    }

    fn figures(mut times: Vec<Duration>) -> String {
        times.sort_unstable();
        let at = |share: usize| {
            let index = (times.len() * share / 100).min(times.len().saturating_sub(1));
            times.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3
        };
        format!("p50 {:>6.1}   p99 {:>6.1}", at(50), at(99))
    }
}
