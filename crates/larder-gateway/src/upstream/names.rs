//! Names: the addresses of an origin that has a name, looked up again and again.
//!
//! The system's resolver is asked: it knows what the machine knows (its hosts file, its search domains, the resolver
//! of a container), and needs no settings of its own. It tells no TTL, so the name is looked up at an interval. A name that is
//! no longer known keeps the addresses that it had.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{net::lookup_host, time::Instant};

use super::origin::Origin;
use crate::timer::after;

/// A name may have many addresses. So many are tried at most.
const MAX_ADDRESSES: usize = 32;

/// A name that is not known is not looked up by each request anew.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);

/// Where an origin is to be found on the network.
pub(super) enum Addresses {
    /// It was said.
    Said(SocketAddr),
    /// It has a name.
    Of(Arc<Name>),
}

/// The addresses of one name.
pub(super) struct Name {
    origin: Origin,
    every: Duration,
    state: Mutex<State>,
    /// Held by the request that looks the name up first. Others wait for what it finds.
    first: tokio::sync::Mutex<()>,
    failures: AtomicU64,
    /// How many have asked for all of them.
    asked: AtomicUsize,
}

struct State {
    /// In the resolver's order; none before the first success.
    addresses: Arc<[SocketAddr]>,
    /// When it is to be looked up again.
    due: Instant,
    /// Somebody does that now.
    is_asked: bool,
    /// What went wrong last, if that is how it went.
    failed: Option<(io::ErrorKind, String)>,
}

impl Addresses {
    pub(super) fn of(origin: &Origin, every: Duration) -> Addresses {
        match origin.host().parse::<IpAddr>() {
            Ok(address) => Addresses::Said(SocketAddr::new(address, origin.port())),
            Err(_) => Addresses::Of(Arc::new(Name {
                origin: origin.clone(),
                every,
                state: Mutex::new(State {
                    addresses: Arc::new([]),
                    due: Instant::now(),
                    is_asked: false,
                    failed: None,
                }),
                first: tokio::sync::Mutex::default(),
                failures: AtomicU64::new(0),
                asked: AtomicUsize::new(0),
            })),
        }
    }

    /// All there are, the one to try first in front: each time another one. Dropping the future gives the wait up.
    pub(super) async fn all(&self) -> io::Result<Arc<[SocketAddr]>> {
        match self {
            Addresses::Said(address) => Ok(Arc::new([*address])),
            Addresses::Of(name) => {
                let turn = name.asked.fetch_add(1, Ordering::Relaxed);
                name.all().await.map(|all| in_turn(all, turn))
            }
        }
    }

    /// Has the name looked up again, beside, if it is time.
    pub(super) fn keep_up(&self) {
        if let Addresses::Of(name) = self {
            name.keep_up();
        }
    }

    /// Whether a connection to there still leads to the origin.
    pub(super) fn has(&self, address: Option<SocketAddr>) -> bool {
        match (self, address) {
            (Addresses::Said(_), _) | (_, None) => true,
            (Addresses::Of(name), Some(address)) => name.state().addresses.contains(&address),
        }
    }

    /// How often a look-up has failed.
    pub(super) fn failures(&self) -> u64 {
        match self {
            Addresses::Said(_) => 0,
            Addresses::Of(name) => name.failures.load(Ordering::Relaxed),
        }
    }
}

impl Name {
    async fn all(&self) -> io::Result<Arc<[SocketAddr]>> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let _first = self.first.lock().await;
        if let Some(known) = self.known() {
            return Ok(known);
        }
        {
            let state = self.state();
            if let Some((kind, text)) = &state.failed
                && Instant::now() < state.due
            {
                return Err(io::Error::new(*kind, text.clone()));
            }
        }
        let found = self.look_up().await;
        let mut state = self.state();
        state.take(found, Instant::now(), self.every).inspect_err(|_| self.count_failure())?;
        Ok(Arc::clone(&state.addresses))
    }

    fn known(&self) -> Option<Arc<[SocketAddr]>> {
        let state = self.state();
        (!state.addresses.is_empty()).then(|| Arc::clone(&state.addresses))
    }

    fn keep_up(self: &Arc<Self>) {
        if !self.state().begin(Instant::now()) {
            return;
        }
        // It ends with the look-up, which the system bounds. There is one at a time.
        let asking = Asking(Arc::clone(self));
        tokio::spawn(async move {
            let Asking(name) = &asking;
            let found = name.look_up().await;
            let (was_known, taken) = {
                let mut state = name.state();
                (state.failed.is_none(), state.take(found, Instant::now(), name.every))
            };
            match taken {
                Ok(()) if was_known => {}
                Ok(()) => tracing::info!("the name of {} is known again", name.origin),
                Err(error) => {
                    name.count_failure();
                    if was_known {
                        tracing::warn!(
                            "the name of {} is no longer known: the addresses that it had are kept ({error})",
                            name.origin
                        );
                    }
                }
            }
        });
    }

    async fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<_> = lookup_host((self.origin.host(), self.origin.port())).await?.collect();
        if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(alternating(found)) }
    }

    fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One look-up beside the requests. Dropped before its end, as its loop ends, it leaves the next one to others.
struct Asking(Arc<Name>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.state().is_asked = false;
    }
}

