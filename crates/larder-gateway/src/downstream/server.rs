//! Server: a listener, the event loops that its connections are dealt to, and an orderly end.
//!
//! One listener for all event loops, and each new connection goes to the loop that has the fewest. A
//! listener for each loop (`SO_REUSEPORT`) saves the way from one loop to another, once in a
//! connection's life; but there the kernel deals connections out by a hash, and of a few dozen that
//! are kept for long, one core may get twice what another does.

use std::{
    convert::Infallible,
    error::Error,
    io,
    net::{self, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use larder::http::policy::scheme::Scheme;
use rustix::net::listen;
#[cfg(any(target_os = "android", target_os = "linux"))]
use socket2::SockRef;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    config::ServerConfig,
    door::{Door, NewConnection},
    http1::{FastPath, Http1Config, ReaderBody},
    loops::Loops,
    session::{Accepted, ConnectionGuard, Handshake, Shared, live, live_encrypted},
};

/// How many bytes of an answer may wait in the system's buffers beyond what is on its way. Without this bound a
/// reader that takes nothing holds megabytes there, and filling them is what others wait for; with less, a
/// connection on a long way may run dry.
const UNSENT_BYTES: u32 = 128 << 10;

/// A port that is taken but not yet served, so that a port in use is found before anything starts.
#[derive(Debug)]
pub struct Server {
    /// The system's own: on which event loop it will be is not known yet.
    listener: net::TcpListener,
    address: SocketAddr,
    config: ServerConfig,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections whose answers were not out when the grace was over. They were reset.
    pub cut: usize,
}

impl Server {
    /// Takes the port.
    ///
    /// # Errors
    ///
    /// What the system says: the port is in use, or not ours to have.
    pub fn bind(address: SocketAddr, config: ServerConfig) -> io::Result<Server> {
        let listener = net::TcpListener::bind(address)?;
        // Again, for a longer backlog than the standard library's.
        listen(&listener, i32::try_from(config.backlog).unwrap_or(i32::MAX))?;
        Server::with_listener(listener, config)
    }

    /// Takes a listener that is there already.
    ///
    /// # Errors
    ///
    /// If the system does not tell its address, or does not make it non-blocking.
    pub fn with_listener(listener: net::TcpListener, config: ServerConfig) -> io::Result<Server> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        // Connections have it from the listener.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if let Err(error) = SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT_BYTES) {
            // A slow reader holds more memory then.
            tracing::debug!("cannot set TCP_NOTSENT_LOWAT: {error}");
        }
        Ok(Server { listener, address, config })
    }

    /// Where it listens; with the port that was chosen, if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled: then no connection is accepted any more, connections between
    /// requests end at once, answers under way get the grace, and what is left is reset. Each
    /// connection has a clone of the service and a task of its own, on the runtime that calls this.
    /// Dropping the future resets all connections.
    pub async fn serve<S, B>(self, service: S, stop: CancellationToken) -> Stopped
    where
        S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.serve_on_each(&[Handle::current()], (), service, stop).await
    }

    /// [`Server::serve`] on event loops of their own: the first accepts, all serve. `hits` is asked
    /// before the service: see [`serve_connection_with_hits`](super::http1::serve_connection_with_hits).
    pub fn serve_on<H, S, B>(
        self,
        loops: &Loops,
        hits: H,
        service: S,
        stop: CancellationToken,
    ) -> JoinHandle<Stopped>
    where
        H: FastPath + Clone + Send + Sync + 'static,
        S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let handles = loops.handles().to_vec();
        let first = handles[0].clone();
        first.spawn(async move { self.serve_on_each(&handles, hits, service, stop).await })
    }

    async fn serve_on_each<H, S, B>(
        self,
        handles: &[Handle],
        hits: H,
        service: S,
        stop: CancellationToken,
    ) -> Stopped
    where
        H: FastPath + Clone + Send + Sync + 'static,
        S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Server { listener, config, .. } = self;
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!("cannot wait for connections: {error}");
                return Stopped { cut: 0 };
            }
        };
        let mut door = Door::new(listener, &config);
        let scheme = if config.tls.is_some() { Scheme::Https } else { config.http1.scheme };
        let http1 = Http1Config { scheme, drain: stop.clone(), ..config.http1 };
        let shared = Arc::new(Shared { http1, hits });
        let loops: Vec<_> = handles.iter().map(|handle| Loop::new(handle, &stop)).collect();
        let (here, _) = loops.split_first().expect("there is one at least");
        let mut connections = JoinSet::new();
        loop {
            let NewConnection { stream, peer, permit } = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(joined) = connections.join_next() => {
                    logged(joined);
                    while connections.try_join_next().is_some_and(logged) {}
                    continue;
                }
                connection = door.next() => connection,
            };
            let one = Loop::with_fewest(&loops);
            let stop = one.stop.child_token();
            door.let_in(stop.clone());
            let guard = ConnectionGuard::begin(&one.connections, &stop, permit);
            let accepted = if std::ptr::eq(one, here) {
                Accepted::Here(stream)
            } else {
                Accepted::Elsewhere(stream.into_std())
            };
            let (shared, service) = (Arc::clone(&shared), service.clone());
            match &config.tls {
                None => connections
                    .spawn_on(live(accepted, peer, guard, shared, service, stop), &one.handle),
                Some(tls) => {
                    let handshake = Handshake { tls: tls.clone(), limit: config.handshake_timeout };
                    let connection =
                        live_encrypted(accepted, handshake, peer, guard, shared, service, stop);
                    connections.spawn_on(connection, &one.handle)
                }
            };
        }
        drop(door);
        let drained = timeout(config.grace, async {
            while let Some(joined) = connections.join_next().await {
                logged(joined);
            }
        });
        if drained.await.is_ok() {
            return Stopped { cut: 0 };
        }
        let cut = connections.len();
        connections.shutdown().await;
        Stopped { cut }
    }
}

/// An event loop, seen from where connections are accepted.
struct Loop {
    handle: Handle,
    /// How many connections it has.
    connections: Arc<AtomicUsize>,
    /// Of its own, so that its connections meet no other loop's where they wait for it.
    stop: CancellationToken,
}

impl Loop {
    fn new(handle: &Handle, stop: &CancellationToken) -> Loop {
        Loop { handle: handle.clone(), connections: Arc::default(), stop: stop.child_token() }
    }

    fn with_fewest(loops: &[Loop]) -> &Loop {
        let fewest = loops.iter().min_by_key(|one| one.connections.load(Ordering::Relaxed));
        fewest.expect("there is one at least")
    }
}

/// A connection's panic ends no other connection, but it is a bug of the service.
fn logged(joined: Result<(), tokio::task::JoinError>) -> bool {
    if let Err(error) = joined
        && error.is_panic()
    {
        tracing::error!("a connection broke: {error}");
    }
    true
}
