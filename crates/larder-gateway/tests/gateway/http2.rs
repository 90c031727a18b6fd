//! HTTP/2 by prior knowledge: other people's clients, and one that says exactly what it means.

use std::{
    convert::Infallible,
    io::{self, Write},
    pin::Pin,
    process::Command,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream::unfold;
use h2::{Reason, client::SendRequest};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use larder_gateway::{
    ServerConfig,
    downstream::{
        Ended,
        http1::{Http1Config, ReaderBody},
        http2,
    },
    interim::Interim,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, duplex},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::support::{
    AnyBody, Gate, Origin, PATIENCE, echo, eventually, field,
    program::{curl, run},
    status, whole,
};

/// A connection on which a test opens streams.
async fn connect(gate: &Gate) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(gate.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    // Its end is noticed by the streams.
    tokio::spawn(async move { drop(connection.await) });
    timeout(PATIENCE, client.ready()).await.unwrap().unwrap()
}

/// Sends a request without a body and brings the answer with its whole body, or why there is none.
async fn ask(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> Result<(Response<()>, String), h2::Error> {
    let (answer, _) = client.send_request(request, true).unwrap();
    let (parts, mut stream) = timeout(PATIENCE, answer).await.unwrap()?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = timeout(PATIENCE, stream.data()).await.unwrap() {
        let piece = piece?;
        body.extend_from_slice(&piece);
        stream.flow_control().release_capacity(piece.len()).unwrap();
    }
    Ok((Response::from_parts(parts, ()), String::from_utf8(body).unwrap()))
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

#[tokio::test]
async fn curl_speaks_http_2_with_the_same_listener() {
    let gate = Gate::echoing();
    let url = format!("http://{}/x?y", gate.address);
    let two = "--http2-prior-knowledge";
    let body = curl(&[two, &url]).await;
    let expected = format!("GET http://{0}/x?y HTTP/2.0\n", gate.address);
    assert!(body.starts_with(&expected), "{body}");
    assert!(body.contains(&format!("\nhost: {}\n", gate.address)), "{body}");
    let large = "x".repeat(1_000_000);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(large.as_bytes()).unwrap();
    let from_file = format!("@{}", file.path().display());
    let posted = curl(&[two, &url, "--data-binary", &from_file]).await;
    assert!(posted.ends_with(&format!("\n\n{large}")));
    let head = curl(&[two, "--head", &url]).await;
    assert_eq!(status(&head), 200);
    assert!(field(&head, "date").is_some(), "{head}");
}

#[tokio::test]
async fn h2load_is_answered_to_the_last_request() {
    let gate = Gate::echoing();
    let mut command = Command::new("h2load");
    command.args(["-n", "3000", "-c", "5", "-m", "50", &format!("http://{}/", gate.address)]);
    let output = String::from_utf8(run(&mut command).await.stdout).unwrap();
    assert!(output.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{output}");
}

#[tokio::test]
async fn the_end_of_a_known_body_comes_with_its_last_bytes() {
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(|_: Request<ReaderBody>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("body")))
        }),
    );
    let mut client = connect(&gate).await;
    let uri = format!("http://{}/", gate.address);
    let (answer, _) = client.send_request(get(&uri), true).unwrap();
    let mut stream = timeout(PATIENCE, answer).await.unwrap().unwrap().into_body();
    let mut frames = Vec::new();
    while let Some(frame) = timeout(PATIENCE, stream.data()).await.unwrap() {
        frames.push(frame.unwrap());
    }
    assert_eq!(frames, ["body"]);
}

#[tokio::test]
async fn an_answer_that_comes_before_its_request_is_whole_arrives() {
    let service = service_fn(|request: Request<ReaderBody>| async {
        drop(request);
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("early")))
    });
    let gate = Gate::serving(ServerConfig::default(), service);
    let mut client = connect(&gate).await;
    let post = Request::post(format!("http://{}/", gate.address)).body(()).unwrap();
    let (answer, mut upload) = client.send_request(post, false).unwrap();
    upload.send_data(Bytes::from("a part"), false).unwrap();
    let mut body = timeout(PATIENCE, answer).await.unwrap().unwrap().into_body();
    assert_eq!(timeout(PATIENCE, body.data()).await.unwrap().unwrap().unwrap(), "early");
    // And the rest of the request is not wanted.
    let reset = timeout(PATIENCE, std::future::poll_fn(|cx| upload.poll_reset(cx))).await.unwrap();
    assert_eq!(reset.unwrap(), Reason::NO_ERROR);
}

