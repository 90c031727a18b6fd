//! Pool: the connections to one origin, a bounded number, and the requests that wait for one.
//!
//! A connection is used again on the event loop on which it was made, because only that one hears of
//! its socket; the bounds are for all loops together. Over HTTP/2 several requests share a connection, and it is
//! requests that are bounded: there are never more connections in use than those.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::{
    config::{Protocol, UpstreamConfig},
    connect::{Connected, connect},
    error::UpstreamError,
    http2::{Connection, Slot},
    idle::Idle,
    link::Link,
    names::Addresses,
    origin::{Origin, Scheme},
};
use crate::timer::Timer;

/// Counters of one upstream since it was made, and what is going on there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamStats {
    /// Connections made.
    pub connected: u64,
    /// Connections that could not be made.
    pub unconnected: u64,
    /// Requests that an origin has refused to look at, and that were sent once more for that.
    pub refused: u64,
    /// Connections that were given up because they gave no sign of life.
    pub silent: u64,
    /// Look-ups of the origin's name that failed.
    pub names_failed: u64,
    /// Requests that went over a connection that had served another before.
    pub reused: u64,
    /// Requests that were sent once more, since a kept connection was closed before an answer began.
    pub retried: u64,
    /// Interim answers that were not passed on, because there were too many.
    pub interims_dropped: u64,
    /// Requests that found all connections in use and too many waiting.
    pub turned_away: u64,
    /// Requests that waited for a connection and got none in time.
    pub waited_in_vain: u64,
    /// Connections in use now; over HTTP/2, requests under way.
    pub in_use: usize,
    /// Those of them on which a body is under way, and which no request waits for
    /// ([`max_streams`](UpstreamConfig::max_streams)).
    pub streams: usize,
    /// Connections kept for later requests now.
    pub idle: usize,
    /// Requests that wait for a connection now.
    pub waiting: usize,
}

/// Which version of HTTP connections to the origin have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Speaks {
    /// The first connection will tell.
    Unknown,
    Http1,
    Http2,
}

impl Speaks {
    fn at_first(scheme: Scheme, protocol: Protocol) -> Speaks {
        match (scheme, protocol) {
            (Scheme::H2c, _) | (_, Protocol::Http2) => Speaks::Http2,
            (Scheme::Http, _) | (_, Protocol::Http1) => Speaks::Http1,
            (Scheme::Https, Protocol::Auto) => Speaks::Unknown,
        }
    }
}

pub(super) struct Pool {
    pub(super) origin: Origin,
    pub(super) config: UpstreamConfig,
    /// One permit for each connection in use. Where one is made although there are idle ones, which
    /// are other loops', those make room for it: in use and idle together stay within the bound.
    permits: Arc<Semaphore>,
    /// One for each connection on which a body is under way.
    stream_permits: Arc<Semaphore>,
    /// Never held across an await.
    idle: Mutex<Idle>,
    addresses: Addresses,
    /// A [`Speaks`], as the last connection has shown.
    speaks: AtomicU8,
    unconnected: AtomicU64,
    refused: AtomicU64,
    silent: Arc<AtomicU64>,
    is_swept: AtomicBool,
    waiting: AtomicUsize,
    connected: AtomicU64,
    reused: AtomicU64,
    retried: AtomicU64,
    interims_dropped: AtomicU64,
    turned_away: AtomicU64,
    waited_in_vain: AtomicU64,
}

/// What a connection may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum May {
    /// One that was used before, or a new one.
    BeKept,
    /// One for this request alone; over HTTP/2, where no request is taken for a part of another, any.
    BeItsOwn,
    /// A new one.
    OnlyBeNew,
}

/// A request that looks for a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seek {
    pub(super) may: May,
    /// The connection is to go on in another protocol: it has to be of HTTP/1.1, whatever others are.
    pub(super) is_to_switch: bool,
}

/// What carries a request.
pub(super) enum Carrier {
    Http1(Link),
    Http2(Slot),
}

impl Carrier {
    pub(super) fn timer(&mut self) -> &mut Timer {
        match self {
            Carrier::Http1(link) => &mut link.timer,
            Carrier::Http2(slot) => &mut slot.timer,
        }
    }
}

/// The right to use one connection. Dropping it closes the connection, unless others use it too; to keep it, give it
/// back.
pub(super) struct Lease {
    pub(super) carrier: Carrier,
    pub(super) is_new: bool,
    pub(super) pool: Arc<Pool>,
    permit: OwnedSemaphorePermit,
    is_stream: bool,
}

