//! HTTP/2, frame by frame: readers that say what no client library would.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::Reason;
use http::{Request, Response};
use http_body_util::BodyExt;
use larder_gateway::{
    ServerConfig,
    downstream::{
        Ended,
        counters::Counters,
        http1::{Http1Config, ReaderBody},
        http2,
    },
};
use tokio::{
    io::{
        AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf,
        duplex, split,
    },
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::{Service, service_fn};

use crate::support::{AnyBody, Gate, PATIENCE, echo, until, whole};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const PRIORITY_UPDATE: u8 = 0x10;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(crate) fn hello() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// Fields as they are, none of them indexed.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

const A_GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];

pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    let fields = [A_GET[0], A_GET[1], A_GET[2], (":path", path)];
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields))
}

/// The head of a request whose content is yet to come.
pub(crate) fn post(stream: u32) -> Vec<u8> {
    let fields = [(":method", "POST"), A_GET[1], A_GET[2], A_GET[3]];
    frame(HEADERS, END_HEADERS, stream, &block(&fields))
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

pub(crate) fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// What a reader is told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Status(u16),
    Reset(Reason),
    Farewell(Reason),
    /// Without a farewell.
    Closed,
}

/// The reading end of a connection.
struct Reading<IO>(ReadHalf<IO>);

impl<IO: AsyncRead + AsyncWrite> Reading<IO> {
    /// None at the end.
    async fn frame(&mut self) -> Option<Frame> {
        let reading = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame { kind: head[3], stream, payload })
        };
        timeout(PATIENCE, reading).await.expect("nothing comes")
    }

    /// What comes first about a stream, or about all of them.
    async fn told(&mut self, stream: u32) -> Told {
        while let Some(frame) = self.frame().await {
            let code = |bytes: &[u8]| Reason::from(u32::from_be_bytes(bytes.try_into().unwrap()));
            match frame.kind {
                GOAWAY => return Told::Farewell(code(&frame.payload[4..8])),
                RST_STREAM if frame.stream == stream => return Told::Reset(code(&frame.payload)),
                HEADERS if frame.stream == stream => return Told::Status(status(&frame.payload)),
                _ => {}
            }
        }
        Told::Closed
    }
}

/// What the first field of a block says; some statuses are entries of the static table.
fn status(block: &[u8]) -> u16 {
    match block[0] & 0x7f {
        8 => 200,
        12 => 400,
        13 => 404,
        other => panic!("another status: {other} {block:?}"),
    }
}

/// A connection without a socket: what is written is there at once.
struct Connection {
    reading: Reading<DuplexStream>,
    writing: WriteHalf<DuplexStream>,
    serving: JoinHandle<Ended>,
    counters: Arc<Counters>,
}

impl Connection {
    fn with<S>(service: S) -> Connection
    where
        S: Service<Request<ReaderBody>, Response = Response<AnyBody>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        let (reader, mut io) = duplex(1 << 20);
        let config = Http1Config::default();
        let counters = Arc::clone(&config.counters);
        let serving = tokio::spawn(async move {
            let peer = ([127, 0, 0, 1], 1).into();
            let stop = CancellationToken::new();
            http2::serve_connection(&mut io, Bytes::new(), peer, &config, service, stop).await
        });
        let (reading, writing) = split(reader);
        Connection { reading: Reading(reading), writing, serving, counters }
    }

    fn echoing() -> Connection {
        Connection::with(service_fn(echo))
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.writing.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn told(&mut self, stream: u32) -> Told {
        self.reading.told(stream).await
    }

    fn refused(&self) -> u64 {
        self.counters.read().refusals.iter().map(|(_, count)| count).sum()
    }
}

/// A service that counts its requests, and answers those for `/slow` when it is told to.
fn counting(
    calls: Arc<AtomicUsize>,
    go_on: watch::Receiver<bool>,
) -> impl Service<Request<ReaderBody>, Response = Response<AnyBody>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(move |request: Request<ReaderBody>| {
        calls.fetch_add(1, Ordering::SeqCst);
        let mut go_on = go_on.clone();
        async move {
            if request.uri().path() == "/slow" {
                go_on.wait_for(|go_on| *go_on).await.unwrap();
            }
            echo(request).await
        }
    })
}

