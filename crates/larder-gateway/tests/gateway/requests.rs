//! What becomes of the requests that readers send.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use larder_gateway::{ServerConfig, downstream::http1::Http1Config};
use tower::service_fn;

use crate::support::{Gate, echo, field, status, until};

#[tokio::test]
async fn a_request_reaches_the_service_with_an_absolute_uri_and_its_fields() {
    let gate = Gate::echoing();
    let mut wire = gate.connect().await;
    wire.send("GET /posts/1?a=b HTTP/1.1\r\nHost: blog.example:81\r\nX-A: 1\r\nx-a:  2 \r\n\r\n")
        .await;
    let (head, body) = wire.answer().await.into_text();
    assert_eq!(status(&head), 200);
    assert_eq!(
        body,
        "GET http://blog.example:81/posts/1?a=b HTTP/1.1\n\
         host: blog.example:81\nx-a: 1\nx-a: 2\n\n"
    );
    assert_eq!(field(&head, "connection"), None);
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let gate = Gate::echoing();
    let requests: String =
        (0..100).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    let mut wire = gate.connect().await;
    wire.send(requests).await;
    for n in 0..100 {
        let (_, body) = wire.answer().await.into_text();
        assert!(body.starts_with(&format!("GET http://a/{n} ")), "{body}");
    }
}

