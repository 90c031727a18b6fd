//! Door: which connections are let in, and which are told to make room.
//!
//! Connections are bounded, at all listeners together and for each address. At the bound of an address its next connection is
//! closed at once. At the bound of all, the next one waits, and the oldest are told to leave: those between
//! two requests do so at once, the others after the answer under way. So connections that are only kept
//! never keep new ones out, and no answer is cut whose reader takes it. A connection that was told to leave
//! and does not go on (half a head, an upload that does not come, an answer that is not taken) is given
//! little time: `Http1Config::linger_timeout` and `stalled_timeout`.
//!
//! While the process takes nearly all memory that it may ([`Pressure`]), the oldest are told to leave in the same way, and
//! each new one waits for that a moment.

use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use larder::http::Client;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    config::ServerConfig,
    counters::Counters,
    let_in::LetIn,
    listener::{Listener, Stream},
    peer::{Peer, PeerAddress},
};
use crate::{pressure::Pressure, seldom::Seldom};

/// How many are told to leave first. Each time it is not enough, twice as many are.
const FEW: usize = 16;
/// How long they have to leave before more are told.
const NOTICE: Duration = Duration::from_millis(50);
/// How long to wait when no connection can be accepted, for want of file descriptors mostly.
const BREATHER: Duration = Duration::from_millis(50);
/// How long a line is not logged again.
const TELL_AGAIN: Duration = Duration::from_secs(60);

pub(crate) struct Door {
    gates: Vec<Gate>,
    /// Which one is looked at first the next time, so that none waits for the others.
    first: usize,
    room: Arc<Semaphore>,
    max_connections: usize,
    addresses: Arc<Addresses>,
    /// Accepted, and not let in yet: it waits until another connection ends.
    waiting: Option<(Stream, Peer, OpenConnection)>,
    let_in: LetIn,
    pressure: Pressure,
    full: Seldom,
    address_full: Seldom,
}

/// A listener, and where its connections are counted.
pub(crate) struct Gate {
    pub(crate) listener: Listener,
    pub(crate) counters: Arc<Counters>,
}

/// A connection that is let in.
pub(crate) struct NewConnection {
    pub(crate) stream: Stream,
    pub(crate) peer: Peer,
    pub(crate) permit: ConnectionPermit,
}

type Accepting = io::Result<(Stream, PeerAddress)>;

/// The right to be one of the connections there may be. Dropping it gives the right back.
pub(crate) struct ConnectionPermit {
    _open: OpenConnection,
    _permit: OwnedSemaphorePermit,
}

/// A connection that counts as open, whether it is let in or waits. Dropping it counts it as ended.
struct OpenConnection {
    _address: Option<AddressPermit>,
    counters: Arc<Counters>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.counters.ended.add();
    }
}

impl Door {
    /// At least one gate.
    pub(crate) fn new(gates: Vec<Gate>, config: &ServerConfig) -> Door {
        let max_connections = config.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Door {
            gates,
            first: 0,
            room: Arc::new(Semaphore::new(max_connections)),
            max_connections,
            addresses: Arc::new(Addresses::new(config)),
            waiting: None,
            let_in: LetIn::new(config.welcome),
            pressure: config.pressure.clone(),
            full: Seldom::every(TELL_AGAIN),
            address_full: Seldom::every(TELL_AGAIN),
        }
    }