impl Lease {
    /// The answer has begun and goes on: the connection is no longer one of those that requests wait for.
    /// False: there are too many such, and it stays where it is.
    pub(super) fn become_stream(&mut self) -> bool {
        if !self.is_stream
            && let Ok(permit) = Arc::clone(&self.pool.stream_permits).try_acquire_owned()
        {
            self.permit = permit;
            self.is_stream = true;
        }
        self.is_stream
    }

    /// The connection goes on in another protocol, and counts as a stream until the permit is dropped. `None`: it is
    /// one too many.
    pub(super) fn into_stream(mut self) -> Option<(Link, OwnedSemaphorePermit)> {
        let is_stream = self.become_stream();
        let Lease { carrier, permit, .. } = self;
        match carrier {
            Carrier::Http1(link) if is_stream => Some((link, permit)),
            Carrier::Http1(_) | Carrier::Http2(_) => None,
        }
    }

    /// Keeps the connection for a later request if it is good for one.
    pub(super) fn give_back(self) {
        let Lease { carrier, pool, permit, is_stream, .. } = self;
        let mut link = match carrier {
            Carrier::Http1(link) => link,
            Carrier::Http2(slot) => {
                drop(slot);
                pool.see_to_sweeping();
                return drop(permit);
            }
        };
        if !link.is_reusable() {
            return;
        }
        link.timer.clear();
        link.idle_since = Instant::now();
        let mut idle = pool.idle();
        // The one idle for longest makes room: it may be another loop's, which this one cannot use.
        let is_full = idle.len() >= pool.config.max_idle;
        let others = idle.len().saturating_sub(usize::from(is_full));
        // One that comes back from a stream may be one too many.
        let has_room = !is_stream || pool.in_demand() + others < pool.max_connections();
        let is_kept = has_room && others < pool.config.max_idle;
        let oldest = if is_kept && is_full { idle.oldest() } else { None };
        if is_kept {
            idle.push(link);
        }
        drop(idle);
        drop(oldest);
        if is_kept {
            pool.see_to_sweeping();
        }
        // Only now may somebody else look for an idle one.
        drop(permit);
    }
}

impl Pool {
    pub(super) fn new(origin: Origin, config: UpstreamConfig) -> Arc<Pool> {
        let max = config.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        let max_streams = config.max_streams.min(Semaphore::MAX_PERMITS);
        let addresses = Addresses::of(&origin, config.resolve_every);
        let speaks = Speaks::at_first(origin.scheme(), config.protocol);
        Arc::new(Pool {
            origin,
            config,
            addresses,
            speaks: AtomicU8::new(speaks as u8),
            unconnected: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            silent: Arc::default(),
            permits: Arc::new(Semaphore::new(max)),
            stream_permits: Arc::new(Semaphore::new(max_streams)),
            idle: Mutex::default(),
            is_swept: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            connected: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            interims_dropped: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            waited_in_vain: AtomicU64::new(0),
        })
    }

