//! The kill matrix: the real agent and the real coordinator are killed at every step of their databases and at every byte
//! of the exchange with the device, and started again.
//!
//! A case says who is killed where, what its disk loses, and what lies on the encoder afterwards. Every
//! case is a site of its own, with a coordinator, an agent and an encoder on a pseudo terminal, and is played from the
//! request over HTTP to the jobs that come after it. Then HTTP, journal, store and the memory of every card are held
//! against the [invariants](crate::invariants).
//!
//! A power cut is a kill after which the bytes that were not flushed are set back, wholly or in part. What a file system
//! may lose besides, such as the name of a new file, it does not lose here. Bytes to the device that were not yet on the
//! line are lost with either kill; a process that dies alone leaves them to the system, which is the kill at the frame's
//! last byte.

mod api;
mod case;
mod command;
mod device;
mod disk;
mod error;
mod judge;
mod matrix;
mod memory;
mod next;
mod phase;
mod play;
mod process;
mod scene;
mod site;

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use encoder_agent::clock::Clock;

pub use command::main;
pub use error::HarnessError;
pub use matrix::{Matrix, Options};

/// Between two looks at something that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The longest pause between two looks at something that takes its time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many may want to come back to the machine while another one begins.
const FEW: usize = 8;

/// Lets only so many cases use the machine at a time, so that load decides no timing; those that wait step aside. Nobody
/// begins while many want to come back: the products' own times run on meanwhile.
#[derive(Debug)]
struct Gate {
    places: Mutex<Places>,
    freed: Condvar,
}

#[derive(Debug)]
struct Places {
    free: usize,
    coming_back: usize,
}

impl Gate {
    const fn new(places: usize) -> Self {
        Self {
            places: Mutex::new(Places {
                free: places,
                coming_back: 0,
            }),
            freed: Condvar::new(),
        }
    }

    /// Works inside.
    fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        drop(self.enter(|places| places.free == 0 || places.coming_back > FEW));
        let done = work();
        self.leave();
        done
    }

    /// Waits outside.
    fn aside<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.leave();
        let waited = wait();
        self.places().coming_back += 1;
        self.enter(|places| places.free == 0).coming_back -= 1;
        // Who begins may have waited for this one alone.
        self.freed.notify_all();
        waited
    }

    fn enter(&self, is_full: impl Fn(&Places) -> bool) -> MutexGuard<'_, Places> {
        let entered = self
            .freed
            .wait_while(self.places(), |places| is_full(places));
        let mut places = entered.unwrap_or_else(PoisonError::into_inner);
        places.free -= 1;
        places
    }

    fn leave(&self) {
        self.places().free += 1;
        self.freed.notify_all();
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks until `is_so`, at longest for `limit`; true if it came to be so.
fn until(
    limit: Duration,
    mut is_so: impl FnMut() -> Result<bool, HarnessError>,
) -> Result<bool, HarnessError> {
    let clock = Clock::start();
    let end = clock.now() + limit;
    let mut wait = LOOK_AGAIN;
    loop {
        if is_so()? {
            return Ok(true);
        }
        if clock.now() >= end {
            return Ok(false);
        }
        pause(wait);
        wait = (wait + wait / 4).min(LONGEST_PAUSE);
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the harness looks from outside at other processes, which tell nobody when something has come to be"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T, HarnessError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(HarnessError::system("a runtime"))?;
    Ok(runtime.block_on(future))
}
