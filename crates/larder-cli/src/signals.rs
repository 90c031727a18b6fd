//! Signals: what the gateway is told from outside, and what each means.

use std::{io, time::Duration};

use rustix::process::Signal;
use tokio::{
    signal::unix::{self, SignalKind, signal},
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};

const SIGVTALRM: i32 = Signal::VTALARM.as_raw();
const SIGPROF: i32 = Signal::PROF.as_raw();

/// What supervisors and terminals send besides, and what is said to it. Unheard, each would end the process.
/// (SIGPIPE is not one of these: Rust's runtime has it ignored.)
const OTHERS: [(&str, SignalKind, &str); 5] = [
    ("SIGQUIT", SignalKind::quit(), "SIGTERM stops"),
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

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Ctrl-C, or what a supervisor sends.
    Stop,
    /// Settings may be read again.
    Reread(Reread),
    /// A file of its was moved away.
    Reopen,
    /// Another process is to take over.
    Upgrade,
}

/// Heard from when it was made. Dropping it lets later ones go unheard; none of them ends the process.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
    user1: unix::Signal,
    user2: unix::Signal,
    looks: Interval,
    _others: JoinSet<()>,
}

impl Signals {
    /// `every` so often settings may be looked at.
    pub(crate) fn listen(every: Duration) -> io::Result<Signals> {
        let mut others = JoinSet::new();
        for (name, kind, answer) in OTHERS {
            let mut signal = signal(kind)?;
            others.spawn(async move {
                while signal.recv().await.is_some() {
                    tracing::info!("{name} changes nothing: {answer}");
                }
            });
        }
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            looks,
            _others: others,
        })
    }

    /// The next thing that it is told. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Heard {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Heard::Stop,
            _ = self.terminate.recv() => Heard::Stop,
            _ = self.hangup.recv() => Heard::Reread(Reread::Told),
            _ = self.user1.recv() => Heard::Reopen,
            _ = self.user2.recv() => Heard::Upgrade,
            _ = self.looks.tick() => Heard::Reread(Reread::IfChanged),
        }
    }
}
