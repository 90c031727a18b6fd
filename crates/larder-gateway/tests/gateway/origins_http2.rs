//! Origins that speak HTTP/2 and lie, refuse, hang, or go.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Connection, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use larder_gateway::{
    interim,
    upstream::{Times, Upstream, UpstreamConfig, UpstreamError},
};
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet, time::timeout};

use crate::{
    origins::{ask, get, text},
    support::{BoxError, Origin, PATIENCE, eventually, whole},
};

type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// Plays `answer` for each request, which is told how many came before it.
async fn answering<F, P>(settings: fn(&mut h2::server::Builder), answer: F) -> Origin
where
    F: Fn(Asked, usize) -> P + Clone + Send + Sync + 'static,
    P: Future<Output = ()> + Send + 'static,
{
    let numbers = Arc::new(AtomicUsize::new(0));
    playing(settings, move |mut connection| {
        let (answer, numbers) = (answer.clone(), Arc::clone(&numbers));
        async move {
            let mut under_way = JoinSet::new();
            while let Some(Ok(asked)) = connection.accept().await {
                let number = numbers.fetch_add(1, Ordering::SeqCst);
                under_way.spawn(answer(asked, number));
            }
        }
    })
    .await
}

/// Plays `script` on each connection.
async fn playing<F, P>(settings: fn(&mut h2::server::Builder), script: F) -> Origin
where
    F: Fn(Connection<TcpStream, Bytes>) -> P + Clone + Send + Sync + 'static,
    P: Future<Output = ()> + Send + 'static,
{
    Origin::playing(move |wire, _| {
        let script = script.clone();
        async move {
            let mut builder = h2::server::Builder::new();
            settings(&mut builder);
            if let Ok(connection) = builder.handshake(wire.stream).await {
                script(connection).await;
            }
        }
    })
    .await
}

fn usual(_: &mut h2::server::Builder) {}

fn upstream(origin: &Origin, config: UpstreamConfig) -> Upstream {
    Upstream::new(format!("h2c://{}", origin.address).parse().unwrap(), config)
}

fn fine(respond: &mut SendResponse<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data("fine".into(), true).unwrap();
}

async fn read(request: Request<RecvStream>) -> Vec<u8> {
    let (mut body, mut read) = (request.into_body(), Vec::new());
    while let Some(piece) = body.data().await {
        read.extend_from_slice(&piece.unwrap());
    }
    read
}

fn post(content: &'static str) -> Request<crate::support::AnyBody> {
    let mut request = get("/");
    *request.method_mut() = http::Method::POST;
    *request.body_mut() = whole(Bytes::from_static(content.as_bytes()));
    request
}

fn word(error: &UpstreamError) -> &'static str {
    error.proxy_error().as_str()
}

#[tokio::test]
async fn what_the_origin_has_not_looked_at_is_sent_again_whatever_it_is() {
    for (refusals, expected) in [(1, Some(2)), (2, Some(3)), (3, None)] {
        for content in ["", "content"] {
            let origin = answering(usual, move |(request, mut respond), number| async move {
                // All of it has come, and is not looked at.
                let body = read(request).await;
                if number < refusals {
                    return respond.send_reset(Reason::REFUSED_STREAM);
                }
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(body.into(), false).unwrap();
                stream.send_data("fine".into(), true).unwrap();
            })
            .await;
            let upstream = upstream(&origin, UpstreamConfig::default());
            let asked = ask(&upstream, post(content)).await;
            match expected {
                Some(_) => {
                    assert_eq!(text(asked.unwrap()).await, content.to_owned() + "fine");
                    assert_eq!(upstream.stats().refused, refusals as u64);
                }
                None => {
                    let error = asked.unwrap_err();
                    assert_eq!(word(&error), "connection_terminated", "{error:?}");
                    assert!(error.is_before_sending(), "{error:?}");
                }
            }
            assert_eq!(upstream.stats().in_use, 0);
        }
    }
}

#[tokio::test]
async fn content_that_is_too_much_to_be_kept_is_not_sent_twice() {
    let origin = answering(usual, |(request, mut respond), _| async move {
        let mut body = request.into_body();
        let mut come = 0;
        while come <= 65 << 10 {
            let piece = body.data().await.unwrap().unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            come += piece.len();
        }
        respond.send_reset(Reason::REFUSED_STREAM);
    })
    .await;
    let upstream = upstream(&origin, UpstreamConfig::default());
    let error = ask(&upstream, post(&"x".repeat(200 << 10).leak()[..])).await.unwrap_err();
    assert_eq!(word(&error), "connection_terminated", "{error:?}");
    assert!(!error.is_before_sending());
    assert_eq!((upstream.stats().refused, upstream.stats().in_use), (0, 0));
}

