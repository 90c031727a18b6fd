//! Server: its listeners, the event loops that their connections are dealt to, and an orderly end.
//!
//! Each listener is for all event loops, and each new connection goes to the loop that has the fewest. A
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
use tokio::{
    runtime::Handle,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    config::{ListenerConfig, ServerConfig},
    door::{Door, Gate, NewConnection},
    entrance::Entrance,
    farewell::Farewell,
    handshakes::Handshakes,
    http1::{FastPath, Http1Config, ReaderBody},
    listener::{Bound, ListenAddress, Stream},
    loops::Loops,
    session::{Accepted, ConnectionGuard, Shared, live, live_behind},
};

/// Places that are taken but not yet served, so that a port in use is found before anything starts.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<(Bound, ListenerConfig)>,
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
        let bound = Bound::take(&address.into(), config.backlog, 0)?;
        Ok(Server::of(vec![(bound, config.listener())], config))
    }

    /// Takes a listener that is there already.
    ///
    /// # Errors
    ///
    /// If the system does not tell its address, or does not make it non-blocking.
    pub fn with_listener(listener: net::TcpListener, config: ServerConfig) -> io::Result<Server> {
        Ok(Server::of(vec![(Bound::tcp(listener)?, config.listener())], config))
    }

    /// Several listeners, with the limits that they share. Peers are told apart by the place of theirs in this list.
    ///
    /// # Panics
    ///
    /// If there is none, or are more than [`Server::MOST_LISTENERS`].
    pub fn of(listeners: Vec<(Bound, ListenerConfig)>, config: ServerConfig) -> Server {
        assert!(
            (1..=Server::MOST_LISTENERS).contains(&listeners.len()),
            "a server has at least one listener, and not more than there may be"
        );
        Server { listeners, config }
    }

    /// The most listeners of a server.
    pub const MOST_LISTENERS: usize = 64;

    /// Where each of its listeners is; with the port that was chosen, if 0 was asked for.
    pub fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.listeners.iter().map(|(bound, _)| bound.address())
    }

    /// Where its first TCP listener is.
    ///
    /// # Panics
    ///
    /// If it has none.
    pub fn address(&self) -> SocketAddr {
        let tcp = self.addresses().find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        });
        tcp.expect("a server with a TCP listener")
    }

    /// Serves until `stop` is cancelled: then no connection is accepted any more, connections between
    /// requests end at once, unless [others accept](ServerConfig::handed_over), answers under way get the grace, and
    /// what is left is reset. Each
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
        let Server { listeners, config } = self;
        let handshakes = Arc::new(Handshakes::new(config.max_handshakes, config.welcome));
        let mut gates = Vec::new();
        let mut ways = Vec::new();
        let (farewell, tunnels) = (Farewell::default(), CancellationToken::new());
        for (bound, mut listener) in listeners {
            listener.http1.drain = tunnels.clone();
            listener.http1.farewell = farewell.clone();
            let counters = Arc::clone(&listener.http1.counters);
            match bound.open() {
                Ok(listener) => gates.push(Gate { listener, counters }),
                Err(error) => {
                    tracing::error!("cannot wait for connections: {error}");
                    return Stopped { cut: 0 };
                }
            }
            ways.push(WayIn::new(listener, &config, hits.clone(), &handshakes));
        }
        let mut door = Door::new(gates, &config);
        // Apart from `stop`: connections between two requests may be left for a while.
        let close = CancellationToken::new();
        let loops: Vec<_> = handles.iter().map(|handle| Loop::new(handle, &close)).collect();
        let (here, _) = loops.split_first().expect("there is one at least");
        let mut connections = JoinSet::new();
        let (loops, ways) = (&loops, &ways);
        let serve = move |door: &mut Door, connections: &mut JoinSet<()>, new: NewConnection| {
            let NewConnection { stream, peer, permit } = new;
            let one = Loop::with_fewest(loops);
            let stop = one.stop.child_token();
            door.let_in(stop.clone());
            let guard = ConnectionGuard::begin(&one.connections, &stop, peer, permit);
            let accepted = match stream {
                Stream::Tcp(stream) if std::ptr::eq(one, here) => Accepted::Here(stream),
                stream => Accepted::Elsewhere(stream.into_std()),
            };
            let WayIn { shared, entrance } = &ways[usize::from(peer.listener)];
            let (shared, service) = (Arc::clone(shared), service.clone());
            match entrance {
                None => {
                    connections.spawn_on(live(accepted, guard, shared, service, stop), &one.handle)
                }
                Some(entrance) => {
                    let entrance = Arc::clone(entrance);
                    let connection = live_behind(entrance, accepted, guard, shared, service, stop);
                    connections.spawn_on(connection, &one.handle)
                }
            };
        };
        loop {
            let connection = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(joined) = connections.join_next() => {
                    logged(joined);
                    while connections.try_join_next().is_some_and(logged) {}
                    continue;
                }
                connection = door.next() => connection,
            };
            serve(&mut door, &mut connections, connection);
        }
        let end = Instant::now() + config.grace;
        let last_call = end - config.http1.stalled_timeout.min(config.grace);
        if config.handed_over.is_cancelled() {
            farewell.say();
            // Nobody else will accept it.
            if let Ok(Some(connection)) = timeout_at(last_call, door.last()).await {
                serve(&mut door, &mut connections, connection);
            }
        } else {
            close.cancel();
        }
        drop(door);
        let mut have_ended = async || {
            while let Some(joined) = connections.join_next().await {
                logged(joined);
            }
        };
        if timeout_at(last_call, have_ended()).await.is_err() {
            close.cancel();
            tunnels.cancel();
            // None is left where that is in time.
            timeout_at(end, have_ended()).await.ok();
        }
        let cut = connections.len();
        connections.shutdown().await;
        Stopped { cut }
    }
}

/// What the connections of a listener have in common.
struct WayIn<H> {
    shared: Arc<Shared<H>>,
    /// What comes before their first request, where anything does.
    entrance: Option<Arc<Entrance>>,
}

impl<H> WayIn<H> {
    fn new(
        listener: ListenerConfig,
        config: &ServerConfig,
        hits: H,
        handshakes: &Arc<Handshakes>,
    ) -> WayIn<H> {
        let ListenerConfig { tls, proxy, http1 } = listener;
        let scheme = if tls.is_some() { Scheme::Https } else { http1.scheme };
        let shared = Arc::new(Shared { http1: Http1Config { scheme, ..http1 }, hits });
        let limit = config.handshake_timeout;
        let handshakes = Arc::clone(handshakes);
        let has_any = tls.is_some() || proxy.is_some();
        let entrance = Entrance { proxy, tls, limit, handshakes };
        WayIn { shared, entrance: has_any.then(|| Arc::new(entrance)) }
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
