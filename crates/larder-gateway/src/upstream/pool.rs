//! Pool: the connections to one origin, a bounded number, and the requests that wait for one.
//!
//! A connection is used again on the event loop on which it was made, because only that one hears of
//! its socket; the bounds are for all loops together.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpStream, lookup_host},
    runtime::{self, Handle},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::{config::UpstreamConfig, error::UpstreamError, link::Link, origin::Origin};

/// Counters of one upstream since it was made, and what is going on there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamStats {
    /// Connections made.
    pub connected: u64,
    /// Requests that went over a connection that had served another before.
    pub reused: u64,
    /// Requests that were sent once more, since a kept connection was closed before an answer began.
    pub retried: u64,
    /// Requests that found all connections in use and too many waiting.
    pub turned_away: u64,
    /// Requests that waited for a connection and got none in time.
    pub waited_in_vain: u64,
    /// Connections in use now.
    pub in_use: usize,
    /// Those of them on which a body is under way, and which no request waits for
    /// ([`max_streams`](UpstreamConfig::max_streams)).
    pub streams: usize,
    /// Connections kept for later requests now.
    pub idle: usize,
    /// Requests that wait for a connection now.
    pub waiting: usize,
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
    is_swept: AtomicBool,
    waiting: AtomicUsize,
    connected: AtomicU64,
    reused: AtomicU64,
    retried: AtomicU64,
    turned_away: AtomicU64,
    waited_in_vain: AtomicU64,
}

/// The idle connections, a list for each event loop: there are as many as cores.
#[derive(Default)]
struct Idle {
    /// In each, the one used last is on top.
    lists: Vec<(runtime::Id, Vec<Link>)>,
}

impl Idle {
    fn len(&self) -> usize {
        self.lists.iter().map(|(_, links)| links.len()).sum()
    }

    fn push(&mut self, link: Link) {
        match self.lists.iter_mut().find(|(home, _)| *home == link.home) {
            Some((_, links)) => links.push(link),
            None => self.lists.push((link.home, vec![link])),
        }
    }

    fn of(&mut self, home: runtime::Id) -> Option<&mut Vec<Link>> {
        self.lists.iter_mut().find(|(of, _)| *of == home).map(|(_, links)| links)
    }

    /// The one that has been idle for longest.
    fn oldest(&mut self) -> Option<Link> {
        let begun = self.lists.iter_mut().filter(|(_, links)| !links.is_empty());
        let (_, links) = begun.min_by_key(|(_, links)| links[0].idle_since)?;
        Some(links.remove(0))
    }

    /// Those that have been idle for so long.
    fn older_than(&mut self, age: Duration) -> Vec<Link> {
        let mut old = Vec::new();
        for (_, links) in &mut self.lists {
            let is_good = |link: &Link| link.idle_since.elapsed() < age;
            let first_good = links.iter().position(is_good).unwrap_or(links.len());
            old.extend(links.drain(..first_good));
        }
        // A loop that has ended leaves an empty list.
        self.lists.retain(|(_, links)| !links.is_empty());
        old
    }
}

/// What a connection may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum May {
    /// One that was used before, or a new one.
    BeKept,
    /// A new one.
    OnlyBeNew,
}

/// The right to use one connection. Dropping it closes the connection; to keep it, give it back.
pub(super) struct Lease {
    pub(super) link: Link,
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
        self.become_stream().then(|| {
            let Lease { link, permit, .. } = self;
            (link, permit)
        })
    }

    /// Keeps the connection for a later request if it is good for one.
    pub(super) fn give_back(self) {
        let Lease { mut link, pool, permit, is_stream, .. } = self;
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
        Arc::new(Pool {
            origin,
            config,
            permits: Arc::new(Semaphore::new(max)),
            stream_permits: Arc::new(Semaphore::new(max_streams)),
            idle: Mutex::default(),
            is_swept: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            connected: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            waited_in_vain: AtomicU64::new(0),
        })
    }

    pub(super) fn stats(&self) -> UpstreamStats {
        UpstreamStats {
            connected: self.connected.load(Ordering::Relaxed),
            reused: self.reused.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            turned_away: self.turned_away.load(Ordering::Relaxed),
            waited_in_vain: self.waited_in_vain.load(Ordering::Relaxed),
            in_use: self.in_demand() + self.streams(),
            streams: self.streams(),
            idle: self.idle().len(),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    pub(super) fn count_retry(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection that is ready for a request. Waiting for one ends at `deadline`, too.
    pub(super) async fn take(
        self: &Arc<Self>,
        may: May,
        deadline: Option<Instant>,
    ) -> Result<Lease, UpstreamError> {
        let permit = self.permit(deadline).await?;
        if may == May::BeKept
            && let Some(link) = self.pop()
        {
            self.reused.fetch_add(1, Ordering::Relaxed);
            let pool = Arc::clone(self);
            return Ok(Lease { link, is_new: false, pool, permit, is_stream: false });
        }
        self.make_room();
        let limit = within(self.config.connect_timeout, deadline);
        let link = match timeout(limit, self.connect()).await {
            Ok(link) => link?,
            Err(_) => {
                let origin = self.origin.clone();
                return Err(UpstreamError::ConnectTimeout { origin, limit });
            }
        };
        self.connected.fetch_add(1, Ordering::Relaxed);
        let pool = Arc::clone(self);
        Ok(Lease { link, is_new: true, pool, permit, is_stream: false })
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

    /// This loop's idle connection used last, of those that are still good.
    fn pop(&self) -> Option<Link> {
        let home = Handle::current().id();
        loop {
            let mut idle = self.idle();
            let links = idle.of(home)?;
            let link = links.pop()?;
            if link.idle_since.elapsed() >= self.config.idle_timeout {
                // Those below it have been idle for longer.
                let old = std::mem::take(links);
                drop(idle);
                drop(old);
                return None;
            }
            drop(idle);
            if link.is_reusable() && link.is_quiet() {
                return Some(link);
            }
        }
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

    async fn connect(&self) -> Result<Link, UpstreamError> {
        let failed = |source| UpstreamError::Connect { origin: self.origin.clone(), source };
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in self.addresses().await? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(failed)?;
                    return Link::new(stream, &self.config).await.map_err(|source| {
                        UpstreamError::Closed { origin: self.origin.clone(), source }
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, UpstreamError> {
        let (host, port) = (self.origin.host(), self.origin.port());
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let unknown = |source| UpstreamError::Name { origin: self.origin.clone(), source };
        let addresses: Vec<_> = lookup_host((host, port)).await.map_err(unknown)?.collect();
        if addresses.is_empty() {
            return Err(unknown(io::ErrorKind::NotFound.into()));
        }
        Ok(addresses)
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
            if idle.len() == 0 {
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