#[tokio::test]
async fn a_stream_that_is_reset_is_an_answer_of_a_kind_and_not_asked_for_again() {
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::ENHANCE_YOUR_CALM] {
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&seen);
        let origin = answering(usual, move |(request, mut respond), _| {
            let counted = Arc::clone(&counted);
            async move {
                if request.uri().path() == "/bad" {
                    counted.fetch_add(1, Ordering::SeqCst);
                    respond.send_reset(reason);
                } else {
                    fine(&mut respond);
                }
            }
        })
        .await;
        let upstream = upstream(&origin, UpstreamConfig::default());
        assert_eq!(text(ask(&upstream, get("/")).await.unwrap()).await, "fine");
        let error = ask(&upstream, get("/bad")).await.unwrap_err();
        assert_eq!(word(&error), "connection_terminated", "{error:?}");
        assert!(!error.is_before_sending());
        assert_eq!(seen.load(Ordering::SeqCst), 1);
        // The others on the connection are not concerned.
        assert_eq!(text(ask(&upstream, get("/")).await.unwrap()).await, "fine");
        assert_eq!(upstream.stats().connected, 1);
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_anew_for_what_may_be_sent_twice() {
    for (content, may) in [(None, true), (Some(""), false), (Some("content"), false)] {
        // The first answer is fine, and then it goes.
        let origin = playing(usual, |mut connection| async move {
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            fine(&mut respond);
            connection.accept().await;
        })
        .await;
        let upstream = upstream(&origin, UpstreamConfig::default());
        assert_eq!(text(ask(&upstream, get("/")).await.unwrap()).await, "fine");
        let asked = match content {
            None => ask(&upstream, get("/")).await,
            Some(content) => ask(&upstream, post(content)).await,
        };
        match asked {
            Ok(answer) if may => assert_eq!(text(answer).await, "fine"),
            Err(error) if !may => assert_eq!(word(&error), "connection_terminated", "{error:?}"),
            other => panic!("{content:?}: {other:?}"),
        }
        assert_eq!(upstream.stats().retried, u64::from(may), "{content:?}");
    }
}

#[tokio::test]
async fn requests_wait_for_no_more_than_the_origin_allows_at_once() {
    let (most, now) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, count) = (Arc::clone(&most), Arc::clone(&now));
    let origin = playing(
        |builder| {
            builder.max_concurrent_streams(2);
        },
        move |mut connection| {
            let (seen, count) = (Arc::clone(&seen), Arc::clone(&count));
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                seen.fetch_max(count.load(Ordering::SeqCst), Ordering::SeqCst);
                let mut under_way = JoinSet::new();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    under_way.spawn(async move {
                        tokio::task::yield_now().await;
                        fine(&mut respond);
                    });
                }
            }
        },
    )
    .await;
    let upstream = upstream(&origin, UpstreamConfig::default());
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let upstream = upstream.clone();
        asking.spawn(async move { text(ask(&upstream, get("/")).await.unwrap()).await });
    }
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap(), "fine");
    }
    assert!((1..=20).contains(&most.load(Ordering::SeqCst)));
    assert_eq!(upstream.stats().refused, 0);
}

#[tokio::test]
async fn a_reader_that_does_not_read_stops_its_own_stream_and_no_other() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let origin = answering(usual, move |(request, mut respond), _| {
        let count = Arc::clone(&count);
        async move {
            if request.uri().path() == "/small" {
                return fine(&mut respond);
            }
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            for _ in 0..256 {
                let piece = Bytes::from_static(&[b'x'; 64 << 10]);
                stream.reserve_capacity(piece.len());
                let mut waiting = piece;
                while !waiting.is_empty() {
                    let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                    let Some(Ok(capacity)) = capacity else { return };
                    let part = waiting.split_to(capacity.min(waiting.len()));
                    count.fetch_add(part.len(), Ordering::SeqCst);
                    if stream.send_data(part, false).is_err() {
                        return;
                    }
                }
            }
            stream.send_data(Bytes::new(), true).ok();
        }
    })
    .await;
    let config = UpstreamConfig { stream_window_bytes: 64 << 10, ..Default::default() };
    let upstream = upstream(&origin, config);
    let mut unread = Vec::new();
    for _ in 0..10 {
        unread.push(ask(&upstream, get("/large")).await.unwrap());
    }
    for _ in 0..10 {
        assert_eq!(text(ask(&upstream, get("/small")).await.unwrap()).await, "fine");
    }
    // The window of each, and no more.
    assert!(sent.load(Ordering::SeqCst) <= 10 * (64 << 10), "{sent:?}");
    let whole = text(unread.pop().unwrap()).await;
    assert_eq!(whole.len(), 256 * (64 << 10));
    // Readers that leave end the origin's streams, and give their places back.
    assert_eq!(upstream.stats().in_use, 9);
    drop(unread);
    let stats = upstream.stats();
    assert_eq!((stats.in_use, stats.connected), (0, 1));
}