#[tokio::test]
async fn requests_that_come_together_do_not_wait_for_each_other() {
    for slow in [1, 2, 99] {
        let (go_on, waits) = watch::channel(false);
        let mut connection = Connection::with(counting(Arc::default(), waits));
        let mut together = hello();
        for number in 0..slow {
            together.extend(get(2 * number + 1, "/slow"));
        }
        let last = 2 * slow + 1;
        together.extend(get(last, "/hit"));
        connection.send(together).await;
        assert_eq!(connection.told(last).await, Told::Status(200), "after {slow}");
        go_on.send(true).unwrap();
        assert_eq!(connection.told(1).await, Told::Status(200));
    }
}

#[tokio::test]
async fn a_browser_that_leaves_a_page_is_no_enemy() {
    for given_up in [30, 100, 300] {
        let calls = Arc::new(AtomicUsize::new(0));
        let (_go_on, waits) = watch::channel(false);
        let mut connection = Connection::with(counting(Arc::clone(&calls), waits));
        let mut together = hello();
        for number in 0..given_up {
            together.extend(get(2 * number + 1, "/slow"));
            // At most so many may be open at once.
            if number % 100 == 99 || number == given_up - 1 {
                let first = number - number % 100;
                together.extend((first..=number).flat_map(|number| reset(2 * number + 1)));
            }
        }
        let next = 2 * given_up + 1;
        together.extend(get(next, "/"));
        connection.send(together).await;
        assert_eq!(connection.told(next).await, Told::Status(200), "after {given_up}");
        assert_eq!(calls.load(Ordering::SeqCst), 1, "what was given up is worked for");
    }
}

#[tokio::test]
async fn a_browser_that_gives_up_what_is_being_worked_for_is_no_enemy_either() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (_go_on, waits) = watch::channel(false);
    let mut connection = Connection::with(counting(Arc::clone(&calls), waits));
    connection.send(hello()).await;
    // And so it goes with each of some pages that hang.
    for page in 0..4 {
        let streams = move || (100 * page..100 * page + 100).map(|number| 2 * number + 1);
        connection
            .send(streams().flat_map(|stream| get(stream, "/slow")).collect::<Vec<_>>())
            .await;
        let expected = 100 * (page as usize + 1);
        until("all calls", || calls.load(Ordering::SeqCst) == expected).await;
        connection.send(streams().flat_map(reset).collect::<Vec<_>>()).await;
    }
    connection.send(get(2001, "/")).await;
    assert_eq!(connection.told(2001).await, Told::Status(200));
}

/// Repeats what `round` says, until the reader is told something about all streams.
async fn flood(mut round: impl FnMut(u32) -> Vec<u8> + Send + 'static) -> (Told, Ended) {
    let Connection { mut reading, mut writing, serving, counters } = Connection::echoing();
    let flooding = tokio::spawn(async move {
        writing.write_all(&hello()).await.unwrap();
        for number in 0..20_000 {
            if writing.write_all(&round(number)).await.is_err() {
                return;
            }
        }
        // And waits for what comes of it.
        std::future::pending::<()>().await;
    });
    let told = timeout(PATIENCE, reading.told(0)).await.expect("it goes on");
    flooding.abort();
    drop(flooding.await);
    drop(reading);
    assert!(!counters.read().refusals.is_empty(), "it is not counted");
    (told, timeout(PATIENCE, serving).await.expect("it does not end").unwrap())
}