/// Takes so many bytes, and no more.
struct Filling<IO> {
    io: IO,
    takes: usize,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Filling<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Filling<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.takes == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = bytes.len().min(self.takes);
        self.takes -= taken;
        Pin::new(&mut self.io).poll_write(cx, &bytes[..taken])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The beginning of a connection with one request on it: SETTINGS, and HEADERS of a GET.
const ONE_REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
    \0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_written_to_ends_though_it_can_be_read_from() {
    // At the handshake, and later.
    for takes in [0, 60] {
        let (mut reader, io) = duplex(1 << 16);
        let mut io = Filling { io, takes };
        let serving = tokio::spawn(async move {
            let pieces = || {
                unfold((), async |()| {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Some((Ok::<_, io::Error>(Frame::data(Bytes::from_static(&[1; 100]))), ()))
                })
            };
            let service = service_fn(async |_: Request<ReaderBody>| {
                Ok::<_, Infallible>(Response::new(StreamBody::new(pieces()).boxed_unsync()))
            });
            let (config, peer) = (Http1Config::default(), ([127, 0, 0, 1], 1).into());
            let stop = CancellationToken::new();
            http2::serve_connection(&mut io, Bytes::new(), peer, &config, service, stop).await
        });
        reader.write_all(ONE_REQUEST).await.unwrap();
        let ended = timeout(Duration::from_secs(2), serving).await;
        assert_eq!(ended.expect("it goes on").unwrap(), Ended::Cut, "after {takes} B");
    }
}

#[tokio::test]
async fn every_byte_arrives_however_narrow_the_way_is() {
    for width in [16, 100, 5000, 1 << 20] {
        let (reader, mut io) = duplex(width);
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let serving = tokio::spawn(async move {
            let service = service_fn(async |request: Request<ReaderBody>| {
                let length: usize = request.uri().path()[1..].parse().unwrap();
                // In pieces that are gathered, and such that are not.
                let pieces = unfold((0, length), async |(number, left)| {
                    if left == 0 {
                        return None;
                    }
                    if number % 3 == 0 {
                        tokio::task::yield_now().await;
                    }
                    let piece = [1, 10, 4096, 4087, 5000, 20_000][number % 6].min(left);
                    let frame = Frame::data(Bytes::from(vec![b'a'; piece]));
                    Some((Ok::<_, io::Error>(frame), (number + 1, left - piece)))
                });
                Ok::<_, Infallible>(Response::new(StreamBody::new(pieces).boxed_unsync()))
            });
            let (config, peer) = (Http1Config::default(), ([127, 0, 0, 1], 1).into());
            http2::serve_connection(&mut io, Bytes::new(), peer, &config, service, stop).await
        });
        let (client, connection) = h2::client::handshake(reader).await.unwrap();
        let driving = tokio::spawn(connection);
        let mut readings = Vec::new();
        for number in 0..60 {
            let length: usize = [0, 1, 100, 5000, 70_000][number % 5];
            let mut client = client.clone().ready().await.unwrap();
            readings.push(tokio::spawn(async move {
                let (_, body) = ask(&mut client, get(&format!("http://a/{length}"))).await.unwrap();
                assert_eq!(body.len(), length);
            }));
        }
        for reading in readings {
            timeout(PATIENCE, reading).await.expect("it hangs").unwrap();
        }
        stopping.cancel();
        drop(client);
        assert_eq!(timeout(PATIENCE, serving).await.unwrap().unwrap(), Ended::Closed);
        timeout(PATIENCE, driving).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_origin_of_http_1_is_passed_on_with_its_interim_answers() {
    let origin = Origin::saying_once(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 Fine\r\nConnection: close\r\n\
         Keep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    )
    .await;
    let gate = Gate::before(origin.address);
    let url = format!("http://{}/", gate.address);
    let text = curl(&["--http2-prior-knowledge", "--include", &url]).await;
    let (interim, last) = text.split_once("\r\n\r\n").unwrap();
    assert!(interim.starts_with("HTTP/2 103 ") && interim.contains("link: </a.css>"), "{text}");
    // curl writes trailers behind the body.
    assert!(
        last.starts_with("HTTP/2 200 ") && last.ends_with("\r\n\r\nhellox-t: 1\r\n"),
        "{text:?}"
    );
    assert!(!last.contains("keep-alive") && !last.contains("transfer-encoding"), "{text}");
}

#[tokio::test]
async fn trailers_of_a_request_go_on_if_they_were_announced_and_may_be_there() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let origin = Origin::playing(move |mut wire, _| {
        let heard = heard.clone();
        async move {
            while wire.has_more().await {
                let head = wire.head().await;
                heard.send((head, wire.until("\r\n\r\n").await)).unwrap();
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    let gate = Gate::before(origin.address);
    let mut client = connect(&gate).await;
    for (announced, content) in [
        (Some("x-sum, host"), "3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"),
        (None, "3\r\nabc\r\n0\r\n\r\n"),
    ] {
        let mut request = Request::post("http://a/").header("te", "trailers");
        if let Some(announced) = announced {
            request = request.header("trailer", announced);
        }
        let (answer, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
        stream.send_data(Bytes::from("abc"), false).unwrap();
        let mut trailers = http::HeaderMap::new();
        for name in ["x-sum", "host", "x-forwarded-for"] {
            trailers.insert(name, 1.into());
        }
        stream.send_trailers(trailers).unwrap();
        let (head, heard) = hears.recv().await.unwrap();
        assert_eq!((field(&head, "te"), heard.as_str()), (Some("trailers"), content));
        assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn streams_of_one_connection_do_not_wait_for_each_other() {
    let (go_on, waits) = tokio::sync::watch::channel(false);
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(move |request: Request<ReaderBody>| {
            let mut waits = waits.clone();
            async move {
                if request.uri().path() == "/slow" {
                    waits.wait_for(|go_on| *go_on).await.unwrap();
                }
                echo(request).await
            }
        }),
    );
    let mut client = connect(&gate).await;
    let (slow, _) = client.send_request(get("http://a/slow"), true).unwrap();
    for n in 0..50 {
        let (_, body) = ask(&mut client, get(&format!("http://a/{n}"))).await.unwrap();
        assert!(body.starts_with(&format!("GET http://a/{n} ")), "{body}");
    }
    go_on.send(true).unwrap();
    assert_eq!(timeout(PATIENCE, slow).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn requests_that_name_two_hosts_or_none_reach_no_service() {
    let gate = Gate::echoing();
    let mut client = connect(&gate).await;
    let of = |request: http::request::Builder| request.body(()).unwrap();
    for (expected, request) in [
        (400, of(Request::get("http://a/").header("host", "b"))),
        (400, of(Request::get("http://me@a/"))),
        (421, of(Request::get("https://a/"))),
        (501, of(Request::builder().method("CONNECT").uri("a:443"))),
        (417, of(Request::get("http://a/").header("expect", "the-best"))),
    ] {
        let (answer, body) = ask(&mut client, request).await.unwrap();
        assert_eq!(answer.status(), expected, "{body}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let nonsense = of(Request::get("http://a/").header("content-length", "x"));
    let error = ask(&mut client, nonsense).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));
    // The others on this connection are not concerned.
    let fine = of(Request::get("http://a/").header("host", "A"));
    assert_eq!(ask(&mut client, fine).await.unwrap().0.status(), 200);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_431_and_the_next_is_read() {
    let config = ServerConfig::default();
    let counters = Arc::clone(&config.http1.counters);
    let gate = Gate::serving(config, service_fn(echo));
    let mut client = connect(&gate).await;
    let mut refused = 0;
    // More than four times what is allowed, the last.
    for bytes in [66_000, 100_000, 120_000, 200_000, 280_000] {
        for fields in [1, 100] {
            let mut request = Request::get("http://a/");
            for number in 0..fields {
                request = request.header(format!("x-{number}"), "a".repeat(bytes / fields));
            }
            let (answer, _) = ask(&mut client, request.body(()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), 431, "{bytes} B in {fields} fields");
            refused += 1;
            assert_eq!(ask(&mut client, get("http://a/")).await.unwrap().0.status(), 200);
        }
    }
    assert_eq!(counters.read().refusals, [("the header fields are too large", refused)]);
}

#[tokio::test]
async fn a_target_that_is_too_long_is_answered_as_over_http_1() {
    let config = ServerConfig::default();
    let (limit, counters) =
        (config.http1.max_request_line_bytes, Arc::clone(&config.http1.counters));
    let gate = Gate::serving(config, service_fn(echo));
    let mut client = connect(&gate).await;
    // What is left of the line for the path, beside the method and the version.
    let longest = limit - "GET  HTTP/1.1\r".len();
    for (length, status) in [(longest, 200), (longest + 1, 414)] {
        let path = format!("/{}", "a".repeat(length - 1));
        let (answer, _) = ask(&mut client, get(&format!("http://a{path}"))).await.unwrap();
        assert_eq!(answer.status(), status, "HTTP/2: {length}");
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = gate.say(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "HTTP/1.1: {length}");
    }
    assert_eq!(counters.read().refusals, [("the request line is too long", 2)]);
}

#[tokio::test]
async fn content_that_is_not_as_long_as_was_said_is_counted() {
    let config = ServerConfig::default();
    let counters = Arc::clone(&config.http1.counters);
    let gate = Gate::serving(config, service_fn(echo));
    let mut client = connect(&gate).await;
    let request = Request::post("http://a/").header("content-length", "5").body(()).unwrap();
    for content in ["abc", "abcdefg"] {
        client = client.ready().await.unwrap();
        let (answer, mut stream) = client.send_request(request.clone(), false).unwrap();
        stream.send_data(Bytes::from(content), true).unwrap();
        let error = timeout(PATIENCE, answer).await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{content}");
    }
    let why = "the content has not the length that was said, or its trailers are malformed";
    eventually("both are counted", async || (counters.read().refusals == [(why, 2)]).then_some(()))
        .await;
}

#[tokio::test]
async fn cookies_that_came_apart_are_one_field() {
    let gate = Gate::echoing();
    let mut client = connect(&gate).await;
    let request = Request::get("http://a/").header("cookie", "a=1").header("cookie", "b=2");
    let (_, body) = ask(&mut client, request.body(()).unwrap()).await.unwrap();
    assert!(body.contains("\ncookie: a=1; b=2\n"), "{body}");
}

#[tokio::test]
async fn a_reader_is_told_to_continue_when_its_body_is_wanted() {
    let gate = Gate::echoing();
    let mut client = connect(&gate).await;
    let request = Request::post("http://a/").header("expect", "100-continue").body(()).unwrap();
    let (mut answer, mut stream) = client.send_request(request, false).unwrap();
    let interim = std::future::poll_fn(|cx| answer.poll_informational(cx));
    let interim = timeout(PATIENCE, interim).await.unwrap().unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    stream.send_data(Bytes::from("hi"), true).unwrap();
    let mut body = timeout(PATIENCE, answer).await.unwrap().unwrap().into_body();
    let body = timeout(PATIENCE, body.data()).await.unwrap().unwrap().unwrap();
    assert!(body.ends_with(b"\n\nhi"), "{body:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_or_lies_about_its_length_resets_its_stream_alone() {
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(async |request: Request<ReaderBody>| {
            let pieces: Vec<Result<Frame<Bytes>, std::io::Error>> = match request.uri().path() {
                "/broken" => vec![
                    Ok(Frame::data(Bytes::from("abc"))),
                    Err(std::io::ErrorKind::UnexpectedEof.into()),
                ],
                _ => vec![Ok(Frame::data(Bytes::from("abc")))],
            };
            let mut response = Response::new(StreamBody::new(futures_util::stream::iter(pieces)));
            let length = match request.uri().path() {
                "/short" => 4,
                "/long" => 2,
                _ => 3,
            };
            response.headers_mut().insert("content-length", length.into());
            Ok::<_, Infallible>(response)
        }),
    );
    let mut client = connect(&gate).await;
    for path in ["broken", "short", "long"] {
        let error = ask(&mut client, get(&format!("http://a/{path}"))).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{path}");
    }
    assert_eq!(ask(&mut client, get("http://a/fine")).await.unwrap().1, "abc");
}

#[tokio::test]
async fn a_reader_that_resets_its_stream_is_worked_for_no_longer() {
    struct Witness(mpsc::UnboundedSender<()>);
    impl Drop for Witness {
        fn drop(&mut self) {
            let _nobody_listens = self.0.send(());
        }
    }
    let (sender, mut dropped) = mpsc::unbounded_channel();
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(move |request: Request<ReaderBody>| {
            let witness = Witness(sender.clone());
            async move {
                let interim = request.extensions().get::<Interim>().unwrap();
                interim.send(Response::builder().status(102).body(()).unwrap());
                std::future::pending::<()>().await;
                drop(witness);
                Ok::<Response<AnyBody>, Infallible>(Response::new(whole(Bytes::new())))
            }
        }),
    );
    let mut client = connect(&gate).await;
    let (mut answer, mut stream) = client.send_request(get("http://a/"), true).unwrap();
    let interim = std::future::poll_fn(|cx| answer.poll_informational(cx));
    assert_eq!(timeout(PATIENCE, interim).await.unwrap().unwrap().unwrap().status(), 102);
    stream.send_reset(Reason::CANCEL);
    timeout(PATIENCE, dropped.recv()).await.expect("still worked for").unwrap();
}

#[tokio::test]
async fn a_gateway_that_stops_lets_the_answers_out_and_says_farewell() {
    let (called, mut calls) = mpsc::unbounded_channel();
    let (go_on, waits) = tokio::sync::watch::channel(false);
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(move |request: Request<ReaderBody>| {
            let mut waits = waits.clone();
            called.send(()).unwrap();
            async move {
                waits.wait_for(|go_on| *go_on).await.unwrap();
                echo(request).await
            }
        }),
    );
    let mut client = connect(&gate).await;
    let (answer, _) = client.send_request(get("http://a/"), true).unwrap();
    timeout(PATIENCE, calls.recv()).await.unwrap().unwrap();
    let stopping = tokio::spawn(gate.stopped());
    // Nobody else is let in, and the one inside is let out.
    eventually("a farewell", async || client.clone().ready().await.err()).await;
    go_on.send(true).unwrap();
    let (parts, mut body) = timeout(PATIENCE, answer).await.unwrap().unwrap().into_parts();
    assert_eq!(parts.status, 200);
    assert!(timeout(PATIENCE, body.data()).await.unwrap().unwrap().is_ok());
    drop((client, body));
    assert_eq!(stopping.await.unwrap().cut, 0);
}

#[tokio::test]
async fn the_preface_counts_only_at_the_beginning() {
    let gate = Gate::echoing();
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let answers = gate.say(format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{preface}")).await;
    assert_eq!(status(&answers), 200);
    assert!(answers.contains("HTTP/1.1 505 "), "{answers}");
}

#[tokio::test]
async fn a_large_body_arrives_whole_whatever_the_window() {
    let body: Bytes = (0..5_000_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
    let expected = body.clone();
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(move |_: Request<ReaderBody>| {
            let body = whole(body.clone()).map_err(|error| error).boxed_unsync();
            std::future::ready(Ok::<Response<AnyBody>, Infallible>(Response::new(body)))
        }),
    );
    let mut client = connect(&gate).await;
    let (answer, got) = ask(&mut client, get("http://a/")).await.unwrap();
    assert_eq!(answer.headers()["content-length"], "5000000");
    assert!(got.as_bytes() == expected, "another body");
}
