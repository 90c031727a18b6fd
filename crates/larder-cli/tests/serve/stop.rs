//! Stopping: what is under way is finished, and nothing else.

use std::sync::Arc;

use rustix::process::Signal;
use tokio::{net::TcpStream, sync::Notify};

use crate::support::{
    eventually,
    larder::{Larder, request},
    origin::{Origin, ok},
};

#[tokio::test]
async fn an_idle_gateway_stops_on_ctrl_c_and_on_sigterm() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    for signal in [Signal::INT, Signal::TERM] {
        let larder = Larder::before(origin.address).await;
        let mut idle = larder.connect().await;
        idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        idle.answer().await;
        larder.signal(signal);
        assert_eq!(idle.rest().await, "");
        assert_eq!(larder.exit().await, Some(0));
    }
}

#[tokio::test]
async fn an_answer_under_way_is_finished_while_nobody_new_is_let_in() {
    let go_on = Arc::new(Notify::new());
    let script = Arc::clone(&go_on);
    let origin = Origin::playing(move |mut visit| {
        let go_on = Arc::clone(&script);
        async move {
            visit.request().await;
            visit.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await;
            go_on.notified().await;
            visit.send("-last").await;
        }
    })
    .await;
    let mut larder = Larder::before(origin.address).await;
    let mut reader = larder.connect().await;
    reader.send(request("GET", "/", "")).await;
    reader.head().await;
    assert_eq!(reader.exactly(5).await, b"first");
    larder.signal(Signal::TERM);
    let address = larder.address;
    eventually("a closed port", async || TcpStream::connect(address).await.err()).await;
    assert!(larder.is_running());
    go_on.notify_one();
    assert_eq!(reader.rest().await, "-last");
    drop(reader);
    assert_eq!(larder.exit().await, Some(0));
}

/// An origin that answers its first request only when it is told to.
async fn waiting() -> (Origin, Arc<Notify>) {
    let go_on = Arc::new(Notify::new());
    let script = Arc::clone(&go_on);
    let origin = Origin::playing(move |mut visit| {
        let go_on = Arc::clone(&script);
        async move {
            visit.request().await;
            go_on.notified().await;
            visit.send(ok("", "late")).await;
        }
    })
    .await;
    (origin, go_on)
}

#[tokio::test]
async fn signals_of_other_meanings_change_nothing() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let larder = Larder::before(origin.address).await;
    for (signal, name) in [
        (Signal::HUP, "SIGHUP"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::VTALARM, "SIGVTALRM"),
        (Signal::PROF, "SIGPROF"),
        (Signal::IO, "SIGIO"),
    ] {
        larder.signal(signal);
        let told = format!("{name} changes nothing: ");
        eventually(&told, async || larder.log().contains(&told).then_some(())).await;
        assert_eq!(larder.get("/").await.status(), 200, "after {name}");
    }
    // Nobody is told of this one: it is what a write to a closed pipe brings.
    larder.signal(Signal::PIPE);
    assert_eq!(larder.get("/").await.status(), 200);
    larder.signal(Signal::TERM);
    assert_eq!(larder.exit().await, Some(0));
}

#[tokio::test]
async fn told_to_stop_twice_it_does_not_wait_for_what_is_under_way() {
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::INT, Signal::TERM)]
    {
        let (origin, _never) = waiting().await;
        let mut larder = Larder::before(origin.address).await;
        let mut reader = larder.connect().await;
        reader.send(request("GET", "/", "")).await;
        eventually("a request", async || origin.requests().first().map(|_| ())).await;
        larder.signal(first);
        let address = larder.address;
        eventually("a closed port", async || TcpStream::connect(address).await.err()).await;
        assert!(larder.is_running());
        let said = "stopping: 1 connection has 10 s to end; told once more, it ends at once";
        eventually(said, async || larder.log().contains(said).then_some(())).await;
        let began = std::time::Instant::now();
        larder.signal(second);
        assert_eq!(larder.exit().await, Some(1));
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn while_answers_under_way_end_the_admin_listener_says_so() {
    let (origin, go_on) = waiting().await;
    let mut larder = Larder::before(origin.address).await;
    let mut reader = larder.connect().await;
    reader.send(request("GET", "/", "")).await;
    eventually("a request", async || origin.requests().first().map(|_| ())).await;
    assert_eq!(larder.get_from_admin("/readyz").await.status(), 200);
    larder.signal(Signal::TERM);
    let address = larder.address;
    eventually("a closed port", async || TcpStream::connect(address).await.err()).await;
    for _ in 0..3 {
        assert_eq!(larder.get_from_admin("/readyz").await.status(), 503);
        assert_eq!(larder.get_from_admin("/livez").await.status(), 200);
        assert_eq!(larder.get_from_admin("/metrics").await.status(), 200);
    }
    assert!(larder.is_running());
    go_on.notify_one();
    assert_eq!(reader.answer().await.text(), "late");
    assert_eq!(larder.exit().await, Some(0));
}

#[tokio::test]
async fn a_stream_of_events_ends_in_order_and_holds_nothing_up() {
    let origin = Origin::saying(ok("", "")).await;
    let larder = Larder::before(origin.address).await;
    let mut events = larder.connect_to_admin().await;
    events.send("GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(events.head().await.starts_with("HTTP/1.1 200 "));
    let mut heard = String::new();
    while !heard.contains("data: {") {
        heard.push_str(&String::from_utf8_lossy(&events.some().await));
    }
    larder.signal(Signal::TERM);
    assert!(events.rest().await.ends_with("0\r\n\r\n"));
    assert_eq!(larder.exit().await, Some(0));
}