#[tokio::test]
async fn whoever_sends_frames_that_bring_nothing_about_is_sent_away() {
    let odd = |number: u32| 2 * number + 1;
    type Round = Box<dyn FnMut(u32) -> Vec<u8> + Send>;
    let rounds: [(&str, Round); 16] = [
        ("PING", Box::new(|_| frame(PING, 0, 0, &[0; 8]))),
        ("PING acknowledged", Box::new(|_| frame(PING, ACK, 0, &[0; 8]))),
        ("SETTINGS", Box::new(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]))),
        ("PRIORITY", Box::new(|_| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]))),
        ("an unknown frame", Box::new(|_| frame(0xee, 0xff, 5, b"grease"))),
        ("PRIORITY_UPDATE", Box::new(|_| frame(PRIORITY_UPDATE, 0, 0, &[0, 0, 0, 1, b'u']))),
        ("WINDOW_UPDATE", Box::new(|_| window_update(0, 1))),
        (
            "WINDOW_UPDATE of a stream",
            Box::new(move |number| if number == 0 { post(1) } else { window_update(1, 1) }),
        ),
        (
            "RST_STREAM of a closed stream",
            Box::new(
                move |number| {
                    if number == 0 { [get(1, "/"), reset(1)].concat() } else { reset(1) }
                },
            ),
        ),
        (
            "empty DATA",
            Box::new(move |number| if number == 0 { post(1) } else { frame(DATA, 0, 1, &[]) }),
        ),
        (
            "DATA of padding",
            Box::new(
                move |number| {
                    if number == 0 { post(1) } else { frame(DATA, PADDED, 1, &[2, 0, 0]) }
                },
            ),
        ),
        (
            "streams given up",
            Box::new(move |number| [get(odd(number), "/"), reset(odd(number))].concat()),
        ),
        ("streams beyond the limit", Box::new(move |number| post(odd(number)))),
        (
            "malformed requests",
            Box::new(move |number| {
                frame(HEADERS, END_HEADERS | END_STREAM, odd(number), &block(&[("te", "x")]))
            }),
        ),
        (
            // What resets a stream from our side, so that the reader need not (CVE-2025-8671).
            "streams that we are made to give up",
            Box::new(move |number| {
                [post(odd(number)), window_update(odd(number), (1 << 31) - 1)].concat()
            }),
        ),
        (
            "CONTINUATION without content",
            Box::new(move |number| match number {
                0 => frame(HEADERS, 0, 1, &block(&A_GET)),
                _ => frame(CONTINUATION, 0, 1, &[]),
            }),
        ),
    ];
    for (what, round) in rounds {
        let (told, ended) = flood(round).await;
        assert_eq!(told, Told::Farewell(Reason::ENHANCE_YOUR_CALM), "{what}");
        assert!(matches!(ended, Ended::Closed | Ended::Cut), "{what}");
    }
}

#[tokio::test]
async fn whoever_gives_up_what_the_service_works_for_is_sent_away_sooner() {
    let (called, mut calls) = mpsc::unbounded_channel();
    let service = service_fn(move |_: Request<ReaderBody>| {
        called.send(()).unwrap();
        std::future::pending::<Result<Response<AnyBody>, Infallible>>()
    });
    let mut connection = Connection::with(service);
    connection.send(hello()).await;
    let mut worked_for = 0;
    for number in 0..1000 {
        let sent = connection.writing.write_all(&get(2 * number + 1, "/")).await;
        if sent.is_err() || timeout(PATIENCE, calls.recv()).await.unwrap().is_none() {
            break;
        }
        worked_for += 1;
        if connection.writing.write_all(&reset(2 * number + 1)).await.is_err() {
            break;
        }
    }
    assert_eq!(connection.told(0).await, Told::Farewell(Reason::ENHANCE_YOUR_CALM));
    assert!((400..1000).contains(&worked_for), "{worked_for}");
}

#[tokio::test]
async fn whoever_sends_on_after_an_early_answer_is_not_read_for_ever() {
    let mut connection = Connection::with(service_fn(async |request: Request<ReaderBody>| {
        drop(request);
        Ok::<_, Infallible>(Response::new(whole(Bytes::from("early"))))
    }));
    connection.send([hello(), post(1)].concat()).await;
    assert_eq!(connection.told(1).await, Told::Status(200));
    let Connection { mut reading, mut writing, .. } = connection;
    let sending =
        tokio::spawn(
            async move { while writing.write_all(&frame(DATA, 0, 1, b"x")).await.is_ok() {} },
        );
    assert_eq!(reading.told(0).await, Told::Farewell(Reason::ENHANCE_YOUR_CALM));
    drop(reading);
    timeout(PATIENCE, sending).await.expect("it is read for ever").unwrap();
}

#[tokio::test]
async fn uploads_that_were_answered_early_do_not_add_up() {
    let mut connection = Connection::with(service_fn(async |request: Request<ReaderBody>| {
        drop(request);
        Ok::<_, Infallible>(Response::new(whole(Bytes::from("early"))))
    }));
    connection.send(hello()).await;
    for number in 0..1000 {
        let stream = 2 * number + 1;
        connection.send(post(stream)).await;
        assert_eq!(connection.told(stream).await, Told::Status(200), "request {number}");
    }
    // What was on its way when the answer came, of the first and of the last.
    connection
        .send([frame(DATA, 0, 1, b"x"), frame(DATA, 0, 1999, b"x"), get(2001, "/")].concat())
        .await;
    assert_eq!(connection.told(2001).await, Told::Status(200));
}