#[tokio::test]
async fn limits_hold_for_each_stream_as_over_http_1() {
    let origin = answering(usual, |(request, mut respond), _| async move {
        match request.uri().path() {
            "/small" => fine(&mut respond),
            "/begins" => {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data("fi".into(), false).unwrap();
                std::future::pending::<()>().await;
            }
            _ => std::future::pending().await,
        }
    })
    .await;
    let short = Duration::from_millis(150);
    let config = UpstreamConfig { first_byte_timeout: short, ..Default::default() };
    let client = upstream(&origin, config);
    let error = ask(&client, get("/never")).await.unwrap_err();
    assert_eq!(word(&error), "http_response_timeout", "{error:?}");
    assert_eq!(text(ask(&client, get("/small")).await.unwrap()).await, "fine");
    assert_eq!((client.stats().connected, client.stats().in_use), (1, 0));
    let config = UpstreamConfig { idle_body_timeout: short, ..Default::default() };
    let client = upstream(&origin, config);
    let answer = ask(&client, get("/begins")).await.unwrap();
    let error = answer.into_body().collect().await.unwrap_err();
    assert!(error.to_string().contains("paused for more than"), "{error:?}");
    let config = UpstreamConfig { whole_timeout: Some(short), ..Default::default() };
    let client = upstream(&origin, config);
    let answer = ask(&client, get("/begins")).await.unwrap();
    let error = answer.into_body().collect().await.unwrap_err();
    assert!(error.to_string().contains("took more than"), "{error:?}");
    let error = ask(&client, get("/never")).await.unwrap_err();
    assert_eq!(word(&error), "http_response_timeout", "{error:?}");
    assert_eq!(client.stats().in_use, 0);
    // What is said of one request goes before them.
    let client = upstream(&origin, UpstreamConfig { whole_timeout: None, ..Default::default() });
    let with = |path: &str, times: Times| {
        let mut request = get(path);
        request.extensions_mut().insert(Arc::new(times));
        request
    };
    let times = Times { first_byte: Some(short), ..Times::default() };
    let error = ask(&client, with("/never", times)).await.unwrap_err();
    assert_eq!(word(&error), "http_response_timeout", "{error:?}");
    let times = Times { is_stream: true, idle_body: Some(short), ..Times::default() };
    let answer = ask(&client, with("/begins", times)).await.unwrap();
    assert_eq!(client.stats().streams, 1);
    let error = answer.into_body().collect().await.unwrap_err();
    assert!(error.to_string().contains("paused for more than"), "{error:?}");
    assert_eq!((client.stats().in_use, client.stats().streams), (0, 0));
}

#[tokio::test]
async fn a_connection_that_gives_no_sign_of_life_is_given_up() {
    // The preface and SETTINGS of a server; then it is as if the way to it were gone.
    let origin = Origin::playing(|mut wire, _| async move {
        wire.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
        while wire.has_more().await {
            wire.some().await;
        }
    })
    .await;
    let config = UpstreamConfig { ping_every: Duration::from_millis(100), ..Default::default() };
    let client = upstream(&origin, config);
    let asked = timeout(PATIENCE, ask(&client, get("/"))).await.expect("an end before 60 s");
    let error = asked.unwrap_err();
    assert_eq!(word(&error), "connection_terminated", "{error:?}");
    assert_eq!((client.stats().silent, client.stats().in_use), (1, 0));
}

