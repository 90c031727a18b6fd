//! Counters: what happened on readers' connections, for monitoring.
//!
//! Nothing here is counted for a request that is answered: the cache counts those. What is counted
//! happens at most once or twice in a connection's life.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::span::Retired;

/// Counts since it was made. Servers that share one are counted together.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) accepted: Count,
    pub(crate) ended: Count,
    pub(crate) turned_away: Count,
    pub(crate) asked_to_leave: Count,
    pub(crate) found_no_room: Count,
    pub(crate) reset: Count,
    handshakes: [Count; Handshaken::NAMES.len()],
    proxied: [Count; Proxied::NAMES.len()],
    timeouts: [Count; Timeout::NAMES.len()],
    too_slow: [Count; TooSlow::NAMES.len()],
    retired: [Count; Retired::NAMES.len()],
    tunnels: Count,
    tunnels_ended: [Count; TunnelEnd::NAMES.len()],
    tunnelled: [Count; 2],
    /// By reason. A request that is refused costs more than this lock.
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

/// [`Counters`], read one by one while others go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Connections that were let in or turned away.
    pub accepted: u64,
    /// Connections that are there now.
    pub open: u64,
    /// Connections closed at once, because their address had as many as it may.
    pub turned_away: u64,
    /// Connections that were to end as soon as they were between two requests, to make room.
    pub asked_to_leave: u64,
    /// Connections that had to wait until another ended.
    pub found_no_room: u64,
    /// Connections that ended in the middle of an answer.
    pub reset: u64,
    /// TLS handshakes: `ok`, `failed`, `timed_out`; `given_up`: for another, since as many were under way as may be;
    /// `plain_text`: the reader did not begin one, and was told to.
    pub handshakes: Vec<(&'static str, u64)>,
    /// Connections where a PROXY header is required: `ok`; `untrusted`: their peer is none that may send one;
    /// `malformed`: they do not begin with one, `timed_out`: not in time. All but the first were closed.
    pub proxied: Vec<(&'static str, u64)>,
    /// What readers were too slow for: `head`, `idle`, `body`, `write`; `stalled`: what is under way did not
    /// go on because of them, while the connection was to make room or the server to stop.
    pub timeouts: Vec<(&'static str, u64)>,
    /// Readers cut off because they went below the least rate ([`MinRate`](super::MinRate)), by what was under
    /// way: `head`, `upload`, `answer`. Where the connection was to make room or the server to stop, they count
    /// as `stalled` instead.
    pub too_slow: Vec<(&'static str, u64)>,
    /// Connections that ended with an answer, since they had as many requests as they may (`requests`), or were as old
    /// (`age`).
    pub retired: Vec<(&'static str, u64)>,
    /// Connections, and streams of HTTP/2, that have switched protocols and have not ended.
    pub tunnels_open: u64,
    /// How the others ended: `closed` by their sides; `idle`; `half_closed`: one side had ended, and the other said
    /// nothing more; `stuck`: one side took nothing for too long; `stopped` with the server; `broken` by one side.
    pub tunnels_ended: Vec<(&'static str, u64)>,
    /// Bytes that went through those: `up` to the origin, `down` to the reader.
    pub tunnelled_bytes: Vec<(&'static str, u64)>,
    /// Requests that no service saw, by why they were refused; what did not happen yet is not there. There
    /// are some dozens of reasons.
    pub refusals: Vec<(&'static str, u64)>,
}

impl Counted {
    /// What was counted at several listeners, together.
    pub fn sum(each: impl IntoIterator<Item = Counted>) -> Counted {
        each.into_iter().fold(Counted::default(), |mut sum, one| {
            let Counted {
                accepted,
                open,
                turned_away,
                asked_to_leave,
                found_no_room,
                reset,
                handshakes,
                proxied,
                timeouts,
                too_slow,
                retired,
                tunnels_open,
                tunnels_ended,
                tunnelled_bytes,
                refusals,
            } = one;
            sum.accepted += accepted;
            sum.open += open;
            sum.turned_away += turned_away;
            sum.asked_to_leave += asked_to_leave;
            sum.found_no_room += found_no_room;
            sum.reset += reset;
            add_named(&mut sum.handshakes, handshakes);
            add_named(&mut sum.proxied, proxied);
            add_named(&mut sum.timeouts, timeouts);
            add_named(&mut sum.too_slow, too_slow);
            add_named(&mut sum.retired, retired);
            sum.tunnels_open += tunnels_open;
            add_named(&mut sum.tunnels_ended, tunnels_ended);
            add_named(&mut sum.tunnelled_bytes, tunnelled_bytes);
            add_named(&mut sum.refusals, refusals);
            sum
        })
    }
}

fn add_named(sum: &mut Vec<(&'static str, u64)>, more: Vec<(&'static str, u64)>) {
    for (name, count) in more {
        match sum.iter_mut().find(|(known, _)| *known == name) {
            Some((_, so_far)) => *so_far += count,
            None => sum.push((name, count)),
        }
    }
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Handshaken {
    Ok,
    Failed,
    TimedOut,
    GivenUp,
    PlainText,
}

impl Handshaken {
    const NAMES: [&str; 5] = ["ok", "failed", "timed_out", "given_up", "plain_text"];
}

/// How a connection began where a PROXY header is required.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proxied {
    Ok,
    Untrusted,
    Malformed,
    TimedOut,
}

impl Proxied {
    const NAMES: [&str; 4] = ["ok", "untrusted", "malformed", "timed_out"];
}

/// What a reader was too slow for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timeout {
    /// The rest of a request's head.
    Head,
    /// A next request. It is no fault.
    Idle,
    /// The next of a request's body.
    Body,
    /// Taking the next of an answer.
    Write,
    /// Any step, while the connection is to make room or the server to stop.
    Stalled,
}

impl Timeout {
    const NAMES: [&str; 5] = ["head", "idle", "body", "write", "stalled"];
}

/// What went on below the least rate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TooSlow {
    Head,
    Upload,
    Answer,
}

impl TooSlow {
    const NAMES: [&str; 3] = ["head", "upload", "answer"];
}

/// How a connection ended that had switched protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TunnelEnd {
    /// Both sides have ended, and were told so.
    Closed,
    /// Nothing moved.
    Idle,
    /// One side had ended, and the other said nothing more.
    HalfClosed,
    /// One side took nothing.
    Stuck,
    /// The server stops.
    Stopped,
    /// One side is gone.
    Broken,
}

impl TunnelEnd {
    const NAMES: [&str; 6] = ["closed", "idle", "half_closed", "stuck", "stopped", "broken"];
}

/// Counts a tunnel as open until it is dropped, and then as broken unless its end was told.
pub(crate) struct OpenTunnel<'a> {
    counters: &'a Counters,
    end: TunnelEnd,
}

impl OpenTunnel<'_> {
    /// It has ended like this, after so many bytes up and down.
    pub(crate) fn ended(mut self, end: TunnelEnd, up: u64, down: u64) {
        self.end = end;
        self.counters.tunnelled[0].add_many(up);
        self.counters.tunnelled[1].add_many(down);
    }
}

impl Drop for OpenTunnel<'_> {
    fn drop(&mut self) {
        self.counters.tunnels_ended[self.end as usize].add();
    }
}

impl Counters {
    pub(crate) fn open_tunnel(&self) -> OpenTunnel<'_> {
        self.tunnels.add();
        OpenTunnel { counters: self, end: TunnelEnd::Broken }
    }

    pub(crate) fn handshaken(&self, how: Handshaken) {
        self.handshakes[how as usize].add();
    }

    pub(crate) fn proxied(&self, how: Proxied) {
        self.proxied[how as usize].add();
    }

    pub(crate) fn timed_out(&self, what: Timeout) {
        self.timeouts[what as usize].add();
    }

    pub(crate) fn too_slow(&self, what: TooSlow) {
        self.too_slow[what as usize].add();
    }

    pub(crate) fn retired(&self, why: Retired) {
        self.retired[why as usize].add();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() +=
            1;
    }

    /// The counts now.
    pub fn read(&self) -> Counted {
        let named = |names: &[&'static str], counts: &[Count]| -> Vec<(&'static str, u64)> {
            names.iter().copied().zip(counts.iter().map(Count::get)).collect()
        };
        let ended = self.ended.get();
        let accepted = self.accepted.get();
        let turned_away = self.turned_away.get();
        let tunnels_ended: Vec<_> = named(&TunnelEnd::NAMES, &self.tunnels_ended);
        let ended_tunnels = tunnels_ended.iter().map(|(_, count)| count).sum();
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        Counted {
            accepted,
            open: accepted.saturating_sub(turned_away).saturating_sub(ended),
            turned_away,
            asked_to_leave: self.asked_to_leave.get(),
            found_no_room: self.found_no_room.get(),
            reset: self.reset.get(),
            handshakes: named(&Handshaken::NAMES, &self.handshakes),
            proxied: named(&Proxied::NAMES, &self.proxied),
            timeouts: named(&Timeout::NAMES, &self.timeouts),
            too_slow: named(&TooSlow::NAMES, &self.too_slow),
            retired: named(&Retired::NAMES, &self.retired),
            tunnels_open: self.tunnels.get().saturating_sub(ended_tunnels),
            tunnels_ended,
            tunnelled_bytes: named(&["up", "down"], &self.tunnelled),
            refusals: refusals.iter().map(|(reason, count)| (*reason, *count)).collect(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self) {
        self.add_many(1);
    }

    pub(crate) fn add_many(&self, many: u64) {
        self.0.fetch_add(many, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