#[tokio::test]
async fn what_a_reader_sends_around_its_answers_it_may_send_for_ever() {
    let mut connection = Connection::echoing();
    connection.send(hello()).await;
    for number in 0..3000 {
        let stream = 2 * number + 1;
        let around = [
            get(stream, "/"),
            frame(PRIORITY_UPDATE, 0, 0, &[0, 0, 0, 1, b'u']),
            window_update(0, 100),
            window_update(stream, 100),
            frame(PING, 0, 0, &[0; 8]),
        ];
        connection.send(around.concat()).await;
        assert_eq!(connection.told(stream).await, Told::Status(200), "request {number}");
    }
}

#[tokio::test]
async fn an_answer_may_be_acknowledged_in_small_steps() {
    const BYTES: usize = 20 << 20;
    let mut connection = Connection::with(service_fn(async |_: Request<ReaderBody>| {
        Ok::<_, Infallible>(Response::new(whole(Bytes::from(vec![1; BYTES]))))
    }));
    connection.send([hello(), get(1, "/")].concat()).await;
    let mut got = 0;
    while got < BYTES {
        let frame = connection.reading.frame().await.expect("cut off");
        assert_ne!(frame.kind, GOAWAY, "after {got} B");
        if frame.kind == DATA {
            got += frame.payload.len();
            // Every 4 KiB, and for both.
            let mut left = u32::try_from(frame.payload.len()).unwrap();
            while left > 0 {
                let step = left.min(4096);
                left -= step;
                connection.send([window_update(0, step), window_update(1, step)].concat()).await;
            }
        }
    }
}

