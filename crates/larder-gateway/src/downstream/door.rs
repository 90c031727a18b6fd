//! Door: who is let in, and who makes room.
//!
//! Connections are bounded, in all and for each address. At the bound of an address its next connection is
//! closed at once. At the bound of all, the next one waits, and the oldest are told to leave: whoever is
//! between two requests does so at once, whoever is not ends with the answer under way. So connections that
//! are only kept never keep anybody out, and no answer is cut whose reader takes it. Who was told and does not
//! go on (half a head, an upload that does not come, an answer that is not taken) is given little time:
//! `Http1Config::linger_timeout` and `stalled_timeout`.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use larder::http::Client;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{config::ServerConfig, counters::Counters};
use crate::seldom::Seldom;

/// How many are told to leave first. Each time it is not enough, twice as many are.
const FEW: usize = 16;
/// How long they have to leave before more are told.
const NOTICE: Duration = Duration::from_millis(50);
/// How long to wait when no connection can be accepted, for want of file descriptors mostly.
const BREATHER: Duration = Duration::from_millis(50);
/// How long a line is not logged again.
const TELL_AGAIN: Duration = Duration::from_secs(60);

pub(crate) struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
    max_connections: usize,
    addresses: Arc<Addresses>,
    /// Accepted, and not let in yet. It is kept here while somebody else's place is waited for.
    waiting: Option<(TcpStream, SocketAddr, Here)>,
    guests: Guests,
    counters: Arc<Counters>,
    full: Seldom,
    address_full: Seldom,
}

/// A connection that is let in.
pub(crate) struct Entrant {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) place: Place,
}

/// A connection's place among those there may be. Dropping it leaves it to another.
pub(crate) struct Place {
    _here: Here,
    _permit: OwnedSemaphorePermit,
}

/// A connection that counts as open, whether it is let in or waits. Dropping it counts it as ended.
struct Here {
    _seat: Option<Seat>,
    counters: Arc<Counters>,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.counters.ended.add();
    }
}

impl Door {
    pub(crate) fn new(listener: TcpListener, config: &ServerConfig) -> Door {
        let max_connections = config.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Door {
            listener,
            room: Arc::new(Semaphore::new(max_connections)),
            max_connections,
            addresses: Arc::new(Addresses::new(config)),
            waiting: None,
            guests: Guests::new(config.welcome),
            counters: Arc::clone(&config.http1.counters),
            full: Seldom::every(TELL_AGAIN),
            address_full: Seldom::every(TELL_AGAIN),
        }
    }

    /// The next connection that may come in. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Entrant {
        loop {
            if self.waiting.is_none() {
                self.waiting = self.accept().await;
            }
            if self.waiting.is_some() {
                let permit = self.find_room().await;
                if let Some((stream, peer, here)) = self.waiting.take() {
                    let place = Place { _here: here, _permit: permit };
                    return Entrant { stream, peer, place };
                }
            }
        }
    }

    /// `ending` ends the connection between two requests. It is cancelled in any case once the connection
    /// has ended.
    pub(crate) fn entered(&mut self, ending: CancellationToken) {
        self.guests.add(ending, self.max_connections - self.room.available_permits());
    }

    async fn accept(&mut self) -> Option<(TcpStream, SocketAddr, Here)> {
        let (stream, peer) = match self.listener.accept().await {
            Ok(accepted) => accepted,
            // It was closed while it waited, or cannot be reached: the next one may be well.
            Err(error) if is_about_one(&error) => return None,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                self.guests.tell(FEW, &self.counters);
                sleep(BREATHER).await;
                return None;
            }
        };
        self.counters.accepted.add();
        let Ok(seat) = self.addresses.take(peer.ip()) else {
            self.counters.turned_away.add();
            if self.address_full.one_more().is_some() {
                let (ip, limit) = (peer.ip(), self.addresses.limit);
                tracing::warn!(
                    "{ip} has {limit} connections, as many as an address may: more are closed"
                );
            }
            return None;
        };
        if let Err(error) = stream.set_nodelay(true) {
            // Answers still arrive, only up to 40 ms later.
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        let counters = Arc::clone(&self.counters);
        Some((stream, peer, Here { _seat: seat, counters }))
    }

    async fn find_room(&mut self) -> OwnedSemaphorePermit {
        const OPEN: &str = "the semaphore is never closed";
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return permit;
        }
        self.counters.found_no_room.add();
        if self.full.one_more().is_some() {
            let max = self.max_connections;
            tracing::warn!("all {max} connections are in use: kept ones are closed, new ones wait");
        }
        let mut many = FEW;
        loop {
            self.guests.tell(many, &self.counters);
            match timeout(NOTICE, Arc::clone(&self.room).acquire_owned()).await {
                Ok(permit) => return permit.expect(OPEN),
                Err(_) => many = many.saturating_mul(2),
            }
        }
    }
}

/// Errors of the network are about the connection that was to be accepted.
fn is_about_one(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}

