//! Stopping: within a second, in order, whoever hangs on.

use std::{net::TcpListener, time::Duration};

use http::Method;
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    blog::{Blog, Setup},
    reader::{ask, get, try_answer},
};

const SERVICES: [&str; 4] = ["posts", "backend", "console", "page"];
/// A second is promised. A busy machine gets more; what must never be waited for here takes minutes.
const SOON: Duration = Duration::from_secs(2);

async fn connect(blog: &Blog, service: &str) -> TcpStream {
    TcpStream::connect(blog.address(service)).await.expect("it listens")
}

/// Sends `text`, and reads until `until` has come.
async fn talk(connection: &mut TcpStream, text: &str, until: &str) {
    connection.write_all(text.as_bytes()).await.expect("an open connection");
    let mut heard = String::new();
    while !heard.contains(until) {
        let mut part = [0; 1024];
        let read = connection.read(&mut part).await.expect("an open connection");
        assert!(read > 0, "closed after {heard}");
        heard.push_str(&String::from_utf8_lossy(&part[..read]));
    }
}

async fn assert_stops(blog: Blog, signal: Signal) {
    let addresses = SERVICES.map(|service| blog.address(service));
    blog.signal(signal);
    let exit = blog.exit().await;
    assert_eq!(exit.code, Some(0), "{}", exit.log);
    assert!(exit.took < SOON, "{:?}", exit.took);
    assert!(!exit.log.contains("ERROR") && !exit.log.contains("panicked"), "{}", exit.log);
    for address in addresses {
        TcpListener::bind(&address).unwrap_or_else(|error| panic!("{address}: {error}"));
    }
}

#[tokio::test]
async fn an_idle_blog_stops_on_ctrl_c_and_on_sigterm() {
    for signal in [Signal::INT, Signal::TERM] {
        let blog = Setup::run().start().await;
        get(&blog.backend("/api/posts/1")).await;
        assert_stops(blog, signal).await;
    }
}

#[tokio::test]
async fn signals_of_other_meanings_change_nothing() {
    let blog = Setup::run().start().await;
    for signal in [
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::PIPE,
    ] {
        blog.signal(signal);
        assert_eq!(get(&blog.backend("/health")).await.status, 200, "{signal:?}");
    }
    assert_stops(blog, Signal::TERM).await;
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nobody_up() {
    let blog = Setup::run().start_unread().await;
    // A line of some 60 bytes each: more than a pipe holds.
    for _ in 0..2000 {
        assert_eq!(get(&blog.backend("/api/posts/1")).await.status, 200);
    }
    assert_stops(blog, Signal::TERM).await;
}

#[tokio::test]
async fn each_part_alone_stops_on_sigterm() {
    for part in ["posts", "backend", "page"] {
        let blog = Setup::part(part).start().await;
        blog.signal(Signal::TERM);
        assert_eq!(blog.exit().await.code, Some(0), "{part}");
    }
}

#[tokio::test]
async fn an_open_event_stream_does_not_hold_it_up() {
    let blog = Setup::run().start().await;
    let mut stream = connect(&blog, "console").await;
    talk(&mut stream, "GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n", "data: ").await;
    assert_stops(blog, Signal::INT).await;
    // Its reader sees an end, not a break.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(String::from_utf8_lossy(&rest).ends_with("0\r\n\r\n"), "{rest:?}");
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let blog = Setup::run().start().await;
    let mut idle = Vec::new();
    for service in SERVICES {
        // One that was used and is kept, and one that never said anything.
        let mut kept = connect(&blog, service).await;
        talk(&mut kept, "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n", "\r\n\r\n").await;
        idle.extend([kept, connect(&blog, service).await]);
    }
    assert_stops(blog, Signal::INT).await;
}

#[tokio::test]
async fn a_slow_request_under_way_does_not_hold_it_up() {
    let blog = Setup::run().set("POSTS_DELAY_MS", 600_000).start().await;
    let url = blog.backend("/api/posts/1");
    let slow = tokio::spawn(async move { try_answer(ask(Method::GET, &url)).await });
    blog.logs("Cache MISS for /posts/1").await;
    assert_stops(blog, Signal::INT).await;
    // Whatever its reader gets: not a post, and not half of one.
    if let Ok(answer) = slow.await.unwrap() {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
}

#[tokio::test]
async fn a_quick_request_under_way_is_still_answered() {
    let blog = Setup::run().set("POSTS_DELAY_MS", 30).start().await;
    let url = blog.backend("/api/posts/1");
    let quick = tokio::spawn(async move { get(&url).await });
    blog.logs("Cache MISS for /posts/1").await;
    assert_stops(blog, Signal::INT).await;
    assert_eq!(quick.await.unwrap().status, 200);
}

/// Everything that could hold a server up, at all of them at once.
#[tokio::test]
async fn a_crowd_of_hangers_on_does_not_hold_it_up() {
    let blog = Setup::run().set("POSTS_DELAY_MS", 600_000).start().await;
    let crowd = ask(Method::POST, &blog.page("/crowd"))
        .json(&serde_json::json!({"post_id": 1, "users": 50}));
    let crowd = tokio::spawn(try_answer(crowd));
    blog.logs("Cache MISS for /posts/1").await;
    let mut stream = connect(&blog, "console").await;
    talk(&mut stream, "GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n", "data: ").await;
    let mut half_asked = Vec::new();
    for service in SERVICES {
        let mut connection = connect(&blog, service).await;
        let kept = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
        talk(&mut connection, kept, "\r\n\r\n").await;
        connection.write_all(b"GET /health HTTP/1.1\r\nho").await.unwrap();
        half_asked.push(connection);
    }
    assert_stops(blog, Signal::INT).await;
    crowd.abort();
}

/// A second Ctrl-C in the middle of stopping changes nothing.
#[tokio::test]
async fn an_impatient_ctrl_c_is_no_failure() {
    let blog = Setup::run().set("POSTS_DELAY_MS", 600_000).start().await;
    let url = blog.backend("/api/posts/1");
    let slow = tokio::spawn(async move { try_answer(ask(Method::GET, &url)).await });
    blog.logs("Cache MISS for /posts/1").await;
    blog.signal(Signal::INT);
    assert_stops(blog, Signal::INT).await;
    slow.abort();
}