#[tokio::test]
async fn a_farewell_arrives_though_its_reader_sends_on() {
    let gate = Gate::serving(ServerConfig::default(), service_fn(echo));
    let (reading, mut writing) = split(TcpStream::connect(gate.address).await.unwrap());
    let flooding = tokio::spawn(async move {
        writing.write_all(&hello()).await.unwrap();
        let pings = frame(PING, 0, 0, &[0; 8]).repeat(1000);
        while writing.write_all(&pings).await.is_ok() {}
    });
    assert_eq!(Reading(reading).told(0).await, Told::Farewell(Reason::ENHANCE_YOUR_CALM));
    timeout(PATIENCE, flooding).await.expect("it is read for ever").unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_was_sent_away_is_not_read_for_longer_than_its_farewell_takes() {
    let Connection { mut reading, mut writing, serving, .. } = Connection::echoing();
    let pings = frame(PING, 0, 0, &[0; 8]).repeat(1000);
    writing.write_all(&hello()).await.unwrap();
    writing.write_all(&pings).await.unwrap();
    writing.write_all(&pings).await.unwrap();
    assert_eq!(reading.told(0).await, Told::Farewell(Reason::ENHANCE_YOUR_CALM));
    let (began, mut written) = (Instant::now(), 0);
    while writing.write_all(&pings).await.is_ok() {
        written += pings.len();
        // What it may have sent before it could know, and what this connection holds.
        assert!(written <= 3 << 20, "it is read for longer");
    }
    assert_eq!(began.elapsed(), Http1Config::default().linger_timeout);
    assert_eq!(serving.await.unwrap(), Ended::Closed);
}

#[tokio::test]
async fn what_is_no_connection_of_http_2_ends_with_the_code_that_the_standard_names() {
    let settings = |payload: &[u8]| frame(SETTINGS, 0, 0, payload);
    let begun = |frame: Vec<u8>| [hello(), frame].concat();
    let opened = |frame: Vec<u8>| [hello(), post(1), frame].concat();
    let preface = |frame: Vec<u8>| [PREFACE, &frame].concat();
    for (what, bytes, reason) in [
        ("a request first", preface(get(1, "/")), Reason::PROTOCOL_ERROR),
        ("PING first", preface(frame(PING, 0, 0, &[0; 8])), Reason::PROTOCOL_ERROR),
        ("an unknown frame first", preface(frame(0xee, 0, 0, &[])), Reason::PROTOCOL_ERROR),
        ("an acknowledgement first", preface(frame(SETTINGS, ACK, 0, &[])), Reason::PROTOCOL_ERROR),
        ("SETTINGS of 5 B", preface(settings(&[0; 5])), Reason::FRAME_SIZE_ERROR),
        (
            "an acknowledgement with content",
            begun(frame(SETTINGS, ACK, 0, &[0; 6])),
            Reason::FRAME_SIZE_ERROR,
        ),
        ("SETTINGS of a stream", begun(frame(SETTINGS, 0, 1, &[])), Reason::PROTOCOL_ERROR),
        ("a window of 2 GiB", begun(settings(&[0, 4, 0x80, 0, 0, 0])), Reason::FLOW_CONTROL_ERROR),
        ("ENABLE_PUSH of 2", begun(settings(&[0, 2, 0, 0, 0, 2])), Reason::PROTOCOL_ERROR),
        ("MAX_FRAME_SIZE of 1", begun(settings(&[0, 5, 0, 0, 0, 1])), Reason::PROTOCOL_ERROR),
        ("PING of 7 B", begun(frame(PING, 0, 0, &[0; 7])), Reason::FRAME_SIZE_ERROR),
        ("PING of a stream", begun(frame(PING, 0, 1, &[0; 8])), Reason::PROTOCOL_ERROR),
        ("RST_STREAM of 3 B", opened(frame(RST_STREAM, 0, 1, &[0; 3])), Reason::FRAME_SIZE_ERROR),
        ("RST_STREAM of no stream", begun(reset(0)), Reason::PROTOCOL_ERROR),
        ("RST_STREAM of an idle stream", begun(reset(1)), Reason::PROTOCOL_ERROR),
        (
            "WINDOW_UPDATE of 5 B",
            begun(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1, 0])),
            Reason::FRAME_SIZE_ERROR,
        ),
        ("WINDOW_UPDATE by nothing", begun(window_update(0, 0)), Reason::PROTOCOL_ERROR),
        (
            "WINDOW_UPDATE beyond all windows",
            begun(window_update(0, (1 << 31) - 1)),
            Reason::FLOW_CONTROL_ERROR,
        ),
        ("PRIORITY of 4 B", begun(frame(PRIORITY, 0, 1, &[0; 4])), Reason::FRAME_SIZE_ERROR),
        ("GOAWAY of 7 B", begun(frame(GOAWAY, 0, 0, &[0; 7])), Reason::FRAME_SIZE_ERROR),
        (
            "a frame of 16 KiB and 1 B",
            opened(frame(DATA, 0, 1, &[0; 16_385])),
            Reason::FRAME_SIZE_ERROR,
        ),
        (
            "PUSH_PROMISE",
            opened(frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])),
            Reason::PROTOCOL_ERROR,
        ),
        ("CONTINUATION of nothing", begun(frame(CONTINUATION, 4, 1, &[])), Reason::PROTOCOL_ERROR),
        (
            "a block that is interrupted",
            begun([frame(HEADERS, 0, 1, &[]), frame(PING, 0, 0, &[0; 8])].concat()),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a block that goes on in another stream",
            begun([frame(HEADERS, 0, 1, &[]), frame(CONTINUATION, 4, 3, &[])].concat()),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "a block that refers to nothing",
            begun(frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0])),
            Reason::COMPRESSION_ERROR,
        ),
        (
            "half a block",
            begun(frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0, 5, b'a'])),
            Reason::COMPRESSION_ERROR,
        ),
        (
            "HEADERS with more padding than room",
            begun(frame(HEADERS, END_HEADERS | PADDED, 1, &[9, 0x82])),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "DATA with more padding than room",
            opened(frame(DATA, PADDED, 1, &[9, 0])),
            Reason::PROTOCOL_ERROR,
        ),
        (
            "DATA behind a whole request",
            begun([get(1, "/"), frame(DATA, 0, 1, b"x")].concat()),
            Reason::STREAM_CLOSED,
        ),
        (
            "DATA behind the last of it",
            opened([frame(DATA, END_STREAM, 1, b"x"), frame(DATA, END_STREAM, 1, &[])].concat()),
            Reason::STREAM_CLOSED,
        ),
        (
            "DATA of a stream that was given up",
            opened([reset(1), frame(DATA, 0, 1, b"x")].concat()),
            Reason::STREAM_CLOSED,
        ),
        ("DATA of no stream", begun(frame(DATA, 0, 0, b"x")), Reason::PROTOCOL_ERROR),
        ("a stream of the server's", begun(get(2, "/")), Reason::PROTOCOL_ERROR),
        ("a stream of none", begun(get(0, "/")), Reason::PROTOCOL_ERROR),
        ("a stream below the last", begun([post(5), get(3, "/")].concat()), Reason::PROTOCOL_ERROR),
        ("DATA of an idle stream", begun(frame(DATA, 0, 1, b"x")), Reason::PROTOCOL_ERROR),
    ] {
        let mut connection = Connection::echoing();
        connection.send(bytes).await;
        assert_eq!(connection.told(0).await, Told::Farewell(reason), "{what}");
        assert_eq!(connection.refused(), 1, "{what} is not counted");
        drop((connection.reading, connection.writing));
        let ended = timeout(PATIENCE, connection.serving).await.expect("it does not end");
        assert!(matches!(ended, Ok(Ended::Closed | Ended::Cut)), "{what}");
    }
}

