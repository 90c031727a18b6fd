//! Readers that close their side of the connection: most have left, some wait for their answer.

use std::{
    convert::Infallible,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use larder::{
    Cache,
    http::{HitResponse, HttpCache, Policy, Variants},
};
use larder_gateway::{
    Gateway, GatewayConfig, Loops, Server, ServerConfig,
    downstream::{
        Ended, Peer,
        http1::{FastPath, Http1Config, PeekedRequest, ReaderBody, serve_connection_with_hits},
        http2::serve_connection,
    },
    upstream::UpstreamConfig,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::{
    http2_frames::{DATA, SETTINGS, frame, get, hello, post, window_update},
    support::{AnyBody, Gate, Origin, PATIENCE, Wire, echo, status, until, upstream, whole},
};

/// Echoes after a moment, in which the reader's end has certainly come.
fn slow() -> Gate {
    Gate::serving(
        ServerConfig::default(),
        service_fn(async |request: Request<ReaderBody>| {
            sleep(Duration::from_millis(20)).await;
            echo(request).await
        }),
    )
}

/// What comes to a reader that sends this and nothing more.
async fn said_to(gate: &Gate, bytes: &str) -> String {
    let mut wire = gate.connect().await;
    wire.send(bytes).await;
    wire.stream.shutdown().await.unwrap();
    wire.rest().await
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn whatever_was_asked_before_is_answered() {
    let posted = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let chunked =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let expecting =
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc";
    let rows = [
        (GET.to_owned(), 1),
        ("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 1),
        ("GET /a HTTP/1.0\r\n\r\n".to_owned(), 1),
        ("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(), 1),
        (posted.to_owned(), 1),
        (chunked.to_owned(), 1),
        (expecting.to_owned(), 1),
        (GET.repeat(5), 5),
        ([GET, posted, chunked, GET].concat(), 4),
        (GET.to_owned() + "\r\n", 1),
    ];
    let gate = slow();
    for (asked, answers) in rows {
        let said = said_to(&gate, &asked).await;
        assert_eq!(said.matches("HTTP/1.1 200 OK\r\n").count(), answers, "{asked}: {said}");
        assert_eq!(said.matches("HTTP/1.1 ").count() - said.matches(" 100 ").count(), answers);
    }
}

#[tokio::test]
async fn what_was_not_asked_to_its_end_is_refused_and_reaches_no_service_whole() {
    let rows = [
        "GET /a HTTP/1.1\r\nHost: a\r\n",
        "GET",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na",
    ];
    let gate = slow();
    for asked in rows {
        let said = said_to(&gate, asked).await;
        assert_eq!(status(&said), 400, "{asked}");
        let said = said_to(&gate, &(GET.to_owned() + asked)).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{asked}: {said}");
        assert_eq!(said.matches("HTTP/1.1 400 ").count(), 1, "{asked}: {said}");
    }
    assert_eq!(said_to(&gate, "").await, "");
    assert_eq!(said_to(&gate, "\r\n").await, "");
}

#[tokio::test]
async fn a_miss_a_hit_and_a_pass_arrive_whole() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        while wire.has_more().await {
            wire.head().await;
            sleep(Duration::from_millis(20)).await;
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\n";
            wire.send(head).await;
            for piece in ["one", "two", "six"] {
                sleep(Duration::from_millis(20)).await;
                wire.send(piece).await;
            }
        }
    })
    .await;
    let store = Cache::<Variants>::builder().max_bytes(1 << 20).build();
    let cache = HttpCache::new(store, Policy::guarded());
    let upstream = upstream(origin.address, UpstreamConfig::default());
    let gateway = Gateway::new(&cache, upstream, GatewayConfig::default());
    let gate = Gate::serving(ServerConfig::default(), gateway);
    let post = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    for asked in [GET, GET, post] {
        let said = said_to(&gate, asked).await;
        assert!(said.ends_with("\r\n\r\nonetwosix"), "{asked}: {said}");
    }
}

#[tokio::test]
async fn those_who_may_have_left_keep_no_turn_from_those_who_wait() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        let head = wire.head().await;
        if head.starts_with("GET /hangs ") {
            wire.rest().await;
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").await;
    })
    .await;
    let store = Cache::<Variants>::builder().max_bytes(1 << 20).max_concurrent_fetches(2).build();
    let cache = HttpCache::new(store, Policy::guarded());
    let upstream = upstream(origin.address, UpstreamConfig::default());
    let gateway = Gateway::new(&cache, upstream, GatewayConfig::default());
    let loops = Loops::start(NonZeroUsize::MIN).unwrap();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerConfig::default()).unwrap();
    let address = server.address();
    server.serve_on(&loops, gateway.clone(), gateway, CancellationToken::new());
    let mut left = Vec::new();
    for number in 1..=2 {
        let mut wire = Wire::connect(address).await;
        wire.send("GET /hangs HTTP/1.1\r\nHost: a\r\nCache-Control: no-store\r\n\r\n").await;
        until("a connection", || origin.connections() == number).await;
        wire.stream.shutdown().await.unwrap();
        left.push(wire);
    }
    let began = Instant::now();
    let mut waits = Wire::connect(address).await;
    waits.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(waits.answer().await.text(), "fine");
    assert!(began.elapsed() < Http1Config::default().half_closed_timeout / 2);
}

