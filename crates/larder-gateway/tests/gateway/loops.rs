//! Several event loops: who serves whom, and how all of them end together.

use std::{
    collections::HashSet,
    convert::Infallible,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    thread::{self, ThreadId},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use larder_gateway::{
    Loops, Server, ServerConfig,
    downstream::{http1::ReaderBody, server::Stopped},
    upstream::{Upstream, UpstreamConfig, UpstreamStats},
};
use tokio::{net::TcpStream, sync::Semaphore, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tower::{Service, service_fn};

use crate::support::{AnyBody, Origin, PATIENCE, Wire, eventually, pass, upstream, whole};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server on loops of its own, whose service notes who calls it and answers when it gets a permit.
struct Hall {
    address: std::net::SocketAddr,
    called: Arc<Mutex<Vec<ThreadId>>>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
    serving: JoinHandle<Stopped>,
    // The last to be dropped.
    _loops: Loops,
}

impl Hall {
    fn open(count: usize, config: ServerConfig) -> Hall {
        let called = Arc::new(Mutex::new(Vec::new()));
        let permits = Arc::new(Semaphore::new(0));
        let service = service_fn({
            let (called, permits) = (Arc::clone(&called), Arc::clone(&permits));
            move |_: Request<ReaderBody>| {
                let permits = Arc::clone(&permits);
                called.lock().unwrap().push(thread::current().id());
                async move {
                    permits.acquire().await.unwrap().forget();
                    Ok::<_, Infallible>(Response::new(whole(Bytes::from("x"))))
                }
            }
        });
        Hall { called, permits, ..Hall::serving(count, config, service) }
    }

    fn serving<S>(count: usize, config: ServerConfig, service: S) -> Hall
    where
        S: Service<Request<ReaderBody>, Response = Response<AnyBody>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        let loops = Loops::start(NonZeroUsize::new(count).unwrap()).unwrap();
        let server = Server::bind(([127, 0, 0, 1], 0).into(), config).unwrap();
        let address = server.address();
        let stop = CancellationToken::new();
        let serving = server.serve_on(&loops, (), service, stop.clone());
        let (called, permits) = (Arc::default(), Arc::new(Semaphore::new(0)));
        Hall { address, called, permits, stop, serving, _loops: loops }
    }

    async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    async fn called(&self, times: usize) -> Vec<ThreadId> {
        eventually("all calls of the service", async || {
            let called = self.called.lock().unwrap().clone();
            (called.len() >= times).then_some(called)
        })
        .await
    }

    async fn stopped(self) -> Stopped {
        self.stop.cancel();
        timeout(PATIENCE, self.serving).await.expect("it does not stop").unwrap()
    }
}

#[tokio::test]
async fn kept_connections_are_dealt_out_evenly() {
    let hall = Hall::open(3, ServerConfig::default());
    let mut wires = Vec::new();
    for _ in 0..12 {
        let mut wire = hall.connect().await;
        wire.send(GET).await;
        wires.push(wire);
    }
    let called = hall.called(12).await;
    let threads: HashSet<_> = called.iter().copied().collect();
    assert_eq!(threads.len(), 3);
    for thread in threads {
        assert_eq!(called.iter().filter(|caller| **caller == thread).count(), 4);
    }
    hall.permits.add_permits(12);
    for wire in &mut wires {
        assert_eq!(wire.answer().await.text(), "x");
    }
    drop(wires);
    assert_eq!(hall.stopped().await.cut, 0);
}

#[tokio::test]
async fn a_connection_stays_on_its_loop() {
    let hall = Hall::open(2, ServerConfig::default());
    hall.permits.add_permits(20);
    let (mut one, mut other) = (hall.connect().await, hall.connect().await);
    for _ in 0..10 {
        one.send(GET).await;
        one.answer().await;
        other.send(GET).await;
        other.answer().await;
    }
    let called = hall.called(20).await;
    assert_ne!(called[0], called[1]);
    assert!(called.chunks(2).all(|pair| pair == &called[..2]));
}

#[tokio::test]
async fn the_bound_of_connections_is_for_all_loops_together() {
    let hall = Hall::open(2, ServerConfig { max_connections: 3, ..Default::default() });
    let mut wires = Vec::new();
    for _ in 0..4 {
        let mut wire = hall.connect().await;
        wire.send(GET).await;
        wires.push(wire);
    }
    hall.called(3).await;
    hall.permits.add_permits(4);
    assert_eq!(wires[0].answer().await.text(), "x");
    assert_eq!(hall.called.lock().unwrap().len(), 3);
    drop(wires.remove(0));
    for wire in &mut wires {
        assert_eq!(wire.answer().await.text(), "x");
    }
}

#[tokio::test]
async fn all_loops_let_their_answers_out_and_no_one_else_in() {
    let hall = Hall::open(2, ServerConfig::default());
    let mut idle = hall.connect().await;
    hall.permits.add_permits(1);
    idle.send(GET).await;
    idle.answer().await;
    let mut wires = Vec::new();
    for _ in 0..4 {
        let mut wire = hall.connect().await;
        wire.send(GET).await;
        wires.push(wire);
    }
    hall.called(5).await;
    let (address, permits) = (hall.address, Arc::clone(&hall.permits));
    let stopping = tokio::spawn(hall.stopped());
    assert_eq!(idle.rest().await, "");
    // The listener is on another loop than who was idle.
    eventually("a closed port", async || TcpStream::connect(address).await.err()).await;
    permits.add_permits(4);
    for wire in &mut wires {
        assert_eq!(wire.answer().await.text(), "x");
        assert_eq!(wire.rest().await, "");
    }
    drop((wires, idle));
    assert_eq!(stopping.await.unwrap().cut, 0);
}

#[tokio::test]
async fn what_was_cut_is_counted_on_all_loops() {
    let grace = Duration::from_millis(100);
    let hall = Hall::open(2, ServerConfig { grace, ..Default::default() });
    let mut wires = Vec::new();
    for _ in 0..4 {
        let mut wire = hall.connect().await;
        wire.send(GET).await;
        wires.push(wire);
    }
    hall.called(4).await;
    assert_eq!(hall.stopped().await.cut, 4);
    for wire in &mut wires {
        wire.until_reset().await;
    }
}

#[tokio::test]
async fn a_port_that_one_serves_is_not_another_s() {
    let hall = Hall::open(2, ServerConfig::default());
    let refused = Server::bind(hall.address, ServerConfig::default()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
}

/// An origin that keeps its connections, and a server before it on loops of its own, each request
/// passed on.
async fn passing(count: usize, config: UpstreamConfig) -> (Hall, Upstream, Origin) {
    let origin = Origin::saying(OK).await;
    let upstream = upstream(origin.address, config);
    let service = {
        let upstream = upstream.clone();
        service_fn(move |request| pass(upstream.clone(), request))
    };
    (Hall::serving(count, ServerConfig::default(), service), upstream, origin)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";

#[tokio::test]
async fn each_loop_has_connections_of_its_own_to_the_origin() {
    let (hall, upstream, _origin) = passing(2, UpstreamConfig::default()).await;
    let (mut one, mut other) = (hall.connect().await, hall.connect().await);
    for _ in 0..5 {
        for wire in [&mut one, &mut other] {
            wire.send(GET).await;
            assert_eq!(wire.answer().await.text(), "x");
        }
    }
    let UpstreamStats { connected, reused, idle, .. } = upstream.stats();
    assert_eq!((connected, reused, idle), (2, 8, 2));
}

#[tokio::test]
async fn what_one_loop_keeps_makes_room_for_another() {
    let config = UpstreamConfig { max_connections: 1, ..Default::default() };
    let (hall, upstream, _origin) = passing(2, config).await;
    let (mut one, mut other) = (hall.connect().await, hall.connect().await);
    for made in 1..=3 {
        for wire in [&mut one, &mut other] {
            wire.send(GET).await;
            assert_eq!(wire.answer().await.text(), "x");
            let UpstreamStats { in_use, idle, .. } = upstream.stats();
            assert!(in_use + idle <= 1, "{in_use} in use and {idle} idle");
        }
        assert_eq!(upstream.stats().connected, 2 * made);
    }
}
