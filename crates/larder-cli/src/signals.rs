//! Signals: what stops the gateway, and what does not.

use std::{io, time::Duration};

use rustix::process::Signal;
use tokio::{
    signal::unix::{self, SignalKind, signal},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

const SIGVTALRM: i32 = Signal::VTALARM.as_raw();
const SIGPROF: i32 = Signal::PROF.as_raw();

/// What supervisors and terminals send besides, and what is said to it. Unheard, each would end the process.
/// (SIGPIPE is not one of these: Rust's runtime has it ignored.)
const OTHERS: [(&str, SignalKind, &str); 6] = [
    ("SIGQUIT", SignalKind::quit(), "SIGTERM stops"),
    ("SIGUSR2", SignalKind::user_defined2(), "it has no meaning here"),
    ("SIGALRM", SignalKind::alarm(), "it has no meaning here"),
    ("SIGVTALRM", SignalKind::from_raw(SIGVTALRM), "it has no meaning here"),
    ("SIGPROF", SignalKind::from_raw(SIGPROF), "it has no meaning here"),
    ("SIGIO", SignalKind::io(), "it has no meaning here"),
];

/// Whether settings are to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reread {
    /// In any case.
    Told,
    /// If a file has changed, and that is wanted.
    IfChanged,
}

/// Heard from when it was made. Dropping it lets later ones go unheard; none of them ends the process.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
    user1: unix::Signal,
    _others: JoinSet<()>,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Signals> {
        let mut others = JoinSet::new();
        for (name, kind, answer) in OTHERS {
            let mut signal = signal(kind)?;
            others.spawn(async move {
                while signal.recv().await.is_some() {
                    tracing::info!("{name} changes nothing: {answer}");
                }
            });
        }
        let (interrupt, terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (hangup, user1) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
        Ok(Signals { interrupt, terminate, hangup, user1, _others: others })
    }

    /// Ready once it is told to stop. Until then it calls back each time that it is told to read its settings again, and
    /// every so often, so that they may be looked at; and `reopen` each time that a file of its was moved away.
    pub(crate) async fn told_to_reread_until_stop(
        &mut self,
        every: Duration,
        mut reread: impl FnMut(Reread),
        mut reopen: impl FnMut(),
    ) {
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => reread(Reread::Told),
                _ = looks.tick() => reread(Reread::IfChanged),
                _ = self.user1.recv() => reopen(),
            }
        }
    }

    /// Ctrl-C, or what a supervisor sends: ready once for each.
    pub(crate) async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