/// The connections that are let in and were not told to leave, the oldest first; and some that have ended.
struct Guests {
    all: VecDeque<(Instant, CancellationToken)>,
    /// Who came so recently is not told.
    welcome: Duration,
}

impl Guests {
    fn new(welcome: Duration) -> Guests {
        Guests { all: VecDeque::new(), welcome }
    }

    fn add(&mut self, guest: CancellationToken, open: usize) {
        if self.all.len() > 2 * open + FEW {
            self.all.retain(|(_, guest)| !guest.is_cancelled());
        }
        self.all.push_back((Instant::now(), guest));
    }

    fn tell(&mut self, many: usize, counters: &Counters) {
        let mut told = 0;
        while told < many
            && let Some((_, guest)) =
                self.all.pop_front_if(|(came, _)| came.elapsed() >= self.welcome)
        {
            if !guest.is_cancelled() {
                guest.cancel();
                counters.asked_to_leave.add();
                told += 1;
            }
        }
    }
}

/// How many connections each address has.
struct Addresses {
    limit: usize,
    /// A proxy on this machine comes from its own address, for everybody.
    spares_own: bool,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// One of an address's connections. Dropping it gives it back.
struct Seat {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

/// An address has as many as it may.
struct Full;

impl Addresses {
    fn new(config: &ServerConfig) -> Addresses {
        let usual = (config.max_connections / 4).max(1);
        Addresses {
            limit: config.max_connections_per_address.unwrap_or(usual).max(1),
            spares_own: config.max_connections_per_address.is_none(),
            counts: Mutex::default(),
        }
    }

    fn take(self: &Arc<Self>, ip: IpAddr) -> Result<Option<Seat>, Full> {
        // With IPv6 a subscriber has a whole /64.
        let address = Client(ip).network();
        if self.spares_own && is_own(ip) {
            return Ok(None);
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.limit {
            return Err(Full);
        }
        *count += 1;
        Ok(Some(Seat { addresses: Arc::clone(self), address }))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Where a proxy on this machine connects from.
fn is_own(ip: IpAddr) -> bool {
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].contains(&ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn addresses(max: usize, per_address: Option<usize>) -> Arc<Addresses> {
        let config = ServerConfig {
            max_connections: max,
            max_connections_per_address: per_address,
            ..ServerConfig::default()
        };
        Arc::new(Addresses::new(&config))
    }

    #[test]
    fn an_address_gets_a_quarter_and_what_it_gives_back() {
        let addresses = addresses(8, None);
        let take = |ip: &str| addresses.take(ip.parse().unwrap()).ok();
        let seats = [take("198.51.100.1"), take("::ffff:198.51.100.1")];
        assert!(seats.iter().all(Option::is_some));
        assert!(take("198.51.100.1").is_none());
        let other = take("198.51.100.2");
        assert!(other.is_some());
        drop(seats);
        assert!(take("198.51.100.1").is_some());
        drop(other);
        assert!(addresses.counts.lock().unwrap().is_empty(), "nobody is remembered who is gone");
    }

    #[test]
    fn a_64_of_ipv6_is_one_address() {
        let addresses = addresses(100, Some(1));
        let take = |ip: &str| addresses.take(ip.parse().unwrap()).ok();
        let _seat = take("2001:db8::1").unwrap();
        assert!(take("2001:db8::2:3").is_none());
        assert!(take("2001:db8:0:1::1").is_some());
    }

    #[test]
    fn this_machine_s_own_address_is_spared_unless_a_bound_is_asked_for() {
        for (per_address, is_spared) in [(None, true), (Some(1), false)] {
            let addresses = addresses(4, per_address);
            for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
                let ip: IpAddr = ip.parse().unwrap();
                let seats = [addresses.take(ip), addresses.take(ip)];
                assert_eq!(seats[1].is_ok(), is_spared, "{ip}");
            }
        }
        let others = addresses(4, None);
        let _seat = others.take([127, 0, 0, 2].into());
        assert!(others.take([127, 0, 0, 2].into()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_are_told_first_and_who_has_gone_is_forgotten() {
        let welcome = ServerConfig::default().welcome;
        let (mut guests, counters) = (Guests::new(welcome), Counters::default());
        let tokens: Vec<_> = (0..100).map(|_| CancellationToken::new()).collect();
        for (number, token) in tokens.iter().enumerate() {
            guests.add(token.clone(), number);
        }
        tokens[0].cancel();
        guests.tell(2, &counters);
        assert_eq!(counters.read().asked_to_leave, 0, "their first requests may be on their way");
        advance(welcome).await;
        guests.tell(2, &counters);
        let told: Vec<_> = tokens.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(told[..4], [true, true, true, false]);
        assert_eq!(counters.read().asked_to_leave, 2);
        for _ in 0..1000 {
            let token = CancellationToken::new();
            guests.add(token.clone(), 1);
            token.cancel();
        }
        assert!(guests.all.len() < 100 + 3 * FEW, "{}", guests.all.len());
    }
}
