//! Eventually: waiting for what comes true by itself, and for no longer than it may take.

use std::time::{Duration, Instant};

/// How long a condition may take to come true before the test fails: long, for busy machines.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether it has.
pub const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `look` finds what is waited for; `what` completes "waited in vain for …". The clock is the
/// real one: where time is paused, use [`settle`](crate::paused::settle).
///
/// # Panics
///
/// After [`PATIENCE`].
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look).await
}

/// As [`eventually`], for what may take longer, or must not.
///
/// # Panics
///
/// After `patience`.
pub async fn within<T>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < patience, "waited in vain for {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until `is_so`; `what` completes "waited in vain for …".
///
/// # Panics
///
/// After [`PATIENCE`].
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    eventually(what, async || is_so().then_some(())).await;
}
