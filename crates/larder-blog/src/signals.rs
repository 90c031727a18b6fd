//! Signals: what stops the blog, and what does not.

use std::{
    future::pending,
    io::{self, IsTerminal, stdin},
};

use rustix::process;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What supervisors, terminals and timers send besides. Unheard, each would end the process. (SIGPIPE is not
/// one of these: Rust's runtime has it ignored.)
const OTHERS: [SignalKind; 7] = [
    SignalKind::quit(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
    SignalKind::alarm(),
    SignalKind::from_raw(process::Signal::VTALARM.as_raw()),
    SignalKind::from_raw(process::Signal::PROF.as_raw()),
    SignalKind::io(),
];

/// Heard from when it was made. None of these ends the process by itself.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Heard, and that is all.
    _others: Vec<Signal>,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            _others: OTHERS.into_iter().map(signal).collect::<io::Result<_>>()?,
        })
    }

    /// Ctrl-C, what a supervisor sends, or the end of the terminal it was started in: there, the ports would
    /// stay taken by a blog that nobody sees any more.
    pub(crate) async fn told_to_stop(&mut self) {
        let window_closed = async {
            match stdin().is_terminal() {
                true => self.hangup.recv().await,
                false => pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = window_closed => {}
        }
    }
}