/// Requests that two readers might read differently, or no reader at all, and what each is told.
const REFUSED: &[(u16, &str, &str)] = &[
    // Where does the body end?
    (
        400,
        "both framings (CL.TE)",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    ),
    (
        400,
        "both framings (TE.CL)",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n8\r\nSMUGGLED\r\n0\r\n\r\n",
    ),
    (
        400,
        "chunked twice (TE.TE)",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        400,
        "chunked twice in one field",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        501,
        "chunked and another (TE.TE)",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n",
    ),
    (
        501,
        "a coding before chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        501,
        "an unknown coding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        501,
        "identity, which is none any more",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        501,
        "a coding in quotes",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    ),
    (
        400,
        "an empty coding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\nContent-Length: 1\r\n\r\nx",
    ),
    (
        400,
        "an empty coding beside chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        400,
        "chunked with a parameter",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    ),
    (
        400,
        "a vertical tab before chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        400,
        "chunked in HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        400,
        "two lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
    ),
    (
        400,
        "the same length twice",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    ),
    (400, "a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx"),
    (400, "a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx"),
    (400, "a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx"),
    (400, "a hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx"),
    (400, "an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
    (
        400,
        "a length with a space inside",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 2\r\n\r\nx",
    ),
    (
        400,
        "a length beyond all bounds",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx",
    ),
    // Where does a field end?
    (400, "a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
    (400, "a folded line by a tab", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n"),
    (400, "a folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    (400, "a bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n"),
    (400, "a bare CR in the request line", "GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "a bare CR instead of a line's end", "GET / HTTP/1.1\rHost: a\r\n\r\n"),
    (400, "a bare LF at a line's end", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
    (400, "a bare LF at a field's end", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n"),
    (400, "a bare LF at the head's end", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
    (400, "nothing but bare LFs", "GET / HTTP/1.1\nHost: a\n\n"),
    (400, "NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    (400, "NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n"),
    (400, "NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "a control character in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n"),
    (
        400,
        "whitespace before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\nx",
    ),
    (
        400,
        "a tab before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    ),
    (400, "a line without a colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    (400, "a field without a name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"),
    // Who is it for?
    (400, "no Host", "GET / HTTP/1.1\r\nX: a\r\n\r\n"),
    (400, "two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    (400, "the same Host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    (400, "two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    (400, "an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    (400, "a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    (400, "a Host with a user", "GET / HTTP/1.1\r\nHost: me@a\r\n\r\n"),
    (400, "a Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    (400, "two Hosts in one field", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    (400, "a Host with letters for a port", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    (400, "a Host with too high a port", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
    (400, "a Host that is only a port", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n"),
    (400, "a Host with a quote", "GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n"),
    (400, "a Host beyond ASCII", "GET / HTTP/1.1\r\nHost: \u{e4}\r\n\r\n"),
    (400, "an absolute target without Host", "GET http://a/ HTTP/1.1\r\n\r\n"),
    (400, "an absolute target with a user", "GET http://me@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "an absolute target without a host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "an absolute target of another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (421, "an https target without TLS", "GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (501, "a tunnel", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    (400, "an authority for a target", "GET a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    (400, "a name for a target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "the asterisk for anything but OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "a target with a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    // Is it HTTP/1 at all?
    (400, "no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "HTTP/0.9", "GET /\r\n\r\n"),
    (400, "HTTP/1.12", "GET / HTTP/1.12\r\nHost: a\r\n\r\n"),
    (505, "HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    (400, "a later HTTP/1 without a host", "GET / HTTP/1.2\r\n\r\n"),
    (505, "HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    (505, "HTTP/3", "GET / HTTP/3\r\nHost: a\r\n\r\n"),
    (400, "a method with a slash", "G/T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "a TLS handshake", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}"),
    (400, "a space first", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (417, "an unknown expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: the-best\r\n\r\n"),
];

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A gateway that echoes, and how often its service was called.
fn counting() -> (Gate, Arc<AtomicUsize>) {
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(move |request| {
            count.fetch_add(1, Ordering::SeqCst);
            echo(request)
        }),
    );
    (gate, called)
}

#[tokio::test]
async fn what_two_readers_could_read_differently_reaches_no_service() {
    let (gate, called) = counting();
    for (expected, what, request) in REFUSED {
        let bytes: Vec<u8> = request.chars().map(|c| u8::try_from(c).unwrap()).collect();
        // What is smuggled behind a refused request must not be looked at.
        let bytes = [&bytes[..], SMUGGLED.as_bytes()].concat();
        let answer = gate.say(bytes).await;
        assert_eq!(status(&answer), *expected, "{what}: {answer}");
        assert_eq!(answer.matches("\r\ndate: ").count(), 1, "{what}: {answer}");
        assert_eq!(field(&answer, "connection"), Some("close"), "{what}");
        assert_eq!(field(&answer, "content-type"), Some("application/problem+json"), "{what}");
        let proxy_status = field(&answer, "proxy-status").unwrap();
        assert!(proxy_status.starts_with("Larder;error=http_request_error"), "{what}");
        assert_eq!(called.load(Ordering::SeqCst), 0, "{what}");
    }
}

/// Chunks that are none.
const BAD_CHUNKS: &[(&str, &str)] = &[
    ("letters for a size", "xyz\r\nabc\r\n0\r\n\r\n"),
    ("a size with a prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
    ("a signed size", "+3\r\nabc\r\n0\r\n\r\n"),
    ("a negative size", "-3\r\nabc\r\n0\r\n\r\n"),
    ("a space before the size", " 3\r\nabc\r\n0\r\n\r\n"),
    ("a space after the size", "3 \r\nabc\r\n0\r\n\r\n"),
    ("an empty size", "\r\nabc\r\n0\r\n\r\n"),
    ("an empty size with an extension", ";a=b\r\nabc\r\n0\r\n\r\n"),
    ("a size beyond all bounds", "11111111111111111\r\nabc\r\n0\r\n\r\n"),
    ("a chunk longer than its size", "2\r\nabc\r\n0\r\n\r\n"),
    ("a chunk shorter than its size", "4\r\nabc\r\n0\r\n\r\n"),
    ("a size ended by a bare LF", "3\nabc\r\n0\r\n\r\n"),
    ("a size ended by a bare CR", "3\rabc\r\n0\r\n\r\n"),
    ("a chunk ended by a bare LF", "3\r\nabc\n0\r\n\r\n"),
    ("an extension with a bare CR", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
    ("an extension with NUL", "3;a\0b\r\nabc\r\n0\r\n\r\n"),
    (
        "an endless extension",
        "3;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nabc\r\n0\r\n\r\n",
    ),
    ("a trailer without a colon", "3\r\nabc\r\n0\r\nGET / HTTP/1.1\r\n\r\n"),
    ("a folded trailer", "3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n"),
    ("a trailer ended by a bare LF", "3\r\nabc\r\n0\r\nX: a\n\r\n"),
    ("an end with a bare LF", "3\r\nabc\r\n0\r\n\n"),
];

#[tokio::test]
async fn rubbish_among_chunks_that_comes_with_the_head_reaches_no_service() {
    let (gate, called) = counting();
    for (what, chunks) in BAD_CHUNKS {
        let answer = gate.say(format!("{CHUNKED}{chunks}{SMUGGLED}")).await;
        assert_eq!(status(&answer), 400, "{what}: {answer}");
        assert_eq!(answer.matches("\r\ndate: ").count(), 1, "{what}: {answer}");
        assert_eq!(called.load(Ordering::SeqCst), 0, "{what}");
    }
}

#[tokio::test]
async fn rubbish_among_chunks_that_comes_later_ends_the_exchange_and_the_connection() {
    let (gate, called) = counting();
    for (count, (what, chunks)) in BAD_CHUNKS.iter().enumerate() {
        let mut wire = gate.connect().await;
        wire.send(CHUNKED).await;
        until("a call", || called.load(Ordering::SeqCst) > count).await;
        wire.send(format!("{chunks}{SMUGGLED}")).await;
        let answer = wire.rest().await;
        assert_eq!(status(&answer), 400, "{what}: {answer}");
        assert_eq!(answer.matches("\r\ndate: ").count(), 1, "{what}: {answer}");
    }
    assert_eq!(called.load(Ordering::SeqCst), BAD_CHUNKS.len());
}

#[tokio::test]
async fn good_chunks_arrive_as_one_body_without_extensions_and_trailers() {
    let gate = Gate::echoing();
    let mut wire = gate.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ChUnKeD\r\n\r\n";
    let chunks = "3\r\nabc\r\n002 ;a=b;c=\"d\"\r\nde\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n";
    wire.send(format!("{head}{chunks}")).await;
    let (_, body) = wire.answer().await.into_text();
    assert!(body.ends_with("\n\nabcde0123456789"), "{body}");
    assert!(!body.contains("x-t"), "{body}");
    wire.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(wire.answer().await.text().starts_with("GET http://a/next "));
}

#[tokio::test]
async fn an_absolute_target_says_who_the_request_is_for_whatever_host_says() {
    let gate = Gate::echoing();
    let answer = async |request: &str| gate.say(request).await;
    let body = answer(
        "GET http://real.example:8080/x?y HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(body.contains("GET http://real.example:8080/x?y HTTP/1.1\n"), "{body}");
    assert!(body.contains("host: real.example:8080\n") && !body.contains("other"), "{body}");
    let body = answer("GET HTTP://real.example HTTP/1.0\r\n\r\n").await;
    assert!(body.contains("GET http://real.example/ HTTP/1.0\nhost: real.example\n"), "{body}");
    let body = answer("GET http://a?b HTTP/1.0\r\n\r\n").await;
    assert!(body.contains("GET http://a/?b HTTP/1.0\n"), "{body}");
}

#[tokio::test]
async fn options_may_be_about_the_whole_server() {
    let gate = Gate::echoing();
    for target in ["*", "http://a"] {
        let request = format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = gate.say(request).await;
        assert!(answer.contains("OPTIONS * HTTP/1.1\nhost: a\n"), "{answer}");
    }
    let answer = gate.say("OPTIONS http://a/ HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("OPTIONS http://a/ HTTP/1.0\n"), "{answer}");
}

#[tokio::test]
async fn http_1_0_needs_no_host_and_closes_unless_asked() {
    let gate = Gate::echoing();
    let answer = gate.say("GET /x HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("GET http://localhost/x HTTP/1.0\nhost: localhost\n"), "{answer}");
    assert_eq!(field(&answer, "connection"), Some("close"));

    let mut wire = gate.connect().await;
    for _ in 0..2 {
        wire.send("GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").await;
        assert_eq!(field(&wire.answer().await.head, "connection"), Some("keep-alive"));
    }
}

#[tokio::test]
async fn a_later_http_1_is_heard_as_the_latest_that_is_known() {
    let gate = Gate::echoing();
    let mut wire = gate.connect().await;
    for version in ["HTTP/1.2", "HTTP/1.9"] {
        wire.send(format!("GET /x {version}\r\nHost: a\r\n\r\n")).await;
        let answer = wire.answer().await;
        assert_eq!(status(&answer.head), 200, "{version}");
        assert!(answer.head.starts_with("HTTP/1.1 "), "{}", answer.head);
    }
    // Nothing else of a head is taken for its version.
    for target in ["/HTTP/1.2", "/x?HTTP/1.3"] {
        let answer = gate.say(format!("GET {target} HTTP/1.0\r\nA: b HTTP/1.2\r\n\r\n")).await;
        assert!(answer.contains(&format!("GET http://localhost{target} HTTP/1.0")), "{answer}");
        assert!(answer.contains("b HTTP/1.2"), "{answer}");
    }
}

#[tokio::test]
async fn connection_close_is_honoured_wherever_it_stands() {
    let gate = Gate::echoing();
    for fields in
        ["Connection: close", "Connection: x, Close", "Connection: keep-alive\r\nConnection: close"]
    {
        let answer = gate.say(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")).await;
        assert_eq!(field(&answer, "connection"), Some("close"), "{fields}");
    }
}

#[tokio::test]
async fn empty_lines_before_a_request_are_ignored() {
    let gate = Gate::echoing();
    let mut wire = gate.connect().await;
    for _ in 0..2 {
        wire.send("\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n\r\n").await;
        assert_eq!(status(&wire.answer().await.head), 200);
    }
}

#[tokio::test]
async fn bytes_beyond_ascii_pass_in_fields_and_targets() {
    let gate = Gate::echoing();
    let mut wire = gate.connect().await;
    wire.send(b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\nX: \x80\xff\t\xe4\r\n\r\n").await;
    let (_, body) = wire.answer().await.into_text();
    assert!(body.contains("x: \u{80}\u{ff}\t\u{e4}\n"), "{body}");
    assert!(body.starts_with("GET http://a/\u{c3}\u{a4} "), "{body}");
}

fn limited(http1: Http1Config) -> Gate {
    Gate::serving(ServerConfig { http1, ..Default::default() }, service_fn(echo))
}

#[tokio::test]
async fn a_long_request_line_a_large_head_and_many_fields_each_have_their_answer() {
    let gate = limited(Http1Config {
        max_request_line_bytes: 100,
        max_head_bytes: 1000,
        max_fields: 10,
        ..Default::default()
    });
    let request = |target: usize, value: usize, fields: usize| {
        let fields: String = (1..fields).map(|n| format!("X: {n}\r\n")).collect();
        let (target, value) = ("x".repeat(target), "y".repeat(value));
        format!("GET /{target} HTTP/1.0\r\nHost: {value}\r\n{fields}\r\n")
    };
    assert_eq!(status(&gate.say(request(80, 100, 10)).await), 200);
    assert_eq!(status(&gate.say(request(100, 100, 10)).await), 414);
    assert_eq!(status(&gate.say(request(80, 1000, 10)).await), 431);
    assert_eq!(status(&gate.say(request(80, 100, 11)).await), 431);
    // Neither waits for an end that does not come.
    assert_eq!(status(&gate.say("x".repeat(101)).await), 414);
    assert_eq!(status(&gate.say(format!("GET / HTTP/1.1\r\n{}", "x".repeat(1000))).await), 431);
}

#[tokio::test]
async fn a_reader_is_told_to_continue_when_its_body_is_wanted_and_not_before() {
    let gate = Gate::echoing();
    let mut wire = gate.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    for _ in 0..2 {
        wire.send(head).await;
        assert_eq!(wire.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        wire.send("hi").await;
        let (head, body) = wire.answer().await.into_text();
        assert_eq!(status(&head), 200);
        assert!(body.ends_with("\n\nhi"), "{body}");
    }
}

#[tokio::test]
async fn a_reader_whose_body_nobody_wants_is_not_told_to_continue() {
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(async |_request| {
            Ok(http::Response::new(crate::support::whole(bytes::Bytes::from("no"))))
        }),
    );
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let answer = gate.say(head).await;
    assert_eq!(status(&answer), 200);
    // Whether the body comes now nobody knows, so what follows cannot be a request.
    assert_eq!(field(&answer, "connection"), Some("close"));
}

#[tokio::test]
async fn http_1_0_knows_no_expectations() {
    let gate = Gate::echoing();
    let head = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi";
    let answer = gate.say(head).await;
    assert_eq!(status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn a_small_body_that_nobody_wants_is_thrown_away_and_a_large_one_ends_the_connection() {
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(async |_request| {
            Ok(http::Response::new(crate::support::whole(bytes::Bytes::from("no"))))
        }),
    );
    let post = |length: usize| {
        let body = "x".repeat(length);
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let mut wire = gate.connect().await;
    for _ in 0..3 {
        wire.send(post(60_000)).await;
        assert_eq!(wire.answer().await.text(), "no");
    }
    wire.send(post(100_000)).await;
    assert_eq!(wire.answer().await.text(), "no");
    assert_eq!(wire.rest().await, "");
}
