//! How soon a cancelled job has its outcome and the encoder serves the next one: `cargo bench --bench cancel`.
//!
//! A scripted coordinator and the agent's process; the emulated PN532 takes the time of its line at 115200 baud and of the
//! air, the emulated MSR605 that of its line at 9600 baud. Two jobs are queued, the first is cancelled. On the PN532:
//!
//! - *waiting*: no card lies there. The next one is served when the agent says of it that it waits for a card.
//! - *presented*: a card lies there and no plan has come. The next one is served when the card is presented for it.
//! - *preparing*: the encoder authenticates 15 sectors. The next one is served when the card is presented for it.
//!
//! On the MSR605, which must be reset and asked whether it took a card:
//!
//! - *armed*: it awaits the swipe that writes. The next one is served when it is presented.
//! - *reading*: it awaits the swipe of a scan. The next one is served when it is presented.

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

    use encoder_agent::emulation::PtyMsr605;
    use encoder_protocols::{
        msr605::emulator::Pace,
        wire::{ErrorCode, Job, JobKind, Progress, ServiceMessage},
    };

    use crate::desk::setting::{CARD, REAL, Setting, finished, read_stripe, write, write_stripe};

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
            print(&format!("{stage:?}"), outcomes, served)?;
        }
        for (name, kind) in [("Armed", JobKind::Encode), ("Reading", JobKind::Scan)] {
            let times = runtime.block_on(swipe_cancels(kind));
            let (outcomes, served): (Vec<_>, Vec<_>) = times.into_iter().unzip();
            print(name, outcomes, served)?;
        }
        Ok(())
    }

    fn print(stage: &str, outcomes: Vec<Duration>, served: Vec<Duration>) -> std::io::Result<()> {
        for (what, times) in [("to the outcome", outcomes), ("to the next job", served)] {
            writeln!(stdout(), "{stage:<11}{what:<17}{}", figures(times))?;
        }
        Ok(())
    }

    /// Cancels jobs for which the encoder awaits a swipe.
    async fn swipe_cancels(kind: JobKind) -> Vec<(Duration, Duration)> {
        let pace = Pace {
            wire: true,
            swipe: true,
        };
        let mut setting = Setting::swiping(pace).await;
        let mut times = Vec::with_capacity(CANCELS);
        for _ in 0..CANCELS {
            let first = offered(&mut setting, kind).await;
            let presented = setting.presented(&first).await;
            let plan = match kind {
                JobKind::Encode => write_stripe(),
                JobKind::Scan => read_stripe(),
            };
            setting.plan(&presented, plan).await;
            let swipes = |progress: &Progress| *progress == Progress::SwipeCard;
            setting.progress(&first, swipes).await;
            armed(&setting.bench).await;
            let next = offered(&mut setting, kind).await;
            let began = Instant::now();
            cancel(&mut setting, &first).await;
            let outcome = began.elapsed();
            setting.presented(&next).await;
            times.push((outcome, began.elapsed()));
            cancel(&mut setting, &next).await;
        }
        setting.stop().await;
        times
    }

    async fn offered(setting: &mut Setting<PtyMsr605>, kind: JobKind) -> Job {
        let job = setting.job(kind, Duration::from_secs(20));
        setting.offer(&job).await;
        job
    }

    async fn armed(encoder: &PtyMsr605) {
        while !encoder.waits().is_ok_and(|waits| waits) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
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
    async fn cancel<B>(setting: &mut Setting<B>, job: &Job) {
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