impl State {
    /// Whether it is time to look the name up again, and nobody does; from now on somebody does.
    fn begin(&mut self, now: Instant) -> bool {
        let is_time = !self.addresses.is_empty() && !self.is_asked && self.due <= now;
        self.is_asked |= is_time;
        is_time
    }

    /// What a look-up has brought.
    fn take(
        &mut self,
        found: io::Result<Vec<SocketAddr>>,
        now: Instant,
        every: Duration,
    ) -> io::Result<()> {
        match found {
            Ok(addresses) => {
                self.addresses = addresses.into();
                self.failed = None;
                self.due = now.checked_add(every).unwrap_or_else(|| after(every));
                Ok(())
            }
            Err(error) => {
                self.failed = Some((error.kind(), error.to_string()));
                let pause = if self.addresses.is_empty() { UNKNOWN_FOR } else { every };
                self.due = now.checked_add(pause).unwrap_or_else(|| after(pause));
                Err(error)
            }
        }
    }
}

/// Another one in front at each turn, of the family that the resolver puts first: a resolver that always tells them in one
/// order would have all connections at one address.
fn in_turn(addresses: Arc<[SocketAddr]>, turn: usize) -> Arc<[SocketAddr]> {
    let Some(first_is_v6) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let (mut first, mut second): (Vec<_>, Vec<_>) =
        addresses.iter().partition(|address| address.is_ipv6() == first_is_v6);
    if first.len() < 2 && second.len() < 2 {
        return addresses;
    }
    for family in [&mut first, &mut second].into_iter().filter(|family| !family.is_empty()) {
        let by = turn % family.len();
        family.rotate_left(by);
    }
    first.append(&mut second);
    alternating(first).into()
}

/// In the same order, but with the two families in turn: where one of them leads nowhere, the other is tried soon
/// (RFC 8305 §4).
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::new();
    loop {
        let pair = (first.next(), second.next());
        if pair == (None, None) || all.len() >= MAX_ADDRESSES {
            return all;
        }
        all.extend(pair.0.into_iter().chain(pair.1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(30);

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn state(now: Instant) -> State {
        State { addresses: Arc::new([]), due: now, is_asked: false, failed: None }
    }

    #[test]
    fn a_name_that_is_no_longer_known_keeps_its_addresses_and_is_asked_for_again() {
        let now = Instant::now();
        let mut state = state(now);
        let known = addresses(&["192.0.2.1:80"]);
        state.take(Ok(known.clone()), now, EVERY).unwrap();
        assert!(!state.begin(now + EVERY / 2));
        assert!(state.begin(now + EVERY));
        assert!(!state.begin(now + EVERY), "somebody asks already");
        state.is_asked = false;
        let later = now + EVERY;
        state.take(Err(io::ErrorKind::NotFound.into()), later, EVERY).unwrap_err();
        assert_eq!(*state.addresses, known);
        assert!(state.failed.is_some());
        assert!(!state.begin(later + EVERY / 2));
        assert!(state.begin(later + EVERY));
        let moved = addresses(&["192.0.2.2:80"]);
        state.take(Ok(moved.clone()), later + EVERY, EVERY).unwrap();
        assert_eq!(*state.addresses, moved);
        assert!(state.failed.is_none());
    }

    #[test]
    fn a_name_may_be_asked_for_never_again() {
        let now = Instant::now();
        let mut state = state(now);
        state.take(Ok(addresses(&["192.0.2.1:80"])), now, Duration::MAX).unwrap();
        assert!(!state.begin(now + EVERY * 1000));
    }

    #[test]
    fn the_families_take_turns_and_the_first_stays_the_first() {
        let all = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "192.0.2.1:1", "192.0.2.2:1"]);
        let expected = addresses(&["[::1]:1", "192.0.2.1:1", "[::2]:1", "192.0.2.2:1", "[::3]:1"]);
        assert_eq!(alternating(all), expected);
        let one_family = addresses(&["192.0.2.2:1", "192.0.2.1:1"]);
        assert_eq!(alternating(one_family.clone()), one_family);
        let many = (0..200).map(|last| SocketAddr::from(([192, 0, 2, last], 1))).collect();
        assert_eq!(alternating(many).len(), MAX_ADDRESSES);
    }

    #[test]
    fn each_of_a_family_is_the_first_in_its_turn_and_none_is_lost() {
        let all = addresses(&["[::1]:1", "192.0.2.1:1", "[::2]:1", "[::3]:1"]);
        let firsts: Vec<_> = (0..4).map(|turn| in_turn(all.clone().into(), turn)[0]).collect();
        assert_eq!(firsts, addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "[::1]:1"]));
        let second = in_turn(all.clone().into(), 1);
        assert_eq!(*second, addresses(&["[::2]:1", "192.0.2.1:1", "[::3]:1", "[::1]:1"]));
        for one in [&all[..1], &all[..2], &[]] {
            assert_eq!(*in_turn(one.into(), 1), *one);
        }
    }

    #[tokio::test]
    async fn an_unknown_name_is_told_and_counted_once_for_all_who_ask_at_once() {
        let origin = "http://no-such-host.invalid".parse().unwrap();
        let addresses = Addresses::of(&origin, EVERY);
        let (one, other) = tokio::join!(addresses.all(), addresses.all());
        assert!(one.is_err() && other.is_err());
        assert_eq!(addresses.failures(), 1);
    }
}
