//! Counters: each thing that happens on connections is counted as what it is.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use larder_gateway::{
    ServerConfig,
    downstream::{
        counters::{Counted, Counters},
        http1::{Http1Config, ReaderBody},
    },
};
use tower::service_fn;

use crate::support::{Gate, echo, eventually, whole};

const SOON: Duration = Duration::from_millis(50);

/// A gateway that waits for nothing long, and its counters.
fn impatient() -> (Gate, Arc<Counters>) {
    let http1 = Http1Config {
        head_timeout: SOON,
        idle_timeout: SOON,
        body_timeout: SOON,
        write_timeout: SOON,
        ..Http1Config::default()
    };
    let counters = Arc::clone(&http1.counters);
    let service = service_fn(async |request: Request<ReaderBody>| {
        if request.uri().path() == "/large" {
            return Ok::<_, Infallible>(Response::new(whole(Bytes::from(vec![0; 32 << 20]))));
        }
        echo(request).await
    });
    (Gate::serving(ServerConfig { http1, ..ServerConfig::default() }, service), counters)
}

async fn once(counters: &Counters, is_so: impl Fn(&Counted) -> bool) -> Counted {
    eventually("the right counts", async || Some(counters.read()).filter(|counted| is_so(counted)))
        .await
}

#[tokio::test]
async fn each_way_to_be_slow_is_counted_apart() {
    for (said, kind, is_reset) in [
        ("GET / HTTP/1.1\r\nHo", "head", false),
        ("", "idle", false),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc", "body", false),
        ("GET /large HTTP/1.1\r\nHost: a\r\n\r\n", "write", true),
    ] {
        let (gate, counters) = impatient();
        let mut wire = gate.connect().await;
        wire.send(said).await;
        let counted = once(&counters, |counted| {
            (counted.accepted, counted.open) == (1, 0)
                && counted.timeouts.iter().map(|(_, count)| count).sum::<u64>() > 0
        });
        let counted = counted.await;
        let happened: Vec<_> = counted.timeouts.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(happened, [&(kind, 1)]);
        assert_eq!(counted.reset, u64::from(is_reset), "{kind}");
        let refusals: &[_] = match kind {
            "head" | "body" => &[("the request took too long", 1)],
            _ => &[],
        };
        assert_eq!(counted.refusals, refusals, "{kind}");
    }
}

#[tokio::test]
async fn a_refusal_is_counted_by_its_reason() {
    let (gate, counters) = impatient();
    for _ in 0..2 {
        gate.say("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
    }
    gate.say("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").await;
    let counted = counters.read();
    let counts: Vec<_> = counted.refusals.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts.iter().sum::<u64>(), 3);
    assert!(counted.refusals.contains(&("CONNECT is not offered", 1)), "{:?}", counted.refusals);
    assert_eq!(counted.reset, 0);
}
