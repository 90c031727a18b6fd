//! Signals: what stops the blog, and what does not.

use std::{
    future::pending,
    io::{self, IsTerminal, stdin},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Heard from when it was made. None of these ends the process by itself.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Heard, and that is all.
    _others: [Signal; 3],
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            _others: [
                signal(SignalKind::quit())?,
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            ],
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