#[tokio::test]
async fn a_request_that_is_malformed_reaches_no_service() {
    use Told::{Farewell, Reset, Status};
    let refused = Status(400);
    let [method, scheme, authority, path] = A_GET;
    let with = |field| vec![method, scheme, authority, path, field];
    let reset = Reset(Reason::PROTOCOL_ERROR);
    let ended = Farewell(Reason::PROTOCOL_ERROR);
    for (what, fields, told) in [
        // RFC 9113 §8.3.1.
        ("a fragment", vec![method, scheme, authority, (":path", "/a#b")], &refused),
        ("a fragment in the query", vec![method, scheme, authority, (":path", "/?a#b")], &refused),
        ("only a fragment", vec![method, scheme, authority, (":path", "#")], &refused),
        ("an empty path", vec![method, scheme, authority, (":path", "")], &reset),
        ("a path without a slash", vec![method, scheme, authority, (":path", "a")], &reset),
        ("a URI for a path", vec![method, scheme, authority, (":path", "http://a/")], &reset),
        ("a query for a path", vec![method, scheme, authority, (":path", "?q")], &refused),
        ("a path with a space", vec![method, scheme, authority, (":path", "/a b")], &reset),
        ("a path with a control", vec![method, scheme, authority, (":path", "/a\nb")], &reset),
        ("* of a GET", vec![method, scheme, authority, (":path", "*")], &refused),
        ("no path", vec![method, scheme, authority], &reset),
        ("no path but a Host", vec![method, scheme, ("host", "a")], &refused),
        ("no scheme", vec![method, authority, path], &reset),
        ("no method", vec![scheme, authority, path], &reset),
        ("two methods", vec![method, method, scheme, authority, path], &reset),
        ("two paths", vec![method, scheme, authority, path, path], &reset),
        ("a method that is none", vec![(":method", "G T"), scheme, authority, path], &ended),
        ("nobody", vec![method, scheme, path], &refused),
        ("an empty authority", vec![method, scheme, (":authority", ""), path], &reset),
        ("user information", vec![method, scheme, (":authority", "u@a"), path], &refused),
        ("a status", with((":status", "200")), &reset),
        ("an unknown pseudo-field", with((":x", "y")), &ended),
        ("a pseudo-field behind others", vec![method, scheme, authority, ("x", "y"), path], &reset),
        ("a Host that is another's", with(("host", "b")), &refused),
        // §8.2.1.
        ("a name in capitals", with(("X", "y")), &ended),
        ("a name with a space", with(("x ", "y")), &ended),
        ("a name with a colon", with(("x:", "y")), &ended),
        ("a space before a value", with(("x", " y")), &refused),
        ("a space behind a value", with(("x", "y ")), &refused),
        ("a tab before a value", with(("x", "\ty")), &refused),
        ("only a space", with(("x", " ")), &refused),
        ("a line's end in a value", with(("x", "y\r\nz: a")), &ended),
        ("a NUL in a value", with(("x", "y\0")), &ended),
        // §8.2.2.
        ("Connection", with(("connection", "close")), &reset),
        ("Keep-Alive", with(("keep-alive", "timeout=5")), &reset),
        ("Proxy-Connection", with(("proxy-connection", "close")), &reset),
        ("Transfer-Encoding", with(("transfer-encoding", "chunked")), &reset),
        ("Upgrade", with(("upgrade", "h2c")), &reset),
        ("TE", with(("te", "gzip")), &reset),
        ("TE with trailers and more", with(("te", "trailers, gzip")), &reset),
        // §8.1.1.
        ("a length without content", with(("content-length", "1")), &reset),
        (
            "two lengths",
            vec![method, scheme, authority, path, ("content-length", "0"), ("content-length", "1")],
            &reset,
        ),
    ] {
        let calls = Arc::new(AtomicUsize::new(0));
        let (_go_on, waits) = watch::channel(false);
        let mut connection = Connection::with(counting(Arc::clone(&calls), waits));
        let malformed = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields));
        connection.send([hello(), malformed].concat()).await;
        assert_eq!(connection.told(1).await, *told, "{what}");
        assert_eq!(calls.load(Ordering::SeqCst), 0, "{what}");
        assert_eq!(connection.refused(), 1, "{what} is counted once");
        if *told != ended {
            // The other streams are not concerned.
            connection.send(get(3, "/")).await;
            assert_eq!(connection.told(3).await, Status(200), "after {what}");
        }
    }
    // And those that only look like it.
    for field in [("te", "trailers"), ("x", ""), ("x", "y z"), ("x", "#"), ("content-length", "0")]
    {
        let mut connection = Connection::echoing();
        let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&with(field)));
        connection.send([hello(), request].concat()).await;
        assert_eq!(connection.told(1).await, Status(200), "{field:?}");
    }
}

