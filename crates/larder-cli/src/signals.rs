//! Signals: what stops the gateway, and what does not.

use std::io;

use rustix::process::Signal;
use tokio::{
    signal::unix::{self, SignalKind, signal},
    task::JoinSet,
};

const SIGVTALRM: i32 = Signal::VTALARM.as_raw();
const SIGPROF: i32 = Signal::PROF.as_raw();

/// What supervisors and terminals send besides, and what is said to it. Unheard, each would end the process.
/// (SIGPIPE is not one of these: Rust's runtime has it ignored.)
const OTHERS: [(&str, SignalKind, &str); 7] = [
    ("SIGQUIT", SignalKind::quit(), "SIGTERM stops"),
    ("SIGUSR1", SignalKind::user_defined1(), "it has no meaning here"),
    ("SIGUSR2", SignalKind::user_defined2(), "it has no meaning here"),
    ("SIGALRM", SignalKind::alarm(), "it has no meaning here"),
    ("SIGVTALRM", SignalKind::from_raw(SIGVTALRM), "it has no meaning here"),
    ("SIGPROF", SignalKind::from_raw(SIGPROF), "it has no meaning here"),
    ("SIGIO", SignalKind::io(), "it has no meaning here"),
];

/// Heard from when it was made. Dropping it lets later ones go unheard; none of them ends the process.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
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
        let hangup = signal(SignalKind::hangup())?;
        Ok(Signals { interrupt, terminate, hangup, _others: others })
    }

    /// Ready once it is told to stop. Until then `reread` is called each time that it is told to read its settings again.
    pub(crate) async fn told_to_reread_until_stop(&mut self, mut reread: impl FnMut()) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => reread(),
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