/// Says that it was called, and never answers; tells when it is given up.
#[derive(Clone, Default)]
struct Hanging {
    called: Arc<Notify>,
    given_up: Arc<Notify>,
}

impl Hanging {
    async fn answer(self) -> Result<Response<AnyBody>, Infallible> {
        struct Told(Arc<Notify>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let _told = Told(self.given_up);
        self.called.notify_one();
        std::future::pending::<()>().await;
        Ok(Response::new(whole(Bytes::new())))
    }
}

#[tokio::test]
async fn one_that_resets_the_connection_after_it_has_closed_its_side_is_given_up_at_once() {
    let hanging = Hanging::default();
    let service = hanging.clone();
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(move |_: Request<ReaderBody>| service.clone().answer()),
    );
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    wire.stream.shutdown().await.unwrap();
    hanging.called.notified().await;
    sleep(Duration::from_millis(50)).await;
    wire.stream.set_zero_linger().unwrap();
    let began = Instant::now();
    drop(wire);
    timeout(PATIENCE, hanging.given_up.notified()).await.expect("it goes on");
    assert!(began.elapsed() < Http1Config::default().half_closed_timeout / 2);
}

/// No hits, and at times no room.
#[derive(Default)]
struct Crowd(AtomicBool);

impl FastPath for Crowd {
    fn hit(&self, _: PeekedRequest<'_, '_>, _: Peer, _: &mut Vec<u8>) -> Option<HitResponse> {
        None
    }

    fn is_crowded(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn where_others_wait_one_that_may_have_left_is_waited_for_no_longer() {
    let (mut wire, mut gateway) = duplex(1024);
    let crowd = Arc::new(Crowd::default());
    let hanging = Hanging::default();
    let serving = tokio::spawn({
        let (crowd, hanging) = (Arc::clone(&crowd), hanging.clone());
        async move {
            let service = service_fn(move |_: Request<ReaderBody>| hanging.clone().answer());
            let (config, stop) = (Http1Config::default(), CancellationToken::new());
            let peer = ([127, 0, 0, 1], 1).into();
            serve_connection_with_hits(&mut gateway, peer, &config, &*crowd, service, stop).await
        }
    });
    wire.write_all(GET.as_bytes()).await.unwrap();
    hanging.called.notified().await;
    // Whoever has not closed its side waits on.
    crowd.0.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(20)).await;
    crowd.0.store(false, Ordering::SeqCst);
    wire.shutdown().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(!serving.is_finished());
    crowd.0.store(true, Ordering::SeqCst);
    let began = Instant::now();
    assert_eq!(serving.await.unwrap(), Ended::Cut);
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_goes_on_in_small_pieces_is_gone_on_with() {
    let (mut wire, mut gateway) = duplex(1024);
    let serving = tokio::spawn(async move {
        let service = service_fn(async |_: Request<ReaderBody>| {
            // Each pauses for less than a reader may who takes nothing; all of them together for more.
            let pieces = unfold(0, async |number| {
                sleep(Duration::from_secs(40)).await;
                let piece =
                    Ok::<_, Infallible>(Frame::data(Bytes::from(format!("event {number};"))));
                (number < 4).then_some((piece, number + 1))
            });
            Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(pieces))))
        });
        let (config, stop) = (Http1Config::default(), CancellationToken::new());
        let peer = ([127, 0, 0, 1], 1).into();
        serve_connection_with_hits(&mut gateway, peer, &config, &(), service, stop).await
    });
    wire.write_all(GET.as_bytes()).await.unwrap();
    wire.shutdown().await.unwrap();
    let mut said = String::new();
    wire.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("event 3;") && said.ends_with("\r\n0\r\n\r\n"), "{said}");
    assert_eq!(serving.await.unwrap(), Ended::Closed);
}

/// A reader over HTTP/2 that sends this and nothing more, and the answers' bodies that come.
async fn said_over_http2(gate: &Gate, frames: &[Vec<u8>]) -> String {
    let mut wire = gate.connect().await;
    wire.send([hello(), frames.concat()].concat()).await;
    wire.stream.shutdown().await.unwrap();
    wire.rest().await
}

#[tokio::test]
async fn over_http_2_whatever_was_asked_before_is_answered() {
    let gate = slow();
    for streams in [1, 3, 100] {
        let gets: Vec<_> = (0..streams).map(|n| get(2 * n + 1, &format!("/{n}"))).collect();
        let began = Instant::now();
        let said = said_over_http2(&gate, &gets).await;
        for n in 0..streams {
            assert!(said.contains(&format!("GET http://a/{n} HTTP/2.0\n")), "{n} of {streams}");
        }
        assert!(began.elapsed() < Duration::from_secs(2), "nothing more is waited for");
    }
    let posted = [post(1), frame(DATA, 1, 1, b"abc")];
    assert!(said_over_http2(&gate, &posted).await.contains("\n\nabc"));
    said_over_http2(&gate, &[]).await;
}

