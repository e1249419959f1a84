//! The thread that moves bytes and time between the pseudo terminal and the emulated device.

use std::{
    io::Read,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::mpsc::{Receiver, TryRecvError},
    time::Duration,
};

use encoder_protocols::moment::Moment;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    line::{Device, Line, Wired},
    station::Call,
};

/// The system wakes a thread late by this much at most, as a rule. While the wire is paced, the last stretch before a
/// byte is due is spent looking at the clock instead of sleeping.
const LATE_WAKE_UP: Duration = Duration::from_micros(150);
/// While the wire is paced: how long after the last byte the thread watches for the host's next command without sleeping,
/// so that it is timed from when the host wrote it.
const WATCHFUL: Duration = Duration::from_micros(600);
/// After so long without input a claim of exclusive use is taken for abandoned.
const IDLE: Duration = Duration::from_secs(1);

/// Runs until the last caller has gone.
pub(super) fn run<B: Wired>(mut bench: B, calls: &Receiver<Call<B>>, woken: &UnixStream) {
    let mut pump = Pump {
        last_traffic: bench.line().now(),
        idle: false,
    };
    loop {
        match run_calls(&mut bench, calls) {
            Ok(()) => {}
            Err(Gone) => return,
        }
        pump.move_bytes(&mut bench);
        pump.wait(bench.line(), woken);
    }
}

/// Nobody can call any more.
struct Gone;

fn run_calls<B>(bench: &mut B, calls: &Receiver<Call<B>>) -> Result<(), Gone> {
    loop {
        match calls.try_recv() {
            Ok(call) => call(bench),
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => return Err(Gone),
        }
    }
}

struct Pump {
    last_traffic: Moment,
    idle: bool,
}

impl Pump {
    fn move_bytes<B: Wired>(&mut self, bench: &mut B) {
        let line = bench.line();
        if line.take_input() {
            self.last_traffic = line.now();
            self.idle = false;
        }
        if line.give_output() {
            self.last_traffic = line.now();
        }
        if !self.idle && line.now().since(self.last_traffic) >= IDLE {
            self.idle = true;
            line.end_exclusive_use();
        }
        bench.tidy();
    }

    /// Returns when there is something to do, or earlier.
    fn wait<D: Device>(&self, line: &Line<D>, woken: &UnixStream) {
        let now = line.now();
        let due = line.next_due();
        let mut limit = due.map(|due| due.since(now));
        if line.paces_wire() {
            if now.since(self.last_traffic) < WATCHFUL {
                limit = Some(Duration::ZERO);
            }
            limit = limit.map(|limit| limit.saturating_sub(LATE_WAKE_UP));
        }
        if !self.idle {
            limit = Some(limit.unwrap_or(IDLE).min(IDLE));
        }
        sleep(line.terminal(), woken, limit);
    }
}

/// Sleeps until there is input, a call, or `limit` has passed; `None` for no limit.
fn sleep(terminal: Option<&OwnedFd>, woken: &UnixStream, limit: Option<Duration>) {
    let limit = limit.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    });
    let mut sources = vec![PollFd::new(woken, PollFlags::IN)];
    if let Some(terminal) = terminal {
        sources.push(PollFd::new(terminal, PollFlags::IN));
    }
    // An interrupted wait is an early end.
    let _ = poll(&mut sources, limit.as_ref());
    let mut wakes = [0; 64];
    while (&mut &*woken)
        .read(&mut wakes)
        .is_ok_and(|count| count == wakes.len())
    {}
}
