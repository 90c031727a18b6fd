//! What uploads cost that hardly come: an allocator that counts says it, in a process of its own.
//!
//! Readers and origin are on other threads, whose memory does not count.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use allocation_counter::measure;
use larder::{
    Cache,
    http::{HttpCache, Policy, Variants},
};
use larder_gateway::{
    Gateway, GatewayConfig, Server, ServerConfig,
    upstream::{Upstream, UpstreamConfig},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

const READERS: usize = 50;

/// What a request without content takes that waits for the origin's answer. Of it hyper's client takes 25 KiB for
/// each of its connections, whatever goes over them: two buffers and a queue. (Measured: 43 KiB.)
const WAITING: u64 = 44 << 10;
/// What an upload takes beside that.
const UPLOADING: u64 = 3 << 10;
/// What a connection of HTTP/2 takes beside that: its buffers for frames in both directions, 16 KiB each, and what it
/// remembers of header fields.
const HTTP2: u64 = 50 << 10;

struct Gate {
    runtime: Runtime,
    address: SocketAddr,
}

impl Gate {
    fn start(reads: bool) -> Gate {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let origin = origin(reads);
        let address = runtime.block_on(async {
            let store = Cache::<Variants>::builder().max_bytes(64 << 20).build();
            let cache = HttpCache::new(store, Policy::guarded());
            let upstream = format!("http://{origin}").parse().unwrap();
            let upstream = Upstream::new(upstream, UpstreamConfig::default());
            let gateway = Gateway::new(&cache, upstream, GatewayConfig::default());
            let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerConfig::default()).unwrap();
            let address = server.address();
            tokio::spawn(server.serve(gateway, CancellationToken::new()));
            address
        });
        Gate { runtime, address }
    }

    /// What each of many readers takes here who say this, and then a piece now and then.
    fn cost(&self, said: &[u8], piece: &[u8]) -> u64 {
        let said: [Arc<[u8]>; 2] = [said.into(), piece.into()];
        // What the first ones set up for all does not count.
        let _first = self.talk(10, &said);
        let mut readers = None;
        let counted = measure(|| readers = Some(self.talk(READERS, &said)));
        drop(readers);
        u64::try_from(counted.bytes_current).unwrap() / READERS as u64
    }

    fn talk(&self, readers: usize, said: &[Arc<[u8]>; 2]) -> mpsc::Receiver<Vec<TcpStream>> {
        let (address, [said, piece]) = (self.address, said.clone());
        let (done, is_done) = mpsc::channel();
        let talking = thread::spawn(move || {
            let connect = |_| TcpStream::connect(address).unwrap();
            let mut wires: Vec<_> = (0..readers).map(connect).collect();
            for wire in &mut wires {
                wire.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
                // More than is taken is not sent.
                let sent = wire.write_all(&said);
                assert!(sent.is_ok() || said.len() > 1 << 20, "{sent:?}");
            }
            for _ in 0..20 {
                thread::sleep(Duration::from_millis(50));
                wires.iter_mut().for_each(|wire| _ = wire.write_all(&piece));
            }
            // As long as they are kept, they are open.
            done.send(wires).unwrap();
        });
        self.runtime.block_on(async {
            while !talking.is_finished() {
                sleep(Duration::from_millis(20)).await;
            }
            sleep(Duration::from_millis(100)).await;
        });
        is_done
    }
}

/// Reads whatever comes, or nothing at all, and never answers.
fn origin(reads: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while reads && stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
                thread::sleep(Duration::from_secs(1000));
            });
        }
    });
    address
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A few bytes of an upload now and then, behind as many at first as a slow line brings in a moment.
#[test]
fn a_slow_upload_costs_little_more_than_its_connection_to_the_origin() {
    let gate = Gate::start(true);
    let waiting = gate.cost(b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", b"");
    let first = [b'x'; 20_000];
    let posting = |framing: &str, first: &[u8]| {
        [format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").as_bytes(), first].concat()
    };
    let length = posting("Content-Length: 10000000", &first);
    let chunked = posting("Transfer-Encoding: chunked", b"f0000\r\nabc");
    // :method POST, :scheme http, :path /, :authority a
    let head = frame(1, 4, 1, b"\x83\x86\x84\x01\x01a");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let http2 =
        [&preface[..], &frame(4, 0, 0, b""), &head, &frame(0, 0, 1, &first[..16_000])].concat();
    println!("waiting for the origin: {waiting} B");
    assert!(waiting < WAITING, "{waiting}");
    for (what, said, piece, bound) in [
        ("with a length", length, b"y".repeat(200), UPLOADING),
        ("in chunks", chunked, b"y".repeat(200), UPLOADING),
        ("over HTTP/2", http2, frame(0, 0, 1, &[b'y'; 200]), UPLOADING + HTTP2),
    ] {
        let cost = gate.cost(&said, &piece).saturating_sub(waiting);
        println!("an upload {what}: {cost} B more");
        assert!(cost < bound, "{what}: {cost}");
    }
}

#[test]
fn an_upload_that_the_origin_does_not_read_stays_with_who_sends_it() {
    let gate = Gate::start(false);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n";
    let said = [head.as_bytes(), &vec![b'x'; 9_000_000]].concat();
    let cost = gate.cost(&said, b"");
    println!("an upload that the origin does not read: {cost} B");
    // What was read at once and is not written yet, what waits to be, and a little that was read ahead.
    assert!(cost < WAITING + UPLOADING + (64 << 10) + (16 << 10) + (8 << 10), "{cost}");
}
