//! Upgrades: which requests may go on in another protocol, how many at once, and how many of one client.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, StatusCode};
use larder::http::{Client, policy::proxy_status::ProxyError};

use crate::{
    problem::Problem,
    routes::Protocols,
    seldom::Seldom,
    upgrade::{Permit, Terms, Upgrade},
};

/// How many connections may go on in another protocol at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradeLimits {
    /// In all. Default 4096: each takes a connection here, and one to the origin, for as long as it likes.
    pub max: usize,
    /// Of one client, or with IPv6 of one network of 64 bits. Default a quarter of `max`, and no bound for this
    /// machine itself, where a proxy asks for many.
    pub max_per_client: Option<usize>,
}

impl Default for UpgradeLimits {
    fn default() -> Self {
        UpgradeLimits { max: 4096, max_per_client: None }
    }
}

/// What became of requests that offered another protocol, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpgradeStats {
    /// The origin was asked for it.
    pub granted: u64,
    /// The route allows none of what was offered: the request went on as if it had offered nothing; over HTTP/2 it was
    /// answered 501.
    pub ignored: u64,
    /// There were as many as may be, in all.
    pub too_many: u64,
    /// The client had as many as it may.
    pub too_many_of_client: u64,
}

/// What readers are told: about as long as it takes until some have ended.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The time between two lines in the log that there are too many.
const FULL_LINE: Duration = Duration::from_secs(60);

/// Those of one gateway.
pub(super) struct Upgrades {
    held: Arc<Mutex<Held>>,
    granted: AtomicU64,
    ignored: AtomicU64,
    too_many: AtomicU64,
    too_many_of_client: AtomicU64,
    full: Seldom,
}

/// How many there are.
#[derive(Default)]
struct Held {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// The right to one. Dropping it gives it back.
struct Grant {
    held: Arc<Mutex<Held>>,
    client: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    All,
    Client,
}

/// What would become of a request that offers other protocols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UpgradeOutlook {
    /// The service is asked for this one.
    Granted(HeaderValue),
    /// It goes on as if it had offered nothing.
    Ignored,
    /// There are as many as may be: 503.
    Full,
}

impl Upgrades {
    pub(super) fn new() -> Upgrades {
        Upgrades {
            held: Arc::default(),
            granted: AtomicU64::default(),
            ignored: AtomicU64::default(),
            too_many: AtomicU64::default(),
            too_many_of_client: AtomicU64::default(),
            full: Seldom::every(FULL_LINE),
        }
    }

    pub(super) fn stats(&self) -> UpgradeStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        UpgradeStats {
            granted: read(&self.granted),
            ignored: read(&self.ignored),
            too_many: read(&self.too_many),
            too_many_of_client: read(&self.too_many_of_client),
        }
    }

    /// Allows the request the first of what it offers that its route allows. False: that is nothing.
    pub(super) fn grant(
        &self,
        upgrade: &Upgrade,
        protocols: &Protocols,
        client: Client,
        limits: UpgradeLimits,
    ) -> Result<bool, Problem> {
        let Some(protocol) = chosen(upgrade.offers(), protocols) else {
            self.ignored.fetch_add(1, Ordering::Relaxed);
            return if upgrade.is_required() { Err(not_offered()) } else { Ok(false) };
        };
        match take(&self.held, client, limits) {
            Ok(grant) => {
                self.granted.fetch_add(1, Ordering::Relaxed);
                let (idle_timeout, permit) = (protocols.idle_timeout, Permit::new(grant));
                upgrade.grant(Terms { protocol, idle_timeout, permit });
                Ok(true)
            }
            Err(full) => Err(self.refuse(full, limits)),
        }
    }

    /// What would become of a request of HTTP/1.1 that offers these, with nothing taken.
    pub(super) fn outlook(
        &self,
        offers: &[HeaderValue],
        protocols: &Protocols,
        client: Option<Client>,
        limits: UpgradeLimits,
    ) -> UpgradeOutlook {
        match chosen(offers, protocols) {
            None => UpgradeOutlook::Ignored,
            Some(_) if room(&lock(&self.held), client, limits).is_err() => UpgradeOutlook::Full,
            Some(protocol) => UpgradeOutlook::Granted(protocol),
        }
    }

    fn refuse(&self, full: Full, limits: UpgradeLimits) -> Problem {
        let (count, detail) = match full {
            Full::All => (&self.too_many, "too many connections have switched protocols"),
            Full::Client => (
                &self.too_many_of_client,
                "too many of this client's connections have switched protocols",
            ),
        };
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(refused) = self.full.one_more() {
            tracing::warn!(
                refused,
                "{refused} requests for another protocol got 503: {} connections may have switched at once, \
                 and {} of one client",
                limits.max,
                per_client(limits)
            );
        }
        let error = ProxyError::ConnectionLimitReached;
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", detail, error)
            .retry_after(RETRY_AFTER)
    }
}

