//! What the tests stand on: `larder` processes, readers, origins, and how to wait for them.

pub(crate) mod certificate;
pub(crate) mod larder;
pub(crate) mod lines;
pub(crate) mod origin;
pub(crate) mod wire;

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

/// How long a condition may take to come true before the test fails: long, for busy machines.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` finds what is waited for; `what` completes "waited in vain for …".
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A port for a program that must be told one. It lies below the range from which the system serves
/// those who ask for any, so that nobody takes it in between.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 500 * 10).expect("less than 5000");
    loop {
        let port = 10_000 + offset + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
