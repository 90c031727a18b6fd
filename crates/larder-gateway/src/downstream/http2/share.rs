//! Share: how long one stream waits for its reader, beside the others of its connection.
//!
//! Streams that wait at once share a line, and whoever sends or takes on it serves one after the other. So of n
//! streams that wait each has n times as long; what they have to move together, `notes` says.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::notes::Notes;
use crate::{
    downstream::pace::{MinRate, Pace, later, times},
    timer::Timer,
};

/// How often a stream that waits beside others looks how many they are.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why a stream is waited for no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// It, or all of the connection, is below the least rate.
    TooSlow,
    /// Nothing at all has moved for as long as may be.
    Silent,
}

/// One direction of one stream.
#[derive(Debug)]
pub(super) struct Share {
    rate: MinRate,
    pace: Pace,
    look: Timer,
}

impl Share {
    pub(super) fn new(rate: MinRate) -> Share {
        Share { rate, pace: Pace::new(rate), look: Timer::default() }
    }

    /// The stream waits for its reader. Ready when it has done so for too long: without anything that moved, for
    /// as long as `silence` allows.
    pub(super) fn poll_late(
        &mut self,
        silence: Duration,
        notes: &Notes,
        cx: &mut Context<'_>,
    ) -> Poll<Late> {
        loop {
            let streams = notes.waiting().max(1);
            let mut slow_at = self.pace.wait(streams);
            if let Some(line_slow_at) = notes.line_slow_at() {
                slow_at = slow_at.min(line_slow_at);
            }
            let now = Instant::now();
            let silent_at = later(self.pace.since().unwrap_or(now), times(silence, streams));
            if slow_at.min(silent_at) <= now {
                let late = if slow_at < silent_at { Late::TooSlow } else { Late::Silent };
                return Poll::Ready(late);
            }
            let mut until = slow_at.min(silent_at);
            if streams > 1 {
                until = until.min(now + LOOK_EVERY);
            }
            ready!(self.look.poll_passed_or(until, cx));
        }
    }

    /// The reader has sent or taken so much.
    pub(super) fn moved(&mut self, bytes: usize, notes: &Notes) {
        self.pace.moved(bytes, self.rate, notes.waiting());
    }

    /// The stream waits for its reader, who cannot go on because of us: it is looked at again soon.
    pub(super) fn excuse(&mut self, notes: &Notes, cx: &mut Context<'_>) {
        self.pause(notes);
        // What is later than now has not passed.
        _ = self.look.poll_passed_or(Instant::now() + LOOK_EVERY, cx);
    }

    /// The stream does not wait for its reader.
    pub(super) fn pause(&mut self, notes: &Notes) {
        self.pace.pause(notes.waiting());
    }
}
