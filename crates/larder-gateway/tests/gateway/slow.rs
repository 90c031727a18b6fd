//! Readers that take nothing: what they hold, and who waits for them.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use larder_gateway::{ServerConfig, downstream::http1::ReaderBody};
use tower::service_fn;

use crate::support::{Gate, PATIENCE, Wire, whole};

const LARGE: usize = 10 << 20;

/// The bytes that wait in the system's buffers of a port's connections, sent and unsent (proc(5)).
fn queued(port: u16) -> Vec<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    let established = rows.filter(|row| row[1].ends_with(&local) && row[3] == "01");
    let queues = established.map(|row| row[4].split_once(':').unwrap().0);
    queues.map(|queue| usize::from_str_radix(queue, 16).unwrap()).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_large_answer_to_readers_that_take_nothing_fills_no_buffers() {
    const READERS: usize = 50;
    let body = Bytes::from(vec![b'x'; LARGE]);
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(move |request: Request<ReaderBody>| {
            let body = if request.uri().path() == "/large" { body.clone() } else { "a".into() };
            async move { Ok::<_, Infallible>(Response::new(whole(body))) }
        }),
    );
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = gate.connect().await;
        reader.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
        readers.push(reader);
    }
    for reader in &readers {
        // The head is there, and more of the body than is read here.
        tokio::time::timeout(PATIENCE, reader.stream.readable()).await.unwrap().unwrap();
    }
    let mut quick: Wire = gate.connect().await;
    for _ in 0..20 {
        quick.send("GET /small HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(quick.answer().await.text(), "a");
    }
    let queues = queued(gate.address.port());
    let most = queues.iter().max().unwrap();
    assert_eq!(queues.len(), READERS + 1);
    assert!(*most < 1 << 20, "{most} B wait on one connection");
    // Who begins to take gets all.
    let mut reader = readers.remove(0);
    let head = reader.head().await;
    assert!(head.contains(&format!("{LARGE}")), "{head}");
    assert_eq!(reader.exactly(LARGE).await.len(), LARGE);
}
