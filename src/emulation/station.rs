//! The thread on which an emulated encoder lives, and the calls that reach it there.

use std::{fmt, io::Write, os::unix::net::UnixStream, sync::mpsc, thread::JoinHandle};

use super::{EmulationError, line::Wired, pump};

/// What the thread is asked to do.
pub(super) type Call<B> = Box<dyn FnOnce(&mut B) + Send>;

/// An emulated encoder on a thread of its own. Dropping it ends the thread.
pub(super) struct Station<B> {
    calls: mpsc::Sender<Call<B>>,
    /// Interrupts the thread's waiting.
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl<B: Wired> Station<B> {
    pub(super) fn start(bench: B) -> Result<Self, EmulationError> {
        let (wake, woken) = UnixStream::pair().map_err(EmulationError::Terminal)?;
        for end in [&wake, &woken] {
            end.set_nonblocking(true)
                .map_err(EmulationError::Terminal)?;
        }
        let (calls, received) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("emulated-encoder".to_owned())
            .spawn(move || pump::run(bench, &received, &woken))
            .map_err(EmulationError::Thread)?;
        Ok(Self {
            calls,
            wake,
            thread: Some(thread),
        })
    }

    /// Runs on the emulator's thread and waits for the answer.
    pub(super) fn ask<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut B) -> R + Send + 'static,
    ) -> Result<R, EmulationError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let call = Box::new(move |bench: &mut B| {
            // A caller that has gone away needs no answer.
            let _ = answer.send(call(bench));
        });
        self.calls.send(call).map_err(|_| EmulationError::Ended)?;
        wake(&self.wake);
        answered.recv().map_err(|_| EmulationError::Ended)
    }
}

impl<B> fmt::Debug for Station<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Station").finish_non_exhaustive()
    }
}

impl<B> Drop for Station<B> {
    fn drop(&mut self) {
        let (closed, _) = mpsc::channel();
        drop(std::mem::replace(&mut self.calls, closed));
        wake(&self.wake);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

fn wake(mut thread: &UnixStream) {
    // A full buffer wakes the thread just as well.
    let _ = thread.write(&[0]);
}

#[cfg(test)]
mod tests {
    use encoder_protocols::pn532::emulator::{Emulator, Pace};

    use super::{super::line::Line, *};

    struct Desk(Line<Emulator>);

    impl Wired for Desk {
        type Device = Emulator;

        fn line(&mut self) -> &mut Line<Emulator> {
            &mut self.0
        }
    }

    #[test]
    fn what_has_ended_says_so() {
        let line = Line::open(Emulator::new(Pace::INSTANT), None, false).unwrap();
        let station = Station::start(Desk(line)).unwrap();
        assert_eq!(station.ask(|_| 1).unwrap(), 1);
        let (closed, receiver) = mpsc::channel();
        drop(receiver);
        let ended: Station<Desk> = Station {
            calls: closed,
            wake: station.wake.try_clone().unwrap(),
            thread: None,
        };
        assert!(matches!(ended.ask(|_| ()), Err(EmulationError::Ended)));
    }
}
