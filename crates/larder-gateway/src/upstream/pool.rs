//! Pool: the connections to one origin, a bounded number, and the requests that wait for one.

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
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::{Origin, config::UpstreamConfig, error::UpstreamError, link::Link};

/// Counters of one upstream since it was made, and what is going on there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamStats {
    /// Connections made.
    pub connected: u64,
    /// Requests that went over a connection that had served another before.
    pub reused: u64,
    /// Requests that found all connections in use and too many waiting.
    pub turned_away: u64,
    /// Requests that waited for a connection and got none in time.
    pub waited_in_vain: u64,
    /// Connections in use now.
    pub in_use: usize,
    /// Connections kept for later requests now.
    pub idle: usize,
    /// Requests that wait for a connection now.
    pub waiting: usize,
}

pub(super) struct Pool {
    pub(super) origin: Origin,
    pub(super) config: UpstreamConfig,
    /// One permit for each connection in use. A new one is only made when none is idle, so in use
    /// and idle together stay within the bound.
    permits: Arc<Semaphore>,
    /// The one used last is on top. Never held across an await.
    idle: Mutex<Vec<Link>>,
    is_swept: AtomicBool,
    waiting: AtomicUsize,
    connected: AtomicU64,
    reused: AtomicU64,
    turned_away: AtomicU64,
    waited_in_vain: AtomicU64,
}

/// The right to use one connection. Dropping it closes the connection; to keep it, give it back.
pub(super) struct Lease {
    pub(super) link: Link,
    pub(super) is_new: bool,
    pub(super) pool: Arc<Pool>,
    permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Keeps the connection for a later request if it is good for one.
    pub(super) fn give_back(self) {
        let Lease { mut link, pool, permit, .. } = self;
        if !link.is_reusable() {
            return;
        }
        link.timer.clear();
        link.idle_since = Instant::now();
        let mut idle = pool.idle();
        if idle.len() < pool.config.max_idle {
            idle.push(link);
            drop(idle);
            pool.see_to_sweeping();
        }
        // Only now may somebody else look for an idle one.
        drop(permit);
    }
}

impl Pool {
    pub(super) fn new(origin: Origin, config: UpstreamConfig) -> Arc<Pool> {
        let max = config.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Pool {
            origin,
            config,
            permits: Arc::new(Semaphore::new(max)),
            idle: Mutex::new(Vec::new()),
            is_swept: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            connected: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            waited_in_vain: AtomicU64::new(0),
        })
    }

    pub(super) fn stats(&self) -> UpstreamStats {
        let max = self.config.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        UpstreamStats {
            connected: self.connected.load(Ordering::Relaxed),
            reused: self.reused.load(Ordering::Relaxed),
            turned_away: self.turned_away.load(Ordering::Relaxed),
            waited_in_vain: self.waited_in_vain.load(Ordering::Relaxed),
            in_use: max - self.permits.available_permits().min(max),
            idle: self.idle().len(),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    /// A connection that is ready for a request. Waiting for one ends at `deadline`, too.
    pub(super) async fn take(
        self: &Arc<Self>,
        deadline: Option<Instant>,
    ) -> Result<Lease, UpstreamError> {
        let permit = self.permit(deadline).await?;
        if let Some(link) = self.pop() {
            self.reused.fetch_add(1, Ordering::Relaxed);
            return Ok(Lease { link, is_new: false, pool: Arc::clone(self), permit });
        }
        let limit = within(self.config.connect_timeout, deadline);
        let link = match timeout(limit, self.connect()).await {
            Ok(link) => link?,
            Err(_) => {
                let origin = self.origin.clone();
                return Err(UpstreamError::ConnectTimeout { origin, limit });
            }
        };
        self.connected.fetch_add(1, Ordering::Relaxed);
        Ok(Lease { link, is_new: true, pool: Arc::clone(self), permit })
    }

    async fn permit(
        self: &Arc<Self>,
        deadline: Option<Instant>,
    ) -> Result<OwnedSemaphorePermit, UpstreamError> {
        const OPEN: &str = "the semaphore is never closed";
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let Some(_place) = Place::take(&self.waiting, self.config.max_waiting) else {
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

    /// The idle connection used last, of those that are still good.
    fn pop(&self) -> Option<Link> {
        loop {
            let mut idle = self.idle();
            let link = idle.pop()?;
            if link.idle_since.elapsed() >= self.config.idle_timeout {
                // Those below it have been idle for longer.
                let old = std::mem::take(&mut *idle);
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
    /// to find out. The task ends with the last of them, or with the pool.
    fn see_to_sweeping(self: &Arc<Self>) {
        if !self.is_swept.swap(true, Ordering::AcqRel) {
            tokio::spawn(sweep(Arc::downgrade(self), self.config.idle_timeout));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Link>> {
        // Nothing under this lock can panic half-way through a change.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(pool: Weak<Pool>, idle_timeout: Duration) {
    loop {
        tokio::time::sleep(idle_timeout).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        let is_good = |link: &Link| link.idle_since.elapsed() < idle_timeout;
        let first_good = idle.iter().position(is_good).unwrap_or(idle.len());
        let old: Vec<_> = idle.drain(..first_good).collect();
        if idle.is_empty() {
            // Under the lock: who gives one back after this starts another sweep.
            pool.is_swept.store(false, Ordering::Release);
            return;
        }
        drop(idle);
        drop(old);
    }
}

/// A place among those who wait. Dropping it leaves the line.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let place = Place(waiting);
        // Taken first and given back if it was one too many, by the drop.
        (waiting.fetch_add(1, Ordering::AcqRel) < max).then_some(place)
    }
}

impl Drop for Place<'_> {
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