#[tokio::test]
async fn trailers_that_are_none_reset_their_stream_wherever_its_request_is() {
    let trailers =
        |fields: &[(&str, &str)]| frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields));
    let data = || frame(DATA, 0, 1, b"abc");
    for fields in [
        &[(":path", "/")][..],
        &[(":path", "/"), ("x", "y")],
        &[(":status", "200")],
        &[(":method", "GET")],
        &[("x", "y"), (":path", "/")],
        &[("connection", "close")],
    ] {
        for at_once in [true, false] {
            let (ended, mut ends) = mpsc::unbounded_channel();
            let service = service_fn(move |request: Request<ReaderBody>| {
                let ended = ended.clone();
                async move {
                    // As an origin would see it.
                    ended.send(request.into_body().collect().await.is_ok()).unwrap();
                    Ok::<_, Infallible>(Response::new(whole(Bytes::new())))
                }
            });
            let mut connection = Connection::with(service);
            let parts = [[hello(), post(1)].concat(), data(), trailers(fields)];
            if at_once {
                connection.send(parts.concat()).await;
            } else {
                for part in parts {
                    connection.send(part).await;
                    for _ in 0..20 {
                        tokio::task::yield_now().await;
                    }
                }
            }
            let reset = Told::Reset(Reason::PROTOCOL_ERROR);
            assert_eq!(connection.told(1).await, reset, "{fields:?} {at_once}");
            assert_eq!(connection.refused(), 1, "{fields:?} {at_once}");
            connection.send([get(3, "/")].concat()).await;
            assert_eq!(connection.told(3).await, Told::Status(200));
            let whole = ends.recv().await.unwrap();
            // Either the service has not seen it, or not its end; the other request it has.
            assert!(!whole || ends.try_recv().is_err(), "{fields:?} {at_once}");
        }
    }
    let mut connection = Connection::echoing();
    connection.send([hello(), post(1), data(), trailers(&[("x", "y")])].concat()).await;
    assert_eq!(connection.told(1).await, Told::Status(200));
}

#[tokio::test]
async fn what_was_seen_in_a_block_does_not_depend_on_how_it_was_cut() {
    let fields = [A_GET[0], A_GET[1], A_GET[2], (":path", "/a#b")];
    let coded = block(&fields);
    for cut in 0..=coded.len() {
        let (one, two) = coded.split_at(cut);
        let padded = [&[3][..], one, &[0; 3]].concat();
        let frames = [
            hello(),
            frame(HEADERS, END_STREAM | PADDED, 1, &padded),
            frame(CONTINUATION, END_HEADERS, 1, two),
        ]
        .concat();
        // And byte by byte.
        let mut connection = Connection::echoing();
        for byte in frames {
            connection.send([byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(connection.told(1).await, Told::Status(400), "cut at {cut}");
    }
}