#[tokio::test]
async fn a_connection_that_answers_pings_is_kept_however_long_an_answer_takes() {
    let (go, gone) = (Arc::new(tokio::sync::Notify::new()), Duration::from_millis(20));
    let wait = Arc::clone(&go);
    let origin = answering(usual, move |(_, mut respond), _| {
        let wait = Arc::clone(&wait);
        async move {
            wait.notified().await;
            fine(&mut respond);
        }
    })
    .await;
    let config = UpstreamConfig { ping_every: gone, ..Default::default() };
    let client = upstream(&origin, config);
    let late = async {
        // Many times as long as it would take to give it up.
        tokio::time::sleep(gone * 20).await;
        go.notify_one();
    };
    let (answer, ()) = tokio::join!(ask(&client, get("/")), late);
    assert_eq!(text(answer.unwrap()).await, "fine");
    assert_eq!(client.stats().silent, 0);
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let origin = answering(usual, |(request, mut respond), _| async move {
        let te = request.headers().get("te").cloned();
        let mut body = request.into_body();
        while let Some(piece) = body.data().await {
            let piece = piece.unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
        }
        let sent = body.trailers().await.unwrap().unwrap_or_default();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data("fine".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert(
            "sent",
            sent.get("checksum").cloned().unwrap_or(HeaderValue::from_static("none")),
        );
        trailers.insert("set-cookie", HeaderValue::from_static("late=1"));
        trailers.insert("te-was", te.unwrap_or(HeaderValue::from_static("none")));
        stream.send_trailers(trailers).unwrap();
    })
    .await;
    let client = upstream(&origin, UpstreamConfig::default());
    for (te, is_told) in
        [(None, "none"), (Some("gzip, Trailers"), "trailers"), (Some("gzip"), "none")]
    {
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", HeaderValue::from_static("abc"));
        let frames = [Frame::data(Bytes::from_static(b"a")), Frame::trailers(trailers)];
        let frames = frames.map(Ok::<_, BoxError>);
        let mut request = post("");
        *request.body_mut() = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        if let Some(te) = te {
            request.headers_mut().insert("te", HeaderValue::from_static(te));
        }
        let answer = ask(&client, request).await.unwrap().into_body().collect().await.unwrap();
        let trailers = answer.trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["sent"], "abc");
        assert_eq!(trailers["te-was"], is_told);
        assert!(!trailers.contains_key("set-cookie"), "it comes too late");
        assert_eq!(answer.to_bytes(), "fine");
    }
    assert_eq!((client.stats().connected, client.stats().in_use), (1, 0));
}

