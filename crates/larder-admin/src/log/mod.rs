//! Log: a process's log, on its way to standard error, for which no task waits.
//!
//! A line is added to a bounded buffer, and a thread writes it. Where standard error is not read, lines are
//! lost and counted: an event loop that waited for the log would answer no request. What clients can
//! cause is limited for each kind of line, and what was left out is counted in a line of its own.

mod buffer;
mod levels;
mod limit;
mod limiter;

use std::{
    io::{self, IsTerminal, stderr},
    sync::Arc,
    thread,
    time::Duration,
};

use tracing::Level;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

pub use self::levels::{Levels, LevelsError};
use self::{
    buffer::{Buffer, LineWriter},
    limit::Limit,
    limiter::Limiter,
};
use crate::figures::{Family, Figures, Kind};

/// How long a panic waits for its line to be written: the process may be about to end.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The log of this process. Clones are the same log. Dropping it ends nothing: call [`Log::flush`] before the
/// process ends.
#[derive(Clone, Debug)]
pub struct Log {
    buffer: Arc<Buffer>,
    limiter: Arc<Limiter>,
}

impl Log {
    /// Sends this process's `tracing` events, and its panics, to standard error. Events of `limited` and
    /// more severe ones are limited for each place in the code that makes them: ten at once, and then one
    /// a second; what was left out is told every second.
    ///
    /// At most 1 MiB of lines waits to be written, and a line has at most 8 KiB; what is more is lost, and
    /// counted.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    ///
    /// # Panics
    ///
    /// If the process has a subscriber already.
    pub fn start(levels: &Levels, limited: Level) -> io::Result<Log> {
        let buffer = Arc::new(Buffer::default());
        let limiter = Arc::new(Limiter::default());
        let writer = {
            let (buffer, limiter) = (Arc::clone(&buffer), Arc::clone(&limiter));
            move || buffer.write_to(&mut stderr(), &limiter)
        };
        thread::Builder::new().name("larder-log".to_owned()).spawn(writer)?;
        let lines = {
            let buffer = Arc::clone(&buffer);
            tracing_subscriber::fmt::layer()
                .with_target(false)
                .with_ansi(stderr().is_terminal())
                .with_writer(move || LineWriter(Arc::clone(&buffer)))
        };
        let limit = Limit::new(Arc::clone(&limiter), Arc::clone(&buffer), limited);
        tracing_subscriber::registry().with(levels.to_filter()).with(limit).with(lines).init();
        let log = Log { buffer, limiter };
        log.take_panics();
        Ok(log)
    }

    /// The standard hook writes to standard error itself, and would wait for it.
    fn take_panics(&self) {
        let log = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic.to_string().replace('\n', " ");
            tracing::error!(target: "larder::panic", "{text}");
            log.flush(LAST_WORDS);
        }));
    }

    /// Waits until all that was logged is written, or `within` is over.
    pub fn flush(&self, within: Duration) {
        self.buffer.end(&self.limiter);
        self.buffer.wait_until_written(within);
    }
}

impl Figures for Log {
    fn families(&self) -> Vec<Family> {
        let count = |count: u64| count as f64;
        vec![Family {
            name: "log_lines_lost",
            help: "Log lines that were not written, by cause",
            kind: Kind::Counter,
            label: "cause",
            samples: vec![
                ("not_read".into(), count(self.buffer.lost())),
                ("limited".into(), count(self.limiter.left_out())),
            ],
        }]
    }
}