    pub(super) fn stats(&self) -> UpstreamStats {
        UpstreamStats {
            connected: self.connected.load(Ordering::Relaxed),
            unconnected: self.unconnected.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            silent: self.silent.load(Ordering::Relaxed),
            names_failed: self.addresses.failures(),
            reused: self.reused.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            interims_dropped: self.interims_dropped.load(Ordering::Relaxed),
            turned_away: self.turned_away.load(Ordering::Relaxed),
            waited_in_vain: self.waited_in_vain.load(Ordering::Relaxed),
            in_use: self.in_demand() + self.streams(),
            streams: self.streams(),
            idle: self.idle().len(),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    /// Whether a request would get a connection without waiting.
    pub(super) fn has_room(&self) -> bool {
        self.permits.available_permits() > 0
    }

    /// Whether a connection to the origin may go on in another protocol: one of HTTP/2 cannot.
    pub(super) fn may_switch(&self) -> bool {
        Speaks::at_first(self.origin.scheme(), self.config.protocol) != Speaks::Http2
    }

    pub(super) fn count_retry(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_dropped_interims(&self, dropped: u32) {
        if dropped > 0 {
            self.interims_dropped.fetch_add(dropped.into(), Ordering::Relaxed);
        }
    }

    pub(super) fn count_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection that is ready for a request. Waiting for one ends at `deadline`, too.
    pub(super) async fn take(
        self: &Arc<Self>,
        seek: Seek,
        deadline: Option<Instant>,
    ) -> Result<Lease, UpstreamError> {
        let permit = self.permit(deadline).await?;
        self.addresses.keep_up();
        let pool = Arc::clone(self);
        if let Some(carrier) = self.kept(seek) {
            self.reused.fetch_add(1, Ordering::Relaxed);
            return Ok(Lease { carrier, is_new: false, pool, permit, is_stream: false });
        }
        let limit = within(self.config.connect_timeout, deadline);
        let made = match timeout(limit, self.make(seek)).await {
            Ok(made) => made,
            Err(_) => {
                let origin = self.origin.clone();
                Err(UpstreamError::ConnectTimeout { origin, limit })
            }
        };
        let made = made.inspect_err(|_| {
            self.unconnected.fetch_add(1, Ordering::Relaxed);
        })?;
        match made {
            Made::New(carrier) => {
                self.connected.fetch_add(1, Ordering::Relaxed);
                if matches!(carrier, Carrier::Http2(_)) {
                    // It is there for others from now on, whatever becomes of this request.
                    self.see_to_sweeping();
                }
                Ok(Lease { carrier, is_new: true, pool, permit, is_stream: false })
            }
            Made::Meanwhile(carrier) => {
                self.reused.fetch_add(1, Ordering::Relaxed);
                Ok(Lease { carrier, is_new: false, pool, permit, is_stream: false })
            }
        }
    }

    async fn permit(
        self: &Arc<Self>,
        deadline: Option<Instant>,
    ) -> Result<OwnedSemaphorePermit, UpstreamError> {
        const OPEN: &str = "the semaphore is never closed";
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let Some(_slot) = QueueSlot::take(&self.waiting, self.config.max_waiting) else {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            let waiting = self.config.max_waiting;
            return Err(UpstreamError::Busy { origin: self.origin.clone(), waiting });
        };
        let limit = within(self.config.wait_timeout, deadline);
        match timeout(limit, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(permit) => Ok(permit.expect(OPEN)),
            Err(_) => {
                self.waited_in_vain.fetch_add(1, Ordering::Relaxed);
                Err(UpstreamError::WaitTimeout { origin: self.origin.clone(), limit })
            }
        }
    }

    /// What is there already for such a request, on this loop.
    fn kept(&self, Seek { may, is_to_switch }: Seek) -> Option<Carrier> {
        match (self.speaks(is_to_switch), may) {
            (_, May::OnlyBeNew) | (Speaks::Http1, May::BeItsOwn) => None,
            (Speaks::Http1, May::BeKept) => self.pop().map(Carrier::Http1),
            (Speaks::Http2 | Speaks::Unknown, _) => {
                let single =
                    || if may == May::BeKept { self.pop().map(Carrier::Http1) } else { None };
                self.shared().map(Carrier::Http2).or_else(single)
            }
        }
    }

    fn speaks(&self, is_to_switch: bool) -> Speaks {
        if is_to_switch {
            return Speaks::Http1;
        }
        let known = [Speaks::Unknown, Speaks::Http1, Speaks::Http2];
        known[usize::from(self.speaks.load(Ordering::Relaxed))]
    }

    /// This loop's idle connection used last, of those that are still good.
    fn pop(&self) -> Option<Link> {
        let home = Handle::current().id();
        loop {
            let mut idle = self.idle();
            let links = idle.links_of(home)?;
            let link = links.pop()?;
            if link.idle_since.elapsed() >= self.config.idle_timeout {
                // Those below it have been idle for longer.
                let old = std::mem::take(links);
                drop(idle);
                drop(old);
                return None;
            }
            drop(idle);
            if link.is_reusable() && link.is_quiet() && self.addresses.has(link.address) {
                return Some(link);
            }
        }
    }

    /// A place on one of this loop's connections that are shared.
    fn shared(&self) -> Option<Slot> {
        let home = Handle::current().id();
        let mut idle = self.idle();
        let connections = idle.connections_of(home)?;
        let is_good = |connection: &mut Arc<Connection>| {
            connection.is_open() && self.addresses.has(connection.address)
        };
        let over: Vec<_> = connections.extract_if(.., |connection| !is_good(connection)).collect();
        let slot = connections.iter().find_map(Connection::slot);
        drop(idle);
        drop(over);
        slot
    }

    /// Closes what other loops keep, as far as the bound asks for it before one more is made.
    fn make_room(&self) {
        loop {
            let mut idle = self.idle();
            if self.in_demand() + idle.len() <= self.max_connections() {
                return;
            }
            let Some(oldest) = idle.oldest() else { return };
            drop(idle);
            drop(oldest);
        }
    }

    /// Connections in use, streams aside.
    fn in_demand(&self) -> usize {
        let max = self.max_connections();
        max - self.permits.available_permits().min(max)
    }

    fn streams(&self) -> usize {
        let max = self.config.max_streams.min(Semaphore::MAX_PERMITS);
        max - self.stream_permits.available_permits().min(max)
    }

    fn max_connections(&self) -> usize {
        self.config.max_connections.clamp(1, Semaphore::MAX_PERMITS)
    }

    /// A connection that was not there when it was looked for. Where many may share one, one request makes it and the others
    /// wait for that.
    async fn make(&self, Seek { may, is_to_switch }: Seek) -> Result<Made, UpstreamError> {
        if self.speaks(is_to_switch) == Speaks::Http1 || may == May::OnlyBeNew {
            return self.connect(is_to_switch).await.map(Made::New);
        }
        let gate = self.idle().gate_of(Handle::current().id());
        let turn = gate.lock().await;
        if let Some(slot) = self.shared() {
            return Ok(Made::Meanwhile(Carrier::Http2(slot)));
        }
        if self.speaks(is_to_switch) == Speaks::Http1 {
            // That has turned out while it waited: all may go at once.
            drop(turn);
        }
        self.connect(is_to_switch).await.map(Made::New)
    }

    async fn connect(&self, is_to_switch: bool) -> Result<Carrier, UpstreamError> {
        self.make_room();
        let Connected { socket, is_http2, address } =
            connect(&self.origin, &self.addresses, &self.config, is_to_switch).await?;
        if !is_to_switch {
            let speaks = if is_http2 { Speaks::Http2 } else { Speaks::Http1 };
            self.speaks.store(speaks as u8, Ordering::Relaxed);
        }
        let origin = || self.origin.clone();
        if !is_http2 {
            let link = Link::new(socket, address, &self.config).await;
            return link.map(Carrier::Http1).map_err(|source| UpstreamError::Closed {
                origin: origin(),
                source: source.into(),
                was_repeated: false,
            });
        }
        let silent = Arc::clone(&self.silent);
        let opened = Connection::open(socket, address, &self.config, silent).await;
        let connection = opened
            .map_err(|source| UpstreamError::Http2 { origin: origin(), source: source.into() })?;
        let slot = connection.slot();
        self.idle().share(Handle::current().id(), connection);
        slot.map(Carrier::Http2)
            .ok_or_else(|| UpstreamError::Refused { origin: origin(), times: 0 })
    }

    /// Sees to it that idle connections are closed when their time is over although no request comes
    /// to find out. The task ends with the last of them, or with the pool, or with its loop.
    fn see_to_sweeping(self: &Arc<Self>) {
        if !self.is_swept.swap(true, Ordering::AcqRel) {
            let sweep = Sweep { pool: Arc::downgrade(self) };
            tokio::spawn(sweep.run(self.config.idle_timeout));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // Nothing under this lock can panic half-way through a change.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`Pool::make`] brings.
enum Made {
    New(Carrier),
    /// Somebody else has made it.
    Meanwhile(Carrier),
}

/// Closes idle connections when their time is over. Once it is dropped, the next may begin.
struct Sweep {
    pool: Weak<Pool>,
}

impl Sweep {
    async fn run(self, idle_timeout: Duration) {
        loop {
            tokio::time::sleep(idle_timeout).await;
            let Some(pool) = self.pool.upgrade() else { return };
            let mut idle = pool.idle();
            let old = idle.older_than(idle_timeout);
            if idle.is_empty() {
                // Under the lock: giving one back after this starts another sweep.
                drop(self);
                drop(idle);
                return;
            }
            drop(idle);
            drop(old);
        }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.is_swept.store(false, Ordering::Release);
        }
    }
}

/// One of the requests that wait for a connection. Dropping it ends the wait.
struct QueueSlot<'a>(&'a AtomicUsize);

impl<'a> QueueSlot<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let slot = QueueSlot(waiting);
        // Taken first and given back if it was one too many, by the drop.
        (waiting.fetch_add(1, Ordering::AcqRel) < max).then_some(slot)
    }
}

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// `limit`, or what is left until the deadline.
pub(super) fn within(limit: Duration, deadline: Option<Instant>) -> Duration {
    match deadline {
        Some(deadline) => limit.min(deadline.saturating_duration_since(Instant::now())),
        None => limit,
    }
}