    /// The next connection that may come in. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> NewConnection {
        loop {
            if self.waiting.is_none() {
                self.waiting = self.accept().await;
            }
            if self.waiting.is_some() {
                self.find_memory().await;
                let permit = self.find_room().await;
                if let Some((stream, peer, open_connection)) = self.waiting.take() {
                    let permit = ConnectionPermit { _open: open_connection, _permit: permit };
                    return NewConnection { stream, peer, permit };
                }
            }
        }
    }

    /// `ending` ends the connection between two requests. It is cancelled in any case once the connection
    /// has ended.
    pub(crate) fn let_in(&mut self, ending: CancellationToken) {
        self.let_in.add(ending, self.max_connections - self.room.available_permits());
    }

    /// The one that was accepted and is not let in yet, once there is room.
    pub(crate) async fn last(&mut self) -> Option<NewConnection> {
        self.waiting.as_ref()?;
        let permit = self.find_room().await;
        let (stream, peer, open_connection) = self.waiting.take()?;
        let permit = ConnectionPermit { _open: open_connection, _permit: permit };
        Some(NewConnection { stream, peer, permit })
    }

    async fn accept(&mut self) -> Option<(Stream, Peer, OpenConnection)> {
        let pressure = self.pressure.clone();
        let (gate, accepted) = tokio::select! {
            biased;
            accepted = poll_fn(|cx| self.poll_accept(cx)) => accepted,
            // Nobody comes, and those who are there take too much all the same.
            () = pressure.more_than_calm_for(NOTICE) => {
                let leaving = pressure.making_room(FEW).map_or(0, |(leaving, _)| leaving);
                self.tell(leaving, self.first);
                return None;
            }
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            // It was closed while it waited, or cannot be reached: the next one may be well.
            Err(error) if is_about_one(&error) => return None,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                self.tell(FEW, gate);
                sleep(BREATHER).await;
                return None;
            }
        };
        let listener = u16::try_from(gate).expect("a server has fewer listeners");
        let (peer, counters) = (Peer { address, listener, tls: None }, &self.gates[gate].counters);
        counters.accepted.add();
        let Ok(address_permit) = peer.ip().map(|ip| self.addresses.take(ip)).transpose() else {
            counters.turned_away.add();
            if let Some(ip) = peer.ip()
                && self.address_full.one_more().is_some()
            {
                let limit = self.addresses.limit;
                tracing::warn!(
                    "{ip} has {limit} connections, as many as an address may: more are closed"
                );
            }
            return None;
        };
        let counters = Arc::clone(counters);
        Some((stream, peer, OpenConnection { _address: address_permit.flatten(), counters }))
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(usize, Accepting)> {
        let many = self.gates.len();
        for gate in (self.first..self.first + many).map(|gate| gate % many) {
            if let Poll::Ready(accepted) = self.gates[gate].listener.poll_accept(cx) {
                self.first = (gate + 1) % many;
                return Poll::Ready((gate, accepted));
            }
        }
        Poll::Pending
    }

    /// Tells the oldest to leave, for one that has come to this gate.
    fn tell(&mut self, many: usize, gate: usize) {
        let told = self.let_in.tell(many);
        self.gates[gate].counters.asked_to_leave.add_many(told);
    }

    /// Waits a moment where there is little memory: for whom came, others have to go.
    async fn find_memory(&mut self) {
        if let Some((leaving, wait)) = self.pressure.making_room(FEW) {
            let gate = self.waiting.as_ref().map_or(0, |(_, peer, _)| usize::from(peer.listener));
            self.tell(leaving, gate);
            sleep(wait).await;
        }
    }

    async fn find_room(&mut self) -> OwnedSemaphorePermit {
        const OPEN: &str = "the semaphore is never closed";
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return permit;
        }
        let gate = self.waiting.as_ref().map_or(0, |(_, peer, _)| usize::from(peer.listener));
        self.gates[gate].counters.found_no_room.add();
        if self.full.one_more().is_some() {
            let max = self.max_connections;
            tracing::warn!("all {max} connections are in use: kept ones are closed, new ones wait");
        }
        let mut many = FEW;
        loop {
            self.tell(many, gate);
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

/// How many connections each address has.
struct Addresses {
    limit: usize,
    /// A proxy on this machine comes from its own address, for everybody.
    spares_own: bool,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// The right of an address to one more connection. Dropping it gives the right back.
struct AddressPermit {
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

    fn take(self: &Arc<Self>, ip: IpAddr) -> Result<Option<AddressPermit>, Full> {
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
        Ok(Some(AddressPermit { addresses: Arc::clone(self), address }))
    }
}

impl Drop for AddressPermit {
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
        let permits = [take("198.51.100.1"), take("::ffff:198.51.100.1")];
        assert!(permits.iter().all(Option::is_some));
        assert!(take("198.51.100.1").is_none());
        let other = take("198.51.100.2");
        assert!(other.is_some());
        drop(permits);
        assert!(take("198.51.100.1").is_some());
        drop(other);
        assert!(addresses.counts.lock().unwrap().is_empty(), "nobody is remembered who is gone");
    }

    #[test]
    fn a_64_of_ipv6_is_one_address() {
        let addresses = addresses(100, Some(1));
        let take = |ip: &str| addresses.take(ip.parse().unwrap()).ok();
        let _address = take("2001:db8::1").unwrap();
        assert!(take("2001:db8::2:3").is_none());
        assert!(take("2001:db8:0:1::1").is_some());
    }

    #[test]
    fn this_machine_s_own_address_is_spared_unless_a_bound_is_asked_for() {
        for (per_address, is_spared) in [(None, true), (Some(1), false)] {
            let addresses = addresses(4, per_address);
            for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
                let ip: IpAddr = ip.parse().unwrap();
                let permits = [addresses.take(ip), addresses.take(ip)];
                assert_eq!(permits[1].is_ok(), is_spared, "{ip}");
            }
        }
        let others = addresses(4, None);
        let _address = others.take([127, 0, 0, 2].into());
        assert!(others.take([127, 0, 0, 2].into()).is_err());
    }
}