#[tokio::test]
async fn both_ways_go_on_at_once() {
    let origin = answering(usual, |(request, mut respond), _| async move {
        let mut body = request.into_body();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        while let Some(piece) = body.data().await {
            let piece = piece.unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            stream.send_data(piece, false).unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    let client = upstream(&origin, UpstreamConfig::default());
    let (say, said) = mpsc::channel::<&'static str>(1);
    let frames = futures_util::stream::unfold(said, |mut said| async move {
        let word = said.recv().await?;
        Some((Ok::<_, BoxError>(Frame::data(Bytes::from_static(word.as_bytes()))), said))
    });
    let mut request = post("");
    *request.body_mut() = StreamBody::new(frames).boxed_unsync();
    // The head of the answer comes before anything was said.
    let mut answer = ask(&client, request).await.unwrap().into_body();
    for word in ["one", "two", "three"] {
        say.send(word).await.unwrap();
        let heard = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(heard, word);
    }
    drop(say);
    assert!(answer.frame().await.is_none());
    assert_eq!(client.stats().in_use, 0);
}

#[tokio::test]
async fn hints_come_before_the_answer_and_content_waits_to_be_asked_for() {
    let came = Arc::new(Mutex::new(Vec::new()));
    let order = Arc::clone(&came);
    let origin = answering(usual, move |(request, mut respond), _| {
        let order = Arc::clone(&order);
        async move {
            let expects = request.headers().contains_key("expect");
            let mut hint = Response::new(());
            *hint.status_mut() = StatusCode::EARLY_HINTS;
            hint.headers_mut().insert("link", HeaderValue::from_static("</a.css>"));
            respond.send_informational(hint).unwrap();
            if expects {
                let mut body = request.into_body();
                let early = timeout(Duration::from_millis(50), body.data()).await;
                order.lock().unwrap().push(if early.is_ok() { "early" } else { "waited" });
                let mut go_on = Response::new(());
                *go_on.status_mut() = StatusCode::CONTINUE;
                respond.send_informational(go_on).unwrap();
                body.data().await.unwrap().unwrap();
            }
            fine(&mut respond);
        }
    })
    .await;
    let config = UpstreamConfig { continue_timeout: PATIENCE, ..Default::default() };
    let client = upstream(&origin, config);
    for mut request in [get("/"), post("content")] {
        let (interim, mut interims) = interim::channel();
        request.extensions_mut().insert(interim);
        if request.method() == http::Method::POST {
            request.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
        }
        let answer = ask(&client, request).await.unwrap();
        let hint = std::future::poll_fn(|cx| interims.poll_next(cx)).await;
        assert_eq!(
            (hint.status(), &hint.headers()["link"]),
            (StatusCode::EARLY_HINTS, &HeaderValue::from_static("</a.css>"))
        );
        assert_eq!(text(answer).await, "fine");
    }
    assert_eq!(*came.lock().unwrap(), ["waited"]);
}

#[tokio::test]
async fn an_answer_that_is_too_large_or_breaks_off_is_none() {
    let origin = answering(usual, |(request, mut respond), _| async move {
        let mut response = Response::new(());
        match request.uri().path() {
            "/fields" => {
                for _ in 0..20 {
                    response.headers_mut().append("x", HeaderValue::from_static("y"));
                }
                respond.send_response(response, true).unwrap();
            }
            "/head" => {
                let value = HeaderValue::try_from("x".repeat(9000)).unwrap();
                response.headers_mut().append("x", value);
                respond.send_response(response, true).unwrap();
            }
            "/short" => {
                response.headers_mut().insert("content-length", HeaderValue::from_static("9"));
                let mut stream = respond.send_response(response, false).unwrap();
                stream.send_data("fine".into(), true).unwrap();
            }
            _ => {
                let mut stream = respond.send_response(response, false).unwrap();
                stream.send_data("fi".into(), false).unwrap();
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
        }
    })
    .await;
    let config = UpstreamConfig { max_fields: 19, max_head_bytes: 8 << 10, ..Default::default() };
    let client = upstream(&origin, config);
    let error = ask(&client, get("/fields")).await.unwrap_err();
    assert_eq!(word(&error), "http_response_header_section_size", "{error:?}");
    let error = ask(&client, get("/head")).await.unwrap_err();
    assert!(!error.is_before_sending(), "{error:?}");
    for path in ["/short", "/reset"] {
        let broken = match ask(&client, get(path)).await {
            Ok(answer) => answer.into_body().collect().await.is_err(),
            Err(_) => true,
        };
        assert!(broken, "{path}");
    }
    assert_eq!(client.stats().in_use, 0);
}

#[tokio::test]
async fn connections_that_nobody_uses_are_closed_in_order() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let origin = playing(usual, move |mut connection| {
        let count = Arc::clone(&count);
        async move {
            while let Some(asked) = connection.accept().await {
                let Ok((_, mut respond)) = asked else { return };
                fine(&mut respond);
            }
            // An end without an error.
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let ends = async |expected: usize| {
        let seen = async || (ended.load(Ordering::SeqCst) == expected).then_some(());
        eventually("the end of a connection", seen).await;
    };
    let config = UpstreamConfig { idle_timeout: Duration::from_millis(100), ..Default::default() };
    let client = upstream(&origin, config);
    assert_eq!(text(ask(&client, get("/")).await.unwrap()).await, "fine");
    ends(1).await;
    assert_eq!(client.stats().idle, 0);
    // So it is where the upstream goes.
    let client = upstream(&origin, UpstreamConfig::default());
    assert_eq!(text(ask(&client, get("/")).await.unwrap()).await, "fine");
    drop(client);
    ends(2).await;
}

#[tokio::test]
async fn hints_put_no_answer_off_and_have_a_bound() {
    for (pause, expected) in [(100, "http_response_timeout"), (0, "http_protocol_error")] {
        let origin = answering(usual, move |(_request, mut respond), _| async move {
            for _ in 0..1000 {
                let mut hint = Response::new(());
                *hint.status_mut() = StatusCode::EARLY_HINTS;
                if respond.send_informational(hint).is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            std::future::pending::<()>().await;
        })
        .await;
        let config =
            UpstreamConfig { first_byte_timeout: Duration::from_secs(1), ..Default::default() };
        let client = upstream(&origin, if pause > 0 { config } else { UpstreamConfig::default() });
        let (interim, interims) = interim::channel();
        let mut request = get("/");
        request.extensions_mut().insert(interim);
        let error = ask(&client, request).await.unwrap_err();
        assert_eq!(word(&error), expected, "{error:?}");
        assert_eq!(client.stats().in_use, 0);
        if pause == 0 {
            assert_eq!(client.stats().interims_dropped, 49);
        }
        drop(interims);
    }
}
