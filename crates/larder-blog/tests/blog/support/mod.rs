//! What the tests stand on: processes, readers, origins, databases, and how to wait for them.

pub(crate) mod blog;
pub(crate) mod counter;
mod lines;
pub(crate) mod origin;
pub(crate) mod postgres;
pub(crate) mod reader;

use std::{
    net::TcpListener,
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a condition may take to come true before the test fails: long, for busy machines.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);

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

/// A port for what must come back where it was after a restart. It lies below the range from which
/// the system serves those who ask for any port, so that nobody takes it in between.
pub(crate) fn port_to_come_back_to() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| {
        let offset = std::process::id() % 1000 * 10;
        AtomicU16::new(20_000 + u16::try_from(offset).expect("less than 10000"))
    });
    loop {
        let port = next.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Proves each of these sentences over SQLite and over PostgreSQL: a sentence is an async function
/// that takes a [`Setup`](blog::Setup).
macro_rules! over_both_databases {
    ($($sentence:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence($crate::support::blog::Setup::run()).await;
            })*
        }

        mod postgres {
            $(#[tokio::test]
            async fn $sentence() {
                let setup = $crate::support::postgres::with_new_database().await;
                super::$sentence(setup).await;
            })*
        }
    };
}
pub(crate) use over_both_databases;
