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
