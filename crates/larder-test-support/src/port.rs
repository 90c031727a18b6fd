//! Port: for those who must be told one.

use std::{
    net::TcpListener,
    process,
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// A port that is free, for a program that must be told one, or must come back where it was after a
/// restart. It lies below the range from which the system serves those who ask for any port, so that
/// nobody takes it in between; no two calls in one process get the same, and other processes look elsewhere first.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| {
        let offset = process::id() % 2000 * 10;
        AtomicU16::new(10_000 + u16::try_from(offset).expect("less than 20000"))
    });
    loop {
        let port = next.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
