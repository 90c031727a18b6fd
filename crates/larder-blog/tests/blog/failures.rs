//! A posts service that fails, in every way a wire can carry: what the reader is told, and that
//! nothing of it is kept.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    time::Duration,
};

use http::Method;
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{
    blog::{Blog, Setup},
    eventually,
    origin::{self, Act, Origin},
    reader::{Answer, answer, ask, get, get_all},
};

const REFUSED: &str = "Posts service unavailable (connection error)";
const TIMEOUT: &str = "Posts service unavailable (timeout)";
const BROKEN: &str = "Service communication error";

const POST: &str = r#"{"id":1,"title":"One"}"#;
const MEBIBYTE: usize = 1 << 20;

async fn backend(posts_service: &str) -> Blog {
    Setup::part("backend").set("POSTS_SERVICE_URL", posts_service).start().await
}

/// What the reader gets when the posts service does this; and the next good answer must pass as if
/// nothing had been.
async fn after(act: Act) -> Answer {
    let origin = Origin::start(act.clone()).await;
    let blog = backend(&origin.url()).await;
    let url = blog.backend("/api/posts/1");

    // Over a new connection.
    let bad = get(&url).await;
    assert_eq!(origin.calls(), 1);
    assert_good(&get_good(&origin, &url).await);
    // Over a connection that has served before.
    let request =
        ask(Method::POST, &blog.console("/v1/purge")).json(&json!({"all": true, "mode": "hard"}));
    assert_eq!(answer(request).await.status, 200);
    origin.will(act);
    let again = get(&url).await;
    assert_eq!((again.status, &again.body), (bad.status, &bad.body));
    assert_good(&get_good(&origin, &url).await);
    bad
}

async fn get_good(origin: &Origin, url: &str) -> Answer {
    origin.will(Act::answer(200, POST));
    get(url).await
}

#[track_caller]
fn assert_good(answer: &Answer) {
    assert_eq!((answer.status, answer.text(), answer.handling()), (200, POST, "uri-miss"));
}

#[track_caller]
fn assert_broken(answer: &Answer) {
    answer.assert_detail(503, BROKEN);
    let status = "Larder;fwd=uri-miss;key=\"/posts/1\";detail=origin-error";
    assert_eq!(answer.field("cache-status"), Some(status));
    assert!(answer.field("server-timing").is_some());
    assert_eq!((answer.field("age"), answer.field("etag")), (None, None));
}

#[tokio::test]
async fn a_refused_connection_is_a_connection_error() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let blog = backend(&format!("http://{closed}")).await;
    for path in ["/api/posts/1", "/api/posts/1", "/api/posts"] {
        get(&blog.backend(path)).await.assert_detail(503, REFUSED);
    }
    assert_eq!(blog.stats().await["entries"], 0);
    blog.logs("Connection refused (os error 111)").await;
}

