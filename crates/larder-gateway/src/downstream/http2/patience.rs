//! Patience: how long a connection whose streams are under way waits for its reader.
//!
//! Each stream has limits of its own. Here stands what is about all of them: a connection that is to make room,
//! or to end with its server, and one whose reader has closed its side.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{corked::Corked, notes::Notes};
use crate::{
    downstream::{counters::Timeout, http1::Http1Config},
    timer::Timer,
};

/// How often a reader that has closed its side is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Patience<'a> {
    config: &'a Http1Config,
    /// Since when all streams wait for the reader, and nothing moves. That too little does, the notes say.
    stalled: Timer,
    /// Since when the reader has closed its side, and nothing moves.
    half_closed: Timer,
    look: Timer,
}

impl<'a> Patience<'a> {
    pub(super) fn new(config: &'a Http1Config) -> Self {
        let [stalled, half_closed, look] = Default::default();
        Patience { config, stalled, half_closed, look }
    }

    /// Ready when the streams need not be gone on with. `streams`: how many are under way; `is_crowded`:
    /// whether others wait for what they hold.
    pub(super) fn poll_over<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        streams: usize,
        is_stopping: bool,
        notes: &Notes,
        corked: &Corked<IO>,
        is_crowded: &impl Fn() -> bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let has_moved = notes.take_moved();
        let all_wait = notes.waiting() >= streams;
        if has_moved || !all_wait {
            self.stalled.clear();
        }
        if all_wait {
            self.stalled.ensure(self.config.stalled_timeout);
        }
        let has_closed = corked.has_closed();
        if (is_stopping || has_closed) && all_wait {
            let stalls_at = notes.line_stalls_at(self.config.stalled_timeout);
            let stalled = match stalls_at {
                Some(stalls_at) => self.stalled.poll_passed_or(stalls_at, cx).is_ready(),
                None => self.stalled.poll_passed(cx).is_ready(),
            };
            if stalled {
                self.config.counters.timed_out(Timeout::Stalled);
                return Poll::Ready(());
            }
        }
        if !has_closed {
            return Poll::Pending;
        }
        if has_moved {
            self.half_closed.clear();
        }
        self.half_closed.ensure(self.config.half_closed_timeout);
        if self.half_closed.poll_passed(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            self.look.ensure(LOOK_EVERY);
            if self.look.poll_passed(cx).is_pending() {
                return Poll::Pending;
            }
            self.look.clear();
            if corked.is_reset(cx) || is_crowded() {
                return Poll::Ready(());
            }
        }
    }
}
