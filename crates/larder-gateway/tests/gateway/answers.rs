//! How the answers of the service reach readers.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use larder_gateway::{
    ServerConfig,
    downstream::{Peer, PeerAddress, http1::ReaderBody},
    interim::Interim,
};
use tokio::sync::mpsc;
use tower::service_fn;

use crate::support::{AnyBody, BoxError, Gate, field, status, whole};

/// A body of unknown length that a test sends piece by piece.
struct Pieces(mpsc::Receiver<Result<Frame<Bytes>, BoxError>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

/// A body with these pieces, and then perhaps an error.
fn pieces(pieces: &[&'static str], error: Option<&'static str>) -> AnyBody {
    let (sender, receiver) = mpsc::channel(pieces.len() + 1);
    for piece in pieces {
        sender.try_send(Ok(Frame::data(Bytes::from(*piece)))).unwrap();
    }
    if let Some(error) = error {
        sender.try_send(Err(error.into())).unwrap();
    }
    Pieces(receiver).boxed_unsync()
}

/// A gateway whose service answers by `answer`.
fn answering<F>(answer: F) -> Gate
where
    F: Fn(Request<ReaderBody>) -> Response<AnyBody> + Clone + Send + 'static,
{
    Gate::serving(
        ServerConfig::default(),
        service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(request)))),
    )
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const OLD: &str = "GET / HTTP/1.0\r\n\r\n";

#[tokio::test]
async fn a_body_of_unknown_length_is_chunked_to_new_readers_and_ends_with_the_connection_to_old() {
    let gate = answering(|_| Response::new(pieces(&["ab", "", "cde"], None)));
    let mut wire = gate.connect().await;
    for _ in 0..2 {
        wire.send(GET).await;
        let head = wire.head().await;
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        assert_eq!(field(&head, "content-length"), None);
        assert_eq!(wire.until("0\r\n\r\n").await, "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n");
    }
    let answer = gate.say(OLD).await;
    assert_eq!(field(&answer, "transfer-encoding"), None);
    assert_eq!(field(&answer, "connection"), Some("close"));
    assert!(answer.ends_with("\r\n\r\nabcde"), "{answer}");
}