fn not_offered() -> Problem {
    let (status, error) = (StatusCode::NOT_IMPLEMENTED, ProxyError::HttpRequestDenied);
    Problem::new(status, "Protocol not offered", "this address offers no such protocol", error)
}

/// As the route names it: what a reader writes otherwise goes no further.
fn chosen(offers: &[HeaderValue], protocols: &Protocols) -> Option<HeaderValue> {
    let is_allowed = |offer: &HeaderValue| {
        let is_it =
            |allowed: &&HeaderValue| allowed.as_bytes().eq_ignore_ascii_case(offer.as_bytes());
        protocols.allowed.iter().find(is_it).cloned()
    };
    offers.iter().find_map(is_allowed)
}

fn per_client(limits: UpgradeLimits) -> usize {
    limits.max_per_client.unwrap_or((limits.max / 4).max(1))
}

fn take(held: &Arc<Mutex<Held>>, client: Client, limits: UpgradeLimits) -> Result<Grant, Full> {
    let mut counts = lock(held);
    room(&counts, Some(client), limits)?;
    let client = client.network();
    counts.all += 1;
    *counts.by_client.entry(client).or_default() += 1;
    drop(counts);
    Ok(Grant { held: Arc::clone(held), client })
}

/// Whether there is room for one more of this client, or of one that nobody has counted.
fn room(counts: &Held, client: Option<Client>, limits: UpgradeLimits) -> Result<(), Full> {
    if counts.all >= limits.max {
        return Err(Full::All);
    }
    let Some(client) = client else { return Ok(()) };
    let is_bounded = limits.max_per_client.is_some() || !client.0.to_canonical().is_loopback();
    let of_client = counts.by_client.get(&client.network()).copied().unwrap_or_default();
    match is_bounded && of_client >= per_client(limits) {
        true => Err(Full::Client),
        false => Ok(()),
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        let mut counts = lock(&self.held);
        counts.all -= 1;
        if let Some(count) = counts.by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.by_client.remove(&self.client);
            }
        }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    // Nothing under this lock can panic half-way through a change.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Upgrades {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrades").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade;

    fn client(address: &str) -> Client {
        Client(address.parse().unwrap())
    }

    #[test]
    fn a_client_gets_a_quarter_and_what_it_gives_back() {
        let held = Arc::default();
        let limits = UpgradeLimits { max: 8, max_per_client: None };
        let one = client("2001:db8::1");
        let _kept = take(&held, one, limits).ok().unwrap();
        let given_back = take(&held, client("2001:db8::2"), limits).ok().unwrap();
        assert_eq!(take(&held, one, limits).err(), Some(Full::Client));
        drop(given_back);
        let _again = take(&held, one, limits).ok().unwrap();
        // A proxy on this machine asks for many.
        let own: Vec<_> =
            (0..6).map(|_| take(&held, client("127.0.0.1"), limits).ok().unwrap()).collect();
        assert_eq!(take(&held, client("192.0.2.1"), limits).err(), Some(Full::All));
        drop(own);
        assert_eq!(lock(&held).by_client.len(), 1);
    }

    #[test]
    fn whatever_the_bounds_are_no_more_are_let_in() {
        for (max, max_per_client, lets_in) in
            [(0, None, 0), (1, None, 1), (3, Some(0), 0), (3, Some(2), 2), (2, Some(usize::MAX), 2)]
        {
            let held = Arc::default();
            let limits = UpgradeLimits { max, max_per_client };
            let grants = (0..4).map_while(|_| take(&held, client("192.0.2.1"), limits).ok());
            assert_eq!(grants.collect::<Vec<_>>().len(), lets_in, "{limits:?}");
        }
    }

    #[test]
    fn the_first_of_what_is_offered_that_the_route_allows_is_granted_as_the_route_names_it() {
        let protocols = |allowed: &[&'static str]| Protocols {
            allowed: allowed.iter().copied().map(HeaderValue::from_static).collect(),
            idle_timeout: Duration::from_secs(1),
        };
        let offers = ["spdy/3.1", "WebSocket"].map(HeaderValue::from_static).to_vec();
        let (upgrade, _upgraded) = upgrade::channel(offers);
        let chosen = |allowed: &[&'static str]| chosen(upgrade.offers(), &protocols(allowed));
        assert_eq!(chosen(&["websocket"]).unwrap(), "websocket");
        assert_eq!(chosen(&["websocket", "SPDY/3.1"]).unwrap(), "SPDY/3.1");
        assert!(chosen(&[]).is_none() && chosen(&["spdy"]).is_none());
    }
}
