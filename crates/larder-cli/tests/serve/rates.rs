//! The least rate of `--min-rate`: who keeps it is served, who does not is refused and counted.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::{
    Wire,
    larder::Larder,
    origin::{Origin, ok},
};

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6144\r\n\r\n";

/// Sends `piece` so many times, ten times a second, or until the connection ends.
async fn drip(wire: &mut Wire, said: &str, piece: &[u8], times: usize) {
    wire.send(said).await;
    for _ in 0..times {
        sleep(Duration::from_millis(100)).await;
        if wire.try_send(piece).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn who_is_below_the_least_rate_is_refused_and_who_keeps_it_is_not() {
    let origin = Origin::saying(ok("cache-control: no-store\r\n", "a")).await;
    let flags = ["--min-rate", "1KiB", "--min-rate-period", "1s"];
    let larder = Larder::with(origin.address, &flags).await;
    let (mut head, mut upload, mut keeping) =
        (larder.connect().await, larder.connect().await, larder.connect().await);
    tokio::join!(
        drip(&mut head, "GET / HTTP/1.1\r\nhost: ", b"a", 20),
        drip(&mut upload, POST, b"a", 20),
        drip(&mut keeping, POST, &[b'a'; 205], 30),
    );
    assert_eq!(head.answer().await.status(), 408);
    assert_eq!(upload.answer().await.status(), 408);
    assert_eq!(keeping.answer().await.status(), 200);
    for (of, count) in [("head", 1.0), ("upload", 1.0), ("answer", 0.0)] {
        let name = format!("larder_below_min_rate_total{{of=\"{of}\"}}");
        assert_eq!(larder.metric(&name).await, count, "{name}");
    }
}