/// A port whose queue is full: the system drops what knocks, as a machine that is gone would.
struct Unreachable {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Unreachable {
    async fn new() -> Unreachable {
        let port: OwnedFd =
            socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&port, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        listen(&port, 0).expect("a socket that can listen");
        let listener = TcpListener::from(port);
        let address = listener.local_addr().expect("an address");
        let mut queue = Vec::new();
        let knock = async || {
            let connecting = TcpStream::connect(address);
            tokio::time::timeout(Duration::from_millis(300), connecting).await
        };
        while let Ok(connected) = knock().await {
            queue.push(connected.expect("a connection, or nothing at all"));
        }
        Unreachable { address, _listener: listener, _queue: queue }
    }
}

#[tokio::test]
async fn a_connection_that_is_not_made_within_5_seconds_is_a_timeout() {
    let gone = Unreachable::new().await;
    let blog = backend(&format!("http://{}", gone.address)).await;
    let urls = (0..10).map(|id| blog.backend(&format!("/api/posts/{id}")));
    for answer in get_all(urls).await {
        answer.assert_detail(503, TIMEOUT);
        assert!((4..15).contains(&answer.took.as_secs()), "{:?}", answer.took);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_begin_within_5_seconds_is_a_communication_error_for_all() {
    let origin = Origin::start(Act::SendAndStall(Vec::new())).await;
    let blog = backend(&origin.url()).await;
    let url = blog.backend("/api/posts/1");

    let answers = get_all((0..20).map(|_| url.clone())).await;

    for answer in &answers {
        answer.assert_detail(503, BROKEN);
        assert!((4..15).contains(&answer.took.as_secs()), "{:?}", answer.took);
    }
    assert_eq!(origin.calls(), 1);
    assert_good(&get_good(&origin, &url).await);
}

#[tokio::test]
async fn an_answer_that_does_not_end_within_5_seconds_is_a_communication_error() {
    let mut part = origin::answer(200, POST);
    part.pop();
    let origin = Origin::start(Act::SendAndStall(part)).await;
    let blog = backend(&origin.url()).await;
    let url = blog.backend("/api/posts/1");

    let answer = get(&url).await;

    assert_broken(&answer);
    assert!((4..15).contains(&answer.took.as_secs()), "{:?}", answer.took);
    assert_good(&get_good(&origin, &url).await);
}

#[tokio::test]
async fn a_connection_closed_before_the_answer_is_a_communication_error() {
    assert_broken(&after(Act::SendAndClose(Vec::new())).await);
    assert_broken(&after(Act::SendAndReset(Vec::new())).await);
}

#[tokio::test]
async fn an_answer_cut_off_in_its_head_is_a_communication_error() {
    assert_broken(&after(Act::SendAndClose(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec())).await);
}

#[tokio::test]
async fn a_truncated_body_is_a_communication_error() {
    // The part that arrives is a whole JSON text: nothing but the length tells.
    let bytes = format!("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{POST}").into_bytes();
    assert_broken(&after(Act::SendAndClose(bytes)).await);
}

#[tokio::test]
async fn a_chunked_body_that_breaks_off_is_a_communication_error() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let length = POST.len();
    let no_end = format!("{head}{length:x}\r\n{POST}\r\n").into_bytes();
    assert_broken(&after(Act::SendAndClose(no_end.clone())).await);
    assert_broken(&after(Act::SendAndReset(no_end)).await);
    let in_a_chunk = format!("{head}{:x}\r\n{POST}", length + 10).into_bytes();
    assert_broken(&after(Act::SendAndReset(in_a_chunk)).await);
}

#[tokio::test]
async fn what_is_no_http_is_a_communication_error() {
    assert_broken(&after(Act::SendAndClose(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec())).await);
}

#[tokio::test]
async fn a_200_that_is_no_json_is_a_communication_error() {
    for body in ["<html>not here</html>", "", r#"{"id":1"#] {
        assert_broken(&after(Act::answer(200, body)).await);
    }
}

#[tokio::test]
async fn a_status_that_means_nothing_here_is_a_communication_error() {
    for status in [204, 304] {
        let head = format!("HTTP/1.1 {status} Some Reason\r\n\r\n");
        assert_broken(&after(Act::Send(head.into_bytes())).await);
    }
    assert_broken(&after(Act::answer(206, POST)).await);
    assert_broken(&after(Act::answer(601, POST)).await);
}

#[tokio::test]
async fn an_answer_larger_than_8_mebibytes_is_a_communication_error() {
    let string = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let too_large = string(8 * MEBIBYTE + 1);
    assert_broken(&after(Act::answer(200, &too_large)).await);

    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{too_large}").into_bytes();
    assert_broken(&after(Act::SendAndClose(endless)).await);

    let largest = string(8 * MEBIBYTE);
    let origin = Origin::start(Act::answer(200, &largest)).await;
    let passed = get(&backend(&origin.url()).await.backend("/api/posts/1")).await;
    assert_eq!((passed.status, passed.text() == largest), (200, true));
}

#[tokio::test]
async fn the_posts_services_own_detail_passes_with_its_status() {
    for (status, body, passed) in [
        (
            404,
            r#"{"detail":"Post with ID 7 not found"}"#,
            r#"{"detail":"Post with ID 7 not found"}"#,
        ),
        (
            422,
            r#"{"detail": [{"msg":"a", "loc":["b"]}] }"#,
            r#"{"detail":[{"msg":"a", "loc":["b"]}]}"#,
        ),
        (500, r#"{"detail":"Ünglück","more":1}"#, r#"{"detail":"Ünglück"}"#),
        (503, r#"{"detail":null}"#, r#"{"detail":null}"#),
    ] {
        let origin = Origin::start(Act::answer(status, body)).await;
        let answer = get(&backend(&origin.url()).await.backend("/api/posts/1")).await;
        assert_eq!((answer.status, answer.text()), (status, passed));
        assert_eq!(answer.field("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn another_body_passes_as_the_detail_with_its_status() {
    for (status, body) in [
        (400, "Bad \"Request\"\n"),
        (404, r#"{"error":"none"}"#),
        (500, ""),
        (502, "<html>Bad Gateway</html>"),
        (418, r#"["detail"]"#),
    ] {
        let origin = Origin::start(Act::answer(status, body)).await;
        let answer = get(&backend(&origin.url()).await.backend("/api/posts/1")).await;
        answer.assert_detail(status, body);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let head = "HTTP/1.1 302 Found\r\nlocation: /posts/2\r\ncontent-length: 5\r\n\r\n";
    let origin = Origin::start(Act::Send(format!("{head}Found").into_bytes())).await;
    let blog = backend(&origin.url()).await;

    let answer = get(&blog.backend("/api/posts/1")).await;

    answer.assert_detail(302, "Found");
    assert_eq!(origin.paths(), ["/posts/1"]);
    assert_good(&get_good(&origin, &blog.backend("/api/posts/1")).await);
}

#[tokio::test]
async fn an_answer_that_only_announces_another_is_waited_through() {
    let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".to_vec();
    let bytes = [hints, origin::answer(200, POST)].concat();
    let origin = Origin::start(Act::Send(bytes)).await;
    assert_good(&get(&backend(&origin.url()).await.backend("/api/posts/1")).await);
}

#[tokio::test]
async fn a_posts_service_under_a_path_is_asked_there() {
    let origin = Origin::start(Act::answer(200, POST)).await;
    let blog = backend(&format!("{}/blog/v1/", origin.url())).await;
    assert_good(&get(&blog.backend("/api/posts/1")).await);
    assert_eq!(origin.paths(), ["/blog/v1/posts/1"]);
}

/// One failure for many who wait is one line in the log.
#[tokio::test]
async fn a_failure_is_logged_once_with_its_cause() {
    let stalled = Act::SendOnRelease(b"no HTTP\r\n\r\n".to_vec());
    let origin = Origin::start(stalled).await;
    let blog = backend(&origin.url()).await;
    let release = async {
        let all = eventually("ten readers who wait", async || {
            (blog.stats().await["misses"] == 10).then_some(())
        });
        all.await;
        origin.release();
    };
    let readers = get_all((0..10).map(|_| blog.backend("/api/posts/1")));
    let (answers, ()) = futures_util::join!(readers, release);

    assert!(answers.iter().all(|answer| answer.status == 503), "{answers:?}");
    blog.logs("invalid HTTP version parsed").await;
    let log = blog.log();
    assert_eq!(log.matches(" WARN ").count(), 1, "{log}");
}

#[tokio::test]
async fn a_failure_says_why_it_was_asked_at_all() {
    let origin = Origin::start(Act::answer(200, POST)).await;
    let setup = Setup::part("backend").set("POSTS_SERVICE_URL", origin.url());
    let failed = async |blog: &Blog| {
        origin.will(Act::SendAndClose(Vec::new()));
        eventually("a failure", async || {
            let answer = get(&blog.backend("/api/posts/1")).await;
            (answer.status == 503).then_some(answer)
        })
        .await
    };

    let cold = setup.clone().start().await;
    assert_eq!(failed(&cold).await.handling(), "uri-miss");

    let without_cache = setup.set("CACHE_ENABLED", false).start().await;
    assert_eq!(failed(&without_cache).await.handling(), "bypass");
}