#[tokio::test]
async fn a_body_that_breaks_off_never_looks_whole() {
    let gate = answering(|request| {
        let mut response = Response::new(pieces(&["abc"], Some("broken")));
        if request.uri().path() == "/length" {
            response.headers_mut().insert("content-length", 9.into());
        }
        response
    });
    for request in [GET, OLD, "GET /length HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut wire = gate.connect().await;
        wire.send(request).await;
        let answer = wire.until_reset().await;
        assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_shorter_than_its_length_cuts_the_connection_and_a_longer_one_is_cut_itself() {
    let gate = answering(|request| {
        let mut response = Response::new(pieces(&["abc", "def"], None));
        let length = if request.uri().path() == "/short" { 7 } else { 5 };
        response.headers_mut().insert("content-length", length.into());
        response
    });
    let mut wire = gate.connect().await;
    wire.send("GET /short HTTP/1.1\r\nHost: a\r\n\r\n").await;
    wire.until_reset().await;
    let answer = gate.say(GET).await;
    assert!(answer.ends_with("\r\n\r\nabcde"), "{answer}");
}

#[tokio::test]
async fn head_204_and_304_have_no_body_and_the_next_answer_follows() {
    let gate = answering(|request| {
        let mut response = Response::new(whole(Bytes::from("abc")));
        *response.status_mut() = request.uri().path()[1..].parse().unwrap();
        response.headers_mut().insert("content-length", 3.into());
        response
    });
    let mut wire = gate.connect().await;
    for (method, code, length) in
        [("HEAD", 200, Some("3")), ("GET", 204, None), ("GET", 304, Some("3"))]
    {
        wire.send(format!("{method} /{code} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let head = wire.head().await;
        assert_eq!((status(&head), field(&head, "content-length")), (code, length));
        assert_eq!(field(&head, "transfer-encoding"), None);
    }
    wire.send("GET /200 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.answer().await.text(), "abc");
}

#[tokio::test]
async fn an_answer_to_head_of_unknown_length_says_no_length() {
    let gate = answering(|_| Response::new(pieces(&[], None)));
    let mut wire = gate.connect().await;
    wire.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!(field(&head, "content-length"), None);
    wire.send(LAST).await;
    assert!(wire.rest().await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn odd_statuses_phrases_and_bytes_pass_and_the_connection_is_our_own() {
    let gate = answering(|_| {
        let mut response = Response::new(whole(Bytes::from("x")));
        *response.status_mut() = http::StatusCode::from_u16(799).unwrap();
        let phrase = hyper::ext::ReasonPhrase::try_from(&b"tr\xc3\xa8s odd"[..]).unwrap();
        response.extensions_mut().insert(phrase);
        let headers = response.headers_mut();
        headers.insert("x-bytes", http::HeaderValue::from_bytes(b"\x80\xff\t!").unwrap());
        for (name, value) in [
            ("connection", "keep-alive, x-bytes"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "gzip"),
            ("trailer", "x-sum"),
            ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            headers.insert(name, http::HeaderValue::from_static(value));
        }
        response
    });
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    let (head, _) = wire.answer().await.into_text();
    assert_eq!(
        head,
        "HTTP/1.1 799 tr\u{c3}\u{a8}s odd\r\nx-bytes: \u{80}\u{ff}\t!\r\n\
         date: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 1\r\n\r\n"
    );
}

#[tokio::test]
async fn a_date_is_added_where_there_is_none() {
    let gate = answering(|_| Response::new(whole(Bytes::new())));
    let answer = gate.say(LAST).await;
    assert!(httpdate::parse_http_date(field(&answer, "date").unwrap()).is_ok());
    assert_eq!(field(&answer, "content-length"), Some("0"));
}

#[tokio::test]
async fn trailers_are_dropped_unless_their_reader_takes_them() {
    let gate = answering(|_| {
        let (sender, receiver) = mpsc::channel(2);
        sender.try_send(Ok(Frame::data(Bytes::from("ab")))).unwrap();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", 1.into());
        sender.try_send(Ok(Frame::trailers(trailers))).unwrap();
        Response::new(Pieces(receiver).boxed_unsync())
    });
    assert!(gate.say(LAST).await.ends_with("\r\n\r\n2\r\nab\r\n0\r\n\r\n"));
    let takes_them = "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te, close\r\n\r\n";
    assert!(gate.say(takes_them).await.ends_with("\r\n\r\n2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n"));
    let older = "GET / HTTP/1.0\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\n\r\n";
    assert!(gate.say(older).await.ends_with("\r\n\r\nab"));
}

#[tokio::test]
async fn a_service_may_ask_for_the_connection_to_be_closed() {
    let gate = answering(|_| {
        let mut response = Response::new(whole(Bytes::from("x")));
        let close = http::HeaderValue::from_static("close");
        response.headers_mut().insert("connection", close);
        response
    });
    assert_eq!(field(&gate.say(GET).await, "connection"), Some("close"));
}

#[tokio::test]
async fn an_interim_answer_given_as_final_is_an_error() {
    let gate = answering(|_| {
        let mut response = Response::new(whole(Bytes::new()));
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        response
    });
    assert_eq!(status(&gate.say(GET).await), 502);
}

#[tokio::test]
async fn interim_answers_pass_at_once_and_with_their_fields() {
    let (go_on, waits) = tokio::sync::oneshot::channel();
    let waits = std::sync::Arc::new(tokio::sync::Mutex::new(Some(waits)));
    let gate = Gate::serving(
        ServerConfig::default(),
        service_fn(move |request: Request<ReaderBody>| {
            let waits = std::sync::Arc::clone(&waits);
            async move {
                let interim = request.extensions().get::<Interim>().unwrap().clone();
                let hint = |link: &str| {
                    Response::builder().status(103).header("link", link).body(()).unwrap()
                };
                assert!(interim.send(hint("</a.css>")));
                waits.lock().await.take().unwrap().await.unwrap();
                assert!(interim.send(hint("</b.css>")));
                Ok::<_, Infallible>(Response::new(whole(Bytes::from("x"))))
            }
        }),
    );
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    assert_eq!(wire.head().await, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
    go_on.send(()).unwrap();
    assert_eq!(wire.head().await, "HTTP/1.1 103 Early Hints\r\nlink: </b.css>\r\n\r\n");
    assert_eq!(wire.answer().await.text(), "x");
}

#[tokio::test]
async fn readers_of_http_1_0_get_no_interim_answers() {
    let gate = answering(|request| {
        assert!(request.extensions().get::<Interim>().is_none());
        Response::new(whole(Bytes::from("x")))
    });
    assert_eq!(status(&gate.say(OLD).await), 200);
}

#[tokio::test]
async fn the_service_knows_who_asks() {
    let gate = answering(|request| {
        let Some(Peer { address: PeerAddress::Known(address), listener: 0, .. }) =
            request.extensions().get()
        else {
            panic!("no peer");
        };
        Response::new(whole(Bytes::from(address.to_string())))
    });
    let mut wire = gate.connect().await;
    wire.send(GET).await;
    assert_eq!(wire.answer().await.text(), wire.stream.local_addr().unwrap().to_string());
}

#[tokio::test]
async fn a_large_body_in_memory_arrives_whole() {
    let body: Bytes = (0..20_000_000_u32).map(|n| (n / 7) as u8).collect();
    let expected = body.clone();
    let gate = answering(move |_| Response::new(whole(body.clone())));
    let mut wire = gate.connect().await;
    for _ in 0..2 {
        wire.send(GET).await;
        let head = wire.head().await;
        assert_eq!(field(&head, "content-length"), Some("20000000"));
        let (mut left, mut at) = (expected.len(), 0);
        while left > 0 {
            let piece = wire.exactly(left.min(1 << 20)).await;
            assert!(piece == expected[at..at + piece.len()], "another body at {at}");
            (left, at) = (left - piece.len(), at + piece.len());
        }
    }
}