#[tokio::test]
async fn over_http_2_an_answer_that_pauses_goes_on_and_one_that_is_large_arrives_whole() {
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(async |request: Request<ReaderBody>| {
            if request.uri().path() == "/large" {
                let body = [vec![b'x'; 8 << 20], b"the end".to_vec()].concat();
                return Ok::<_, Infallible>(Response::new(whole(body.into())));
            }
            let pieces = unfold(0, async |number| {
                sleep(Duration::from_millis(20)).await;
                let piece = ["one", "two", "six"].get(number)?;
                Some((Ok(Frame::data(Bytes::from(*piece))), number + 1))
            });
            Ok(Response::new(AnyBody::new(StreamBody::new(pieces))))
        }),
    );
    let said = said_over_http2(&gate, &[get(1, "/")]).await;
    let pieces = ["one", "two", "six"].map(|piece| said.find(piece));
    assert!(pieces.is_sorted() && pieces[0].is_some(), "{said:?}");
    // Its windows are wide: nobody will widen them any more.
    let wide = [
        frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]),
        window_update(0, (1 << 31) - 1 - 65_535),
    ];
    let said = said_over_http2(&gate, &[wide.concat(), get(1, "/large")]).await;
    assert!(said.len() > 8 << 20 && said.ends_with("the end"), "{}", said.len());
}

#[tokio::test]
async fn over_http_2_one_that_has_left_is_given_up_at_once_and_so_is_one_that_resets() {
    for resets in [false, true] {
        let hanging = Hanging::default();
        let service = hanging.clone();
        let gate = Gate::serving(
            ServerConfig::default(),
            service_fn(move |_: Request<ReaderBody>| service.clone().answer()),
        );
        let mut wire = gate.connect().await;
        wire.send([hello(), get(1, "/")].concat()).await;
        hanging.called.notified().await;
        if resets {
            wire.stream.set_zero_linger().unwrap();
        }
        let began = Instant::now();
        drop(wire);
        timeout(PATIENCE, hanging.given_up.notified()).await.expect("it goes on");
        assert!(began.elapsed() < Http1Config::default().half_closed_timeout / 2, "{resets}");
    }
}

#[tokio::test(start_paused = true)]
async fn over_http_2_one_that_may_have_left_is_waited_for_no_longer_than_over_http_1() {
    // What it has asked, and how many seconds that is gone on with.
    let rows = [
        (vec![get(1, "/")], 10),
        // What will never come, nobody waits for.
        (vec![post(1)], 3),
        (vec![], 0),
    ];
    for (asked, seconds) in rows {
        let (mut wire, mut gateway) = duplex(1 << 16);
        let hanging = Hanging::default();
        let serving = tokio::spawn(async move {
            let service = service_fn(move |request: Request<ReaderBody>| {
                let hanging = hanging.clone();
                async move {
                    request.into_body().collect().await.ok();
                    hanging.answer().await
                }
            });
            let (config, stop) = (Http1Config::default(), CancellationToken::new());
            let peer = ([127, 0, 0, 1], 1).into();
            serve_connection(&mut gateway, Bytes::new(), peer, &config, service, stop).await
        });
        let began = Instant::now();
        wire.write_all(&[hello(), asked.concat()].concat()).await.unwrap();
        wire.shutdown().await.unwrap();
        let ended = serving.await.unwrap();
        assert_eq!(ended, if asked.is_empty() { Ended::Closed } else { Ended::Cut });
        assert_eq!(began.elapsed().as_secs(), seconds);
    }
}

#[tokio::test]
async fn over_http_2_those_who_may_have_left_keep_no_turn_from_those_who_wait() {
    let origin = Origin::playing(|mut wire: Wire, _| async move {
        let head = wire.head().await;
        if head.starts_with("GET /hangs ") {
            wire.rest().await;
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").await;
    })
    .await;
    let store = Cache::<Variants>::builder().max_bytes(1 << 20).max_concurrent_fetches(2).build();
    let cache = HttpCache::new(store, Policy::guarded());
    let upstream = upstream(origin.address, UpstreamConfig::default());
    let gateway = Gateway::new(&cache, upstream, GatewayConfig::default());
    let loops = Loops::start(NonZeroUsize::MIN).unwrap();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerConfig::default()).unwrap();
    let address = server.address();
    server.serve_on(&loops, gateway.clone(), gateway, CancellationToken::new());
    let mut left = Vec::new();
    for number in 1..=2 {
        let mut wire = Wire::connect(address).await;
        wire.send([hello(), get(1, &format!("/hangs?{number}"))].concat()).await;
        until("a connection", || origin.connections() == number).await;
        wire.stream.shutdown().await.unwrap();
        left.push(wire);
    }
    let began = Instant::now();
    let mut waits = Wire::connect(address).await;
    waits.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(waits.answer().await.text(), "fine");
    assert!(began.elapsed() < Http1Config::default().half_closed_timeout / 2);
}
